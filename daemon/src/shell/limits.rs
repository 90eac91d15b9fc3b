//! Owns: what a person and the model are told when a command met a bound.
//! Guarantees: a bound that was surely met is named with its value; one that only seems to have been is called likely.

use agent_jinit::wire::{Bound, End};

use super::actor::{Actor, Job};
use crate::domain::limits::bytes;

/// Signals that the kernel sends at a bound.
const SIGXFSZ: i32 = 25;
/// The last bytes of standard error that are looked at for the system's own word.
const TAIL: u64 = 4096;

impl Actor {
    /// A watched bound was passed.
    pub(super) fn limit_passed(&mut self, exec: Option<String>, bound: Bound, limit: u64) {
        let sentence = match bound {
            Bound::Memory => format!("killed: out of memory, limit {}", bytes(limit)),
            Bound::Processes => format!("killed: too many processes, limit {limit}"),
            Bound::TmpFiles => format!("stopped: too many files in /tmp, limit {limit}"),
            Bound::DiskFloor => format!(
                "stopped: less than {} are left on the workspace's disk",
                bytes(limit)
            ),
            Bound::DiskGrowth => format!(
                "stopped: the workspace's disk lost more than {} while it ran",
                bytes(limit)
            ),
        };
        match exec.and_then(|exec| self.jobs.get_mut(&exec)) {
            Some(job) => job.limit = Some(sentence),
            None => self.note = Some(format!("a background job of before was {sentence}")),
        }
    }

    /// What the kernel said by its signal or its counters.
    pub(super) fn kernels_word(&mut self, end: &End) -> Option<String> {
        let limits = &self.spec.limits;
        let killed_by = |signal: i32| end.signal == signal || end.status == 128 + signal;
        if let Some(size) = limits.fsize.filter(|_| killed_by(SIGXFSZ)) {
            return Some(format!("killed: a file grew beyond the limit of {}", bytes(size)));
        }
        let counted = self.jail.as_mut()?.counted();
        if counted.oom_kills > 0 {
            let limit = limits.memory.map(|memory| format!(", limit {}", bytes(memory)));
            return Some(format!("killed: out of memory{}", limit.unwrap_or_default()));
        }
        if counted.refused_forks > 0 {
            let limit = limits.nproc.map(|nproc| format!(", limit {nproc}"));
            return Some(format!(
                "no more processes could be started{}",
                limit.unwrap_or_default()
            ));
        }
        None
    }

    /// The system's own word at the end of standard error, where a bound of ours would explain it.
    pub(super) fn likely_bound(&self, job: &Job, end: &End) -> Option<String> {
        if end.status == 0 || end.timed_out || end.interrupted || job.pty.is_some() {
            return None;
        }
        let text = tail(&job.spool.stderr)?;
        let limits = &self.spec.limits;
        let (what, limit) = [
            (
                "Too many open files",
                "open files",
                Some(limits.nofile.to_string()),
            ),
            ("File too large", "the size of a file", limits.fsize.map(bytes)),
            (
                "Cannot allocate memory",
                "memory of a process",
                limits.data.map(bytes),
            ),
            ("MemoryError", "memory of a process", limits.data.map(bytes)),
            (
                "Resource temporarily unavailable",
                "processes",
                limits.nproc.map(|nproc| nproc.to_string()),
            ),
        ]
        .into_iter()
        .find_map(|(word, what, limit)| text.contains(word).then_some((what, limit?)))?;
        Some(format!("it probably met the limit of {what}: {limit}"))
    }
}

fn tail(path: &std::path::Path) -> Option<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
