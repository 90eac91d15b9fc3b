//! Owns: a live session: where the log, the model, the shell and the tools meet.
//! Guarantees: one writer per session; every reader is a cursor over the log; asks go down, reports come up.

mod actor;
pub mod answer;
mod calls;
mod compact;
mod doors;
mod drone;
mod execs;
mod facts;
pub mod feed;
mod files;
mod fill;
mod folds;
mod follow;
mod grants;
mod hooks;
mod init;
mod lifecycle;
mod mailbox;
mod mend;
mod network;
mod orders;
mod prepare;
mod presence;
mod prompt;
mod prompt_check;
mod purse;
mod recall;
mod recover;
mod repeats;
mod secrets;
mod step;
mod stray;
mod surroundings;
mod turn;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

pub use crate::workspace::Kind as FileKind;
pub use execs::{ExecOutput, Job, JobProcess, OutputKind, ScreenPiece, Shown, Viewing};
pub use files::{FilePiece, FileWish, FileWrote, FilesPage, to_write_in};
pub use fill::{Context, Piece, Share};
pub use follow::{FollowItem, FollowOptions, Follower, OutputPiece};
pub use grants::ProjectGrants;
pub use hooks::Hooks;
pub use orders::Resolution;
pub use presence::Attached;
pub use prompt::VERSION as PROMPT_VERSION;
pub use recover::load;

use crate::domain::command::{Command, Reply};
use crate::domain::event::{ExecResult, ModelRef, TurnOptions};
use crate::domain::id::{ExecId, MessageId, Seq, SessionId, TurnId};
use crate::domain::message::Part;
use crate::domain::principal::{Asker, Caller};
use crate::domain::rejection::Rejection;
use crate::domain::secret_files::SecretFiles;
use crate::domain::session::{QueuedMessage, Summary, clip};
use crate::domain::task::TaskId;
use crate::jail::network::NetworkSettings;
use crate::jail::{JailHost, Keeping, Limits, Person};
use crate::ledger::Ledger;
pub use crate::model::Environment;
use crate::model::{Model, ModelRegistry};
pub use crate::shell::{PtySize as TerminalSize, Stdin};
use crate::store::{RequestKey, Store, StoreError};
use crate::tools::TaskDesk;
use execs::Execs;
use feed::Feed;
use mailbox::{Actor, Wish};
use network::Net;
use presence::Presence;

/// What all sessions of a daemon share.
pub struct Settings {
    /// Models by name; replaced when credentials change.
    pub models: RwLock<ModelRegistry>,
    /// What was granted to projects.
    pub grants: ProjectGrants,
    /// The user's own programs that are told.
    pub hooks: Hooks,
    /// Reasoning effort, where configured.
    pub effort: Option<String>,
    /// The model for titles and summaries, where configured.
    pub small_model: Option<String>,
    /// Models that take the place of one that can't be had, in order.
    pub fallback: Vec<String>,
    /// Percent of a model's window at which a context is compacted; `None`: never by itself.
    pub compact_percent: Option<u64>,
    /// The maker of jails.
    pub jails: Arc<JailHost>,
    /// Limits of a jail.
    pub limits: Limits,
    /// What the user's configuration says of networks.
    pub network: Arc<NetworkSettings>,
    /// Extra read-only mounts.
    pub read_only: Vec<PathBuf>,
    /// Whose tools jails show.
    pub person: Arc<Person>,
    /// Shell text that new shells run first.
    pub shell_init: Option<String>,
    /// What this machine can keep of limits.
    pub keeping: Keeping,
    /// Files of workspaces that hold secrets: not read by tools, their values redacted.
    pub secret_files: SecretFiles,
    /// They are masked in jails as well.
    pub mask: bool,
    /// Where package caches are kept.
    pub cache_dir: PathBuf,
    /// The user's name and mail for commits made inside.
    pub git_identity: Option<(String, String)>,
    /// Variables every jail's environment is built with.
    pub environment: BTreeMap<String, String>,
    /// Time-out of a tool's command.
    pub tool_timeout: Duration,
    /// Bytes of output kept per stream.
    pub max_output: u64,
    /// An idle jail ends after this long; its state is kept.
    pub idle_timeout: Duration,
    /// Most steps of a turn, unless the poster says otherwise.
    pub max_steps: u32,
    /// Budgets, and what is under way.
    pub ledger: Ledger,
    /// The way of a session's model to the board of its workspace.
    pub desks: Desks,
}

/// Makes the desk of a session on a workspace.
pub type Desks = Box<dyn Fn(&SessionId, &Path) -> Arc<dyn TaskDesk> + Send + Sync>;

impl Settings {
    /// The models, with the credentials of this moment.
    pub fn models(&self) -> ModelRegistry {
        // A registry is whole after any panic elsewhere.
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the package caches of a person on a workspace are: each has its own, so that none can poison another's.
    pub(crate) fn cache_of(&self, workspace: &Path, principal: &str) -> PathBuf {
        use sha2::Digest as _;
        let whose = [workspace.as_os_str().as_bytes(), principal.as_bytes()].join(&0);
        let hash = sha2::Sha256::digest(whose);
        let name: String = hash.iter().take(12).map(|b| format!("{b:02x}")).collect();
        self.cache_dir.join("workspaces").join(name)
    }

    /// True when contexts are compacted without being asked.
    pub(crate) fn compacts(&self) -> bool {
        self.compact_percent.is_some()
    }

    /// Tokens at which a context in this window is compacted by itself.
    pub(crate) fn compact_at(&self, window: Option<u64>) -> Option<u64> {
        Some(window?.saturating_mul(self.compact_percent?) / 100)
    }

    /// Puts a registry with other credentials in place.
    pub fn set_models(&self, models: ModelRegistry) {
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = models;
    }
}

/// A command was refused, or something is broken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A reasoned "no".
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// No space left for the store.
    #[error("{0}")]
    Full(StoreError),
    /// Another program keeps the store from writing.
    #[error("{0}")]
    Locked(StoreError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full(error),
            StoreError::Locked => Self::Locked(error),
            StoreError::Closed => Self::closing(),
            other => Self::Store(other),
        }
    }
}

impl Fault {
    fn closing() -> Self {
        Self::Rejected(Rejection::ShuttingDown)
    }
}

/// A live session. Cheap to clone.
#[derive(Clone)]
pub struct SessionHandle {
    session_id: SessionId,
    actor: Actor,
    feed: Arc<Feed>,
    execs: Arc<Execs>,
    store: Store,
    published: watch::Receiver<Summary>,
    presence: Arc<Presence>,
    net: Arc<Net>,
}

/// What a person posts.
pub struct Post {
    /// Text and attachments.
    pub parts: Vec<Part>,
    /// The model that answers, resolved; `None` keeps the session's.
    pub model: Option<Arc<dyn Model>>,
    /// True when the model was named in the post: it then becomes the session's.
    pub choose_model: bool,
    /// What is asked of the turn.
    pub options: TurnOptions,
    /// Of an open turn: read it before the next step.
    pub steer: bool,
    /// Refuse unless this is the head.
    pub expected_head: Option<Seq>,
}

/// What to run.
pub struct Run {
    /// Shell text.
    pub script: Vec<u8>,
    /// Standard input.
    pub stdin: Stdin,
    /// Time-out.
    pub timeout: Option<Duration>,
    /// Variables for this command only.
    pub environment: Vec<(String, String)>,
    /// Directory for this command only.
    pub cwd: Option<PathBuf>,
    /// An interactive shell on the terminal, instead of the script.
    pub interactive: bool,
    /// Its TERM; `None` for the usual.
    pub term: Option<String>,
}

impl SessionHandle {
    /// Its id.
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// As it is now.
    pub fn summary(&self) -> Summary {
        self.published.borrow().clone()
    }

    /// Posts a message.
    pub async fn post(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        post: Post,
    ) -> Result<Reply, Fault> {
        let model = post
            .model
            .as_ref()
            .filter(|_| post.choose_model)
            .map(|model| ModelRef {
                name: model.name().to_owned(),
                demo: model.is_demo(),
                context_tokens: model.context_tokens(),
            });
        let command = Command::PostMessage {
            message_id: MessageId::random(),
            parts: post.parts,
            model,
            options: post.options,
            steer: post.steer,
            turn_id: TurnId::random(),
            expected_head: post.expected_head,
        };
        self.actor
            .wish(Wish {
                command,
                caller,
                request,
                model: post.model,
                launch: None,
            })
            .await
    }

    /// The messages that wait, in order.
    pub async fn queue(&self) -> Result<Vec<QueuedMessage>, Fault> {
        self.actor.queue().await
    }

    /// Changes a message that waits, or takes it back.
    pub async fn change_queue(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        command: Command,
    ) -> Result<Seq, Fault> {
        self.order(caller, request, command).await
    }

    /// Has a command decided and committed; answers with where that stands, of one told before with the head.
    async fn order(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        command: Command,
    ) -> Result<Seq, Fault> {
        let wish = Wish {
            command,
            caller,
            request,
            model: None,
            launch: None,
        };
        match self.actor.wish(wish).await? {
            Reply::Done { seq } | Reply::Resolved { seq, .. } => Ok(seq),
            _ => Ok(self.summary().head),
        }
    }

    /// Gives it another name.
    pub async fn rename(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        name: String,
    ) -> Result<Seq, Fault> {
        match self.order(caller, request, Command::Rename { name }).await {
            Err(Fault::Store(StoreError::NameTaken(name))) => Err(Rejection::NameTaken {
                name,
                workspace: "another session".into(),
            }
            .into()),
            done => done,
        }
    }

    /// Works on another task, or on none, from now on.
    pub async fn choose_task(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        task: Option<TaskId>,
    ) -> Result<Seq, Fault> {
        self.order(caller, request, Command::ChooseTask { task }).await
    }

    /// Stops the open turn.
    pub async fn interrupt(&self, caller: Caller, request: Option<RequestKey>) -> Result<Seq, Fault> {
        self.actor.interrupt(caller, request).await
    }

    /// Starts a command: answers once its start is committed.
    pub async fn start_exec(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        run: Run,
    ) -> Result<(ExecId, Seq), Fault> {
        self.execs.check().map_err(Fault::from)?;
        let exec_id = ExecId::random();
        let text = String::from_utf8_lossy(&run.script);
        let script = clip(&text, 64 * 1024);
        let command = Command::StartExec {
            exec_id: exec_id.clone(),
            script_truncated: script.len() < text.len(),
            script,
            pty: matches!(run.stdin, Stdin::Pty(_)),
            timeout_ms: run
                .timeout
                .map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        };
        let launch = self.execs.launch_of(exec_id.clone(), run);
        let answer = self
            .actor
            .wish(Wish {
                command,
                caller,
                request,
                model: None,
                launch: Some(launch),
            })
            .await;
        // Refused, or told before: no run of this name will come.
        if !matches!(&answer, Ok(Reply::ExecStarted { exec_id: started, .. }) if *started == exec_id) {
            self.execs.close_terminal(&exec_id);
        }
        match answer? {
            Reply::ExecStarted { seq, exec_id } => Ok((exec_id, seq)),
            _ => Ok((exec_id, self.summary().head)),
        }
    }

    /// Waits until a command that was started at `started` has its end in the log.
    pub async fn exec_finished(&self, exec_id: &ExecId, started: Seq) -> Result<ExecResult, Fault> {
        let mut bell = self.feed.listen();
        // Output rings too: the store is asked only when a fact came since the last look.
        let mut looked_at = started;
        loop {
            let head = bell.borrow_and_update().head;
            if head != looked_at || !self.execs.is_running(exec_id) {
                looked_at = head;
                if let Some(result) = self.exec_result(exec_id).await? {
                    return Ok(result);
                }
            }
            bell.changed().await.map_err(|_| Fault::closing())?;
        }
    }

    /// How a command ended; `None` while it runs.
    pub async fn exec_result(&self, exec_id: &ExecId) -> Result<Option<ExecResult>, Fault> {
        if let Some(result) = self.execs.end_of(exec_id) {
            return Ok(Some(result));
        }
        match self.store.exec(&self.session_id, exec_id).await? {
            None => Err(Rejection::ExecNotFound(exec_id.to_string()).into()),
            Some(row) => Ok(row.result),
        }
    }

    /// True while a full disk keeps a command's end out of the log: it comes with the space.
    pub fn is_held(&self, exec_id: &ExecId) -> bool {
        self.execs.is_held(exec_id)
    }

    /// Where a command's output is.
    pub async fn output(&self, exec_id: &ExecId) -> Result<ExecOutput, Fault> {
        if self.execs.is_running(exec_id) || self.execs.end_of(exec_id).is_some() {
            return Ok(self.execs.output(exec_id));
        }
        match self.store.exec(&self.session_id, exec_id).await? {
            None => Err(Rejection::ExecNotFound(exec_id.to_string()).into()),
            Some(_) => Ok(self.execs.output(exec_id)),
        }
    }

    /// The doorbell.
    pub fn listen(&self) -> watch::Receiver<feed::Tick> {
        self.feed.listen()
    }

    /// Stops a command; its end follows as a fact.
    pub async fn interrupt_exec(&self, exec_id: &ExecId) -> Result<(), Fault> {
        Ok(self.execs.interrupt(exec_id).await?)
    }

    /// What commands that have ended left running.
    pub async fn jobs(&self) -> Result<Vec<Job>, Fault> {
        self.execs.jobs().await
    }

    /// Ends what a command left running.
    pub async fn end_job(&self, exec_id: &ExecId) -> Result<(), Fault> {
        self.execs.end_job(exec_id).await
    }

    /// Rings when the session, as lists and clients see it, changed.
    pub fn changes(&self) -> watch::Receiver<Summary> {
        self.published.clone()
    }

    /// Writes to a command's standard input, which takes the input; with `unless_held` only where no other client that
    /// is attached has it.
    pub async fn write_input(
        &self,
        exec_id: &ExecId,
        writer: (String, u64),
        (data, eof): (bytes::Bytes, bool),
        unless_held: bool,
    ) -> Result<u64, Fault> {
        if !data.is_empty() {
            self.presence.take_input(&writer.0, unless_held)?;
        }
        Ok(self.execs.write_input(exec_id, writer, data, eof).await?)
    }

    /// Resizes a command's terminal.
    pub async fn resize(&self, exec_id: &ExecId, columns: u16, rows: u16) -> Result<(), Fault> {
        Ok(self.execs.resize(exec_id, columns, rows).await?)
    }

    /// What a run's terminal shows.
    pub async fn screen(&self, exec_id: &ExecId) -> Result<ScreenPiece, Fault> {
        Ok(self.execs.screen(exec_id).await?)
    }

    /// A viewer has drawn a terminal's bytes up to `offset`.
    pub fn ack_output(&self, exec_id: &ExecId, viewer: &str, offset: u64) {
        self.execs.ack(exec_id, viewer, offset);
    }

    /// One viewer's way through a run's output; `None` when the run has no terminal or is over. A viewer that begins with
    /// the screen gets it anew in each new size.
    pub fn view(&self, exec_id: &ExecId, viewer: &str, sent: Option<u64>) -> Option<Viewing> {
        Viewing::new(&self.execs, exec_id, viewer, sent, sent.is_none())
    }

    /// A cursor over the log, with previews and output where wanted. Refused beyond the head: facts would be
    /// skipped until the log had caught up with it.
    /// `writer` is the name under which the reader writes terminal input, empty when it does not.
    pub fn follow(
        &self,
        who: &Caller,
        writer: String,
        options: FollowOptions,
    ) -> Result<Follower, Rejection> {
        let head = self.feed.head();
        if options.after_seq > head {
            return Err(Rejection::InvalidArgument(format!(
                "after_seq {} is beyond the head {head}",
                options.after_seq
            )));
        }
        Ok(Follower::new(
            self.session_id.clone(),
            self.store.clone(),
            self.feed.clone(),
            self.execs.clone(),
            self.published.clone(),
            self.presence.attach(Asker::of(who), writer),
            options,
        ))
    }

    /// Who follows it, longest first.
    pub fn attached(&self) -> Arc<[Attached]> {
        self.presence.all()
    }

    /// Brings the open turn to a stop for a shutdown.
    pub async fn shut_down(&self, keep_jails: bool) {
        self.net.flush().await;
        self.actor.shutdown(keep_jails).await;
    }

    /// Ends the jail, its processes and its mount points, and sees the ends of its commands into the log.
    pub async fn end_jail(&self) {
        self.execs.end_jail().await;
        self.execs.settle().await;
    }

    /// True where nothing works, waits or runs in it and nobody follows or holds it but the one who asks: all that it is
    /// stands in the store.
    pub fn is_at_rest(&self) -> bool {
        self.actor.asks.strong_count() == 1
            && self.published.borrow().is_at_rest()
            && self.presence.all().is_empty()
            && self.net.is_at_rest()
            && self.execs.is_at_rest()
    }

    /// Ends its actor, if it still is at rest. The caller sees to it that nobody takes the handle meanwhile; this one is of
    /// no use afterwards.
    pub async fn leave(self) -> bool {
        self.actor.leave().await
    }

    /// True while a jail lives.
    pub fn has_jail(&self) -> bool {
        self.execs.has_jail()
    }
}

/// A new trace id: 32 hex digits.
pub fn trace_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
