//! Owns: what a session's log says of what it did: the audit, and the cassette of its model.
//! Guarantees: read from the log alone, page by page; secrets learnt since it was written are taken out as well.

use std::collections::HashMap;

use super::Supervisor;
use crate::domain::approval::Verdict;
use crate::domain::event::{CallOutcome, ChangeKind, EventBody, TurnOutcome};
use crate::domain::id::{ApprovalId, CallId, ExecId, MessageId, Seq};
use crate::domain::message::Part;
use crate::domain::network::Connection;
use crate::domain::redaction::LogLevel;
use crate::domain::rejection::Rejection;
use crate::domain::session::{Summary, clip};
use crate::domain::tool::EditDialect;
use crate::model::cassette::{FORMAT, Head, LARGEST, Line, Step};
use crate::session::Fault;

/// Events read at a time.
const BATCH: u32 = 1000;
/// Entries of one audit; whoever wants more asks again.
const MOST: usize = 5000;
/// How much of a script or result stands in an audit or cassette.
const EXCERPT: usize = 2000;

/// What a session did.
#[derive(Debug, Default)]
pub struct Audit {
    /// Commands.
    pub commands: Vec<Command>,
    /// Changes of files by tools.
    pub files: Vec<File>,
    /// Hosts that programs reached, or were refused.
    pub hosts: Vec<Host>,
    /// What was refused.
    pub refusals: Vec<Refusal>,
    /// Everything up to here is in it.
    pub seq: Seq,
    /// The session's head.
    pub head: Seq,
}

/// A command that was run.
#[derive(Debug)]
pub struct Command {
    /// Seq and time of its start.
    pub at: (Seq, i64),
    /// Its text, cut when long.
    pub script: String,
    /// The model ran it.
    pub by_model: bool,
    /// How it ended; `None`: it runs, or nobody knows.
    pub exit_code: Option<i32>,
    exec_id: ExecId,
}

/// A file that a tool changed.
#[derive(Debug)]
pub struct File {
    /// Seq and time of the fact.
    pub at: (Seq, i64),
    /// Relative to the workspace.
    pub path: String,
    /// What happened.
    pub change: ChangeKind,
    /// Lines added and removed.
    pub lines: (u32, u32),
    /// Former path.
    pub from: String,
}

/// A host that programs reached, or were refused.
#[derive(Debug)]
pub struct Host {
    /// Seq and time of the fact.
    pub at: (Seq, i64),
    /// Which, how often, and whether it was let through.
    pub connection: Connection,
}

/// A call that was refused.
#[derive(Debug)]
pub struct Refusal {
    /// Seq and time of the fact.
    pub at: (Seq, i64),
    /// What, in a line.
    pub what: String,
    /// `policy`, or a person.
    pub by: String,
}

/// A session's model, as a file.
#[derive(Debug, Default)]
pub struct Cassette {
    /// The file.
    pub data: Vec<u8>,
    /// Messages of people in it.
    pub prompts: u32,
    /// Answers of the model in it.
    pub steps: u32,
}

impl Supervisor {
    /// What a session did to the world after `after`.
    pub async fn audit(&self, session: &Summary, after: Seq) -> Result<Audit, Fault> {
        let mut audit = Audit {
            seq: after,
            head: session.head,
            ..Audit::default()
        };
        let mut asked: HashMap<ApprovalId, String> = HashMap::new();
        let mut calls: HashMap<CallId, String> = HashMap::new();
        let full = |audit: &Audit| {
            let entries = audit.commands.len() + audit.files.len() + audit.hosts.len() + audit.refusals.len();
            entries >= MOST
        };
        while audit.seq < session.head && !full(&audit) {
            let page = self
                .0
                .store
                .kept_events_after(&session.session_id, audit.seq, BATCH)
                .await?;
            let Some(last) = page.last() else { break };
            audit.seq = last.seq;
            for event in page {
                let at = (event.seq, event.time_us);
                match event.body {
                    EventBody::ExecStarted {
                        exec_id,
                        script,
                        call_id,
                        ..
                    } => audit.commands.push(Command {
                        at,
                        script: clip(&script, EXCERPT),
                        by_model: call_id.is_some(),
                        exit_code: None,
                        exec_id,
                    }),
                    EventBody::ChangeRecorded {
                        path,
                        change,
                        added,
                        removed,
                        from,
                        ..
                    } => audit.files.push(File {
                        at,
                        path: path.display().to_string(),
                        change,
                        lines: (added, removed),
                        from: from.map(|from| from.display().to_string()).unwrap_or_default(),
                    }),
                    EventBody::ConnectionsRecorded { connections, .. } => {
                        let hosts = connections.into_iter().map(|connection| Host { at, connection });
                        audit.hosts.extend(hosts);
                    }
                    EventBody::ApprovalRequested { approval } => {
                        asked.insert(approval.approval_id, approval.summary);
                    }
                    EventBody::ApprovalResolved {
                        approval_id,
                        verdict: Verdict::Denied,
                        ..
                    } => audit.refusals.push(Refusal {
                        at,
                        what: asked
                            .remove(&approval_id)
                            .unwrap_or_else(|| approval_id.to_string()),
                        by: event.caller.principal,
                    }),
                    EventBody::StepFinished { parts, .. } => {
                        for part in parts {
                            if let Part::ToolCall(call) = part {
                                let line = format!("{} {}", call.tool, clip(&call.arguments, 200));
                                calls.insert(call.call_id, line);
                            }
                        }
                    }
                    EventBody::ToolCallFinished {
                        call_id,
                        outcome: CallOutcome::Denied,
                        result,
                        ..
                    } if !result.starts_with("denied by the person") => audit.refusals.push(Refusal {
                        at,
                        what: calls.remove(&call_id).unwrap_or_else(|| call_id.to_string()),
                        by: "policy".into(),
                    }),
                    _ => {}
                }
            }
        }
        for command in &mut audit.commands {
            let row = self.0.store.exec(&session.session_id, &command.exec_id).await?;
            command.exit_code = row
                .and_then(|row| row.result)
                .filter(|result| !result.unknown)
                .map(|result| result.exit_code);
        }
        Ok(audit)
    }

    /// What a session's model said, to be played again.
    pub async fn cassette(&self, session: &Summary) -> Result<Cassette, Fault> {
        if session.spec.log == LogLevel::None {
            return Err(Rejection::WrongState("its log keeps no words (log level none)".into()).into());
        }
        let mut lines = Vec::new();
        let mut waiting: HashMap<MessageId, Vec<Part>> = HashMap::new();
        let (mut model, mut dialect) = (String::new(), None);
        let mut after = 0;
        while after < session.head {
            let page = self
                .0
                .store
                .kept_events_after(&session.session_id, after, BATCH)
                .await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for event in page {
                match event.body {
                    EventBody::MessagePosted {
                        message_id, parts, ..
                    }
                    | EventBody::MessageEdited {
                        message_id, parts, ..
                    } => {
                        waiting.insert(message_id, parts);
                    }
                    EventBody::TurnStarted {
                        message_ids,
                        model: m,
                        ..
                    } => {
                        model = m.name;
                        lines.push(prompt(&mut waiting, &message_ids));
                    }
                    EventBody::TurnSteered { message_ids, .. } => {
                        lines.push(prompt(&mut waiting, &message_ids));
                    }
                    EventBody::StepFinished {
                        parts, finish, usage, ..
                    } => {
                        dialect = dialect.or_else(|| parts.iter().find_map(dialect_of));
                        lines.push(Line::Step(Step {
                            error: usage.error.clone(),
                            tokens: usage.tokens,
                            parts,
                            finish,
                        }));
                    }
                    EventBody::ToolCallFinished {
                        call_id,
                        outcome,
                        result,
                        ..
                    } => lines.push(Line::Result {
                        call_id,
                        ok: outcome == CallOutcome::Succeeded,
                        text: clip(&result, EXCERPT),
                    }),
                    EventBody::TurnFinished {
                        outcome: TurnOutcome::Failed { message, .. },
                        ..
                    } => {
                        // In the provider's own words.
                        if let Some(Line::Step(step)) = lines.last_mut()
                            && step.error.is_some()
                        {
                            step.error = Some(message);
                        }
                    }
                    _ => {}
                }
            }
        }
        if !lines.iter().any(|line| matches!(line, Line::Step(_))) {
            return Err(Rejection::WrongState("no model ever answered in it".into()).into());
        }
        let head = Line::Cassette(Head {
            format: FORMAT,
            dialect: dialect.unwrap_or_else(|| crate::model::dialect_of(&model)),
            model,
            agentd: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let mut cassette = Cassette::default();
        for line in std::iter::once(head).chain(lines) {
            cassette.prompts += u32::from(matches!(line, Line::Prompt { .. }));
            cassette.steps += u32::from(matches!(line, Line::Step(_)));
            let text = serde_json::to_string(&line)
                .map_err(|error| Fault::from(crate::store::StoreError::Io(std::io::Error::other(error))))?;
            let text = self.0.store.redactor().redact_json(&text).unwrap_or(text);
            cassette.data.extend_from_slice(text.as_bytes());
            cassette.data.push(b'\n');
        }
        if cassette.data.len() as u64 > LARGEST {
            return Err(Rejection::InvalidArgument("a cassette has at most 60 MiB".into()).into());
        }
        Ok(cassette)
    }
}

fn prompt(waiting: &mut HashMap<MessageId, Vec<Part>>, ids: &[MessageId]) -> Line {
    let parts = ids.iter().filter_map(|id| waiting.remove(id)).flatten();
    Line::Prompt {
        parts: parts.collect(),
    }
}

/// Which edit tool was offered, where the model used one.
fn dialect_of(part: &Part) -> Option<EditDialect> {
    match part {
        Part::ToolCall(call) if call.tool == "apply_patch" => Some(EditDialect::ApplyPatch),
        Part::ToolCall(call) if call.tool == "edit" => Some(EditDialect::SearchReplace),
        _ => None,
    }
}
