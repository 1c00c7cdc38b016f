-- Locks reach directories and globs, and have a queue; mail has causal chains.

ALTER TABLE locks ADD COLUMN reach TEXT NOT NULL DEFAULT 'file' CHECK (reach IN ('file', 'dir', 'glob'));
ALTER TABLE locks ADD COLUMN turn INTEGER NOT NULL DEFAULT 0 CHECK (turn IN (0, 1));
CREATE INDEX locks_wide ON locks (reach) WHERE reach <> 'file';

CREATE TABLE lock_queue (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    file_path  TEXT NOT NULL,
    reach      TEXT NOT NULL CHECK (reach IN ('file', 'dir', 'glob')),
    mode       TEXT NOT NULL CHECK (mode IN ('exclusive', 'shared')),
    peer_id    TEXT NOT NULL,
    task_id    INTEGER,
    reason     TEXT NOT NULL DEFAULT '',
    workspace  TEXT NOT NULL DEFAULT '',
    queued_at  REAL NOT NULL,
    offered_at REAL,
    UNIQUE (file_path, peer_id)
);

CREATE TABLE lost_locks (
    peer_id   TEXT NOT NULL,
    file_path TEXT NOT NULL,
    reach     TEXT NOT NULL,
    mode      TEXT NOT NULL,
    token     INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    taken_by  TEXT NOT NULL,
    lost_at   REAL NOT NULL,
    PRIMARY KEY (peer_id, file_path)
) WITHOUT ROWID;

ALTER TABLE messages ADD COLUMN parent INTEGER;
ALTER TABLE messages ADD COLUMN root INTEGER;
ALTER TABLE messages ADD COLUMN gist TEXT NOT NULL DEFAULT '';
CREATE INDEX messages_by_gist ON messages (sender_id, gist, id) WHERE gist <> '';

CREATE INDEX deliveries_held ON deliveries (message_id) WHERE state = 'held';

ALTER TABLE tasks ADD COLUMN left_by TEXT NOT NULL DEFAULT '';

ALTER TABLE receipts ADD COLUMN tool_use_id TEXT NOT NULL DEFAULT '';

ALTER TABLE peers ADD COLUMN cause INTEGER;
ALTER TABLE peers ADD COLUMN prompted_at REAL;
ALTER TABLE peers ADD COLUMN ways TEXT NOT NULL DEFAULT '';
