//! Owns: what boards are asked, and what they answer.
//! Guarantees: plain data; a refusal is told from a broken store.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::id::SessionId;
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::Summary;
use crate::domain::task::{Field, Problem, TaskId};
use crate::store::{StoreError, TaskCost, Twin};

/// What boards are made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Files of a board, relative to the workspace; those that exist are read, the first is made when needed.
    pub files: Vec<String>,
    /// How long a claim lasts when its taker does not say.
    pub lease: Duration,
}

/// Refused, or the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A reasoned "no".
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A task with what is known beside its file.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// The task, its claim and conflicts.
    pub twin: Twin,
    /// Tasks it waits for that are not done.
    pub open_waits: Vec<String>,
    /// Sessions that work or worked on it, last used first.
    pub sessions: Vec<Summary>,
    /// What it cost.
    pub cost: TaskCost,
}

/// A board as lists show it.
#[derive(Debug, Clone)]
pub struct BoardView {
    /// Its workspace.
    pub workspace: PathBuf,
    /// Tasks in the files' order.
    pub tasks: Vec<TaskView>,
    /// The files that exist or existed.
    pub files: Vec<String>,
    /// What a person should look at.
    pub problems: Vec<Problem>,
    /// When the files were last looked at, microseconds since the epoch.
    pub synced_us: i64,
    /// Number of the last change.
    pub rev: u64,
}

/// A wish for a change.
#[derive(Debug, Clone, Default)]
pub struct EditWish {
    /// New texts of fields.
    pub set: Vec<(Field, String)>,
    /// A note to add.
    pub note: Option<String>,
    /// An id to write into the file.
    pub new_id: Option<TaskId>,
    /// The board's number that the wisher looked at; 0: the newest.
    pub base_rev: u64,
}

/// Who takes a task.
#[derive(Debug, Clone)]
pub struct Holder {
    /// For people: `ana via cli`, or a session's name.
    pub name: String,
    /// For the owner's column.
    pub owner: String,
    /// The session, where it is one.
    pub session_id: Option<SessionId>,
}

impl Holder {
    /// The asker of a request.
    pub fn person(caller: &Caller) -> Self {
        Self {
            name: caller.signature(),
            owner: caller.principal.clone(),
            session_id: None,
        }
    }

    /// A session.
    pub fn session(summary: &Summary) -> Self {
        Self {
            name: summary.name.clone(),
            owner: summary.name.clone(),
            session_id: Some(summary.session_id.clone()),
        }
    }
}

/// How a claim is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClaimWish {
    /// `None`: the configured one.
    pub lease: Option<Duration>,
    /// The session works on it in the background and hands it to review.
    pub run: bool,
    /// Also when it waits for others or is done.
    pub force: bool,
}

/// Which side of a conflict stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// What the file says.
    File,
    /// What the board wanted.
    Board,
    /// Something else.
    Text(String),
}
