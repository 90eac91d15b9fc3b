-- Schema 5: the boards. Schema numbers: never edited after a release.

-- The last good content of each board's file: what conflicts are told by, and what brings a deleted file back.
CREATE TABLE board_files (
    workspace TEXT NOT NULL,
    path      TEXT NOT NULL,
    content   TEXT NOT NULL,
    PRIMARY KEY (workspace, path)
) WITHOUT ROWID;

-- The twin of each task: as the file last said, with claim and conflicts. `gone`: no longer in the file.
CREATE TABLE tasks (
    workspace TEXT NOT NULL,
    task_id   TEXT NOT NULL,
    place     INTEGER NOT NULL,
    gone      INTEGER NOT NULL,
    twin      TEXT NOT NULL,
    PRIMARY KEY (workspace, task_id)
) WITHOUT ROWID;

-- What happened to tasks, numbered per board.
CREATE TABLE task_changes (
    workspace TEXT NOT NULL,
    rev       INTEGER NOT NULL,
    task_id   TEXT NOT NULL,
    change    TEXT NOT NULL,
    PRIMARY KEY (workspace, rev)
) WITHOUT ROWID;
CREATE INDEX task_changes_task ON task_changes (workspace, task_id, rev);
