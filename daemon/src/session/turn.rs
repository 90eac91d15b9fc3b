//! Owns: the loop of a turn: step, tool calls, step, until the agent rests.
//! Guarantees: a state machine over the log: it can be taken up from any committed state; an intent is
//! committed before the tool runs; a tool turn costs two commits; nothing is ever run twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::execs::{Execs, ToolRunner};
use super::facts::{SCRIPT_IN_LOG, approval, change_fact, not_begun};
use super::feed::Feed;
use super::mailbox::{Actor, TurnView};
use super::purse::Purse;
use super::{Settings, prompt, step};
use crate::domain::event::{CallOutcome, EventBody, ExecResult, TurnOutcome, TurnTotals};
use crate::domain::id::{CallId, ExecId, TurnId};
use crate::domain::message::{Message, Part, ToolCall};
use crate::domain::policy::{self, Decision};
use crate::domain::session::{CallStage, OpenCall, clip};
use crate::model::{Finish, Model, ModelRequest, StepReply};
use crate::tools::{CallPlan, ChangeHook, FileStamps, Registry, TaskDesk, ToolContext, ToolOutput};
use crate::workspace::Guard;

/// What stands in the log where a secret was.
const REDACTED: &str = "[redacted:";
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
    pub(super) model: Arc<dyn Model>,
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
    /// What it may spend.
    pub(super) purse: Purse,
}

/// What a call came to before anything ran.
enum Begun {
    /// It may run: its start is among the facts.
    Ready(Box<Ready>),
    /// It has its result already (malformed, denied): among the facts.
    Settled,
    /// It ends the turn.
    Ends(TurnOutcome),
    /// It waits for a person.
    Waits,
}

/// What follows a round trip.
enum Next {
    /// Nothing: the turn is over.
    Over,
    /// The next step, or a call that is ready.
    Go(Option<Box<Ready>>),
}

struct Ready {
    call: ToolCall,
    arguments: serde_json::Value,
    plan: CallPlan,
    exec_id: Option<ExecId>,
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
        let tools = Registry::for_dialect(self.model.dialect());
        let mut view = self.view().await?;
        let mut ready: Option<Box<Ready>> = None;
        loop {
            self.pass_gate().await;
            if let Some(started) = ready.take() {
                if self.stop.is_cancelled() {
                    let facts = not_begun(&self.turn_id, &started.call, started.exec_id.as_ref());
                    return self.finish(facts, self.stopped()).await;
                }
                let mut facts = self.perform(&tools, &started).await;
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
                let reason = format!("{} steps, the most for one turn", view.options.max_steps);
                return self.finish(Vec::new(), TurnOutcome::OverBudget { reason }).await;
            }
            if let Err(reason) = self.purse.open(self, &view).await {
                return self.finish(Vec::new(), TurnOutcome::OverBudget { reason }).await;
            }
            let stepped = self.step(&mut view, &tools).await;
            self.purse.close(self, &view).await;
            match stepped? {
                Next::Go(next) => ready = next,
                Next::Over => return Ok(()),
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

    /// A call left over from before: waiting for an answer, answered, or never looked at.
    async fn take_up(
        &self,
        view: &mut TurnView,
        tools: &Registry,
        open: OpenCall,
    ) -> Result<Option<Box<Ready>>, Gone> {
        if let CallStage::Waiting(_) = open.stage {
            // The answer is a fact: wait for the head to move, then look again.
            let mut bell = self.feed.listen();
            loop {
                let seen = bell.borrow_and_update().head;
                *view = self.view().await?;
                let waiting = view
                    .calls
                    .front()
                    .is_some_and(|c| c.call == open.call && matches!(c.stage, CallStage::Waiting(_)));
                if !waiting {
                    return Ok(None);
                }
                if bell.borrow().head > seen {
                    continue;
                }
                tokio::select! {
                    () = self.stop.cancelled() => return Ok(None),
                    changed = bell.changed() => changed.map_err(|_| Gone)?,
                }
            }
        }
        let mut facts = Vec::new();
        let begun = self.begin(tools, view, &open, &mut facts);
        self.record_begun(view, facts, begun).await
    }

    /// One model round trip.
    async fn step(&self, view: &mut TurnView, tools: &Registry) -> Result<Next, Gone> {
        let number = view.steps.saturating_add(1);
        let request = ModelRequest {
            instructions: prompt::instructions(&view.spec, self.model.dialect()),
            messages: view
                .history
                .iter()
                .map(|m| Message::clone(m))
                .collect::<Vec<_>>()
                .into(),
            tools: tools.specs(),
            effort: self.settings.effort.clone(),
            session_key: view.session_id.to_string(),
            approver_present: view.options.approver_present,
        };
        let since = Instant::now();
        let retries = AtomicU32::new(0);
        let end = step::run(
            &self.model,
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
                let outcome = TurnOutcome::Failed {
                    reason: error.reason_code().to_owned(),
                    message: error.to_string(),
                    hints: error.hints(),
                };
                let fact = self.step_fact(
                    number,
                    Vec::new(),
                    "failed",
                    step::usage_unknown(&self.model, since, retries.load(Ordering::Relaxed), Some(&error)),
                );
                self.finish(vec![fact], outcome).await?;
                return Ok(Next::Over);
            }
            step::StepEnd::Stopped(text) => {
                let parts = if text.trim().is_empty() {
                    Vec::new()
                } else {
                    vec![Part::Text { text }]
                };
                let fact = self.step_fact(
                    number,
                    parts,
                    "interrupted",
                    step::usage_unknown(&self.model, since, retries.load(Ordering::Relaxed), None),
                );
                self.finish(vec![fact], self.stopped()).await?;
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
        let usage = step::usage(&self.model, &reply, &self.settings.models());
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
            let outcome = match reply.finish {
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
                _ if prompt::says_goal_not_met(&said.text()) => TurnOutcome::GoalNotMet,
                _ => TurnOutcome::Done,
            };
            self.finish(vec![fact], outcome).await?;
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

    /// After a performed call: its facts, and the start of the next call of the same step, in one commit.
    async fn go_on(
        &self,
        view: &mut TurnView,
        tools: &Registry,
        facts: &mut Vec<EventBody>,
        done: &ToolCall,
    ) -> Result<Option<Box<Ready>>, Gone> {
        let next = view
            .calls
            .iter()
            .find(|open| open.call.call_id != done.call_id)
            .cloned();
        let begun = match next {
            Some(open) => self.begin(tools, view, &open, facts),
            None => Begun::Settled,
        };
        self.record_begun(view, std::mem::take(facts), begun).await
    }

    async fn record_begun(
        &self,
        view: &mut TurnView,
        facts: Vec<EventBody>,
        begun: Begun,
    ) -> Result<Option<Box<Ready>>, Gone> {
        if let Begun::Ends(outcome) = begun {
            self.finish(facts, outcome).await?;
            return Err(Gone);
        }
        *view = self.actor.record(&self.turn_id, facts).await?.ok_or(Gone)?;
        self.feed.end_step();
        Ok(match begun {
            Begun::Ready(ready) => Some(ready),
            _ => None,
        })
    }

    /// Looks at a call and says what is to happen; nothing has happened yet.
    fn begin(&self, tools: &Registry, view: &TurnView, open: &OpenCall, facts: &mut Vec<EventBody>) -> Begun {
        let kept = self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&open.call.call_id)
            .cloned();
        let call = kept.as_ref().unwrap_or(&open.call);
        if let CallStage::Started(_) = &open.stage {
            // Whatever became of it: it is not run again.
            let text = "[outcome unknown: it was not run again. Look at the state of things first.]";
            facts.push(self.settled(call, CallOutcome::Unknown, text.to_owned()));
            return Begun::Settled;
        }
        if kept.is_none() && call.arguments.contains(REDACTED) {
            let text =
                "Its text held a secret, which was not kept over a restart of agentd. Make the call again.";
            facts.push(self.settled(call, CallOutcome::Failed, text.to_owned()));
            return Begun::Settled;
        }
        if let CallStage::Denied(reason) = &open.stage {
            let text = if reason.is_empty() {
                "denied by the person. Find another way, or ask what they want.".to_owned()
            } else {
                format!("denied by the person: {reason}")
            };
            facts.push(self.settled(call, CallOutcome::Denied, text));
            return Begun::Settled;
        }
        let Some(tool) = tools.get(&call.tool) else {
            let names: Vec<String> = tools.specs().iter().map(|s| s.name.clone()).collect();
            let text = format!(
                "There is no tool '{}'. There are: {}.",
                call.tool,
                names.join(", ")
            );
            facts.push(self.settled(call, CallOutcome::Failed, text));
            return Begun::Settled;
        };
        let context = self.context(None, Vec::new());
        let planned = crate::tools::parse_arguments(&call.arguments)
            .and_then(|arguments| tool.plan(&arguments, &context).map(|plan| (arguments, plan)));
        let (arguments, plan) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                facts.push(self.settled(call, CallOutcome::Failed, error.to_string()));
                return Begun::Settled;
            }
        };
        let call_facts = plan.facts(&call.tool);
        let decision = match open.stage {
            CallStage::Approved => Decision::Allow,
            _ => policy::decide(&self.settings.policy, &view.grants, &call_facts),
        };
        match decision {
            Decision::Allow => {
                let runs = plan.effects.contains(&crate::domain::tool::Effect::Executes);
                let exec_id = plan.command.as_ref().filter(|_| runs).map(|_| ExecId::random());
                facts.push(EventBody::ToolCallStarted {
                    turn_id: self.turn_id.clone(),
                    call: call.clone(),
                    summary: plan.summary.clone(),
                    effects: plan.effects.clone(),
                    exec_id: exec_id.clone(),
                });
                if let (Some(exec_id), Some(command)) = (&exec_id, &plan.command) {
                    facts.push(EventBody::ExecStarted {
                        exec_id: exec_id.clone(),
                        script: clip(command, SCRIPT_IN_LOG),
                        script_truncated: command.chars().count() > SCRIPT_IN_LOG,
                        call_id: Some(call.call_id.clone()),
                        pty: false,
                        timeout_ms: None,
                    });
                }
                Begun::Ready(Box::new(Ready {
                    call: call.clone(),
                    arguments,
                    plan,
                    exec_id,
                }))
            }
            Decision::Deny { why } => {
                facts.push(self.settled(call, CallOutcome::Denied, format!("denied by policy: {why}")));
                Begun::Settled
            }
            Decision::Ask { why } if view.options.deny_approvals => {
                let text = format!("denied: {why}, and nobody is there to ask (--on-approval=deny)");
                facts.push(self.settled(call, CallOutcome::Denied, text));
                Begun::Ends(TurnOutcome::Denied {
                    reason: format!("{} ({why})", plan.summary),
                })
            }
            Decision::Ask { why } => {
                facts.push(EventBody::ApprovalRequested {
                    approval: approval(call, &plan, &call_facts, why),
                });
                Begun::Waits
            }
        }
    }

    /// Runs a call whose start is committed; gives the facts of its end.
    async fn perform(&self, tools: &Registry, ready: &Ready) -> Vec<EventBody> {
        let started = Instant::now();
        let call = &ready.call;
        let runner = Arc::new(ToolRunner::new(
            self.execs.clone(),
            ready.exec_id.clone(),
            self.stop.clone(),
            self.why.clone(),
        ));
        let context = self.context(Some(runner.clone()), ready.plan.cleared());
        let result = match tools.get(&call.tool) {
            Some(tool) => tool.run(&ready.arguments, &context).await,
            None => Err(crate::tools::ToolError::Failed("the tool is gone".into())),
        };
        let mut facts = Vec::new();
        let left_running = runner.left_running();
        if let Some(exec_id) = ready.exec_id.as_ref().filter(|_| !left_running) {
            let result = runner.take_result().unwrap_or_else(|| ExecResult {
                exit_code: 125,
                message: "the command was not run".into(),
                ..ExecResult::default()
            });
            facts.push(EventBody::ExecFinished {
                exec_id: exec_id.clone(),
                result,
            });
        }
        let (outcome, text, changes) = match result {
            Ok(ToolOutput {
                text, ok, changes, ..
            }) => {
                let outcome = if ok {
                    CallOutcome::Succeeded
                } else {
                    CallOutcome::Failed
                };
                (outcome, text, changes)
            }
            Err(error) => (CallOutcome::Failed, error.to_string(), Vec::new()),
        };
        for change in &changes {
            facts.push(change_fact(call, change));
        }
        if !changes.is_empty() {
            self.purse.changed();
        }
        // A command that stays with its jail keeps its call open: its result follows when it ends.
        if !left_running {
            let outcome = if self.stop.is_cancelled() {
                CallOutcome::Interrupted
            } else {
                outcome
            };
            facts.push(EventBody::ToolCallFinished {
                turn_id: self.turn_id.clone(),
                call_id: call.call_id.clone(),
                outcome,
                result: text,
                duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
        facts
    }

    fn context(&self, runner: Option<Arc<ToolRunner>>, cleared: Vec<std::path::PathBuf>) -> ToolContext {
        let runner = runner.unwrap_or_else(|| {
            Arc::new(ToolRunner::new(
                self.execs.clone(),
                None,
                self.stop.clone(),
                self.why.clone(),
            ))
        });
        ToolContext {
            guard: self.guard.clone(),
            paths: self.execs.paths(),
            files: self.files.clone(),
            shell: runner,
            hook: self.hook.clone(),
            desk: self.desk.clone(),
            cleared: cleared.into(),
            cancel: self.stop.clone(),
        }
    }

    fn settled(&self, call: &ToolCall, outcome: CallOutcome, result: String) -> EventBody {
        EventBody::ToolCallFinished {
            turn_id: self.turn_id.clone(),
            call_id: call.call_id.clone(),
            outcome,
            result,
            duration_ms: 0,
        }
    }

    fn step_fact(
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
            Some(Stop::Shutdown | Stop::End) => "agentd was stopped",
            _ => "by a person",
        };
        TurnOutcome::Interrupted {
            reason: reason.into(),
        }
    }

    async fn finish(&self, mut facts: Vec<EventBody>, outcome: TurnOutcome) -> Result<(), Gone> {
        facts.push(EventBody::TurnFinished {
            turn_id: self.turn_id.clone(),
            outcome,
            totals: TurnTotals::default(),
        });
        self.actor.record(&self.turn_id, facts).await?;
        Ok(())
    }

    async fn view(&self) -> Result<TurnView, Gone> {
        self.actor.view(&self.turn_id).await?.ok_or(Gone)
    }
}

/// The session's actor, or this turn, is no more.
#[derive(Debug)]
pub(super) struct Gone;
