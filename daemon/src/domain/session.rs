//! Owns: what a Session is at a given seq: the fold of its log.
//! Guarantees: `apply` is pure and total; folding any prefix of a log gives the state that was live then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::approval::{Answer, Approval, Verdict};
use super::context::PlanItem;
use super::event::{
    CallOutcome, Event, EventBody, ModelRef, SessionSpec, TurnOptions, TurnOutcome, TurnTotals,
};
use super::heard::{Heard, title_of};
use super::id::{ApprovalId, CallId, ExecId, MessageId, Seq, SessionId, TurnId};
use super::message::{Message, Part, Role, tool_message};
use super::network::{Door, NetworkMode};
use super::persona::Persona;
use super::policy::Rule;
use super::principal::Asker;
use super::redaction::{LogLevel, unsaid};
use super::standing::Standing;
use super::summary::line_of;
pub use super::summary::{InputWait, Spent, State, Summary, clip};
use super::task::TaskId;
pub use super::turn::{CallStage, OpenCall, OpenExec, Turn};

/// How many decided approvals are remembered to answer latecomers in full; older ones are in the store.
const DECIDED_KEPT: usize = 64;

/// The fold of a session's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Its name among sessions.
    pub session_id: SessionId,
    /// What it was made with.
    pub spec: SessionSpec,
    /// The name people use now.
    pub name: String,
    /// When it was made, microseconds since the epoch.
    pub created_us: i64,
    /// When the last event was.
    pub updated_us: i64,
    /// Highest seq folded in.
    pub head: Seq,
    /// The model of the next turn.
    pub model: Option<ModelRef>,
    /// The task it works on.
    pub task: Option<TaskId>,
    /// Messages that wait for the open turn to end.
    pub queue: VecDeque<QueuedMessage>,
    /// The open turn.
    pub turn: Option<Turn>,
    /// What the log did to the history a model reads.
    pub heard: Heard,
    /// The agent's plan; shared, since drafts of the session copy it.
    pub plan: Arc<[PlanItem]>,
    /// What it is about, in a line; empty before the first message.
    pub title: String,
    /// The title was chosen, not taken from the first message.
    pub titled: bool,
    /// Open approvals, oldest first.
    pub approvals: Vec<Approval>,
    /// The last decided ones, newest last.
    pub decided: VecDeque<Approval>,
    /// Rules that approvals added for the session.
    pub grants: Vec<Rule>,
    /// What is in force.
    pub persona: Arc<Persona>,
    /// Its generation: rises by one with each choice.
    pub generation: u64,
    /// Commands that run or wait to run.
    pub execs: BTreeMap<ExecId, OpenExec>,
    /// Calls that outlived their turn, by the turn that started them.
    pub late_calls: BTreeMap<CallId, TurnId>,
    /// What the next turn's model is told first: results that came after their turn.
    pub late_results: Vec<String>,
    /// Ledger sums.
    pub spent: Spent,
    /// How the last turn ended.
    pub last_outcome: Option<TurnOutcome>,
    /// The last event as one line.
    pub last_line: String,
    /// Paused, archived, in the trash; where it came from.
    pub standing: Standing,
    /// What its programs can reach.
    pub network: NetworkMode,
    /// Open doors between its jail and this machine.
    pub doors: Vec<Door>,
}

/// A message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedMessage {
    /// Its name.
    pub message_id: MessageId,
    /// Its pieces; shared, since drafts of the session copy the queue.
    pub parts: Arc<[Part]>,
    /// What its poster asks of the turn.
    pub options: TurnOptions,
    /// The open turn reads it before its next step.
    pub steer: bool,
    /// Its poster.
    pub asker: Asker,
}

impl Session {
    /// The state after `SessionCreated`; `None` when the first event is something else.
    pub fn begin(event: &Event) -> Option<Self> {
        let EventBody::SessionCreated(spec) = &event.body else {
            return None;
        };
        Some(Self {
            session_id: event.session_id.clone(),
            name: spec.name.clone(),
            created_us: event.time_us,
            updated_us: event.time_us,
            head: event.seq,
            model: spec.model.clone(),
            task: spec.task.clone(),
            network: spec.network,
            doors: Vec::new(),
            spec: spec.clone(),
            queue: VecDeque::new(),
            turn: None,
            heard: Heard::default(),
            plan: Arc::from([]),
            title: String::new(),
            titled: false,
            approvals: Vec::new(),
            decided: VecDeque::new(),
            grants: Vec::new(),
            persona: Arc::new(Persona::built_in(&spec.persona).unwrap_or_else(Persona::usual)),
            generation: spec.policy_generation,
            execs: BTreeMap::new(),
            late_calls: BTreeMap::new(),
            late_results: Vec::new(),
            spent: Spent::default(),
            last_outcome: None,
            last_line: String::new(),
            standing: Standing::default(),
        })
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state_beside(0)
    }

    /// The same where that many of its open shells stand at their prompts.
    fn state_beside(&self, resting: usize) -> State {
        if let Some(state) = self.standing.state() {
            state
        } else if !self.approvals.is_empty() {
            State::NeedsYou
        } else if self.turn.is_some() || self.execs.len() > resting {
            State::Working
        } else if matches!(self.last_outcome, Some(TurnOutcome::Failed { .. })) {
            State::Failed
        } else if matches!(self.last_outcome, Some(TurnOutcome::OverBudget { .. })) {
            State::Paused
        } else {
            State::Ready
        }
    }

    /// True when the last turn was stopped by a person or with the daemon.
    pub fn was_interrupted(&self) -> bool {
        matches!(self.last_outcome, Some(TurnOutcome::Interrupted { .. }))
    }

    /// Folds one event in. Events of another seq than the next are ignored: replays are harmless.
    pub fn apply(&mut self, event: &Event) {
        if event.seq != self.head.saturating_add(1) {
            return;
        }
        self.head = event.seq;
        self.updated_us = event.time_us;
        // The row of the session in lists is on disk: it says no more than the log.
        let unkept = (self.spec.log == LogLevel::None)
            .then(|| unsaid(&event.body))
            .flatten();
        // A question that is open stays the last word, whatever the session is called meanwhile.
        let aside = matches!(
            event.body,
            EventBody::SessionRenamed { .. }
                | EventBody::SessionPaused { .. }
                | EventBody::SessionResumed
                | EventBody::ModelChosen { .. }
                | EventBody::TaskChosen { .. }
        );
        if let Some(line) = line_of(unkept.as_ref().unwrap_or(&event.body))
            && (!aside || self.approvals.is_empty())
        {
            self.last_line = line;
        }
        match &event.body {
            EventBody::SessionCreated(_)
            | EventBody::StepRetried { .. }
            | EventBody::ChangeRecorded { .. }
            | EventBody::ConnectionsRecorded { .. }
            | EventBody::NoticeRecorded { .. } => {}
            EventBody::CompactionRequested { focus } => self.heard.wanted = Some(focus.clone()),
            EventBody::ContextAdded { items, .. } => self.heard.add(items),
            EventBody::ContextCompacted {
                after,
                kept,
                summary,
                window,
                usage,
                ..
            } => {
                self.spend_aside(usage.as_ref());
                if let (Some(model), Some(window)) = (&mut self.model, window) {
                    model.context_tokens = Some(*window);
                }
                self.heard.compact(summary, *kept);
                self.spent.context_tokens = after.tokens;
            }
            EventBody::PlanUpdated { items, .. } => self.plan = items.clone().into(),
            // It may have held what was taken out; the next message gives another.
            EventBody::Redacted { .. } => self.title.clear(),
            EventBody::TitleChosen { title, usage } => {
                self.title.clone_from(title);
                self.titled = true;
                self.spend_aside(usage.as_ref());
            }
            EventBody::NetworkChosen { mode } => self.network = *mode,
            EventBody::PortOpened { door } => self.doors.push(*door),
            EventBody::PortClosed { door } => self.doors.retain(|open| open != door),
            EventBody::SessionResumed => {
                self.standing.apply(&event.body);
                // A turn that ended over its limits left the session paused too.
                if matches!(self.last_outcome, Some(TurnOutcome::OverBudget { .. })) {
                    self.last_outcome = None;
                }
            }
            EventBody::SessionArchived | EventBody::SessionDeleted { .. } => {
                self.standing.apply(&event.body);
                self.doors.clear();
            }
            EventBody::SessionPaused { .. } | EventBody::SessionUnarchived | EventBody::SessionRestored => {
                self.standing.apply(&event.body)
            }
            EventBody::SessionForked { .. } | EventBody::SessionImported { .. } => {
                self.standing.apply(&event.body);
                // What was spent was spent by the original, and what it was granted was granted to it.
                self.spent.micro_usd = 0;
                self.spent.unknown = false;
                self.spent.tokens = super::usage::Tokens::default();
                self.grants.clear();
                self.doors.clear();
                if matches!(event.body, EventBody::SessionImported { .. }) {
                    // A bundle brings no rules along: whoever made it could have allowed everything.
                    self.persona = Arc::new(Persona::usual());
                    self.generation = self.generation.saturating_add(1);
                }
            }
            EventBody::SessionRenamed { name } => self.name.clone_from(name),
            EventBody::ModelChosen { model } => self.model = Some(model.clone()),
            EventBody::TaskChosen { task } => self.task.clone_from(task),
            EventBody::PersonaChosen { persona, generation } => {
                self.persona = persona.clone();
                self.generation = *generation;
            }
            EventBody::MessagePosted {
                message_id,
                parts,
                options,
                steer,
                ..
            } => {
                self.queue.push_back(QueuedMessage {
                    message_id: message_id.clone(),
                    parts: parts.clone().into(),
                    options: options.clone(),
                    steer: *steer,
                    asker: Asker::of(&event.caller),
                });
            }
            EventBody::MessageEdited {
                message_id,
                parts,
                steer,
            } => {
                let waiting = self.queue.iter_mut().find(|one| &one.message_id == message_id);
                if let Some(waiting) = waiting {
                    waiting.parts = parts.clone().into();
                    waiting.steer = *steer;
                }
            }
            EventBody::MessageRemoved { message_id } => {
                self.queue.retain(|waiting| &waiting.message_id != message_id);
            }
            EventBody::TurnSteered { message_ids, .. } => self.steer(message_ids),
            EventBody::TurnStarted {
                turn_id,
                message_ids,
                model,
                options,
            } => {
                self.start_turn(event, turn_id, message_ids, model, options);
            }
            EventBody::StepFinished { parts, usage, .. } => self.finish_step(parts, usage),
            EventBody::ApprovalRequested { approval } => {
                if approval.holds_a_call() {
                    let waiting = CallStage::Waiting(approval.approval_id.clone());
                    self.set_stage(&approval.call_id, waiting);
                }
                self.approvals.push(approval.clone());
            }
            EventBody::ApprovalResolved {
                approval_id,
                call_id,
                verdict,
                reason,
                rule: _,
                rules,
                rules_until_us,
            } => {
                let answer = Answer {
                    verdict: *verdict,
                    by: event.caller.signature(),
                    at_us: event.time_us,
                    reason: reason.clone(),
                    rules: rules.clone(),
                    rules_until_us: *rules_until_us,
                };
                self.resolve(approval_id, call_id, answer);
            }
            EventBody::ToolCallStarted { call, exec_id, .. } => {
                self.set_stage(&call.call_id, CallStage::Started(exec_id.clone()));
            }
            EventBody::ToolCallFinished {
                turn_id,
                call_id,
                outcome,
                result,
                ..
            } => {
                self.finish_call(turn_id, call_id, *outcome, result);
            }
            EventBody::ExecStarted {
                exec_id,
                script,
                call_id,
                pty,
                ..
            } => {
                let line = script.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
                self.execs.insert(
                    exec_id.clone(),
                    OpenExec {
                        line: clip(line, 200),
                        call_id: call_id.clone(),
                        pty: *pty,
                    },
                );
            }
            EventBody::ExecFinished { exec_id, .. } => {
                self.execs.remove(exec_id);
            }
            EventBody::TurnFinished { outcome, .. } => self.finish_turn(outcome),
        }
    }

    fn start_turn(
        &mut self,
        event: &Event,
        turn_id: &TurnId,
        message_ids: &[MessageId],
        model: &ModelRef,
        options: &TurnOptions,
    ) {
        let mut parts = Vec::new();
        let mut asker = Asker::of(&event.caller);
        if !self.late_results.is_empty() && !message_ids.is_empty() {
            parts.push(Part::Text {
                text: self.late_results.join("\n"),
            });
            self.late_results.clear();
        }
        if let Some(last) = self.take_up(message_ids, &mut parts) {
            asker = last;
        }
        if self.title.is_empty() {
            self.title = title_of(&parts);
        }
        if !parts.is_empty() {
            self.heard.say(Message {
                role: Role::User,
                parts,
            });
        }
        self.last_outcome = None;
        self.turn = Some(Turn {
            turn_id: turn_id.clone(),
            trace_id: event.caller.trace_id.clone(),
            asker,
            model: model.clone(),
            options: options.clone(),
            started_us: event.time_us,
            steps: 0,
            calls: VecDeque::new(),
            totals: TurnTotals::default(),
            cost_unknown: false,
        });
    }

    fn steer(&mut self, message_ids: &[MessageId]) {
        let mut parts = Vec::new();
        let last = self.take_up(message_ids, &mut parts);
        if let (Some(turn), Some(last)) = (&mut self.turn, last) {
            turn.asker = last;
        }
        self.heard.say(Message {
            role: Role::User,
            parts,
        });
    }

    /// A request beside the steps.
    fn spend_aside(&mut self, usage: Option<&super::usage::Usage>) {
        let Some(usage) = usage else { return };
        self.spent.add(usage);
        if let Some(turn) = &mut self.turn {
            turn.spend(usage);
        }
    }

    /// Takes messages out of the queue: their pieces, and who posted the last of them.
    fn take_up(&mut self, message_ids: &[MessageId], parts: &mut Vec<Part>) -> Option<Asker> {
        let mut last = None;
        self.queue.retain(|queued| {
            let taken = message_ids.contains(&queued.message_id);
            if taken {
                parts.extend(queued.parts.iter().cloned());
                last = Some(queued.asker.clone());
            }
            !taken
        });
        last
    }

    fn finish_step(&mut self, parts: &[Part], usage: &super::usage::Usage) {
        self.spent.add(usage);
        let message = Message {
            role: Role::Assistant,
            parts: parts.to_vec(),
        };
        if let Some(turn) = &mut self.turn {
            turn.steps = turn.steps.saturating_add(1);
            turn.totals.steps = turn.steps;
            turn.spend(usage);
            turn.calls = message
                .tool_calls()
                .map(|call| OpenCall {
                    call: call.clone(),
                    stage: CallStage::Planned,
                })
                .collect();
        }
        if !message.parts.is_empty() {
            self.heard.say(message);
        }
        if let Some(tokens) = &usage.tokens {
            // What it said is in its output tokens.
            self.spent.context_tokens = tokens.total();
            self.spent.cached_tokens = tokens.cached_input;
            self.spent.input_tokens = tokens.input;
            self.heard.fresh_bytes = 0;
        }
    }

    fn set_stage(&mut self, call_id: &CallId, stage: CallStage) {
        if let Some(open) = self
            .turn
            .as_mut()
            .and_then(|turn| turn.calls.iter_mut().find(|open| &open.call.call_id == call_id))
        {
            open.stage = stage;
        }
    }

    fn resolve(&mut self, approval_id: &ApprovalId, call_id: &CallId, answer: Answer) {
        let Some(index) = self.approvals.iter().position(|a| &a.approval_id == approval_id) else {
            return;
        };
        let mut approval = self.approvals.remove(index);
        let verdict = answer.verdict;
        if verdict == Verdict::ApprovedSession {
            // Logs written before rules had texts name none: what was offered was added.
            let rules = if answer.rules.is_empty() {
                approval.offered()
            } else {
                answer.rules.clone()
            };
            self.grants
                .extend(rules.iter().filter_map(|rule| rule.parse().ok()));
        }
        if approval.holds_a_call() {
            let stage = match verdict {
                Verdict::Expired => CallStage::Expired,
                _ if verdict.approves() => CallStage::Approved,
                _ => CallStage::Denied(answer.reason.clone()),
            };
            self.set_stage(call_id, stage);
        }
        approval.answer = Some(answer);
        self.decided.push_back(approval);
        if self.decided.len() > DECIDED_KEPT {
            self.decided.pop_front();
        }
    }

    fn finish_call(&mut self, turn_id: &TurnId, call_id: &CallId, outcome: CallOutcome, result: &str) {
        let position = self
            .turn
            .as_ref()
            .filter(|turn| &turn.turn_id == turn_id)
            .and_then(|turn| turn.calls.iter().position(|open| &open.call.call_id == call_id));
        if let (Some(turn), Some(index)) = (&mut self.turn, position) {
            turn.calls.remove(index);
            turn.totals.tool_calls = turn.totals.tool_calls.saturating_add(1);
            self.heard
                .say(tool_message(call_id, result, outcome == CallOutcome::Succeeded));
        } else if self.late_calls.remove(call_id).is_some() {
            self.late_results.push(format!(
                "[The earlier tool call {call_id}, still running when its turn ended, has finished]\n{result}"
            ));
        }
    }

    fn finish_turn(&mut self, outcome: &TurnOutcome) {
        let Some(turn) = self.turn.take() else { return };
        self.heard.wanted = None;
        // Every call must have an answer before the next message: providers refuse the history otherwise.
        for open in turn.calls {
            let text = match &open.stage {
                CallStage::Started(_) => {
                    self.late_calls
                        .insert(open.call.call_id.clone(), turn.turn_id.clone());
                    "[still running when the turn ended; its result, if any, follows later]"
                }
                _ => "[not done: the turn ended before this call]",
            };
            self.heard.say(tool_message(&open.call.call_id, text, false));
        }
        self.last_outcome = Some(outcome.clone());
    }

    /// The open calls of the turn, each with its tool.
    pub fn open_tools(&self) -> Vec<(CallId, String)> {
        let calls = self.turn.iter().flat_map(|turn| &turn.calls);
        calls
            .map(|open| (open.call.call_id.clone(), open.call.tool.clone()))
            .collect()
    }

    /// The session as lists and clients see it.
    pub fn summary(&self) -> Summary {
        self.summary_beside(0)
    }

    /// The same where that many of its open shells stand at their prompts.
    pub fn summary_beside(&self, resting: usize) -> Summary {
        Summary {
            session_id: self.session_id.clone(),
            name: self.name.clone(),
            state: self.state_beside(resting),
            spec: self.spec.clone(),
            created_us: self.created_us,
            updated_us: self.updated_us,
            head: self.head,
            model: self.model.clone(),
            task: self.task.clone(),
            turn_id: self.turn.as_ref().map(|t| t.turn_id.clone()),
            last_line: self.last_line.clone(),
            approval_ids: self.approvals.iter().map(|a| a.approval_id.clone()).collect(),
            spent: self.spent,
            title: self.title.clone(),
            queued: u32::try_from(self.queue.len()).unwrap_or(u32::MAX),
            open_execs: u32::try_from(self.execs.len()).unwrap_or(u32::MAX),
            standing: self.standing.clone(),
            waiting: None,
            network: self.network,
            in_force: self.persona.in_force(self.generation),
        }
    }
}
