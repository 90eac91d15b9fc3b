//! Owns: the way to a session's actor: what can be asked, and asking again what the store could not take.
//! Guarantees: a fact that happened is written or still being tried; an asker that goes away undoes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Fault;
use super::execs::Launch;
use super::turn::{Gone, Stop};
use crate::domain::command::{Command, Reply};
use crate::domain::context::PlanItem;
use crate::domain::event::{EventBody, SessionSpec, TurnOptions, TurnTotals};
use crate::domain::id::{ApprovalId, CallId, ExecId, Seq, SessionId, TurnId};
use crate::domain::message::Message;
use crate::domain::persona::Persona;
use crate::domain::policy::Rule;
use crate::domain::principal::{Asker, Caller};
use crate::domain::session::{OpenCall, QueuedMessage, Session};
use crate::domain::task::TaskId;
use crate::model::Model;
use crate::store::RequestKey;

/// What the store can't take is tried again after this long, then after twice as long, up to `LAST_WAIT`.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Somebody waits for it, and a try costs nothing.
const LAST_WAIT: Duration = Duration::from_secs(4);

pub(super) async fn pause(wait: Duration) -> Duration {
    tokio::time::sleep(wait).await;
    wait.saturating_mul(2).min(LAST_WAIT)
}

/// How a record went; what was not written comes back.
pub(super) enum Recorded {
    Done(Option<Box<TurnView>>),
    Failed(Fault, Vec<EventBody>),
}

/// Handle to a session's actor. Cheap to clone.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) asks: mpsc::Sender<Ask>,
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
    /// Rules that approvals added, for the session or for the project.
    pub(super) grants: Vec<Rule>,
    /// What is in force.
    pub(super) persona: Arc<Persona>,
    /// What the turn took so far.
    pub(super) totals: TurnTotals,
    /// When it started, microseconds since the epoch.
    pub(super) started_us: i64,
    /// On whose behalf it works.
    pub(super) asker: Asker,
    /// The session's task.
    pub(super) task: Option<TaskId>,
    /// Tokens of the last request: what the next one sends at least. 0: none was made yet.
    pub(super) context_tokens: u64,
    /// What of the context the log knows.
    pub(super) heard: Heard,
    /// The agent's plan.
    pub(super) plan: Arc<[PlanItem]>,
    /// The session has a title that was chosen.
    pub(super) titled: bool,
}

/// What of a context the log knows.
#[derive(Clone)]
pub(super) struct Heard {
    /// Instruction files in it, by path, each with its digest.
    pub(super) instructed: BTreeMap<String, String>,
    /// It has the surroundings.
    pub(super) oriented: bool,
    /// A person asked for a compaction, with this in mind.
    pub(super) wanted: Option<String>,
    /// Bytes of text since the last request whose tokens were counted.
    pub(super) fresh_bytes: u64,
}

/// What stands in a model's context at a moment.
pub(super) struct Standing {
    pub(super) session: Session,
    pub(super) history: Vec<Arc<Message>>,
}

/// A command with everything that goes along with it but is not part of the log.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) command: Command,
    pub(super) caller: Caller,
    pub(super) request: Option<RequestKey>,
    /// The model that answers, resolved with the caller's credentials.
    pub(super) model: Option<Arc<dyn Model>>,
    /// What to launch once its start is committed.
    pub(super) launch: Option<Launch>,
}

pub(super) enum Ask {
    Wish(Box<Wish>, oneshot::Sender<Result<Reply, Fault>>),
    Record(TurnId, Vec<EventBody>, oneshot::Sender<Recorded>),
    View(TurnId, oneshot::Sender<Option<TurnView>>),
    /// The persona in force, and the rules that were granted.
    InForce(oneshot::Sender<(Arc<Persona>, Vec<Rule>)>),
    /// The messages that wait.
    Queue(oneshot::Sender<Vec<QueuedMessage>>),
    /// What stands in the model's context.
    Context(oneshot::Sender<Standing>),
    Interrupt(Caller, Option<RequestKey>, oneshot::Sender<Result<Seq, Fault>>),
    /// A turn's task is over, however.
    JobEnded(TurnId),
    /// Answered when no task works on the session: after the stop that was asked for, or at once.
    Rest(oneshot::Sender<()>),
    /// End, if nothing is to be done; answered with whether that is so.
    Leave(oneshot::Sender<bool>),
    /// Stop the open turn for a shutdown; answered when no turn is open.
    Shutdown(Stop, oneshot::Sender<()>),
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

    /// Commits facts of a turn. `None` when the turn is no longer open afterwards. What the store can't take
    /// now is tried again until it can: a fact that happened is never dropped, and nothing is run twice for it.
    pub(super) async fn record(
        &self,
        turn_id: &TurnId,
        mut facts: Vec<EventBody>,
    ) -> Result<Option<TurnView>, Gone> {
        let mut wait = FIRST_WAIT;
        loop {
            let (answer, heard) = oneshot::channel();
            self.asks
                .send(Ask::Record(turn_id.clone(), facts, answer))
                .await
                .map_err(|_| Gone)?;
            match heard.await.map_err(|_| Gone)? {
                Recorded::Done(view) => return Ok(view.map(|view| *view)),
                Recorded::Failed(Fault::Rejected(_), _) => return Err(Gone),
                Recorded::Failed(error, unwritten) => {
                    tracing::error!(%error, turn = %turn_id, "turn: its facts could not be written yet");
                    facts = unwritten;
                }
            }
            wait = pause(wait).await;
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

    pub(super) async fn in_force(&self) -> Result<(Arc<Persona>, Vec<Rule>), Fault> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::InForce(answer))
            .await
            .map_err(|_| Fault::closing())?;
        wait.await.map_err(|_| Fault::closing())
    }

    /// Denies a question whose time is over. Tried again until it is written: a question without an end would hold
    /// its turn for ever.
    pub(super) async fn expire(&self, approval_id: ApprovalId) {
        let wish = Wish {
            command: Command::ExpireApproval { approval_id },
            caller: Caller::daemon(super::trace_id()),
            request: None,
            model: None,
            launch: None,
        };
        let mut wait = FIRST_WAIT;
        loop {
            match self.wish(wish.clone()).await {
                Ok(_) | Err(Fault::Rejected(_)) => return,
                Err(error) => tracing::error!(%error, "the end of a question could not be written yet"),
            }
            wait = pause(wait).await;
        }
    }

    pub(super) async fn queue(&self) -> Result<Vec<QueuedMessage>, Fault> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::Queue(answer))
            .await
            .map_err(|_| Fault::closing())?;
        wait.await.map_err(|_| Fault::closing())
    }

    pub(super) async fn context(&self) -> Result<Standing, Fault> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::Context(answer))
            .await
            .map_err(|_| Fault::closing())?;
        wait.await.map_err(|_| Fault::closing())
    }

    pub(super) async fn interrupt(&self, caller: Caller, key: Option<RequestKey>) -> Result<Seq, Fault> {
        let (answer, wait) = oneshot::channel();
        self.asks
            .send(Ask::Interrupt(caller, key, answer))
            .await
            .map_err(|_| Fault::closing())?;
        wait.await.map_err(|_| Fault::closing())?
    }

    /// Stops the task at work, if any, and waits until it is gone.
    pub(super) async fn rest(&self) {
        let (answer, wait) = oneshot::channel();
        if self.asks.send(Ask::Rest(answer)).await.is_ok() {
            // An error means that the actor is gone: at rest already.
            let _gone = wait.await;
        }
    }

    /// Ends the actor where it has nothing to do. True when it is gone.
    pub(super) async fn leave(&self) -> bool {
        let (answer, wait) = oneshot::channel();
        match self.asks.send(Ask::Leave(answer)).await {
            Ok(()) => wait.await.unwrap_or(true),
            Err(_) => true,
        }
    }

    pub(super) async fn shutdown(&self, keep_jails: bool) {
        let why = if keep_jails { Stop::Shutdown } else { Stop::End };
        let (answer, wait) = oneshot::channel();
        if self.asks.send(Ask::Shutdown(why, answer)).await.is_ok() {
            // An error means that the actor is gone: down already.
            let _down = wait.await;
        }
    }

    /// Says something in the log that a person should know. What can't be written is only logged: it changes
    /// nothing.
    pub(super) async fn notice(&self, caller: Caller, code: &str, message: &str) {
        let command = Command::Notice {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        self.tell(caller, command).await;
    }

    /// Has something written that nothing depends on.
    pub(super) async fn tell(&self, caller: Caller, command: Command) {
        let wish = Wish {
            command,
            caller,
            request: None,
            model: None,
            launch: None,
        };
        if let Err(error) = self.wish(wish).await {
            tracing::warn!(%error, "a remark could not be written into the log");
        }
    }

    /// A command has ended: append the fact, and the late result of its call where the turn is over. `held` hears each time
    /// what keeps it from being written.
    pub(super) async fn exec_ended(
        &self,
        caller: Caller,
        exec_id: ExecId,
        result: crate::domain::event::ExecResult,
        late: Option<(TurnId, CallId, String)>,
        held: &(dyn Fn(&Fault) + Send + Sync),
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
        let mut wait = FIRST_WAIT;
        loop {
            match self.wish(wish.clone()).await {
                Ok(_) => return,
                Err(Fault::Rejected(no)) => {
                    return tracing::debug!(%no, exec = %exec_id, "the end of a command was known");
                }
                Err(error) => {
                    tracing::error!(%error, exec = %exec_id, "the end of a command could not be written yet");
                    held(&error);
                    wait = pause(wait).await;
                }
            }
        }
    }
}
