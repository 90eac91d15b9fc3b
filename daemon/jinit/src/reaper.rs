//! Owns: waiting for children, in a thread of its own, and telling the main loop over a pipe.
//! Guarantees: every orphan of the jail is reaped at once; no signal handler, no polling.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::WaitOptions;

/// One child that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) pid: u32,
    /// As a shell counts: 128 + signal when killed.
    pub(crate) status: i32,
    pub(crate) signal: i32,
}

/// The running reaper.
pub(crate) struct Reaper {
    pub(crate) deaths: OwnedFd,
    thread: Thread,
    _handle: JoinHandle<()>,
}

impl Reaper {
    pub(crate) fn start() -> io::Result<Self> {
        let (rx, tx) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&rx, true)?;
        let handle = std::thread::Builder::new()
            .name("reaper".into())
            .stack_size(64 * 1024)
            .spawn(move || reap(&tx))?;
        Ok(Self {
            deaths: rx,
            thread: handle.thread().clone(),
            _handle: handle,
        })
    }

    /// To be called after each spawn: a reaper without children sleeps.
    pub(crate) fn child_started(&self) {
        self.thread.unpark();
    }

    /// Until a child dies, or the time is up.
    pub(crate) fn wait_for_death(&self, limit: Duration) {
        let mut polled = [PollFd::from_borrowed_fd(self.deaths.as_fd(), PollFlags::IN)];
        let limit = Timespec {
            tv_sec: limit.as_secs().cast_signed(),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        let _interrupted = rustix::event::poll(&mut polled, Some(&limit));
        drop(self.collect());
    }

    /// The deaths since the last call.
    pub(crate) fn collect(&self) -> Vec<Death> {
        let mut deaths = Vec::new();
        let mut buf = [0_u8; 12 * 64];
        while let Ok(n) = rustix::io::read(&self.deaths, &mut buf) {
            let got = buf.get(..n).unwrap_or_default();
            for record in got.chunks_exact(12) {
                let field = |at: usize| {
                    record
                        .get(at..at + 4)
                        .and_then(|b| b.try_into().ok())
                        .map(i32::from_le_bytes)
                        .unwrap_or_default()
                };
                deaths.push(Death {
                    pid: field(0).cast_unsigned(),
                    status: field(4),
                    signal: field(8),
                });
            }
            if n < buf.len() {
                break;
            }
        }
        deaths
    }
}

fn reap(tx: &OwnedFd) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                let signal = status.terminating_signal().unwrap_or(0);
                let code = status.exit_status().unwrap_or(128 + signal);
                let mut record = [0_u8; 12];
                let parts = [pid.as_raw_nonzero().get(), code, signal];
                for (slot, part) in record.chunks_exact_mut(4).zip(parts) {
                    slot.copy_from_slice(&part.to_le_bytes());
                }
                // 12 bytes are far below PIPE_BUF: whole or not at all. A full pipe makes us wait, which is right.
                if rustix::io::write(tx, &record).is_err() {
                    return;
                }
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => std::thread::park(),
        }
    }
}
