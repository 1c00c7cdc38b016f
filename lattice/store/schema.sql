-- The tables as they are now. `migrations/` leads here step by step; a test proves the two equal.
-- Times are seconds since 1970 (REAL) and for display only; order comes from the numbers.
-- Each table is written by one module: lattice/domain/<name>.py.

-- One growing number for every grant: claims, locks, the architect's seat (fencing tokens).
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- Repositories (or named groups of them) whose sessions meet each other.
CREATE TABLE workspaces (
    name       TEXT PRIMARY KEY,
    first_seen REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE peers (
    id                 TEXT PRIMARY KEY,
    role               TEXT NOT NULL CHECK (role IN ('architect', 'worker', 'system')),
    -- active: beats. away: ended cleanly, may come back. dead: stopped beating. killed: ended by somebody,
    -- may not come back until resumed. gone: forgotten, kept only because history names it.
    status             TEXT NOT NULL CHECK (status IN ('active', 'away', 'dead', 'killed', 'gone')),
    summary            TEXT NOT NULL DEFAULT '',
    activity           TEXT NOT NULL DEFAULT '',
    workspace          TEXT NOT NULL DEFAULT '',
    working_dir        TEXT NOT NULL DEFAULT '',
    named              INTEGER NOT NULL DEFAULT 1 CHECK (named IN (0, 1)),  -- the id was chosen: keeps its mailbox
    pid                INTEGER,               -- of its MCP server: a hint, never a verdict
    client             TEXT NOT NULL DEFAULT '',
    client_pid         INTEGER,
    process            TEXT NOT NULL DEFAULT '',  -- the life that owns the id now
    epoch              INTEGER NOT NULL DEFAULT 1, -- grows when its tokens must die
    resume_hash        TEXT NOT NULL DEFAULT '',
    paused             INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    paused_by          TEXT NOT NULL DEFAULT '',
    ended_by           TEXT NOT NULL DEFAULT '',
    last_stop_reason   TEXT NOT NULL DEFAULT '',
    poll_interval_ms   INTEGER NOT NULL DEFAULT 3000,
    git_branch         TEXT NOT NULL DEFAULT '',
    git_dirty_files    TEXT NOT NULL DEFAULT '[]',  -- JSON list
    git_more           INTEGER NOT NULL DEFAULT 0,
    git_last_commit    TEXT NOT NULL DEFAULT '',
    token_budget       INTEGER,               -- NULL: none
    tokens_used        INTEGER NOT NULL DEFAULT 0,
    tool_calls_count   INTEGER NOT NULL DEFAULT 0,
    errors_count       INTEGER NOT NULL DEFAULT 0,
    rejections_count   INTEGER NOT NULL DEFAULT 0,
    last_rejection_at  REAL,
    registered_at      REAL NOT NULL,
    last_heartbeat     REAL NOT NULL,         -- as of the last write; the live figure is in memory
    ended_at           REAL,
    cause              INTEGER,               -- the message it was offered last since its last human prompt
    prompted_at        REAL,                  -- when a human prompted it last
    ways               TEXT NOT NULL DEFAULT ''  -- how mail can reach it, best first: socket, rewake, hook, tool
) WITHOUT ROWID;
CREATE INDEX peers_by_status ON peers (status, workspace);

-- The architect's seat of a workspace: one holder, with a fencing token.
CREATE TABLE seats (
    workspace TEXT PRIMARY KEY,
    peer      TEXT NOT NULL,
    token     INTEGER NOT NULL,
    since     REAL NOT NULL
) WITHOUT ROWID;

-- Tickets that were used, until they would have run out anyway.
CREATE TABLE tickets (
    nonce   TEXT PRIMARY KEY,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX tickets_by_expiry ON tickets (expires);

-- Answers of writes that carried a key, for a day (design D19).
CREATE TABLE idempotency (
    caller  TEXT NOT NULL,
    key     TEXT NOT NULL,
    op      TEXT NOT NULL,
    digest  TEXT NOT NULL,                    -- of the request, so that a key reused for another call is noticed
    answer  TEXT NOT NULL,                    -- JSON
    at      REAL NOT NULL,
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (at);

CREATE TABLE runs (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    goal             TEXT NOT NULL DEFAULT '',
    success_criteria TEXT NOT NULL DEFAULT '',
    status           TEXT NOT NULL CHECK (status IN ('active', 'paused', 'completed', 'failed', 'cancelled')),
    workspace        TEXT NOT NULL DEFAULT '',
    created_by       TEXT NOT NULL,
    created_at       REAL NOT NULL,
    updated_at       REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    sender_id  TEXT NOT NULL,
    on_behalf  TEXT NOT NULL DEFAULT '',      -- the person, where the person sent in somebody's name
    address    TEXT NOT NULL,                 -- as the sender wrote it
    category   TEXT NOT NULL,
    content    TEXT NOT NULL,
    workspace  TEXT NOT NULL DEFAULT '',
    run_id     TEXT,
    reply_to   INTEGER,                       -- which may be forgotten by now
    hops       INTEGER NOT NULL DEFAULT 0,    -- messages before it in its causal chain
    created_at REAL NOT NULL,
    parent     INTEGER,                       -- what caused it: what it answers, else what its sender was offered last
    root       INTEGER,                       -- the first message of its chain
    gist       TEXT NOT NULL DEFAULT '',      -- digest of the text without case, spaces and signs
    strain     INTEGER                        -- a copy that is passed on: the first message of its lineage
);
CREATE INDEX messages_by_sender ON messages (sender_id, id);
CREATE INDEX messages_by_gist ON messages (sender_id, gist, id) WHERE gist <> '';
CREATE INDEX messages_by_strain ON messages (strain, id) WHERE strain IS NOT NULL;
CREATE INDEX messages_by_run ON messages (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX messages_by_answered ON messages (reply_to) WHERE reply_to IS NOT NULL;

-- One row per recipient: how far the message came. queued -> (held ->) offered -> read -> acted, or dead.
CREATE TABLE deliveries (
    message_id INTEGER NOT NULL REFERENCES messages (id),
    recipient  TEXT NOT NULL,                 -- a peer id, command-center, or a role (@architect) nobody holds yet
    state      TEXT NOT NULL CHECK (state IN ('queued', 'held', 'offered', 'read', 'acted', 'dead')),
    way        TEXT NOT NULL DEFAULT '',      -- of the newest offer: tool, hook, v4, person
    process    TEXT NOT NULL DEFAULT '',      -- whose offer it is
    attempts   INTEGER NOT NULL DEFAULT 0,    -- offers that came back unproven
    reason     TEXT NOT NULL DEFAULT '',      -- why dead, why held
    queued_at  REAL NOT NULL,
    offered_at REAL,
    read_at    REAL,
    acted_at   REAL,
    PRIMARY KEY (recipient, message_id)
) WITHOUT ROWID;
CREATE INDEX deliveries_by_message ON deliveries (message_id);
CREATE INDEX deliveries_waiting ON deliveries (recipient, message_id) WHERE state = 'queued';
CREATE INDEX deliveries_offered ON deliveries (recipient, process) WHERE state = 'offered';
CREATE INDEX deliveries_by_offer ON deliveries (recipient, offered_at) WHERE offered_at IS NOT NULL;
CREATE INDEX deliveries_held ON deliveries (message_id) WHERE state = 'held';

-- Texts that spread too far or through too many hands, by the first message of each. No row: nothing to worry about.
-- held: all copies wait for the person. allowed: the person let it through, for good. stopped: copies are refused.
CREATE TABLE strains (
    id        INTEGER PRIMARY KEY REFERENCES messages (id),
    state     TEXT NOT NULL CHECK (state IN ('held', 'allowed', 'stopped')),
    workspace TEXT NOT NULL DEFAULT '',
    alert_id  INTEGER,                        -- the one notice to the person
    held_at   REAL NOT NULL
);

-- One row per offer: the receipt that proves it, or the reason it came back.
CREATE TABLE receipts (
    receipt    TEXT PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES messages (id),
    recipient  TEXT NOT NULL,
    way        TEXT NOT NULL,
    process    TEXT NOT NULL,
    offered_at REAL NOT NULL,
    proof      TEXT NOT NULL DEFAULT '',
    proved_at  REAL,
    returned   TEXT NOT NULL DEFAULT '',
    ended_at   REAL,
    tool_use_id TEXT NOT NULL DEFAULT ''      -- the client's name for the call that took it: its hook proves it
) WITHOUT ROWID;
CREATE INDEX receipts_by_message ON receipts (message_id, recipient);

CREATE TABLE escalations (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL CHECK (kind IN ('blocker', 'review', 'spawn', 'permission')),
    state       TEXT NOT NULL CHECK (state IN ('open', 'resolved')),
    raised_by   TEXT NOT NULL,
    workspace   TEXT NOT NULL DEFAULT '',
    run_id      TEXT,
    task_id     INTEGER,
    message_id  INTEGER,                      -- the mail that carried it
    text        TEXT NOT NULL,
    request     TEXT NOT NULL DEFAULT '{}',   -- JSON: what a spawn asks for
    verdict     TEXT NOT NULL DEFAULT '',
    answer      TEXT NOT NULL DEFAULT '',
    resolved_by TEXT NOT NULL DEFAULT '',
    created_at  REAL NOT NULL,
    resolved_at REAL
);
CREATE INDEX escalations_open ON escalations (workspace, id) WHERE state = 'open';
CREATE INDEX escalations_by_task ON escalations (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX escalations_by_message ON escalations (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE rooms (
    name        TEXT PRIMARY KEY,
    workspace   TEXT NOT NULL DEFAULT '',
    topic       TEXT NOT NULL DEFAULT '',
    invite_only INTEGER NOT NULL DEFAULT 0 CHECK (invite_only IN (0, 1)),
    created_by  TEXT NOT NULL,
    created_at  REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE room_members (
    room      TEXT NOT NULL REFERENCES rooms (name),
    peer      TEXT NOT NULL,
    joined_at REAL NOT NULL,
    PRIMARY KEY (room, peer)
) WITHOUT ROWID;
CREATE TABLE room_posts (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    room      TEXT NOT NULL REFERENCES rooms (name),
    peer      TEXT NOT NULL,
    content   TEXT NOT NULL,
    posted_at REAL NOT NULL
);
CREATE INDEX room_posts_by_room ON room_posts (room, id);

CREATE TABLE tasks (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    title        TEXT NOT NULL,
    description  TEXT NOT NULL DEFAULT '',
    status       TEXT NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')),
    priority     TEXT NOT NULL CHECK (priority IN ('high', 'medium', 'low')),
    rank         INTEGER NOT NULL GENERATED ALWAYS AS (CASE priority WHEN 'high' THEN 0 WHEN 'medium' THEN 1 ELSE 2 END) STORED,
    created_by   TEXT NOT NULL,
    assigned_to  TEXT,                        -- the owner while in progress, the finisher after
    reserved_for TEXT,                        -- while pending: only this peer may claim it
    token        INTEGER NOT NULL DEFAULT 0,  -- fencing token of the newest claim
    attempts     INTEGER NOT NULL DEFAULT 0,  -- claims so far
    n_open       INTEGER NOT NULL DEFAULT 0,  -- dependencies not completed
    needs_review INTEGER NOT NULL DEFAULT 0 CHECK (needs_review IN (0, 1)),
    artifacts    TEXT NOT NULL DEFAULT '',    -- JSON object, '' for none
    note         TEXT NOT NULL DEFAULT '',    -- why failed, cancelled or last released
    run_id       TEXT,
    workspace    TEXT NOT NULL DEFAULT '',
    created_at   REAL NOT NULL,
    updated_at   REAL NOT NULL,
    claimed_at   REAL,
    finished_at  REAL,
    left_by      TEXT NOT NULL DEFAULT '',    -- while pending: whose departure opened it again, so that its next process takes it up
    CHECK ((status = 'in_progress') <= (assigned_to IS NOT NULL))
);
CREATE INDEX tasks_claimable ON tasks (rank, id) WHERE status = 'pending' AND n_open = 0;
CREATE INDEX tasks_by_status ON tasks (status, rank, id);
CREATE INDEX tasks_by_owner ON tasks (assigned_to) WHERE status = 'in_progress';
CREATE INDEX tasks_by_run ON tasks (run_id, id) WHERE run_id IS NOT NULL;

CREATE TABLE dependencies (
    task_id  INTEGER NOT NULL REFERENCES tasks (id),
    needs_id INTEGER NOT NULL REFERENCES tasks (id),
    PRIMARY KEY (task_id, needs_id),
    CHECK (task_id <> needs_id)
) WITHOUT ROWID;
CREATE INDEX dependencies_by_need ON dependencies (needs_id, task_id);

CREATE TABLE locks (
    file_path TEXT NOT NULL,
    peer_id   TEXT NOT NULL,
    token     INTEGER NOT NULL,
    -- held: in force. closed: its holder was lost and may be frozen in the middle of an edit; nobody has it.
    state     TEXT NOT NULL CHECK (state IN ('held', 'closed')),
    mode      TEXT NOT NULL DEFAULT 'exclusive' CHECK (mode IN ('exclusive', 'shared')),
    term_s    INTEGER,                        -- lapses so long after the last beat; NULL: as long as the peer is alive
    reason    TEXT NOT NULL DEFAULT '',
    task_id   INTEGER,
    workspace TEXT NOT NULL DEFAULT '',
    locked_at REAL NOT NULL,
    reach     TEXT NOT NULL DEFAULT 'file' CHECK (reach IN ('file', 'dir', 'glob')),  -- what file_path covers: lattice/reach.py
    turn      INTEGER NOT NULL DEFAULT 0 CHECK (turn IN (0, 1)),  -- taken by an edit, given back when the turn ends
    PRIMARY KEY (file_path, peer_id)
) WITHOUT ROWID;
CREATE INDEX locks_by_peer ON locks (peer_id);
CREATE INDEX locks_wide ON locks (reach) WHERE reach <> 'file';

-- Who waits for a lock, first come first served. offered_at: told that it is free, and it is kept for a minute.
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

-- Locks that a peer lost against its will and has not asked for since: its own late edits are refused by them.
CREATE TABLE lost_locks (
    peer_id   TEXT NOT NULL,
    file_path TEXT NOT NULL,
    reach     TEXT NOT NULL,
    mode      TEXT NOT NULL,
    token     INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    taken_by  TEXT NOT NULL,                  -- who locked any of it since (or took it away), '' for nobody
    lost_at   REAL NOT NULL,
    PRIMARY KEY (peer_id, file_path)
) WITHOUT ROWID;

CREATE TABLE memory (
    workspace  TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    type       TEXT NOT NULL CHECK (type IN ('decision', 'fact', 'constraint', 'artifact')),
    confidence TEXT NOT NULL CHECK (confidence IN ('high', 'medium', 'low')),
    version    INTEGER NOT NULL,
    supersedes TEXT,
    peer_id    TEXT NOT NULL,
    run_id     TEXT,
    updated_at REAL NOT NULL,
    PRIMARY KEY (workspace, key)
) WITHOUT ROWID;
CREATE INDEX memory_by_time ON memory (workspace, updated_at);
CREATE TABLE memory_history (
    workspace  TEXT NOT NULL,
    key        TEXT NOT NULL,
    version    INTEGER NOT NULL,
    value      TEXT NOT NULL,
    type       TEXT NOT NULL,
    confidence TEXT NOT NULL,
    supersedes TEXT,
    peer_id    TEXT NOT NULL,
    updated_at REAL NOT NULL,
    PRIMARY KEY (workspace, key, version)
) WITHOUT ROWID;

CREATE TABLE conversations (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    peer_id   TEXT NOT NULL,
    turn_type TEXT NOT NULL,
    content   TEXT NOT NULL,
    timestamp REAL NOT NULL
);
CREATE INDEX conversations_by_peer ON conversations (peer_id, id);

-- The log: one or more rows per write, in its transaction, chained by hash (design D6).
CREATE TABLE events (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    actor     TEXT NOT NULL,
    op        TEXT NOT NULL,
    kind      TEXT NOT NULL,                  -- of the thing: peer, message, delivery, task, ...
    subject   TEXT NOT NULL,                  -- JSON list of ids
    run_id    TEXT,
    workspace TEXT NOT NULL DEFAULT '',
    data      TEXT NOT NULL,                  -- JSON: the folded columns after the write; null: it is gone
    digest    TEXT NOT NULL,                  -- of data, so that data can be redacted and the chain still holds
    prev      TEXT NOT NULL,
    hash      TEXT NOT NULL
);
CREATE INDEX events_by_run ON events (run_id, seq) WHERE run_id IS NOT NULL;
CREATE INDEX events_snapshots ON events (seq) WHERE kind = 'snapshot';
