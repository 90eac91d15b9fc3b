//! Owns: from options to a serving program and to its end.
//! Guarantees: says where it listens only when it does; a signal ends it within two seconds.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentd_proto::{Client, Options as ClientOptions, endpoint::Endpoint};
use anyhow::Context as _;
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::app::{App, Peer, handle};
use crate::daemon;
use crate::guard::Site;
use crate::options::{Options, public_site};
use crate::running::Running;

/// How long open requests get at the end; streams never end by themselves.
const DRAIN: Duration = Duration::from_secs(1);
/// A handshake that takes longer is not a browser's.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until a signal comes.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let listener = bind(&options).await?;
    let address = listener.local_addr()?;
    let endpoint = Endpoint::discover(options.socket.as_deref())?;
    let client = Client::new(ClientOptions {
        socket: options.socket.clone(),
        autostart: false,
        client: "web",
    })?;
    let public = options
        .public_url
        .as_deref()
        .map(public_site)
        .transpose()
        .map_err(anyhow::Error::msg)?;
    let scheme = if options.tls() { "https" } else { "http" };
    let own = (!address.ip().is_unspecified()).then(|| address.to_string());
    let site = Site::new(address.port(), options.tls(), own.as_deref(), public);
    let url = if address.ip().is_unspecified() {
        format!("{scheme}://127.0.0.1:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    };
    let running = Running::announce(&endpoint.state_dir, &url, options.public_url.as_deref())
        .context("the state directory can't be written")?;
    let app = App::new(
        site,
        address.port(),
        daemon::channel(endpoint),
        client,
        options.trusted_proxy,
    );
    let router = Router::new().fallback(handle).with_state(Arc::new(app));
    let service = router.into_make_service_with_connect_info::<Peer>();
    tracing::info!(%url, "agent-web {} listens; sign in with: agentctl web", env!("CARGO_PKG_VERSION"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
        _ => None,
    };
    let server = async move {
        match tls {
            Some(tls) => {
                axum::serve(TlsListener::new(listener, tls), service)
                    .with_graceful_shutdown(shutdown)
                    .await
            }
            None => {
                axum::serve(Plain(listener), service)
                    .with_graceful_shutdown(shutdown)
                    .await
            }
        }
    };
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => ended?,
        () = signal() => {
            let _ = stop.send(());
            let _ = tokio::time::timeout(DRAIN, &mut server).await;
        }
    }
    drop(running);
    Ok(())
}

async fn bind(options: &Options) -> anyhow::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    let addresses = options.addresses();
    for address in &addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    let tried: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Err(last).with_context(|| format!("can't listen on {}", tried.join(" or ")))
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn acceptor(cert: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let read = |path: &Path| format!("can't use {}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .with_context(|| read(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| read(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key do not go together")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Connections as they are. Small answers (a typed character's echo) must not wait for more to come.
struct Plain(TcpListener);

impl Listener for Plain {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let _ = stream.set_nodelay(true);
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Connections after their handshake. Handshakes run beside each other: a slow one holds up nobody.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: io::Result<SocketAddr>,
}

impl TlsListener {
    fn new(mut listener: TcpListener, tls: TlsAcceptor) -> Self {
        let address = listener.local_addr();
        let (done, ready) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let (stream, address) = Listener::accept(&mut listener).await;
                let _ = stream.set_nodelay(true);
                let (tls, done) = (tls.clone(), done.clone());
                tokio::spawn(async move {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                        let _ = done.send((stream, address)).await;
                    }
                });
            }
        });
        Self { ready, address }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address.as_ref().map(|a| *a).map_err(|e| e.kind().into())
    }
}

impl Connected<IncomingStream<'_, Plain>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Plain>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}
