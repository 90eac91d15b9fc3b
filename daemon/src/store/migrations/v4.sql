-- Schema 4: the trash, other orders of the list, full-text search.

-- The names of archived and deleted sessions are free for others.
DROP INDEX sessions_name;
CREATE UNIQUE INDEX sessions_name ON sessions (principal, name) WHERE state NOT IN ('archived', 'deleted');

ALTER TABLE sessions ADD COLUMN created_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN cost_micro_usd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN purge_us INTEGER;
UPDATE sessions SET created_us = json_extract(summary, '$.created_us'),
                    cost_micro_usd = coalesce(json_extract(summary, '$.spent.micro_usd'), 0);
-- The list's own order: a page is read from here, whatever the number of sessions.
CREATE INDEX sessions_activity ON sessions (state <> 'needs_you', updated_us DESC, session_id);
CREATE INDEX sessions_purge ON sessions (purge_us) WHERE purge_us IS NOT NULL;

-- Purged sessions, so that watchers learn of it.
CREATE TABLE tombstones (
    session_id TEXT PRIMARY KEY,
    rev        INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tombstones_rev ON tombstones (rev);

-- Which event each row of the search index is about. Texts are not stored twice: hits are read from the log.
CREATE TABLE search_rows (
    row        INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    seq        INTEGER NOT NULL
);
CREATE INDEX search_rows_session ON search_rows (session_id, seq);
CREATE VIRTUAL TABLE search USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
