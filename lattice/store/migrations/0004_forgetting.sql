-- What is old is deleted: an answer no longer keeps what it answered, and whether unread mail answers it is found at once.

CREATE TABLE messages_before AS SELECT * FROM messages;
DROP TABLE messages;
CREATE TABLE messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    sender_id  TEXT NOT NULL,
    on_behalf  TEXT NOT NULL DEFAULT '',
    address    TEXT NOT NULL,
    category   TEXT NOT NULL,
    content    TEXT NOT NULL,
    workspace  TEXT NOT NULL DEFAULT '',
    run_id     TEXT,
    reply_to   INTEGER,
    hops       INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    parent     INTEGER,
    root       INTEGER,
    gist       TEXT NOT NULL DEFAULT '',
    strain     INTEGER
);
INSERT INTO messages (id, sender_id, on_behalf, address, category, content, workspace, run_id, reply_to, hops, created_at, parent, root,
                      gist, strain)
SELECT id, sender_id, on_behalf, address, category, content, workspace, run_id, reply_to, hops, created_at, parent, root, gist, strain
FROM messages_before ORDER BY id;
DROP TABLE messages_before;
CREATE INDEX messages_by_sender ON messages (sender_id, id);
CREATE INDEX messages_by_gist ON messages (sender_id, gist, id) WHERE gist <> '';
CREATE INDEX messages_by_strain ON messages (strain, id) WHERE strain IS NOT NULL;
CREATE INDEX messages_by_run ON messages (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX messages_by_answered ON messages (reply_to) WHERE reply_to IS NOT NULL;
