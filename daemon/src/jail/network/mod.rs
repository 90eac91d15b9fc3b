//! Owns: the network of one session: its proxy, and the doors between its jail and this machine's loopback.
//! Guarantees: a jail's own network has loopback only, and whatever leaves it passes a gate; programs connect to listeners
//! that PID 1 keeps, so a restart of the daemon costs them a wait; what is connected to is an address that was checked.

mod address;
mod fetch;
mod owner;
mod proxy;
mod relay;
mod socks;
mod upstream;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_jinit::names::PROXY_PORT;
use agent_jinit::wire::{FromJail, ToJail};
use async_trait::async_trait;
use http::StatusCode;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

pub use fetch::Fetched;
pub use owner::Listening;
pub use upstream::Upstream;

use self::relay::{Counts, relay};
use self::upstream::{Outer, Way};
use super::link::{Handed, Link};
use super::spec::JailSpec;
use crate::domain::id::ExecId;
use crate::domain::network::{Connection, HostRule, Target};

/// git by ssh from public forges goes by https instead: there is no key inside.
pub(super) const GIT: &[(&str, &str)] = &[
    ("url.https://github.com/.insteadOf", "git@github.com:"),
    ("url.https://github.com/.insteadOf", "ssh://git@github.com/"),
    ("url.https://gitlab.com/.insteadOf", "git@gitlab.com:"),
    ("url.https://gitlab.com/.insteadOf", "ssh://git@gitlab.com/"),
    ("url.https://codeberg.org/.insteadOf", "git@codeberg.org:"),
    ("url.https://codeberg.org/.insteadOf", "ssh://git@codeberg.org/"),
    ("url.https://bitbucket.org/.insteadOf", "git@bitbucket.org:"),
    ("url.https://bitbucket.org/.insteadOf", "ssh://git@bitbucket.org/"),
];

/// Shell text that makes a state, which brings all its variables along, fit the network of a jail: the proxy's variables
/// are taken out where there is none, and put in where the state knows of none.
pub(crate) fn amend(spec: &JailSpec, state: &[u8]) -> Vec<u8> {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let knows = state.windows(proxy.len()).any(|words| words == proxy.as_bytes());
    let has_ca = spec.ca_file.is_some();
    let text: String = match (spec.has_proxy(), knows) {
        (true, false) => environment(has_ca)
            .iter()
            .map(|(name, value)| format!("\\export {name}='{value}'\n"))
            .collect(),
        (false, true) => environment(has_ca)
            .iter()
            .filter(|(_, value)| *value == proxy)
            .map(|(name, _)| format!("case \"${{{name}-}}\" in {proxy}) \\unset {name};; esac\n"))
            .collect(),
        _ => String::new(),
    };
    text.into_bytes()
}

/// What tells programs of the proxy, and of certificate authorities where the user has further ones.
pub(super) fn environment(has_ca: bool) -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let direct = "localhost,127.0.0.1,::1".to_owned();
    let mut env: Vec<(String, String)> = Vec::new();
    for name in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "npm_config_proxy",
        "npm_config_https_proxy",
        "CARGO_HTTP_PROXY",
    ] {
        env.push((name.to_owned(), proxy.clone()));
    }
    for name in ["no_proxy", "NO_PROXY", "npm_config_noproxy"] {
        env.push((name.to_owned(), direct.clone()));
    }
    // Only newer ones of Node look at the variables without it.
    env.push(("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
    if has_ca {
        let bundle = format!("/etc/{}", super::etc::CA);
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "REQUESTS_CA_BUNDLE",
            "PIP_CERT",
            "NODE_EXTRA_CA_CERTS",
            "npm_config_cafile",
            "CARGO_HTTP_CAINFO",
        ] {
            env.push((name.to_owned(), bundle.clone()));
        }
    }
    env
}

/// Connections of a session at one time; more wait in the listener's queue.
const CONNECTIONS: usize = 512;
/// How long PID 1 may take to make a socket.
const SOCKET: Duration = Duration::from_secs(5);
/// The first protocol of PID 1 that makes sockets.
const MAKES_SOCKETS: u16 = 2;

/// What the user's configuration says of every session's network.
#[derive(Debug, Clone, Default)]
pub struct NetworkSettings {
    /// Hosts that need no question.
    pub allow: Vec<HostRule>,
    /// Addresses of hosts that are not looked up.
    pub pins: BTreeMap<Target, SocketAddr>,
    /// Further certificate authorities for programs in jails.
    pub ca_file: Option<PathBuf>,
    /// A company's proxy, which is the only way out.
    pub upstream: Option<Arc<Upstream>>,
}

/// What a program wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The host.
    pub target: Target,
    /// The program; empty where it could not be found out.
    pub program: String,
    /// The command that ran when it began, where it is known.
    pub exec_id: Option<ExecId>,
}

/// A connection that leaves the jail.
pub(super) struct Reached {
    stream: Outer,
    /// Where to: the host's address, or the company's proxy's.
    at: SocketAddr,
    /// The company's proxy on the way, where a plain request is for it to read.
    via: Option<Way>,
}

/// Who decides, and who keeps the log.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Comes back when the host may be reached, or with why not. May wait for a person.
    async fn admit(&self, wish: &Wish) -> Result<(), String>;
    /// The command that runs at this moment, where there is just one.
    fn current(&self) -> Option<ExecId>;
    /// An entry for the connection log.
    fn record(&self, connection: Connection);
    /// True while there is to be a proxy.
    fn wants_proxy(&self) -> bool;
}

/// Why a host was not reached.
#[derive(Debug)]
pub(super) struct No {
    pub(super) status: StatusCode,
    pub(super) why: String,
}

/// The network of one session. Lives as long as the session does, over many jails.
pub struct Network {
    gate: Arc<dyn Gate>,
    settings: Arc<NetworkSettings>,
    jail: Mutex<Option<Connected>>,
    /// Services of this machine that are to be reachable inside.
    hosts: Mutex<BTreeMap<u16, CancellationToken>>,
    /// Ports of the jail that are open here.
    forwards: Mutex<BTreeMap<u16, (u16, CancellationToken)>>,
    busy: Arc<Semaphore>,
    dials: AtomicU64,
}

/// A jail whose PID 1 makes sockets.
struct Connected {
    link: Link,
    init: Option<u32>,
    gone: CancellationToken,
    waiting: Waiting,
    /// Tries of another way out that were seen.
    strays: AtomicU64,
}

type Waiting = Arc<Mutex<HashMap<Wanted, oneshot::Sender<io::Result<OwnedFd>>>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    Listener(u16),
    Dial(u64),
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// No jail yet.
    pub fn new(gate: Arc<dyn Gate>, settings: Arc<NetworkSettings>) -> Arc<Self> {
        Arc::new(Self {
            gate,
            settings,
            jail: Mutex::default(),
            hosts: Mutex::default(),
            forwards: Mutex::default(),
            busy: Arc::new(Semaphore::new(CONNECTIONS)),
            dials: AtomicU64::new(0),
        })
    }

    pub(super) fn gate(&self) -> &dyn Gate {
        &*self.gate
    }

    /// A jail is there, new or found again. Its listeners are bound when this returns, before anything runs inside.
    pub(super) async fn connected(
        self: &Arc<Self>,
        link: Link,
        handed: mpsc::UnboundedReceiver<Handed>,
        version: u16,
        init: Option<u32>,
    ) {
        let (gone, waiting) = (CancellationToken::new(), Waiting::default());
        tokio::spawn(take_over(handed, waiting.clone(), gone.clone()));
        let makes_sockets = version >= MAKES_SOCKETS;
        let jail = Connected {
            link,
            init,
            gone,
            waiting,
            strays: AtomicU64::new(init.and_then(owner::strays).unwrap_or(0)),
        };
        let before = lock(&self.jail).replace(jail);
        if let Some(before) = before {
            before.gone.cancel();
        }
        if !makes_sockets {
            return;
        }
        let mut ports: Vec<u16> = lock(&self.hosts).keys().copied().collect();
        if self.gate.wants_proxy() {
            ports.push(PROXY_PORT);
        }
        for port in ports {
            if let Err(error) = self.listen_inside(port).await {
                tracing::warn!(%error, port, "nothing listens on this port of a jail's loopback");
            }
        }
    }

    /// Listens on a port of the jail's loopback, for the proxy or a service of this machine.
    async fn listen_inside(self: &Arc<Self>, port: u16) -> io::Result<()> {
        let listener = self.ask(Wanted::Listener(port), &ToJail::Listen { port }).await?;
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (me, gone) = (self.clone(), self.until_gone());
        let open = match port {
            PROXY_PORT => CancellationToken::new(),
            _ => lock(&self.hosts).get(&port).cloned().unwrap_or_default(),
        };
        tokio::spawn(async move {
            loop {
                let Ok(place) = me.busy.clone().acquire_owned().await else {
                    return;
                };
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = gone.cancelled() => return,
                    () = open.cancelled() => return,
                };
                let (stream, peer) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors: others will give theirs back.
                        tracing::warn!(%error, port, "a connection from a jail could not be taken");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let (me, open) = (me.clone(), open.clone());
                tokio::spawn(async move {
                    if port == PROXY_PORT {
                        proxy::serve(stream, peer, me).await;
                    } else {
                        me.to_this_machine(stream, peer, port, open).await;
                    }
                    drop(place);
                });
            }
        });
        Ok(())
    }

    /// Connects to a host, if the gate lets the wish pass; what came of it is in the log. `tunnel`: what follows is for the
    /// host's ears only; else it is a request that a company's proxy, where there is one, takes in absolute form.
    pub(super) async fn reach(&self, wish: &Wish, tunnel: bool) -> Result<Reached, No> {
        let refuse = |status, why: String| {
            self.gate.record(Connection {
                program: wish.program.clone(),
                exec_id: wish.exec_id.clone(),
                ..proxy::refused(wish.target.host(), wish.target.port(), why.clone())
            });
            No { status, why }
        };
        let forbidden = |why| refuse(StatusCode::FORBIDDEN, why);
        self.gate.admit(wish).await.map_err(forbidden)?;
        let mut via = self.way(&wish.target);
        let connected = match via.take_if(|way| tunnel || way.is_socks()) {
            Some(way) => way.tunnel(&wish.target).await,
            None => match &via {
                Some(way) => way.dial().await,
                None => {
                    let addresses = self.addresses(&wish.target).await.map_err(forbidden)?;
                    let connected = address::connect(&wish.target, &addresses).await;
                    connected.map(|(stream, at)| (Either::Left(stream), at))
                }
            },
        };
        let (stream, at) = connected.map_err(|why| refuse(StatusCode::BAD_GATEWAY, why))?;
        Ok(Reached { stream, at, via })
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, String> {
        match self.settings.pins.get(target) {
            Some(at) => Ok(vec![*at]),
            None => address::look_up(target).await,
        }
    }

    /// The program behind a connection from inside; empty where it could not be found out.
    pub(super) async fn program_of(&self, peer: SocketAddr) -> String {
        let Some(init) = self.init() else {
            return String::new();
        };
        let look = move || owner::program(init, peer.port(), PROXY_PORT);
        let found = tokio::task::spawn_blocking(look).await.ok().flatten();
        found.map(|(name, _)| name).unwrap_or_default()
    }

    /// Who listens inside.
    pub async fn listening(&self) -> Vec<Listening> {
        let Some(init) = self.init() else {
            return Vec::new();
        };
        let found = tokio::task::spawn_blocking(move || owner::listening(init)).await;
        let mut found = found.unwrap_or_default();
        // Ours are no programs of the session.
        let hosts = lock(&self.hosts);
        found.retain(|one| one.port != PROXY_PORT && !hosts.contains_key(&one.port));
        found
    }

    /// True when programs of this jail tried another way out than the proxy since the last look.
    pub fn strayed(&self) -> bool {
        let jail = lock(&self.jail);
        let Some(jail) = jail.as_ref().filter(|jail| !jail.gone.is_cancelled()) else {
            return false;
        };
        let Some(tries) = jail.init.and_then(owner::strays) else {
            return false;
        };
        tries > jail.strays.swap(tries, Ordering::Relaxed)
    }

    /// Opens a port of the jail on this machine's loopback; the port it got here.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn forward(self: &Arc<Self>, port: u16, local: u16) -> io::Result<u16> {
        let here = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = match local {
            0 => match here(port).await {
                Ok(listener) => listener,
                Err(_) => here(0).await?,
            },
            local => here(local).await?,
        };
        let local = listener.local_addr()?.port();
        let open = CancellationToken::new();
        if let Some((_, before)) = lock(&self.forwards).insert(port, (local, open.clone())) {
            before.cancel();
        }
        let me = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = open.cancelled() => return,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(_) => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            continue;
                        }
                    },
                };
                let Some(me) = me.upgrade() else { return };
                let open = open.clone();
                tokio::spawn(async move {
                    // Nobody listens inside: the connection ends, as it would at a closed port.
                    let Ok(inner) = me.dial(port).await else { return };
                    let counts = Counts::default();
                    tokio::select! {
                        _either = relay(stream, Either::Left(inner), &[], &counts) => {}
                        () = open.cancelled() => {}
                    }
                });
            }
        });
        Ok(local)
    }

    /// Closes a port that was opened by [`Network::forward`] as this one here. False when it is not open.
    pub fn close_forward(&self, port: u16, local: u16) -> bool {
        let mut forwards = lock(&self.forwards);
        if forwards.get(&port).is_none_or(|(here, _)| *here != local) {
            return false;
        }
        forwards
            .remove(&port)
            .inspect(|(_, open)| open.cancel())
            .is_some()
    }

    /// Makes a service of this machine reachable inside, now and in later jails.
    ///
    /// # Errors
    /// When something inside has the port. Without a jail there is none.
    pub async fn open_host(self: &Arc<Self>, port: u16) -> io::Result<()> {
        lock(&self.hosts).entry(port).or_default();
        if self.init().is_none() {
            return Ok(());
        }
        let made = self.listen_inside(port).await;
        if made.is_err() {
            lock(&self.hosts).remove(&port);
        }
        made
    }

    /// Ends what [`Network::open_host`] began. False when it was not open.
    pub async fn close_host(&self, port: u16) -> bool {
        let door = lock(&self.hosts).remove(&port);
        let link = lock(&self.jail).as_ref().map(|jail| jail.link.clone());
        let was_open = door.inspect(CancellationToken::cancel).is_some();
        if let (true, Some(link)) = (was_open, link) {
            // A jail that is gone listens nowhere.
            let _gone = link.send(&ToJail::Unlisten { port }, &[]).await;
        }
        was_open
    }

    /// The open doors: ports of the jail with their ports here, ports of this machine.
    pub fn doors(&self) -> (Vec<(u16, u16)>, Vec<u16>) {
        let forwards = lock(&self.forwards)
            .iter()
            .map(|(port, (local, _))| (*port, *local))
            .collect();
        (forwards, lock(&self.hosts).keys().copied().collect())
    }

    async fn to_this_machine(&self, inner: TcpStream, peer: SocketAddr, port: u16, open: CancellationToken) {
        let program = {
            let init = self.init();
            let look = move || init.and_then(|init| owner::program(init, peer.port(), port));
            let found = tokio::task::spawn_blocking(look).await.ok().flatten();
            found.map(|(name, _)| name).unwrap_or_default()
        };
        let exec_id = self.gate.current();
        let target = Target::this_machine(port);
        let here: [SocketAddr; 2] = [
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ];
        let entry = |refusal: String| Connection {
            program: program.clone(),
            exec_id: exec_id.clone(),
            ..proxy::refused(target.host(), port, refusal)
        };
        let (outer, at) = match address::connect(&target, &here).await {
            Ok(reached) => reached,
            Err(why) => return self.gate.record(entry(why)),
        };
        let counts = Counts::default();
        let gone = self.until_gone();
        tokio::select! {
            _either = relay(inner, Either::Left(outer), &[], &counts) => {}
            () = open.cancelled() => {}
            () = gone.cancelled() => {}
        }
        self.gate.record(Connection {
            address: at.ip().to_string(),
            sent_bytes: counts.sent.load(Ordering::Relaxed),
            received_bytes: counts.received.load(Ordering::Relaxed),
            ..entry(String::new())
        });
    }

    /// A connection to what listens on a port of the jail's loopback.
    async fn dial(&self, port: u16) -> io::Result<TcpStream> {
        let mut last = io::ErrorKind::NotConnected.into();
        for (v6, at) in [
            (false, SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            (true, SocketAddr::from((Ipv6Addr::LOCALHOST, port))),
        ] {
            let dial = self.dials.fetch_add(1, Ordering::Relaxed);
            let socket = self.ask(Wanted::Dial(dial), &ToJail::Dial { dial, v6 }).await?;
            // It stays a socket of the jail's network wherever it is connected from.
            let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
            match socket.connect(at).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, wanted: Wanted, frame: &ToJail) -> io::Result<OwnedFd> {
        let (link, waiting) = match &*lock(&self.jail) {
            Some(jail) if !jail.gone.is_cancelled() => (jail.link.clone(), jail.waiting.clone()),
            _ => return Err(io::Error::other("the session has no jail at this moment")),
        };
        let (tell, told) = oneshot::channel();
        lock(&waiting).insert(wanted, tell);
        link.send(frame, &[]).await?;
        match tokio::time::timeout(SOCKET, told).await {
            Ok(Ok(made)) => made,
            Ok(Err(_)) => Err(io::Error::other("the jail has ended")),
            Err(_) => {
                lock(&waiting).remove(&wanted);
                Err(io::Error::other(
                    "the jail's PID 1 makes no sockets: it is of an earlier release",
                ))
            }
        }
    }

    /// Cancelled when the jail of this moment is gone.
    pub(super) fn until_gone(&self) -> CancellationToken {
        match &*lock(&self.jail) {
            Some(jail) => jail.gone.clone(),
            None => CancellationToken::new(),
        }
    }

    fn init(&self) -> Option<u32> {
        let jail = lock(&self.jail);
        jail.as_ref().filter(|jail| !jail.gone.is_cancelled())?.init
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (_, open) in lock(&self.forwards).values() {
            open.cancel();
        }
    }
}

/// Gives what the jail hands over to whoever asked for it; the end of the jail to all.
async fn take_over(mut handed: mpsc::UnboundedReceiver<Handed>, waiting: Waiting, gone: CancellationToken) {
    while let Some(Handed { frame, fd }) = handed.recv().await {
        let (wanted, errno) = match frame {
            FromJail::Listening { port, errno } => (Wanted::Listener(port), errno),
            FromJail::Dialled { dial, errno } => (Wanted::Dial(dial), errno),
            _ => continue,
        };
        let made = fd.ok_or_else(|| match i32::try_from(errno) {
            Ok(errno) if errno > 0 => io::Error::from_raw_os_error(errno),
            _ => io::Error::other("the jail handed nothing over"),
        });
        if let Some(tell) = lock(&waiting).remove(&wanted) {
            // Whoever asked went away.
            let _unheard = tell.send(made);
        }
    }
    gone.cancel();
    lock(&waiting).clear();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values are whole after any panic elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
