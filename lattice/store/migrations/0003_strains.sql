-- Texts that are passed on: each copy names the first message of its lineage.

CREATE TABLE strains (
    id        INTEGER PRIMARY KEY REFERENCES messages (id),
    state     TEXT NOT NULL CHECK (state IN ('held', 'allowed', 'stopped')),
    workspace TEXT NOT NULL DEFAULT '',
    alert_id  INTEGER,
    held_at   REAL NOT NULL
);

ALTER TABLE messages ADD COLUMN strain INTEGER;
CREATE INDEX messages_by_strain ON messages (strain, id) WHERE strain IS NOT NULL;

CREATE INDEX deliveries_by_offer ON deliveries (recipient, offered_at) WHERE offered_at IS NOT NULL;
