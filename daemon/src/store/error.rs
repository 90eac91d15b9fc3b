//! Owns: what can go wrong with the database, sorted by what a caller can do about it.

use std::path::PathBuf;

use crate::domain::id::Seq;

/// A fault of the store, or its word that the log went on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else appended: the writer's idea of the head is old. A bug, never a user's fault.
    #[error("the log's head is not {expected}")]
    HeadMoved {
        /// What the writer believed.
        expected: Seq,
    },
    /// The session's name is taken by another session of the same user.
    #[error("session name '{0}' is taken")]
    NameTaken(String),
    /// The request id was answered before.
    #[error("request id was answered before")]
    Duplicate(Box<super::RequestRecord>),
    /// No space left on the disk that holds the database.
    #[error("the disk that holds the session store is full")]
    Full,
    /// Another program holds the database's write lock, longer than is waited for.
    #[error("another program holds the lock of the session store")]
    Locked,
    /// The database was written by a newer agentd.
    #[error(
        "{path} was written by a newer agentd (schema {found}, this one knows {known}): update agentd, or move the file away"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema number.
        found: u32,
        /// The newest this build knows.
        known: u32,
    },
    /// The database is damaged.
    #[error(
        "{path} is damaged ({detail}). It was not touched. To go on with an empty store, move it away: mv '{path}' '{path}.corrupt'"
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What the check said.
        detail: String,
    },
    /// A stored body could not be read.
    #[error("event {session}/{seq} can't be decoded: {detail}")]
    Decode {
        /// Whose log.
        session: String,
        /// Which event.
        seq: Seq,
        /// Why.
        detail: String,
    },
    /// The writer is gone: the daemon is shutting down.
    #[error("the store is closed")]
    Closed,
    /// Anything else SQLite said.
    #[error("session store: {0}")]
    Sqlite(rusqlite::Error),
    /// A file could not be used.
    #[error("session store: {0}")]
    Io(#[from] std::io::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Self::Locked,
            _ => Self::Sqlite(error),
        }
    }
}
