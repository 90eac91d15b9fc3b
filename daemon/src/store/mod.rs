//! Owns: SQLite. The only module that knows it.
//! Guarantees: one thread writes; an answered write is on disk (WAL, synchronous FULL); every event went
//! through the redactor; reads never wait for the writer.

mod blocks;
mod board;
mod codec;
mod copy;
mod error;
mod find;
mod folds;
mod grants;
mod index;
mod journal;
pub mod ledger;
mod lifecycle;
mod log;
mod reader;
pub mod redact;
mod requests;
mod schema;
mod search;
mod thread;
mod unkept;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use board::{BoardRows, BoardWrite, FileWrite, TaskCost, Twin};
pub use copy::Prefix;
pub use error::StoreError;
pub use find::Places;
pub use index::{RowChange, SessionFilter, SessionOrder};
pub use lifecycle::Loss;
pub use log::{Append, Sealed};
pub use requests::{RequestKey, RequestRecord};
pub use schema::check;
pub use search::{Found, SearchWish};

use crate::domain::id::{ExecId, Seq, SessionId};
use crate::domain::session::Summary;
use redact::Redactor;

/// The sole owner of the database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: thread::Writer,
    readers: reader::Readers,
    redactor: Arc<Redactor>,
    unkept: unkept::Unkept,
    lag: search::Lag,
    /// As they are in the database; `None`: not read since one changed.
    budgets: Arc<tokio::sync::Mutex<Option<Vec<crate::domain::budget::Budget>>>>,
    path: Arc<PathBuf>,
}

/// Where a command run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRow {
    /// Seq of its ExecStarted.
    pub started_seq: Seq,
    /// How it ended; `None` while it runs.
    pub result: Option<crate::domain::event::ExecResult>,
}

impl Store {
    /// Opens (or makes) the database, checks it, and brings its schema up to date.
    pub fn open(path: &Path, redactor: Arc<Redactor>) -> Result<Self, StoreError> {
        let connection = schema::open_writer(path)?;
        let readers = reader::Readers::open(path)?;
        Ok(Self {
            writer: thread::Writer::start(connection)?,
            readers,
            redactor,
            unkept: unkept::Unkept::default(),
            lag: search::Lag::default(),
            budgets: Arc::default(),
            path: Arc::new(path.to_owned()),
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The redactor at the write door.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Waits until every write asked for so far is done, then closes the writer. Later writes fail.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// True once the writing thread came to this request; it writes nothing.
    pub async fn pulse(&self) -> bool {
        self.writer.pulse().await
    }

    /// One session's row.
    pub async fn session(&self, session_id: &SessionId) -> Result<Option<Summary>, StoreError> {
        let id = session_id.clone();
        self.readers.read(move |c| index::session(c, &id)).await
    }

    /// An id that no session has, and none had.
    pub async fn free_session_id(&self) -> Result<SessionId, StoreError> {
        self.readers.read(index::free_session_id).await
    }

    /// Writes what a session is doing into its row, where that changed without an event.
    pub async fn restate(&self, summary: Summary) -> Result<(), StoreError> {
        self.writer.write(move |c| index::restate(c, &summary)).await
    }

    /// Sessions that match `filter`, needing-you first, then newest first.
    pub async fn sessions(&self, filter: SessionFilter) -> Result<Vec<Summary>, StoreError> {
        self.readers.read(move |c| index::sessions(c, &filter)).await
    }

    /// Sessions whose row changed after `rev`, oldest change first, and the newest rev.
    pub async fn sessions_changed(&self, rev: u64) -> Result<(Vec<RowChange>, u64), StoreError> {
        self.readers.read(move |c| index::changed(c, rev)).await
    }

    /// Ids of the sessions whose id starts with `prefix` or whose name is `text`.
    pub async fn find_sessions(&self, text: &str, principal: &str) -> Result<Vec<Summary>, StoreError> {
        let (text, principal) = (text.to_owned(), principal.to_owned());
        self.readers
            .read(move |c| index::find(c, &text, &principal))
            .await
    }

    /// Sessions that had an open turn, command or approval when their last event was written.
    pub async fn sessions_with_open_work(&self) -> Result<Vec<SessionId>, StoreError> {
        self.readers.read(index::open_work).await
    }

    /// How many sessions are not archived, how many work, and how many approvals are open.
    pub async fn counts(&self) -> Result<(u32, u32, u32), StoreError> {
        self.readers.read(index::counts).await
    }

    /// Microseconds that ended commands of a session took together.
    pub async fn exec_time(&self, session_id: &SessionId) -> Result<u64, StoreError> {
        let session = session_id.clone();
        self.readers.read(move |c| index::exec_time(c, &session)).await
    }

    /// How a command run stands.
    pub async fn exec(
        &self,
        session_id: &SessionId,
        exec_id: &ExecId,
    ) -> Result<Option<ExecRow>, StoreError> {
        let (session, exec) = (session_id.clone(), exec_id.clone());
        self.readers.read(move |c| index::exec(c, &session, &exec)).await
    }

    /// Approvals of one session or all, open ones first (oldest first), then decided ones (newest first).
    pub async fn approvals(
        &self,
        session_id: Option<&SessionId>,
        decided: bool,
        limit: u32,
    ) -> Result<Vec<(SessionId, crate::domain::approval::Approval)>, StoreError> {
        let session = session_id.cloned();
        self.readers
            .read(move |c| index::approvals(c, session.as_ref(), decided, limit))
            .await
    }

    /// Approvals whose id starts with `prefix`; at most three, enough to see ambiguity.
    pub async fn find_approvals(
        &self,
        prefix: &str,
    ) -> Result<Vec<(SessionId, crate::domain::approval::Approval)>, StoreError> {
        let prefix = prefix.to_owned();
        self.readers
            .read(move |c| index::find_approvals(c, &prefix))
            .await
    }

    /// Calls of the last sessions that were at work, the newest first in each: at most `limit`, of at most a hundred
    /// sessions and their last ten thousand events.
    pub async fn recent_calls(
        &self,
        workspace: Option<String>,
        limit: u32,
    ) -> Result<Vec<crate::domain::event::Event>, StoreError> {
        self.readers
            .read(move |c| log::recent_calls(c, workspace.as_deref(), limit))
            .await
    }

    /// Takes a grant back.
    pub async fn revoke_grant(
        &self,
        grant_id: crate::domain::id::GrantId,
        now_us: i64,
    ) -> Result<(), StoreError> {
        self.writer
            .write(move |c| grants::revoke(c, &grant_id, now_us))
            .await
    }

    /// What was granted to projects, newest first.
    pub async fn project_grants(&self) -> Result<Vec<crate::domain::approval::ProjectGrant>, StoreError> {
        self.readers.read(grants::all).await
    }
}

#[cfg(test)]
mod find_tests;
#[cfg(test)]
pub(crate) mod tests;
