//! Owns: what commands that have ended left running: which process belongs to which command, listing them, ending them.
//! Guarantees: a process stays its command's, whoever its parents are by then; the processes of a command that runs and of an
//! open terminal are nobody's jobs; ending one job touches no other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use agent_jinit::names;
use agent_jinit::wire::{FromJail, JobProcess};
use rustix::process::Signal;

use crate::command::signal_all;
use crate::procs::{self, Proc};
use crate::serve::Server;

/// Between SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest command line that is told, bytes.
const MAX_COMMAND: usize = 200;
/// Room for the list in one frame.
const MAX_LIST: usize = 48 * 1024;

/// Whose processes they are.
#[derive(Default)]
pub(crate) struct Jobs {
    /// The command of each process that outlived it; also of leaders that are gone while their session is not.
    owner: HashMap<u32, String>,
    /// The command that began last: what is new and nobody's is its.
    last: Option<String>,
    /// Commands whose jobs were told to end, and when they have to be gone.
    ending: Vec<(String, Instant)>,
}

impl Jobs {
    /// When one has to be gone.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.ending.iter().map(|(_, at)| *at).min()
    }

    /// Gives every process in `all` that has no owner one.
    fn assign(&mut self, all: &HashMap<u32, Proc>, skip: impl Fn(u32) -> bool) {
        let sessions: std::collections::HashSet<u32> = all.values().map(|proc| proc.session).collect();
        self.owner
            .retain(|pid, _| all.contains_key(pid) || sessions.contains(pid));
        let Some(last) = self.last.clone() else { return };
        let fresh: Vec<u32> = all
            .keys()
            .copied()
            .filter(|pid| !skip(*pid) && !self.owner.contains_key(pid))
            .collect();
        for pid in fresh {
            let owner = self.inherited(pid, all).unwrap_or_else(|| last.clone());
            self.owner.insert(pid, owner);
        }
    }

    /// The owner of its nearest ancestor that has one, or of its session's leader.
    fn inherited(&self, pid: u32, all: &HashMap<u32, Proc>) -> Option<String> {
        let start = all.get(&pid)?;
        let mut at = start;
        for _ in 0..all.len() {
            let Some(parent) = all.get(&at.ppid) else { break };
            if let Some(owner) = self.owner.get(&parent.pid) {
                return Some(owner.clone());
            }
            at = parent;
        }
        self.owner.get(&start.session).cloned()
    }
}

impl Server {
    /// A command is about to begin: what is there now and nobody's was left by the one before.
    pub(crate) fn next_command(&mut self, exec: &str) {
        let Some(run) = self.runs.get(exec) else { return };
        // The usual case costs nothing: nobody is here but the shell and us.
        let shell = self.shell.as_ref().map(|shell| shell.pid);
        let news = if self.options.outer {
            // Others live here too: only our own children count.
            let parents = [Some(self.me), shell];
            let children = parents.into_iter().flatten().flat_map(procs::children);
            children
                .into_iter()
                .any(|pid| Some(pid) != shell && !self.jobs.owner.contains_key(&pid))
        } else {
            run.before.len() > self.jobs.owner.len() + usize::from(shell.is_some()) + 1
        };
        if news || self.jobs.owner.keys().any(|pid| !run.before.contains(pid)) {
            self.assign_jobs(&procs::list());
        }
        if exec != names::SNAPSHOT {
            self.jobs.last = Some(exec.to_owned());
        }
    }

    /// A shell on a terminal is about to begin.
    pub(crate) fn next_terminal(&mut self, exec: &str, leader: u32) {
        self.jobs.owner.insert(leader, exec.to_owned());
    }

    fn assign_jobs(&mut self, all: &HashMap<u32, Proc>) {
        let (me, shell) = (self.me, self.shell.as_ref().map(|shell| shell.pid));
        let running: Vec<u32> = match &self.current {
            Some(exec) => self.processes_of(exec),
            None => Vec::new(),
        };
        let mut jobs = std::mem::take(&mut self.jobs);
        let inside = |pid: u32| !self.options.outer || procs::descends(pid, me, all);
        jobs.assign(all, |pid| {
            pid == me || Some(pid) == shell || running.contains(&pid) || !inside(pid)
        });
        self.jobs = jobs;
    }

    /// The processes of commands that have ended, by command.
    fn left_running(&mut self) -> Vec<(String, u32)> {
        let all = procs::list();
        self.assign_jobs(&all);
        let mut left: Vec<(String, u32)> = self
            .jobs
            .owner
            .iter()
            .filter(|(pid, exec)| {
                let runs = self.runs.get(*exec).is_some_and(|run| run.finish.is_none());
                all.contains_key(pid) && !runs
            })
            .map(|(pid, exec)| (exec.clone(), *pid))
            .collect();
        left.sort();
        left
    }

    /// Tells what commands left running.
    pub(crate) fn tell_jobs(&mut self) {
        let mut processes = Vec::new();
        let mut room = MAX_LIST;
        for (exec, pid) in self.left_running() {
            let one = JobProcess {
                command: command_line(pid),
                exec,
                pid,
            };
            let size = one.exec.len() + one.command.len() + 24;
            if size > room {
                break;
            }
            room -= size;
            processes.push(one);
        }
        self.send(&FromJail::Jobs { processes });
    }

    /// Tells what a command left to end; [`Server::end_jobs`] sees to it.
    pub(crate) fn end_job(&mut self, exec: &str) {
        for (owner, pid) in self.left_running() {
            if owner == exec {
                procs::signal(pid, Signal::TERM);
                procs::signal(pid, Signal::CONT);
            }
        }
        self.jobs
            .ending
            .push((exec.to_owned(), Instant::now() + PATIENCE));
    }

    /// Kills what was told to end and did not.
    pub(crate) fn end_jobs(&mut self, now: Instant) {
        while let Some(at) = self.jobs.ending.iter().position(|(_, at)| *at <= now) {
            let (exec, _) = self.jobs.ending.swap_remove(at);
            // While all stand still: a job that forks can't outrun that.
            let frozen = !self.options.outer && signal_all(Signal::STOP).is_ok();
            for (owner, pid) in self.left_running() {
                if owner == exec {
                    procs::signal(pid, Signal::KILL);
                }
            }
            if frozen && !self.stands_still() {
                let _none = signal_all(Signal::CONT);
            }
        }
    }
}

/// The words of a process, parted by blanks; its short name in brackets where it has none.
fn command_line(pid: u32) -> Vec<u8> {
    let mut words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    while words.last() == Some(&0) {
        words.pop();
    }
    if words.is_empty() {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return format!("[{}]", name.trim_end()).into_bytes();
    }
    words.truncate(MAX_COMMAND);
    for byte in &mut words {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(rows: &[(u32, u32, u32)]) -> HashMap<u32, Proc> {
        rows.iter()
            .map(|(pid, ppid, session)| (*pid, Proc::new(*pid, *ppid, *session)))
            .collect()
    }

    fn owners(jobs: &Jobs) -> Vec<(u32, &str)> {
        let mut all: Vec<(u32, &str)> = jobs
            .owner
            .iter()
            .map(|(pid, exec)| (*pid, exec.as_str()))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_process_stays_its_commands() {
        let nobody = |pid: u32| pid <= 2;
        let mut jobs = Jobs {
            last: Some("x-1".into()),
            ..Jobs::default()
        };
        jobs.assign(&world(&[(1, 0, 1), (2, 1, 1), (10, 2, 1), (11, 1, 11)]), nobody);
        assert_eq!(owners(&jobs), [(10, "x-1"), (11, "x-1")]);
        // The first of them forks, the second's child is left without its parent; a later command leaves one too.
        jobs.last = Some("x-2".into());
        let later = world(&[
            (1, 0, 1),
            (2, 1, 1),
            (10, 2, 1),
            (12, 10, 1),
            (13, 1, 11),
            (14, 2, 1),
        ]);
        jobs.assign(&later, nobody);
        assert_eq!(
            owners(&jobs),
            [(10, "x-1"), (11, "x-1"), (12, "x-1"), (13, "x-1"), (14, "x-2")]
        );
        jobs.assign(&world(&[(1, 0, 1), (2, 1, 1), (14, 2, 1)]), nobody);
        assert_eq!(owners(&jobs), [(14, "x-2")]);
    }
}
