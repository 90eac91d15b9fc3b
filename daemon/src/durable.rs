//! Owns: the points at which something becomes durable or passes between daemon and jail: commits, syncs, renames, frames.
//! Guarantees: every such place in the daemon goes through one of these points (`tests/tidy.rs`), and a daemon built for
//! tests can be killed just before and just after each (`tests/crash_points.rs`). A release build has none of that.

use std::path::{Path, PathBuf};

/// Makes the enum, its list and its names from one table.
macro_rules! points {
    ($($point:ident $name:literal,)*) => {
        /// One place.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Point { $($point,)* }

        impl Point {
            /// Every place.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// Its name, as tests ask for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }
        }
    };
}

points! {
    StoreMigration "store-migration",
    StoreCommit "store-commit",
    LockSync "lock-sync",
    SocketRename "socket-rename",
    LogRename "log-rename",
    CredentialsSync "credentials-sync",
    CredentialsRename "credentials-rename",
    CredentialsDirSync "credentials-dir-sync",
    DevicesSync "devices-sync",
    DevicesRename "devices-rename",
    DevicesDirSync "devices-dir-sync",
    FileSync "file-sync",
    FileRename "file-rename",
    FileDirSync "file-dir-sync",
    SpoolRename "spool-rename",
    SpoolHandOn "spool-hand-on",
    ExchangeHandOn "exchange-hand-on",
    CommondirRename "commondir-rename",
    JailRecord "jail-record",
    SendRun "send-run",
    SendInput "send-input",
    SendResize "send-resize",
    SendInterrupt "send-interrupt",
    SendSpawn "send-spawn",
    SendAck "send-ack",
    SendEnd "send-end",
    SendRetire "send-retire",
    SendHeal "send-heal",
    SendRest "send-rest",
    SendFreeze "send-freeze",
    SendThaw "send-thaw",
    SendJobs "send-jobs",
    SendListen "send-listen",
    SendUnlisten "send-unlisten",
    SendDial "send-dial",
    HearHello "hear-hello",
    HearReady "hear-ready",
    HearRunning "hear-running",
    HearProgress "hear-progress",
    HearFinished "hear-finished",
    HearClosed "hear-closed",
    HearRefused "hear-refused",
    HearShellGone "hear-shell-gone",
    HearBusy "hear-busy",
    HearResting "hear-resting",
    HearWritten "hear-written",
    HearWaiting "hear-waiting",
    HearJobs "hear-jobs",
    HearListening "hear-listening",
    HearDialled "hear-dialled",
}

/// Where the new text of `path` is written before it takes that name.
pub fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    PathBuf::from(name)
}

/// Removes the drafts of processes that are no more: they were killed before the rename.
pub fn remove_dead_drafts(path: &Path) {
    if let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        remove_of_the_dead(dir, name);
    }
}

/// Removes the files `NAME.PID` in `dir` of processes that are no more.
pub fn remove_of_the_dead(dir: &Path, name: &str) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let pid = file
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.parse::<u32>().ok());
        let dead = pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists());
        if dead && let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(%error, file = %entry.path().display(), "a killed daemon's draft stays");
        }
    }
}

/// Between the moment before a point and the moment after it.
#[must_use = "the moment after it is when this is dropped"]
#[derive(Debug)]
pub struct Passing(Point);

impl Point {
    /// The moment before; the moment after is when the value goes.
    pub fn pass(self) -> Passing {
        reach(self, "before");
        Passing(self)
    }

    /// Does it, with both moments.
    pub fn through<T>(self, act: impl FnOnce() -> T) -> T {
        let passing = self.pass();
        let done = act();
        drop(passing);
        done
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        reach(self.0, "after");
    }
}

#[cfg(not(debug_assertions))]
fn reach(_: Point, _: &str) {}

#[cfg(debug_assertions)]
use armed::reach;

#[cfg(debug_assertions)]
mod armed {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use super::Point;

    /// `TEST_CRASH_AT=store-commit:before:3` kills the process at that point's third "before";
    /// `TEST_CRASH_TRACE=FILE` writes down each moment that is reached.
    static PLAN: LazyLock<Mutex<Plan>> = LazyLock::new(|| {
        let at = std::env::var("TEST_CRASH_AT").ok().and_then(|text| {
            let (moment, count) = text.rsplit_once(':')?;
            Some((moment.to_owned(), count.parse().ok()?))
        });
        let trace = std::env::var_os("TEST_CRASH_TRACE")
            .and_then(|path| File::options().create(true).append(true).open(path).ok());
        Mutex::new(Plan { at, trace })
    });

    struct Plan {
        /// The moment, and how often it is still to come.
        at: Option<(String, u32)>,
        trace: Option<File>,
    }

    pub(super) fn reach(point: Point, moment: &str) {
        let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.at.is_none() && plan.trace.is_none() {
            return;
        }
        let here = format!("{}:{moment}", point.name());
        if let Some(trace) = &mut plan.trace {
            // A trace that can't be written shows as points that were never reached.
            let _lost = trace.write_all(format!("{here}\n").as_bytes());
        }
        if let Some((at, left)) = &mut plan.at
            && *at == here
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                let _dying =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                // Nothing of this process goes on from here.
                loop {
                    std::thread::park();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_of_the_dead_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let mine = draft_of(&path);
        // No process has a number beyond the kernel's own limit.
        let dead = dir.path().join("keys.toml.4194999");
        let others = [
            "keys.toml",
            "keys.toml.old",
            "keys.toml.4194999.x",
            "other.4194999",
        ];
        for file in others
            .iter()
            .map(|name| dir.path().join(name))
            .chain([mine, dead])
        {
            std::fs::write(file, "x").unwrap();
        }
        remove_dead_drafts(&path);
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let own = format!("keys.toml.{}", std::process::id());
        let mut expected: Vec<String> = others.iter().map(|&name| name.to_owned()).collect();
        expected.push(own);
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
