//! Owns: one run of a command as jinit sees it: its streams, its input, its time limit, and how it is being stopped.
//! Guarantees: a run that ended is remembered until the daemon acknowledges it; its late output stays its own.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_jinit::wire::{Bound, End, FromJail, RunFrame, StdinKind};

use crate::input::Input;
use crate::stream::Stream;
use crate::waits::Quiet;

/// Between SIGINT, SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_millis(200);
/// Doorbells closer together than this are one.
const BELL: Duration = Duration::from_millis(10);

/// How far the stopping of a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Interrupt,
    Terminate,
    Kill,
    KillShell,
    KillAll,
}

impl Stage {
    fn next(self) -> Self {
        match self {
            Self::Interrupt => Self::Terminate,
            Self::Terminate => Self::Kill,
            Self::Kill => Self::KillShell,
            Self::KillShell | Self::KillAll => Self::KillAll,
        }
    }
}

/// A run being stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ladder {
    pub(crate) stage: Stage,
    pub(crate) next: Instant,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Finish {
    pub(crate) end: End,
    pub(crate) umask: u32,
    pub(crate) cwd: Vec<u8>,
}

/// One run.
pub(crate) struct Run {
    pub(crate) frame: RunFrame,
    pub(crate) out: Stream,
    pub(crate) err: Stream,
    pub(crate) input: Option<Input>,
    pub(crate) nonce: String,
    pub(crate) before: HashSet<u32>,
    pub(crate) started: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) ladder: Option<Ladder>,
    pub(crate) timed_out: bool,
    pub(crate) interrupted: bool,
    /// A bound that it passed.
    pub(crate) hit: Option<(Bound, u64)>,
    /// The shell's own answer, while what it started is still being stopped.
    pub(crate) reported: Option<End>,
    pub(crate) finish: Option<Finish>,
    pub(crate) closed_told: bool,
    pub(crate) acked: bool,
    /// A slave end held so that the terminal does not hang up between two users of it.
    pub(crate) held: Option<OwnedFd>,
    pub(crate) pts: Option<PathBuf>,
    /// The shell on a terminal of its own.
    pub(crate) terminal: Option<u32>,
    /// When to look next whether the shell still executes anything, and the interval.
    pub(crate) look: Instant,
    pub(crate) look_every: Duration,
    pub(crate) idle_looks: u32,
    pub(crate) quiet: Quiet,
    rung: (u64, u64),
    rung_at: Instant,
}

impl Run {
    pub(crate) fn new(
        frame: RunFrame,
        out: Stream,
        err: Stream,
        nonce: String,
        before: HashSet<u32>,
    ) -> Self {
        let now = Instant::now();
        let deadline = (frame.timeout_ms > 0).then(|| now + Duration::from_millis(frame.timeout_ms));
        Self {
            frame,
            out,
            err,
            input: None,
            nonce,
            before,
            started: now,
            deadline,
            ladder: None,
            timed_out: false,
            interrupted: false,
            hit: None,
            reported: None,
            finish: None,
            closed_told: false,
            acked: false,
            held: None,
            pts: None,
            terminal: None,
            look: now + Duration::from_millis(60),
            look_every: Duration::from_millis(60),
            idle_looks: 0,
            quiet: Quiet::new(now),
            rung: (0, 0),
            rung_at: now,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.out.is_open() || self.err.is_open()
    }

    pub(crate) fn wants_pipe(&self) -> bool {
        self.frame.stdin == StdinKind::Open && !self.frame.own_shell
    }

    /// Begins to stop the run; returns the first stage to carry out.
    pub(crate) fn stop(&mut self) -> Option<Stage> {
        if self.ladder.is_some() || self.finish.is_some() {
            return None;
        }
        self.ladder = Some(Ladder {
            stage: Stage::Interrupt,
            next: Instant::now() + PATIENCE,
        });
        self.deadline = None;
        Some(Stage::Interrupt)
    }

    /// Moves its clocks on by the time that everything stood still.
    pub(crate) fn shift(&mut self, since: Instant) {
        let now = Instant::now();
        let began = self.started.max(since);
        let still = now.saturating_duration_since(began);
        self.deadline = self.deadline.map(|at| at + still);
        self.look = now + self.look_every;
        self.idle_looks = 0;
    }

    /// The next stage, when its time has come.
    pub(crate) fn climb(&mut self, now: Instant) -> Option<Stage> {
        let ladder = self.ladder.as_mut()?;
        if self.finish.is_some() || now < ladder.next {
            return None;
        }
        ladder.stage = ladder.stage.next();
        ladder.next = now + PATIENCE;
        Some(ladder.stage)
    }

    /// A doorbell, if there is news and the last one is long enough ago.
    pub(crate) fn bell(&mut self, now: Instant) -> Option<FromJail> {
        let totals = (self.out.total, self.err.total);
        if totals == self.rung || (now < self.rung_at + BELL && self.rung != (0, 0)) {
            return None;
        }
        self.rung = totals;
        self.rung_at = now;
        Some(FromJail::Progress {
            exec: self.frame.exec.clone(),
            out: totals.0,
            err: totals.1,
        })
    }

    /// The doorbell was not heard: it is due again, be there more news or not.
    pub(crate) fn not_rung(&mut self) {
        self.rung = (u64::MAX, u64::MAX);
    }

    /// When a doorbell that was held back is due.
    pub(crate) fn bell_due(&self) -> Option<Instant> {
        ((self.out.total, self.err.total) != self.rung).then(|| self.rung_at + BELL)
    }

    /// The state as a frame, for the first telling and for a reconnect.
    pub(crate) fn state(&self) -> FromJail {
        let (exec, out, err) = (self.frame.exec.clone(), self.out.total, self.err.total);
        let cap = self.frame.cap;
        match &self.finish {
            None => FromJail::Running { exec, out, err, cap },
            Some(f) => FromJail::Finished {
                exec,
                out,
                err,
                cap,
                end: f.end,
                umask: f.umask,
                cwd: f.cwd.clone(),
            },
        }
    }

    /// The bound that it passed, as a frame.
    pub(crate) fn limit(&self) -> Option<FromJail> {
        let (bound, limit) = self.hit?;
        Some(FromJail::Limit {
            exec: Some(self.frame.exec.clone()),
            bound,
            limit,
        })
    }

    pub(crate) fn closed(&self) -> FromJail {
        FromJail::Closed {
            exec: self.frame.exec.clone(),
            out: self.out.total,
            err: self.err.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doorbell_that_nobody_heard_rings_again_without_more_news() {
        let frame = RunFrame {
            exec: "x-a".into(),
            stdin: StdinKind::Null,
            own_shell: false,
            timeout_ms: 0,
            cap: 2,
            has_status: false,
            has_before: false,
            has_after: false,
            rows: 0,
            cols: 0,
        };
        let mut run = Run::new(
            frame,
            Stream::closed(),
            Stream::closed(),
            String::new(),
            HashSet::new(),
        );
        let now = Instant::now();
        run.out.total = 7;
        assert!(run.bell(now).is_some());
        assert!(
            run.bell(now + BELL).is_none() && run.bell_due().is_none(),
            "heard"
        );
        run.not_rung();
        assert_eq!(run.bell_due(), Some(now + BELL));
        assert!(run.bell(now).is_none(), "not at once");
        assert!(run.bell(now + BELL).is_some());
    }
}
