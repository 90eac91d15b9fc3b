//! Owns: which sessions are live, how they are found, made and brought back.
//! Guarantees: one actor per session; an unknown id never makes anything; a name is unique per user.

mod bundle;
mod copy;
mod create;
mod lifecycle;
mod live;
mod models;
mod policies;
mod project;
mod record;
mod redact;
mod storage;
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::domain::approval::Approval;
use crate::domain::event::Event;
use crate::domain::find::Needle;
use crate::domain::id::{ApprovalId, Seq, SessionId};
use crate::domain::network::NetworkMode;
use crate::domain::principal::Caller;
use crate::domain::redaction::LogLevel;
use crate::domain::rejection::Rejection;
use crate::domain::session::{State, Summary};
use crate::domain::workspace::{JailKind, Layout, ShellKind};
use crate::personas::Personas;
use crate::session::{self, Fault, SessionHandle, Settings};
use crate::store::Places;
pub use crate::store::{Found, RequestKey, RowChange, SearchWish, SessionFilter, SessionOrder};
pub use bundle::Report;
pub use create::NewSession;
pub use lifecycle::Deletion;
pub use models::{ModelRow, ModelTry};
pub use policies::{PolicyTest, Tested};
pub use project::{Project, ProjectWish};
pub use record::{Audit, Cassette};
pub use redact::{RedactWish, Redaction};
pub use storage::{PruneWish, Pruned, Storage};
pub use transfer::{Piece, Upload};

use crate::store::Store;

/// Owner of the live sessions. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    store: Store,
    settings: Arc<Settings>,
    live: Mutex<live::Live>,
    /// Rings when any session's row changed.
    changed: watch::Sender<u64>,
    defaults: Defaults,
}

/// What a session gets when its maker does not say.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The personas and policies there are.
    pub personas: Personas,
    /// The persona of sessions that name none.
    pub persona: String,
    /// The wall.
    pub jail: JailKind,
    /// Layout for every session, where configured.
    pub layout: Option<Layout>,
    /// What logs keep of what is said.
    pub log: LogLevel,
    /// Shell for every session, where configured.
    pub shell: Option<ShellKind>,
    /// What programs of a session for work with a model can reach.
    pub agent_network: NetworkMode,
    /// The same, of a session for commands.
    pub shell_network: NetworkMode,
    /// Time-out of people's and programs' commands.
    pub exec_timeout: Option<Duration>,
    /// How long deleted sessions can be restored.
    pub trash: Duration,
    /// Archived sessions go to the trash after this long without an event; `None`: never.
    pub archive_keep: Option<Duration>,
    /// Cap of all kept output, bytes.
    pub max_output: Option<u64>,
    /// Cap of the database, bytes.
    pub max_log: Option<u64>,
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

    /// The live handle of a session; brings it back from its log when it is not live.
    pub async fn handle(&self, session_id: &SessionId) -> Result<SessionHandle, Fault> {
        let cell = self.0.live.lock().await.cell(session_id).await;
        let loaded = cell
            .get_or_try_init(|| async {
                let handle = session::load(&self.0.store, &self.0.settings, session_id).await?;
                self.watch_changes(&handle);
                Ok(handle)
            })
            .await;
        match loaded {
            Ok(handle) => Ok(handle.clone()),
            Err(fault) => {
                // Only what does not exist is forgotten: another caller may be loading this very cell.
                if matches!(fault, Fault::Rejected(Rejection::SessionNotFound { .. })) {
                    self.0.live.lock().await.remove(session_id);
                }
                Err(fault)
            }
        }
    }

    async fn live_handle(&self, session_id: &SessionId) -> Option<SessionHandle> {
        self.0.live.lock().await.handle(session_id)
    }

    /// Finds one session by id, unique prefix of one, or name.
    pub async fn find(&self, text: &str, caller: &Caller) -> Result<SessionHandle, Fault> {
        // The whole id of a live session, which clients use: no row is read for that.
        if let Ok(session_id) = text.parse::<SessionId>()
            && let Some(handle) = self.live_handle(&session_id).await
        {
            return Ok(handle);
        }
        let summary = self.find_summary(text, caller).await?;
        self.handle(&summary.session_id).await
    }

    /// The row of a session, found as by [`Self::find`], that has no actor and needs none as things are.
    pub async fn at_rest(&self, text: &str, caller: &Caller) -> Result<Option<Summary>, Fault> {
        if let Ok(session_id) = text.parse::<SessionId>()
            && self.live_handle(&session_id).await.is_some()
        {
            return Ok(None);
        }
        let row = self.find_summary(text, caller).await?;
        let rests = row.is_at_rest()
            && self.live_handle(&row.session_id).await.is_none()
            && !self.0.settings.jails.live().contains(&row.session_id);
        Ok(rests.then_some(row))
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
        // The names of hidden ones are free.
        Ok(found
            .into_iter()
            .find(|s| s.name == name && !matches!(s.state, State::Archived | State::Deleted)))
    }

    /// Sessions in the order people want them.
    pub async fn list(&self, filter: SessionFilter) -> Result<Vec<Summary>, Fault> {
        Ok(self.0.store.sessions(filter).await?)
    }

    /// Sessions whose row changed after `rev`, and the newest rev.
    pub async fn changed_since(&self, rev: u64) -> Result<(Vec<RowChange>, u64), Fault> {
        Ok(self.0.store.sessions_changed(rev).await?)
    }

    /// Sessions, commands and outputs that have all the words, newest first.
    pub async fn search(&self, wish: SearchWish) -> Result<Vec<Found>, Fault> {
        Ok(self.0.store.search(wish).await?)
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

    /// Looks for a text in a session's log before `before`, newest first.
    pub async fn find_text(
        &self,
        session_id: &SessionId,
        needle: Needle,
        before: Seq,
        events: u32,
        most: usize,
    ) -> Result<Places, Fault> {
        Ok(self
            .0
            .store
            .find(session_id, needle, before, events, most)
            .await?)
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
        Ok(self.0.store.counts().await?)
    }

    /// Comes back once the list of live sessions could be had and the store answered a read, be it with an error:
    /// neither is stuck.
    pub async fn pulse(&self) {
        drop(self.0.live.lock().await);
        drop(self.0.store.counts().await);
    }

    /// Brings every turn to a stop; ends the jails unless they are to stay.
    pub async fn shut_down(&self, keep_jails: bool) {
        let handles = self.0.live.lock().await.handles();
        futures::future::join_all(handles.iter().map(|handle| handle.shut_down(keep_jails))).await;
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
        let (me, mut bell) = (self.clone(), handle.changes());
        bell.mark_unchanged();
        tokio::spawn(async move {
            while bell.changed().await.is_ok() {
                me.ring();
            }
        });
    }
}
