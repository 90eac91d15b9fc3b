//! Owns: what the daemon tells the service manager that started it: that it is ready, that it lives, that it stops.
//! Guarantees: a sign of life is sent only after the pulse went through the runtime and every part it asks, so a daemon that
//! is stuck falls silent; without a service manager nothing is sent and nothing is missed.

use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use crate::paths::Env;

/// Signs of life in one period of the watchdog: a late one must not look like none.
const SIGNS: u32 = 3;

/// The way to the service manager. Clones are the same way.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    manager: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// What the environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`): sd_notify(3), sd_watchdog_enabled(3).
    pub fn from_env(env: &Env) -> Self {
        let Some(name) = env.get("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match way_to(name) {
            Ok(way) => Self {
                manager: Some(Arc::new(way)),
                watchdog: watchdog_of(env, std::process::id()),
            },
            Err(error) => {
                tracing::warn!(%error, socket = name, "the service manager can't be told anything");
                Self::default()
            }
        }
    }

    /// Whether a service manager started this process and listens.
    pub fn is_supervised(&self) -> bool {
        self.manager.is_some()
    }

    /// Clients are served from now on.
    pub fn ready(&self, socket: &str) {
        let line = socket.replace(['\n', '\r'], " ");
        self.tell(&format!(
            "READY=1\nMAINPID={}\nSTATUS=Listening on {line}\n",
            std::process::id()
        ));
    }

    /// The orderly end has begun. `within`: how long it may take.
    pub fn stopping(&self, within: Duration) {
        self.tell(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=Stopping: open turns come to a safe point\n",
            within.as_micros()
        ));
    }

    /// Sends signs of life for ever, each after a pulse that came back. At once done where no watchdog waits for them.
    pub async fn keep_alive<F: Future<Output = bool>>(self, pulse: impl Fn() -> F) {
        let Some(period) = self.watchdog else { return };
        let mut beat = tokio::time::interval(period / SIGNS);
        // After a pause of the whole machine one sign is right; a volley says nothing more.
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            if pulse().await {
                self.tell("WATCHDOG=1\n");
            }
        }
    }

    fn tell(&self, message: &str) {
        let Some(way) = &self.manager else { return };
        let (socket, manager) = &**way;
        if let Err(error) = socket.send_to_addr(message.as_bytes(), manager) {
            tracing::warn!(%error, "the service manager did not take a message");
        }
    }
}

fn way_to(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(rest) => SocketAddr::from_abstract_name(rest)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
        None => {
            return Err(io::Error::other(
                "NOTIFY_SOCKET is neither a path nor an abstract name",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that reads slowly must not hold up the daemon.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// The period, when it is meant for this process and not for one that handed its environment on.
fn watchdog_of(env: &Env, me: u32) -> Option<Duration> {
    let number = |name: &str| env.get(name).and_then(|text| text.parse::<u64>().ok());
    if env.contains_key("WATCHDOG_PID") && number("WATCHDOG_PID") != Some(u64::from(me)) {
        return None;
    }
    number("WATCHDOG_USEC")
        .filter(|period| *period > 0)
        .map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
    }

    struct Manager {
        socket: UnixDatagram,
        _dir: tempfile::TempDir,
        env: Env,
    }

    impl Manager {
        fn new(watchdog_us: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let env = env(&[
                ("NOTIFY_SOCKET", path.to_str().unwrap()),
                ("WATCHDOG_USEC", watchdog_us),
            ]);
            Self {
                socket,
                _dir: dir,
                env,
            }
        }

        fn hears(&self) -> String {
            let mut text = [0; 512];
            let length = self.socket.recv(&mut text).unwrap();
            String::from_utf8(text[..length].to_vec()).unwrap()
        }
    }

    #[test]
    fn a_watchdog_meant_for_another_process_is_not_ours() {
        let me = 7;
        let of = |pairs: &[(&str, &str)]| watchdog_of(&env(pairs), me);
        let period = Some(Duration::from_secs(30));
        assert_eq!(of(&[("WATCHDOG_USEC", "30000000")]), period);
        assert_eq!(
            of(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "7")]),
            period
        );
        assert_eq!(of(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "8")]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "soon")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn without_a_manager_nothing_is_said() {
        for silent in [env(&[]), env(&[("NOTIFY_SOCKET", "relative")])] {
            let notifier = Notifier::from_env(&silent);
            assert!(!notifier.is_supervised());
            notifier.ready("/a.sock");
        }
    }

    #[test]
    fn an_abstract_socket_is_spoken_to() {
        let name = format!("agentd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::from_env(&env(&[("NOTIFY_SOCKET", &format!("@{name}"))])).ready("/a.sock\nREADY=0");
        let mut text = [0; 512];
        let length = socket.recv(&mut text).unwrap();
        let said = String::from_utf8(text[..length].to_vec()).unwrap();
        assert!(said.starts_with("READY=1\nMAINPID="), "{said}");
        assert!(said.ends_with("STATUS=Listening on /a.sock READY=0\n"), "{said}");
    }

    #[tokio::test]
    async fn a_pulse_that_fails_or_never_comes_back_is_no_sign_of_life() {
        let manager = Manager::new("30000");
        let notifier = Notifier::from_env(&manager.env);
        let well = Arc::new(AtomicBool::new(true));
        let asked = Arc::new(tokio::sync::Semaphore::new(0));
        let feeder = tokio::spawn(notifier.keep_alive({
            let (well, asked) = (well.clone(), asked.clone());
            move || {
                let (well, asked) = (well.clone(), asked.clone());
                async move {
                    asked.add_permits(1);
                    well.load(Ordering::SeqCst)
                }
            }
        }));
        asked.acquire_many(2).await.unwrap().forget();
        assert_eq!(manager.hears(), "WATCHDOG=1\n");
        well.store(false, Ordering::SeqCst);
        asked.acquire_many(2).await.unwrap().forget();
        manager.socket.set_nonblocking(true).unwrap();
        let mut byte = [0; 64];
        while manager.socket.recv(&mut byte).is_ok() {}
        asked.acquire_many(3).await.unwrap().forget();
        assert!(
            manager.socket.recv(&mut byte).is_err(),
            "it was fed without a pulse"
        );
        feeder.abort();
    }
}
