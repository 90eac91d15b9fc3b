//! Owns: the session actor: the only writer of its session, the thin impure shell around `decide` and `apply`.
//! Guarantees: decide, commit, apply, announce, in that order; it awaits only its mailbox and the store,
//! never a model, a shell or a client.

mod answered;
mod orders;
mod view;
mod waiting;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::execs::{Execs, Waits};
use super::feed::Feed;
use super::files::{gone, guard_of};
use super::mailbox::{Actor, Ask, FIRST_WAIT, Recorded, Standing, Wish, pause};
use super::network::View;
use super::prepare::Brief;
use super::purse::Purse;
use super::recall::Recall;
use super::repeats::Repeats;
use super::turn::{Stop, TurnJob};
use super::{Fault, Settings};
use crate::clock::now_us;
use crate::domain::command::{Command, Reply};
use crate::domain::decide::decide;
use crate::domain::event::{EventBody, NewEvent, TurnOutcome, TurnTotals};
use crate::domain::id::{Seq, TurnId};
use crate::domain::message::Message;
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::{Session, Summary};
use crate::model::{Environment, Model};
use crate::store::{Append, RequestKey, RequestRecord, Store, StoreError};
use crate::tools::{FileStamps, NoHook};
use crate::workspace::Guard;

/// Asks that may wait. Beyond that, callers wait.
const MAILBOX: usize = 64;
/// Answers remembered in memory; older ones are in the store.
const ANSWERED: usize = 256;

pub(super) struct State {
    session: Session,
    history: Vec<Arc<Message>>,
    store: Store,
    settings: Arc<Settings>,
    feed: Arc<Feed>,
    execs: Arc<Execs>,
    files: Arc<FileStamps>,
    me: mpsc::WeakSender<Ask>,
    job: Option<Job>,
    model: Option<Arc<dyn Model>>,
    answered: VecDeque<(RequestKey, Reply)>,
    published: watch::Sender<Summary>,
    /// What waits for input, and the news of it.
    waiting: Waits,
    waits: watch::Receiver<Waits>,
    /// What the gate of its network knows.
    network: watch::Sender<View>,
    waiting_for_rest: Vec<oneshot::Sender<()>>,
    /// True while the session is paused: the turn waits at its next safe point.
    gate: watch::Sender<bool>,
    stopping: bool,
    /// What was taken out of the log is still in here.
    is_stale: bool,
}

struct Job {
    turn_id: TurnId,
    stop: CancellationToken,
    why: Arc<OnceLock<Stop>>,
}

/// Starts the actor of a session that was folded from its log.
pub(super) fn start(
    session: Session,
    history: Vec<Arc<Message>>,
    store: Store,
    settings: Arc<Settings>,
    feed: Arc<Feed>,
    execs: Arc<Execs>,
    (published, network): (watch::Sender<Summary>, watch::Sender<View>),
) -> Actor {
    let (asks, mailbox) = mpsc::channel(MAILBOX);
    let actor = Actor { asks };
    let gate = watch::Sender::new(session.standing.rests());
    // A jail that was adopted may stand as the last daemon left it.
    execs.freeze(session.standing.rests());
    let mut waits = execs.waits();
    if !session.execs.is_empty() {
        // The last daemon may have said that one waits.
        waits.mark_changed();
    }
    let state = State {
        session,
        history,
        store,
        settings,
        feed,
        execs,
        files: Arc::default(),
        me: actor.asks.downgrade(),
        job: None,
        model: None,
        answered: VecDeque::new(),
        published,
        waiting: Waits::new(),
        waits,
        network,
        waiting_for_rest: Vec::new(),
        gate,
        stopping: false,
        is_stale: false,
    };
    for approval in &state.session.approvals {
        state.expire_later(approval);
    }
    tokio::spawn(state.run(mailbox));
    actor
}

impl State {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Ask>) {
        loop {
            let ask = tokio::select! {
                ask = mailbox.recv() => ask,
                Ok(()) = self.waits.changed() => {
                    self.restate().await;
                    continue;
                }
            };
            let Some(ask) = ask else { return };
            // Nobody waiting for an answer any more is no reason to stop: the facts stand.
            match ask {
                Ask::Wish(wish, answer) => {
                    let _unheard = answer.send(self.wish(*wish).await);
                }
                Ask::Record(turn_id, facts, answer) => {
                    let _unheard = answer.send(self.record(turn_id, facts).await);
                }
                Ask::View(turn_id, answer) => {
                    let _unheard = answer.send(self.view(&turn_id));
                }
                Ask::InForce(answer) => {
                    let _unheard = answer.send((self.session.persona.clone(), self.grants()));
                }
                Ask::Queue(answer) => {
                    let _unheard = answer.send(self.session.queue.iter().cloned().collect());
                }
                Ask::Context(answer) => {
                    let _unheard = answer.send(Standing {
                        session: self.session.clone(),
                        history: self.history.clone(),
                    });
                }
                Ask::Interrupt(caller, key, answer) => {
                    let _unheard = answer.send(self.interrupt(caller, key).await);
                }
                Ask::JobEnded(turn_id) => self.job_ended(turn_id).await,
                Ask::Rest(answer) => {
                    if self.stop_job(Stop::Person) {
                        self.waiting_for_rest.push(answer);
                    } else {
                        let _unheard = answer.send(());
                    }
                }
                Ask::Leave(answer) => {
                    let idle = self.job.is_none()
                        && !self.stopping
                        && mailbox.is_empty()
                        && self.session.summary().is_at_rest();
                    if idle {
                        // All of it, before the next one is brought back.
                        drop(self);
                        let _unheard = answer.send(true);
                        return;
                    }
                    let _unheard = answer.send(false);
                }
                Ask::Shutdown(why, answer) => {
                    self.stopping = true;
                    if self.stop_job(why) {
                        self.waiting_for_rest.push(answer);
                    } else {
                        let _unheard = answer.send(());
                    }
                }
            }
        }
    }

    async fn wish(&mut self, wish: Wish) -> Result<Reply, Fault> {
        if let Some(reply) = self.answered_before(wish.request.as_ref())? {
            return Ok(reply);
        }
        if self.stopping
            && matches!(
                wish.command,
                Command::PostMessage { .. } | Command::StartExec { .. }
            )
        {
            return Err(Rejection::ShuttingDown.into());
        }
        let now = now_us();
        let bodies = match decide(&self.session, &wish.command, now) {
            Ok(bodies) => bodies,
            Err(rejection) => return self.rejected(wish.request.as_ref(), rejection).await,
        };
        let reply = wish.command.reply(self.session.head, &bodies);
        let record = wish.request.as_ref().map(|key| RequestRecord {
            request_id: key.request_id.clone(),
            method: key.method.to_owned(),
            fingerprint: key.fingerprint.clone(),
            session_id: self.session.session_id.clone(),
            reply: reply.clone(),
            time_us: now,
        });
        let rewrites = match &wish.command {
            Command::Redact { rewrites, .. } => rewrites.clone(),
            _ => Vec::new(),
        };
        let redacts = matches!(wish.command, Command::Redact { .. });
        let network = self.session.network;
        match self
            .commit_with(bodies, &wish.caller, record, now, rewrites)
            .await
        {
            Ok(()) => {}
            Err(Fault::Store(StoreError::Duplicate(before))) => {
                return match wish.request {
                    Some(key) if before.matches(&key) => Ok(before.reply),
                    _ => Err(Rejection::RequestIdReused(before.request_id).into()),
                };
            }
            Err(error) => return Err(error),
        }
        if redacts {
            // The fold holds what was taken out: it begins anew from the log, and is not kept before it has.
            self.is_stale = true;
            let (session, history) = super::folds::fold(&self.store, &self.session.session_id).await?;
            (self.session, self.history) = (session, history);
            self.is_stale = false;
            self.execs.forget_ends();
        }
        if self.session.network != network {
            self.execs.set_network(self.session.network);
        }
        if let Some(key) = wish.request {
            self.remember(key, reply.clone());
        }
        if let Some(model) = wish.model {
            self.model = Some(model);
        }
        if let (Some(launch), Some(actor)) = (wish.launch, self.actor()) {
            self.execs.launch(launch, wish.caller.clone(), actor);
        }
        self.ensure_job().await;
        Ok(reply)
    }

    async fn record(&mut self, turn_id: TurnId, facts: Vec<EventBody>) -> Recorded {
        let Some(turn) = &self.session.turn else {
            return Recorded::Done(None);
        };
        let caller = Caller::daemon(turn.trace_id.clone());
        let now = now_us();
        let next_turn_id = TurnId::random();
        let command = Command::RecordTurn {
            turn_id: turn_id.clone(),
            facts,
            next_turn_id,
        };
        let committed = match decide(&self.session, &command, now) {
            Ok(bodies) => self.commit(bodies, &caller, None, now).await,
            Err(Rejection::NoOpenTurn(_)) => return Recorded::Done(None),
            Err(rejection) => Err(rejection.into()),
        };
        match (committed, command) {
            (Ok(()), _) => Recorded::Done(self.view(&turn_id).map(Box::new)),
            (Err(fault), Command::RecordTurn { facts, .. }) => Recorded::Failed(fault, facts),
            (Err(fault), _) => Recorded::Failed(fault, Vec::new()),
        }
    }

    /// Commit, apply, announce.
    async fn commit(
        &mut self,
        bodies: Vec<EventBody>,
        caller: &Caller,
        request: Option<RequestRecord>,
        now: i64,
    ) -> Result<(), Fault> {
        self.commit_with(bodies, caller, request, now, Vec::new()).await
    }

    async fn commit_with(
        &mut self,
        bodies: Vec<EventBody>,
        caller: &Caller,
        request: Option<RequestRecord>,
        now: i64,
        rewrites: Vec<(Seq, EventBody)>,
    ) -> Result<(), Fault> {
        if bodies.is_empty() {
            return Ok(());
        }
        let new = bodies
            .into_iter()
            .map(|body| NewEvent {
                time_us: now,
                caller: caller.clone(),
                body,
            })
            .collect();
        let head = self.session.head;
        let sealed = self
            .store
            .seal(&self.session.session_id, self.session.spec.log, head, new)?;
        // The row in the list is part of the commit, so the fold runs on a draft first. The draft is small:
        // the history is not in it.
        let mut draft = self.session.clone();
        for event in sealed.events() {
            draft.apply(event);
        }
        let summary = self.summary_of(&draft);
        let rewritten = !rewrites.is_empty();
        let append = Append {
            session_id: draft.session_id.clone(),
            expected_head: head,
            sealed,
            summary: summary.clone(),
            request,
            asker: self.session.turn.as_ref().map(|turn| turn.asker.clone()),
            open_calls: self.session.open_tools(),
            begins_with: None,
            rewrites,
        };
        let events = self.store.append(append).await?;
        self.follow_up(&draft, &events).await;
        draft.heard.tell(&mut self.history);
        self.session = draft;
        self.stand_still(self.session.standing.rests());
        self.network.send_if_modified(|view| {
            let now = View::of(&self.session);
            let changed = *view != now;
            *view = now;
            changed
        });
        self.published.send_replace(summary);
        if rewritten {
            self.feed.forget_facts();
        } else if !self.is_stale && super::folds::is_due(head, self.session.head) {
            super::folds::keep_soon(&self.store, &self.session, &self.history);
        }
        self.feed.announce(self.session.head, events);
        Ok(())
    }

    /// Holds the turn at its next safe point and its commands where they are, or lets both go on.
    fn stand_still(&self, still: bool) {
        if self
            .gate
            .send_if_modified(|now| std::mem::replace(now, still) != still)
        {
            self.execs.freeze(still);
        }
    }

    async fn interrupt(&mut self, caller: Caller, key: Option<RequestKey>) -> Result<Seq, Fault> {
        // A repeated call must not stop a later turn.
        if let Some(before) = self.answered_before(key.as_ref())? {
            return Ok(match before {
                Reply::Done { seq } => seq,
                _ => self.session.head,
            });
        }
        let Some(turn) = &self.session.turn else {
            return Err(Rejection::NoOpenTurn(self.session.name.clone()).into());
        };
        let turn_id = turn.turn_id.clone();
        if *self.gate.borrow() {
            // What stands still can't be stopped in good order; it stands still again afterwards.
            self.execs.freeze(false);
        }
        if !self.stop_job(Stop::Person) {
            // No task works on it (it waits for an answer since a restart): close it here.
            self.close_turn(
                turn_id,
                TurnOutcome::Interrupted {
                    reason: "by a person".into(),
                },
                &caller,
            )
            .await?;
        }
        let seq = self.session.head;
        if let Some(key) = key {
            self.remember(key, Reply::Done { seq });
        }
        Ok(seq)
    }

    fn stop_job(&mut self, why: Stop) -> bool {
        let open = self.session.turn.as_ref().map(|turn| &turn.turn_id);
        let Some(job) = self.job.as_ref().filter(|job| Some(&job.turn_id) == open) else {
            return false;
        };
        // The first reason counts.
        let _first = job.why.set(why);
        job.stop.cancel();
        true
    }

    async fn close_turn(
        &mut self,
        turn_id: TurnId,
        outcome: TurnOutcome,
        caller: &Caller,
    ) -> Result<(), Fault> {
        let now = now_us();
        let mut facts = self.loose_ends();
        facts.push(EventBody::TurnFinished {
            turn_id: turn_id.clone(),
            outcome,
            totals: TurnTotals::default(),
        });
        let command = Command::RecordTurn {
            turn_id,
            facts,
            next_turn_id: TurnId::random(),
        };
        let bodies = decide(&self.session, &command, now)?;
        self.commit(bodies, caller, None, now).await
    }

    /// Calls that a dead task had begun, with the ends of their commands where no jail has them any more.
    fn loose_ends(&self) -> Vec<EventBody> {
        let execs = self.execs.clone();
        crate::domain::decide::loose_ends(&self.session, &move |exec_id| execs.is_running(exec_id))
    }

    async fn job_ended(&mut self, turn_id: TurnId) {
        let still_open = self.session.turn.as_ref().filter(|turn| turn.turn_id == turn_id);
        // At a shutdown a turn that waits for an answer is left open on purpose.
        if let Some(trace) = still_open
            .filter(|_| !self.stopping)
            .map(|turn| turn.trace_id.clone())
        {
            // The task went away without an end: a bug. Say so, in the log and to the person.
            tracing::error!(turn = %turn_id, "turn: its task ended without an outcome");
            let outcome = TurnOutcome::Failed {
                reason: "internal".into(),
                message: "the turn's task ended unexpectedly".into(),
                hints: vec!["agentctl daemon logs".into()],
            };
            let caller = Caller::daemon(trace);
            if let Err(error) = self.close_turn(turn_id.clone(), outcome, &caller).await {
                tracing::error!(%error, "turn: its end could not be written yet");
                // The dead task stays in its place meanwhile, so that no second one is started on this turn.
                self.ask_later(Ask::JobEnded(turn_id));
                return;
            }
        }
        if self.job.as_ref().is_some_and(|job| job.turn_id == turn_id) {
            self.job = None;
        }
        if *self.gate.borrow() {
            self.execs.freeze(true);
        }
        for answer in self.waiting_for_rest.drain(..) {
            let _unheard = answer.send(());
        }
        self.ensure_job().await;
    }

    fn ask_later(&self, ask: Ask) {
        let Some(actor) = self.actor() else { return };
        tokio::spawn(async move {
            pause(FIRST_WAIT).await;
            // The actor gone means that nobody is left to ask.
            let _gone = actor.asks.send(ask).await;
        });
    }

    /// An open turn that can go on has a task.
    async fn ensure_job(&mut self) {
        let Some(turn) = &self.session.turn else { return };
        if self.job.is_some() || self.stopping || self.session.standing.rests() {
            return;
        }
        // A turn that waits for an answer since a restart goes on with the answer, not before.
        let waits = turn
            .calls
            .front()
            .is_some_and(|open| matches!(open.stage, crate::domain::session::CallStage::Waiting(_)));
        if waits {
            return;
        }
        let turn_id = turn.turn_id.clone();
        let caller = Caller::daemon(turn.trace_id.clone());
        let name = turn.model.name.clone();
        let model = match self.model.clone().filter(|model| model.name() == name) {
            Some(model) => Ok(model),
            None => self.settings.models().resolve(&name, &Environment::default()),
        };
        let ready = model
            .map_err(|e| (e.reason_code().to_owned(), e.to_string(), e.hints()))
            .and_then(|model| {
                let guard = self.guard();
                guard
                    .map(|guard| (model, guard))
                    .map_err(|e| ("workspace_refused".to_owned(), e, Vec::new()))
            });
        let (model, guard) = match ready {
            Ok(ready) => ready,
            Err((reason, message, hints)) => {
                let outcome = TurnOutcome::Failed {
                    reason,
                    message,
                    hints,
                };
                if let Err(error) = self.close_turn(turn_id, outcome, &caller).await {
                    tracing::error!(%error, "turn: its end could not be written");
                }
                return;
            }
        };
        let Some(actor) = self.actor() else { return };
        let stop = CancellationToken::new();
        let why = Arc::new(OnceLock::new());
        self.job = Some(Job {
            turn_id: turn_id.clone(),
            stop: stop.clone(),
            why: why.clone(),
        });
        let job = TurnJob {
            turn_id: turn_id.clone(),
            actor: actor.clone(),
            model: std::sync::Mutex::new(model),
            fallbacks: std::sync::Mutex::default(),
            settings: self.settings.clone(),
            feed: self.feed.clone(),
            execs: self.execs.clone(),
            guard,
            files: self.files.clone(),
            hook: Arc::new(NoHook),
            desk: (self.settings.desks)(&self.session.session_id, &self.session.spec.workspace.root),
            stop,
            why,
            gate: self.gate.subscribe(),
            asked: std::sync::Mutex::default(),
            checked: std::sync::atomic::AtomicUsize::new(0),
            purse: Purse::default(),
            brief: Brief::default(),
            repeats: Repeats::default(),
            repaired: AtomicBool::new(false),
            log: Arc::new(Recall {
                store: self.store.clone(),
                session_id: self.session.session_id.clone(),
            }),
        };
        let task = tokio::spawn(job.run());
        tokio::spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(%error, turn = %turn_id, "turn: its task failed");
            }
            // The actor gone means that nobody is left to tell.
            let _gone = actor.asks.send(Ask::JobEnded(turn_id)).await;
        });
    }

    /// Opened for each turn: the workspace may have been replaced by another directory of that name.
    fn guard(&self) -> Result<Arc<Guard>, String> {
        let secret = self.settings.secret_files.clone();
        let umask = self.settings.limits.umask;
        guard_of(&self.session.spec, &self.settings)
            .map(|guard| Arc::new(guard.with_umask(umask).without(secret)))
            .map_err(|error| gone(&self.session.spec, &error))
    }

    fn actor(&self) -> Option<Actor> {
        self.me.upgrade().map(|asks| Actor { asks })
    }
}
