//! Owns: the fold of a session's events into what a person reads.
//! Guarantees: pure; the same events give the same items in every client; an event of a kind this client
//! does not know changes nothing.

mod notes;

use std::time::Duration;

use self::notes::{redacted_line, standing_line};
use crate::format;
use crate::pb;
use crate::pb::event::Body;

/// One thing in the transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Event it began with.
    pub seq: u64,
    /// When that was.
    pub time: Option<prost_types::Timestamp>,
    /// Who caused it.
    pub principal: String,
    /// Through which client.
    pub client: String,
    /// What it is.
    pub kind: Kind,
}

/// What a transcript consists of. All texts are untrusted: escape before showing.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A person's message.
    You {
        /// Its id.
        message_id: String,
        /// Its text.
        text: String,
        /// Names of what is attached.
        attachments: Vec<String>,
        /// Whether the agent has it.
        stage: Stage,
    },
    /// What the model said.
    Agent {
        /// Markdown.
        text: String,
    },
    /// A tool call.
    Tool {
        /// The model's id of the call.
        call_id: String,
        /// The tool's name.
        tool: String,
        /// What it does, one line.
        summary: String,
        /// Its command run; empty when it has none.
        exec_id: String,
        /// How it ended; `None` while it runs.
        end: Option<ToolEnd>,
    },
    /// A command run by a person or program, not by the model.
    Exec {
        /// The run.
        exec_id: String,
        /// Its text.
        script: String,
        /// How it ended; `None` while it runs.
        result: Option<pb::ExecResult>,
    },
    /// A question and, once there is one, its answer.
    Approval(Box<pb::Approval>),
    /// A changed file.
    Change(pb::ChangeRecorded),
    /// Something to know.
    Notice(String),
    /// A turn ended.
    TurnEnd(Box<pb::TurnFinished>),
}

/// How far a person's message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The agent has it.
    TakenUp,
    /// It waits for the open turn to end.
    Queued,
    /// It waits for the open turn's next step.
    Steering,
    /// It was taken back before the agent read it.
    Removed,
}

impl Stage {
    fn waiting(steer: bool) -> Self {
        if steer { Self::Steering } else { Self::Queued }
    }

    /// The word beside the message; none for one that the agent has.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::TakenUp => None,
            Self::Queued => Some("queued"),
            Self::Steering => Some("steers at the next step"),
            Self::Removed => Some("removed before it was read"),
        }
    }
}

/// How a tool call ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolEnd {
    /// How.
    pub outcome: pb::ToolCallOutcome,
    /// What the model reads.
    pub result: String,
    /// How long it took.
    pub duration: Duration,
}

/// The item an event touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// It is new, at this index.
    Added(usize),
    /// It came to its end or got its answer.
    Changed(usize),
}

/// The transcript so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    items: Vec<Item>,
    /// Which item an event other than its first one changed, by seq.
    changes: Vec<(u64, usize)>,
    /// What the latest step called: names for calls that are refused before they start.
    calls: Vec<pb::ToolCall>,
}

impl Transcript {
    /// All items, oldest first.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item at an index given by `apply`.
    pub fn get(&self, index: usize) -> Option<&Item> {
        self.items.get(index)
    }

    /// Takes in the next event.
    pub fn apply(&mut self, event: &pb::Event) -> Option<Touched> {
        let touched = self.fold(event);
        if let Some(Touched::Changed(index)) = touched {
            self.changes.push((event.seq, index));
        }
        touched
    }

    fn fold(&mut self, event: &pb::Event) -> Option<Touched> {
        match event.body.as_ref()? {
            Body::MessagePosted(posted) => {
                let (text, attachments) = split(&posted.parts);
                self.add(
                    event,
                    Kind::You {
                        message_id: posted.message_id.clone(),
                        text,
                        attachments,
                        stage: if posted.queued {
                            Stage::waiting(posted.steer)
                        } else {
                            Stage::TakenUp
                        },
                    },
                )
            }
            Body::MessageEdited(edited) => {
                let (text, attachments) = split(&edited.parts);
                self.change_message(&edited.message_id, |kind| {
                    if let Kind::You {
                        text: old,
                        attachments: names,
                        stage,
                        ..
                    } = kind
                    {
                        old.clone_from(&text);
                        names.clone_from(&attachments);
                        *stage = Stage::waiting(edited.steer);
                    }
                })
            }
            Body::MessageRemoved(removed) => self.set_stage(&removed.message_id, Stage::Removed),
            Body::TurnStarted(turn) => self.taken_up(&turn.message_ids),
            Body::TurnSteered(turn) => self.taken_up(&turn.message_ids),
            Body::StepFinished(step) => {
                self.calls = calls_of(&step.parts);
                let text = text_of(&step.parts);
                (!text.trim().is_empty()).then(|| self.push(event, Kind::Agent { text }))
            }
            Body::StepRetried(retry) => {
                let wait = format::duration(format::from_proto(retry.wait));
                self.add(
                    event,
                    Kind::Notice(format!(
                        "{}; trying again in {wait} (attempt {} of {})",
                        retry.reason, retry.attempt, retry.max_attempts
                    )),
                )
            }
            Body::ToolCallStarted(started) => {
                let call = started.call.clone().unwrap_or_default();
                // A call that waited for an approval is the same call.
                self.add(
                    event,
                    Kind::Tool {
                        call_id: call.call_id,
                        tool: call.tool,
                        summary: started.summary.clone(),
                        exec_id: started.exec_id.clone(),
                        end: None,
                    },
                )
            }
            Body::ToolCallFinished(finished) => self.finish_tool(event, finished),
            Body::ExecStarted(started) if started.call_id.is_empty() => self.add(
                event,
                Kind::Exec {
                    exec_id: started.exec_id.clone(),
                    script: started.script.clone(),
                    result: None,
                },
            ),
            Body::ExecFinished(finished) => self.change(|kind| match kind {
                Kind::Exec { exec_id, result, .. } if *exec_id == finished.exec_id => {
                    *result = Some(finished.result.clone().unwrap_or_default());
                    true
                }
                _ => false,
            }),
            Body::ApprovalRequested(requested) => {
                self.add(event, Kind::Approval(Box::new(requested.approval.clone()?)))
            }
            Body::ApprovalResolved(resolved) => {
                let decided_by = format!("{} via {}", event.principal, event.client);
                let time = event.event_time;
                self.change(|kind| match kind {
                    Kind::Approval(approval) if approval.approval_id == resolved.approval_id => {
                        approval.decision = resolved.decision;
                        approval.reason.clone_from(&resolved.reason);
                        approval.decided_by.clone_from(&decided_by);
                        approval.decide_time = time;
                        true
                    }
                    _ => false,
                })
            }
            Body::ChangeRecorded(change) => self.add(event, Kind::Change(change.clone())),
            Body::TurnFinished(end) => self.add(event, Kind::TurnEnd(Box::new(end.clone()))),
            Body::NetworkChosen(_) | Body::PortOpened(_) | Body::PortClosed(_) => {
                self.add(event, Kind::Notice(format::network_line(event)))
            }
            Body::NoticeRecorded(notice) => self.add(event, Kind::Notice(notice.message.clone())),
            Body::SessionRenamed(renamed) => self.add(
                event,
                Kind::Notice(format!("the session is now called '{}'", renamed.name)),
            ),
            Body::ModelChosen(chosen) => self.add(
                event,
                Kind::Notice(format!("the model is now '{}'", chosen.model)),
            ),
            Body::TaskChosen(chosen) => self.add(
                event,
                Kind::Notice(match chosen.task_id.as_str() {
                    "" => "the session works on no task now".to_owned(),
                    task => format!("the task is now '{task}'"),
                }),
            ),
            Body::PersonaChosen(chosen) => self.add(event, Kind::Notice(persona_line(chosen))),
            Body::Redacted(redacted) => {
                self.blank(&redacted.seqs);
                self.add(event, Kind::Notice(redacted_line(redacted)))
            }
            Body::SessionCreated(_)
            | Body::ExecStarted(_)
            | Body::PlanUpdated(_)
            | Body::CompactionRequested(_)
            | Body::TitleChosen(_) => None,
            other => {
                let line = standing_line(other)?;
                self.add(event, Kind::Notice(line))
            }
        }
    }

    fn add(&mut self, event: &pb::Event, kind: Kind) -> Option<Touched> {
        Some(self.push(event, kind))
    }

    fn push(&mut self, event: &pb::Event, kind: Kind) -> Touched {
        self.items.push(Item {
            seq: event.seq,
            time: event.event_time,
            principal: event.principal.clone(),
            client: event.client.clone(),
            kind,
        });
        Touched::Added(self.items.len() - 1)
    }

    /// Changes the newest item that `update` accepts.
    fn change(&mut self, mut update: impl FnMut(&mut Kind) -> bool) -> Option<Touched> {
        let index = self.items.iter_mut().rposition(|item| update(&mut item.kind))?;
        Some(Touched::Changed(index))
    }

    fn change_message(&mut self, wanted: &str, mut update: impl FnMut(&mut Kind)) -> Option<Touched> {
        self.change(|kind| match kind {
            Kind::You { message_id, .. } if message_id == wanted => {
                update(kind);
                true
            }
            _ => false,
        })
    }

    fn set_stage(&mut self, wanted: &str, now: Stage) -> Option<Touched> {
        self.change_message(wanted, |kind| {
            if let Kind::You { stage, .. } = kind {
                *stage = now;
            }
        })
    }

    /// The agent has these messages; those that waited are told as changed, the last one here.
    fn taken_up(&mut self, message_ids: &[String]) -> Option<Touched> {
        let mut last = None;
        for id in message_ids {
            let mut waited = false;
            let touched = self.change_message(id, |kind| {
                if let Kind::You { stage, .. } = kind {
                    waited = *stage != Stage::TakenUp;
                    *stage = Stage::TakenUp;
                }
            });
            last = touched.filter(|_| waited).or(last);
        }
        last
    }

    fn finish_tool(&mut self, event: &pb::Event, finished: &pb::ToolCallFinished) -> Option<Touched> {
        let end = ToolEnd {
            outcome: finished.outcome(),
            result: finished.result.clone(),
            duration: format::from_proto(finished.duration),
        };
        let known = self.change(|kind| match kind {
            Kind::Tool {
                call_id, end: slot, ..
            } if *call_id == finished.call_id && slot.is_none() => {
                *slot = Some(end.clone());
                true
            }
            _ => false,
        });
        // A denied call never started: its end is all there is to show.
        known.or_else(|| {
            let (tool, summary) = self.asked(&finished.call_id);
            let call_id = finished.call_id.clone();
            self.add(
                event,
                Kind::Tool {
                    call_id,
                    tool,
                    summary,
                    exec_id: String::new(),
                    end: Some(end),
                },
            )
        })
    }

    /// Tool and summary of a call, from its approval, or from the step that made it.
    fn asked(&self, call: &str) -> (String, String) {
        let asked = self.items.iter().rev().find_map(|item| match &item.kind {
            Kind::Approval(approval) if approval.call_id == call => Some(approval),
            _ => None,
        });
        if let Some(approval) = asked {
            return (approval.tool.clone(), approval.summary.clone());
        }
        let called = self.calls.iter().find(|called| called.call_id == call);
        let tool = called.map_or("tool", |called| called.tool.as_str());
        (tool.to_owned(), String::new())
    }
}

fn calls_of(parts: &[pb::Part]) -> Vec<pb::ToolCall> {
    let calls = parts.iter().filter_map(|part| match part.part.as_ref()? {
        pb::part::Part::ToolCall(call) => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

/// The text parts, joined.
pub fn text_of(parts: &[pb::Part]) -> String {
    let texts: Vec<&str> = parts
        .iter()
        .filter_map(|part| match part.part.as_ref()? {
            pb::part::Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}

fn split(parts: &[pb::Part]) -> (String, Vec<String>) {
    let names = parts
        .iter()
        .filter_map(|part| match part.part.as_ref()? {
            pb::part::Part::Attachment(attachment) => Some(attachment.name.clone()),
            pb::part::Part::Image(image) => Some(image.name.clone()),
            _ => None,
        })
        .collect();
    (text_of(parts), names)
}

/// The word for how a tool call ended.
pub fn tool_word(outcome: pb::ToolCallOutcome) -> &'static str {
    match outcome {
        pb::ToolCallOutcome::Succeeded => "ok",
        pb::ToolCallOutcome::Failed => "failed",
        pb::ToolCallOutcome::Denied => "denied",
        pb::ToolCallOutcome::Interrupted => "interrupted",
        pb::ToolCallOutcome::Unknown => "outcome unknown",
        pb::ToolCallOutcome::Unspecified => "ended",
    }
}

/// A choice of persona and policy as a sentence.
fn persona_line(chosen: &pb::PersonaChosen) -> String {
    let wall = if chosen.read_only {
        "; the workspace is read-only"
    } else {
        ""
    };
    format!(
        "the persona is now '{}', the policy '{}'{wall}",
        chosen.persona, chosen.policy
    )
}

/// The word for an answer to an approval.
pub fn decision_word(decision: pb::ApprovalDecision) -> &'static str {
    match decision {
        pb::ApprovalDecision::Unspecified => "open",
        pb::ApprovalDecision::ApprovedOnce => "approved",
        pb::ApprovalDecision::ApprovedSession => "approved for the session",
        pb::ApprovalDecision::Denied => "denied",
        pb::ApprovalDecision::Withdrawn => "withdrawn",
        pb::ApprovalDecision::ApprovedProject => "approved for the project",
        pb::ApprovalDecision::Expired => "denied by its expiry",
    }
}

#[cfg(test)]
#[path = "transcript_tests.rs"]
mod tests;
