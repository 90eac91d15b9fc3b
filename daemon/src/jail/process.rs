//! Owns: the life of Jails as processes: started, found again after a daemon's end, ended.
//! Guarantees: a Jail survives the daemon, killed or not; `end` leaves no process, no runtime directory and no mount point;
//! a Jail that did not come up says why in bwrap's own words.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agent_jinit::names;
use agent_jinit::wire::{FromJail, OLDEST, ToJail, VERSION};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::alive::{self, is, kill, start_time};
use super::cgroup::{self, Counted, Group};
use super::limits::counts_processes;
use super::link::{self, Link, MAX_SOCKET_PATH};
use super::mounts::{MountJournal, MountPoints};
use super::network::Network;
use super::plan::{self, EXCHANGE, HostFacts, Inputs, JINIT};
use super::runtime::{end_unrecorded, private_dir};
use super::scope::{self, Scopes};
use super::sight::Sight;
use super::spec::JailSpec;
use super::{JailError, etc, guard, layers, probe, seccomp, secrets};
use crate::domain::id::SessionId;
use crate::domain::workspace::{JailKind, Layout};
use crate::durable::Point;

/// How long a Jail may take to come up on a loaded machine.
pub(super) const START: Duration = Duration::from_secs(20);
/// How long processes may take to be gone after their PID 1 was told, and after it was killed.
const END: Duration = Duration::from_millis(1000);

/// Where a JailHost keeps its things and finds its programs.
#[derive(Debug, Clone)]
pub struct JailHostConfig {
    /// Private (0700) and short: control sockets and exchange directories.
    pub runtime_dir: PathBuf,
    /// Spool files, below `spool/`.
    pub state_dir: PathBuf,
    /// The `agent-jinit` binary.
    pub jinit: PathBuf,
    /// Where a service manager takes each Jail into a scope of its own.
    pub scopes: Option<Scopes>,
}

/// What the next daemon needs to know about a Jail.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    session: SessionId,
    workspace: PathBuf,
    kind: JailKind,
    policy_generation: u64,
    /// bwrap, or jinit itself without a jail; with its start time, since numbers are used again.
    pid: u32,
    started: u64,
}

/// Makes, finds and ends Jails.
pub struct JailHost {
    config: JailHostConfig,
    points: MountPoints,
    live: Mutex<HashMap<SessionId, Record>>,
    networks: Mutex<HashMap<SessionId, Weak<Network>>>,
}

impl std::fmt::Debug for JailHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JailHost")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A live Jail, connected.
#[derive(Debug)]
pub struct Jail {
    session: SessionId,
    exchange: PathBuf,
    inside: PathBuf,
    policy_generation: u64,
    link: Link,
    watch: guard::GitWatch,
    group: Option<Group>,
    /// The frames of jinit, from the first after `Hello`.
    pub(crate) frames: mpsc::UnboundedReceiver<FromJail>,
    /// Whether the long-lived shell is up.
    pub(crate) has_shell: bool,
    /// The protocol its jinit speaks.
    version: u16,
}

impl Jail {
    /// Whose it is.
    pub fn session(&self) -> &SessionId {
        &self.session
    }
    /// Whether its jinit answers writes, tells what waits, and lists jobs; one of the first release does not.
    pub(crate) fn answers(&self) -> bool {
        self.version >= 2
    }
    /// The exchange directory on the host.
    pub fn exchange(&self) -> &Path {
        &self.exchange
    }
    /// The same directory as seen from inside.
    pub fn inside(&self) -> &Path {
        &self.inside
    }
    /// The policy it was made from.
    pub fn policy_generation(&self) -> u64 {
        self.policy_generation
    }
    /// What happened to git repositories since it was last asked, if a person should know.
    pub(crate) fn look_at_git(&mut self) -> Option<String> {
        self.watch.look()
    }
    /// What the kernel counted against its bounds since it was last asked.
    pub(crate) fn counted(&mut self) -> Counted {
        self.group.as_mut().map(Group::counted).unwrap_or_default()
    }
    pub(crate) async fn send(&self, frame: &ToJail, fds: &[BorrowedFd<'_>]) -> Result<(), JailError> {
        self.link.send(frame, fds).await.map_err(|_| JailError::Gone)
    }
}

impl JailHost {
    /// A host over these directories; finds the Jails that live and clears away what dead ones left.
    ///
    /// # Errors
    /// When the directories can't be made.
    pub fn new(config: JailHostConfig, journal: Arc<dyn MountJournal>) -> Result<Arc<Self>, JailError> {
        for dir in [&config.runtime_dir, &config.state_dir.join("spool")] {
            private_dir(dir).map_err(JailError::io(format!("making {}", dir.display())))?;
        }
        let host = Arc::new(Self {
            config,
            points: MountPoints::new(journal),
            live: Mutex::default(),
            networks: Mutex::default(),
        });
        host.find_live();
        host.points.sweep();
        Ok(host)
    }

    /// The sessions with a live Jail.
    pub fn live(&self) -> Vec<SessionId> {
        self.records().keys().cloned().collect()
    }

    /// Mount points of ours in a workspace: for `choose_layout`.
    pub fn ours(&self, workspace: &Path) -> Vec<PathBuf> {
        self.points.ours(workspace)
    }

    /// Where the spool files of a session are.
    pub fn spool_dir(&self, session: &SessionId) -> PathBuf {
        self.config.state_dir.join("spool").join(session.as_str())
    }

    /// The network of a session, told of its Jails from here on.
    pub fn attach(&self, session: &SessionId, network: &Arc<Network>) {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        networks.retain(|_, network| network.strong_count() > 0);
        networks.insert(session.clone(), Arc::downgrade(network));
    }

    fn network(&self, session: &SessionId) -> Option<Arc<Network>> {
        let networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        networks.get(session)?.upgrade()
    }

    /// Starts a Jail. The long-lived shell inside is not started yet.
    ///
    /// # Errors
    /// The cause, with its fix where there is one.
    pub async fn start(&self, spec: &JailSpec) -> Result<Jail, JailError> {
        let bwrap = match spec.kind {
            JailKind::Bwrap => {
                let checked = tokio::task::spawn_blocking(probe::ensure_jail_possible).await;
                Some(checked.map_err(|e| JailError::Start(e.to_string()))??)
            }
            JailKind::Outer => None,
        };
        // What a dead Jail left; or a live one that could not be adopted, since it speaks a protocol we do not know: two
        // Jails of one session would work against each other.
        self.end(&spec.session).await?;
        let dir = self.dir(&spec.session);
        let socket = dir.join("ctl");
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(JailError::SocketPath(socket));
        }
        let scopes = self.config.scopes.as_ref();
        let mut result = self.bring_up(spec, bwrap.as_deref(), &dir, scopes).await;
        if scopes.is_some()
            && let Err(JailError::Start(said)) = &result
            && scope::was_refused(said)
        {
            tracing::warn!(session = %spec.session, said, "the service manager took no scope; the jail is a plain session");
            self.clear(&spec.session);
            result = self.bring_up(spec, bwrap.as_deref(), &dir, None).await;
        }
        if result.is_err() {
            let _already = self.end(&spec.session).await;
            self.points.release(&spec.workspace.root, &spec.session);
            self.clear(&spec.session);
        }
        result
    }

    async fn bring_up(
        &self,
        spec: &JailSpec,
        bwrap: Option<&Path>,
        dir: &Path,
        scopes: Option<&Scopes>,
    ) -> Result<Jail, JailError> {
        let io = |what: &str| JailError::io(format!("{what} in {}", dir.display()));
        let exchange = dir.join("j");
        private_dir(dir)
            .and_then(|()| private_dir(&exchange))
            .map_err(io("making the exchange directory"))?;
        private_dir(&self.spool_dir(&spec.session)).map_err(io("making the spool directory"))?;
        make_fifo(&exchange.join(names::REPORT)).map_err(io("making a FIFO"))?;
        let listener = link::listen(&dir.join("ctl")).map_err(io("making the control socket"))?;
        let boot_log = std::fs::File::create(dir.join("boot.log")).map_err(io("making the boot log"))?;
        let sight = Sight::of(spec, &self.points.ours(&spec.workspace.root));
        let (args, filters) = self.arguments(spec, &sight, bwrap, dir, &exchange)?;
        let filter_file = filter_file(filters).map_err(io("writing the filters"))?;
        let jinit = &self.config.jinit;
        let properties = cgroup::properties(&spec.limits);
        let mut command = match scopes.map(|s| s.command(&spec.session, jinit, &args, dir, &properties)) {
            Some(Ok(command)) => command,
            refused => {
                if let Some(Err(error)) = refused {
                    tracing::warn!(%error, "the jail is a plain session, not a scope");
                }
                let mut command = tokio::process::Command::new(jinit);
                command.args(args).env_clear().current_dir("/");
                command
            }
        };
        command.kill_on_drop(false);
        if spec.kind == JailKind::Outer {
            command.envs(spec.environment(&sight));
        }
        command
            .stdin(Stdio::from(filter_file))
            .stdout(Stdio::from(listener))
            .stderr(Stdio::from(boot_log));
        let mut child = command
            .spawn()
            .map_err(JailError::io(format!("starting {}", self.config.jinit.display())))?;
        let pid = child.id().unwrap_or(0);
        let record = Record {
            session: spec.session.clone(),
            workspace: spec.workspace.root.clone(),
            kind: spec.kind,
            policy_generation: spec.policy.generation,
            pid,
            started: start_time(pid).unwrap_or(0),
        };
        let text = serde_json::to_vec(&record).map_err(|e| JailError::Start(e.to_string()))?;
        // Whole or not at all: a jail with half a record would be taken for one that never came up.
        let draft = dir.join("jail.json.new");
        std::fs::write(&draft, text)
            .and_then(|()| Point::JailRecord.through(|| std::fs::rename(&draft, dir.join("jail.json"))))
            .map_err(io("recording the jail"))?;
        self.records().insert(spec.session.clone(), record);
        let jail = tokio::select! {
            jail = tokio::time::timeout(START, self.connect(&spec.session)) => jail.unwrap_or(Err(JailError::Gone)),
            _ = child.wait() => Err(JailError::Gone),
        };
        match &jail {
            Ok(Jail {
                group: Some(group), ..
            }) => group.bound(&spec.limits),
            Ok(_) if bwrap.is_some() => {
                for (init, _) in alive::children(pid) {
                    cgroup::bound_roots(&spec.session, init, &spec.limits);
                }
            }
            _ => {}
        }
        jail.map_err(|error| {
            let said = std::fs::read_to_string(dir.join("boot.log")).unwrap_or_default();
            let said = said.trim();
            if said.is_empty() {
                JailError::Start(error.to_string())
            } else {
                JailError::Start(said.to_owned())
            }
        })
    }

    /// The arguments of `agent-jinit launch`, and the filters they speak of.
    fn arguments(
        &self,
        spec: &JailSpec,
        sight: &Sight,
        bwrap: Option<&Path>,
        dir: &Path,
        exchange: &Path,
    ) -> Result<(Vec<OsString>, &'static [Vec<u8>]), JailError> {
        let inside: &Path = if bwrap.is_some() {
            Path::new(EXCHANGE)
        } else {
            exchange
        };
        let myself: &Path = if bwrap.is_some() {
            Path::new(JINIT)
        } else {
            &self.config.jinit
        };
        let grouped = self.config.scopes.is_some();
        let counted = grouped || (counts_processes() && !rustix::process::getuid().is_root());
        let (program, dialect) = plan::shell_program(spec.shell);
        let cwd = spec.workspace.jail_path(&spec.workspace.start_dir);
        let mut serve: Vec<OsString> = vec![myself.into(), "serve".into()];
        let mut option = |name: &str, value: OsString| serve.extend([name.into(), value]);
        option("--dir", inside.into());
        option("--program", program.into());
        option("--dialect", dialect.into());
        option("--cwd", cwd.into());
        option("--self", myself.into());
        option("--nofile", spec.limits.nofile.to_string().into());
        for (name, limit) in [
            ("--fsize", spec.limits.fsize),
            ("--nproc", spec.limits.nproc.filter(|_| counts_processes())),
            ("--data", spec.limits.data),
            ("--umask", spec.limits.umask.map(u64::from)),
            ("--nice", spec.limits.nice().filter(|_| !grouped).map(u64::from)),
            ("--memory", spec.limits.memory.filter(|_| !grouped)),
            ("--processes", spec.limits.nproc.filter(|_| !counted)),
            ("--tmp-files", spec.limits.tmp_files),
            ("--disk-floor", spec.limits.disk_floor),
            ("--disk-growth", spec.limits.disk_growth),
        ] {
            if let Some(limit) = limit {
                option(name, limit.to_string().into());
            }
        }
        option("--disk", spec.workspace.jail_root().into());
        let Some(bwrap) = bwrap else {
            serve.push("--outer".into());
            return Ok((
                [vec!["launch".into(), "-".into(), "--".into()], serve].concat(),
                &[],
            ));
        };
        let root = &spec.workspace.root;
        let root_layout = spec.workspace.layout == Layout::Root;
        let mut own_lib = false;
        let mut hidden = Vec::new();
        if root_layout {
            let points = plan::mount_points(root, &self.points.ours(root), &sight.tops);
            own_lib = !points.iter().any(|p| p == Path::new("lib"));
            let made = self.points.acquire(root, &points, &spec.session);
            made.map_err(JailError::io(format!(
                "making mount points in {}",
                root.display()
            )))?;
            hidden = points;
        }
        let beside = sight.added.iter().filter(|dir| dir.writable);
        let guard = guard::git_guard(root).with_beside(beside.map(|dir| dir.path.as_path()));
        let made = self.points.acquire_missing(root, &guard.missing, &spec.session);
        made.map_err(JailError::io(format!("protecting git in {}", root.display())))?;
        if let Some(cache) = &spec.cache_dir {
            private_dir(cache).map_err(JailError::io(format!("making {}", cache.display())))?;
            for layer in &sight.toolchains.layers {
                if let Err(error) = layers::fill(layer, cache) {
                    tracing::warn!(%error, cache = ?layer.cache, at = %cache.display(), "a cache begins without the person's own");
                }
            }
        }
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        let etc_dir = dir.join("etc");
        let shown = etc::write(&etc_dir, uid, gid, &hidden, spec)
            .map_err(JailError::io("writing the jail's /etc"))?;
        let mask = dir.join("masked");
        std::fs::write(&mask, "").map_err(JailError::io("writing the mask"))?;
        let filters = seccomp::filters().map_err(JailError::Start)?;
        let masked = secrets::secret_files(root, &spec.masked);
        let inputs = Inputs {
            spec,
            masked: &masked,
            facts: &HostFacts::gather(),
            sight,
            mask: &mask,
            guard: &guard,
            etc: (&etc_dir, &shown),
            exchange,
            jinit: &self.config.jinit,
            filters: filters.len(),
            own_lib,
            uid,
            gid,
        };
        let lengths: Vec<String> = filters.iter().map(|f| f.len().to_string()).collect();
        let mut args: Vec<OsString> = vec![
            "launch".into(),
            lengths.join(",").into(),
            "--".into(),
            bwrap.into(),
        ];
        args.extend(plan::enclosure(&inputs, serve).argv());
        Ok((args, filters))
    }

    /// Connects to a session's live Jail, as after a restart of the daemon. None when there is none.
    pub async fn adopt(&self, session: &SessionId) -> Option<Jail> {
        if !self.records().contains_key(session) {
            return None;
        }
        tokio::time::timeout(START, self.connect(session))
            .await
            .ok()?
            .ok()
    }

    async fn connect(&self, session: &SessionId) -> Result<Jail, JailError> {
        let dir = self.dir(session);
        let record = self.records().get(session).cloned().ok_or(JailError::Gone)?;
        let (link, (mut frames, handed)) = Link::connect(&dir.join("ctl")).map_err(|_| JailError::Gone)?;
        let first = frames.recv().await;
        let _passing = first.as_ref().map(|frame| link::hearing_of(frame).pass());
        match first {
            Some(FromJail::Hello { version, shell, .. }) if (OLDEST..=VERSION).contains(&version) => {
                if let Some(network) = self.network(session).filter(|_| record.kind == JailKind::Bwrap) {
                    let init = init_of(&record).first().map(|(pid, _)| *pid);
                    network.connected(link.clone(), handed, version, init).await;
                }
                let exchange = dir.join("j");
                let inside = match record.kind {
                    JailKind::Bwrap => PathBuf::from(EXCHANGE),
                    JailKind::Outer => exchange.clone(),
                };
                Ok(Jail {
                    watch: guard::GitWatch::new(&record.workspace),
                    group: group_of(&record),
                    session: session.clone(),
                    exchange,
                    inside,
                    policy_generation: record.policy_generation,
                    link,
                    frames,
                    has_shell: shell != 0,
                    version,
                })
            }
            Some(_) => Err(JailError::Start(
                "its PID 1 speaks another version of the protocol".to_owned(),
            )),
            None => Err(JailError::Gone),
        }
    }

    /// Ends a session's Jail: every process gone, nothing of ours left. Without one it only clears.
    ///
    /// # Errors
    /// When a process would not go.
    pub async fn end(&self, session: &SessionId) -> Result<(), JailError> {
        let record = self.records().get(session).cloned();
        if let Some(record) = record {
            if alive(&record) {
                let inits = init_of(&record);
                // Held until it is gone: closing with its Hello unread would make a reset overtake the End.
                let link = Link::connect(&self.dir(session).join("ctl"));
                if let Ok((link, _)) = &link {
                    let _dying = link.send(&ToJail::End, &[]).await;
                }
                if !gone_within(&record, &inits, END).await {
                    let grouped = group_of(&record).is_some_and(|group| group.kill());
                    for (pid, _) in inits.iter().filter(|_| !grouped) {
                        kill(*pid);
                    }
                    kill(record.pid);
                    if !gone_within(&record, &inits, END).await {
                        return Err(JailError::Start("its processes could not be ended".to_owned()));
                    }
                }
            }
            self.records().remove(session);
            self.points.release(&record.workspace, session);
        }
        self.clear(session);
        Ok(())
    }

    /// Clears what a Jail that died by itself has left. One that lives is left alone: then another daemon has taken over.
    pub(crate) async fn bury(&self, session: &SessionId) {
        let Some(record) = self.records().get(session).cloned() else {
            return;
        };
        // bwrap goes a moment after PID 1, whose end we were told of.
        if gone_within(&record, &[], END).await {
            let _cleared = self.end(session).await;
        }
    }

    fn records(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Record>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, session: &SessionId) -> PathBuf {
        self.config.runtime_dir.join(session.as_str())
    }

    fn clear(&self, session: &SessionId) {
        let dir = self.dir(session);
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "a jail's runtime directory could not be removed");
        }
        cgroup::remove(Path::new(cgroup::ROOT), session.as_str());
    }

    fn find_live(&self) {
        let Ok(entries) = std::fs::read_dir(&self.config.runtime_dir) else {
            return;
        };
        for entry in entries.flatten() {
            let text = std::fs::read(entry.path().join("jail.json")).unwrap_or_default();
            let Ok(record) = serde_json::from_slice::<Record>(&text) else {
                end_unrecorded(&entry.path());
                continue;
            };
            if self.dir(&record.session) != entry.path() {
                continue;
            }
            if alive(&record) {
                // Counts it as a user; the mount points are there already.
                let _nothing_made = self.points.acquire(&record.workspace, &[], &record.session);
                self.records().insert(record.session.clone(), record);
            } else {
                self.clear(&record.session);
            }
        }
    }
}

/// Makes a FIFO.
pub(crate) fn make_fifo(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, Mode};
    Ok(rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?)
}

fn filter_file(filters: &[Vec<u8>]) -> std::io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("filters", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    for filter in filters {
        file.write_all(filter)?;
    }
    std::io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

fn alive(record: &Record) -> bool {
    is(record.pid, record.started)
}

/// PID 1 of the Jail as the host numbers it: the child of bwrap.
fn init_of(record: &Record) -> Vec<(u32, u64)> {
    alive::children(record.pid)
}

/// The control group that a Jail has for itself.
fn group_of(record: &Record) -> Option<Group> {
    let line = std::fs::read_to_string(format!("/proc/{}/cgroup", record.pid)).unwrap_or_default();
    Group::of(&line, Path::new(cgroup::ROOT)).filter(Group::is_ours)
}

async fn gone_within(record: &Record, inits: &[(u32, u64)], limit: Duration) -> bool {
    let all = [inits, &[(record.pid, record.started)]].concat();
    tokio::time::timeout(limit, alive::gone(&all)).await.is_ok()
}
