//! Owns: the control group of a Jail (version 2): finding it, its bounds, and what the kernel counted in it.
//! Guarantees: only files of the cgroup file system are written, and only those that are there; a controller that is not
//! delegated is simply absent. Tried on a made-up tree and by systemd's properties; see docs/TESTING.md.

use std::path::{Path, PathBuf};

use super::limits::Limits;
use crate::domain::id::SessionId;

/// Where the unified hierarchy is mounted.
pub(super) const ROOT: &str = "/sys/fs/cgroup";

/// What the kernel counted since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Processes killed for want of memory.
    pub(crate) oom_kills: u64,
    /// Processes that were not started.
    pub(crate) refused_forks: u64,
}

/// A control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    dir: PathBuf,
    seen: Counted,
}

impl Group {
    /// That of a process, by its line in `/proc/PID/cgroup`. `None` outside a unified hierarchy, and in its root.
    pub(super) fn of(line: &str, root: &Path) -> Option<Self> {
        let path = line.lines().find_map(|line| line.strip_prefix("0::"))?;
        let inner = path.trim_start_matches('/');
        if inner.is_empty() || inner.split('/').any(|part| part == "..") {
            return None;
        }
        let dir = root.join(inner);
        let mut group = Self {
            dir,
            seen: Counted::default(),
        };
        group.dir.join("cgroup.procs").exists().then(|| {
            group.seen = group.total();
            group
        })
    }

    /// Whether it was made for one jail: then its bounds are ours to set and all in it are the jail's.
    pub(super) fn is_ours(&self) -> bool {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("agentd-jail-")
    }

    /// Sets the bounds that systemd has no property for, or that it did not get.
    pub(super) fn bound(&self, limits: &Limits) {
        let set = |file: &str, value: String| {
            let path = self.dir.join(file);
            if path.exists()
                && let Err(error) = std::fs::write(&path, value)
            {
                tracing::debug!(file = %path.display(), %error, "a bound could not be set");
            }
        };
        if let Some(memory) = limits.memory {
            set("memory.max", memory.to_string());
            set("memory.swap.max", "0".to_owned());
            // PID 1 and the shell are in it too: the largest goes, not all.
            set("memory.oom.group", "0".to_owned());
        }
        if let Some(processes) = limits.nproc {
            set("pids.max", processes.to_string());
        }
        if let Some(weight) = limits.cpu_weight {
            set("cpu.weight", weight.to_string());
        }
    }

    /// What was counted since the last call.
    pub(super) fn counted(&mut self) -> Counted {
        let now = self.total();
        let since = Counted {
            oom_kills: now.oom_kills.saturating_sub(self.seen.oom_kills),
            refused_forks: now.refused_forks.saturating_sub(self.seen.refused_forks),
        };
        self.seen = now;
        since
    }

    /// Kills everything in it, in one go of the kernel. False where the kernel (before 5.14) can't.
    pub(super) fn kill(&self) -> bool {
        let file = self.dir.join("cgroup.kill");
        file.exists() && std::fs::write(file, "1").is_ok()
    }

    fn total(&self) -> Counted {
        let count = |file: &str, name: &str| {
            let text = std::fs::read_to_string(self.dir.join(file)).unwrap_or_default();
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
                .unwrap_or(0)
        };
        Counted {
            oom_kills: count("memory.events", "oom_kill"),
            refused_forks: count("pids.events", "max"),
        }
    }
}

/// Where no service manager put a jail into a group and the kernel counts no processes by user (root's): it counts them in a
/// group of ours, and PID 1, which stops a flood of them, gets the processor before thousands that want it. Its shells do
/// not inherit that.
pub(super) fn bound_roots(session: &SessionId, init: u32, limits: &Limits) {
    if !rustix::process::getuid().is_root() {
        return;
    }
    if let Some(limit) = limits.nproc
        && let Err(error) = bound_processes(Path::new(ROOT), session.as_str(), init, limit)
    {
        tracing::debug!(%error, "root's processes are only watched");
    }
    let init = i32::try_from(init).ok().and_then(rustix::process::Pid::from_raw);
    // Without the right to it, it stays one among all.
    let _refused = rustix::process::setpriority_process(init, -20);
}

/// Bounds the processes of a jail of root's that no service manager put into a group: the kernel counts root's by no other
/// means. A little more than the limit, so that who watches sees it passed and ends what passed it.
///
/// # Errors
/// Where no hierarchy has the controller, or it may not be written.
fn bound_processes(root: &Path, jail: &str, init: u32, limit: u64) -> std::io::Result<()> {
    let unified = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let dir = if unified.split_whitespace().any(|name| name == "pids") {
        // On already where a service manager runs.
        let _on = std::fs::write(root.join("cgroup.subtree_control"), "+pids");
        own(root, jail)
    } else {
        own(&root.join("pids"), jail)
    };
    // One that the last jail's dying processes kept from going serves as well.
    if !dir.is_dir() {
        std::fs::create_dir(&dir)?;
    }
    std::fs::write(dir.join("pids.max"), (limit + limit / 8 + 16).to_string())?;
    std::fs::write(dir.join("cgroup.procs"), init.to_string())
}

/// Takes the group away again; its jail has ended.
pub(super) fn remove(root: &Path, jail: &str) {
    for hierarchy in [root, &root.join("pids")] {
        let _none = std::fs::remove_dir(own(hierarchy, jail));
    }
}

fn own(hierarchy: &Path, jail: &str) -> PathBuf {
    hierarchy.join(format!("agentd-jail-{jail}"))
}

/// The properties of a transient scope that stand for the bounds.
pub(super) fn properties(limits: &Limits) -> Vec<String> {
    let mut all = vec!["Delegate=yes".to_owned()];
    if let Some(memory) = limits.memory {
        all.push(format!("MemoryMax={memory}"));
        all.push("MemorySwapMax=0".to_owned());
    }
    if let Some(processes) = limits.nproc {
        all.push(format!("TasksMax={processes}"));
    }
    if let Some(weight) = limits.cpu_weight {
        all.push(format!("CPUWeight={weight}"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("user.slice/agentd-jail-x.scope");
        std::fs::create_dir_all(&group).unwrap();
        for (file, text) in [
            ("cgroup.procs", "7\n"),
            ("cgroup.kill", ""),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.oom.group", "0\n"),
            ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
            ("pids.max", "max\n"),
            ("pids.events", "max 0\n"),
        ] {
            std::fs::write(group.join(file), text).unwrap();
        }
        (dir, group)
    }

    const LINE: &str = "1:name=systemd:/x\n0::/user.slice/agentd-jail-x.scope\n";

    #[test]
    fn a_group_is_found_bounded_and_asked() {
        let (root, dir) = tree();
        let mut group = Group::of(LINE, root.path()).unwrap();
        assert!(group.is_ours());
        let limits = Limits {
            memory: Some(1 << 30),
            cpu_weight: Some(50),
            ..Limits::default()
        };
        group.bound(&limits);
        let text = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
        assert_eq!(
            (text("memory.max").as_str(), text("pids.max").as_str()),
            ("1073741824", "4096")
        );
        assert_eq!(text("memory.swap.max"), "0");
        // The controller is not delegated: no file of it is made.
        assert!(!dir.join("cpu.weight").exists());
        // What was before it was found is nobody's news.
        assert_eq!(group.counted(), Counted::default());
        std::fs::write(dir.join("memory.events"), "oom 2\noom_kill 3\noom_group_kill 9\n").unwrap();
        std::fs::write(dir.join("pids.events"), "max 4\n").unwrap();
        let counted = Counted {
            oom_kills: 2,
            refused_forks: 4,
        };
        assert_eq!(group.counted(), counted);
        assert_eq!(group.counted(), Counted::default());
        assert!(group.kill());
        assert_eq!(text("cgroup.kill"), "1");
    }

    #[test]
    fn processes_are_bounded_in_either_version() {
        for (controllers, below) in [("cpu pids\n", ""), ("hugetlb\n", "pids")] {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("pids")).unwrap();
            std::fs::write(root.path().join("cgroup.controllers"), controllers).unwrap();
            bound_processes(root.path(), "s-x", 6, 10).unwrap();
            bound_processes(root.path(), "s-x", 7, 64).unwrap();
            let dir = root.path().join(below).join("agentd-jail-s-x");
            let text = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
            assert_eq!(
                (text("pids.max"), text("cgroup.procs")),
                ("88".into(), "7".into())
            );
        }
        let none = tempfile::tempdir().unwrap();
        assert!(bound_processes(none.path(), "s-x", 7, 64).is_err());
    }

    #[test]
    fn what_is_no_group_of_its_own_is_none() {
        let (root, _) = tree();
        for line in ["0::/\n", "0::/../x\n", "1:memory:/a\n", "", "0::/none\n"] {
            assert_eq!(Group::of(line, root.path()), None, "{line:?}");
        }
    }

    #[test]
    fn bounds_become_properties_of_the_scope() {
        let limits = Limits {
            memory: Some(5),
            nproc: Some(6),
            cpu_weight: Some(7),
            ..Limits::default()
        };
        assert_eq!(
            properties(&limits),
            [
                "Delegate=yes",
                "MemoryMax=5",
                "MemorySwapMax=0",
                "TasksMax=6",
                "CPUWeight=7"
            ]
        );
    }
}
