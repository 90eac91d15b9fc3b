-- Schema 1. Never edited after a release: the next change is v2.sql.

-- The log. Dense seq per session; the primary key turns any second writer into an error.
CREATE TABLE events (
    session_id TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    time_us    INTEGER NOT NULL,
    schema     INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    principal  TEXT NOT NULL,
    client     TEXT NOT NULL,
    trace_id   TEXT NOT NULL,
    request_id TEXT,
    body       TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;

-- One row per session: the fold of its log, kept in the same transaction as the log.
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    principal  TEXT NOT NULL,
    workspace  TEXT NOT NULL,
    state      TEXT NOT NULL,
    head       INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    rev        INTEGER NOT NULL,
    open_work  INTEGER NOT NULL,
    summary    TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_name ON sessions (principal, name) WHERE state <> 'archived';
CREATE INDEX sessions_updated ON sessions (updated_us);
CREATE INDEX sessions_rev ON sessions (rev);
CREATE INDEX sessions_open ON sessions (open_work) WHERE open_work = 1;

-- Questions across sessions.
CREATE TABLE approvals (
    approval_id TEXT PRIMARY KEY,
    session_id  TEXT NOT NULL,
    asked_us    INTEGER NOT NULL,
    open        INTEGER NOT NULL,
    approval    TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX approvals_open ON approvals (open, asked_us);
CREATE INDEX approvals_session ON approvals (session_id, asked_us);

-- Command runs, so that output and results are found without reading the log.
CREATE TABLE execs (
    session_id   TEXT NOT NULL,
    exec_id      TEXT NOT NULL,
    started_seq  INTEGER NOT NULL,
    finished_seq INTEGER,
    result       TEXT,
    PRIMARY KEY (session_id, exec_id)
) WITHOUT ROWID;

-- What was answered to a request id: a retry gets the same answer.
CREATE TABLE requests (
    request_id  TEXT PRIMARY KEY,
    method      TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    reply       TEXT NOT NULL,
    time_us     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX requests_time ON requests (time_us);

-- One row per model request: the ledger.
CREATE TABLE usage (
    session_id      TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    time_us         INTEGER NOT NULL,
    principal       TEXT NOT NULL,
    client          TEXT NOT NULL,
    turn_id         TEXT NOT NULL,
    step            INTEGER NOT NULL,
    persona         TEXT NOT NULL,
    model           TEXT NOT NULL,
    input_tokens    INTEGER,
    cached_tokens   INTEGER,
    cache_write_tokens INTEGER,
    output_tokens   INTEGER,
    reasoning_tokens INTEGER,
    cost_micro_usd  INTEGER,
    cost_source     TEXT,
    first_token_ms  INTEGER,
    total_ms        INTEGER NOT NULL,
    outcome         TEXT NOT NULL,
    retries         INTEGER NOT NULL,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;
CREATE INDEX usage_time ON usage (time_us);

-- The shell's state after its last command: what a reboot brings back.
CREATE TABLE snapshots (
    session_id TEXT PRIMARY KEY,
    time_us    INTEGER NOT NULL,
    snapshot   TEXT NOT NULL
) WITHOUT ROWID;

-- Mount-point directories made in a workspace, written before the mkdir, so that they can be taken away.
CREATE TABLE mount_points (
    workspace TEXT NOT NULL,
    dir       TEXT NOT NULL,
    PRIMARY KEY (workspace, dir)
) WITHOUT ROWID;
