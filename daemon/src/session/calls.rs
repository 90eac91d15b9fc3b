//! Owns: a tool call of a turn: looked at, asked about, started, performed, settled.
//! Guarantees: its start is committed before it runs, together with the end of the call before it; whatever
//! became of a call that was begun, it is not run again.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::execs::{MODELS_TERMINAL, ToolRunner};
use super::facts::{SCRIPT_IN_LOG, approval, change_fact};
use super::mailbox::TurnView;
use super::turn::{Gone, TurnJob};
use crate::domain::event::{CallOutcome, EventBody, ExecResult, TurnOutcome};
use crate::domain::id::ExecId;
use crate::domain::message::ToolCall;
use crate::domain::network::Judgement;
use crate::domain::policy::{self, Decision};
use crate::domain::session::{CallStage, OpenCall, clip};
use crate::tools::{CallPlan, Registry, ToolContext, ToolOutput};

/// What stands in the log where a secret was.
const REDACTED: &str = "[redacted:";

/// What a call came to before anything ran.
pub(super) enum Begun {
    /// It may run: its start is among the facts.
    Ready(Box<Ready>),
    /// It has its result already (malformed, denied): among the facts.
    Settled,
    /// It ends the turn.
    Ends(TurnOutcome),
    /// It waits for a person.
    Waits,
}

/// A call whose start is among the facts.
pub(super) struct Ready {
    pub(super) call: ToolCall,
    arguments: serde_json::Value,
    plan: CallPlan,
    pub(super) exec_id: Option<ExecId>,
}

impl TurnJob {
    /// A call left over from before: waiting for an answer, answered, or never looked at.
    pub(super) async fn take_up(
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

    /// After a performed call: its facts, and the start of the next call of the same step, in one commit.
    pub(super) async fn go_on(
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

    pub(super) async fn record_begun(
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
    pub(super) fn begin(
        &self,
        tools: &Registry,
        view: &TurnView,
        open: &OpenCall,
        facts: &mut Vec<EventBody>,
    ) -> Begun {
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
        if let CallStage::Expired = &open.stage {
            let text = "denied: nobody answered in the time the policy gives. Find another way, or go on without it.";
            facts.push(self.settled(call, CallOutcome::Denied, text.to_owned()));
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
        let persona = &view.persona;
        let Some(tool) = tools.get(&call.tool).filter(|_| persona.has_tool(&call.tool)) else {
            let text = self.in_vain(call, tools.unknown(&call.tool, persona));
            facts.push(self.settled(call, CallOutcome::Failed, text));
            return Begun::Settled;
        };
        let context = self.context(None, Vec::new());
        let planned = crate::tools::parse_arguments(&call.arguments)
            .and_then(|arguments| tool.plan(&arguments, &context).map(|plan| (arguments, plan)));
        let (arguments, plan) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                let text = self.in_vain(call, error.to_string());
                facts.push(self.settled(call, CallOutcome::Failed, text));
                return Begun::Settled;
            }
        };
        if plan.effects.contains(&crate::domain::tool::Effect::Writes) && call.arguments.contains(REDACTED) {
            // The model was shown the mark in place of a secret; written, it would take the secret's place in the file.
            let text = "Nothing was written: `[redacted:…]` stands for text that is kept from you. Leave that part of the \
                        file as it is and edit around it.";
            facts.push(self.settled(call, CallOutcome::Failed, text.to_owned()));
            return Begun::Settled;
        }
        let ready = Ready {
            call: call.clone(),
            arguments,
            plan,
            exec_id: None,
        };
        self.weigh(view, open, ready, facts)
    }

    /// Asks the doorman about a call that could run.
    fn weigh(&self, view: &TurnView, open: &OpenCall, mut ready: Ready, facts: &mut Vec<EventBody>) -> Begun {
        let (call, plan) = (&ready.call, &ready.plan);
        if plan.interactive && view.options.deny_approvals {
            let text = "Nobody is there to type. Give the command its input yourself, with a here-document or its own options.";
            facts.push(self.settled(call, CallOutcome::Failed, text.to_owned()));
            return Begun::Settled;
        }
        let call_facts = plan.facts(&call.tool, &view.spec.workspace.root);
        // The rules of the network come first: what they refuse nobody is asked about, and what they allow needs no question.
        let network = self.execs.judge_hosts(&plan.hosts);
        if let Some(Judgement::Refuse(why)) = network {
            facts.push(self.settled(call, CallOutcome::Denied, format!("denied: {why}")));
            return Begun::Settled;
        }
        let policy = &view.persona.policy;
        let judged = policy::judge(policy, &view.grants, &call_facts);
        let decision = match open.stage {
            CallStage::Approved => Decision::Allow,
            _ => judged.decision.clone(),
        };
        let decision = match decision {
            Decision::Ask { .. } if network == Some(Judgement::Allow) => Decision::Allow,
            decided => decided,
        };
        match decision {
            Decision::Allow => {
                for (check, why) in &judged.warnings {
                    facts.push(EventBody::NoticeRecorded {
                        code: format!("check_{}", check.name()),
                        message: format!("{}: {why}", plan.summary),
                    });
                }
                let runs = plan.effects.contains(&crate::domain::tool::Effect::Executes);
                let exec_id = plan.command.as_ref().filter(|_| runs).map(|_| ExecId::random());
                facts.push(EventBody::ToolCallStarted {
                    turn_id: self.turn_id.clone(),
                    call: call.clone(),
                    summary: plan.summary.clone(),
                    effects: plan.effects.clone(),
                    exec_id: exec_id.clone(),
                });
                if let Some(exec_id) = exec_id.as_ref().filter(|_| plan.interactive) {
                    // Before the fact of its start: who reads that looks for the terminal.
                    self.execs.open_terminal(exec_id, Some(MODELS_TERMINAL));
                }
                if let (Some(exec_id), Some(command)) = (&exec_id, &plan.command) {
                    facts.push(EventBody::ExecStarted {
                        exec_id: exec_id.clone(),
                        script: clip(command, SCRIPT_IN_LOG),
                        script_truncated: command.chars().count() > SCRIPT_IN_LOG,
                        call_id: Some(call.call_id.clone()),
                        pty: plan.interactive,
                        timeout_ms: None,
                    });
                }
                ready.exec_id = exec_id;
                Begun::Ready(Box::new(ready))
            }
            Decision::Deny { why } => {
                // What and by which rule, for the model that chooses another way and for who wrote the rule.
                let (what, rule) = (&plan.summary, judged.by.text(policy));
                let text = format!("denied by policy: {what}: {why} ({rule})");
                facts.push(self.settled(call, CallOutcome::Denied, text));
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
                    approval: approval(call, plan, &call_facts, (policy, &judged), why),
                });
                Begun::Waits
            }
        }
    }

    /// Runs a call whose start is committed; gives the facts of its end.
    pub(super) async fn perform(&self, view: &TurnView, tools: &Registry, ready: &Ready) -> Vec<EventBody> {
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
            self.execs.close_unused_terminal(exec_id);
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
        let mut plan = None;
        let (outcome, mut text, changes) = match result {
            Ok(ToolOutput {
                text,
                ok,
                changes,
                plan: items,
                ..
            }) => {
                plan = items;
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
            self.repeats.changed();
        }
        if let Some(items) = plan {
            facts.push(EventBody::PlanUpdated {
                turn_id: self.turn_id.clone(),
                call_id: call.call_id.clone(),
                items,
            });
        }
        self.touched(ready);
        let ok = outcome == CallOutcome::Succeeded;
        let told = self
            .repeats
            .note(&call.tool, &call.arguments, &text, ok)
            .map(str::to_owned);
        for line in told.into_iter().chain(self.awareness(view, tools)) {
            text.push('\n');
            text.push_str(&line);
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

    /// Whose directories a call had to do with: their instruction files count from now on.
    fn touched(&self, ready: &Ready) {
        let named = ready.arguments.get("path").and_then(serde_json::Value::as_str);
        let paths = self.execs.paths();
        let named = named.and_then(|path| crate::tools::locate(paths.as_ref(), &self.guard, path));
        for path in ready.plan.paths.iter().chain(&named) {
            let dir = match self.guard.kind(path) {
                Ok(crate::workspace::Kind::Directory) => Some(path.as_path()),
                _ => path.parent(),
            };
            if let Some(dir) = dir {
                self.brief.touch(dir);
            }
        }
    }

    /// The text of a call that came to nothing, and what to do when that goes on.
    fn in_vain(&self, call: &ToolCall, text: String) -> String {
        match self.repeats.note(&call.tool, &call.arguments, &text, false) {
            Some(told) => format!("{text}\n{told}"),
            None => text,
        }
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
            log: self.log.clone(),
            web: self.execs.web(),
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
}
