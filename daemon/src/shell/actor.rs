//! Owns: the one task that speaks to a Session's Jail: which command is next, what came of it, what state to restore.
//! Guarantees: one command at a time and in order; a command that was handed over is never handed over again, unless jinit
//! says that it was not begun.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_jinit::names;
use agent_jinit::wire::{End, FromJail, MAX_INPUT, Refusal, RunFrame, StdinKind, ToJail};
use tokio::sync::mpsc;

use super::snapshot::{self, ShellSnapshot};
use super::{Ask, Progress, PtySize, RunHandle, RunRequest, RunResult, RunSide, RunState, SpoolPaths, exchange, spool};
use crate::domain::id::ExecId;
use crate::jail::{Jail, JailError, JailHost, JailSpec};

/// The run that asks the shell for its state: never a user's name, which begin with `x-`.
const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_TIMEOUT_MS: u64 = 5_000;

struct Job {
    request: Option<RunRequest>,
    /// A terminal of its own rather than a command.
    pty: Option<PtySize>,
    exec: ExecId,
    side: RunSide,
    spool: SpoolPaths,
    retried: bool,
    /// `runs` when a terminal was opened: tells whether a command ran meanwhile.
    opened_at: u64,
    finished: bool,
    cap: u64,
    /// What was typed before its turn came.
    early: Vec<ToJail>,
}

pub(crate) struct Actor {
    host: Arc<JailHost>,
    spec: JailSpec,
    snapshot: Arc<Mutex<Option<ShellSnapshot>>>,
    asks: mpsc::WeakUnboundedSender<Ask>,
    jail: Option<Jail>,
    adopted: bool,
    queue: VecDeque<Job>,
    /// Handed over, by id: the current one and those whose output is still open.
    jobs: HashMap<String, Job>,
    current: Option<String>,
    snapshotting: bool,
    last_status: i32,
    restored: u64,
    runs: u64,
    /// To be said with the next result.
    jail_restarted: bool,
    had_jail: bool,
    is_bash: bool,
}

impl Actor {
    pub(crate) fn new(
        host: Arc<JailHost>,
        spec: JailSpec,
        snapshot: Arc<Mutex<Option<ShellSnapshot>>>,
        asks: mpsc::WeakUnboundedSender<Ask>,
    ) -> Self {
        let last_status =
            snapshot.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |s| s.last_status);
        let is_bash = crate::jail::plan::is_bash(spec.shell);
        // A state from before means there was a jail before.
        let had_jail = snapshot.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        Self {
            host,
            spec,
            snapshot,
            asks,
            jail: None,
            adopted: false,
            queue: VecDeque::new(),
            jobs: HashMap::new(),
            current: None,
            snapshotting: false,
            last_status,
            restored: 0,
            runs: 0,
            jail_restarted: false,
            had_jail,
            is_bash,
        }
    }

    pub(crate) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Ask>) {
        loop {
            let frame = async {
                match &mut self.jail {
                    Some(jail) => jail.frames.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ask = inbox.recv() => match ask {
                    Some(Ask::End(answer)) => {
                        let _gone = answer.send(self.end().await);
                        return;
                    }
                    Some(ask) => self.answer(ask).await,
                    // Every handle is gone. The jail lives on, for the next daemon or the next Shell.
                    None if self.jobs.is_empty() && self.queue.is_empty() => return,
                    None => match self.jail.as_mut() {
                        Some(jail) => match jail.frames.recv().await {
                            Some(frame) => self.hear(frame).await,
                            None => self.jail_gone().await,
                        },
                        None => return,
                    },
                },
                frame = frame => match frame {
                    Some(frame) => self.hear(frame).await,
                    None => self.jail_gone().await,
                },
            }
            self.advance().await;
        }
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Run(request, side) => {
                let exec = request.exec_id.clone();
                let cap = request.max_output;
                self.queue.push_back(self.job(exec, side, Some(*request), None, cap));
            }
            Ask::Pty(exec, size, side) => {
                // Queued too: it starts from the state after the commands before it.
                self.queue.push_back(self.job(exec, side, None, Some(size), super::DEFAULT_MAX_OUTPUT));
            }
            Ask::Input(exec, offset, bytes, eof) => self.input(&exec, offset, &bytes, eof).await,
            Ask::Resize(exec, size) => {
                let frame = ToJail::Resize { exec: exec.as_str().to_owned(), rows: size.rows, cols: size.cols };
                self.tell(&frame).await;
            }
            Ask::Interrupt(exec) => {
                if let Some(at) = self.queue.iter().position(|job| job.exec == exec) {
                    if let Some(job) = self.queue.remove(at) {
                        let message = Some("stopped before its turn".to_owned());
                        let result = RunResult { exit_code: 130, interrupted: true, not_run: true, message, ..RunResult::default() };
                        self.publish(job, result, true);
                    }
                    return;
                }
                self.tell(&ToJail::Interrupt { exec: exec.as_str().to_owned() }).await;
            }
            Ask::Adopt(answer) => {
                self.adopt().await;
                let handles = self.jobs.values().filter(|j| !j.finished).filter_map(|job| self.handle_of(job)).collect();
                let _gone = answer.send(handles);
            }
            Ask::End(_) => {}
        }
    }

    fn job(&self, exec: ExecId, side: RunSide, request: Option<RunRequest>, pty: Option<PtySize>, cap: u64) -> Job {
        let spool = SpoolPaths::new(&self.host.spool_dir(&self.spec.session), &exec);
        Job { request, pty, exec, side, spool, retried: false, opened_at: 0, finished: false, cap: cap.max(2), early: Vec::new() }
    }

    fn handle_of(&self, job: &Job) -> Option<RunHandle> {
        Some(RunHandle {
            exec_id: job.exec.clone(),
            spool: job.spool.clone(),
            changed: job.side.progress.subscribe(),
            result: job.side.result.subscribe(),
            asks: self.asks.upgrade()?,
        })
    }

    async fn tell(&self, frame: &ToJail) {
        if let Some(jail) = &self.jail {
            // A jail that is gone says so on its stream of frames.
            let _gone = jail.send(frame, &[]).await;
        }
    }

    async fn input(&mut self, exec: &ExecId, mut offset: u64, bytes: &[u8], eof: bool) {
        let name = || exec.as_str().to_owned();
        let mut frames = Vec::new();
        let mut chunks = bytes.chunks(MAX_INPUT).peekable();
        if chunks.peek().is_none() {
            frames.push(ToJail::Input { exec: name(), offset, data: Vec::new(), eof });
        }
        while let Some(chunk) = chunks.next() {
            let eof = eof && chunks.peek().is_none();
            frames.push(ToJail::Input { exec: name(), offset, data: chunk.to_vec(), eof });
            offset += chunk.len() as u64;
        }
        if let Some(job) = self.queue.iter_mut().find(|job| job.exec == *exec) {
            job.early.append(&mut frames);
        }
        for frame in frames {
            self.tell(&frame).await;
        }
    }

    /// Hands over the next command, if the shell is free.
    async fn advance(&mut self) {
        while self.current.is_none() && !self.snapshotting {
            let Some(mut job) = self.queue.pop_front() else { return };
            if let Some(size) = job.pty {
                self.open_pty(job, size).await;
                continue;
            }
            if let Err(error) = self.begin(&mut job).await {
                let result = RunResult {
                    exit_code: 126,
                    not_run: true,
                    message: Some(error.to_string()),
                    cwd: self.cwd(),
                    ..RunResult::default()
                };
                self.publish(job, result, true);
                continue;
            }
            let id = job.exec.as_str().to_owned();
            job.side.progress.send_modify(|p| p.state = RunState::Running);
            self.current = Some(id.clone());
            self.runs += 1;
            for frame in &job.early {
                self.tell(frame).await;
            }
            self.jobs.insert(id, job);
        }
    }

    async fn begin(&mut self, job: &mut Job) -> Result<(), JailError> {
        self.ensure_shell().await?;
        let (Some(jail), Some(request)) = (&self.jail, &job.request) else { return Err(JailError::Gone) };
        // A retry finds its own leftovers.
        exchange::remove(jail.exchange(), job.exec.as_str());
        let frame = exchange::prepare(jail, request, self.last_status).map_err(JailError::io("preparing the command"))?;
        let (out, err) = job.spool.create().map_err(JailError::io("creating the spool files"))?;
        jail.send(&ToJail::Run(frame), &[out.as_fd(), err.as_fd()]).await
    }

    /// A jail and in it a shell, with the state restored where they are new.
    async fn ensure_shell(&mut self) -> Result<(), JailError> {
        self.ensure_jail().await?;
        let Some(jail) = &mut self.jail else { return Err(JailError::Gone) };
        if jail.has_shell {
            return Ok(());
        }
        let saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let restore = match saved {
            Some(saved) => {
                self.restored += 1;
                let name = format!("state-{}", self.restored);
                let path = names::of(jail.exchange(), &name, names::RESTORE);
                std::fs::write(path, saved.restore()).map_err(JailError::io("writing the shell's state"))?;
                Some(name)
            }
            None => None,
        };
        jail.send(&ToJail::Spawn { restore }, &[]).await?;
        jail.has_shell = true;
        Ok(())
    }

    async fn ensure_jail(&mut self) -> Result<(), JailError> {
        self.adopt().await;
        if self.jail.is_some() {
            return Ok(());
        }
        self.jail = Some(self.host.start(&self.spec).await?);
        self.jail_restarted = self.had_jail;
        self.had_jail = true;
        Ok(())
    }

    /// Once: a jail that a daemon before us left.
    async fn adopt(&mut self) {
        if self.adopted || self.jail.is_some() {
            return;
        }
        self.adopted = true;
        let Some(mut jail) = self.host.adopt(&self.spec.session).await else { return };
        let mut known = Vec::new();
        while let Some(frame) = jail.frames.recv().await {
            if frame == FromJail::Ready {
                break;
            }
            known.push(frame);
        }
        self.jail = Some(jail);
        self.had_jail = true;
        for frame in known {
            if let FromJail::Running { exec, .. } | FromJail::Finished { exec, .. } = &frame {
                self.adopt_run(exec, matches!(frame, FromJail::Running { .. }));
            }
            self.hear(frame).await;
        }
    }

    fn adopt_run(&mut self, id: &str, running: bool) {
        if id == SNAPSHOT {
            self.snapshotting = running;
            return;
        }
        let Ok(exec) = id.parse::<ExecId>() else { return };
        let spool = SpoolPaths::new(&self.host.spool_dir(&self.spec.session), &exec);
        let Some(asks) = self.asks.upgrade() else { return };
        let (_handle, side) = RunHandle::new(exec.clone(), spool, asks);
        side.progress.send_modify(|p| p.state = RunState::Running);
        let job = self.job(exec, side, None, None, super::DEFAULT_MAX_OUTPUT);
        let is_pty = self.jail.as_ref().is_some_and(|j| names::of(j.exchange(), id, names::RESTORE).exists());
        if running && !is_pty {
            self.current = Some(id.to_owned());
        }
        self.jobs.insert(id.to_owned(), job);
    }

    async fn hear(&mut self, frame: FromJail) {
        match frame {
            FromJail::Hello { .. } | FromJail::Ready => {}
            FromJail::Running { exec, out, err } | FromJail::Progress { exec, out, err } => self.ring(&exec, out, err),
            FromJail::Finished { exec, out, err, end, umask, cwd } => {
                let cwd = PathBuf::from(std::ffi::OsString::from_vec(cwd));
                self.tell(&ToJail::Ack { exec: exec.clone() }).await;
                if exec == SNAPSHOT {
                    self.keep_snapshot(out, err, end, umask, cwd);
                } else {
                    self.finished(&exec, (out, err), end, umask, cwd).await;
                }
            }
            FromJail::Closed { exec, out, err } => self.closed(&exec, out, err),
            FromJail::Refused { exec, why } => self.refused(&exec, why).await,
            FromJail::ShellGone { .. } => {
                if let Some(jail) = &mut self.jail {
                    jail.has_shell = false;
                }
            }
        }
    }

    fn ring(&self, exec: &str, out: u64, err: u64) {
        if let Some(job) = self.jobs.get(exec) {
            job.side.progress.send_modify(|p| (p.stdout_bytes, p.stderr_bytes) = (out, err));
        }
    }

    async fn finished(&mut self, id: &str, bytes: (u64, u64), end: End, _umask: u32, cwd: PathBuf) {
        let was_current = self.current.as_deref() == Some(id);
        if was_current {
            self.current = None;
        }
        if end.shell_died
            && let Some(jail) = &mut self.jail
        {
            jail.has_shell = false;
        }
        let Some(mut job) = self.jobs.remove(id) else { return };
        if job.finished {
            self.jobs.insert(id.to_owned(), job);
            return;
        }
        if end.not_run && !job.retried && !end.timed_out && !end.interrupted && job.request.is_some() {
            job.retried = true;
            self.queue.push_front(job);
            return;
        }
        if job.pty.is_none() {
            self.last_status = end.status;
        }
        let cwd = if cwd.as_os_str().is_empty() { self.cwd() } else { cwd };
        let mut result = result_of(bytes, end, cwd, job.cap);
        result.jail_restarted = std::mem::take(&mut self.jail_restarted);
        if job.pty.is_some() {
            result.message = Some(self.keep_pty_state(&job, bytes.1, end.status).await);
        }
        job.finished = true;
        let _ordered = (spool::finalise(&job.spool.stdout, bytes.0), spool::finalise(&job.spool.stderr, bytes.1));
        if was_current && !end.shell_died {
            self.ask_for_snapshot().await;
        }
        job.side.progress.send_modify(|p| {
            *p = Progress { stdout_bytes: bytes.0, stderr_bytes: bytes.1, state: RunState::Finished };
        });
        job.side.result.send_replace(Some(result));
        self.jobs.insert(id.to_owned(), job);
    }

    fn closed(&mut self, id: &str, out: u64, err: u64) {
        if self.jobs.get(id).is_some_and(|job| !job.finished) || self.queue.iter().any(|job| job.exec.as_str() == id) {
            // The end of an attempt that was not begun: the next one has the same name.
            return;
        }
        if let Some(jail) = &self.jail {
            exchange::remove(jail.exchange(), id);
        }
        let Some(job) = self.jobs.remove(id) else { return };
        let _ordered = (spool::finalise(&job.spool.stdout, out), spool::finalise(&job.spool.stderr, err));
        let last = Progress { stdout_bytes: out, stderr_bytes: err, state: RunState::Closed };
        job.side.progress.send_replace(last);
    }

    async fn refused(&mut self, id: &str, why: Refusal) {
        if id == SNAPSHOT {
            self.snapshotting = false;
            return;
        }
        if self.current.as_deref() == Some(id) {
            self.current = None;
        }
        let Some(mut job) = self.jobs.remove(id) else { return };
        let again = !std::mem::replace(&mut job.retried, true);
        match why {
            Refusal::MountsLost if again => {
                // Somebody cleaned the project on the host; in there nothing can run any more.
                let _already = self.host.end(&self.spec.session).await;
                self.jail_gone().await;
                self.queue.push_front(job);
            }
            Refusal::NoShell if again => {
                if let Some(jail) = &mut self.jail {
                    jail.has_shell = false;
                }
                self.queue.push_front(job);
            }
            _ => {
                let message = match why {
                    Refusal::MountsLost => "the mount points in the project were removed",
                    Refusal::NoShell => "the shell could not be started",
                    Refusal::Busy => "another command is running",
                    Refusal::Files => "the command's files could not be opened",
                };
                let message = Some(message.to_owned());
                let result =
                    RunResult { exit_code: 126, not_run: true, message, cwd: self.cwd(), ..RunResult::default() };
                self.publish(job, result, true);
            }
        }
    }

    /// Everything in it is gone; what ran has no end that anybody knows.
    async fn jail_gone(&mut self) {
        self.jail = None;
        self.current = None;
        self.snapshotting = false;
        // Clears what a jail that died by itself has left.
        let _already = self.host.end(&self.spec.session).await;
        let jobs: Vec<Job> = self.jobs.drain().map(|(_, job)| job).collect();
        for job in jobs {
            if job.finished {
                job.side.progress.send_modify(|p| p.state = RunState::Closed);
                continue;
            }
            let message = Some("the jail ended while the command ran; how far it came is not known".to_owned());
            let result = RunResult { exit_code: 137, signal: Some(9), message, cwd: self.cwd(), ..RunResult::default() };
            self.publish(job, result, false);
        }
    }

    fn publish(&self, job: Job, mut result: RunResult, clean: bool) {
        if let Some(jail) = self.jail.as_ref().filter(|_| clean) {
            exchange::remove(jail.exchange(), job.exec.as_str());
        }
        let length = |p| std::fs::metadata(p).map_or(0, |m| m.len());
        (result.stdout_bytes, result.stderr_bytes) = (length(&job.spool.stdout), length(&job.spool.stderr));
        let last = Progress {
            stdout_bytes: result.stdout_bytes,
            stderr_bytes: result.stderr_bytes,
            state: RunState::Closed,
        };
        job.side.progress.send_replace(last);
        job.side.result.send_replace(Some(result));
    }

    fn cwd(&self) -> PathBuf {
        let saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        saved.as_ref().map_or_else(|| self.spec.workspace.jail_path(&self.spec.workspace.start_dir), |s| s.cwd.clone())
    }

    fn snapshot_files(&self) -> SpoolPaths {
        let dir = self.host.spool_dir(&self.spec.session);
        SpoolPaths { stdout: dir.join("snapshot.out"), stderr: dir.join("snapshot.err") }
    }

    async fn ask_for_snapshot(&mut self) {
        let Some(jail) = &self.jail else { return };
        let asked = async {
            exchange::remove(jail.exchange(), SNAPSHOT);
            let file = |part| names::of(jail.exchange(), SNAPSHOT, part);
            std::fs::write(file(names::SCRIPT), snapshot::script(self.is_bash))?;
            crate::jail::process::make_fifo(&file(names::OUT))?;
            crate::jail::process::make_fifo(&file(names::ERR))?;
            let files = self.snapshot_files();
            let (out, err): (File, File) = files.create()?;
            let frame = RunFrame {
                exec: SNAPSHOT.to_owned(),
                stdin: StdinKind::Null,
                own_shell: false,
                timeout_ms: SNAPSHOT_TIMEOUT_MS,
                cap: snapshot::MAX,
                has_status: false,
                has_before: false,
                has_after: false,
                rows: 0,
                cols: 0,
            };
            jail.send(&ToJail::Run(frame), &[out.as_fd(), err.as_fd()]).await.map_err(std::io::Error::other)
        };
        match asked.await {
            Ok(()) => self.snapshotting = true,
            Err(error) => tracing::warn!(%error, session = %self.spec.session, "the shell's state could not be asked for"),
        }
    }

    fn keep_snapshot(&mut self, out: u64, err: u64, end: End, umask: u32, cwd: PathBuf) {
        self.snapshotting = false;
        if end.shell_died
            && let Some(jail) = &mut self.jail
        {
            jail.has_shell = false;
        }
        if end.shell_died || end.not_run || end.timed_out || out.max(err) > snapshot::MAX {
            return;
        }
        let files = self.snapshot_files();
        if let (Ok(out), Ok(err)) = (std::fs::read(&files.stdout), std::fs::read(&files.stderr)) {
            let taken = ShellSnapshot::new(cwd, umask, self.last_status, self.is_bash, out, &err);
            *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        }
    }

    async fn open_pty(&mut self, mut job: Job, size: PtySize) {
        let opened = async {
            self.ensure_jail().await?;
            let Some(jail) = &self.jail else { return Err(JailError::Gone) };
            let id = job.exec.as_str();
            let saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let state = saved.map(|s| s.restore()).unwrap_or_default();
            let mut text = b"\\. ".to_vec();
            text.extend_from_slice(&snapshot::quoted(&names::of(jail.inside(), id, names::BEFORE)));
            text.extend_from_slice(b" 2>/dev/null");
            // At its end it says its state over a FIFO, as the asking script does.
            let out = snapshot::quoted(&names::of(jail.inside(), id, names::ERR));
            let ask = snapshot::quoted(&names::of(jail.inside(), id, names::SCRIPT));
            text.extend_from_slice(b"\nPS1='$ '\nTERM=xterm-256color\n\\export TERM\n\\trap '\\. ");
            text.extend_from_slice(&escape_in_quotes(&ask));
            text.extend_from_slice(b" >");
            text.extend_from_slice(&escape_in_quotes(&out));
            text.extend_from_slice(b" 2>/dev/null' EXIT\n");
            let file = |part| names::of(jail.exchange(), id, part);
            let io = || JailError::io("preparing the terminal");
            std::fs::write(file(names::RESTORE), text).map_err(io())?;
            std::fs::write(file(names::BEFORE), state).map_err(io())?;
            std::fs::write(file(names::SCRIPT), snapshot::terminal_script(self.is_bash)).map_err(io())?;
            crate::jail::process::make_fifo(&file(names::ERR)).map_err(io())?;
            let (out, err) = job.spool.create().map_err(io())?;
            let frame = RunFrame {
                exec: id.to_owned(),
                stdin: StdinKind::Pty,
                own_shell: true,
                timeout_ms: 0,
                cap: job.cap,
                has_status: false,
                has_before: false,
                has_after: false,
                rows: size.rows,
                cols: size.cols,
            };
            jail.send(&ToJail::Run(frame), &[out.as_fd(), err.as_fd()]).await
        };
        match opened.await {
            Ok(()) => {
                job.opened_at = self.runs;
                job.side.progress.send_modify(|p| p.state = RunState::Running);
                for frame in &job.early {
                    self.tell(frame).await;
                }
                self.jobs.insert(job.exec.as_str().to_owned(), job);
            }
            Err(error) => {
                let message = Some(error.to_string());
                let result = RunResult { exit_code: 126, not_run: true, message, ..RunResult::default() };
                self.publish(job, result, true);
            }
        }
    }

    /// A terminal's last state becomes the session's, unless a command ran meanwhile.
    async fn keep_pty_state(&mut self, job: &Job, len: u64, status: i32) -> String {
        if self.runs != job.opened_at || self.current.is_some() || self.snapshotting {
            return "commands ran meanwhile: the session keeps their state, not this terminal's".to_owned();
        }
        let state = std::fs::read(&job.spool.stderr).unwrap_or_default();
        if len == 0 || state.is_empty() {
            return "the terminal's state was not saved; the session keeps the state from before".to_owned();
        }
        {
            let mut saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = ShellSnapshot::from_terminal(self.spec.workspace.jail_root(), saved.as_ref(), status, state);
            *saved = Some(taken);
        }
        self.last_status = status;
        if let Some(jail) = &mut self.jail {
            // The long-lived shell has the old state: it is replaced before the next command.
            let _gone = jail.send(&ToJail::Retire, &[]).await;
            jail.has_shell = false;
        }
        "the session continues where the terminal left off".to_owned()
    }

    async fn end(&mut self) -> Result<(), JailError> {
        let ended = self.host.end(&self.spec.session).await;
        self.jail = None;
        let jobs: Vec<Job> = self.jobs.drain().map(|(_, j)| j).chain(self.queue.drain(..)).collect();
        for job in jobs.into_iter().filter(|j| !j.finished) {
            let not_run = job.side.progress.borrow().state == RunState::Queued;
            let message = Some("the session's shell was ended".to_owned());
            let result = RunResult { exit_code: 137, not_run, interrupted: true, message, ..RunResult::default() };
            self.publish(job, result, false);
        }
        ended
    }
}

/// Text that is already in single quotes, for use inside single quotes.
fn escape_in_quotes(quoted: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in quoted {
        if *byte == b'\'' {
            out.extend_from_slice(b"'\\''");
        } else {
            out.push(*byte);
        }
    }
    out
}

fn result_of((out, err): (u64, u64), end: End, cwd: PathBuf, cap: u64) -> RunResult {
    let (out_gap, err_gap) = (spool::gap(out, cap), spool::gap(err, cap));
    let dropped = |gap: Option<spool::Gap>| gap.map_or(0, |g| g.dropped);
    let message = if end.stuck {
        Some("the shell no longer executed anything (set -n); it was replaced, with its earlier state".to_owned())
    } else if end.not_run {
        Some("the shell gave up before the command began; nothing of it was run".to_owned())
    } else if end.shell_died && end.signal != 0 {
        Some(format!("the shell was killed by signal {}; a new one continues with the saved state", end.signal))
    } else if end.shell_died {
        Some(format!("the shell exited with {}; a new one continues with the saved state", end.status))
    } else {
        None
    };
    RunResult {
        exit_code: if end.timed_out { 124 } else { end.status },
        signal: (end.signal != 0).then_some(end.signal),
        timed_out: end.timed_out,
        interrupted: end.interrupted,
        background: end.background,
        shell_restarted: end.shell_died,
        jail_restarted: false,
        not_run: end.not_run,
        stdout_bytes: out,
        stderr_bytes: err,
        stdout_dropped: dropped(out_gap),
        stderr_dropped: dropped(err_gap),
        truncated: out_gap.is_some() || err_gap.is_some(),
        duration: Duration::from_micros(end.duration_us),
        cwd,
        message,
    }
}
