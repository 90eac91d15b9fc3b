//! Owns: the bounds that no kernel keeps for us, looked at while something runs: memory and processes where there are no
//! control groups, files in /tmp, free space on the workspace's disk.
//! Guarantees: an idle jail is not looked at; what is near its bound is looked at more often; a command on a disk that was
//! full before it began is stopped only for what it takes itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_jinit::wire::Bound;

use crate::options::Options;
use crate::procs;

/// Between two looks: at rest in the background, at work, and near a bound.
const SLOW: Duration = Duration::from_secs(1);
const USUAL: Duration = Duration::from_millis(200);
const CLOSE: Duration = Duration::from_millis(50);
/// What a command may take of a disk that is below its floor already: enough to clean up.
const SLACK: u64 = 4 * 1024 * 1024;

/// A bound that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) bound: Bound,
    pub(crate) limit: u64,
    /// The process with the most memory.
    pub(crate) largest: Option<u32>,
}

/// What is looked at, and when.
#[derive(Debug)]
pub(crate) struct Watch {
    memory: Option<u64>,
    processes: Option<u64>,
    tmp_files: Option<u64>,
    disk_floor: Option<u64>,
    disk_growth: Option<u64>,
    disk: PathBuf,
    own_tmp: bool,
    /// Free space when the last command began.
    free_before: Option<u64>,
    /// Files in /tmp then: who only takes some away is left alone.
    files_before: u64,
    next: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            memory: options.memory,
            processes: options.processes,
            tmp_files: options.tmp_files.filter(|_| !options.outer),
            disk_floor: options.disk_floor,
            disk_growth: options.disk_growth,
            disk: options.disk.clone().unwrap_or_else(|| options.cwd.clone()),
            own_tmp: !options.outer,
            free_before: None,
            files_before: 0,
            next: None,
        }
    }

    fn has_bounds(&self) -> bool {
        [
            self.memory,
            self.processes,
            self.tmp_files,
            self.disk_floor,
            self.disk_growth,
        ]
        .iter()
        .any(Option::is_some)
    }

    /// A command begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        if !self.has_bounds() {
            return;
        }
        if self.disk_floor.or(self.disk_growth).is_some() {
            self.free_before = free(&self.disk);
        }
        if self.tmp_files.is_some() {
            self.files_before = files();
        }
        self.next = Some(now + CLOSE);
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Looks, if it is time. `at_work`: a command has not ended.
    pub(crate) fn look(&mut self, now: Instant, me: u32, at_work: bool) -> Option<Hit> {
        if self.next.is_none_or(|at| now < at) {
            return None;
        }
        let seen = Seen::look(self, me);
        // Only we and the shell: until the next command nothing can grow.
        let idle = !at_work && seen.processes <= 2;
        let near = self.measures(&seen).any(|(_, now, bound)| now > bound / 2);
        let pause = match (near, at_work) {
            (true, _) => CLOSE,
            (false, true) => USUAL,
            (false, false) => SLOW,
        };
        self.next = (!idle).then(|| now + pause);
        let (bound, _, limit) = self.measures(&seen).find(|(_, now, limit)| now > limit)?;
        // What another took is not taken twice.
        if matches!(bound, Bound::DiskFloor | Bound::DiskGrowth) {
            self.free_before = seen.free;
        }
        Some(Hit {
            bound,
            limit: self.shown(bound).unwrap_or(limit),
            largest: seen.largest,
        })
    }

    fn shown(&self, bound: Bound) -> Option<u64> {
        match bound {
            Bound::DiskFloor => self.disk_floor,
            Bound::TmpFiles => self.tmp_files,
            _ => None,
        }
    }

    /// Bound, how much it is now, how much it may be.
    fn measures(&self, seen: &Seen) -> impl Iterator<Item = (Bound, u64, u64)> {
        let taken = match (self.free_before, seen.free) {
            (Some(before), Some(now)) => before.saturating_sub(now),
            _ => 0,
        };
        let below_floor = self
            .disk_floor
            .filter(|floor| seen.free.is_some_and(|free| free < *floor))
            .map(|_| SLACK);
        [
            (Bound::Memory, seen.memory, self.memory),
            (Bound::Processes, seen.processes, self.processes),
            (
                Bound::TmpFiles,
                seen.tmp_files,
                self.tmp_files.map(|limit| limit.max(self.files_before)),
            ),
            (Bound::DiskFloor, taken, below_floor),
            (Bound::DiskGrowth, taken, self.disk_growth),
        ]
        .into_iter()
        .filter_map(|(bound, now, limit)| Some((bound, now, limit?)))
    }
}

/// What was seen at one look.
#[derive(Debug, Default)]
struct Seen {
    memory: u64,
    processes: u64,
    tmp_files: u64,
    free: Option<u64>,
    largest: Option<u32>,
}

impl Seen {
    fn look(watch: &Watch, me: u32) -> Self {
        let mut seen = Self::default();
        let page = rustix::param::page_size() as u64;
        let mut most = 0;
        for (pid, threads) in procs::threads(me, !watch.own_tmp) {
            seen.processes += threads;
            if watch.memory.is_none() || pid == me {
                continue;
            }
            let own = private_pages(pid) * page;
            seen.memory += own;
            if own > most {
                (most, seen.largest) = (own, Some(pid));
            }
        }
        if watch.own_tmp {
            seen.memory += tmpfs()
                .map(|stat| (stat.f_blocks - stat.f_bfree) * stat.f_frsize)
                .sum::<u64>();
            seen.tmp_files = files();
        }
        if watch.disk_floor.or(watch.disk_growth).is_some() {
            seen.free = free(&watch.disk);
        }
        seen
    }
}

fn tmpfs() -> impl Iterator<Item = rustix::fs::StatVfs> {
    ["/tmp", "/dev/shm"]
        .into_iter()
        .filter_map(|dir| rustix::fs::statvfs(dir).ok())
}

/// Files in the fullest of the jail's own file systems.
fn files() -> u64 {
    tmpfs()
        .map(|stat| stat.f_files.saturating_sub(stat.f_ffree))
        .max()
        .unwrap_or(0)
}

fn free(disk: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(disk).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// Pages of memory that are this process's own: what many share is counted once, by nobody.
fn private_pages(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut words = text
        .split_ascii_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or(0_u64));
    let (resident, shared) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    resident.saturating_sub(shared)
}
