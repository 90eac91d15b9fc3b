//! Owns: the composition root: `Config` becomes a `Daemon` (wired, recovered, not listening), then `Running`.
//! Guarantees: nothing is served before the log was recovered; the socket goes only after the store is closed.

mod desk;
mod host;
mod tasks;
mod wiring;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;

use crate::accounts::{Accounts, AccountsError};
use crate::api::{self, DaemonApi};
use crate::board::Boards;
use crate::clock::now_us;
use crate::config::Config;
use crate::instance::{Holder, InstanceError, InstanceLock};
use crate::jail::{JailError, Scopes};
use crate::ledger::Ledger;
use crate::listener::{self, ListenerError, SocketGuard};
use crate::paths::{Env, Paths, PathsError};
use crate::service::Notifier;
use crate::session::Fault;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::supervisor::Supervisor;
use crate::survival::Surroundings;

pub use wiring::{find_jinit, redactor_of};

/// How long open requests may take to notice the end.
const DRAIN: Duration = Duration::from_secs(2);
/// How long turns may take to come to a safe point.
const REST: Duration = Duration::from_secs(5);

/// Why a daemon could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Its places can't be used.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// Another one runs, or the lock can't be taken.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// Its store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its jails' directories can't be made.
    #[error(transparent)]
    Jail(#[from] JailError),
    /// Its socket can't be made.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// A session could not be brought back.
    #[error(transparent)]
    Recovery(#[from] Fault),
    /// `agent-jinit` is not installed beside agentd.
    #[error("agent-jinit was not found; looked in: {}", .0.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))]
    Jinit(Vec<PathBuf>),
    /// The devices can't be read.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The ledger's settings are no good.
    #[error("ledger.time_zone: {0}")]
    Ledger(String),
    /// Credentials can't be read.
    #[error(transparent)]
    Credentials(#[from] crate::credentials::CredentialsError),
}

/// Wired and recovered, not listening.
pub struct Daemon {
    supervisor: Supervisor,
    store: Store,
    boards: Boards,
    accounts: Accounts,
    ledger: Ledger,
    host: Arc<host::Host>,
    shutdown: Shutdown,
    lock: InstanceLock,
    paths: Paths,
    notifier: Notifier,
}

/// Serving.
pub struct Running {
    supervisor: Supervisor,
    store: Store,
    shutdown: Shutdown,
    server: tokio::task::JoinHandle<Result<(), Box<dyn std::error::Error + Send + Sync>>>,
    socket: Option<SocketGuard>,
    notifier: Notifier,
    // Released last: while it is held, no other daemon touches the database.
    _lock: InstanceLock,
}

impl Daemon {
    /// Takes the lock, opens the store, wires the parts, and brings back what was open.
    pub async fn begin(
        paths: Paths,
        config: Config,
        env: &Env,
        shutdown: Shutdown,
    ) -> Result<Self, BeginError> {
        paths.prepare()?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let holder = Holder {
            pid: std::process::id(),
            socket: paths.socket.clone(),
            version,
        };
        let notifier = Notifier::from_env(env);
        let lock = InstanceLock::acquire(&paths.lock_file, &holder)?;
        let credentials = crate::credentials::Credentials::open(&paths.credentials_file)?;
        let accounts = Accounts::open(&paths.state_dir.join("devices.json"))?;
        let redactor = redactor_of(&config, &credentials, env);
        let store = Store::open(&paths.database, redactor.clone())?;
        let mut around = Surroundings::look(env, &paths.runtime_dir, notifier.is_supervised());
        let scopes = match around.wants_scopes().and_then(|()| Scopes::find(env)) {
            Ok(scopes) => Some(scopes),
            Err(why) => {
                around.no_scopes = Some(why);
                None
            }
        };
        let ledger = wiring::ledger(&config, &store)?;
        let boards = Boards::new(store.clone(), wiring::boards(&config));
        let late = desk::Late::default();
        let desks = desk::desks(boards.clone(), late.clone());
        let settings = wiring::settings(
            &paths,
            &config,
            &credentials,
            env,
            &store,
            ledger.clone(),
            scopes,
            desks,
        )
        .await?;
        let supervisor = Supervisor::new(store.clone(), settings.clone(), wiring::defaults(&config, &paths));
        // Before any session is brought back: their models may ask for the board at once.
        let _first = late.set(supervisor.clone());
        let recovered = supervisor.recover().await?;
        store.forget_old_requests(now_us()).await?;
        ledger.keep();
        tracing::info!(
            database = %paths.database.display(),
            recovered,
            "agentd {} is ready",
            env!("CARGO_PKG_VERSION")
        );
        let host = Arc::new(host::Host::new(
            &paths,
            &config,
            credentials,
            settings,
            redactor,
            env,
            shutdown.clone(),
            around,
        ));
        tokio::spawn(boards.clone().watch(shutdown.token().clone()));
        tokio::spawn(tasks::follow(
            supervisor.clone(),
            boards.clone(),
            shutdown.token().clone(),
        ));
        Ok(Self {
            supervisor,
            store,
            boards,
            accounts,
            ledger,
            host,
            shutdown,
            lock,
            paths,
            notifier,
        })
    }

    /// Binds the socket (or takes systemd's) and serves.
    pub async fn listen(mut self) -> Result<Running, BeginError> {
        let bound = match listener::from_systemd()? {
            Some(bound) => bound,
            None => listener::bind(&self.paths.socket, &self.lock)?,
        };
        if bound.path != self.paths.socket {
            tracing::warn!(configured = %self.paths.socket.display(), "listening elsewhere: systemd chose the socket");
        }
        let holder = Holder {
            pid: std::process::id(),
            socket: bound.path.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        if let Err(error) = self.lock.write(&holder) {
            tracing::warn!(%error, "the lock file could not be brought up to date");
        }
        self.host.listening_on(&bound.path);
        tracing::info!(socket = %bound.path.display(), pid = std::process::id(), "listening");
        let server = self.serve(bound.listener);
        self.notifier.ready(&bound.path.display().to_string());
        // Ends with the runtime: a daemon that comes to its end slowly still lives.
        tokio::spawn(self.notifier.clone().keep_alive({
            let (store, supervisor) = (self.store.clone(), self.supervisor.clone());
            move || {
                let (store, supervisor) = (store.clone(), supervisor.clone());
                async move {
                    supervisor.pulse().await;
                    store.pulse().await
                }
            }
        }));
        Ok(Running {
            supervisor: self.supervisor,
            store: self.store,
            shutdown: self.shutdown,
            server,
            socket: bound.guard,
            notifier: self.notifier,
            _lock: self.lock,
        })
    }

    fn serve(
        &self,
        listener: UnixListener,
    ) -> tokio::task::JoinHandle<Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        let token = self.shutdown.token().clone();
        let (house, stop) = (self.supervisor.clone(), token.clone());
        tokio::spawn(async move { house.keep_house(stop.cancelled()).await });
        let api = DaemonApi::new(self.supervisor.clone(), self.host.clone());
        let supervisor = self.supervisor.clone();
        let boards = self.boards.clone();
        let (accounts, ledger) = (self.accounts.clone(), self.ledger.clone());
        tokio::spawn(async move {
            api::serve(listener, supervisor, boards, api, accounts, ledger, async move {
                token.cancelled().await
            })
            .await
        })
    }
}

impl Running {
    /// Serves until the shutdown begins, then ends in order: no new work, turns to a safe point, facts written,
    /// store closed, socket gone.
    pub async fn run(mut self) {
        let reason = tokio::select! {
            // The server ends because of the switch, and may be done first: that is no fault, and its reason says
            // whether the jails go too.
            biased;
            reason = self.shutdown.begun() => reason,
            ended = &mut self.server => {
                tracing::error!(?ended, "the server ended by itself");
                self.shutdown.begin(crate::shutdown::Reason::Fault);
                crate::shutdown::Reason::Fault
            }
        };
        self.notifier.stopping(REST + DRAIN + DRAIN);
        if tokio::time::timeout(REST, self.supervisor.shut_down(reason.keeps_jails()))
            .await
            .is_err()
        {
            tracing::warn!("some turns did not come to rest in time; the next start closes them");
        }
        // Watches never end by themselves: those that did not notice are cut.
        if !self.server.is_finished() && tokio::time::timeout(DRAIN, &mut self.server).await.is_err() {
            self.server.abort();
        }
        self.store.close().await;
        drop(self.socket.take());
        tracing::info!("agentd is down");
    }
}
