-- Schema 3: the ledger. Rows lie in the order of time, so that a range is read in one run; sums over them are
-- kept by the hour and by the quarter of an hour (the smallest step between time zones), in the transaction of
-- the row.

ALTER TABLE usage RENAME TO usage_before;
DROP INDEX usage_time;
DROP INDEX usage_task;

CREATE TABLE usage (
    time_us            INTEGER NOT NULL,
    session_id         TEXT NOT NULL,
    seq                INTEGER NOT NULL,
    principal          TEXT NOT NULL,
    client             TEXT NOT NULL,
    turn_id            TEXT NOT NULL,
    step               INTEGER NOT NULL,
    task_id            TEXT,
    persona            TEXT NOT NULL,
    model              TEXT NOT NULL,
    tool               TEXT NOT NULL,
    input_tokens       INTEGER,
    cached_tokens      INTEGER,
    cache_write_tokens INTEGER,
    output_tokens      INTEGER,
    reasoning_tokens   INTEGER,
    cost_micro_usd     INTEGER,
    cost_source        TEXT,
    first_token_ms     INTEGER,
    total_ms           INTEGER NOT NULL,
    outcome            TEXT NOT NULL,
    retries            INTEGER NOT NULL,
    PRIMARY KEY (time_us, session_id, seq)
) WITHOUT ROWID;
CREATE INDEX usage_session ON usage (session_id, time_us);
CREATE INDEX usage_task ON usage (task_id) WHERE task_id IS NOT NULL;

INSERT INTO usage
    SELECT time_us, session_id, seq, principal, client, turn_id, step, task_id, persona, model, '',
           input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
           cost_micro_usd, cost_source, first_token_ms, total_ms, outcome, retries
    FROM usage_before;
DROP TABLE usage_before;

-- Sums by the hour, over all sessions.
CREATE TABLE usage_hours (
    start_us           INTEGER NOT NULL,
    principal          TEXT NOT NULL,
    client             TEXT NOT NULL,
    persona            TEXT NOT NULL,
    model              TEXT NOT NULL,
    tool               TEXT NOT NULL,
    turns              INTEGER NOT NULL,
    requests           INTEGER NOT NULL,
    errors             INTEGER NOT NULL,
    rate_limited       INTEGER NOT NULL,
    retries            INTEGER NOT NULL,
    cost_micro_usd     INTEGER NOT NULL,
    reported_micro_usd INTEGER NOT NULL,
    unpriced_requests  INTEGER NOT NULL,
    unpriced_tokens    INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    tool_calls         INTEGER NOT NULL,
    tool_failures      INTEGER NOT NULL,
    busy_ms            INTEGER NOT NULL,
    first_token        BLOB NOT NULL,
    total              BLOB NOT NULL,
    PRIMARY KEY (start_us, principal, client, persona, model, tool)
) WITHOUT ROWID;

-- Sums by the quarter of an hour, with the session and its task.
CREATE TABLE usage_quarters (
    start_us           INTEGER NOT NULL,
    session_id         TEXT NOT NULL,
    task_id            TEXT NOT NULL,
    principal          TEXT NOT NULL,
    client             TEXT NOT NULL,
    persona            TEXT NOT NULL,
    model              TEXT NOT NULL,
    tool               TEXT NOT NULL,
    turns              INTEGER NOT NULL,
    requests           INTEGER NOT NULL,
    errors             INTEGER NOT NULL,
    rate_limited       INTEGER NOT NULL,
    retries            INTEGER NOT NULL,
    cost_micro_usd     INTEGER NOT NULL,
    reported_micro_usd INTEGER NOT NULL,
    unpriced_requests  INTEGER NOT NULL,
    unpriced_tokens    INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    tool_calls         INTEGER NOT NULL,
    tool_failures      INTEGER NOT NULL,
    busy_ms            INTEGER NOT NULL,
    first_token        BLOB NOT NULL,
    total              BLOB NOT NULL,
    PRIMARY KEY (start_us, session_id, task_id, principal, client, persona, model, tool)
) WITHOUT ROWID;
CREATE INDEX usage_quarters_session ON usage_quarters (session_id);
CREATE INDEX usage_quarters_task ON usage_quarters (task_id) WHERE task_id <> '';

-- What the ledger knows of itself: 'whole_since_us': before it single rows were given up.
CREATE TABLE usage_state (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE budgets (
    budget_id  TEXT PRIMARY KEY,
    created_us INTEGER NOT NULL,
    budget     TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE alerts (
    alert_id        TEXT PRIMARY KEY,
    raised_us       INTEGER NOT NULL,
    -- What it is about, so that the same is not said twice.
    about           TEXT NOT NULL UNIQUE,
    acknowledged_us INTEGER,
    alert           TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX alerts_raised ON alerts (raised_us);
