//! Owns: the wall around a Session: what a Jail is made of, starting, finding again and ending it.
//! Guarantees: nothing runs unjailed unless the user said `outer`; a Jail outlives the daemon and is found again by the
//! next one; nothing of ours stays in the project.

mod alive;
pub mod bwrap;
mod cgroup;
pub mod etc;
pub mod guard;
mod layers;
pub mod layout;
pub mod limits;
pub mod link;
mod look;
pub mod mounts;
pub mod network;
pub mod plan;
pub mod probe;
pub mod process;
mod runtime;
mod scope;
pub mod seccomp;
pub mod secrets;
pub mod sight;
pub mod spec;
pub mod toolchains;

pub use layout::{LayoutWish, check_workspace, choose_layout};
pub use limits::{Keeping, Limits};
pub(crate) use link::hearing_of;
pub use look::repository;
pub use mounts::{MemoryJournal, MountJournal};
pub use probe::{Finding, Severity, ensure_jail_possible, probe, version_line};
pub use process::{Jail, JailHost, JailHostConfig};
pub use scope::Scopes;
pub use secrets::secret_files;
pub use sight::{Sight, shown_added, unshown};
pub use spec::{JailPolicy, JailSpec, Person};

use std::path::PathBuf;

/// Why there is no Jail.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JailError {
    /// The machine can't make one: the named cause and its fix.
    #[error("{}", .0.what)]
    Impossible(Finding),
    /// This directory can't be a Workspace.
    #[error("{path}: {reason}", path = .path.display())]
    Workspace {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What to do instead.
        next_step: String,
    },
    /// It was started and did not come up.
    #[error("the jail did not start: {0}")]
    Start(String),
    /// The path of its control socket would be longer than the system allows.
    #[error("the runtime directory's path is too long for a socket: {path}", path = .0.display())]
    SocketPath(PathBuf),
    /// A file or directory of ours.
    #[error("{doing}: {why}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        why: String,
    },
    /// It is gone.
    #[error("the jail has ended")]
    Gone,
}

impl JailError {
    /// Next steps for a person, in order; possibly none.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Impossible(finding) => finding.fix.clone(),
            Self::Workspace { next_step, .. } => vec![next_step.clone()],
            Self::SocketPath(_) => vec!["set a shorter XDG_RUNTIME_DIR or AGENTD_STATE_DIR".to_owned()],
            Self::Start(_) | Self::Io { .. } | Self::Gone => vec!["agentctl doctor".to_owned()],
        }
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io {
            doing,
            why: error.to_string(),
        }
    }
}
