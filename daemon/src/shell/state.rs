//! Owns: asking the shell for its state after each command, and the terminals that start from it.
//! Guarantees: asking is off the way of the answer; a state that could not be read whole leaves the one before in place.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use agent_jinit::names;
use agent_jinit::wire::{End, RunFrame, StdinKind, ToJail};

use super::actor::{Actor, Job};
use super::snapshot::{self, ShellSnapshot};
use super::{RunResult, RunState, Terminal, exchange, light};
use crate::jail::JailError;

/// A shell that can't say its state in this time is in trouble of its own.
const SNAPSHOT_TIMEOUT_MS: u64 = 5_000;

impl Actor {
    /// Where a terminal's shell says its last state.
    fn terminal_file(&self, exec: &str) -> PathBuf {
        super::spool::state_file(&self.host.spool_dir(&self.spec.session), exec)
    }

    /// Earlier daemons had the shell's answers in files.
    fn remove_old_answers(&self) {
        let dir = self.host.spool_dir(&self.spec.session);
        for name in ["snapshot.out", "snapshot.err"] {
            let _none = std::fs::remove_file(dir.join(name));
        }
    }

    pub(super) async fn ask_for_snapshot(&mut self) {
        let Some(jail) = &self.jail else { return };
        // Those were closed before the run that has just ended: the shell has read all of theirs.
        for id in self.afters.drain(..) {
            exchange::remove_after(jail.exchange(), &id);
        }
        let asked = async {
            if !self.can_ask {
                exchange::remove(jail.exchange(), names::SNAPSHOT);
                self.remove_old_answers();
                let file = |part| names::of(jail.exchange(), names::SNAPSHOT, part);
                std::fs::write(file(names::SCRIPT), snapshot::script(self.is_bash))?;
                crate::jail::process::make_fifo(&file(names::OUT))?;
                crate::jail::process::make_fifo(&file(names::ERR))?;
            }
            let (out, err) = (answer_file()?, answer_file()?);
            let frame = RunFrame {
                exec: names::SNAPSHOT.to_owned(),
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
            jail.send(&ToJail::Run(frame), &[out.as_fd(), err.as_fd()])
                .await
                .map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>((out, err))
        };
        match asked.await {
            Ok(answer) => {
                self.snapshotting = true;
                self.can_ask = true;
                self.answer = Some(answer);
            }
            Err(error) => {
                tracing::warn!(%error, session = %self.spec.session, "the shell's state could not be asked for")
            }
        }
    }

    /// Whether a command that is about to begin will leave the shell as it is.
    pub(super) fn will_be_light(&self, job: &Job) -> bool {
        let known = self.state_kept && self.is_bare && !self.idle.functions && job.init.is_none();
        let request = job.request.as_ref().filter(|_| known);
        request.is_some_and(|r| r.env.is_empty() && r.cwd.is_none() && light::is_light(&r.script))
    }

    /// Whether it did: the state is then what it was, but for how the command ended, and the shell is not asked.
    pub(super) fn was_light(&mut self, job: &Job, end: &End, cwd: &Path) -> bool {
        let whole = !(end.shell_died || end.not_run || end.timed_out || end.interrupted || end.background);
        let mut saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have moved its directory.
        let Some(saved) = saved
            .as_mut()
            .filter(|saved| job.light && whole && saved.cwd == cwd)
        else {
            return false;
        };
        saved.last_status = end.status;
        self.state_kept = true;
        true
    }

    /// What the shell answered is not its state: a function stands in the way of the builtin. Freed once; if that does not
    /// help, the state from before stays.
    async fn heal(&mut self) {
        if std::mem::replace(&mut self.healed, true) || !self.is_bash {
            tracing::warn!(session = %self.spec.session, "the shell does not say its state; the one before is kept");
            return;
        }
        self.tell(&ToJail::Heal).await;
        self.note =
            Some("a function named . would have hidden every later command; it was removed".to_owned());
        self.ask_for_snapshot().await;
    }

    pub(super) async fn keep_snapshot(&mut self, out: u64, err: u64, end: End, umask: u32, cwd: PathBuf) {
        self.snapshotting = false;
        let answer = self.answer.take();
        // What it was asked with may be in somebody's hands yet.
        self.can_ask &= !(end.shell_died || end.not_run || end.timed_out || end.background);
        if end.shell_died
            && let Some(jail) = &mut self.jail
        {
            jail.has_shell = false;
        }
        if std::mem::take(&mut self.overtaken) {
            self.retire().await;
            return;
        }
        if end.shell_died || end.not_run || end.timed_out || out.max(err) > snapshot::MAX {
            return;
        }
        let Some(answer) = answer else {
            // A daemon before us asked: the answer is in its memory.
            self.ask_for_snapshot().await;
            return;
        };
        let whole = |file: &File, len: u64| {
            let all_there = file.metadata().is_ok_and(|m| m.len() == len);
            let mut text = vec![0; usize::try_from(len).unwrap_or_default()];
            (all_there && file.read_exact_at(&mut text, 0).is_ok()).then_some(text)
        };
        if let (Some(out), Some(err)) = (whole(&answer.0, out), whole(&answer.1, err)) {
            if !snapshot::is_whole(self.is_bash, &out) {
                self.heal().await;
                return;
            }
            self.state_kept = true;
            self.is_bare = light::is_bare(&out, &err);
            self.healed = false;
            let mut taken = ShellSnapshot::new(cwd, umask, self.last_status, self.is_bash, out, &err);
            taken.began_with = self.begin.with().cloned();
            *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        }
    }

    pub(super) async fn open_pty(&mut self, mut job: Job, terminal: Terminal) {
        let opened = async {
            self.ensure_jail().await?;
            let Some(jail) = &self.jail else {
                return Err(JailError::Gone);
            };
            let id = job.exec.as_str();
            let saved = self
                .snapshot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let first = || self.spec.init.clone().unwrap_or_default().into_bytes();
            let state = saved.map_or_else(first, |s| s.restore());
            let mut text = b"\\. ".to_vec();
            text.extend_from_slice(&snapshot::quoted(&names::of(jail.inside(), id, names::BEFORE)));
            text.extend_from_slice(b" >/dev/null 2>/dev/null");
            // At its end it says its state over a FIFO, as the asking script does.
            let out = snapshot::quoted(&names::of(jail.inside(), id, names::ERR));
            let ask = snapshot::quoted(&names::of(jail.inside(), id, names::SCRIPT));
            text.extend_from_slice(b"\nPS1='$ '\nTERM=");
            text.extend_from_slice(&snapshot::quoted_bytes(terminal.term.as_bytes()));
            text.extend_from_slice(b"\n\\export TERM\n\\trap '\\. ");
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
            let (out, _) = job.spool.create().map_err(io())?;
            // Not a stream of the run: nothing of it is for the person.
            let err = super::spool::create(&self.terminal_file(id)).map_err(io())?;
            let frame = RunFrame {
                exec: id.to_owned(),
                stdin: StdinKind::Pty,
                own_shell: true,
                timeout_ms: 0,
                cap: job.cap,
                has_status: false,
                has_before: false,
                has_after: false,
                rows: terminal.size.rows,
                cols: terminal.size.cols,
            };
            jail.send(&ToJail::Run(frame), &[out.as_fd(), err.as_fd()]).await
        };
        match opened.await {
            Ok(()) => {
                job.opened_at = self.runs;
                job.side.progress.send_modify(|p| p.state = RunState::Running);
                let early = std::mem::take(&mut job.early);
                self.jobs.insert(job.exec.as_str().to_owned(), job);
                self.hand_over_early(early).await;
            }
            Err(error) => {
                let message = Some(error.to_string());
                let result = RunResult {
                    exit_code: 126,
                    not_run: true,
                    message,
                    ..RunResult::default()
                };
                self.publish(job, result, true);
            }
        }
    }

    /// A terminal's last state becomes the session's, unless a command ran meanwhile.
    pub(super) async fn keep_pty_state(&mut self, job: &Job, len: u64, status: i32) -> String {
        let file = self.terminal_file(job.exec.as_str());
        let state = std::fs::read(&file).unwrap_or_default();
        let _never_made = std::fs::remove_file(&file);
        if self.runs != job.opened_at || self.current.is_some() {
            return "commands ran meanwhile: the session keeps their state, not this terminal's".to_owned();
        }
        let umask = self.spec.limits.umask.unwrap_or(0o22);
        if len == 0 || state.len() as u64 != len {
            return "the terminal's state was not saved; the session keeps the state from before".to_owned();
        }
        {
            let mut saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = ShellSnapshot::from_terminal(
                self.spec.workspace.jail_root(),
                saved.as_ref(),
                status,
                state,
                umask,
            );
            *saved = Some(taken);
        }
        self.last_status = status;
        self.state_kept = true;
        self.is_bare = false;
        // The shell may be asked for its state just now, because this daemon is a new one: what it will say is older.
        self.overtaken = self.snapshotting;
        if !self.snapshotting {
            self.retire().await;
        }
        "the session continues where the terminal left off".to_owned()
    }

    /// The long-lived shell has an old state: it is replaced before the next command.
    pub(super) async fn retire(&mut self) {
        self.tell(&ToJail::Retire).await;
        if let Some(jail) = &mut self.jail {
            jail.has_shell = false;
        }
    }
}

/// Where the shell's answer goes: in memory, since nobody needs it after us.
fn answer_file() -> std::io::Result<File> {
    Ok(rustix::fs::memfd_create("state", rustix::fs::MemfdFlags::CLOEXEC)?.into())
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
