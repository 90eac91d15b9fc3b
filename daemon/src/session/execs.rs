//! Owns: the command runs of a session: the shell they run in, their output files, their input, their end.
//! Guarantees: output is read from files by byte offset, never kept in memory; a run's end is appended to the
//! log whether or not anybody still waits for it.

mod ends;
mod jobs;
mod output;
mod purse;
mod runner;
mod stars;
mod terminals;
mod waits;
mod wall;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use ends::{Ends, Held, failed, remove_if_empty, spool_end};
pub use jobs::{Job, JobProcess};
pub use output::{ExecOutput, OutputKind};
pub(super) use runner::ToolRunner;
pub use terminals::{ScreenPiece, Shown, Viewing};
pub(super) use waits::Waits;

use super::feed::Feed;
use super::mailbox::Actor;
use super::network::Net;
use super::{Run, Settings};
use crate::clock::now_us;
use crate::domain::event::ExecResult;
use crate::domain::id::{CallId, ExecId, SessionId, TurnId};
use crate::domain::network::{Judgement, Target};
use crate::domain::principal::Caller;
use crate::domain::redaction::LogLevel;
use crate::domain::rejection::Rejection;
use crate::domain::secret_files::SecretFiles;
use crate::domain::session::Session;
use crate::domain::workspace::{JailKind, Workspace};
use crate::jail::{JailPolicy, JailSpec, ensure_jail_possible};
use crate::shell::{
    DEFAULT_TERM, PtySize, RunHandle, RunRequest, RunResult, RunState, Shell, ShellError, ShellSnapshot,
    Stdin, Terminal,
};
use crate::store::Store;
use crate::tools::JailPaths;

/// What to launch once its start is committed.
#[derive(Clone)]
pub(super) enum Launch {
    /// Shell text.
    Command(RunRequest),
    /// A shell on a terminal.
    Interactive(ExecId, Terminal),
}

/// A call that outlived its turn: its turn, its id.
pub(super) type LateCall = Option<(TurnId, CallId)>;

/// The runs of one session.
pub(super) struct Execs {
    session_id: SessionId,
    workspace: Workspace,
    jail: JailKind,
    settings: Arc<Settings>,
    store: Store,
    feed: Arc<Feed>,
    shell: Mutex<Shell>,
    spec: Mutex<JailSpec>,
    net: Arc<Net>,
    live: Mutex<BTreeMap<ExecId, RunHandle>>,
    terminals: Mutex<BTreeMap<ExecId, Arc<terminals::Terminal>>>,
    cwd: Mutex<Option<String>>,
    ends: Ends,
    held: Held,
    kept: Arc<tokio::sync::Mutex<Kept>>,
    /// The runs that wait for input.
    waits: watch::Sender<Waits>,
    time: purse::TimePurse,
    /// What the log keeps.
    log: LogLevel,
    /// Output that still is as its command wrote it.
    raw: stars::Raw,
    /// Tasks that write: waited for before the store is closed.
    tasks: TaskTracker,
}

/// The terminal of a command that a model runs interactively, until a person's client sets another size.
pub(super) const MODELS_TERMINAL: PtySize = PtySize { rows: 30, cols: 100 };

/// Which state of the shell was kept last, by its digest.
type Kept = Option<[u8; 32]>;

impl Execs {
    /// Opens the shell of a session; takes up the runs of a live jail.
    pub(super) async fn open(
        session: &Session,
        settings: Arc<Settings>,
        (store, feed, net): (Store, Arc<Feed>, Arc<Net>),
        snapshot: Option<String>,
    ) -> Arc<Self> {
        let spec = JailSpec {
            kind: session.spec.jail,
            policy: JailPolicy {
                generation: session.generation,
                network: session.network,
                read_only: session.persona.policy.read_only,
            },
            ca_file: settings.network.ca_file.clone(),
            env: settings.environment.clone(),
            limits: settings.limits.with(&session.spec.limits),
            git_identity: settings.git_identity.clone(),
            read_only: settings.read_only.clone(),
            added: session.spec.added_dirs.clone(),
            person: Some(settings.person.clone()),
            search_path: session.spec.search_path.clone(),
            init: settings.shell_init.clone(),
            masked: if settings.mask {
                settings.secret_files.clone()
            } else {
                SecretFiles::default()
            },
            cache_dir: Some(settings.cache_of(&session.spec.workspace.root, &session.spec.principal)),
            idle_timeout: Some(settings.idle_timeout),
            ..JailSpec::new(
                session.session_id.clone(),
                session.spec.workspace.clone(),
                session.spec.shell,
            )
        };
        let snapshot: Option<ShellSnapshot> = snapshot.and_then(|text| match serde_json::from_str(&text) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                tracing::warn!(%error, session = %session.session_id, "the saved shell state can't be read");
                None
            }
        });
        let kept = snapshot.as_ref().map(ShellSnapshot::digest);
        let cwd = snapshot.as_ref().map(|s| s.cwd.display().to_string());
        let time = purse::TimePurse::open(&store, &session.session_id, spec.limits.session_time).await;
        let shell = Shell::open(settings.jails.clone(), spec.clone(), snapshot).with_gate(net.clone());
        let execs = Arc::new(Self {
            session_id: session.session_id.clone(),
            workspace: session.spec.workspace.clone(),
            jail: session.spec.jail,
            store,
            feed,
            shell: Mutex::new(shell.clone()),
            spec: Mutex::new(spec),
            net,
            live: Mutex::default(),
            terminals: Mutex::default(),
            cwd: Mutex::new(cwd),
            ends: Ends::default(),
            held: Held::default(),
            kept: Arc::new(tokio::sync::Mutex::new(kept)),
            waits: watch::Sender::new(Waits::new()),
            time,
            log: session.spec.log,
            raw: stars::Raw::default(),
            tasks: TaskTracker::new(),
            settings,
        });
        if execs.settings.jails.live().contains(&session.session_id) {
            for handle in shell.adopt().await {
                execs.add(&handle);
            }
        }
        execs.learn_secrets().await;
        execs.star_left_over();
        execs
    }

    /// Tells the redactor what the secret files of the workspace hold now.
    pub(super) async fn learn_secrets(&self) {
        let root = self.workspace.root.clone();
        super::secrets::learn(&self.settings, self.store.redactor(), root).await;
    }

    /// Refuses before anything is written when no jail can be had.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        if !self.workspace.root.is_dir() {
            return Err(Rejection::WorkspaceRefused {
                message: format!("{}: the workspace is gone", self.workspace.root.display()),
                hints: vec!["bring the directory back, or make a session on another one".into()],
            });
        }
        self.time.check()?;
        if self.jail == JailKind::Bwrap {
            ensure_jail_possible().map_err(|e| Rejection::JailUnavailable {
                message: e.to_string(),
                hints: e.hints(),
            })?;
        }
        Ok(())
    }

    /// The file mode mask of what is made on the person's behalf.
    pub(super) fn umask(&self) -> Option<u32> {
        self.settings.limits.umask
    }

    /// The project's text may run by now: asked before the next command.
    pub(super) fn begin_again(&self) {
        self.shell().begin_again();
    }

    /// What all sessions share.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The names files have inside.
    pub(super) fn paths(&self) -> Arc<dyn JailPaths> {
        Arc::new(runner::Names(self.workspace.clone()))
    }

    /// Makes the launch of a person's or program's run.
    pub(super) fn launch_of(&self, exec_id: ExecId, run: Run) -> Launch {
        if let Stdin::Pty(size) = run.stdin {
            // Before the fact of its start: who reads that looks for the terminal.
            self.open_terminal(&exec_id, Some(size));
        }
        match run.stdin {
            Stdin::Pty(size) if run.interactive => {
                let term = run.term.unwrap_or_else(|| DEFAULT_TERM.to_owned());
                Launch::Interactive(exec_id, Terminal { size, term })
            }
            stdin => Launch::Command(RunRequest {
                stdin,
                timeout: run.timeout,
                env: run.environment,
                cwd: run.cwd,
                max_output: self.settings.max_output,
                ..RunRequest::new(exec_id, run.script)
            }),
        }
    }

    /// Queues a run whose start is committed, and sees to it that its end is.
    pub(super) fn launch(self: &Arc<Self>, launch: Launch, caller: Caller, actor: Actor) {
        let (exec_id, handle) = match launch {
            Launch::Command(request) => {
                let id = request.exec_id.clone();
                (id, self.run(request))
            }
            Launch::Interactive(id, terminal) => {
                let handle = self.shell().open_pty(id.clone(), terminal);
                (id, handle.inspect(|handle| self.add(handle)))
            }
        };
        match handle {
            Ok(handle) => self.see_to_end(handle, caller, actor, None),
            Err(error) => {
                self.close_terminal(&exec_id);
                let result = failed(&error);
                tokio::spawn(async move { actor.exec_ended(caller, exec_id, result, None, &|_| ()).await });
            }
        }
    }

    /// Takes up a run that was found in a live jail.
    pub(super) fn take_up(
        self: &Arc<Self>,
        (exec_id, pty): (&ExecId, bool),
        caller: Caller,
        actor: Actor,
        late: LateCall,
    ) {
        let handle = self.live().get(exec_id).cloned();
        if let Some(handle) = handle {
            if pty {
                self.open_terminal(exec_id, None);
            }
            self.see_to_end(handle, caller, actor, late);
        }
    }

    /// Queues a run. Its end is the caller's to record.
    pub(super) fn run(&self, mut request: RunRequest) -> Result<RunHandle, ShellError> {
        request.timeout = self.time.within(request.timeout);
        let shell = self.shell();
        let handle = match shell.run(request.clone()) {
            // The shell was ended (pause, delete, idle): a new one has its state.
            Err(ShellError::Ended) => self.reopen(&shell).run(request)?,
            other => other?,
        };
        self.add(&handle);
        Ok(handle)
    }

    fn add(&self, handle: &RunHandle) {
        self.live().insert(handle.exec_id.clone(), handle.clone());
        let (mut changed, feed) = (handle.changed.clone(), self.feed.clone());
        let mut waits = self.waiter(&handle.exec_id);
        tokio::spawn(async move {
            loop {
                let progress = *changed.borrow_and_update();
                waits.look(progress).await;
                if progress.state == RunState::Closed || changed.changed().await.is_err() {
                    break;
                }
                feed.output();
            }
            feed.output();
        });
    }

    fn see_to_end(self: &Arc<Self>, handle: RunHandle, caller: Caller, actor: Actor, late: LateCall) {
        let me = self.clone();
        self.tasks.spawn(async move {
            let result = handle.finished().await;
            let Some(exec_result) = me.ended_with(&handle, &result).await else {
                return;
            };
            let late = match late {
                None => None,
                Some((turn, call)) => Some((
                    turn,
                    call,
                    runner::late_text(&me, &handle.exec_id, &exec_result).await,
                )),
            };
            let id = handle.exec_id.clone();
            let held = |fault: &super::Fault| me.hold(&id, fault);
            actor
                .exec_ended(caller, id.clone(), exec_result, late, &held)
                .await;
            me.held.remove(&id);
            // Late output of background jobs is nobody's to wait for at a shutdown.
            tokio::spawn(async move { me.forget(&handle).await });
        });
    }

    /// The fact of an end, with the shell's new state kept. `None`: nobody watched to the end (shutdown); the
    /// run may go on in its jail and the next daemon takes it up.
    pub(super) async fn ended_with(&self, handle: &RunHandle, result: &RunResult) -> Option<ExecResult> {
        if result.exit_code < 0 {
            return None;
        }
        let cwd = result.cwd.display().to_string();
        if !cwd.is_empty() {
            *self.cwd.lock().unwrap_or_else(PoisonError::into_inner) = Some(cwd.clone());
        }
        tracing::debug!(exec = %handle.exec_id, exit = result.exit_code, "exec: ended");
        self.keep_snapshot();
        let stderr = match result.exit_code {
            0 => String::new(),
            _ => spool_end(&handle.spool.stderr),
        };
        let network = self.net.after_command(&handle.exec_id, &stderr);
        let used_up = self.time.took(result.duration, result.timed_out);
        let message = [result.message.clone(), network, used_up].into_iter().flatten();
        let message = message.collect::<Vec<String>>().join("; ");
        Some(ExecResult {
            exit_code: result.exit_code,
            timed_out: result.timed_out,
            interrupted: result.interrupted,
            background: result.background,
            shell_restarted: result.shell_restarted || result.jail_restarted,
            unknown: false,
            stdout_bytes: result.stdout_bytes,
            stderr_bytes: result.stderr_bytes,
            stdout_dropped: result.stdout_dropped,
            stderr_dropped: result.stderr_dropped,
            duration_us: u64::try_from(result.duration.as_micros()).unwrap_or(u64::MAX),
            cwd,
            message,
        })
    }

    /// Keeps the shell's state, off the path of the answer.
    pub(super) fn keep_snapshot(&self) {
        let (shell, store, id) = (self.shell(), self.store.clone(), self.session_id.clone());
        let kept_before = self.kept.clone();
        self.tasks.spawn(async move {
            shell.settled().await;
            let mut last = kept_before.lock().await;
            // Taken now: of several that waited here, one writes and the others find it written.
            let Some(snapshot) = shell.snapshot() else {
                return;
            };
            let digest = Some(snapshot.digest());
            // Most commands change nothing of the shell: they cost no write.
            if *last == digest {
                return;
            }
            let kept = match serde_json::to_string(&snapshot) {
                Ok(text) => {
                    let put = store.put_snapshot(&id, now_us(), text).await;
                    put.map(|()| *last = digest).map_err(|e| e.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = kept {
                tracing::warn!(%error, session = %id, "the shell's state could not be kept");
            }
        });
    }

    /// Drops a run that is over, and its empty files; late output of background jobs is waited for.
    pub(super) async fn forget(&self, handle: &RunHandle) {
        let mut changed = handle.changed.clone();
        // An error means that the shell is gone: closed all the same.
        let _closed = changed.wait_for(|p| p.state == RunState::Closed).await;
        self.live().remove(&handle.exec_id);
        self.close_terminal(&handle.exec_id);
        for file in [&handle.spool.stdout, &handle.spool.stderr] {
            remove_if_empty(file);
        }
        self.star_later([handle.spool.stdout.clone(), handle.spool.stderr.clone()]);
    }

    /// The end of a run is in the log: its jail may forget it.
    pub(super) fn acknowledge(&self, exec_id: &ExecId) {
        self.shell().acknowledge(exec_id);
    }

    /// The end of a run was committed.
    pub(super) fn end_committed(&self, exec_id: &ExecId, result: &ExecResult) {
        self.ends.note(exec_id, result);
        self.acknowledge(exec_id);
    }

    /// What a daemon that was killed has left of a command: an output half put in order (the output itself is whole), and
    /// the file of the last state of a terminal that is no more.
    pub(super) fn remove_left_over(&self, exec_id: &ExecId) {
        let dir = self.settings.jails.spool_dir(&self.session_id);
        crate::shell::spool::remove_half_sorted(&dir, exec_id);
        if !self.is_running(exec_id) {
            crate::shell::spool::remove_state(&dir, exec_id);
        }
    }

    /// Runs that a jail remembers although the log has their ends: the daemon before us went down between the two.
    pub(super) fn forget_known(self: &Arc<Self>, open: &Session) {
        let known: Vec<RunHandle> = self.live().values().cloned().collect();
        for handle in known {
            if !open.execs.contains_key(&handle.exec_id) {
                self.acknowledge(&handle.exec_id);
                let me = self.clone();
                tokio::spawn(async move { me.forget(&handle).await });
            }
        }
    }

    /// Runs that are going on, with the lengths of their outputs.
    pub(super) fn running(&self) -> Vec<(ExecId, [u64; 2])> {
        self.live()
            .iter()
            .map(|(id, handle)| {
                let progress = *handle.changed.borrow();
                (id.clone(), [progress.stdout_bytes, progress.stderr_bytes])
            })
            .collect()
    }

    /// True while a run is known to a live jail.
    pub(super) fn is_running(&self, exec_id: &ExecId) -> bool {
        self.live().contains_key(exec_id)
    }

    /// Where a run's output is.
    pub(super) fn output(&self, exec_id: &ExecId) -> ExecOutput {
        let live = self.live().get(exec_id).cloned();
        let dir = self.settings.jails.spool_dir(&self.session_id);
        ExecOutput::new(&dir, exec_id, live, self.settings.max_output)
    }

    /// Stops a run.
    pub(super) async fn interrupt(&self, exec_id: &ExecId) -> Result<(), Rejection> {
        let handle = self.handle(exec_id)?;
        handle
            .interrupt()
            .map_err(|e| Rejection::JailFailed(e.to_string()))
    }

    /// Writes a writer's input at `offset`; the offset of the next byte.
    pub(super) async fn write_input(
        &self,
        exec_id: &ExecId,
        (writer, offset): (String, u64),
        data: bytes::Bytes,
        eof: bool,
    ) -> Result<u64, Rejection> {
        let handle = self.handle(exec_id)?;
        let next = handle.write_input((writer, offset), data, eof).await;
        let next = next.map_err(|error| match error {
            ShellError::NoSuchRun => Rejection::ExecNotFound(exec_id.to_string()),
            ShellError::InputClosed => Rejection::WrongState(format!("{exec_id}: {error}")),
            other => Rejection::JailFailed(other.to_string()),
        })?;
        if next < offset {
            return Err(Rejection::OffsetMismatch(format!(
                "the next input byte is {next}, not {offset}"
            )));
        }
        Ok(next)
    }

    /// Resizes a run's terminal.
    pub(super) async fn resize(&self, exec_id: &ExecId, columns: u16, rows: u16) -> Result<(), Rejection> {
        let handle = self.handle(exec_id)?;
        let size = PtySize { rows, cols: columns };
        self.terminal_resized(exec_id, size);
        handle
            .resize(size)
            .map_err(|e| Rejection::JailFailed(e.to_string()))
    }

    /// Stops everything in the jail where it is, or lets it go on.
    pub(super) fn freeze(&self, frozen: bool) {
        self.shell().freeze(frozen);
    }

    /// Ends the jail: nothing of it is left when this returns.
    pub(super) async fn end_jail(&self) {
        let shell = self.shell();
        if let Err(error) = shell.end().await {
            tracing::warn!(%error, session = %self.session_id, "the jail could not be ended");
        }
    }

    /// Waits until the ends of all commands and the shell's state are written.
    pub(super) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
        self.star_now().await;
    }

    /// True while nothing runs and everything that is to be kept is written.
    pub(super) fn is_at_rest(&self) -> bool {
        self.tasks.is_empty() && self.live().is_empty() && !self.has_jail()
    }

    /// True while a jail lives.
    pub(super) fn has_jail(&self) -> bool {
        self.settings.jails.live().contains(&self.session_id)
    }

    /// Where the shell stands, in the jail's names.
    pub(super) fn cwd(&self) -> Option<String> {
        self.cwd.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn handle(&self, exec_id: &ExecId) -> Result<RunHandle, Rejection> {
        self.live()
            .get(exec_id)
            .cloned()
            .ok_or_else(|| Rejection::ExecNotFound(exec_id.to_string()))
    }

    /// The run that has the shell, and the call that runs it; nothing where several run or none does.
    pub(super) fn current(&self) -> (Option<ExecId>, Option<CallId>) {
        let live = self.live();
        let mut running = live
            .values()
            .filter(|handle| handle.changed.borrow().state == RunState::Running);
        match (running.next(), running.next()) {
            (Some(handle), None) => (Some(handle.exec_id.clone()), None),
            _ => (None, None),
        }
    }

    /// The web, for the model's own tool.
    pub(super) fn web(&self) -> Arc<dyn crate::tools::Web> {
        self.net.clone()
    }

    /// What the rules of the network say of the hosts of a call; the strictest counts. `None`: it names none.
    pub(super) fn judge_hosts(&self, hosts: &[Target]) -> Option<Judgement> {
        self.net.judge(hosts)
    }

    fn reopen(&self, ended: &Shell) -> Shell {
        let spec = self.spec.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shell =
            Shell::open(self.settings.jails.clone(), spec, ended.snapshot()).with_gate(self.net.clone());
        *self.shell.lock().unwrap_or_else(PoisonError::into_inner) = shell.clone();
        shell
    }

    fn shell(&self) -> Shell {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<ExecId, RunHandle>> {
        // A map of handles is whole after any panic elsewhere.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
