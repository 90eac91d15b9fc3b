//! Owns: sessions made from other sessions' logs: forks, and bundles that come in.
//! Guarantees: the original is not touched; a bundle is believed in nothing: its ids, grants, paths and jail are
//! replaced, its events are parsed one by one; nothing that was open in the original is open in the copy.

use std::path::{Path, PathBuf};

use super::Supervisor;
use super::bundle::Bundle;
use super::create::{refused, unavailable};
use crate::clock::now_us;
use crate::domain::decide::{self, check_name};
use crate::domain::event::{Event, EventBody, NewEvent, Origin, SessionSpec};
use crate::domain::id::{ExecId, Seq, SessionId};
use crate::domain::limits::LimitsWish;
use crate::domain::network::NetworkMode;
use crate::domain::principal::Caller;
use crate::domain::redaction::LogLevel;
use crate::domain::rejection::Rejection;
use crate::domain::session::{Session, Summary};
use crate::domain::workspace::Workspace;
use crate::jail::{self, LayoutWish};
use crate::session::{Fault, SessionHandle};
use crate::shell::SpoolPaths;
use crate::store::{Append, Prefix, RequestKey, RequestRecord, StoreError};

/// Events read at a time.
const BATCH: u32 = 1000;
/// Names tried for a copy whose name nobody chose.
const TRIES: u32 = 100;

impl Supervisor {
    /// A new session that begins with another's log up to `seq` (0: its head). Its shell has the original's state
    /// only when it begins at the head: what the shell was earlier nobody knows.
    pub async fn fork(
        &self,
        caller: &Caller,
        request: Option<RequestKey>,
        original: Summary,
        seq: Seq,
        name: &str,
    ) -> Result<SessionHandle, Fault> {
        if let Some(before) = self.answered(request.as_ref()).await? {
            return Ok(before);
        }
        let from = original.session_id.clone();
        let seq = if seq == 0 { original.head } else { seq };
        if seq > original.head {
            return Err(Rejection::InvalidArgument(format!(
                "seq {seq} is beyond the head {} of {from}",
                original.head
            ))
            .into());
        }
        let session_id = self.0.store.free_session_id().await?;
        let mut events = Vec::new();
        let mut after = 0;
        while after < seq {
            let page = self.0.store.kept_events_after(&from, after, BATCH).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            events.extend(page.into_iter().filter(|event| event.seq <= seq));
        }
        let at_head = seq == original.head;
        let snapshot = match at_head {
            true => self.0.store.snapshot(&from).await?,
            false => None,
        };
        let prefix = Prefix::Of {
            session_id: from.clone(),
            seq,
            snapshot,
        };
        let fact = EventBody::SessionForked {
            session_id: from.clone(),
            seq,
        };
        let wanted = if name.is_empty() {
            format!("{}-fork", original.name)
        } else {
            name.to_owned()
        };
        let rows = events.iter().filter_map(|event| match &event.body {
            EventBody::ExecStarted { exec_id, .. } => Some(exec_id.clone()),
            _ => None,
        });
        self.share_output(&from, &session_id, rows.collect());
        let copy = Copy {
            session_id,
            events,
            prefix,
            fact,
            name: wanted,
            fixed: !name.is_empty(),
            caller: caller.clone(),
            request,
        };
        self.make_copy(copy).await
    }

    /// A new session from a bundle's events, on `workspace`.
    pub(super) async fn import(
        &self,
        caller: &Caller,
        request: Option<RequestKey>,
        bundle: Bundle,
        workspace: &Path,
        name: &str,
    ) -> Result<SessionHandle, Fault> {
        if let Some(before) = self.answered(request.as_ref()).await? {
            return Ok(before);
        }
        let root = jail::check_workspace(workspace).map_err(refused)?;
        let session_id = self.0.store.free_session_id().await?;
        let wanted = if name.is_empty() {
            bundle.head.name.clone()
        } else {
            name.to_owned()
        };
        let spec = self.imported_spec(caller, root, &wanted, bundle.head.origin)?;
        let spec_log = spec.log;
        let mut new = bundle.events;
        if let Some(first) = new.first_mut() {
            first.body = EventBody::SessionCreated(spec);
        }
        // Through the redactor like everything else: this machine's secrets are not known where it comes from.
        let events = self
            .0
            .store
            .seal(&session_id, spec_log, 0, new)?
            .events()
            .to_vec();
        let spool = self.0.settings.jails.spool_dir(&session_id);
        for (exec_id, stderr, data) in &bundle.outputs {
            let paths = SpoolPaths::new(&spool, exec_id);
            let file = if *stderr { &paths.stderr } else { &paths.stdout };
            let written = std::fs::create_dir_all(&spool).and_then(|()| std::fs::write(file, data));
            if let Err(error) = written {
                tracing::warn!(%error, exec = %exec_id, "the output of an imported command is not kept");
            }
        }
        let fact = EventBody::SessionImported {
            session_id: bundle.head.session_id,
            seq: events.last().map_or(0, |event| event.seq),
        };
        let copy = Copy {
            session_id,
            prefix: Prefix::Events(events.clone()),
            events,
            fact,
            name: wanted,
            fixed: !name.is_empty(),
            caller: caller.clone(),
            request,
        };
        let handle = self.make_copy(copy).await?;
        // It works as any session on this directory would: the usual persona, tightened by the project.
        let id = handle.session_id().to_string();
        let (persona, who) = (self.0.defaults.persona.clone(), caller.clone());
        match self.choose_persona(who, None, &id, &persona, "").await {
            Ok(_) => {}
            Err(error) => {
                let message = format!("the project's policy is not in force: {error}");
                handle.notice(caller.clone(), "project_policy", &message).await;
            }
        }
        Ok(handle)
    }

    /// What this machine makes of an imported session: nothing of where it ran is taken over.
    fn imported_spec(
        &self,
        caller: &Caller,
        root: PathBuf,
        name: &str,
        origin: Origin,
    ) -> Result<SessionSpec, Fault> {
        check_name(name)?;
        let defaults = &self.0.defaults;
        let wall = defaults.jail;
        if wall == crate::domain::workspace::JailKind::Bwrap {
            jail::ensure_jail_possible().map_err(unavailable)?;
        }
        let wish = if origin == Origin::Agent {
            LayoutWish::Agent
        } else {
            LayoutWish::Open
        };
        let ours = self.0.settings.jails.ours(&root);
        let (layout, layout_reason) =
            jail::choose_layout(&root, wish, &|path| ours.iter().any(|o| o == path)).map_err(refused)?;
        Ok(SessionSpec {
            name: name.to_owned(),
            principal: caller.principal.clone(),
            workspace: Workspace {
                root,
                start_dir: PathBuf::new(),
                layout,
                layout_reason,
            },
            shell: defaults.shell.unwrap_or(crate::domain::workspace::ShellKind::Sh),
            jail: wall,
            origin,
            model: None,
            persona: "ask".into(),
            policy_generation: 1,
            task: None,
            network: match (wall, origin) {
                (crate::domain::workspace::JailKind::Outer, _) => NetworkMode::Off,
                (_, Origin::Agent) => defaults.agent_network,
                (_, Origin::Shell) => defaults.shell_network,
            },
            limits: LimitsWish::default(),
            added_dirs: Vec::new(),
            search_path: String::new(),
            // Taking in a text and keeping none of it would be pointless.
            log: match defaults.log {
                LogLevel::None => LogLevel::Redacted,
                level => level,
            },
        })
    }

    async fn answered(&self, request: Option<&RequestKey>) -> Result<Option<SessionHandle>, Fault> {
        let Some(key) = request else { return Ok(None) };
        match self.0.store.request(&key.request_id).await? {
            None => Ok(None),
            Some(before) if before.matches(key) => Ok(Some(self.handle(&before.session_id).await?)),
            Some(_) => Err(Rejection::RequestIdReused(key.request_id.clone()).into()),
        }
    }

    async fn make_copy(&self, copy: Copy) -> Result<SessionHandle, Fault> {
        check_name(&copy.name)?;
        let mut session: Option<Session> = None;
        for event in &copy.events {
            let event = Event {
                session_id: copy.session_id.clone(),
                ..event.clone()
            };
            match &mut session {
                None => session = Session::begin(&event),
                Some(session) => session.apply(&event),
            }
        }
        let broken = || {
            Fault::from(Rejection::InvalidArgument(
                "the log does not begin with a session".into(),
            ))
        };
        let base = session.ok_or_else(broken)?;
        let now = now_us();
        let first = copy.name.clone();
        let mut name = copy.name;
        for attempt in 2..TRIES {
            let mut bodies = decide::close_copy(&base);
            bodies.push(copy.fact.clone());
            bodies.push(EventBody::SessionRenamed { name: name.clone() });
            let new = bodies
                .into_iter()
                .map(|body| NewEvent {
                    time_us: now,
                    caller: copy.caller.clone(),
                    body,
                })
                .collect();
            let sealed = self
                .0
                .store
                .seal(&copy.session_id, base.spec.log, base.head, new)?;
            let mut session = base.clone();
            for event in sealed.events() {
                session.apply(event);
            }
            let record = copy.request.as_ref().map(|key| RequestRecord {
                request_id: key.request_id.clone(),
                method: key.method.to_owned(),
                fingerprint: key.fingerprint.clone(),
                session_id: copy.session_id.clone(),
                reply: crate::domain::command::Reply::Done { seq: session.head },
                time_us: now,
            });
            let append = Append {
                session_id: copy.session_id.clone(),
                expected_head: base.head,
                sealed,
                summary: session.summary(),
                request: record,
                asker: None,
                open_calls: Vec::new(),
                begins_with: Some(copy.prefix.clone()),
                rewrites: Vec::new(),
            };
            match self.0.store.append(append).await {
                Ok(_) => {
                    self.ring();
                    return self.handle(&copy.session_id).await;
                }
                Err(StoreError::NameTaken(_)) if !copy.fixed => name = format!("{first}-{attempt}"),
                Err(StoreError::NameTaken(taken)) => {
                    return Err(Rejection::NameTaken {
                        name: taken,
                        workspace: "another session".into(),
                    }
                    .into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Rejection::NameTaken {
            name: first,
            workspace: "a hundred others".into(),
        }
        .into())
    }

    /// The copy's commands wrote what the original's wrote: the same files under another name.
    fn share_output(&self, from: &SessionId, to: &SessionId, execs: Vec<ExecId>) {
        let (from, to) = (
            self.0.settings.jails.spool_dir(from),
            self.0.settings.jails.spool_dir(to),
        );
        if std::fs::create_dir_all(&to).is_err() {
            return;
        }
        for exec in execs {
            let (old, new) = (SpoolPaths::new(&from, &exec), SpoolPaths::new(&to, &exec));
            for (old, new) in [(old.stdout, new.stdout), (old.stderr, new.stderr)] {
                // Most commands wrote nothing, and have no file.
                let _absent = std::fs::hard_link(old, new);
            }
        }
    }
}

struct Copy {
    session_id: SessionId,
    events: Vec<Event>,
    prefix: Prefix,
    fact: EventBody,
    name: String,
    /// The name was chosen: no other will do.
    fixed: bool,
    caller: Caller,
    request: Option<RequestKey>,
}
