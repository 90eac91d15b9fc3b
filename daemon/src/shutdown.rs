//! Owns: the decision to stop, taken once, and the signals that lead to it.
//! Guarantees: the first reason stands; a second Ctrl-C is handed back as a value, so that only `main` ends the
//! process.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Why the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Ctrl-C (SIGINT).
    Interrupted,
    /// SIGTERM: a service manager, an upgrade, the machine going down.
    Terminated,
    /// SIGHUP: the terminal it ran on is gone.
    HungUp,
    /// A client asked for it.
    Requested {
        /// Leave the jails and what runs in them.
        keep_jails: bool,
    },
    /// Something the daemon can't work without has failed.
    Fault,
}

impl Reason {
    /// Whether the jails are left alone for the next daemon. People who stop the daemon mean its work too;
    /// service managers and closed terminals don't.
    pub fn keeps_jails(self) -> bool {
        match self {
            Self::Terminated | Self::HungUp | Self::Fault => true,
            Self::Interrupted => false,
            Self::Requested { keep_jails } => keep_jails,
        }
    }
}

/// The one switch. Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    reason: Arc<OnceLock<Reason>>,
}

impl Shutdown {
    /// A switch that is not thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws the switch. False when it was thrown before; the first reason stays.
    pub fn begin(&self, reason: Reason) -> bool {
        let first = self.reason.set(reason).is_ok();
        if first {
            tracing::info!(?reason, "shutting down");
        }
        self.token.cancel();
        first
    }

    /// The reason, once there is one.
    pub fn reason(&self) -> Option<Reason> {
        self.reason.get().copied()
    }

    /// Cancelled when the switch is thrown. Parents give their children `child_token()`s of it.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits for the switch.
    pub async fn begun(&self) -> Reason {
        self.token.cancelled().await;
        // The reason is set before the token is cancelled.
        self.reason().unwrap_or(Reason::Fault)
    }
}

/// A second Ctrl-C: the person does not want to wait any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardExit {
    /// What the process should exit with.
    pub code: u8,
}

/// The signals, caught from the moment of creation.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP. Needs a runtime.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Throws the switch on the first signal; returns on a SIGINT after that. Race it against the orderly end.
    pub async fn drive(mut self, shutdown: &Shutdown) -> HardExit {
        loop {
            tokio::select! {
                Some(()) = self.interrupt.recv() => {
                    if !shutdown.begin(Reason::Interrupted) {
                        return HardExit { code: 130 };
                    }
                }
                Some(()) = self.terminate.recv() => { shutdown.begin(Reason::Terminated); }
                Some(()) = self.hang_up.recv() => { shutdown.begin(Reason::HungUp); }
                else => std::future::pending::<()>().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stands() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        assert!(clone.begin(Reason::Requested { keep_jails: true }));
        assert!(!shutdown.begin(Reason::Terminated));
        assert_eq!(shutdown.begun().await, Reason::Requested { keep_jails: true });
        assert!(shutdown.token().is_cancelled());
    }

    // One test for all signals: they are caught per process, so tests in parallel would see each other's.
    #[tokio::test]
    async fn signals_throw_the_switch_and_a_second_interrupt_ends_the_wait() {
        let me = rustix::process::getpid();
        let raise = |signal| rustix::process::kill_process(me, signal).unwrap();
        let shutdown = Shutdown::new();
        let signals = Signals::catch().unwrap();
        let driver = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { signals.drive(&shutdown).await }
        });
        raise(rustix::process::Signal::HUP);
        assert_eq!(shutdown.begun().await, Reason::HungUp);
        raise(rustix::process::Signal::TERM);
        raise(rustix::process::Signal::INT);
        assert_eq!(driver.await.unwrap(), HardExit { code: 130 });
        assert_eq!(shutdown.reason(), Some(Reason::HungUp));
    }

    #[test]
    fn only_people_end_the_jails() {
        assert!(Reason::Terminated.keeps_jails());
        assert!(!Reason::Interrupted.keeps_jails());
        assert!(!Reason::Requested { keep_jails: false }.keeps_jails());
    }
}
