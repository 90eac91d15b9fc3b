//! Owns: the end of everything that a test's directory still has running, for the tests of all packages.
//! Guarantees: jails outlive their daemon and their watcher by design, so they are found by what they have mounted,
//! not by who started them; when this returns none is left.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "other processes ring no bell: their ends are polled; a test may fail in any way it likes"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Killed processes are gone in this time on any machine.
const GONE: Duration = Duration::from_secs(10);

/// Kills the daemon, the jails and whatever else works below `dir`, a temporary directory with a name of its own.
pub fn end_all_of(dir: &Path) {
    let end = Instant::now() + GONE;
    let mut said = false;
    let mut groups = BTreeSet::new();
    loop {
        let left = all_of(dir);
        if left.is_empty() {
            for group in groups {
                for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"] {
                    std::fs::remove_dir(format!("{hierarchy}{group}")).ok();
                }
            }
            return;
        }
        groups.extend(left.iter().flat_map(|pid| own_groups(*pid)));
        if !said {
            said = true;
            eprintln!(
                "left behind in {}: {} processes, ended now",
                dir.display(),
                left.len()
            );
        }
        let mut kill = Command::new("kill");
        kill.arg("-KILL").args(left.iter().map(ToString::to_string));
        let told = kill.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(told.is_ok(), "kill: {told:?}");
        assert!(
            Instant::now() < end || std::thread::panicking(),
            "{} keeps {left:?}",
            dir.display()
        );
        if Instant::now() >= end {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The control groups that were made for the jail of this process.
fn own_groups(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let own = paths.filter(|path| path.starts_with("/agentd-jail-"));
    own.map(str::to_owned).collect()
}

/// The processes that name the directory, stand in it or have it mounted, and all they started.
pub fn all_of(dir: &Path) -> BTreeSet<u32> {
    let name = dir.file_name().unwrap().as_encoded_bytes();
    let me = std::process::id();
    let mut parents = BTreeMap::new();
    let mut ours = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((state, parent)) = state_and_parent(&stat).filter(|_| pid != me) else {
            continue;
        };
        if matches!(state, "Z" | "X") {
            // Ended, and its parent's to collect.
            continue;
        }
        parents.insert(pid, parent);
        let holds = |file: &str| {
            let text = std::fs::read(entry.path().join(file)).unwrap_or_default();
            text.windows(name.len()).any(|window| window == name)
        };
        let stands = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at.starts_with(dir));
        if stands || holds("cmdline") || holds("mountinfo") {
            ours.insert(pid);
        }
    }
    loop {
        let children: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| ours.contains(parent) && !ours.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if children.is_empty() {
            return ours;
        }
        ours.extend(children);
    }
}

fn state_and_parent(stat: &str) -> Option<(&str, u32)> {
    // The name in brackets may hold anything.
    let mut words = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    Some((words.next()?, words.next()?.parse().ok()?))
}
