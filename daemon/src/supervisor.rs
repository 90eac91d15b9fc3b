//! Owns: which sessions are live, how they are found, made and brought back.
//! Guarantees: one actor per session; an unknown id never makes anything; a name is unique per user.

mod models;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::domain::approval::Approval;
use crate::domain::decide::check_name;
use crate::domain::event::{Event, EventBody, ModelRef, NewEvent, Origin, SessionSpec};
use crate::domain::id::{ApprovalId, Seq, SessionId};
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::{Session, State, Summary};
use crate::domain::workspace::{JailKind, Layout, ShellKind, Workspace};
use crate::jail::{self, JailError, LayoutWish};
use crate::session::{self, Fault, SessionHandle, Settings, now_us};
pub use crate::store::{RequestKey, SessionFilter};
pub use models::{ModelRow, ModelTry};

use crate::store::{Append, RequestRecord, Store, StoreError};

/// Owner of the live sessions. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    store: Store,
    settings: Arc<Settings>,
    live: Mutex<HashMap<SessionId, SessionHandle>>,
    /// Rings when any session's row changed.
    changed: watch::Sender<u64>,
    defaults: Defaults,
}

/// What a session gets when its maker does not say.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The wall.
    pub jail: JailKind,
    /// Layout for every session, where configured.
    pub layout: Option<Layout>,
    /// Shell for every session, where configured.
    pub shell: Option<ShellKind>,
    /// Time-out of people's and programs' commands.
    pub exec_timeout: Option<Duration>,
}

/// One check of the machine or the daemon's files.
#[derive(Debug, Clone)]
pub struct Checkup {
    /// Stable word.
    pub check: String,
    /// As it should be; `None`: works, with a limit worth knowing.
    pub ok: Option<bool>,
    /// What was found.
    pub message: String,
    /// The exact fix; may be empty.
    pub fix: String,
}

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
}

impl Supervisor {
    /// A supervisor with no live session yet.
    pub fn new(store: Store, settings: Arc<Settings>, defaults: Defaults) -> Self {
        let changed = watch::Sender::new(0);
        Self(Arc::new(Inner {
            store,
            settings,
            live: Mutex::default(),
            changed,
            defaults,
        }))
    }

    /// What all sessions share.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.0.settings
    }

    /// Brings back the sessions that had open work or a live jail when the last daemon went away.
    /// Gives how many.
    pub async fn recover(&self) -> Result<usize, Fault> {
        let mut ids = self.0.store.sessions_with_open_work().await?;
        for id in self.0.settings.jails.live() {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let mut recovered = 0;
        for id in ids {
            match self.handle(&id).await {
                Ok(_) => recovered += 1,
                Err(Fault::Rejected(Rejection::SessionNotFound { .. })) => {
                    // A jail of a session whose making was never committed.
                    if let Err(error) = self.0.settings.jails.end(&id).await {
                        tracing::warn!(%error, session = %id, "a stray jail could not be ended");
                    }
                }
                Err(error) => tracing::error!(%error, session = %id, "the session could not be brought back"),
            }
        }
        Ok(recovered)
    }

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
                return Ok((self.handle(&found.session_id).await?, false));
            }
            if named {
                return Err(taken(&found));
            }
        }
        let spec = self.spec(caller, &wish, root, name.clone())?;
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

    fn spec(
        &self,
        caller: &Caller,
        wish: &NewSession,
        root: PathBuf,
        name: String,
    ) -> Result<SessionSpec, Fault> {
        let defaults = &self.0.defaults;
        let jail = wish.jail.unwrap_or(defaults.jail);
        if jail == JailKind::Bwrap {
            jail::ensure_jail_possible().map_err(unavailable)?;
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
        let shell = wish.shell.or(defaults.shell).unwrap_or(match wish.origin {
            Origin::Agent if Path::new("/bin/bash").exists() || Path::new("/usr/bin/bash").exists() => {
                ShellKind::Bash
            }
            _ => ShellKind::Sh,
        });
        let model = match &wish.model {
            None => None,
            Some(name) => Some(self.model_ref(name)),
        };
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
            persona: "default".into(),
            policy_generation: self.0.settings.policy.generation,
        })
    }

    fn model_ref(&self, name: &str) -> ModelRef {
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
    ) -> Result<SessionHandle, Fault> {
        let store = &self.0.store;
        let session_id = SessionId::random();
        let now = now_us();
        let new = NewEvent {
            time_us: now,
            caller: caller.clone(),
            body: EventBody::SessionCreated(spec),
        };
        let sealed = store.seal(&session_id, 0, vec![new])?;
        let Some(session) = sealed.events().first().and_then(Session::begin) else {
            return Err(Rejection::WrongState("the session could not be made".into()).into());
        };
        let record = request.map(|key| RequestRecord {
            request_id: key.request_id,
            method: key.method.to_owned(),
            fingerprint: key.fingerprint,
            session_id: session_id.clone(),
            reply: crate::domain::command::Reply::Done { seq: 1 },
            time_us: now,
        });
        let append = Append {
            session_id: session_id.clone(),
            expected_head: 0,
            sealed,
            summary: session.summary(),
            request: record,
        };
        store.append(append).await?;
        self.ring();
        self.handle(&session_id).await
    }

    /// The live handle of a session; brings it back from its log when it is not live.
    pub async fn handle(&self, session_id: &SessionId) -> Result<SessionHandle, Fault> {
        let mut live = self.0.live.lock().await;
        if let Some(handle) = live.get(session_id) {
            return Ok(handle.clone());
        }
        let handle = session::load(&self.0.store, &self.0.settings, session_id).await?;
        live.insert(session_id.clone(), handle.clone());
        drop(live);
        self.watch_changes(&handle);
        Ok(handle)
    }

    /// Finds one session by id, unique prefix of one, or name.
    pub async fn find(&self, text: &str, caller: &Caller) -> Result<SessionHandle, Fault> {
        let summary = self.find_summary(text, caller).await?;
        self.handle(&summary.session_id).await
    }

    /// The row of a session found by id, unique prefix, or name.
    pub async fn find_summary(&self, text: &str, caller: &Caller) -> Result<Summary, Fault> {
        if text.is_empty() {
            return Err(Rejection::InvalidArgument("session_id is empty".into()).into());
        }
        let mut found = self.0.store.find_sessions(text, &caller.principal).await?;
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(self.not_found(text).await?.into()),
            _ => {
                let matches = found
                    .iter()
                    .map(|s| format!("{} ({})", s.name, s.session_id))
                    .collect();
                Err(Rejection::SessionAmbiguous {
                    wanted: text.into(),
                    matches,
                }
                .into())
            }
        }
    }

    async fn not_found(&self, text: &str) -> Result<Rejection, Fault> {
        let all = self
            .list(SessionFilter {
                limit: 1000,
                ..SessionFilter::default()
            })
            .await?;
        let mut hints = Vec::new();
        let near = all
            .iter()
            .map(|s| (strsim::jaro_winkler(text, &s.name), s))
            .filter(|(score, _)| *score > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, s)) = near {
            hints.push(format!("did you mean: {} ({})", s.name, s.session_id));
        }
        hints.push("agentctl sessions list --all".into());
        let wanted: String = text.chars().take(80).collect();
        Ok(Rejection::SessionNotFound { wanted, hints })
    }

    async fn named(&self, name: &str, principal: &str) -> Result<Option<Summary>, Fault> {
        let found = self.0.store.find_sessions(name, principal).await?;
        Ok(found.into_iter().find(|s| s.name == name))
    }

    /// Sessions in the order people want them.
    pub async fn list(&self, filter: SessionFilter) -> Result<Vec<Summary>, Fault> {
        Ok(self.0.store.sessions(filter).await?)
    }

    /// Sessions whose row changed after `rev`, and the newest rev.
    pub async fn changed_since(&self, rev: u64) -> Result<(Vec<Summary>, u64), Fault> {
        Ok(self.0.store.sessions_changed(rev).await?)
    }

    /// Rings when any session's row changed.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// A page of a session's log: after a seq, or the last before one.
    pub async fn events(
        &self,
        session_id: &SessionId,
        after: Seq,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<Event>, Fault> {
        Ok(match before {
            Some(before) => self.0.store.events_before(session_id, before, limit).await?,
            None => self.0.store.events_after(session_id, after, limit).await?,
        })
    }

    /// Approvals across sessions, open ones first, each with its session's row.
    pub async fn approvals(
        &self,
        session_id: Option<&SessionId>,
        decided: bool,
        limit: u32,
    ) -> Result<Vec<(Summary, Approval)>, Fault> {
        let rows = self.0.store.approvals(session_id, decided, limit).await?;
        self.with_sessions(rows).await
    }

    /// One approval by id or unique prefix.
    pub async fn find_approval(&self, text: &str) -> Result<(Summary, Approval), Fault> {
        if text.parse::<ApprovalId>().is_err() {
            return Err(Rejection::ApprovalNotFound(text.chars().take(80).collect()).into());
        }
        let mut rows = self.0.store.find_approvals(text).await?;
        if rows.first().is_some_and(|(_, a)| a.approval_id.as_str() == text) {
            rows.truncate(1);
        }
        if rows.len() > 1 {
            return Err(Rejection::InvalidArgument(format!("'{text}' matches several approvals")).into());
        }
        self.with_sessions(rows)
            .await?
            .pop()
            .ok_or_else(|| Rejection::ApprovalNotFound(text.into()).into())
    }

    async fn with_sessions(
        &self,
        rows: Vec<(SessionId, Approval)>,
    ) -> Result<Vec<(Summary, Approval)>, Fault> {
        let mut out = Vec::with_capacity(rows.len());
        for (session_id, approval) in rows {
            if let Some(summary) = self.0.store.session(&session_id).await? {
                out.push((summary, approval));
            }
        }
        Ok(out)
    }

    /// The steps a turn may take, where the poster asked for `asked` (0: said nothing).
    pub fn max_steps(&self, asked: u32) -> u32 {
        if asked == 0 {
            self.0.settings.max_steps
        } else {
            asked
        }
    }

    /// The time-out of people's and programs' commands, where configured.
    pub fn exec_timeout(&self) -> Option<Duration> {
        self.0.defaults.exec_timeout
    }

    /// How many jails live.
    pub fn jails(&self) -> u32 {
        u32::try_from(self.0.settings.jails.live().len()).unwrap_or(u32::MAX)
    }

    /// How many sessions are open, at work, and how many approvals wait.
    pub async fn counts(&self) -> Result<(u32, u32, u32), Fault> {
        let all = self
            .list(SessionFilter {
                limit: 100_000,
                ..SessionFilter::default()
            })
            .await?;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let working = all.iter().filter(|s| s.state == State::Working).count();
        let approvals = all.iter().map(|s| s.approval_ids.len()).sum();
        Ok((count(all.len()), count(working), count(approvals)))
    }

    /// Brings every turn to a stop; ends the jails unless they are to stay.
    pub async fn shut_down(&self, keep_jails: bool) {
        let handles: Vec<SessionHandle> = self.0.live.lock().await.values().cloned().collect();
        futures::future::join_all(handles.iter().map(SessionHandle::shut_down)).await;
        if !keep_jails {
            futures::future::join_all(handles.iter().map(SessionHandle::end_jail)).await;
            for id in self.0.settings.jails.live() {
                if let Err(error) = self.0.settings.jails.end(&id).await {
                    tracing::warn!(%error, session = %id, "a jail could not be ended");
                }
            }
        }
    }

    fn ring(&self) {
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn watch_changes(&self, handle: &SessionHandle) {
        let (me, mut bell) = (self.clone(), handle.listen());
        tokio::spawn(async move {
            let mut head = bell.borrow_and_update().head;
            while bell.changed().await.is_ok() {
                let now = bell.borrow_and_update().head;
                if now != head {
                    head = now;
                    me.ring();
                }
            }
        });
    }
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

fn start_dir(root: &Path, asked: &Path) -> Result<PathBuf, Rejection> {
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

fn refused(error: JailError) -> Fault {
    Rejection::WorkspaceRefused {
        message: error.to_string(),
        hints: error.hints(),
    }
    .into()
}

fn unavailable(error: JailError) -> Fault {
    Rejection::JailUnavailable {
        message: error.to_string(),
        hints: error.hints(),
    }
    .into()
}
