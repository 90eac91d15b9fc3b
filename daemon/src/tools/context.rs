//! Owns: what a tool needs from its surroundings, as traits the session implements.
//! Guarantees: tools know neither the shell nor the store; what the model has seen of a file is remembered per session.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{FileChange, ToolError};
use crate::domain::id::ExecId;
use crate::domain::network::Target;
use crate::workspace::{Guard, Stamp};

/// The names files have for the model, and for the Workspace.
pub trait JailPaths: Send + Sync {
    /// A path as the model gave it (absolute in the jail, or relative to the Workspace root) as one relative to the
    /// Workspace; `None` when it lies outside.
    fn relative(&self, given: &str) -> Option<PathBuf>;
    /// A path as the model should read it.
    fn show(&self, rel: &Path) -> String;
}

/// Where a path as the model gave it lies: relative to the Workspace, or absolute in a directory that was added beside it.
pub fn locate(paths: &dyn JailPaths, guard: &Guard, given: &str) -> Option<PathBuf> {
    let root = paths.show(Path::new(""));
    guard.locate(Path::new(&root), paths.relative(given), Path::new(given))
}

/// What planning needs: a part of [`ToolContext`].
pub trait PlanContext: Send + Sync {
    /// Names.
    fn paths(&self) -> &dyn JailPaths;
    /// Files.
    fn guard(&self) -> &Guard;
    /// Where the shell stands, in the jail's names; `None` = at the Workspace root.
    fn cwd(&self) -> Option<String>;
}

/// Everything a call may use. Cheap to clone.
#[derive(Clone)]
pub struct ToolContext {
    /// Files of the Workspace.
    pub guard: Arc<Guard>,
    /// Their names.
    pub paths: Arc<dyn JailPaths>,
    /// What the model has seen of them.
    pub files: Arc<FileStamps>,
    /// The Session's shell.
    pub shell: Arc<dyn CommandRunner>,
    /// Told before and after files are written.
    pub hook: Arc<dyn ChangeHook>,
    /// Protected paths the decision on this call covers ([`super::CallPlan::cleared`]). A path that became protected
    /// after the plan, by a link swapped in between, is not written.
    pub cleared: Arc<[PathBuf]>,
    /// The workspace's board.
    pub desk: Arc<dyn TaskDesk>,
    /// The Session's own log.
    pub log: Arc<dyn SessionLog>,
    /// The web, as far as the session may reach it.
    pub web: Arc<dyn Web>,
    /// Stops the call.
    pub cancel: CancellationToken,
}

impl PlanContext for ToolContext {
    fn paths(&self) -> &dyn JailPaths {
        self.paths.as_ref()
    }

    fn guard(&self) -> &Guard {
        &self.guard
    }

    fn cwd(&self) -> Option<String> {
        self.shell.cwd()
    }
}

/// What the model knows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The file as it was.
    pub stamp: Stamp,
    /// False when it saw only an excerpt in an error: enough to edit, not enough to overwrite.
    pub read: bool,
}

/// Per Session: which files the model has read or written, and what they were then.
#[derive(Debug, Default)]
pub struct FileStamps {
    seen: Mutex<HashMap<PathBuf, Seen>>,
}

impl FileStamps {
    /// The model read or wrote the file.
    pub fn read(&self, rel: &Path, stamp: Stamp) {
        self.lock().insert(rel.to_path_buf(), Seen { stamp, read: true });
    }

    /// The model was shown a piece of the file in an error.
    pub fn glimpsed(&self, rel: &Path, stamp: Stamp) {
        self.lock().insert(rel.to_path_buf(), Seen { stamp, read: false });
    }

    /// The file is gone.
    pub fn forget(&self, rel: &Path) {
        self.lock().remove(rel);
    }

    /// What the model knows of the file.
    pub fn get(&self, rel: &Path) -> Option<Seen> {
        self.lock().get(rel).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Seen>> {
        // A map is whole after any panic elsewhere.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the model wants of the board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskCall {
    /// One of the tool's verbs.
    pub verb: String,
    /// Which task.
    pub task: String,
    /// Title, note or reason.
    pub text: String,
    /// Where it goes.
    pub state: String,
    /// Commit or address.
    pub link: String,
}

/// The board of the Session's workspace, on behalf of the Session.
#[async_trait]
pub trait TaskDesk: Send + Sync {
    /// Does it; both answers are for the model.
    async fn call(&self, call: TaskCall) -> Result<String, String>;
}

/// The log of the Session, for what went out of the model's context.
#[async_trait]
pub trait SessionLog: Send + Sync {
    /// At most `limit` entries that have the text, newest first; `#NUMBER` reads one. Both answers are for the model.
    async fn find(&self, text: &str, limit: usize) -> Result<String, String>;
}

/// Told around every change of files by a tool; the place for checkpoints.
#[async_trait]
pub trait ChangeHook: Send + Sync {
    /// Before the first byte is written. An error stops the change.
    async fn before(&self, paths: &[PathBuf]) -> Result<(), ToolError>;
    /// After the last.
    async fn after(&self, changes: &[FileChange]);
}

/// Does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHook;

#[async_trait]
impl ChangeHook for NoHook {
    async fn before(&self, _paths: &[PathBuf]) -> Result<(), ToolError> {
        Ok(())
    }

    async fn after(&self, _changes: &[FileChange]) {}
}

/// The Session's persistent shell.
#[async_trait]
pub trait CommandRunner: Send + Sync {
    /// Runs a command and waits for it.
    async fn run(&self, command: CommandCall) -> Result<CommandOutput, ToolError>;

    /// A piece of the output of a command of this Session, by byte offset.
    async fn read_output(
        &self,
        exec_id: &ExecId,
        stream: OutputStream,
        offset: u64,
        len: u64,
    ) -> Result<OutputChunk, ToolError>;

    /// Where the shell stands, in the jail's names.
    fn cwd(&self) -> Option<String> {
        None
    }
}

/// A command to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandCall {
    /// Shell text.
    pub command: String,
    /// At most so long; `None`: the session's own limit.
    pub timeout: Option<Duration>,
    /// On a terminal, into which people can type.
    pub interactive: bool,
}

/// A page of the web.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Where from, in the end.
    pub url: String,
    /// HTTP's number.
    pub status: u16,
    /// What it is, as the server says.
    pub content_type: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// There were more.
    pub cut: bool,
    /// Another host it leads to, as an address in full.
    pub leads_to: Option<String>,
}

/// The web, by the rules of the Session's network.
#[async_trait]
pub trait Web: Send + Sync {
    /// Gets a page; the decision on the call has covered the host. An error is a sentence.
    async fn get(&self, url: &str, host: &Target) -> Result<Page, String>;
}

/// One of a command's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A piece of output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many bytes are kept in all.
    pub total_bytes: u64,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// The run.
    pub exec_id: Option<ExecId>,
    /// Its exit code; `None` while it runs on in the background or when it is unknown.
    pub exit_code: Option<i32>,
    /// It was stopped by its time limit.
    pub timed_out: bool,
    /// Somebody stopped it.
    pub interrupted: bool,
    /// Processes it started run on.
    pub background: bool,
    /// The shell had to be started anew.
    pub shell_restarted: bool,
    /// How long it took.
    pub duration: Duration,
    /// Standard output.
    pub stdout: OutputView,
    /// Standard error.
    pub stderr: OutputView,
    /// Where the shell stands afterwards, in the jail's names.
    pub cwd: Option<String>,
    /// A sentence of the shell about a limit that was hit or a state that was lost.
    pub message: Option<String>,
}

/// What a command wrote to one stream: its beginning and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputView {
    /// Bytes written, kept or not.
    pub total_bytes: u64,
    /// Line ends (`\n`) in all that was kept.
    pub total_lines: u64,
    /// First bytes. All of them when `tail` is empty and nothing is missing.
    pub head: Vec<u8>,
    /// Last bytes, never overlapping `head`.
    pub tail: Vec<u8>,
    /// Bytes that were not kept at all because of the cap; they cannot be read later.
    pub dropped: u64,
}

impl OutputView {
    /// Output that is here in full.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        let head: Vec<u8> = bytes.into();
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        Self {
            total_bytes: head.len() as u64,
            total_lines: lines as u64,
            head,
            ..Self::default()
        }
    }
}
