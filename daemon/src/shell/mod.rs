//! Owns: the persistent shell of a Session: commands queue in order, keep their state, and leave their output in spool files.
//! Guarantees: the spool file is the truth and a handle only rings; an exit code is the command's own; a shell or Jail that
//! died is replaced with its state restored, and the result says so; no command is ever run twice.

mod actor;
mod beginning;
mod exchange;
mod idle;
mod input;
mod jobs;
mod light;
mod limits;
mod outcome;
mod screen;
mod snapshot;
pub mod spool;
mod state;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

pub use beginning::{Beginning, ProjectInit, Start};
pub use jobs::JobProcess;
pub use screen::Screen;
pub use snapshot::ShellSnapshot;
pub use spool::SpoolPaths;

use crate::domain::id::ExecId;
use crate::jail::{JailError, JailHost, JailSpec};

/// Output kept per stream unless a run says otherwise.
pub const DEFAULT_MAX_OUTPUT: u64 = 64 * 1024 * 1024;

/// What a run reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    None,
    /// What [`RunHandle::write_input`] sends.
    Open,
    /// A terminal, on all three streams.
    Pty(PtySize),
}

/// A terminal with a shell of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// How large it is.
    pub size: PtySize,
    /// Its kind: the value of TERM inside. A word, as checked where it came in.
    pub term: String,
}

/// What TERM is where nobody says.
pub const DEFAULT_TERM: &str = "xterm-256color";

impl Terminal {
    /// Of the usual kind.
    pub fn of(size: PtySize) -> Self {
        Self {
            size,
            term: DEFAULT_TERM.to_owned(),
        }
    }
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PtySize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A command to run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Its name; names are never used again.
    pub exec_id: ExecId,
    /// The text, byte for byte, of any size.
    pub script: Vec<u8>,
    /// What it reads from.
    pub stdin: Stdin,
    /// Counts from its start, not from when it was queued.
    pub timeout: Option<Duration>,
    /// Exported for this run only.
    pub env: Vec<(String, String)>,
    /// Changes to this directory first (a jail path); like any `cd`, it stays.
    pub cwd: Option<PathBuf>,
    /// Bytes kept per stream.
    pub max_output: u64,
}

impl RunRequest {
    /// A plain run.
    pub fn new(exec_id: ExecId, script: impl Into<Vec<u8>>) -> Self {
        Self {
            exec_id,
            script: script.into(),
            stdin: Stdin::None,
            timeout: None,
            env: Vec::new(),
            cwd: None,
            max_output: DEFAULT_MAX_OUTPUT,
        }
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunState {
    /// Others are before it.
    Queued,
    /// Now.
    Running,
    /// There is a result; background processes may still write.
    Finished,
    /// Nothing more will be written.
    Closed,
}

/// The doorbell's text: how much was produced. Data is in the spool files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Produced so far (more than the file holds, once the cap is reached).
    pub stdout_bytes: u64,
    /// Produced so far.
    pub stderr_bytes: u64,
    /// Where the run is.
    pub state: RunState,
    /// It waits for input.
    pub waits: Option<LastWords>,
}

/// On which stream a run that waits said its last words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWords {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunResult {
    /// As a shell counts: 128 + signal; 124 when the time was up.
    pub exit_code: i32,
    /// The signal that ended the shell itself.
    pub signal: Option<i32>,
    /// The time was up.
    pub timed_out: bool,
    /// Somebody stopped it.
    pub interrupted: bool,
    /// Something it started still holds its output.
    pub background: bool,
    /// The shell ended; the next command has a new one with the saved state.
    pub shell_restarted: bool,
    /// The Jail was new: background processes of before are gone.
    pub jail_restarted: bool,
    /// It was never begun.
    pub not_run: bool,
    /// Produced.
    pub stdout_bytes: u64,
    /// Produced.
    pub stderr_bytes: u64,
    /// Produced but not kept: out of the middle.
    pub stdout_dropped: u64,
    /// Produced but not kept.
    pub stderr_dropped: u64,
    /// Either stream lost its middle.
    pub truncated: bool,
    /// From its start.
    pub duration: Duration,
    /// Where the shell is now, as a jail path.
    pub cwd: PathBuf,
    /// What a person and the model should be told besides.
    pub message: Option<String>,
}

impl RunResult {
    /// Adds a sentence for people and the model.
    pub(crate) fn say(&mut self, what: String) {
        self.message = Some(match self.message.take() {
            Some(before) => format!("{before}; {what}"),
            None => what,
        });
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShellError {
    /// The session's Shell was ended.
    #[error("the shell has been ended")]
    Ended,
    /// No Jail.
    #[error(transparent)]
    Jail(#[from] JailError),
    /// No such run, or it is over.
    #[error("no such run, or it is over")]
    NoSuchRun,
    /// It has no input, or nobody reads it any more.
    #[error("the command reads no input, or none any more")]
    InputClosed,
}

pub(crate) enum Ask {
    Run(Box<RunRequest>, RunSide),
    Pty(ExecId, Terminal, RunSide),
    Input(input::Piece, input::Answer),
    Resize(ExecId, PtySize),
    Interrupt(ExecId),
    Acknowledge(ExecId),
    /// What do commands that have ended still run?
    Jobs(tokio::sync::oneshot::Sender<Vec<JobProcess>>),
    EndJob(ExecId),
    /// Stand still, or go on.
    Freeze(bool),
    /// The answer comes once everything is gone.
    End(tokio::sync::oneshot::Sender<Result<(), JailError>>),
    /// Answered once no state is being asked for.
    Settled(tokio::sync::oneshot::Sender<()>),
    /// Who decides whether the shell begins with its project's text.
    Gate(Arc<dyn Beginning>),
    /// What they decided.
    Begin(Start),
    /// They are to be asked again before the next command.
    BeginAgain,
    /// Find the live Jail, if there is one; answers with its open runs.
    Adopt(tokio::sync::oneshot::Sender<Vec<RunHandle>>),
}

/// The actor's side of a handle.
#[derive(Debug)]
pub(crate) struct RunSide {
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) result: watch::Sender<Option<RunResult>>,
}

/// A run as its caller sees it. Dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct RunHandle {
    /// Its name.
    pub exec_id: ExecId,
    /// Where its output is.
    pub spool: SpoolPaths,
    /// Rings when there is more.
    pub changed: watch::Receiver<Progress>,
    result: watch::Receiver<Option<RunResult>>,
    asks: mpsc::UnboundedSender<Ask>,
}

impl RunHandle {
    fn new(exec_id: ExecId, spool: SpoolPaths, asks: mpsc::UnboundedSender<Ask>) -> (Self, RunSide) {
        let start = Progress {
            stdout_bytes: 0,
            stderr_bytes: 0,
            state: RunState::Queued,
            waits: None,
        };
        let (progress, changed) = watch::channel(start);
        let (result_tx, result) = watch::channel(None);
        (
            Self {
                exec_id,
                spool,
                changed,
                result,
                asks,
            },
            RunSide {
                progress,
                result: result_tx,
            },
        )
    }

    /// Waits for the end.
    pub async fn finished(&self) -> RunResult {
        let mut result = self.result.clone();
        match result.wait_for(Option::is_some).await {
            Ok(value) => value.clone().unwrap_or_default(),
            // The actor went away without a word: the runtime is shutting down. The run itself goes on.
            Err(_) => RunResult {
                not_run: self.changed.borrow().state == RunState::Queued,
                exit_code: -1,
                message: Some("the daemon stopped watching this run".to_owned()),
                ..RunResult::default()
            },
        }
    }

    /// The result, if it is there.
    pub fn result(&self) -> Option<RunResult> {
        self.result.borrow().clone()
    }

    /// Sends input of one writer, from `offset` of all that this one ever sent: a repeated write is typed once. Gives the
    /// offset of the writer's next byte once the Jail has these and there is room for more; less than `offset` where
    /// bytes before it are missing.
    ///
    /// # Errors
    /// When nobody reads it.
    pub async fn write_input(
        &self,
        (writer, offset): (String, u64),
        bytes: bytes::Bytes,
        eof: bool,
    ) -> Result<u64, ShellError> {
        let (answer, wait) = tokio::sync::oneshot::channel();
        let exec = self.exec_id.as_str().to_owned();
        let piece = input::Piece {
            exec,
            writer,
            offset,
            bytes,
            eof,
        };
        self.ask(Ask::Input(piece, answer))?;
        wait.await.map_err(|_| ShellError::NoSuchRun)?
    }

    /// Tells the terminal its size.
    ///
    /// # Errors
    /// When the Shell was ended.
    pub fn resize(&self, size: PtySize) -> Result<(), ShellError> {
        self.ask(Ask::Resize(self.exec_id.clone(), size))
    }

    /// Stops it: SIGINT, SIGTERM, SIGKILL. Earlier background jobs live.
    ///
    /// # Errors
    /// When the Shell was ended.
    pub fn interrupt(&self) -> Result<(), ShellError> {
        self.ask(Ask::Interrupt(self.exec_id.clone()))
    }

    fn ask(&self, ask: Ask) -> Result<(), ShellError> {
        self.asks.send(ask).map_err(|_| ShellError::Ended)
    }
}

/// A Session's persistent shell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shell {
    asks: mpsc::UnboundedSender<Ask>,
    snapshot: Arc<Mutex<Option<ShellSnapshot>>>,
    spool_dir: PathBuf,
}

impl Shell {
    /// The Jail starts at the first command; a live one (of a daemon before us) is adopted then, or by [`Shell::adopt`].
    /// Must be called inside a tokio runtime.
    pub fn open(host: Arc<JailHost>, spec: JailSpec, snapshot: Option<ShellSnapshot>) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "asks carry no output; callers wait for their results, not for room"
        )]
        let (asks, inbox) = mpsc::unbounded_channel();
        let spool_dir = host.spool_dir(&spec.session);
        let snapshot = Arc::new(Mutex::new(snapshot));
        let actor = actor::Actor::new(host, spec, Arc::clone(&snapshot), asks.downgrade());
        tokio::spawn(actor.run(inbox));
        Self {
            asks,
            snapshot,
            spool_dir,
        }
    }

    /// The next Shell of the same Session, in another Jail: what is asked of it waits until `before` is gone, and finds its
    /// state. Must be called inside a tokio runtime.
    pub fn open_after(before: Self, host: Arc<JailHost>, spec: JailSpec) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "asks carry no output; callers wait for their results, not for room"
        )]
        let (asks, inbox) = mpsc::unbounded_channel();
        let spool_dir = host.spool_dir(&spec.session);
        let snapshot = Arc::new(Mutex::new(before.snapshot()));
        let (kept, weak) = (Arc::clone(&snapshot), asks.downgrade());
        tokio::spawn(async move {
            let state = before.settled().await;
            if let Err(error) = before.end().await {
                tracing::warn!(%error, session = %spec.session, "the jail before could not be ended");
            }
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = state;
            actor::Actor::new(host, spec, kept, weak).run(inbox).await;
        });
        Self {
            asks,
            snapshot,
            spool_dir,
        }
    }

    /// Queues a command behind those of other callers.
    ///
    /// # Errors
    /// When the Shell was ended. What goes wrong later is in the result.
    pub fn run(&self, request: RunRequest) -> Result<RunHandle, ShellError> {
        let (handle, side) = self.handle(request.exec_id.clone());
        self.asks
            .send(Ask::Run(Box::new(request), side))
            .map_err(|_| ShellError::Ended)?;
        Ok(handle)
    }

    /// A shell on a terminal of its own, started from the present state. Its stdout stream is the terminal's bytes. On
    /// exit its state becomes the session's, unless a command ran meanwhile; the result's message says which.
    ///
    /// # Errors
    /// When the Shell was ended.
    pub fn open_pty(&self, exec_id: ExecId, terminal: Terminal) -> Result<RunHandle, ShellError> {
        let (handle, side) = self.handle(exec_id.clone());
        self.asks
            .send(Ask::Pty(exec_id, terminal, side))
            .map_err(|_| ShellError::Ended)?;
        Ok(handle)
    }

    /// Connects to the session's live Jail, if there is one, and returns handles of the runs still open in it.
    pub async fn adopt(&self) -> Vec<RunHandle> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        if self.asks.send(Ask::Adopt(tx)).is_err() {
            return Vec::new();
        }
        rx.await.unwrap_or_default()
    }

    /// Stops a run, queued or running.
    ///
    /// # Errors
    /// When the Shell was ended.
    pub fn interrupt(&self, exec_id: &ExecId) -> Result<(), ShellError> {
        self.asks
            .send(Ask::Interrupt(exec_id.clone()))
            .map_err(|_| ShellError::Ended)
    }

    /// The end of a run is on record: its Jail may forget it. Until then the next daemon would hear of it again.
    pub fn acknowledge(&self, exec_id: &ExecId) {
        // A Shell that was ended has no Jail that remembers.
        let _ended = self.asks.send(Ask::Acknowledge(exec_id.clone()));
    }

    /// What commands that have ended left running; nothing where no Jail lives.
    pub async fn jobs(&self) -> Vec<JobProcess> {
        let (answer, wait) = tokio::sync::oneshot::channel();
        if self.asks.send(Ask::Jobs(answer)).is_err() {
            return Vec::new();
        }
        // A Jail that ended meanwhile runs nothing.
        wait.await.unwrap_or_default()
    }

    /// Ends what a command left running: TERM, then KILL.
    pub fn end_job(&self, exec_id: &ExecId) {
        // A Shell that was ended has no Jail in which anything could run.
        let _ended = self.asks.send(Ask::EndJob(exec_id.clone()));
    }

    /// Stops every process of the Jail where it is, or lets them go on. Also holds for a Jail that starts later.
    /// Time limits stand still meanwhile.
    pub fn freeze(&self, frozen: bool) {
        // A shell that was ended has nothing left to stop.
        let _ended = self.asks.send(Ask::Freeze(frozen));
    }

    /// Ends the Jail and the Shell: no process is left when this returns.
    ///
    /// # Errors
    /// When a process would not go.
    pub async fn end(&self) -> Result<(), ShellError> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        if self.asks.send(Ask::End(tx)).is_err() {
            return Ok(());
        }
        Ok(rx.await.unwrap_or(Ok(()))?)
    }

    /// Who decides whether the shell begins with its project's text; asked before the next command.
    #[must_use]
    pub fn with_gate(self, gate: Arc<dyn Beginning>) -> Self {
        // A shell that was ended begins nothing.
        let _ended = self.asks.send(Ask::Gate(gate));
        self
    }

    /// The answer may be another by now: asked again before the next command.
    pub fn begin_again(&self) {
        // A shell that was ended begins nothing.
        let _ended = self.asks.send(Ask::BeginAgain);
    }

    /// Waits until the state after the last finished command is taken (it comes a moment after the result), and returns
    /// it. At once when nothing ran.
    pub async fn settled(&self) -> Option<ShellSnapshot> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        if self.asks.send(Ask::Settled(tx)).is_ok() {
            let _ended = rx.await;
        }
        self.snapshot()
    }

    /// The state after the last command: to be kept, so that a reboot can restore it.
    pub fn snapshot(&self) -> Option<ShellSnapshot> {
        self.snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn handle(&self, exec_id: ExecId) -> (RunHandle, RunSide) {
        let spool = SpoolPaths::new(&self.spool_dir, &exec_id);
        RunHandle::new(exec_id, spool, self.asks.clone())
    }
}
