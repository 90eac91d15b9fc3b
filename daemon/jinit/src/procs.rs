//! Owns: what runs in the jail, read from /proc, and which of it belongs to one command.
//! Guarantees: jinit itself, the long-lived shell, and what ran before the command with all its children are never
//! listed as the command's.

use std::collections::{HashMap, HashSet};

use rustix::process::{Pid, Signal};

/// One live process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proc {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    pub(crate) session: u32,
}

#[cfg(test)]
impl Proc {
    pub(crate) fn new(pid: u32, ppid: u32, session: u32) -> Self {
        Self { pid, ppid, session }
    }
}

/// Only the numbers: cheap enough to take before each command.
pub(crate) fn pids() -> HashSet<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return HashSet::new();
    };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect()
}

fn fields(pid: u32) -> Option<(char, u32, u32)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name in brackets may hold anything, brackets and blanks too: count from its end.
    let mut words = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    let ppid = words.next()?.parse().ok()?;
    let session = words.nth(1)?.parse().ok()?;
    Some((state, ppid, session))
}

/// The state letter of one process.
pub(crate) fn state(pid: u32) -> Option<char> {
    fields(pid).map(|(state, ..)| state)
}

/// Every process that is not already dead.
pub(crate) fn list() -> HashMap<u32, Proc> {
    pids()
        .into_iter()
        .filter_map(|pid| {
            let (state, ppid, session) = fields(pid)?;
            (!matches!(state, 'Z' | 'X')).then_some((pid, Proc { pid, ppid, session }))
        })
        .collect()
}

/// The question "whose is it?".
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// jinit.
    pub(crate) me: u32,
    /// The long-lived shell.
    pub(crate) shell: Option<u32>,
    /// What ran before the command.
    pub(crate) before: &'a HashSet<u32>,
    /// Shells on terminals, each with a session of its own.
    pub(crate) terminals: &'a [u32],
    /// Only descendants of jinit count (there is no PID namespace around us).
    pub(crate) descendants_only: bool,
}

impl Scope<'_> {
    /// The processes of the command.
    pub(crate) fn of_command(&self) -> Vec<u32> {
        let all = list();
        all.values()
            .filter(|p| self.belongs(**p, &all))
            .map(|p| p.pid)
            .collect()
    }

    fn belongs(&self, start: Proc, all: &HashMap<u32, Proc>) -> bool {
        if start.pid == self.me || Some(start.pid) == self.shell {
            return false;
        }
        let mut at = start;
        // A chain of parents can't be longer than the number of processes, unless it changes under us.
        for _ in 0..=all.len() {
            if self.before.contains(&at.pid)
                || self.terminals.contains(&at.pid)
                || self.terminals.contains(&at.session)
            {
                return false;
            }
            if at.ppid == self.me || Some(at.ppid) == self.shell {
                return true;
            }
            match all.get(&at.ppid) {
                Some(parent) => at = *parent,
                None => return !self.descendants_only,
            }
        }
        false
    }
}

/// The processes of a shell on a terminal: its session and all it started.
pub(crate) fn of_terminal(leader: u32) -> Vec<u32> {
    let all = list();
    let mut ours = Vec::new();
    for proc in all.values() {
        let mut at = *proc;
        for _ in 0..=all.len() {
            if at.pid == leader || at.session == leader {
                ours.push(proc.pid);
                break;
            }
            let Some(parent) = all.get(&at.ppid) else { break };
            at = *parent;
        }
    }
    ours
}

/// Every process in here but jinit itself; where there is no PID namespace around us, all that descends from it.
pub(crate) fn everyone(me: u32, descendants_only: bool) -> Vec<u32> {
    let all = list();
    all.values()
        .map(|proc| proc.pid)
        .filter(|pid| *pid != me && (!descendants_only || descends(*pid, me, &all)))
        .collect()
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Whether one process descends from another.
pub(crate) fn descends(pid: u32, from: u32, all: &HashMap<u32, Proc>) -> bool {
    let mut at = all.get(&pid);
    for _ in 0..=all.len() {
        match at {
            Some(proc) if proc.ppid == from => return true,
            Some(proc) => at = all.get(&proc.ppid),
            None => return false,
        }
    }
    false
}

/// Every live process with its number of threads; with `descendants_only` what descends from `me`.
pub(crate) fn threads(me: u32, descendants_only: bool) -> Vec<(u32, u64)> {
    let count = |pid: u32| {
        let text = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let rest = text
            .rfind(')')
            .and_then(|at| text.get(at + 1..))
            .unwrap_or_default();
        rest.split_ascii_whitespace()
            .nth(17)
            .and_then(|word| word.parse().ok())
            .unwrap_or(1)
    };
    let mut all = everyone(me, descendants_only);
    all.push(me);
    all.into_iter().map(|pid| (pid, count(pid))).collect()
}

/// Sends a signal; a process that is gone is fine.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|p| *p > 1).and_then(Pid::from_raw) {
        let _gone = rustix::process::kill_process(pid, signal);
    }
}
