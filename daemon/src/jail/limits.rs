//! Owns: the numbers that bound what runs in a Jail, and who keeps each of them on this machine.
//! Guarantees: a bound that nobody keeps is never shown as one; one that was asked for and can't be had is refused.

use std::time::Duration;

use crate::domain::limits::{Keeper, Limit, LimitsWish, Unit};

/// Limits on everything that runs inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open files per process.
    pub nofile: u64,
    /// Bytes in one file.
    pub fsize: Option<u64>,
    /// Processes and threads.
    pub nproc: Option<u64>,
    /// Bytes of data per process.
    pub data: Option<u64>,
    /// Bytes in each tmpfs.
    pub tmp_bytes: u64,
    /// Files in each tmpfs.
    pub tmp_files: Option<u64>,
    /// Bytes of memory of everything together.
    pub memory: Option<u64>,
    /// Share of the processor, 1 to 10000; 100 is usual.
    pub cpu_weight: Option<u32>,
    /// Bytes that must stay free on the Workspace's disk.
    pub disk_floor: Option<u64>,
    /// Bytes by which free space there may fall during a command.
    pub disk_growth: Option<u64>,
    /// How long all commands of a Session may take together.
    pub session_time: Option<Duration>,
    /// The file mode mask: that of the person, not the daemon's own. `None` keeps what is inherited.
    pub umask: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nofile: 16 * 1024,
            fsize: None,
            nproc: Some(4096),
            data: None,
            tmp_bytes: 1024 * 1024 * 1024,
            tmp_files: Some(500_000),
            memory: None,
            cpu_weight: None,
            disk_floor: None,
            disk_growth: None,
            session_time: None,
            umask: None,
        }
    }
}

/// What this machine can keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// Control groups for jails; else why there are none, as the end of a sentence.
    pub groups: Result<(), String>,
    /// Processes are counted per user namespace (from Linux 5.14), and for this user.
    pub counts_processes: bool,
    /// The largest file that this daemon itself may write.
    pub own_fsize: Option<u64>,
}

impl Keeping {
    /// Looks.
    pub fn look(groups: Result<(), String>) -> Self {
        let fsize = rustix::process::getrlimit(rustix::process::Resource::Fsize).maximum;
        Self {
            groups,
            counts_processes: counts_processes() && !rustix::process::getuid().is_root(),
            own_fsize: fsize,
        }
    }
}

/// Before 5.14 the limit would count the person's own processes too.
pub(super) fn counts_processes() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 14)
}

impl Limits {
    /// These, with what a Session's maker asked for in their place.
    #[must_use]
    pub fn with(&self, wish: &LimitsWish) -> Self {
        Self {
            memory: wish.memory.or(self.memory),
            nproc: wish.processes.or(self.nproc),
            cpu_weight: wish.cpu_weight.or(self.cpu_weight),
            fsize: wish.file_size.or(self.fsize),
            disk_growth: wish.disk_growth.or(self.disk_growth),
            session_time: wish
                .session_time_ms
                .map(Duration::from_millis)
                .or(self.session_time),
            ..self.clone()
        }
    }

    /// The niceness that stands for the weight where there are no control groups. One step is about a quarter.
    pub fn nice(&self) -> Option<u8> {
        let weight = self.cpu_weight.filter(|weight| *weight < 100)?;
        let mut nice = 0;
        let mut share = 100.0;
        while share / 1.25 >= f64::from(weight) && nice < 19 {
            share /= 1.25;
            nice += 1;
        }
        Some(nice)
    }

    /// The first bound of a wish that can't be kept, as a sentence.
    pub fn unavailable(&self, wish: &LimitsWish, keeping: &Keeping) -> Option<String> {
        if let (Some(weight @ 101..), Err(why)) = (wish.cpu_weight, &keeping.groups) {
            return Some(format!(
                "a CPU weight of {weight} can't be given here: more than 100 needs control groups, and {why}"
            ));
        }
        if let (Some(size), Some(own)) = (wish.file_size, keeping.own_fsize)
            && size > own
        {
            return Some(format!(
                "files of {} can't be allowed here: agentd itself may write {} at most",
                crate::domain::limits::bytes(size),
                crate::domain::limits::bytes(own)
            ));
        }
        None
    }

    /// Every bound, and who keeps it.
    pub fn kept(&self, keeping: &Keeping) -> Vec<Limit> {
        use Unit::{Bytes, Count, Millis};
        let kernel = |how: &str| (Keeper::Kernel, how.to_owned());
        let watched = |how: &str| (Keeper::Watch, how.to_owned());
        let grouped = |file: &str, else_: (Keeper, String)| match &keeping.groups {
            Ok(()) => kernel(&format!("control group ({file})")),
            Err(why) => (else_.0, format!("{}; {why}", else_.1)),
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let rows = [
            (
                "memory",
                self.memory,
                Bytes,
                grouped("memory.max", watched("looked at up to 20 times a second")),
            ),
            (
                "processes",
                self.nproc,
                Count,
                if keeping.counts_processes {
                    kernel("RLIMIT_NPROC")
                } else {
                    grouped("pids.max", watched("looked at up to 20 times a second"))
                },
            ),
            (
                "cpu",
                self.cpu_weight.map(u64::from),
                Count,
                grouped("cpu.weight", kernel("niceness")),
            ),
            (
                "open_files",
                Some(self.nofile),
                Count,
                kernel("RLIMIT_NOFILE, per process"),
            ),
            ("file_size", self.fsize, Bytes, kernel("RLIMIT_FSIZE")),
            (
                "process_memory",
                self.data,
                Bytes,
                kernel("RLIMIT_DATA, per process"),
            ),
            ("tmp", Some(self.tmp_bytes), Bytes, kernel("size of the tmpfs")),
            (
                "tmp_files",
                self.tmp_files,
                Count,
                watched("looked at 5 times a second"),
            ),
            (
                "disk_floor",
                self.disk_floor,
                Bytes,
                watched("looked at 5 times a second"),
            ),
            (
                "disk_growth",
                self.disk_growth,
                Bytes,
                watched("looked at 5 times a second"),
            ),
            (
                "session_time",
                self.session_time.map(millis),
                Millis,
                watched("agentd counts what commands took"),
            ),
        ];
        rows.into_iter()
            .map(|(name, value, unit, (keeper, note))| Limit {
                name,
                value,
                unit,
                // No bound, nobody to keep it.
                keeper: if value.is_some() { keeper } else { Keeper::Nobody },
                note: if value.is_some() { note } else { String::new() },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Keeping {
        Keeping {
            groups: Err("no control groups of version 2 are delegated".into()),
            counts_processes: false,
            own_fsize: Some(1 << 30),
        }
    }

    #[test]
    fn a_bound_says_who_keeps_it() {
        let limits = Limits {
            memory: Some(4 << 30),
            ..Limits::default()
        };
        let of = |keeping: &Keeping, name: &str| {
            let all = limits.kept(keeping);
            all.into_iter().find(|limit| limit.name == name).unwrap()
        };
        let memory = of(&bare(), "memory");
        assert_eq!((memory.keeper, memory.text().as_str()), (Keeper::Watch, "4 GiB"));
        assert!(memory.note.contains("no control groups"), "{}", memory.note);
        let grouped = Keeping {
            groups: Ok(()),
            ..bare()
        };
        assert_eq!(of(&grouped, "memory").keeper, Keeper::Kernel);
        assert_eq!(of(&grouped, "disk_floor").keeper, Keeper::Nobody);
        assert_eq!(of(&bare(), "processes").keeper, Keeper::Watch);
        assert_eq!(of(&bare(), "open_files").keeper, Keeper::Kernel);
    }

    #[test]
    fn what_was_asked_for_and_cannot_be_had_is_named() {
        let limits = Limits::default();
        let more = LimitsWish {
            cpu_weight: Some(200),
            ..LimitsWish::default()
        };
        assert!(
            limits
                .unavailable(&more, &bare())
                .unwrap()
                .contains("control groups")
        );
        let large = LimitsWish {
            file_size: Some(1 << 40),
            ..LimitsWish::default()
        };
        assert!(
            limits
                .unavailable(&large, &bare())
                .unwrap()
                .contains("1 GiB at most")
        );
        let modest = LimitsWish {
            memory: Some(1 << 30),
            cpu_weight: Some(50),
            processes: Some(64),
            ..LimitsWish::default()
        };
        assert_eq!(limits.unavailable(&modest, &bare()), None);
        assert_eq!(limits.with(&modest).nproc, Some(64));
    }

    #[test]
    fn a_weight_becomes_a_niceness() {
        let nice = |weight| {
            Limits {
                cpu_weight: weight,
                ..Limits::default()
            }
            .nice()
        };
        assert_eq!(
            [
                nice(None),
                nice(Some(100)),
                nice(Some(80)),
                nice(Some(50)),
                nice(Some(1))
            ],
            [None, None, Some(1), Some(3), Some(19)]
        );
    }
}
