//! Owns: the loop of PID 1: the daemon's wishes, the shell's reports, the children's deaths, the clock.
//! Guarantees: one thread decides everything, so there is one order of things; it never blocks on a command or on the
//! daemon; a run ends exactly once.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_jinit::names;
use agent_jinit::wire::{FromJail, Taken, ToJail, VERSION};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::net::SocketFlags;
use rustix::process::Signal;

use crate::command;
use crate::jobs::Jobs;
use crate::link::{Link, Received};
use crate::options::Options;
use crate::reaper::Reaper;
use crate::run::Run;
use crate::shell::Shell;
use crate::watch::Watch;

/// One turn of the loop moves at most this much of one stream, so that no stream starves the others.
const TURN: usize = 1024 * 1024;
/// At the end of a command everything it wrote is in the pipe already: twice its size drains it, and a background
/// flood can't hold the answer back.
pub(crate) const DRAIN: usize = 2 * 1024 * 1024;
/// How often to try to open a command's input until the shell has come to opening it.
const INPUT_RETRY: Duration = Duration::from_millis(2);

/// Everything PID 1 knows.
pub(crate) struct Server {
    pub(crate) options: Options,
    listener: OwnedFd,
    pub(crate) link: Option<Link>,
    report: OwnedFd,
    pub(crate) report_text: Vec<u8>,
    pub(crate) reaper: Reaper,
    pub(crate) shell: Option<Shell>,
    pub(crate) runs: BTreeMap<String, Run>,
    /// The run that has the long-lived shell.
    pub(crate) current: Option<String>,
    pub(crate) buf: Vec<u8>,
    pub(crate) usr: Option<(u64, u64)>,
    random: std::fs::File,
    pub(crate) me: u32,
    ending: bool,
    /// Listeners on loopback, by port; the daemon has them too.
    pub(crate) doors: BTreeMap<u16, OwnedFd>,
    /// Since when everything stands still.
    frozen: Option<Instant>,
    pub(crate) jobs: Jobs,
    pub(crate) watch: Watch,
}

enum Source {
    Listener,
    Link,
    Report,
    Deaths,
    ShellSays,
    Run(String),
}

/// Runs until told to end.
pub(crate) fn serve(options: Options) -> io::Result<()> {
    crate::launch::close_all_but_standard();
    // Nothing of us may be read or traced from inside, though everything there has our uid.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let listener = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    rustix::io::ioctl_fionbio(&listener, true)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    let report_path = options.dir.join(names::REPORT);
    // Held for reading and writing: a shell never waits for a reader, and we never see an end.
    let report = rustix::fs::open(
        &report_path,
        OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut server = Server {
        usr: command::usr_stamp(&options),
        watch: Watch::new(&options),
        options,
        listener,
        link: None,
        report,
        report_text: Vec::new(),
        reaper: Reaper::start()?,
        shell: None,
        runs: BTreeMap::new(),
        current: None,
        buf: vec![0; 256 * 1024],
        random: std::fs::File::open("/dev/urandom")?,
        me: std::process::id(),
        ending: false,
        doors: BTreeMap::new(),
        frozen: None,
        jobs: Jobs::default(),
    };
    while !server.ending {
        server.turn()?;
    }
    server.kill_everything();
    Ok(())
}

impl Server {
    pub(crate) fn nonce(&mut self) -> io::Result<String> {
        let mut bytes = [0_u8; 12];
        self.random.read_exact(&mut bytes)?;
        Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
    }

    pub(crate) fn send(&mut self, frame: &FromJail) {
        if let Some(link) = &mut self.link {
            link.send(frame);
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        for source in self.wait()? {
            match source {
                Source::Listener => self.accept(),
                Source::Link => self.hear(),
                Source::Report => self.read_report(),
                Source::ShellSays => self.hear_shell(),
                Source::Deaths => {
                    for death in self.reaper.collect() {
                        self.child_died(death);
                    }
                }
                Source::Run(exec) => {
                    if let Some(run) = self.runs.get_mut(&exec) {
                        run.out.pump(&mut self.buf, TURN);
                        run.err.pump(&mut self.buf, TURN);
                        if let Some(input) = &mut run.input {
                            input.flush();
                        }
                        self.answer_writers(&exec);
                    }
                }
            }
        }
        self.clock();
        self.tidy();
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Listener, Source::Report, Source::Deaths];
        let mut polled = vec![
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.report.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.reaper.deaths.as_fd(), PollFlags::IN),
        ];
        if let Some(link) = &self.link {
            let out = if link.wants_to_write() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            sources.push(Source::Link);
            polled.push(PollFd::from_borrowed_fd(link.fd.as_fd(), PollFlags::IN | out));
        }
        if let Some(shell) = &self.shell {
            sources.push(Source::ShellSays);
            polled.push(PollFd::from_borrowed_fd(shell.stdout.as_fd(), PollFlags::IN));
        }
        for (exec, run) in &self.runs {
            for source in [&run.out, &run.err].into_iter().filter_map(|s| s.source()) {
                sources.push(Source::Run(exec.clone()));
                polled.push(PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN));
            }
            if let Some(pipe) = run
                .input
                .as_ref()
                .filter(|i| i.is_behind())
                .and_then(|i| i.pipe.as_ref())
            {
                sources.push(Source::Run(exec.clone()));
                polled.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT));
            }
        }
        let timeout = self.next_deadline().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            // Rounded up: waking a moment early would only turn the loop once more.
            Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
        Ok(sources
            .into_iter()
            .zip(ready)
            .filter(|(_, r)| *r)
            .map(|(s, _)| s)
            .collect())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let mut at: Vec<Option<Instant>> = Vec::new();
        for (exec, run) in &self.runs {
            if self.link.is_some() {
                at.push(run.bell_due());
            }
            if run.finish.is_some() || (self.frozen.is_some() && run.ladder.is_none()) {
                continue;
            }
            at.push(run.deadline);
            at.push(run.look_due());
            at.push(run.ladder.map(|l| l.next));
            if run.reported.is_some() {
                // What it started is dying: look again soon.
                at.push(Some(Instant::now() + Duration::from_millis(2)));
            }
            if self.current.as_ref() == Some(exec) {
                at.push(Some(run.look));
            }
            if run.input.as_ref().is_some_and(|i| i.pipe.is_none() && !i.done) {
                at.push(Some(Instant::now() + INPUT_RETRY));
            }
        }
        at.push(self.jobs.due());
        if self.frozen.is_none() {
            at.push(self.watch.due());
        }
        at.into_iter().flatten().min()
    }

    /// The newest controller wins: the old one is a daemon that died.
    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(fd) = rustix::net::accept_with(&self.listener, flags) else {
            return;
        };
        let mut link = Link::new(fd);
        let shell = self.shell.as_ref().map_or(0, |s| s.pid);
        link.send(&FromJail::Hello {
            version: VERSION,
            shell,
            outer: self.options.outer,
        });
        for run in self.runs.values_mut() {
            if run.acked {
                run.acked = false;
            }
            if let Some(hit) = run.limit() {
                link.send(&hit);
            }
            link.send(&run.state());
            if run.quiet.waits {
                link.send(&run.waiting());
            }
            if run.finish.is_some() && !run.is_open() {
                link.send(&run.closed());
            }
        }
        link.send(&FromJail::Ready);
        self.link = Some(link);
    }

    fn hear(&mut self) {
        loop {
            let Some(link) = &mut self.link else { return };
            link.flush();
            match link.receive() {
                Ok(Received::Frame(bytes, fds)) => match ToJail::decode(&bytes) {
                    Ok(frame) => self.obey(frame, fds),
                    // Not a daemon of a version we know: let it go, keep the jail.
                    Err(_) => self.link = None,
                },
                Ok(Received::Nothing) => return,
                Ok(Received::Gone) | Err(_) => {
                    self.link = None;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, frame: ToJail, fds: Vec<OwnedFd>) {
        match frame {
            ToJail::Run(run) => self.begin(run, fds),
            ToJail::Write {
                exec,
                writer,
                offset,
                data,
                eof,
            } => {
                if let Some(input) = self.runs.get_mut(&exec).and_then(|r| r.input.as_mut()) {
                    let typed = input.write(&writer, offset, &data, eof);
                    self.signal_keys(&exec, typed);
                    self.answer_writers(&exec);
                } else {
                    let taken = Taken::Closed;
                    self.send(&FromJail::Written { exec, writer, taken });
                }
            }
            ToJail::Jobs => self.tell_jobs(),
            ToJail::EndJob { exec } => self.end_job(&exec),
            // Only for jails before this one.
            ToJail::Input { .. } => {}
            ToJail::Resize { exec, rows, cols } => self.resize(&exec, rows, cols),
            ToJail::Interrupt { exec } => {
                if let Some(run) = self.runs.get_mut(&exec).filter(|r| r.finish.is_none()) {
                    run.interrupted = true;
                    if let Some(stage) = run.stop() {
                        self.carry_out(&exec, stage);
                    }
                }
            }
            ToJail::Spawn { restore } => self.spawn(restore.as_deref()),
            ToJail::Ack { exec } => {
                if let Some(run) = self.runs.get_mut(&exec) {
                    run.acked = true;
                }
            }
            ToJail::Retire => {
                if self.current.is_none()
                    && let Some(shell) = self.shell.take()
                {
                    crate::procs::signal(shell.pid, Signal::KILL);
                }
            }
            ToJail::Freeze => self.freeze(),
            ToJail::Thaw => self.thaw(),
            ToJail::End => self.ending = true,
            ToJail::Rest => self.rest(),
            ToJail::Listen { port } => self.listen(port),
            ToJail::Unlisten { port } => self.unlisten(port),
            ToJail::Dial { dial, v6 } => self.dial(dial, v6),
            ToJail::Heal => {
                if let Some(shell) = self.shell.as_ref().filter(|_| self.current.is_none()) {
                    let _dying = rustix::io::write(&shell.stdin, crate::shell::HEAL);
                }
            }
        }
    }

    /// Answers the writers of a run that are owed it.
    fn answer_writers(&mut self, exec: &str) {
        let input = self.runs.get_mut(exec).and_then(|run| run.input.as_mut());
        for (writer, taken) in input.map(crate::input::Input::answers).unwrap_or_default() {
            let exec = exec.to_owned();
            self.send(&FromJail::Written { exec, writer, taken });
        }
    }

    /// True while the session is paused.
    pub(crate) fn stands_still(&self) -> bool {
        self.frozen.is_some()
    }

    /// Stops everything where it stands. The shell first: it must not see its children stop.
    fn freeze(&mut self) {
        if let Some(shell) = &self.shell {
            crate::procs::signal(shell.pid, Signal::STOP);
        }
        if self.options.outer {
            for pid in crate::procs::everyone(self.me, true) {
                crate::procs::signal(pid, Signal::STOP);
            }
        } else {
            // In one call: no race of forks outruns it.
            let _none = command::signal_all(Signal::STOP);
        }
        self.frozen.get_or_insert_with(Instant::now);
    }

    /// Lets everything go on, the shell last; time that stood still counts for no limit.
    fn thaw(&mut self) {
        let shell = self.shell.as_ref().map(|shell| shell.pid);
        for pid in crate::procs::everyone(self.me, self.options.outer) {
            if Some(pid) != shell {
                crate::procs::signal(pid, Signal::CONT);
            }
        }
        if let Some(shell) = shell {
            crate::procs::signal(shell, Signal::CONT);
        }
        if let Some(since) = self.frozen.take() {
            for run in self.runs.values_mut() {
                run.shift(since);
            }
        }
    }

    /// An idle jail ends when asked; one in which anything lives does not.
    fn rest(&mut self) {
        if !self.runs.is_empty() || self.current.is_some() || self.has_company() {
            return self.send(&FromJail::Busy);
        }
        let files = !self.options.outer && command::files_in_tmp();
        self.send(&FromJail::Resting { files });
        self.ending = true;
    }

    /// Limits, doorbells, stages: all that happens because time passed.
    fn clock(&mut self) {
        let now = Instant::now();
        let names: Vec<String> = self.runs.keys().cloned().collect();
        for exec in names {
            let Some(run) = self.runs.get_mut(&exec) else {
                continue;
            };
            if let Some(bell) = run.bell(now)
                && !self.link.as_mut().is_some_and(|link| link.ring(&bell))
            {
                run.not_rung();
            }
            // What stands still can't be late, and a shell that stands still is not stuck.
            let frozen = self.frozen.is_some();
            let Some(run) = self.runs.get_mut(&exec).filter(|r| r.finish.is_none()) else {
                continue;
            };
            if frozen && run.ladder.is_none() {
                continue;
            }
            if run.input.as_ref().is_some_and(|i| i.pipe.is_none())
                && let Some(input) = &mut run.input
            {
                input.flush();
                self.answer_writers(&exec);
            }
            self.look_at_input(&exec, now);
            let Some(run) = self.runs.get_mut(&exec) else {
                continue;
            };
            let mut stage = run.climb(now);
            if run.deadline.is_some_and(|at| now >= at) {
                run.timed_out = true;
                stage = run.stop();
            }
            if let Some(stage) = stage {
                self.carry_out(&exec, stage);
            }
            self.settle(&exec);
            self.look_at_shell(&exec, now);
        }
        self.end_jobs(now);
        if self.frozen.is_none() {
            self.look_at_bounds(now);
        }
    }

    /// Says when the last writer of a finished run is gone, and forgets what the daemon has.
    fn tidy(&mut self) {
        let mut told = Vec::new();
        for run in self.runs.values_mut() {
            if run.finish.is_some() && !run.is_open() && !run.closed_told {
                run.closed_told = true;
                told.push(run.closed());
            }
        }
        for frame in told {
            self.send(&frame);
        }
        self.runs
            .retain(|_, run| !(run.acked && run.finish.is_some() && !run.is_open()));
    }

    fn read_report(&mut self) {
        let mut chunk = [0_u8; 4096];
        while let Ok(n) = rustix::io::read(&self.report, &mut chunk) {
            self.report_text
                .extend_from_slice(chunk.get(..n).unwrap_or_default());
            // Only the newest text can hold the report; anybody inside may write here.
            let excess = self.report_text.len().saturating_sub(16 * 1024);
            drop(self.report_text.drain(..excess));
            if n == 0 {
                break;
            }
        }
        self.check_report();
    }
}
