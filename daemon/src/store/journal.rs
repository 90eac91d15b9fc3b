//! Owns: small durable notes beside the log: shell snapshots and the journal of mount-point directories.
//! Guarantees: a mount point is on record before it is made, so that a crash can never leave litter unknown.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::domain::id::SessionId;

impl Store {
    /// Keeps the shell's state after a command (JSON text of the shell module).
    pub async fn put_snapshot(
        &self,
        session_id: &SessionId,
        time_us: i64,
        snapshot: String,
    ) -> Result<(), StoreError> {
        let id = session_id.clone();
        let snapshot = self.redactor.redact_json(&snapshot).unwrap_or(snapshot);
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "INSERT OR REPLACE INTO snapshots (session_id, time_us, snapshot) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![id.as_str(), time_us, snapshot])?;
                Ok(())
            })
            .await
    }

    /// The shell's state after its last command.
    pub async fn snapshot(&self, session_id: &SessionId) -> Result<Option<String>, StoreError> {
        let id = session_id.clone();
        self.readers
            .read(move |c| {
                Ok(
                    c.prepare_cached("SELECT snapshot FROM snapshots WHERE session_id = ?1")?
                        .query_row([id.as_str()], |row| row.get(0))
                        .optional()?,
                )
            })
            .await
    }

    /// Records a mount-point directory. For threads that may block.
    pub fn record_mount_point(&self, workspace: &Path, dir: &Path) -> Result<(), StoreError> {
        let (workspace, dir) = (text(workspace), text(dir));
        self.writer.write_blocking(move |c| {
            c.execute(
                "INSERT OR IGNORE INTO mount_points (workspace, dir) VALUES (?1, ?2)",
                [workspace, dir],
            )?;
            Ok(())
        })
    }

    /// Forgets a mount-point directory that is gone. For threads that may block.
    pub fn forget_mount_point(&self, workspace: &Path, dir: &Path) -> Result<(), StoreError> {
        let (workspace, dir) = (text(workspace), text(dir));
        self.writer.write_blocking(move |c| {
            c.execute(
                "DELETE FROM mount_points WHERE workspace = ?1 AND dir = ?2",
                [workspace, dir],
            )?;
            Ok(())
        })
    }

    /// Mount-point directories on record; of one workspace, or of all. For threads that may block.
    pub fn mount_points(&self, workspace: Option<&Path>) -> Result<Vec<(PathBuf, PathBuf)>, StoreError> {
        let workspace = workspace.map(text);
        self.writer.write_blocking(move |c| {
            let mut statement =
                c.prepare("SELECT workspace, dir FROM mount_points WHERE ?1 IS NULL OR workspace = ?1")?;
            let mut rows = statement.query(params![workspace])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push((
                    PathBuf::from(row.get::<_, String>(0)?),
                    PathBuf::from(row.get::<_, String>(1)?),
                ));
            }
            Ok(found)
        })
    }
}

/// Workspaces with names that are not UTF-8 are refused before they come here.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
