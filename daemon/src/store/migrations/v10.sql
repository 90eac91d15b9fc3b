-- Schema 10: what a session is at an event of its log, so that a start does not read all of it. Schema numbers: never edited after a release.

-- The fold of the log up to `seq`, as JSON, and which code folded it. It can go at any time: it is made again from the log.
CREATE TABLE folds (
    session_id TEXT PRIMARY KEY,
    seq        INTEGER NOT NULL,
    code       TEXT NOT NULL,
    fold       TEXT NOT NULL
) WITHOUT ROWID;
