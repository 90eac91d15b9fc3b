//! Owns: the life of one command: begun, reported or cut short, finished.
//! Guarantees: the exit code is the shell's own word or its own death; a time limit leaves no survivor of this command and
//! touches nothing that ran before it.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_jinit::names;
use agent_jinit::wire::{End, FromJail, Refusal, RunFrame, StdinKind};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::termios::Winsize;

use crate::input::Input;
use crate::options::{Dialect, Options};
use crate::procs::{self, Scope};
use crate::reaper::Death;
use crate::run::{Finish, Run, Stage};
use crate::serve::{DRAIN, Server};
use crate::shell;
use crate::stream::Stream;

/// How long the pipes of killed processes may take to hang up after their shell is gone.
const AFTERMATH: Duration = Duration::from_millis(40);
/// The longest pause between two looks at whether the shell still executes.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Which /usr is mounted: it changes when the host removes a mount point under us.
pub(crate) fn usr_stamp(options: &Options) -> Option<(u64, u64)> {
    if options.outer {
        return None;
    }
    let stat = rustix::fs::stat("/usr/.").ok()?;
    Some((stat.st_dev, stat.st_ino))
}

impl Server {
    pub(crate) fn begin(&mut self, frame: RunFrame, fds: Vec<OwnedFd>) {
        let exec = frame.exec.clone();
        if let Err(why) = self.try_begin(frame, fds) {
            self.runs.remove(&exec);
            self.send(&FromJail::Refused { exec, why });
        }
    }

    fn try_begin(&mut self, frame: RunFrame, fds: Vec<OwnedFd>) -> Result<(), Refusal> {
        // The state is still worth having when the mounts are gone: it is what the next jail starts from.
        if frame.exec != names::SNAPSHOT && usr_stamp(&self.options) != self.usr {
            return Err(Refusal::MountsLost);
        }
        if !frame.own_shell && self.current.is_some() {
            return Err(Refusal::Busy);
        }
        if !frame.own_shell && self.shell.is_none() {
            return Err(Refusal::NoShell);
        }
        if frame.exec != names::SNAPSHOT {
            self.watch.begin(Instant::now());
        }
        let mut run = self.open_run(frame, fds).map_err(|_| Refusal::Files)?;
        let exec = run.frame.exec.clone();
        if run.frame.own_shell {
            let leader = self.start_terminal(&run).map_err(|_| Refusal::Files)?;
            run.terminal = Some(leader);
            self.next_terminal(&exec, leader);
            self.runs.insert(exec, run);
            return Ok(());
        }
        let lines = shell::lines(&self.options, &run.frame, &run.nonce, run.pts.as_deref());
        self.report_text.clear();
        // Counted before the first line: from here on everything new is this command's.
        run.before = procs::pids();
        self.runs.insert(exec.clone(), run);
        self.next_command(&exec);
        let shell = self.shell.as_ref().ok_or(Refusal::NoShell)?;
        for line in &lines {
            // A shell that is dying: its death ends the run, as not run.
            let _dying = rustix::io::write(&shell.stdin, line);
        }
        self.current = Some(exec);
        Ok(())
    }

    fn open_run(&mut self, frame: RunFrame, fds: Vec<OwnedFd>) -> io::Result<Run> {
        let mut spools = fds.into_iter();
        let (out_spool, err_spool) = (spools.next(), spools.next());
        let fifo = |part| {
            let path = names::of(&self.options.dir, &frame.exec, part);
            rustix::fs::open(
                &path,
                OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        let cap = frame.cap;
        let mut run = if frame.stdin == StdinKind::Pty || frame.own_shell {
            use rustix::pty::OpenptFlags;
            let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            rustix::pty::unlockpt(&master)?;
            let name = rustix::pty::ptsname(&master, Vec::new())?;
            let pts = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let size = Winsize {
                ws_row: frame.rows.max(1),
                ws_col: frame.cols.max(1),
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            rustix::termios::tcsetwinsize(&master, size)?;
            let held = rustix::fs::open(
                &pts,
                OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            rustix::io::ioctl_fionbio(&master, true)?;
            let writer = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
            // A shell of its own says its last state over the second stream.
            let err = if frame.own_shell {
                Stream::new(fifo(names::ERR)?, err_spool, cap)
            } else {
                Stream::closed()
            };
            let nonce = self.nonce()?;
            let mut run = Run::new(
                frame,
                Stream::new(master, out_spool, cap),
                err,
                nonce,
                HashSet::new(),
            );
            run.input = Some(Input::terminal(writer));
            run.held = Some(held);
            run.pts = Some(pts);
            run
        } else {
            let out = Stream::new(fifo(names::OUT)?, out_spool, cap);
            let err = Stream::new(fifo(names::ERR)?, err_spool, cap);
            let nonce = self.nonce()?;
            Run::new(frame, out, err, nonce, HashSet::new())
        };
        if run.wants_pipe() {
            run.input = Some(Input::pipe(names::of(
                &self.options.dir,
                &run.frame.exec,
                names::INPUT,
            )));
        }
        Ok(run)
    }

    fn start_terminal(&self, run: &Run) -> io::Result<u32> {
        let options = &self.options;
        let pts = run.pts.as_ref().ok_or_else(|| io::Error::other("no terminal"))?;
        let restore = names::of(&options.dir, &run.frame.exec, names::RESTORE);
        let mut command = std::process::Command::new(&options.myself);
        command.arg("terminal").arg(pts).arg(&options.program);
        match options.dialect {
            Dialect::Ash => command.arg("-i").env("ENV", &restore),
            Dialect::Bash => command.args(["--noprofile", "--rcfile"]).arg(&restore).arg("-i"),
        };
        let cwd = if options.cwd.is_dir() {
            options.cwd.as_path()
        } else {
            Path::new("/")
        };
        let pid = command.current_dir(cwd).spawn()?.id();
        shell::settle(pid, options);
        self.reaper.child_started();
        Ok(pid)
    }

    pub(crate) fn spawn(&mut self, restore: Option<&str>) {
        if self.shell.is_some() {
            return;
        }
        match shell::start(&self.options, restore.is_some_and(|name| name != names::INIT)) {
            Ok(shell) => {
                self.reaper.child_started();
                if let Some(name) = restore {
                    let _dying = rustix::io::write(&shell.stdin, &shell::restore_line(&self.options, name));
                }
                self.shell = Some(shell);
            }
            // The next run is refused for want of a shell, and says so.
            Err(_) => self.send(&FromJail::ShellGone {
                status: 127,
                signal: 0,
            }),
        }
    }

    pub(crate) fn resize(&mut self, exec: &str, rows: u16, cols: u16) {
        if let Some(source) = self
            .runs
            .get(exec)
            .filter(|r| r.pts.is_some())
            .and_then(|r| r.out.source())
        {
            let size = Winsize {
                ws_row: rows.max(1),
                ws_col: cols.max(1),
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let _closing = rustix::termios::tcsetwinsize(source, size);
        }
    }

    /// The shell's word on the current run.
    pub(crate) fn check_report(&mut self) {
        let Some(run) = self.current.as_ref().and_then(|exec| self.runs.get_mut(exec)) else {
            self.report_text.clear();
            return;
        };
        if run.reported.is_some() {
            return;
        }
        let Some(status) = shell::find_report(&self.report_text, &run.nonce) else {
            return;
        };
        let dir = self.options.dir.clone();
        let exec = run.frame.exec.clone();
        let open = |part| {
            let path = names::of(&dir, &exec, part);
            rustix::fs::open(
                &path,
                OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .ok()
        };
        let opened = run.pts.is_some()
            || run.out.was_opened(|| open(names::OUT))
            || run.err.was_opened(|| open(names::ERR));
        run.reported = Some(End {
            status,
            not_run: !opened,
            ..End::default()
        });
        self.report_text.clear();
        self.settle(&exec);
    }

    pub(crate) fn child_died(&mut self, death: Death) {
        if self.shell.as_ref().is_some_and(|s| s.pid == death.pid) {
            self.hear_shell();
            self.shell = None;
            // It may have reported in the same moment.
            self.read_last_report();
            let end = End {
                status: death.status,
                signal: death.signal,
                shell_died: true,
                ..End::default()
            };
            match self.current.clone() {
                Some(exec) => self.shell_ended(&exec, end),
                None => self.send(&FromJail::ShellGone {
                    status: death.status,
                    signal: death.signal,
                }),
            }
            return;
        }
        let terminal = self
            .runs
            .iter()
            .find(|(_, run)| run.terminal == Some(death.pid) && run.finish.is_none());
        if let Some(exec) = terminal.map(|(exec, _)| exec.clone()) {
            let end = End {
                status: death.status,
                signal: death.signal,
                ..End::default()
            };
            if let Some(run) = self.runs.get_mut(&exec) {
                run.held = None;
                run.reported = Some(end);
            }
            self.settle(&exec);
        }
    }

    /// A trap's words at the shell's end belong to the command that ended it; otherwise nobody asked for them.
    pub(crate) fn hear_shell(&mut self) {
        let Some(shell) = &self.shell else { return };
        let mut run = self.current.as_ref().and_then(|exec| self.runs.get_mut(exec));
        // One buffer's worth at a time: a shell that never stops talking must not hold up the loop.
        if let Some(run) = &mut run {
            // What the command itself wrote came before.
            run.out.pump(&mut self.buf, DRAIN);
        }
        if let Ok(n) = rustix::io::read(&shell.stdout, &mut *self.buf)
            && let Some(run) = &mut run
        {
            run.out.keep(self.buf.get(..n).unwrap_or_default());
        }
    }

    /// Whether anything but us and the shell lives here.
    pub(crate) fn has_company(&self) -> bool {
        let shell = self.shell.as_ref().map(|s| s.pid);
        let others = |pids: Vec<u32>| pids.into_iter().any(|p| p != self.me && Some(p) != shell);
        if self.options.outer {
            return others(procs::of_terminal(self.me));
        }
        let _none = signal_all(Signal::STOP);
        let any = others(procs::list().into_keys().collect());
        let _none = signal_all(Signal::CONT);
        any
    }

    fn read_last_report(&mut self) {
        if self.current.is_some() {
            self.check_report();
        }
    }

    fn shell_ended(&mut self, exec: &str, end: End) {
        let Some(run) = self.runs.get_mut(exec) else {
            return;
        };
        match &mut run.reported {
            // The command had ended; what killed the shell came after it.
            Some(reported) => reported.shell_died = true,
            None => {
                let gone = |s: &Stream| !s.is_open();
                let dir = self.options.dir.clone();
                let open = |part| {
                    let path = names::of(&dir, exec, part);
                    rustix::fs::open(
                        &path,
                        OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
                        Mode::empty(),
                    )
                    .ok()
                };
                let opened = run.pts.is_some()
                    || gone(&run.out)
                    || run.out.was_opened(|| open(names::OUT))
                    || run.err.was_opened(|| open(names::ERR));
                run.reported = Some(End {
                    not_run: !opened,
                    ..end
                });
            }
        }
        self.settle(exec);
    }

    /// Finishes a reported run once nothing of it is left that has to go.
    pub(crate) fn settle(&mut self, exec: &str) {
        let Some(run) = self.runs.get(exec) else { return };
        let Some(end) = run.reported.filter(|_| run.finish.is_none()) else {
            return;
        };
        if run.ladder.is_some() && self.has_survivors(exec) {
            return;
        }
        let cut = end.shell_died || run.ladder.is_some();
        let shell = self.shell.as_ref().map(|s| s.pid);
        let (umask, cwd) = shell.map(shell_state).unwrap_or_default();
        let Some(run) = self.runs.get_mut(exec) else {
            return;
        };
        run.held = None;
        // The pipes of processes that were just killed hang up a moment after the death we were told of.
        let until = Instant::now() + AFTERMATH;
        loop {
            run.out.pump(&mut self.buf, DRAIN);
            run.err.pump(&mut self.buf, DRAIN);
            if !cut || !run.is_open() || Instant::now() >= until {
                break;
            }
            std::thread::yield_now();
        }
        if run.frame.own_shell {
            // It said its state or it did not; nobody else writes there.
            run.err.close();
        }
        let mut end = end;
        end.timed_out = run.timed_out;
        end.interrupted = run.interrupted;
        end.background = run.is_open();
        end.duration_us = u64::try_from(run.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        run.finish = Some(Finish { end, umask, cwd });
        let mut input = run.input.take();
        if let Some(input) = &mut input {
            // Nobody else may type into it once the command is over.
            input.close();
        }
        if !run.is_open() {
            run.closed_told = true;
        }
        let (frame, closed) = (run.state(), (!run.is_open()).then(|| run.closed()));
        if self.current.as_deref() == Some(exec) {
            self.current = None;
        }
        self.send(&frame);
        if let Some(closed) = closed {
            self.send(&closed);
        }
        for (writer, taken) in input.iter_mut().flat_map(Input::answers) {
            let exec = exec.to_owned();
            self.send(&FromJail::Written { exec, writer, taken });
        }
    }

    /// Looked at while all stand still: a chain of forks could slip through a moving picture.
    fn has_survivors(&self, exec: &str) -> bool {
        if self.options.outer {
            return !self.processes_of(exec).is_empty();
        }
        let _none = signal_all(Signal::STOP);
        let any = !self.processes_of(exec).is_empty();
        let _none = signal_all(Signal::CONT);
        any
    }

    pub(crate) fn processes_of(&self, exec: &str) -> Vec<u32> {
        let Some(run) = self.runs.get(exec) else {
            return Vec::new();
        };
        if run.frame.own_shell {
            return run.terminal.map(procs::of_terminal).unwrap_or_default();
        }
        let terminals: Vec<u32> = self.runs.values().filter_map(|r| r.terminal).collect();
        let scope = Scope {
            me: self.me,
            shell: self.shell.as_ref().map(|s| s.pid),
            before: &run.before,
            terminals: &terminals,
            descendants_only: self.options.outer,
        };
        scope.of_command()
    }

    /// One stage of stopping a run.
    pub(crate) fn carry_out(&mut self, exec: &str, stage: Stage) {
        let shell = self.shell.as_ref().map(|s| s.pid);
        let mine = self.current.as_deref() == Some(exec);
        let reported = self.runs.get(exec).is_some_and(|r| r.reported.is_some());
        match stage {
            Stage::Interrupt => {
                if let Some(shell) = shell.filter(|_| mine) {
                    procs::signal(shell, Signal::INT);
                }
                for pid in self.processes_of(exec) {
                    procs::signal(pid, Signal::INT);
                }
            }
            Stage::Terminate => {
                for pid in self.processes_of(exec) {
                    procs::signal(pid, Signal::TERM);
                    procs::signal(pid, Signal::CONT);
                }
            }
            Stage::Kill => self.kill_all_of(exec),
            Stage::KillShell => {
                self.kill_all_of(exec);
                if let Some(shell) = shell.filter(|_| mine && !reported) {
                    procs::signal(shell, Signal::KILL);
                }
            }
            Stage::KillAll => {
                // A race of forks that outran us. Everything goes, earlier background jobs too.
                self.kill_all_of(exec);
                if !self.options.outer {
                    let _none = signal_all(Signal::KILL);
                }
            }
        }
        self.settle(exec);
    }

    /// In a jail everything is frozen in one call first: no race of forks can outrun that. Then the command's processes are
    /// killed and the others go on.
    fn kill_all_of(&self, exec: &str) {
        if !self.options.outer {
            let _none = signal_all(Signal::STOP);
            for pid in self.processes_of(exec) {
                procs::signal(pid, Signal::KILL);
            }
            let _none = signal_all(Signal::CONT);
            return;
        }
        for _ in 0..20 {
            let pids = self.processes_of(exec);
            if pids.is_empty() {
                return;
            }
            for pid in &pids {
                procs::signal(*pid, Signal::STOP);
            }
            for pid in &pids {
                procs::signal(*pid, Signal::KILL);
            }
        }
    }

    /// A shell that has read the report line, reports nothing and waits for more does not execute anything any more.
    pub(crate) fn look_at_shell(&mut self, exec: &str, now: Instant) {
        if self.current.as_deref() != Some(exec) {
            return;
        }
        let (Some(shell), Some(run)) = (&self.shell, self.runs.get_mut(exec)) else {
            return;
        };
        if now < run.look || run.reported.is_some() {
            return;
        }
        let all_read = rustix::io::ioctl_fionread(&shell.stdin).is_ok_and(|n| n == 0);
        if all_read && procs::state(shell.pid) == Some('S') {
            run.idle_looks += 1;
            run.look = now + Duration::from_millis(30);
        } else {
            run.idle_looks = 0;
            run.look_every = (run.look_every * 2).min(LOOK_MAX);
            run.look = now + run.look_every;
        }
        if run.idle_looks >= 3 {
            run.reported = Some(End {
                shell_died: true,
                stuck: true,
                ..End::default()
            });
            let pid = shell.pid;
            self.shell = None;
            procs::signal(pid, Signal::KILL);
            self.settle(exec);
        }
    }

    pub(crate) fn kill_everything(&mut self) {
        if !self.options.outer {
            // The kernel kills a namespace with its PID 1.
            return;
        }
        // No namespace dies with us: go on until nothing of ours is left.
        let until = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < until {
            let ours = procs::of_terminal(self.me);
            let others: Vec<u32> = ours.into_iter().filter(|p| *p != self.me).collect();
            if others.is_empty() {
                return;
            }
            for pid in &others {
                procs::signal(*pid, Signal::STOP);
            }
            for pid in &others {
                procs::signal(*pid, Signal::KILL);
            }
            self.reaper.wait_for_death(Duration::from_millis(2));
        }
    }
}

/// Whether somebody keeps something on the jail's own file system, which goes with it.
pub(crate) fn files_in_tmp() -> bool {
    let names = |dir: &str| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name())
    };
    names("/tmp").any(|n| n != "home" && n != "cache") || names("/tmp/home").next().is_some()
}

/// To every process of the namespace but ourselves, in one go of the kernel. (The group of 1 is written -1, and that is
/// `kill`'s word for all.) Only where we are PID 1.
pub(crate) fn signal_all(signal: Signal) -> rustix::io::Result<()> {
    if std::process::id() != 1 {
        return Err(rustix::io::Errno::PERM);
    }
    rustix::process::kill_process_group(rustix::process::Pid::INIT, signal)
}

/// The shell's umask and directory, from the kernel: no user function can colour them.
fn shell_state(pid: u32) -> (u32, Vec<u8>) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let umask = status
        .lines()
        .find_map(|l| l.strip_prefix("Umask:"))
        .map(str::trim);
    let umask = umask.and_then(|m| u32::from_str_radix(m, 8).ok()).unwrap_or(0o22);
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    (umask, cwd.as_os_str().as_bytes().to_vec())
}
