//! Owns: what becomes of that which passed a bound.
//! Guarantees: the command that passed it is stopped, what ran before it goes on; only where that is not enough does
//! everything go; whoever started it is told which bound it was.

use std::time::Instant;

use agent_jinit::names;
use agent_jinit::wire::{Bound, FromJail};
use rustix::process::Signal;

use crate::command::signal_all;
use crate::procs;
use crate::run::Stage;
use crate::serve::Server;
use crate::watch::Hit;

impl Server {
    /// Looks at the bounds, if it is time, and acts.
    pub(crate) fn look_at_bounds(&mut self, now: Instant) {
        let at_work = self.runs.values().any(|run| run.finish.is_none());
        let Some(hit) = self.watch.look(now, self.me, at_work) else {
            return;
        };
        let open = |(exec, run): (&String, &crate::run::Run)| {
            (run.finish.is_none() && exec != names::SNAPSHOT).then(|| exec.clone())
        };
        let exec = self.current.clone().filter(|exec| exec != names::SNAPSHOT);
        let exec = exec.or_else(|| self.runs.iter().find_map(open));
        let again = self.tell(exec.as_deref(), hit);
        match (hit.bound, &exec) {
            // As the kernel does: the largest goes, once more if need be.
            (Bound::Memory, _) => {
                if let Some(largest) = hit.largest {
                    procs::signal(largest, Signal::KILL);
                }
            }
            (Bound::Processes, Some(exec)) => {
                let stage = if again { Stage::KillAll } else { Stage::Kill };
                self.carry_out(exec, stage);
            }
            (_, Some(exec)) => {
                let stage = self.runs.get_mut(exec).and_then(crate::run::Run::stop);
                if let Some(stage) = stage {
                    self.carry_out(exec, stage);
                }
            }
            // Left in the background by commands that have ended.
            (_, None) => {
                let shell = self.shell.as_ref().map(|shell| shell.pid);
                // All stand still first: no race of forks outruns that.
                let jailed = !self.options.outer;
                let _none = jailed.then(|| signal_all(Signal::STOP));
                for pid in procs::everyone(self.me, self.options.outer) {
                    if Some(pid) != shell {
                        procs::signal(pid, Signal::KILL);
                    }
                }
                let _none = jailed.then(|| signal_all(Signal::CONT));
            }
        }
    }

    /// Says it, once a run; true when it was said before.
    fn tell(&mut self, exec: Option<&str>, hit: Hit) -> bool {
        let Some(run) = exec.and_then(|exec| self.runs.get_mut(exec)) else {
            self.send(&FromJail::Limit {
                exec: None,
                bound: hit.bound,
                limit: hit.limit,
            });
            return false;
        };
        if run.hit.is_some() {
            return true;
        }
        run.hit = Some((hit.bound, hit.limit));
        if let Some(frame) = run.limit() {
            self.send(&frame);
        }
        false
    }
}
