-- Schema 7: a commit touches fewer pages. Schema numbers: never edited after a release.

-- Sessions with facts that are not in the index yet, and the last seq that is. A commit adds at most one small row;
-- the words of many commits go into the index together.
CREATE TABLE search_behind (
    session_id TEXT PRIMARY KEY,
    seq        INTEGER NOT NULL
) WITHOUT ROWID;

-- With rowids: there a row of a few kilobytes lies in one page, where a row without one spills into others that are
-- freed and taken anew with every fact.
CREATE TABLE sessions_anew (
    session_id TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    principal  TEXT NOT NULL,
    workspace  TEXT NOT NULL,
    state      TEXT NOT NULL,
    head       INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    rev        INTEGER NOT NULL,
    open_work  INTEGER NOT NULL,
    summary    TEXT NOT NULL,
    created_us INTEGER NOT NULL DEFAULT 0,
    cost_micro_usd INTEGER NOT NULL DEFAULT 0,
    purge_us   INTEGER
);
INSERT INTO sessions_anew (session_id, name, principal, workspace, state, head, updated_us, rev, open_work, summary,
                           created_us, cost_micro_usd, purge_us)
    SELECT session_id, name, principal, workspace, state, head, updated_us, rev, open_work, summary,
           created_us, cost_micro_usd, purge_us
    FROM sessions;
DROP TABLE sessions;
ALTER TABLE sessions_anew RENAME TO sessions;
CREATE UNIQUE INDEX sessions_name ON sessions (principal, name) WHERE state NOT IN ('archived', 'deleted');
CREATE INDEX sessions_rev ON sessions (rev);
CREATE INDEX sessions_open ON sessions (open_work) WHERE open_work = 1;
CREATE INDEX sessions_activity ON sessions (state <> 'needs_you', updated_us DESC, session_id);
CREATE INDEX sessions_purge ON sessions (purge_us) WHERE purge_us IS NOT NULL;
