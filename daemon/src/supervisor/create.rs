//! Owns: making sessions: the wish, what it becomes, and its name.
//! Guarantees: nothing is made on refusal; two callers with one wish get one session.

use std::path::{Path, PathBuf};

use super::Supervisor;
use super::policies::Orders;
use crate::clock::now_us;
use crate::domain::decide::check_name;
use crate::domain::event::{EventBody, ModelRef, NewEvent, Origin, SessionSpec};
use crate::domain::limits::{AddedDir, Limit, LimitsWish};
use crate::domain::network::NetworkMode;
use crate::domain::principal::Caller;
use crate::domain::redaction::LogLevel;
use crate::domain::rejection::Rejection;
use crate::domain::session::{Session, Summary};
use crate::domain::task::TaskId;
use crate::domain::workspace::{JailKind, Layout, ShellKind, Workspace};
use crate::jail::{self, JailError, LayoutWish};
use crate::session::{Fault, SessionHandle};
use crate::store::{Append, RequestKey, RequestRecord, StoreError};

/// A wish for a session.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Empty: made from the workspace.
    pub name: String,
    /// Absolute host path.
    pub workspace: PathBuf,
    /// Relative to it.
    pub start_dir: PathBuf,
    /// `None`: chosen by origin.
    pub layout: Option<Layout>,
    /// `None`: chosen by origin.
    pub shell: Option<ShellKind>,
    /// `None`: the configured one.
    pub jail: Option<JailKind>,
    /// What it is made for.
    pub origin: Origin,
    /// `provider/name`.
    pub model: Option<String>,
    /// Give back an existing session of the name on the same workspace.
    pub get_or_create: bool,
    /// The task it is made for.
    pub task: Option<TaskId>,
    /// What its programs can reach; `None`: by origin and configuration.
    pub network: Option<NetworkMode>,
    /// Bounds other than the configured ones.
    pub limits: LimitsWish,
    /// Directories beside the workspace.
    pub added_dirs: Vec<AddedDir>,
    /// The maker's PATH; empty: not known.
    pub search_path: String,
    /// `None`: the configured one.
    pub log: Option<LogLevel>,
    /// Name of its persona; empty: the configured one.
    pub persona: String,
    /// Name of a policy in place of the persona's own; empty: that.
    pub policy: String,
}

impl Supervisor {
    /// Makes a session, or finds the one asked for. True when it was made.
    pub async fn create(
        &self,
        caller: &Caller,
        request: Option<RequestKey>,
        wish: NewSession,
    ) -> Result<(SessionHandle, bool), Fault> {
        if let Some(key) = &request
            && let Some(before) = self.0.store.request(&key.request_id).await?
        {
            if !before.matches(key) {
                return Err(Rejection::RequestIdReused(key.request_id.clone()).into());
            }
            return Ok((self.handle(&before.session_id).await?, true));
        }
        let root = jail::check_workspace(&wish.workspace).map_err(refused)?;
        let named = !wish.name.is_empty();
        let mut name = if named { wish.name.clone() } else { name_of(&root) };
        check_name(&name)?;
        if wish.get_or_create
            && let Some(found) = self.named(&name, &caller.principal).await?
        {
            if found.spec.workspace.root == root {
                self.same_wall(&found, wish.jail)?;
                same_bounds(&found, &wish)?;
                return Ok((self.handle(&found.session_id).await?, false));
            }
            if named {
                return Err(taken(&found));
            }
        }
        let orders = self.orders(&wish, &root)?;
        let spec = self.spec(caller, &wish, root, name.clone(), &orders)?;
        // A name that was not asked for steps aside for one that exists: shop, shop-2, shop-3 …
        for attempt in 2..100u32 {
            match self
                .make(
                    caller,
                    request.clone(),
                    SessionSpec {
                        name: name.clone(),
                        ..spec.clone()
                    },
                    &orders,
                )
                .await
            {
                Ok(handle) => return Ok((handle, true)),
                Err(Fault::Store(StoreError::NameTaken(_))) => {
                    let holder = self.named(&name, &caller.principal).await?;
                    let same = holder.filter(|h| h.spec.workspace.root == spec.workspace.root);
                    match same {
                        // Two callers at once: the second one finds what the first one made.
                        Some(found) if wish.get_or_create => {
                            self.same_wall(&found, wish.jail)?;
                            return Ok((self.handle(&found.session_id).await?, false));
                        }
                        _ if named => {
                            let found = self.named(&name, &caller.principal).await?;
                            return Err(found.as_ref().map_or_else(
                                || {
                                    Rejection::NameTaken {
                                        name: name.clone(),
                                        workspace: "another".into(),
                                    }
                                    .into()
                                },
                                taken,
                            ));
                        }
                        _ => name = format!("{}-{attempt}", spec.name),
                    }
                }
                Err(Fault::Store(StoreError::Duplicate(before))) => {
                    if !request.as_ref().is_some_and(|key| before.matches(key)) {
                        return Err(Rejection::RequestIdReused(before.request_id).into());
                    }
                    return Ok((self.handle(&before.session_id).await?, true));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Rejection::NameTaken {
            name: spec.name,
            workspace: "a hundred others".into(),
        }
        .into())
    }

    /// Nobody gets a session without the wall he asked for, and nobody loses one he has by not asking.
    fn same_wall(&self, found: &Summary, asked: Option<JailKind>) -> Result<(), Rejection> {
        let has = found.spec.jail;
        let wanted = asked.unwrap_or(self.0.defaults.jail);
        if has == wanted || (asked.is_none() && has == JailKind::Bwrap) {
            return Ok(());
        }
        let name = found.name.clone();
        Err(match has {
            JailKind::Outer => Rejection::JailDiffers {
                hints: vec![
                    format!("agentctl exec --name {name} --jail outer -- …   (no jail of its own)"),
                    "choose another --name for a jailed session".into(),
                ],
                name,
                is: "has no jail of its own (outer)",
                asked: "a jail (bwrap)",
            },
            JailKind::Bwrap => Rejection::JailDiffers {
                hints: vec![
                    format!("agentctl exec --name {name} -- …   (in its jail)"),
                    "choose another --name for a session without a jail".into(),
                ],
                name,
                is: "is jailed (bwrap)",
                asked: "no jail (outer)",
            },
        })
    }

    /// The shell of a session that is asked for none.
    pub(super) fn shell_of(&self, origin: Origin) -> ShellKind {
        let bash = || {
            ["/bin/bash", "/usr/bin/bash"]
                .iter()
                .any(|at| Path::new(at).exists())
        };
        self.0.defaults.shell.unwrap_or_else(|| match origin {
            Origin::Agent if bash() => ShellKind::Bash,
            _ => ShellKind::Sh,
        })
    }

    fn spec(
        &self,
        caller: &Caller,
        wish: &NewSession,
        root: PathBuf,
        name: String,
        orders: &Orders,
    ) -> Result<SessionSpec, Fault> {
        let defaults = &self.0.defaults;
        let jail = wish.jail.unwrap_or(defaults.jail);
        if jail == JailKind::Bwrap {
            jail::ensure_jail_possible().map_err(unavailable)?;
        }
        orders.persona.check_wall(jail)?;
        let settings = &self.0.settings;
        if let Some(message) = settings.limits.unavailable(&wish.limits, &settings.keeping) {
            let hints = vec!["leave the limit out, or see: agentctl doctor --project".into()];
            return Err(Rejection::LimitUnavailable { message, hints }.into());
        }
        let start_dir = start_dir(&root, &wish.start_dir)?;
        let asked = match (wish.layout, defaults.layout) {
            (Some(layout), _) => LayoutWish::Asked(layout),
            (None, Some(layout)) => LayoutWish::Configured(layout),
            (None, None) if wish.origin == Origin::Agent => LayoutWish::Agent,
            (None, None) => LayoutWish::Open,
        };
        let (layout, layout_reason) = if jail == JailKind::Outer {
            (Layout::Host, "Without a jail, paths are the host's.".to_owned())
        } else {
            let jails = &self.0.settings.jails;
            let ours = jails.ours(&root);
            jail::choose_layout(&root, asked, &|path| ours.iter().any(|o| o == path)).map_err(refused)?
        };
        let shell = wish.shell.unwrap_or_else(|| self.shell_of(wish.origin));
        let model = wish.model.as_ref().or(orders.persona.model.as_ref());
        let model = model.map(|name| self.model_ref(name));
        Ok(SessionSpec {
            name,
            principal: caller.principal.clone(),
            workspace: Workspace {
                root,
                start_dir,
                layout,
                layout_reason,
            },
            shell,
            jail,
            origin: wish.origin,
            model,
            persona: orders.persona.name.clone(),
            policy_generation: 1,
            task: wish.task.clone(),
            network: self.network_of(wish, jail)?,
            limits: wish.limits.clone(),
            added_dirs: added(&wish.added_dirs)?,
            search_path: wish.search_path.clone(),
            log: wish.log.unwrap_or(defaults.log),
        })
    }

    /// What the programs of a new session can reach.
    fn network_of(&self, wish: &NewSession, jail: JailKind) -> Result<NetworkMode, Rejection> {
        let configured = match wish.origin {
            Origin::Agent => self.0.defaults.agent_network,
            Origin::Shell => self.0.defaults.shell_network,
        };
        match (jail, wish.network) {
            (JailKind::Bwrap, asked) => Ok(asked.unwrap_or(configured)),
            (JailKind::Outer, None | Some(NetworkMode::Off)) => Ok(NetworkMode::Off),
            (JailKind::Outer, Some(_)) => Err(Rejection::InvalidArgument(
                "network: without a jail of its own a session has no network of its own".into(),
            )),
        }
    }

    /// The bounds of a session, and who keeps each.
    pub fn limits(&self, session: &Summary) -> Vec<Limit> {
        let settings = &self.0.settings;
        settings.limits.with(&session.spec.limits).kept(&settings.keeping)
    }

    pub(super) fn model_ref(&self, name: &str) -> ModelRef {
        let entry = self.0.settings.models().catalog_entry(name);
        let demo = name == "demo" || name.starts_with("demo/");
        ModelRef {
            name: name.to_owned(),
            demo,
            context_tokens: entry.context_tokens,
        }
    }

    async fn make(
        &self,
        caller: &Caller,
        request: Option<RequestKey>,
        spec: SessionSpec,
        orders: &Orders,
    ) -> Result<SessionHandle, Fault> {
        let store = &self.0.store;
        let session_id = store.free_session_id().await?;
        let now = now_us();
        let bodies = std::iter::once(EventBody::SessionCreated(spec)).chain(orders.events());
        let new = bodies.map(|body| NewEvent {
            time_us: now,
            caller: caller.clone(),
            body,
        });
        let sealed = store.seal(&session_id, LogLevel::default(), 0, new.collect())?;
        let begun = sealed.events().split_first().and_then(|(first, rest)| {
            let mut session = Session::begin(first)?;
            for event in rest {
                session.apply(event);
            }
            Some(session)
        });
        let Some(session) = begun else {
            return Err(Rejection::WrongState("the session could not be made".into()).into());
        };
        let record = request.map(|key| RequestRecord {
            request_id: key.request_id,
            method: key.method.to_owned(),
            fingerprint: key.fingerprint,
            session_id: session_id.clone(),
            reply: crate::domain::command::Reply::Done { seq: session.head },
            time_us: now,
        });
        let append = Append {
            session_id: session_id.clone(),
            expected_head: 0,
            sealed,
            summary: session.summary(),
            request: record,
            asker: None,
            open_calls: Vec::new(),
            begins_with: None,
            rewrites: Vec::new(),
        };
        store.append(append).await?;
        self.ring();
        self.handle(&session_id).await
    }
}

/// Nobody gets a session without the bounds and directories he asked for.
fn same_bounds(found: &Summary, wish: &NewSession) -> Result<(), Rejection> {
    let dirs = |dirs: &[AddedDir]| -> Vec<(PathBuf, bool)> {
        let real = |dir: &AddedDir| dir.path.canonicalize().unwrap_or_else(|_| dir.path.clone());
        dirs.iter().map(|dir| (real(dir), dir.writable)).collect()
    };
    let bounds = wish.limits.is_empty() || wish.limits == found.spec.limits;
    let sees = wish.added_dirs.is_empty() || dirs(&wish.added_dirs) == dirs(&found.spec.added_dirs);
    if bounds && sees {
        return Ok(());
    }
    let name = &found.name;
    let what = if bounds {
        "sees other directories"
    } else {
        "has other limits"
    };
    Err(Rejection::NotNow {
        message: format!("session '{name}' {what} than asked for; they are fixed for its life"),
        hints: vec![
            format!("agentctl sessions show {name}"),
            "choose another --name for a session with these".into(),
        ],
    })
}

/// Directories beside the workspace are judged as a workspace would be.
fn added(dirs: &[AddedDir]) -> Result<Vec<AddedDir>, Fault> {
    dirs.iter()
        .map(|dir| {
            let path = jail::check_workspace(&dir.path).map_err(refused)?;
            Ok(AddedDir { path, ..*dir })
        })
        .collect()
}

/// A session's name when its maker gave none: the directory's.
fn name_of(root: &Path) -> String {
    let base = root
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let clean: String = base
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
        .take(48)
        .collect();
    let clean = clean.trim().trim_start_matches(['-', '.']).to_owned();
    if clean.is_empty() || check_name(&clean).is_err() {
        "session".into()
    } else {
        clean
    }
}

pub(super) fn start_dir(root: &Path, asked: &Path) -> Result<PathBuf, Rejection> {
    if asked.as_os_str().is_empty() {
        return Ok(PathBuf::new());
    }
    let refuse = |why: &str| {
        Err(Rejection::InvalidArgument(format!(
            "start_dir '{}' {why}",
            asked.display()
        )))
    };
    let Ok(full) = root.join(asked).canonicalize() else {
        return refuse("does not exist");
    };
    match full.strip_prefix(root) {
        Ok(inside) if full.is_dir() => Ok(inside.to_owned()),
        Ok(_) => refuse("is not a directory"),
        Err(_) => refuse("is outside the workspace"),
    }
}

fn taken(found: &Summary) -> Fault {
    Rejection::NameTaken {
        name: found.name.clone(),
        workspace: found.spec.workspace.root.display().to_string(),
    }
    .into()
}

pub(super) fn refused(error: JailError) -> Fault {
    Rejection::WorkspaceRefused {
        message: error.to_string(),
        hints: error.hints(),
    }
    .into()
}

pub(super) fn unavailable(error: JailError) -> Fault {
    Rejection::JailUnavailable {
        message: error.to_string(),
        hints: error.hints(),
    }
    .into()
}
