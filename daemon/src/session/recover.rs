//! Owns: bringing a session back from its log.
//! Guarantees: the fold of the log is the session; what is now true after a crash is appended, nothing is
//! deleted, nothing is run again, no turn is started.

use std::sync::Arc;

use tokio::sync::watch;

use super::actor;
use super::execs::Execs;
use super::feed::Feed;
use super::files::guard_of;
use super::folds;
use super::network::{Net, View};
use super::presence::Presence;
use super::{Fault, SessionHandle, Settings};
use crate::clock::now_us;
use crate::domain::decide;
use crate::domain::event::NewEvent;
use crate::domain::id::SessionId;
use crate::domain::message::Message;
use crate::domain::principal::Caller;
use crate::domain::session::{CallStage, Session};
use crate::store::{Append, Store, StoreError};
use crate::tools::{JailPaths, PlanContext};
use crate::workspace::Guard;

/// Folds a session from its log, appends what became true while no daemon was there, and starts its actor.
pub async fn load(
    store: &Store,
    settings: &Arc<Settings>,
    session_id: &SessionId,
) -> Result<SessionHandle, Fault> {
    let (mut session, mut history) = folds::fold(store, session_id).await?;
    let feed = Arc::new(Feed::new(session.head));
    let snapshot = store.snapshot(session_id).await?;
    let presence = Presence::new();
    let (show, view) = watch::channel(View::of(&session));
    let root = session.spec.workspace.root.clone();
    let (net, engine) = Net::new(settings.clone(), root, presence.clone(), view);
    settings.jails.attach(session_id, &engine);
    let parts = (store.clone(), feed.clone(), net.clone());
    let execs = Execs::open(&session, settings.clone(), parts, snapshot).await;
    sweep(&session, &execs, settings);
    append_truth(store, &mut session, &mut history, &execs).await?;
    show.send_replace(View::of(&session));
    execs.forget_known(&session);
    if execs.has_jail() {
        execs.keep_snapshot();
    }
    feed.announce(session.head, Vec::new());
    let (publish, published) = watch::channel(session.summary());
    let adopted: Vec<_> = session
        .execs
        .iter()
        .map(|(id, open)| (id.clone(), open.pty))
        .collect();
    let late = session.late_calls.clone();
    let calls: Vec<_> = session
        .execs
        .iter()
        .map(|(id, open)| (id.clone(), open.call_id.clone()))
        .collect();
    let trace = session
        .turn
        .as_ref()
        .map_or_else(super::trace_id, |t| t.trace_id.clone());
    let actor = actor::start(
        session,
        history,
        store.clone(),
        settings.clone(),
        feed.clone(),
        execs.clone(),
        (publish, show),
    );
    net.begin(actor.clone(), &execs, engine);
    for (exec_id, pty) in adopted {
        let call = calls
            .iter()
            .find(|(id, _)| id == &exec_id)
            .and_then(|(_, call)| call.clone());
        let late = call.and_then(|call| late.get(&call).map(|turn| (turn.clone(), call.clone())));
        execs.take_up(
            (&exec_id, pty),
            Caller::daemon(trace.clone()),
            actor.clone(),
            late,
        );
    }
    Ok(SessionHandle {
        session_id: session_id.clone(),
        actor,
        feed,
        execs,
        store: store.clone(),
        published,
        presence,
        net,
    })
}

/// Takes away the temporary files of what was cut off in the middle: a file tool's in the workspace, a command's with
/// its output.
fn sweep(session: &Session, execs: &Execs, settings: &Settings) {
    for exec_id in session.execs.keys() {
        execs.remove_left_over(exec_id);
    }
    let Some(turn) = &session.turn else { return };
    let Ok(guard) = guard_of(&session.spec, settings) else {
        return;
    };
    let context = Cut {
        guard,
        paths: execs.paths(),
        cwd: execs.cwd(),
    };
    let begun = turn
        .calls
        .iter()
        .filter(|open| matches!(open.stage, CallStage::Started(None)));
    for open in begun {
        for dir in crate::tools::written_dirs(&open.call.tool, &open.call.arguments, &context) {
            if let Err(error) = context.guard.remove_leftovers(&dir) {
                tracing::debug!(%error, dir = %dir.display(), "nothing to tidy");
            }
        }
    }
}

/// What a call that was cut off would have touched.
struct Cut {
    guard: Guard,
    paths: Arc<dyn JailPaths>,
    cwd: Option<String>,
}

impl PlanContext for Cut {
    fn paths(&self) -> &dyn JailPaths {
        self.paths.as_ref()
    }

    fn guard(&self) -> &Guard {
        &self.guard
    }

    fn cwd(&self) -> Option<String> {
        self.cwd.clone()
    }
}

async fn append_truth(
    store: &Store,
    session: &mut Session,
    history: &mut Vec<Arc<Message>>,
    execs: &Execs,
) -> Result<(), StoreError> {
    let bodies = decide::recover(session, &|exec_id| execs.is_running(exec_id));
    if bodies.is_empty() {
        return Ok(());
    }
    let trace = session
        .turn
        .as_ref()
        .map_or_else(super::trace_id, |t| t.trace_id.clone());
    let caller = Caller::daemon(trace);
    let now = now_us();
    let new = bodies
        .into_iter()
        .map(|body| NewEvent {
            time_us: now,
            caller: caller.clone(),
            body,
        })
        .collect();
    let sealed = store.seal(&session.session_id, session.spec.log, session.head, new)?;
    let mut draft = session.clone();
    for event in sealed.events() {
        draft.apply(event);
    }
    let append = Append {
        session_id: draft.session_id.clone(),
        expected_head: session.head,
        sealed,
        summary: draft.summary(),
        request: None,
        asker: session.turn.as_ref().map(|turn| turn.asker.clone()),
        open_calls: session.open_tools(),
        begins_with: None,
        rewrites: Vec::new(),
    };
    store.append(append).await?;
    draft.heard.tell(history);
    *session = draft;
    Ok(())
}
