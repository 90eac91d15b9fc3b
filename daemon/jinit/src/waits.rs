//! Owns: the question whether a command waits for input, answered from /proc.
//! Guarantees: looked at only while a command has an input and has been quiet for a while, ever more rarely; a process that
//! asked to be woken soon anyway does not count, since it has something else to do.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use agent_jinit::names;
use agent_jinit::wire::{FromJail, StdinKind};

use crate::run::Run;
use crate::serve::Server;

/// So long nothing is written or typed before the first look.
const QUIET: Duration = Duration::from_millis(400);
/// The longest pause between two looks.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Whoever wants to be woken sooner than this waits for something else.
const PATIENT: Duration = Duration::from_secs(10);
/// Threads of one process that are looked at, and descriptors in one call.
const MOST: usize = 64;

/// How quiet a run is.
pub(crate) struct Quiet {
    written: (u64, u64),
    typed: u64,
    /// Its last words were on standard error.
    error: bool,
    look: Instant,
    every: Duration,
    pub(crate) waits: bool,
}

impl Quiet {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            written: (0, 0),
            typed: 0,
            error: false,
            look: now + QUIET,
            every: QUIET,
            waits: false,
        }
    }

    /// Notes what was written and typed since the last time; true when it was anything.
    fn stirred(&mut self, written: (u64, u64), typed: u64, now: Instant) -> bool {
        if (written, typed) == (self.written, self.typed) {
            return false;
        }
        if written != self.written {
            self.error = written.1 != self.written.1;
        }
        (self.written, self.typed) = (written, typed);
        (self.look, self.every) = (now + QUIET, QUIET);
        true
    }
}

impl Run {
    /// Whether anybody could type something into it.
    fn may_wait(&self) -> bool {
        let open = self.input.as_ref().is_some_and(|input| !input.done);
        open && self.finish.is_none() && self.reported.is_none() && self.ladder.is_none()
    }

    /// When to look next whether it waits for input.
    pub(crate) fn look_due(&self) -> Option<Instant> {
        self.may_wait().then_some(self.quiet.look)
    }

    /// The word about waiting, for the daemon.
    pub(crate) fn waiting(&self) -> FromJail {
        FromJail::Waiting {
            exec: self.frame.exec.clone(),
            waits: self.quiet.waits,
            error: self.quiet.error,
        }
    }
}

impl Server {
    /// Looks whether a run waits for input, where it is time to, and says when that changed.
    pub(crate) fn look_at_input(&mut self, exec: &str, now: Instant) {
        let Some(run) = self.runs.get_mut(exec) else {
            return;
        };
        let typed = run.input.as_ref().map_or(0, |input| input.taken);
        let written = (run.out.total, run.err.total);
        let look = run.quiet.look;
        if run.quiet.stirred(written, typed, now) {
            if run.frame.own_shell {
                // A person's terminal echoes and scrolls: that alone says neither that it rests nor that it works.
                run.quiet.look = look.min(run.quiet.look);
            } else {
                if std::mem::take(&mut run.quiet.waits) {
                    let word = run.waiting();
                    self.send(&word);
                }
                return;
            }
        }
        if !run.may_wait() || now < run.quiet.look {
            return;
        }
        let behind = run.input.as_ref().is_some_and(crate::input::Input::is_behind);
        let waits = !behind && self.waits_for_input(exec);
        let Some(run) = self.runs.get_mut(exec) else {
            return;
        };
        let quiet = &mut run.quiet;
        quiet.every = (quiet.every * 2).min(LOOK_MAX);
        quiet.look = Instant::now() + quiet.every;
        if std::mem::replace(&mut quiet.waits, waits) != waits {
            let word = run.waiting();
            self.send(&word);
        }
    }

    fn waits_for_input(&self, exec: &str) -> bool {
        let Some(run) = self.runs.get(exec) else {
            return false;
        };
        let path = match run.frame.stdin {
            StdinKind::Pty => run.pts.clone(),
            StdinKind::Open => Some(names::of(&self.options.dir, exec, names::INPUT)),
            StdinKind::Null => None,
        };
        let Some(stdin) = path.and_then(|path| Stdin::of(&path)) else {
            return false;
        };
        // The shell itself, for its `read`.
        let shell = self.shell.as_ref().map(|shell| shell.pid);
        let shell = shell.filter(|_| self.current.as_deref() == Some(exec));
        let processes = self.processes_of(exec);
        shell
            .into_iter()
            .chain(processes)
            .any(|pid| process_waits(pid, &stdin))
    }
}

/// What the command has as its input.
struct Stdin {
    device: u64,
    inode: u64,
    /// Of a terminal: the device it stands for.
    terminal: Option<u64>,
}

impl Stdin {
    fn of(path: &std::path::Path) -> Option<Self> {
        let stat = rustix::fs::stat(path).ok()?;
        let terminal = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device();
        Some(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            terminal: terminal.then_some(stat.st_rdev),
        })
    }

    /// Whether a descriptor of a process is that input.
    fn is(&self, pid: u32, fd: u64) -> bool {
        let Ok(stat) = rustix::fs::stat(format!("/proc/{pid}/fd/{fd}")) else {
            return false;
        };
        match self.terminal {
            Some(device) => {
                rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == device
            }
            None => (stat.st_dev, stat.st_ino) == (self.device, self.inode),
        }
    }
}

fn process_waits(pid: u32, stdin: &Stdin) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().take(MOST).any(|thread| {
        let text = std::fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        call_of(&text).is_some_and(|call| call.waits(pid, stdin))
    })
}

/// A system call that a thread is in.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    number: u64,
    arguments: [u64; 6],
}

/// Reads `/proc/P/syscall`: the number in decimal, six arguments in hex; `running` or `-1 …` of one in none.
fn call_of(text: &str) -> Option<Call> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(Call { number, arguments })
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const READ: &[u64] = &[0, 19];
    pub(super) const POLL: &[u64] = &[7];
    pub(super) const PPOLL: &[u64] = &[271];
    pub(super) const SELECT: &[u64] = &[23];
    pub(super) const PSELECT: &[u64] = &[270];
    pub(super) const EPOLL: &[u64] = &[232, 281];
    pub(super) const EPOLL2: &[u64] = &[441];
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const READ: &[u64] = &[63, 65];
    pub(super) const POLL: &[u64] = &[];
    pub(super) const PPOLL: &[u64] = &[73];
    pub(super) const SELECT: &[u64] = &[];
    pub(super) const PSELECT: &[u64] = &[72];
    pub(super) const EPOLL: &[u64] = &[22];
    pub(super) const EPOLL2: &[u64] = &[441];
}

/// On other machines nothing is ever seen to wait.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod number {
    pub(super) const READ: &[u64] = &[];
    pub(super) const POLL: &[u64] = &[];
    pub(super) const PPOLL: &[u64] = &[];
    pub(super) const SELECT: &[u64] = &[];
    pub(super) const PSELECT: &[u64] = &[];
    pub(super) const EPOLL: &[u64] = &[];
    pub(super) const EPOLL2: &[u64] = &[];
}

impl Call {
    fn waits(&self, pid: u32, stdin: &Stdin) -> bool {
        let [first, second, third, fourth, fifth, _] = self.arguments;
        let is = |numbers: &[u64]| numbers.contains(&self.number);
        let memory = Memory { pid };
        if is(number::READ) {
            stdin.is(pid, first)
        } else if is(number::POLL) {
            patient_ms(third)
                && memory
                    .polled(first, second)
                    .into_iter()
                    .any(|fd| stdin.is(pid, fd))
        } else if is(number::PPOLL) {
            memory.patient(third, 1_000_000_000)
                && memory
                    .polled(first, second)
                    .into_iter()
                    .any(|fd| stdin.is(pid, fd))
        } else if is(number::SELECT) {
            memory.patient(fifth, 1_000_000)
                && memory
                    .selected(first, second)
                    .into_iter()
                    .any(|fd| stdin.is(pid, fd))
        } else if is(number::PSELECT) {
            memory.patient(fifth, 1_000_000_000)
                && memory
                    .selected(first, second)
                    .into_iter()
                    .any(|fd| stdin.is(pid, fd))
        } else if is(number::EPOLL) {
            patient_ms(fourth) && epolled(pid, first).into_iter().any(|fd| stdin.is(pid, fd))
        } else if is(number::EPOLL2) {
            memory.patient(fourth, 1_000_000_000)
                && epolled(pid, first).into_iter().any(|fd| stdin.is(pid, fd))
        } else {
            false
        }
    }
}

/// A time limit in milliseconds; negative: none.
fn patient_ms(argument: u64) -> bool {
    // The register's upper half is not the kernel's to look at.
    let ms = i32::from_ne_bytes((argument as u32).to_ne_bytes());
    !u64::try_from(ms).is_ok_and(|ms| Duration::from_millis(ms) < PATIENT)
}

/// The memory of a process.
struct Memory {
    pid: u32,
}

impl Memory {
    fn read(&self, at: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        let memory = File::open(format!("/proc/{}/mem", self.pid)).ok()?;
        memory.read_exact_at(&mut buffer, at).ok()?;
        Some(buffer)
    }

    /// A time limit at an address, as seconds and parts of one; 0: none.
    fn patient(&self, at: u64, parts: u64) -> bool {
        if at == 0 {
            return true;
        }
        let Some(bytes) = self.read(at, 16) else {
            return false;
        };
        let number = |from: usize| {
            let bytes = bytes.get(from..from + 8)?.try_into().ok()?;
            Some(u64::from_ne_bytes(bytes))
        };
        let (Some(seconds), Some(part)) = (number(0), number(8)) else {
            return false;
        };
        Duration::from_secs(seconds).saturating_add(Duration::from_secs(part / parts)) >= PATIENT
    }

    /// The descriptors of a `poll` that wait for something to read.
    fn polled(&self, at: u64, count: u64) -> Vec<u64> {
        let count = usize::try_from(count).unwrap_or(MOST).min(MOST);
        let bytes = self.read(at, count * 8).unwrap_or_default();
        let (entries, _) = bytes.as_chunks::<8>();
        entries
            .iter()
            .filter_map(|[a, b, c, d, events, ..]| {
                let fd = i32::from_ne_bytes([*a, *b, *c, *d]);
                // POLLIN.
                u64::try_from(fd).ok().filter(|_| events & 1 != 0)
            })
            .collect()
    }

    /// The descriptors of a `select` that wait for something to read.
    fn selected(&self, count: u64, at: u64) -> Vec<u64> {
        let count = count.min(1024);
        let bytes = usize::try_from(count.div_ceil(64) * 8).unwrap_or(0);
        if at == 0 {
            return Vec::new();
        }
        let set = self.read(at, bytes).unwrap_or_default();
        (0..count)
            .filter(|fd| {
                let byte = usize::try_from(fd / 8).ok().and_then(|index| set.get(index));
                byte.is_some_and(|byte| byte & (1 << (fd % 8)) != 0)
            })
            .collect()
    }
}

/// The descriptors an epoll of a process waits for.
fn epolled(pid: u32, epoll: u64) -> Vec<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{epoll}")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("tfd:"))
        .filter_map(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_and_one_in_none_is_not() {
        let text = "0 0x3 0x7ffd 0x400 0x0 0x0 0x0 0x7ffd1 0x7f12\n";
        let call = call_of(text).unwrap();
        assert_eq!((call.number, call.arguments[0], call.arguments[2]), (0, 3, 1024));
        assert_eq!(call_of("running\n"), None);
        assert_eq!(call_of("-1 0x7ffd 0x7f12\n"), None);
        assert_eq!(call_of(""), None);
    }

    #[test]
    fn who_wants_to_be_woken_soon_does_not_wait_for_us() {
        assert!(patient_ms(u64::MAX));
        assert!(patient_ms(0xffff_ffff));
        assert!(patient_ms(60_000));
        assert!(!patient_ms(250));
    }

    /// A thread of ours that waits as programs do, seen from outside.
    fn seen(wait: impl FnOnce(&rustix::fd::OwnedFd) + Send + 'static) -> bool {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let stat = rustix::fs::fstat(&read).unwrap();
        let stdin = Stdin {
            device: stat.st_dev,
            inode: stat.st_ino,
            terminal: None,
        };
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            wait(&read);
        });
        let id = told.recv().unwrap().as_raw_nonzero().get();
        let end = Instant::now() + Duration::from_secs(10);
        let mut seen = false;
        while !seen && Instant::now() < end && !thread.is_finished() {
            // It may have ended since it was asked.
            let text = std::fs::read_to_string(format!("/proc/self/task/{id}/syscall")).unwrap_or_default();
            seen = call_of(&text).is_some_and(|call| call.waits(std::process::id(), &stdin));
            std::thread::yield_now();
        }
        drop(write);
        thread.join().unwrap();
        seen
    }

    #[test]
    fn reading_and_polling_are_seen() {
        use rustix::event::{PollFd, PollFlags, Timespec};
        assert!(seen(|fd| {
            let _end = rustix::io::read(fd, &mut [0; 8][..]);
        }));
        assert!(seen(|fd| {
            let _end = rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], None);
        }));
        let soon = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        assert!(!seen(move |fd| {
            let _end = rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&soon));
        }));
    }
}
