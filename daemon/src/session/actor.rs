//! Owns: the session actor: the only writer of its session, the thin impure shell around `decide` and `apply`.
//! Guarantees: decide, commit, apply, announce, in that order; it awaits only its mailbox and the store,
//! never a model, a shell or a client.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::execs::{Execs, Launch};
use super::feed::Feed;
use super::turn::{Gone, Stop, TurnJob};
use super::{Fault, Settings, now_us};
use crate::domain::command::{Command, Reply};
use crate::domain::decide::decide;
use crate::domain::event::{EventBody, NewEvent, SessionSpec, TurnOptions, TurnOutcome, TurnTotals};
use crate::domain::id::{CallId, ExecId, Seq, SessionId, TurnId};
use crate::domain::message::Message;
use crate::domain::policy::Grant;
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::{OpenCall, Session, Summary};
use crate::model::{Environment, Model};
use crate::store::{Append, RequestKey, RequestRecord, Store, StoreError};
use crate::tools::{FileStamps, NoHook};
use crate::workspace::Guard;

/// Asks that may wait. Beyond that, callers wait.
const MAILBOX: usize = 64;
/// Answers remembered in memory; older ones are in the store.
const ANSWERED: usize = 256;

/// Handle to a session's actor. Cheap to clone.
#[derive(Clone)]
pub(super) struct Actor {
    asks: mpsc::Sender<Ask>,
}

/// What a turn needs to know of its session.
#[derive(Clone)]
pub(super) struct TurnView {
    pub(super) session_id: SessionId,
    pub(super) spec: SessionSpec,
    pub(super) history: Vec<Arc<Message>>,
    pub(super) calls: VecDeque<OpenCall>,
    pub(super) steps: u32,
    pub(super) options: TurnOptions,
    pub(super) grants: Vec<Grant>,
}

/// A command with everything that goes along with it but is not part of the log.
pub(super) struct Wish {
    pub(super) command: Command,
    pub(super) caller: Caller,
    pub(super) request: Option<RequestKey>,
    /// The model that answers, resolved with the caller's credentials.
    pub(super) model: Option<Arc<dyn Model>>,
    /// What to launch once its start is committed.
    pub(super) launch: Option<Launch>,
}

enum Ask {
    Wish(Box<Wish>, oneshot::Sender<Result<Reply, Fault>>),
    Record(
        TurnId,
        Vec<EventBody>,
        oneshot::Sender<Result<Option<TurnView>, Fault>>,
    ),
    View(TurnId, oneshot::Sender<Option<TurnView>>),
    Interrupt(Caller, oneshot::Sender<Result<Seq, Fault>>),
    /// A turn's task is over, however.
    JobEnded(TurnId),
    /// Stop the open turn for a shutdown; answered when no turn is open.
    Shutdown(oneshot::Sender<()>),
}

impl Actor {
    pub(super) async fn wish(&self, wish: Wish) -> Result<Reply, Fault> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::Wish(Box::new(wish), answer))
            .await
            .map_err(|_| Fault::closing())?;
        wait.await.map_err(|_| Fault::closing())?
    }

    /// Commits facts of a turn. `None` when the turn is no longer open afterwards.
    pub(super) async fn record(
        &self,
        turn_id: &TurnId,
        facts: Vec<EventBody>,
    ) -> Result<Option<TurnView>, Gone> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::Record(turn_id.clone(), facts, answer))
            .await
            .map_err(|_| Gone)?;
        match wait.await.map_err(|_| Gone)? {
            Ok(view) => Ok(view),
            Err(error) => {
                tracing::error!(%error, turn = %turn_id, "turn: its facts could not be written");
                Err(Gone)
            }
        }
    }

    pub(super) async fn view(&self, turn_id: &TurnId) -> Result<Option<TurnView>, Gone> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::View(turn_id.clone(), answer))
            .await
            .map_err(|_| Gone)?;
        wait.await.map_err(|_| Gone)
    }

    pub(super) async fn interrupt(&self, caller: Caller) -> Result<Seq, Fault> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::Interrupt(caller, answer))
            .await
            .map_err(|_| Fault::closing())?;
        wait.await.map_err(|_| Fault::closing())?
    }

    pub(super) async fn shutdown(&self) {
        let (answer, wait) = oneshot::channel();
        if self.asks.send(Ask::Shutdown(answer)).await.is_ok() {
            // An error means that the actor is gone: down already.
            let _down = wait.await;
        }
    }

    /// A command has ended: append the fact, and the late result of its call where the turn is over.
    pub(super) async fn exec_ended(
        &self,
        caller: Caller,
        exec_id: ExecId,
        result: crate::domain::event::ExecResult,
        late: Option<(TurnId, CallId, String)>,
    ) {
        let command = Command::FinishExec {
            exec_id: exec_id.clone(),
            result,
            late,
        };
        let wish = Wish {
            command,
            caller,
            request: None,
            model: None,
            launch: None,
        };
        if let Err(error) = self.wish(wish).await {
            tracing::warn!(%error, exec = %exec_id, "a command's end could not be written");
        }
    }
}

struct State {
    session: Session,
    history: Vec<Arc<Message>>,
    store: Store,
    settings: Arc<Settings>,
    feed: Arc<Feed>,
    execs: Arc<Execs>,
    guard: Option<Arc<Guard>>,
    files: Arc<FileStamps>,
    me: mpsc::WeakSender<Ask>,
    job: Option<Job>,
    model: Option<Arc<dyn Model>>,
    answered: VecDeque<(RequestKey, Reply)>,
    published: watch::Sender<Summary>,
    waiting_for_rest: Vec<oneshot::Sender<()>>,
    stopping: bool,
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
    published: watch::Sender<Summary>,
) -> Actor {
    let (asks, mailbox) = mpsc::channel(MAILBOX);
    let actor = Actor { asks };
    let state = State {
        session,
        history,
        store,
        settings,
        feed,
        execs,
        guard: None,
        files: Arc::default(),
        me: actor.asks.downgrade(),
        job: None,
        model: None,
        answered: VecDeque::new(),
        published,
        waiting_for_rest: Vec::new(),
        stopping: false,
    };
    tokio::spawn(state.run(mailbox));
    actor
}

impl State {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Ask>) {
        while let Some(ask) = mailbox.recv().await {
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
                Ask::Interrupt(caller, answer) => {
                    let _unheard = answer.send(self.interrupt(caller).await);
                }
                Ask::JobEnded(turn_id) => self.job_ended(turn_id).await,
                Ask::Shutdown(answer) => {
                    self.stopping = true;
                    if self.stop_job(Stop::Shutdown) {
                        self.waiting_for_rest.push(answer);
                    } else {
                        let _unheard = answer.send(());
                    }
                }
            }
        }
    }

    async fn wish(&mut self, wish: Wish) -> Result<Reply, Fault> {
        if let Some(key) = &wish.request
            && let Some((before, reply)) = self
                .answered
                .iter()
                .find(|(before, _)| before.request_id == key.request_id)
        {
            return if before == key {
                Ok(reply.clone())
            } else {
                Err(Rejection::RequestIdReused(key.request_id.clone()).into())
            };
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
        match self.commit(bodies, &wish.caller, record, now).await {
            Ok(()) => {}
            Err(Fault::Store(StoreError::Duplicate(before))) => {
                return match wish.request {
                    Some(key) if before.matches(&key) => Ok(before.reply),
                    _ => Err(Rejection::RequestIdReused(before.request_id).into()),
                };
            }
            Err(error) => return Err(error),
        }
        if let Some(key) = wish.request {
            self.answered.push_back((key, reply.clone()));
            if self.answered.len() > ANSWERED {
                self.answered.pop_front();
            }
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

    /// A "no" to something that was answered before is still that answer.
    async fn rejected(&self, key: Option<&RequestKey>, rejection: Rejection) -> Result<Reply, Fault> {
        if let Some(key) = key
            && let Some(before) = self.store.request(&key.request_id).await?
        {
            return if before.matches(key) {
                Ok(before.reply)
            } else {
                Err(Rejection::RequestIdReused(key.request_id.clone()).into())
            };
        }
        Err(rejection.into())
    }

    async fn record(&mut self, turn_id: TurnId, facts: Vec<EventBody>) -> Result<Option<TurnView>, Fault> {
        let Some(turn) = &self.session.turn else {
            return Ok(None);
        };
        let caller = Caller::daemon(turn.trace_id.clone());
        let now = now_us();
        let command = Command::RecordTurn {
            turn_id: turn_id.clone(),
            facts,
            next_turn_id: TurnId::random(),
        };
        let bodies = match decide(&self.session, &command, now) {
            Ok(bodies) => bodies,
            Err(Rejection::NoOpenTurn(_)) => return Ok(None),
            Err(rejection) => return Err(rejection.into()),
        };
        self.commit(bodies, &caller, None, now).await?;
        Ok(self.view(&turn_id))
    }

    /// Commit, apply, announce.
    async fn commit(
        &mut self,
        bodies: Vec<EventBody>,
        caller: &Caller,
        request: Option<RequestRecord>,
        now: i64,
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
        let sealed = self.store.seal(&self.session.session_id, head, new)?;
        // The row in the list is part of the commit, so the fold runs on a draft first. The draft is small:
        // the history is not in it.
        let mut draft = self.session.clone();
        for event in sealed.events() {
            draft.apply(event);
        }
        let summary = draft.summary();
        let append = Append {
            session_id: draft.session_id.clone(),
            expected_head: head,
            sealed,
            summary: summary.clone(),
            request,
        };
        self.store.append(append).await?;
        self.history.extend(draft.take_said());
        self.session = draft;
        self.published.send_replace(summary);
        self.feed.announce(self.session.head);
        Ok(())
    }

    fn view(&self, turn_id: &TurnId) -> Option<TurnView> {
        let turn = self
            .session
            .turn
            .as_ref()
            .filter(|turn| &turn.turn_id == turn_id)?;
        Some(TurnView {
            session_id: self.session.session_id.clone(),
            spec: self.session.spec.clone(),
            history: self.history.clone(),
            calls: turn.calls.clone(),
            steps: turn.steps,
            options: turn.options,
            grants: self.session.grants.clone(),
        })
    }

    async fn interrupt(&mut self, caller: Caller) -> Result<Seq, Fault> {
        let Some(turn) = &self.session.turn else {
            return Err(Rejection::NoOpenTurn(self.session.name.clone()).into());
        };
        let turn_id = turn.turn_id.clone();
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
        Ok(self.session.head)
    }

    fn stop_job(&mut self, why: Stop) -> bool {
        let Some(job) = &self.job else { return false };
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
        let facts = vec![EventBody::TurnFinished {
            turn_id: turn_id.clone(),
            outcome,
            totals: TurnTotals::default(),
        }];
        let command = Command::RecordTurn {
            turn_id,
            facts,
            next_turn_id: TurnId::random(),
        };
        let bodies = decide(&self.session, &command, now)?;
        self.commit(bodies, caller, None, now).await
    }

    async fn job_ended(&mut self, turn_id: TurnId) {
        if self.job.as_ref().is_some_and(|job| job.turn_id == turn_id) {
            self.job = None;
        }
        let still_open = self.session.turn.as_ref().filter(|turn| turn.turn_id == turn_id);
        if let Some(turn) = still_open.map(|t| t.trace_id.clone()) {
            // The task went away without an end: a bug or a full disk. Say so, in the log and to the person.
            tracing::error!(turn = %turn_id, "turn: its task ended without an outcome");
            let outcome = TurnOutcome::Failed {
                reason: "internal".into(),
                message: "the turn's task ended unexpectedly".into(),
                hints: vec!["agentctl daemon logs".into()],
            };
            let caller = Caller::daemon(turn);
            if let Err(error) = self.close_turn(turn_id, outcome, &caller).await {
                tracing::error!(%error, "turn: its end could not be written");
            }
        }
        for answer in self.waiting_for_rest.drain(..) {
            let _unheard = answer.send(());
        }
        self.ensure_job().await;
    }

    /// An open turn that can go on has a task.
    async fn ensure_job(&mut self) {
        let Some(turn) = &self.session.turn else { return };
        if self.job.is_some() || self.stopping {
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
            model,
            settings: self.settings.clone(),
            feed: self.feed.clone(),
            execs: self.execs.clone(),
            guard,
            files: self.files.clone(),
            hook: Arc::new(NoHook),
            stop,
            why,
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

    fn guard(&mut self) -> Result<Arc<Guard>, String> {
        if let Some(guard) = &self.guard {
            return Ok(guard.clone());
        }
        let guard = Guard::open(&self.session.spec.workspace.root).map_err(|e| e.to_string())?;
        let guard = Arc::new(guard.with_umask(self.settings.limits.umask));
        self.guard = Some(guard.clone());
        Ok(guard)
    }

    fn actor(&self) -> Option<Actor> {
        self.me.upgrade().map(|asks| Actor { asks })
    }
}
