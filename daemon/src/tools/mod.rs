//! Owns: what the model can do: the trait of a tool, what a call plans and what it leaves behind, and the registries.
//! Guarantees: a call says what it would do before it does it; every error tells the model what to do next.

mod apply_patch;
mod arguments;
mod context;
mod draft;
mod edit;
mod exec;
mod fetch;
mod heredoc;
mod matching;
mod output;
mod plan;
mod read;
mod registry;
mod search;
mod task;
mod text;
mod v4a;
mod write;

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod v4a_tests;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::context::PlanItem;
use crate::domain::network::Target;
use crate::domain::policy::{CallFacts, ProtectedPath};
use crate::domain::tool::{Effect, ToolSpec};

pub use arguments::parse_arguments;
pub use context::{
    ChangeHook, CommandCall, CommandOutput, CommandRunner, FileStamps, JailPaths, NoHook, OutputChunk,
    OutputStream, OutputView, Page, PlanContext, Seen, SessionLog, TaskCall, TaskDesk, ToolContext, Web,
    locate,
};
pub use output::clean;
pub use registry::{Registry, written_dirs};

/// One thing a model can do.
#[async_trait]
pub trait Tool: Send + Sync {
    /// How it is described to the model.
    fn spec(&self) -> ToolSpec;

    /// What a call would do, without doing it. Looks at the disk only to find out what paths really lead to.
    fn plan(&self, args: &Value, ctx: &dyn PlanContext) -> Result<CallPlan, ToolError>;

    /// Does it. Protected paths are written only when `ctx.cleared` names them.
    async fn run(&self, args: &Value, ctx: &ToolContext) -> Result<ToolOutput, ToolError>;
}

/// What a call would do: what the Policy decides on and a person is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallPlan {
    /// What it can do to the world.
    pub effects: Vec<Effect>,
    /// One line a person reads, hidden characters made visible: `edit src/a.c`, `make test`.
    pub summary: String,
    /// Written paths, relative to the Workspace, links resolved.
    pub paths: Vec<PathBuf>,
    /// Those of them that ask for a second look, and why.
    pub protected: Vec<(PathBuf, &'static str)>,
    /// The command text, where it runs one.
    pub command: Option<String>,
    /// The command gets a terminal, into which people can type.
    pub interactive: bool,
    /// The hosts it reaches itself; empty with `ReachesOut`: not known.
    pub hosts: Vec<Target>,
}

impl CallPlan {
    /// The plan as the Policy sees it, in the Workspace at `root`.
    pub fn facts(&self, tool: &str, root: &Path) -> CallFacts {
        CallFacts {
            tool: tool.to_owned(),
            effects: self.effects.clone(),
            protected: self
                .protected
                .iter()
                .map(|(path, why)| ProtectedPath {
                    path: path.clone(),
                    why: (*why).to_owned(),
                })
                .collect(),
            command: self.command.clone(),
            paths: self.paths.clone(),
            root: root.to_path_buf(),
            hosts: self.hosts.clone(),
        }
    }

    /// The paths a decision to go ahead covers; goes into `ToolContext::cleared`.
    pub fn cleared(&self) -> Vec<PathBuf> {
        self.protected.iter().map(|(path, _)| path.clone()).collect()
    }
}

/// What a call left behind.
#[derive(Debug, Clone, Default)]
pub struct ToolOutput {
    /// What the model reads.
    pub text: String,
    /// False when the tool worked but what it did failed: a command with an exit code other than 0.
    pub ok: bool,
    /// Files changed by the tool itself (not by commands it ran).
    pub changes: Vec<FileChange>,
    /// The command run, where there was one.
    pub exec: Option<CommandOutput>,
    /// The plan it set, where it did.
    pub plan: Option<Vec<PlanItem>>,
}

/// One file's difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Relative to the Workspace; the new name of a renamed file.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Lines added.
    pub added: u32,
    /// Lines removed.
    pub removed: u32,
    /// Content before; `None` when there was no file.
    pub before: Option<Vec<u8>>,
    /// Content after; `None` when there is no file.
    pub after: Option<Vec<u8>>,
    /// Permission bits before; `None` when there was no file.
    pub mode: Option<u32>,
}

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// Its content changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name, and maybe other content.
    Renamed {
        /// The old name.
        from: PathBuf,
    },
}

/// Why a call did nothing. The text goes to the model and says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not make a call.
    #[error("{0}")]
    Arguments(String),
    /// The call was understood and cannot be done.
    #[error("{0}")]
    Refused(String),
    /// Something broke that is not the model's doing.
    #[error("{0}")]
    Failed(String),
    /// The person or the daemon stopped it.
    #[error("The call was interrupted; nothing is known about how far it got.")]
    Cancelled,
}
