//! Owns: the connection to the daemon's socket.
//! Guarantees: survives restarts of the daemon, at whichever of its places it comes back; a daemon that crashed
//! (its socket is still there) is started again, one that was stopped (its socket is gone) stays stopped.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentd_proto::{autostart, endpoint::Endpoint};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::Channel;
use tower::service_fn;

/// Flow-control windows: output bursts would crawl through HTTP/2's 64 KiB default.
const WINDOW: u32 = 4 * 1024 * 1024;
/// A daemon that can't start must not be tried with every request.
const START_EVERY: Duration = Duration::from_secs(3);

/// A channel that connects when needed, and again when broken.
pub(crate) fn channel(endpoint: Endpoint) -> Channel {
    let dialer = Arc::new(Dialer {
        endpoint,
        started: Mutex::new(None),
    });
    // The address is never looked up: the connector ignores it.
    tonic::transport::Endpoint::from_static("http://agentd.socket")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_while_idle(false)
        .connect_with_connector_lazy(service_fn(move |_| {
            let dialer = dialer.clone();
            async move { dialer.dial().await.map(TokioIo::new) }
        }))
}

struct Dialer {
    endpoint: Endpoint,
    started: Mutex<Option<Instant>>,
}

impl Dialer {
    async fn dial(&self) -> io::Result<UnixStream> {
        let mut crashed = false;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for path in self.endpoint.candidates() {
            match UnixStream::connect(&path).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    crashed |= error.kind() == io::ErrorKind::ConnectionRefused;
                    last = error;
                }
            }
        }
        if crashed && self.may_start() {
            tracing::warn!("the daemon is gone but its socket is there: starting it again");
            if let Err(error) = autostart::start(&self.endpoint) {
                tracing::warn!(%error, "the daemon could not be started");
            }
        }
        Err(last)
    }

    fn may_start(&self) -> bool {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let may = started.is_none_or(|at| at.elapsed() >= START_EVERY);
        if may {
            *started = Some(Instant::now());
        }
        may
    }
}
