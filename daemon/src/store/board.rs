//! Owns: the boards' tables: files' last good content, tasks' twins, and the history of both.
//! Guarantees: one transaction per change of a board, as large as the change; history is only ever added to.

use std::collections::BTreeMap;

use rusqlite::{Connection, params, params_from_iter};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::domain::task::{Change, Claim, Conflict, Task, TaskId};

/// A task as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// As the file last said.
    pub task: Task,
    /// Where it stands on the board, from 0.
    #[serde(default)]
    pub place: u32,
    /// No longer in the file.
    #[serde(default)]
    pub gone: bool,
    /// Who has it.
    #[serde(default)]
    pub claim: Option<Claim>,
    /// What both sides changed, until a person decides.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
    /// Number of its last change.
    #[serde(default)]
    pub rev: u64,
    /// When that was, microseconds since the epoch.
    #[serde(default)]
    pub changed_us: i64,
}

/// Everything of one board.
#[derive(Debug, Clone, Default)]
pub struct BoardRows {
    /// Path in the workspace and last good content.
    pub files: Vec<(String, String)>,
    /// All tasks, those that are gone too.
    pub twins: Vec<Twin>,
    /// Number of the last change.
    pub rev: u64,
}

/// New content of a board's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileWrite {
    /// All of it.
    Whole {
        /// Path in the workspace.
        path: String,
        /// The text.
        content: String,
    },
    /// A piece in the place of another: a small edit of a large board costs what is small.
    Splice {
        /// Path in the workspace.
        path: String,
        /// Where, in bytes.
        start: usize,
        /// How much goes, in bytes.
        removed: usize,
        /// What comes.
        text: String,
    },
}

impl FileWrite {
    /// What makes `new` out of the `old` content of a file.
    pub fn between(path: &str, old: &str, new: &str) -> Self {
        let alike = |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(a, b)| a == b).count();
        let mut start = alike(&mut old.bytes().zip(new.bytes()));
        while !old.is_char_boundary(start) {
            start -= 1;
        }
        let (old_rest, new_rest) = (old.split_at(start).1, new.split_at(start).1);
        let mut end = alike(&mut old_rest.bytes().rev().zip(new_rest.bytes().rev()));
        while !old_rest.is_char_boundary(old_rest.len() - end) {
            end -= 1;
        }
        Self::Splice {
            path: path.to_owned(),
            start,
            removed: old_rest.len() - end,
            text: new_rest.split_at(new_rest.len() - end).0.to_owned(),
        }
    }
}

/// One change of a board: all of it, or nothing.
#[derive(Debug, Clone, Default)]
pub struct BoardWrite {
    /// New content of files, in the order in which it came.
    pub files: Vec<FileWrite>,
    /// Tasks that changed.
    pub twins: BTreeMap<TaskId, Twin>,
    /// What happened.
    pub changes: Vec<(TaskId, Change)>,
}

/// What a task cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCost {
    /// Micro-USD over requests whose price is known.
    pub micro_usd: u64,
    /// At least one price is unknown.
    pub unknown: bool,
    /// Model requests.
    pub requests: u64,
}

impl BoardWrite {
    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.twins.is_empty() && self.changes.is_empty()
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Io(std::io::Error::other(e)))
}

fn unjson<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Io(std::io::Error::other(e)))
}

impl Store {
    /// One board as it was last written; empty for a workspace without.
    pub async fn board(&self, workspace: &str) -> Result<BoardRows, StoreError> {
        let workspace = workspace.to_owned();
        self.readers.read(move |c| rows(c, &workspace)).await
    }

    /// The workspaces that have a board in the store.
    pub async fn board_workspaces(&self) -> Result<Vec<String>, StoreError> {
        self.readers
            .read(|c| {
                let mut statement =
                    c.prepare_cached("SELECT DISTINCT workspace FROM board_files ORDER BY 1")?;
                let found = statement
                    .query_map([], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                Ok(found)
            })
            .await
    }

    /// Writes one change of a board. History text goes through the redactor like the log's.
    pub async fn put_board(&self, workspace: &str, write: BoardWrite) -> Result<(), StoreError> {
        if write.is_empty() {
            return Ok(());
        }
        let workspace = workspace.to_owned();
        let redactor = self.redactor.clone();
        self.writer
            .write(move |c| {
                for file in &write.files {
                    put_file(c, &workspace, file)?;
                }
                for twin in write.twins.values() {
                    c.prepare_cached(
                        "INSERT INTO tasks (workspace, task_id, place, gone, twin) VALUES (?1, ?2, ?3, ?4, ?5)
                         ON CONFLICT (workspace, task_id) DO UPDATE
                         SET place = excluded.place, gone = excluded.gone, twin = excluded.twin",
                    )?
                    .execute(params![
                        workspace,
                        twin.task.task_id.as_str(),
                        twin.place,
                        twin.gone,
                        json(twin)?
                    ])?;
                }
                for (task, change) in &write.changes {
                    let text = json(change)?;
                    let text = redactor.redact_json(&text).unwrap_or(text);
                    c.prepare_cached(
                        "INSERT INTO task_changes (workspace, rev, task_id, change) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![workspace, change.rev, task.as_str(), text])?;
                }
                Ok(())
            })
            .await
    }

    /// What happened to a task after `rev`, oldest first, at most `limit` of the newest.
    pub async fn task_history(
        &self,
        workspace: &str,
        task: &TaskId,
        after_rev: u64,
        limit: u32,
    ) -> Result<Vec<Change>, StoreError> {
        let (workspace, task) = (workspace.to_owned(), task.clone());
        self.readers
            .read(move |c| {
                let mut statement = c.prepare_cached(
                    "SELECT change FROM task_changes WHERE workspace = ?1 AND task_id = ?2 AND rev > ?3
                     ORDER BY rev DESC LIMIT ?4",
                )?;
                let mut rows = statement.query(params![workspace, task.as_str(), after_rev, limit])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(unjson(&row.get::<_, String>(0)?)?);
                }
                found.reverse();
                Ok(found)
            })
            .await
    }

    /// What each task of a workspace cost, or one of them, over all sessions that worked on it.
    pub async fn task_costs(
        &self,
        workspace: &str,
        only: Option<&TaskId>,
    ) -> Result<Vec<(TaskId, TaskCost)>, StoreError> {
        let mut values = vec![workspace.to_owned()];
        values.extend(only.map(ToString::to_string));
        self.readers
            .read(move |c| {
                let which = if values.len() > 1 { "= ?2" } else { "IS NOT NULL" };
                let mut statement = c.prepare_cached(&format!(
                    "SELECT u.task_id, coalesce(sum(u.cost_micro_usd), 0), count(*) - count(u.cost_micro_usd), count(*)
                     FROM usage u JOIN sessions s ON s.session_id = u.session_id
                     WHERE u.task_id {which} AND s.workspace = ?1 GROUP BY u.task_id",
                ))?;
                let mut rows = statement.query(params_from_iter(&values))?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    let Ok(task) = row.get::<_, String>(0)?.parse() else { continue };
                    let cost = TaskCost {
                        micro_usd: row.get(1)?,
                        unknown: row.get::<_, u64>(2)? > 0,
                        requests: row.get(3)?,
                    };
                    found.push((task, cost));
                }
                Ok(found)
            })
            .await
    }
}

fn put_file(connection: &Connection, workspace: &str, file: &FileWrite) -> Result<(), StoreError> {
    match file {
        FileWrite::Whole { path, content } => {
            connection
                .prepare_cached("DELETE FROM board_splices WHERE workspace = ?1 AND path = ?2")?
                .execute(params![workspace, path])?;
            connection
                .prepare_cached(
                    "INSERT INTO board_files (workspace, path, content) VALUES (?1, ?2, ?3)
                     ON CONFLICT (workspace, path) DO UPDATE SET content = excluded.content",
                )?
                .execute(params![workspace, path, content])?;
        }
        FileWrite::Splice {
            path,
            start,
            removed,
            text,
        } => {
            connection
                .prepare_cached(
                    "INSERT INTO board_splices (workspace, path, seq, start, removed, text)
                     SELECT ?1, ?2, coalesce(max(seq), 0) + 1, ?3, ?4, ?5
                     FROM board_splices WHERE workspace = ?1 AND path = ?2",
                )?
                .execute(params![workspace, path, start, removed, text])?;
        }
    }
    Ok(())
}

/// A file's last good content: as it was written whole, with what was spliced into it since.
fn spliced(
    connection: &Connection,
    workspace: &str,
    path: &str,
    whole: String,
) -> Result<String, StoreError> {
    let mut content = whole;
    let mut splices = connection.prepare_cached(
        "SELECT start, removed, text FROM board_splices WHERE workspace = ?1 AND path = ?2 ORDER BY seq",
    )?;
    let mut found = splices.query([workspace, path])?;
    while let Some(row) = found.next()? {
        let text: String = row.get(2)?;
        if !splice(&mut content, row.get(0)?, row.get(1)?, &text) {
            // The file itself is read before anything is done with this; only a deleted one comes back older.
            tracing::warn!(
                path,
                "board: stored changes of its file fit no longer into it; they are left out"
            );
            break;
        }
    }
    Ok(content)
}

/// False when there is no such place in it.
fn splice(content: &mut String, start: usize, removed: usize, text: &str) -> bool {
    let range = start..start.saturating_add(removed);
    let fits = content.get(range.clone()).is_some();
    if fits {
        content.replace_range(range, text);
    }
    fits
}

fn rows(connection: &Connection, workspace: &str) -> Result<BoardRows, StoreError> {
    let mut board = BoardRows::default();
    let mut files =
        connection.prepare_cached("SELECT path, content FROM board_files WHERE workspace = ?1")?;
    let mut found = files.query([workspace])?;
    while let Some(row) = found.next()? {
        let path: String = row.get(0)?;
        let content = spliced(connection, workspace, &path, row.get(1)?)?;
        board.files.push((path, content));
    }
    let mut twins =
        connection.prepare_cached("SELECT twin FROM tasks WHERE workspace = ?1 ORDER BY gone, place")?;
    let mut found = twins.query([workspace])?;
    while let Some(row) = found.next()? {
        board.twins.push(unjson(&row.get::<_, String>(0)?)?);
    }
    board.rev = connection
        .prepare_cached("SELECT coalesce(max(rev), 0) FROM task_changes WHERE workspace = ?1")?
        .query_row([workspace], |row| row.get(0))?;
    Ok(board)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splice_makes_the_new_text_out_of_the_old() {
        let texts = [
            "",
            "a",
            "aa",
            "aaa",
            "| T-1 | Fix it | Todo |\n| T-2 | Fix it | Todo |\n",
            "| T-1 | Fix it | Done |\n| T-2 | Fix it | Todo |\n",
            "| T-2 | Fix it | Todo |\n",
            // Characters that share their first or last bytes.
            "é",
            "è",
            "日é本",
            "日è本",
            "😀😁",
            "😁😀",
        ];
        for old in texts {
            for new in texts {
                let FileWrite::Splice {
                    start, removed, text, ..
                } = FileWrite::between("docs/TASKS.md", old, new)
                else {
                    panic!("a splice");
                };
                let mut made = old.to_owned();
                assert!(splice(&mut made, start, removed, &text), "{old:?} -> {new:?}");
                assert_eq!(made, new, "{old:?} -> {new:?}");
            }
        }
        assert!(!splice(&mut "é".to_owned(), 1, 1, ""));
    }

    #[test]
    fn a_small_edit_is_a_small_splice() {
        let old = "| T-1 | Fix it | Todo |\n".repeat(1000);
        let new = old.replacen("Todo", "Done", 1);
        let FileWrite::Splice { removed, text, .. } = FileWrite::between("docs/TASKS.md", &old, &new) else {
            panic!("a splice");
        };
        // The common "o" of both words may lie on either side of it.
        assert!(removed <= 4 && text.len() <= 4, "{removed} {text:?}");
    }
}
