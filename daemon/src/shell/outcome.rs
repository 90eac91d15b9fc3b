//! Owns: what became of a run: finished, refused, or lost with its jail; and telling its handle.
//! Guarantees: every run that was accepted gets exactly one result; a run is handed over again only if it was not begun.

use std::path::PathBuf;
use std::time::Duration;

use agent_jinit::names;
use agent_jinit::wire::{End, Refusal, ToJail};

use super::actor::{Actor, Job};
use super::input::Inputs;
use super::{Progress, RunResult, RunState, beginning, exchange, spool};
use crate::jail::JailError;

/// How long a jail that has ended may take to say its last.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

impl Actor {
    pub(super) async fn finished(
        &mut self,
        id: &str,
        bytes: (u64, u64),
        end: End,
        _umask: u32,
        cwd: PathBuf,
    ) {
        let was_current = self.current.as_deref() == Some(id);
        if was_current {
            self.current = None;
        }
        if end.shell_died
            && let Some(jail) = &mut self.jail
        {
            jail.has_shell = false;
        }
        let Some(mut job) = self.jobs.remove(id) else {
            return;
        };
        if job.finished {
            self.jobs.insert(id.to_owned(), job);
            return;
        }
        if end.not_run
            && !job.retried
            && !job.fed
            && !end.timed_out
            && !end.interrupted
            && job.request.is_some()
        {
            job.retried = true;
            // This end is not the run's: the next attempt has the same name.
            self.tell(&ToJail::Ack { exec: id.to_owned() }).await;
            self.queue.push_front(job);
            return;
        }
        if job.init.is_some() {
            self.begun(&job, end).await;
            job.finished = true;
            if was_current && !end.shell_died {
                self.ask_for_snapshot().await;
            }
            self.jobs.insert(id.to_owned(), job);
            return;
        }
        if job.pty.is_none() {
            self.last_status = end.status;
        }
        let cwd = if cwd.as_os_str().is_empty() {
            self.cwd()
        } else {
            cwd
        };
        let light = was_current && self.was_light(&job, &end, &cwd);
        let state = bytes.1;
        let bytes = if job.pty.is_some() { (bytes.0, 0) } else { bytes };
        let caps = (
            spool::kept(&job.spool.stdout, bytes.0, job.cap),
            spool::kept(&job.spool.stderr, bytes.1, job.cap),
        );
        let mut result = result_of(bytes, end, cwd, caps);
        let told = job.limit.take().or_else(|| self.kernels_word(&end));
        if let Some(limit) = told.or_else(|| self.likely_bound(&job, &end)) {
            result.say(limit);
        }
        result.jail_restarted = std::mem::take(&mut self.jail_restarted);
        if result.jail_restarted {
            result.say("the jail is a new one: background jobs of before are gone".to_owned());
        }
        if caps != (job.cap, job.cap) {
            let lost = result.stdout_dropped.saturating_add(result.stderr_dropped);
            result.say(format!(
                "the disk that keeps output is full: {lost} bytes of it were not kept"
            ));
        }
        if let Some(note) = self.note.take() {
            result.say(note);
        }
        if let Some(note) = self.jail.as_mut().and_then(crate::jail::Jail::look_at_git) {
            result.say(note);
        }
        if job.pty.is_some() {
            let kept = self.keep_pty_state(&job, state, end.status).await;
            result.say(kept);
        }
        job.finished = true;
        self.inputs.forget(id);
        if !end.background {
            let _ordered = (
                spool::finalise(&job.spool.stdout, bytes.0),
                spool::finalise(&job.spool.stderr, bytes.1),
            );
        }
        job.side.progress.send_modify(|p| {
            *p = Progress {
                stdout_bytes: bytes.0,
                stderr_bytes: bytes.1,
                state: RunState::Finished,
                waits: None,
            };
        });
        job.side.result.send_replace(Some(result));
        self.jobs.insert(id.to_owned(), job);
        if was_current && !end.shell_died && !light {
            self.ask_for_snapshot().await;
        }
    }

    pub(super) fn closed(&mut self, id: &str, out: u64, err: u64) {
        if id == names::SNAPSHOT {
            // What it was asked with serves again.
            return;
        }
        if self.jobs.get(id).is_some_and(|job| !job.finished)
            || self.queue.iter().any(|job| job.exec.as_str() == id)
        {
            // The end of an attempt that was not begun: the next one has the same name.
            return;
        }
        let job = self.jobs.remove(id);
        if let Some(jail) = &self.jail {
            match &job {
                Some(job) if job.pty.is_none() => {
                    exchange::set_aside(jail.exchange(), id, job.brought_files());
                }
                // A terminal's second stream was closed without asking who has it; and of whom we know nothing, too.
                _ => exchange::remove(jail.exchange(), id),
            }
            // Of whom we know nothing: perhaps.
            if job.as_ref().is_none_or(Job::has_after) {
                self.afters.push(id.to_owned());
            }
        }
        let Some(job) = job else { return };
        if job.init.is_some() {
            return beginning::forget(&job);
        }
        let err = if job.pty.is_some() { 0 } else { err };
        let _ordered = (
            spool::finalise(&job.spool.stdout, out),
            spool::finalise(&job.spool.stderr, err),
        );
        let last = Progress {
            stdout_bytes: out,
            stderr_bytes: err,
            state: RunState::Closed,
            waits: None,
        };
        job.side.progress.send_replace(last);
    }

    pub(super) async fn refused(&mut self, id: &str, why: Refusal) {
        if id == names::SNAPSHOT {
            self.snapshotting = false;
            self.answer = None;
            self.can_ask = false;
            if std::mem::take(&mut self.overtaken) {
                self.retire().await;
            }
            return;
        }
        if self.current.as_deref() == Some(id) {
            self.current = None;
        }
        let Some(mut job) = self.jobs.remove(id) else {
            return;
        };
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
                let result = RunResult {
                    exit_code: 126,
                    not_run: true,
                    message,
                    cwd: self.cwd(),
                    ..RunResult::default()
                };
                self.publish(job, result, true);
            }
        }
    }

    /// Whether the jail had ended before a command could be handed over, and that was not heard of yet: now it is, with all
    /// that it still said.
    pub(super) async fn outlived(&mut self, error: &JailError) -> bool {
        let Some(jail) = &self.jail else { return false };
        if !matches!(error, JailError::Gone) && jail.exchange().exists() {
            return false;
        }
        let rest = async {
            while let Some(jail) = &mut self.jail
                && let Some(frame) = jail.frames.recv().await
            {
                self.hear(frame).await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, rest).await.is_err() {
            return false;
        }
        self.jail_gone().await;
        true
    }

    /// Everything in it is gone; what ran has no end that anybody knows.
    pub(super) async fn jail_gone(&mut self) {
        self.jail = None;
        self.current = None;
        self.snapshotting = false;
        self.answer = None;
        self.can_ask = false;
        self.overtaken = false;
        self.inputs = Inputs::default();
        self.job_askers.clear();
        self.begin.again();
        self.host.bury(&self.spec.session).await;
        if self.rest_begins() {
            return;
        }
        let jobs: Vec<Job> = self.jobs.drain().map(|(_, job)| job).collect();
        for job in jobs {
            if job.finished {
                job.side.progress.send_modify(|p| p.state = RunState::Closed);
                continue;
            }
            let message =
                Some("the jail ended while the command ran; how far it came is not known".to_owned());
            let result = RunResult {
                exit_code: 137,
                signal: Some(9),
                message,
                cwd: self.cwd(),
                ..RunResult::default()
            };
            self.publish(job, result, false);
        }
    }

    pub(super) fn publish(&self, job: Job, mut result: RunResult, clean: bool) {
        if job.init.is_some() {
            beginning::forget(&job);
        }
        if let Some(jail) = self.jail.as_ref().filter(|_| clean) {
            exchange::remove(jail.exchange(), job.exec.as_str());
        }
        let length = |p| std::fs::metadata(p).map_or(0, |m| m.len());
        (result.stdout_bytes, result.stderr_bytes) = (length(&job.spool.stdout), length(&job.spool.stderr));
        let last = Progress {
            stdout_bytes: result.stdout_bytes,
            stderr_bytes: result.stderr_bytes,
            state: RunState::Closed,
            waits: None,
        };
        job.side.progress.send_replace(last);
        job.side.result.send_replace(Some(result));
    }

    pub(super) async fn end(&mut self) -> Result<(), JailError> {
        let ended = self.host.end(&self.spec.session).await;
        self.jail = None;
        let jobs: Vec<Job> = self
            .jobs
            .drain()
            .map(|(_, j)| j)
            .chain(self.queue.drain(..))
            .collect();
        for job in jobs.into_iter().filter(|j| !j.finished) {
            let not_run = job.side.progress.borrow().state == RunState::Queued;
            let message = Some("the session's shell was ended".to_owned());
            let result = RunResult {
                exit_code: 137,
                not_run,
                interrupted: true,
                message,
                ..RunResult::default()
            };
            self.publish(job, result, false);
        }
        ended
    }
}

fn result_of((out, err): (u64, u64), end: End, cwd: PathBuf, caps: (u64, u64)) -> RunResult {
    let (out_gap, err_gap) = (spool::gap(out, caps.0), spool::gap(err, caps.1));
    let dropped = |gap: Option<spool::Gap>| gap.map_or(0, |g| g.dropped);
    let message = if end.stuck {
        Some(
            "the shell no longer executed anything (set -n); it was replaced, with its earlier state"
                .to_owned(),
        )
    } else if end.not_run {
        Some("the shell gave up before the command began; nothing of it was run".to_owned())
    } else if end.shell_died && end.signal != 0 {
        Some(format!(
            "the shell was killed by signal {}; a new one continues with the saved state",
            end.signal
        ))
    } else if end.shell_died {
        Some(format!(
            "the shell exited with {}; a new one continues with the saved state",
            end.status
        ))
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
