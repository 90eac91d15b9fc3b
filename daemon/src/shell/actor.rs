//! Owns: the one task that speaks to a Session's Jail: which command is next, what came of it, what state to restore.
//! Guarantees: one command at a time and in order; a command that was handed over is never handed over again, unless jinit
//! says that it was not begun.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use agent_jinit::names;
use agent_jinit::wire::{FromJail, ToJail};
use tokio::sync::mpsc;

use super::beginning::Begin;
use super::idle::{self, Idle};
use super::input::{Answer, Inputs, Piece};
use super::snapshot::ShellSnapshot;
use super::{
    Ask, JobProcess, PtySize, RunHandle, RunRequest, RunResult, RunSide, RunState, SpoolPaths, Stdin,
    Terminal, exchange,
};
use crate::domain::id::ExecId;
use crate::jail::{Jail, JailError, JailHost, JailSpec};

pub(super) struct Job {
    pub(super) request: Option<RunRequest>,
    /// A terminal of its own rather than a command.
    pub(super) pty: Option<Terminal>,
    pub(super) exec: ExecId,
    pub(super) side: RunSide,
    pub(super) spool: SpoolPaths,
    pub(super) retried: bool,
    /// `runs` when a terminal was opened: tells whether a command ran meanwhile.
    pub(super) opened_at: u64,
    pub(super) finished: bool,
    /// A bound that it passed, as a sentence.
    pub(super) limit: Option<String>,
    pub(super) cap: u64,
    /// What was typed before its turn came.
    pub(super) early: Vec<(Piece, Answer)>,
    /// Its input was given something: it can't begin again.
    pub(super) fed: bool,
    /// It leaves the shell as it was before it, whose state is kept.
    pub(super) light: bool,
    /// What names the project's text, where it is that: a command that nobody gave.
    pub(super) init: Option<String>,
}

impl Job {
    /// Whether the shell may read a file of it after its end. Of what a daemon before us handed over: perhaps.
    pub(super) fn has_after(&self) -> bool {
        self.request
            .as_ref()
            .is_none_or(|request| !request.env.is_empty())
    }

    /// Whether it may have had more files than every run has.
    pub(super) fn brought_files(&self) -> bool {
        let plain = |r: &RunRequest| r.env.is_empty() && r.cwd.is_none() && r.stdin != Stdin::Open;
        !self.request.as_ref().is_some_and(plain)
    }
}

pub(crate) struct Actor {
    pub(super) host: Arc<JailHost>,
    pub(super) spec: JailSpec,
    pub(super) snapshot: Arc<Mutex<Option<ShellSnapshot>>>,
    pub(super) asks: mpsc::WeakUnboundedSender<Ask>,
    pub(super) jail: Option<Jail>,
    pub(super) adopted: bool,
    pub(super) queue: VecDeque<Job>,
    /// Handed over, by id: the current one and those whose output is still open.
    pub(super) jobs: HashMap<String, Job>,
    pub(super) current: Option<String>,
    pub(super) snapshotting: bool,
    /// Where its answer goes; `None` while a daemon before us was the one who asked.
    pub(super) answer: Option<(File, File)>,
    /// What it is asked with lies ready in the jail.
    pub(super) can_ask: bool,
    /// A terminal left its state while the shell was being asked for its own: the older answer is dropped.
    pub(super) overtaken: bool,
    /// Who wants to know when the state is taken.
    waiting: Vec<tokio::sync::oneshot::Sender<()>>,
    pub(super) last_status: i32,
    pub(super) restored: u64,
    pub(super) runs: u64,
    /// To be said with the next result.
    pub(super) jail_restarted: bool,
    pub(super) had_jail: bool,
    pub(super) is_bash: bool,
    pub(super) idle: Idle,
    /// The shell has no words of its own that could take a program's place.
    pub(super) is_bare: bool,
    /// The last command's state is kept: nothing is lost with the shell.
    pub(super) state_kept: bool,
    /// To be said with the next result.
    pub(super) note: Option<String>,
    /// The way to the shell was freed once since the last good state.
    pub(super) healed: bool,
    /// Everything is to stand still.
    frozen: bool,
    pub(super) inputs: Inputs,
    /// Who asked what runs in the background, oldest first.
    pub(super) job_askers: VecDeque<tokio::sync::oneshot::Sender<Vec<JobProcess>>>,
    pub(super) begin: Begin,
    /// Runs of which a file may be left that the shell reads after their end.
    pub(super) afters: Vec<String>,
}

impl Actor {
    pub(crate) fn new(
        host: Arc<JailHost>,
        spec: JailSpec,
        snapshot: Arc<Mutex<Option<ShellSnapshot>>>,
        asks: mpsc::WeakUnboundedSender<Ask>,
    ) -> Self {
        let last_status = snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map_or(0, |s| s.last_status);
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
            answer: None,
            can_ask: false,
            overtaken: false,
            waiting: Vec::new(),
            last_status,
            restored: 0,
            runs: 0,
            jail_restarted: false,
            had_jail,
            is_bash,
            idle: Idle::default(),
            is_bare: false,
            state_kept: true,
            note: None,
            healed: false,
            frozen: false,
            inputs: Inputs::default(),
            job_askers: VecDeque::new(),
            begin: Begin::default(),
            afters: Vec::new(),
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
            let alarm = self.idle.alarm();
            tokio::select! {
                () = alarm => self.alarmed().await,
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
            self.watch_idleness();
        }
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Run(request, side) => {
                let exec = request.exec_id.clone();
                let cap = request.max_output;
                self.queue
                    .push_back(self.job(exec, side, Some(*request), None, cap));
            }
            Ask::Pty(exec, terminal, side) => {
                // Queued too: it starts from the state after the commands before it.
                self.queue
                    .push_back(self.job(exec, side, None, Some(terminal), super::DEFAULT_MAX_OUTPUT));
            }
            Ask::Input(piece, answer) => self.input(piece, answer).await,
            Ask::Jobs(answer) => self.ask_for_jobs(answer).await,
            Ask::EndJob(exec) => self.end_job(&exec).await,
            Ask::Resize(exec, size) => {
                let frame = ToJail::Resize {
                    exec: exec.as_str().to_owned(),
                    rows: size.rows,
                    cols: size.cols,
                };
                self.tell(&frame).await;
            }
            Ask::Interrupt(exec) => {
                if let Some(at) = self.queue.iter().position(|job| job.exec == exec) {
                    if let Some(job) = self.queue.remove(at) {
                        let message = Some("stopped before its turn".to_owned());
                        let result = RunResult {
                            exit_code: 130,
                            interrupted: true,
                            not_run: true,
                            message,
                            ..RunResult::default()
                        };
                        self.publish(job, result, true);
                    }
                    return;
                }
                self.tell(&ToJail::Interrupt {
                    exec: exec.as_str().to_owned(),
                })
                .await;
            }
            Ask::Acknowledge(exec) => {
                let exec = exec.as_str().to_owned();
                self.tell(&ToJail::Ack { exec }).await;
            }
            Ask::Freeze(frozen) => {
                self.frozen = frozen;
                self.tell(&if frozen { ToJail::Freeze } else { ToJail::Thaw })
                    .await;
            }
            Ask::Adopt(answer) => {
                let _gone = answer.send(self.adopt().await);
            }
            Ask::Settled(answer) => self.waiting.push(answer),
            Ask::Gate(gate) => self.begin.gate(gate),
            Ask::Begin(start) => self.told_to_begin(start),
            Ask::BeginAgain => self.begin.again(),
            Ask::End(_) => {}
        }
    }

    pub(super) fn job(
        &self,
        exec: ExecId,
        side: RunSide,
        request: Option<RunRequest>,
        pty: Option<Terminal>,
        cap: u64,
    ) -> Job {
        let spool = SpoolPaths::new(&self.host.spool_dir(&self.spec.session), &exec);
        Job {
            request,
            pty,
            exec,
            side,
            spool,
            retried: false,
            opened_at: 0,
            finished: false,
            limit: None,
            cap: cap.max(2),
            early: Vec::new(),
            fed: false,
            light: false,
            init: None,
        }
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

    pub(super) async fn tell(&self, frame: &ToJail) {
        if let Some(jail) = &self.jail {
            // A jail that is gone says so on its stream of frames.
            let _gone = jail.send(frame, &[]).await;
        }
    }

    /// Hands over the next command, if the shell is free.
    async fn advance(&mut self) {
        if !self.snapshotting {
            for answer in self.waiting.drain(..) {
                let _gone = answer.send(());
            }
        }
        while self.current.is_none() && !self.snapshotting && !self.idle.asked && self.has_begun().await {
            let Some(mut job) = self.queue.pop_front() else {
                return;
            };
            if let Some(terminal) = job.pty.clone() {
                self.open_pty(job, terminal).await;
                continue;
            }
            if let Err(error) = self.begin(&mut job).await {
                if !job.retried && self.outlived(&error).await {
                    // Nothing of it ran: it does in a new jail.
                    job.retried = true;
                    self.queue.push_front(job);
                    continue;
                }
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
            job.light = self.will_be_light(&job);
            self.state_kept = false;
            if let Some(request) = job.request.as_ref().filter(|_| !self.is_bash) {
                self.idle.functions |= idle::may_define(&request.script);
            }
            job.side.progress.send_modify(|p| p.state = RunState::Running);
            self.current = Some(id.clone());
            self.runs += 1;
            let early = std::mem::take(&mut job.early);
            self.jobs.insert(id, job);
            self.hand_over_early(early).await;
        }
    }

    async fn begin(&mut self, job: &mut Job) -> Result<(), JailError> {
        self.ensure_shell().await?;
        let (Some(jail), Some(request)) = (&self.jail, &job.request) else {
            return Err(JailError::Gone);
        };
        if job.retried {
            // It finds its own leftovers.
            exchange::remove(jail.exchange(), job.exec.as_str());
        }
        let frame = exchange::prepare(jail, request, self.last_status)
            .map_err(JailError::io("preparing the command"))?;
        let (out, err) = job
            .spool
            .create()
            .map_err(JailError::io("creating the spool files"))?;
        self.mark_begun(job)
            .map_err(JailError::io("noting the shell's beginning"))?;
        jail.send(&ToJail::Run(frame), &[out.as_fd(), err.as_fd()]).await
    }

    /// A jail and in it a shell, with the state restored where they are new.
    async fn ensure_shell(&mut self) -> Result<(), JailError> {
        self.ensure_jail().await?;
        let Some(jail) = &mut self.jail else {
            return Err(JailError::Gone);
        };
        if jail.has_shell {
            return Ok(());
        }
        let saved = self
            .snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.begin.shell_is_new(saved.as_ref());
        let restore = match saved {
            Some(saved) => {
                self.restored += 1;
                let name = format!("state-{}", self.restored);
                let path = names::of(jail.exchange(), &name, names::RESTORE);
                let mut state = saved.restore();
                // The variables of the state are all there are: those of the network may be another jail's.
                state.extend(crate::jail::network::amend(&self.spec, &state));
                std::fs::write(path, state).map_err(JailError::io("writing the shell's state"))?;
                Some(name)
            }
            None => match self.spec.init.as_deref() {
                Some(init) => {
                    let path = names::of(jail.exchange(), names::INIT, names::RESTORE);
                    std::fs::write(path, init).map_err(JailError::io("writing the shell's beginning"))?;
                    Some(names::INIT.to_owned())
                }
                None => None,
            },
        };
        jail.send(&ToJail::Spawn { restore }, &[]).await?;
        jail.has_shell = true;
        self.idle.functions = false;
        Ok(())
    }

    pub(super) async fn ensure_jail(&mut self) -> Result<(), JailError> {
        self.adopt().await;
        if self.jail.is_some() {
            return Ok(());
        }
        self.jail = Some(self.host.start(&self.spec).await?);
        self.jail_restarted = self.had_jail && !self.idle.take_slept();
        self.had_jail = true;
        let ours = self.host.ours(&self.spec.workspace.root);
        let unshown: Vec<String> = crate::jail::unshown(&self.spec, &ours)
            .map(|dir| dir.display().to_string())
            .collect();
        if !unshown.is_empty() {
            let lost = format!(
                "not in the jail: {} (added, but gone or replaced, or the project has that path itself)",
                unshown.join(", ")
            );
            self.note = Some(match self.note.take() {
                Some(before) => format!("{before}; {lost}"),
                None => lost,
            });
        }
        if self.frozen {
            self.tell(&ToJail::Freeze).await;
        }
        Ok(())
    }

    /// Once: a jail that a daemon before us left.
    /// Connects to a live jail. Gives its runs, also those that ended while nobody was connected: their ends
    /// are news all the same.
    pub(super) async fn adopt(&mut self) -> Vec<RunHandle> {
        let mut handles = Vec::new();
        if self.adopted || self.jail.is_some() {
            return handles;
        }
        self.adopted = true;
        let Some(mut jail) = self.host.adopt(&self.spec.session).await else {
            return handles;
        };
        let mut known = Vec::new();
        while let Some(frame) = jail.frames.recv().await {
            if frame == FromJail::Ready {
                self.hear(frame).await;
                break;
            }
            known.push(frame);
        }
        self.jail = Some(jail);
        self.had_jail = true;
        self.find_mark();
        // What was defined before us, nobody knows.
        self.idle.functions = !self.is_bash;
        for frame in known {
            if let FromJail::Running { exec, cap, .. } | FromJail::Finished { exec, cap, .. } = &frame {
                self.adopt_run(exec, *cap, matches!(frame, FromJail::Running { .. }));
                handles.extend(self.jobs.get(exec).and_then(|job| self.handle_of(job)));
            }
            self.hear(frame).await;
        }
        // The daemon before us may have gone down before it had the state after the last command.
        if self.current.is_none()
            && !self.snapshotting
            && self.jail.as_ref().is_some_and(|jail| jail.has_shell)
        {
            self.state_kept = false;
            self.ask_for_snapshot().await;
        }
        handles
    }

    fn adopt_run(&mut self, id: &str, cap: u64, running: bool) {
        if id == names::SNAPSHOT {
            self.snapshotting = running;
            return;
        }
        let Ok(exec) = id.parse::<ExecId>() else { return };
        let spool = SpoolPaths::new(&self.host.spool_dir(&self.spec.session), &exec);
        let Some(asks) = self.asks.upgrade() else { return };
        let (_handle, side) = RunHandle::new(exec.clone(), spool, asks);
        side.progress.send_modify(|p| p.state = RunState::Running);
        let is_pty = self
            .jail
            .as_ref()
            .is_some_and(|j| names::of(j.exchange(), id, names::RESTORE).exists());
        // Its size is the terminal's own affair by now.
        let pty = is_pty.then_some(Terminal::of(PtySize { rows: 24, cols: 80 }));
        let job = self.job(exec, side, None, pty, cap);
        if running && !is_pty {
            self.current = Some(id.to_owned());
        }
        self.jobs.insert(id.to_owned(), job);
    }

    pub(super) async fn hear(&mut self, frame: FromJail) {
        let _passing = crate::jail::hearing_of(&frame).pass();
        match frame {
            FromJail::Hello { .. } | FromJail::Ready => {}
            FromJail::Running { exec, out, err, .. } | FromJail::Progress { exec, out, err } => {
                self.ring(&exec, out, err)
            }
            FromJail::Finished {
                exec,
                out,
                err,
                end,
                umask,
                cwd,
                ..
            } => {
                let cwd = PathBuf::from(std::ffi::OsString::from_vec(cwd));
                // jinit keeps the end of a run until it is told that the log has it (`Shell::acknowledge`); what is
                // nobody's run it may forget at once.
                if !self.jobs.contains_key(&exec) {
                    self.tell(&ToJail::Ack { exec: exec.clone() }).await;
                }
                if exec == names::SNAPSHOT {
                    self.keep_snapshot(out, err, end, umask, cwd).await;
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
            FromJail::Written { exec, writer, taken } => self.written(exec, writer, taken).await,
            FromJail::Waiting { exec, waits, error } => self.told_waiting(&exec, waits, error),
            FromJail::Jobs { processes } => self.told_jobs(processes),
            FromJail::Limit { exec, bound, limit } => self.limit_passed(exec, bound, limit),
            FromJail::Busy => self.idle.refused(),
            FromJail::Resting { files } => self.idle.sleeps(files),
            // Those go to the session's network.
            FromJail::Listening { .. } | FromJail::Dialled { .. } => {}
        }
    }

    fn ring(&self, exec: &str, out: u64, err: u64) {
        if let Some(job) = self.jobs.get(exec) {
            // The second stream of a terminal is between us and its shell.
            let err = if job.pty.is_some() { 0 } else { err };
            job.side
                .progress
                .send_modify(|p| (p.stdout_bytes, p.stderr_bytes) = (out, err));
        }
    }

    pub(super) fn cwd(&self) -> PathBuf {
        let saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        saved.as_ref().map_or_else(
            || self.spec.workspace.jail_path(&self.spec.workspace.start_dir),
            |s| s.cwd.clone(),
        )
    }
}
