-- Schema 8: an edit of a large board is stored as what it changed. Schema numbers: never edited after a release.

-- What was spliced into a board's file since its content was stored whole, in order. Offsets are bytes of the text as
-- the splice before left it.
CREATE TABLE board_splices (
    workspace TEXT NOT NULL,
    path      TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    start     INTEGER NOT NULL,
    removed   INTEGER NOT NULL,
    text      TEXT NOT NULL,
    PRIMARY KEY (workspace, path, seq)
) WITHOUT ROWID;
