//! Owns: the loop of a turn: step, tool calls, step, until the agent rests.
//! Guarantees: a state machine over the log: it can be taken up from any committed state; an intent is
//! committed before the tool runs; a tool turn costs two commits; nothing is ever run twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::calls::Ready;
use super::execs::Execs;
use super::facts::not_begun;
use super::feed::Feed;
use super::mailbox::{Actor, TurnView};
use super::prepare::Brief;
use super::purse::Purse;
use super::repeats::Repeats;
use super::{Settings, answer, prompt, step};
use crate::domain::context::ContextItem;
use crate::domain::event::{EventBody, TurnOutcome, TurnTotals};
use crate::domain::id::{CallId, TurnId};
use crate::domain::message::{Message, Part, ToolCall};
use crate::domain::session::{CallStage, OpenCall, clip};
use crate::model::{Finish, Model, StepReply};
use crate::tools::{ChangeHook, FileStamps, Registry, SessionLog, TaskDesk};
use crate::workspace::Guard;

/// Why a turn was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// A person said so: the running command is stopped as well.
    Person,
    /// The daemon goes down: the running command stays with its jail.
    Shutdown,
    /// The daemon goes down and takes its jails along: the running command is stopped as well.
    End,
}

/// Everything a turn needs; owned by its task.
pub(super) struct TurnJob {
    pub(super) turn_id: TurnId,
    pub(super) actor: Actor,
    /// The model at work; a configured fallback may take its place.
    pub(super) model: std::sync::Mutex<Arc<dyn Model>>,
    /// How many of the configured fallbacks were tried.
    pub(super) fallbacks: std::sync::Mutex<usize>,
    pub(super) settings: Arc<Settings>,
    pub(super) feed: Arc<Feed>,
    pub(super) execs: Arc<Execs>,
    pub(super) guard: Arc<Guard>,
    pub(super) files: Arc<FileStamps>,
    pub(super) hook: Arc<dyn ChangeHook>,
    pub(super) desk: Arc<dyn TaskDesk>,
    pub(super) stop: CancellationToken,
    /// Set before `stop` is cancelled.
    pub(super) why: Arc<std::sync::OnceLock<Stop>>,
    /// True while the session is paused.
    pub(super) gate: tokio::sync::watch::Receiver<bool>,
    /// The calls of the present step as the model wrote them. The log's copy went through the redactor, and
    /// what runs must be what was asked for, secrets included.
    pub(super) asked: std::sync::Mutex<HashMap<CallId, ToolCall>>,
    /// How many messages of the history the checks have looked at; 0: none yet.
    pub(super) checked: std::sync::atomic::AtomicUsize,
    /// What it may spend.
    pub(super) purse: Purse,
    /// What it did to its context.
    pub(super) brief: Brief,
    /// Whether it goes round in circles.
    pub(super) repeats: Repeats,
    /// The answer was sent back once for its form.
    pub(super) repaired: AtomicBool,
    /// The session's own log, for the model.
    pub(super) log: Arc<dyn SessionLog>,
}

/// What follows a round trip.
pub(super) enum Next {
    /// Nothing: the turn is over.
    Over,
    /// The next step, or a call that is ready.
    Go(Option<Box<Ready>>),
}

impl TurnJob {
    /// Runs the turn to its end. An error means that the session is gone (shutdown): nothing more to record.
    pub(super) async fn run(self) {
        if let Err(Gone) = self.turn().await {
            tracing::debug!(turn = %self.turn_id, "turn: its session is gone");
        }
        self.feed.end_step();
    }

    async fn turn(&self) -> Result<(), Gone> {
        let mut dialect = self.model().dialect();
        let mut tools = Registry::for_dialect(dialect);
        self.execs.learn_secrets().await;
        let mut view = self.view().await?;
        let mut ready: Option<Box<Ready>> = None;
        loop {
            self.pass_gate().await;
            if let Some(started) = ready.take() {
                if self.stop.is_cancelled() {
                    let facts = not_begun(&self.turn_id, &started.call, started.exec_id.as_ref());
                    return self.finish(facts, self.stopped()).await;
                }
                let mut facts = self.perform(&view, &tools, &started).await;
                if self.stop.is_cancelled() {
                    return self.finish(facts, self.stopped()).await;
                }
                ready = self.go_on(&mut view, &tools, &mut facts, &started.call).await?;
                continue;
            }
            if self.stop.is_cancelled() {
                let waits =
                    matches!(view.calls.front(), Some(open) if matches!(open.stage, CallStage::Waiting(_)));
                if waits && self.why.get() != Some(&Stop::Person) {
                    // A question outlives the daemon: the turn stays open, the answer moves it on.
                    return Ok(());
                }
                return self.finish(Vec::new(), self.stopped()).await;
            }
            if let Some(open) = view.calls.front().cloned() {
                ready = self.take_up(&mut view, &tools, open).await?;
                continue;
            }
            if view.steps >= view.options.max_steps {
                let most = view.options.max_steps;
                let outcome = TurnOutcome::OverBudget {
                    reason: format!(
                        "{most} step{}, the most for one turn",
                        if most == 1 { "" } else { "s" }
                    ),
                    hints: vec!["agentctl run -s SESSION \"go on\"".into()],
                };
                return self.finish(Vec::new(), outcome).await;
            }
            if let Some(why) = self.repeats.over().filter(|_| self.brief.is_last()) {
                return self.finish(Vec::new(), no_progress(why)).await;
            }
            if !self.prepare(&mut view, &tools).await? {
                return Ok(());
            }
            if self.stop.is_cancelled() {
                continue;
            }
            let (notices, end) = self.check_prompt(&view);
            if let Some(outcome) = end {
                return self.finish(notices, outcome).await;
            }
            if !notices.is_empty() {
                view = self.actor.record(&self.turn_id, notices).await?.ok_or(Gone)?;
            }
            if let Err(outcome) = self.purse.open(self, &view).await {
                return self.finish(Vec::new(), outcome).await;
            }
            let stepped = self.step(&mut view, &tools).await;
            self.purse.close(self, &view).await;
            match stepped? {
                Next::Go(next) => ready = next,
                Next::Over => return Ok(()),
            }
            if dialect != self.model().dialect() {
                dialect = self.model().dialect();
                tools = Registry::for_dialect(dialect);
            }
        }
    }

    /// Waits while the session is paused: between any two things a turn does it can stand still.
    async fn pass_gate(&self) {
        let mut gate = self.gate.clone();
        // A sender that is gone means that the session is: what follows notices.
        let open = gate.wait_for(|paused| !*paused);
        let _either =
            futures::future::select(std::pin::pin!(self.stop.cancelled()), std::pin::pin!(open)).await;
    }

    /// One model round trip.
    async fn step(&self, view: &mut TurnView, tools: &Registry) -> Result<Next, Gone> {
        let number = view.steps.saturating_add(1);
        let history = view.history.iter().map(|m| Message::clone(m)).collect();
        let request = self.request(view, history, tools);
        let model = self.model();
        let since = Instant::now();
        let retries = AtomicU32::new(0);
        let end = step::run(
            &model,
            request,
            &self.feed,
            (&self.turn_id, number),
            &self.stop,
            |retry| {
                retries.fetch_add(1, Ordering::Relaxed);
                let fact = EventBody::StepRetried {
                    turn_id: self.turn_id.clone(),
                    step: number,
                    attempt: retry.attempt,
                    max_attempts: retry.max_attempts,
                    wait_ms: retry.wait_ms,
                    reason: retry.reason,
                };
                async move {
                    // A turn that is gone is noticed by the next record.
                    let _gone = self.actor.record(&self.turn_id, vec![fact]).await;
                }
            },
        )
        .await;
        let reply = match end {
            step::StepEnd::Replied(reply) => reply,
            step::StepEnd::Failed(error) => {
                let usage = step::usage_unknown(&model, since, retries.load(Ordering::Relaxed), Some(&error));
                return self.failed(view, tools, number, usage, error).await;
            }
            step::StepEnd::Stopped(text) => {
                let fact = self.unfinished(number, text, "interrupted", (&model, since, &retries));
                self.finish(vec![fact], self.stopped()).await?;
                return Ok(Next::Over);
            }
            step::StepEnd::Droned(text) => {
                let fact = self.unfinished(number, text, "repetition", (&model, since, &retries));
                let why = "its answer became the same words over and over, and was cut off there";
                self.finish(vec![fact], no_progress(why)).await?;
                return Ok(Next::Over);
            }
        };
        self.replied(view, tools, number, reply).await
    }

    async fn replied(
        &self,
        view: &mut TurnView,
        tools: &Registry,
        number: u32,
        reply: StepReply,
    ) -> Result<Next, Gone> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = reply
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some((call.call_id.clone(), call.clone())),
                _ => None,
            })
            .collect();
        self.brief.answered();
        let usage = step::usage(&self.model(), &reply, &self.settings.models());
        let said = Message {
            role: crate::domain::message::Role::Assistant,
            parts: reply.parts.clone(),
        };
        let fact = self.step_fact(
            number,
            reply.parts.clone(),
            &step::finish_word(&reply.finish),
            usage,
        );
        let Some(call) = said.tool_calls().next().cloned() else {
            let mut outcome = rested(&reply.finish, &said.text());
            if let (TurnOutcome::Done, Some(schema)) = (&outcome, &view.options.json_schema)
                && let Err(why) = answer::check(schema, &said.text())
            {
                if !self.repaired.swap(true, Ordering::Relaxed) && number < view.options.max_steps {
                    let note = format!("{why} Send the whole answer again: only the JSON value.");
                    let added = EventBody::ContextAdded {
                        turn_id: self.turn_id.clone(),
                        items: vec![ContextItem::note(note)],
                    };
                    let facts = vec![fact, added];
                    *view = self.actor.record(&self.turn_id, facts).await?.ok_or(Gone)?;
                    self.feed.end_step();
                    return Ok(Next::Go(None));
                }
                outcome = TurnOutcome::Failed {
                    reason: "answer_invalid".into(),
                    message: clip(&format!("the answer is not what was asked for: {why}"), 2_000),
                    hints: vec!["agentctl logs SESSION   (the answer as it was)".into()],
                };
            }
            let done = matches!(outcome, TurnOutcome::Done | TurnOutcome::GoalNotMet);
            self.finish(vec![fact], outcome).await?;
            if done {
                self.choose_title(view);
            }
            return Ok(Next::Over);
        };
        let mut facts = vec![fact];
        let open = OpenCall {
            call,
            stage: CallStage::Planned,
        };
        let begun = self.begin(tools, view, &open, &mut facts);
        Ok(Next::Go(self.record_begun(view, facts, begun).await?))
    }

    /// A step whose answer has no end of its own.
    fn unfinished(
        &self,
        step: u32,
        text: String,
        finish: &str,
        (model, since, retries): (&Arc<dyn Model>, Instant, &AtomicU32),
    ) -> EventBody {
        let parts = if text.trim().is_empty() {
            Vec::new()
        } else {
            vec![Part::Text { text }]
        };
        let usage = step::usage_unknown(model, since, retries.load(Ordering::Relaxed), None);
        self.step_fact(step, parts, finish, usage)
    }

    pub(super) fn step_fact(
        &self,
        step: u32,
        parts: Vec<Part>,
        finish: &str,
        usage: crate::domain::usage::Usage,
    ) -> EventBody {
        EventBody::StepFinished {
            turn_id: self.turn_id.clone(),
            step,
            parts,
            finish: finish.to_owned(),
            usage,
        }
    }

    fn stopped(&self) -> TurnOutcome {
        let reason = match self.why.get() {
            Some(Stop::Shutdown | Stop::End) => TurnOutcome::WAS_STOPPED,
            _ => "by a person",
        };
        TurnOutcome::Interrupted {
            reason: reason.into(),
        }
    }

    pub(super) async fn finish(&self, mut facts: Vec<EventBody>, outcome: TurnOutcome) -> Result<(), Gone> {
        facts.push(EventBody::TurnFinished {
            turn_id: self.turn_id.clone(),
            outcome,
            totals: TurnTotals::default(),
        });
        self.actor.record(&self.turn_id, facts).await?;
        Ok(())
    }

    pub(super) async fn view(&self) -> Result<TurnView, Gone> {
        self.actor.view(&self.turn_id).await?.ok_or(Gone)
    }
}

/// The session's actor, or this turn, is no more.
#[derive(Debug)]
pub(super) struct Gone;

/// How a turn ends whose model asks for no more calls.
fn rested(finish: &Finish, text: &str) -> TurnOutcome {
    match finish {
        Finish::Length => TurnOutcome::Failed {
            reason: "output_limit".into(),
            message: "the model hit its output limit: its answer is incomplete".into(),
            hints: vec!["agentctl send SESSION \"go on\"".into()],
        },
        Finish::ContentFilter => TurnOutcome::Failed {
            reason: "content_filter".into(),
            message: "the provider's content filter cut the answer".into(),
            hints: vec!["say it in other words, or use another model".into()],
        },
        _ if prompt::says_goal_not_met(text) => TurnOutcome::GoalNotMet,
        _ => TurnOutcome::Done,
    }
}

/// How a turn ends that went round in circles and was told so.
fn no_progress(why: &str) -> TurnOutcome {
    TurnOutcome::Failed {
        reason: "no_progress".into(),
        message: format!("the model went round in circles: {why}"),
        hints: vec![
            "agentctl send SESSION \"…\"   (say what it misses)".into(),
            "agentctl run -s SESSION -m MODEL \"go on\"   (with another model)".into(),
        ],
    }
}
