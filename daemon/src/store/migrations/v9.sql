-- Schema 9: an index for finding a text in a session. Schema numbers: never edited after a release.

-- How much of each log is in the index: its first `blocks` blocks of 32 events. The row numbers of the index are `no`
-- times 2^32, and the number of the block.
CREATE TABLE find_logs (
    no         INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    blocks     INTEGER NOT NULL,
    behind     INTEGER NOT NULL
);
CREATE INDEX find_logs_behind ON find_logs (behind) WHERE behind = 1;
-- What is there already is taken in beside the work.
INSERT INTO find_logs (session_id, blocks, behind) SELECT session_id, 0, head >= 32 FROM sessions;

-- The runs of three letters that a block's texts have, folded. Only whether, not where: the log is read for that.
CREATE VIRTUAL TABLE find USING fts5 (
    text, content = '', contentless_delete = 1, detail = 'none', tokenize = 'trigram case_sensitive 1'
);
