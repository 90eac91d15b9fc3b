//! Owns: the event lines of `-o jsonl`. The types are an interface: only add.

use agentd_proto::pb::event::Body;
use agentd_proto::{format, pb, transcript};
use serde_json::{Map, Value, json};

use super::json::{approval, base64, decision, tokens};
use crate::time::rfc3339;

/// Makes the lines of one session, in order.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    session: String,
    seq: u64,
}

impl Lines {
    /// Lines of this session; `seq` is where it stands.
    pub(crate) fn new(session: &str, seq: u64) -> Self {
        Self {
            session: session.to_owned(),
            seq,
        }
    }

    /// A line with the fields that all have.
    pub(crate) fn line(&self, kind: &str, time: Option<prost_types::Timestamp>, fields: Value) -> Value {
        let mut map = Map::new();
        map.insert("v".to_owned(), json!(1));
        map.insert("seq".to_owned(), json!(self.seq));
        map.insert("ts".to_owned(), json!(rfc3339(time.or_else(now))));
        map.insert("session".to_owned(), json!(self.session));
        map.insert("type".to_owned(), json!(kind));
        if let Value::Object(fields) = fields {
            map.extend(fields);
        }
        Value::Object(map)
    }

    /// The lines of a fact.
    pub(crate) fn event(&mut self, event: &pb::Event) -> Vec<Value> {
        self.seq = event.seq;
        let who = json!({"principal": event.principal, "client": event.client});
        let line = |kind: &str, fields: Value| self.line(kind, event.event_time, fields);
        let Some(body) = &event.body else {
            return vec![line("unknown", who)];
        };
        match body {
            Body::SessionCreated(created) => {
                let session = created.session.clone().unwrap_or_default();
                vec![line("session.started", super::json::session(&session))]
            }
            Body::MessagePosted(posted) => vec![line(
                "message.posted",
                json!({"message": posted.message_id, "text": transcript::text_of(&posted.parts),
                    "queued": posted.queued, "steer": posted.steer, "principal": event.principal, "client": event.client}),
            )],
            Body::MessageEdited(edited) => vec![line(
                "message.edited",
                json!({"message": edited.message_id, "text": transcript::text_of(&edited.parts),
                    "steer": edited.steer, "principal": event.principal, "client": event.client}),
            )],
            Body::MessageRemoved(removed) => vec![line(
                "message.removed",
                json!({"message": removed.message_id, "principal": event.principal, "client": event.client}),
            )],
            Body::TurnSteered(turn) => vec![line(
                "turn.steered",
                json!({"turn": turn.turn_id, "messages": turn.message_ids}),
            )],
            Body::TurnStarted(turn) => vec![line(
                "turn.started",
                json!({"turn": turn.turn_id, "messages": turn.message_ids, "model": turn.model, "demo": turn.demo}),
            )],
            Body::StepFinished(step) => {
                let text = transcript::text_of(&step.parts);
                let mut lines = Vec::new();
                if !text.is_empty() {
                    lines.push(line(
                        "text.done",
                        json!({"turn": step.turn_id, "step": step.step, "text": text}),
                    ));
                }
                let usage = step.usage.clone().unwrap_or_default();
                lines.push(line(
                    "usage",
                    json!({"turn": step.turn_id, "step": step.step, "model": usage.model, "finish": step.finish,
                        "tokens": usage.tokens.as_ref().map(tokens), "cost_micro_usd": usage.cost_micro_usd,
                        "cost_source": usage.cost_source, "retries": usage.retries}),
                ));
                lines
            }
            Body::ContextAdded(added) => vec![line(
                "context.added",
                json!({"turn": added.turn_id, "items": added.items.iter().map(|item| json!({
                    "kind": super::json::context_kind(item.kind()), "name": item.name, "bytes": item.text.len(),
                    "total_bytes": item.total_bytes, "hidden_characters": item.hidden_characters,
                })).collect::<Vec<_>>()}),
            )],
            Body::CompactionRequested(asked) => {
                vec![line(
                    "context.compaction_requested",
                    json!({"focus": asked.focus}),
                )]
            }
            Body::ContextCompacted(done) => vec![line(
                "context.compacted",
                json!({"turn": done.turn_id, "reason": done.reason, "before_tokens": done.before_tokens,
                    "after_tokens": done.after_tokens, "before_messages": done.before_messages,
                    "after_messages": done.after_messages, "summary": done.summary,
                    "context_window_tokens": done.context_window_tokens}),
            )],
            Body::PlanUpdated(plan) => vec![line(
                "plan.updated",
                json!({"turn": plan.turn_id, "items": super::json::plan(&plan.items)}),
            )],
            Body::TitleChosen(chosen) => vec![line("title.chosen", json!({"title": chosen.title}))],
            Body::StepRetried(retry) => vec![line(
                "error",
                json!({"code": "step_retried", "fatal": false, "turn": retry.turn_id, "step": retry.step,
                    "attempt": retry.attempt, "max_attempts": retry.max_attempts, "message": retry.reason,
                    "wait_ms": millis(retry.wait)}),
            )],
            Body::ToolCallStarted(started) => {
                let call = started.call.clone().unwrap_or_default();
                vec![line(
                    "tool.started",
                    json!({"turn": started.turn_id, "call": call.call_id, "tool": call.tool,
                        "summary": started.summary, "effects": started.effects, "exec": started.exec_id,
                        "arguments": call.arguments_json}),
                )]
            }
            Body::ToolCallFinished(finished) => vec![line(
                "tool.done",
                json!({"turn": finished.turn_id, "call": finished.call_id, "outcome": tool(finished.outcome()),
                    "result": finished.result, "duration_ms": millis(finished.duration)}),
            )],
            Body::ApprovalRequested(requested) => {
                vec![line(
                    "approval.requested",
                    approval(&requested.approval.clone().unwrap_or_default()),
                )]
            }
            Body::ApprovalResolved(resolved) => vec![line(
                "approval.resolved",
                json!({"approval_id": resolved.approval_id, "call": resolved.call_id,
                    "decision": decision(resolved.decision()), "reason": resolved.reason, "rule": resolved.rule,
                    "principal": event.principal, "client": event.client}),
            )],
            Body::ExecStarted(started) => vec![line(
                "exec.started",
                json!({"exec": started.exec_id, "script": started.script, "call": started.call_id,
                    "pty": started.pty, "principal": event.principal, "client": event.client}),
            )],
            Body::ExecFinished(finished) => {
                let result = finished.result.clone().unwrap_or_default();
                vec![line(
                    "exec.done",
                    json!({"exec": finished.exec_id, "exit_code": result.exit_code, "timed_out": result.timed_out,
                        "interrupted": result.interrupted, "background": result.background,
                        "unknown": result.unknown, "shell_restarted": result.shell_restarted,
                        "stdout_bytes": result.stdout_bytes, "stderr_bytes": result.stderr_bytes,
                        "duration_ms": millis(result.duration), "cwd": result.cwd, "message": result.message}),
                )]
            }
            Body::ChangeRecorded(change) => vec![line(
                "change.recorded",
                json!({"change": change.change_id, "call": change.call_id, "path": change.path,
                    "kind": kind(change.kind()), "added_lines": change.added_lines,
                    "removed_lines": change.removed_lines, "from_path": change.from_path}),
            )],
            Body::TurnFinished(end) => {
                let mut lines = Vec::new();
                if end.outcome() == pb::TurnOutcome::Failed {
                    lines.push(line(
                        "error",
                        json!({"code": end.error_reason, "fatal": true, "message": end.error_message,
                            "next": end.hints}),
                    ));
                }
                lines.push(line("turn.done", turn(end)));
                lines
            }
            Body::NoticeRecorded(notice) => {
                vec![line(
                    "notice",
                    json!({"code": notice.code, "message": notice.message}),
                )]
            }
            Body::SessionRenamed(renamed) => vec![line("session.renamed", json!({"name": renamed.name}))],
            Body::TaskChosen(chosen) => vec![line("task.chosen", json!({"task": chosen.task_id}))],
            Body::ModelChosen(chosen) => vec![line("model.chosen", json!({"model": chosen.model}))],
            Body::SessionPaused(paused) => vec![line("session.paused", json!({"reason": paused.reason}))],
            Body::SessionResumed(_) => vec![line("session.resumed", who)],
            Body::SessionArchived(_) => vec![line("session.archived", who)],
            Body::SessionUnarchived(_) => vec![line("session.unarchived", who)],
            Body::SessionDeleted(deleted) => vec![line(
                "session.deleted",
                json!({"purge_time": rfc3339(deleted.purge_time)}),
            )],
            Body::SessionRestored(_) => vec![line("session.restored", who)],
            Body::SessionForked(forked) => vec![line(
                "session.forked",
                json!({"from_session": forked.session_id, "from_seq": forked.seq}),
            )],
            Body::SessionImported(imported) => vec![line(
                "session.imported",
                json!({"from_session": imported.session_id, "from_seq": imported.seq}),
            )],
            Body::ConnectionsRecorded(recorded) => {
                let mut lines: Vec<Value> = recorded
                    .connections
                    .iter()
                    .map(|one| line("network.connection", connection(one)))
                    .collect();
                if recorded.omitted > 0 {
                    lines.push(line("network.omitted", json!({"connections": recorded.omitted})));
                }
                lines
            }
            Body::PersonaChosen(chosen) => vec![line(
                "persona.chosen",
                json!({"persona": chosen.persona, "policy": chosen.policy, "generation": chosen.generation,
                    "read_only": chosen.read_only}),
            )],
            Body::NetworkChosen(chosen) => vec![line(
                "network.chosen",
                json!({"mode": agentd_proto::format::network_word(chosen.mode())}),
            )],
            Body::PortOpened(opened) => vec![line("port.opened", door(opened.door.as_ref()))],
            Body::PortClosed(closed) => vec![line("port.closed", door(closed.door.as_ref()))],
            Body::Redacted(redacted) => vec![line(
                "redacted",
                json!({"seqs": redacted.seqs, "reason": redacted.reason}),
            )],
        }
    }

    /// The line of a preview; none when it adds no text.
    pub(crate) fn preview(&self, preview: &pb::Preview) -> Option<Value> {
        let fields = json!({"turn": preview.turn_id, "step": preview.step, "text": preview.text,
            "restart": preview.restart});
        (!preview.text.is_empty()).then(|| self.line("text.delta", None, fields))
    }

    /// The line of a piece of output.
    pub(crate) fn output(&self, chunk: &pb::OutputChunk) -> Value {
        let stream = if chunk.stream() == pb::OutputStream::Stderr {
            "stderr"
        } else {
            "stdout"
        };
        let mut fields = json!({"exec": chunk.exec_id, "stream": stream, "offset": chunk.offset,
            "dropped_bytes": chunk.dropped_bytes, "text": String::from_utf8_lossy(&chunk.data)});
        if std::str::from_utf8(&chunk.data).is_err()
            && let Some(map) = fields.as_object_mut()
        {
            map.insert("base64".to_owned(), json!(base64(&chunk.data)));
        }
        self.line("tool.output", None, fields)
    }
}

fn connection(one: &pb::Connection) -> Value {
    json!({"host": one.host, "port": one.port, "address": one.address, "exec": one.exec_id, "program": one.program,
        "refusal": one.refusal, "count": one.count, "sent_bytes": one.sent_bytes,
        "received_bytes": one.received_bytes})
}

fn door(door: Option<&pb::PortDoor>) -> Value {
    let door = door.copied().unwrap_or_default();
    let direction = match door.direction() {
        pb::PortDirection::Host => "host",
        _ => "forward",
    };
    json!({"direction": direction, "port": door.port, "local_port": door.local_port})
}

/// The end of a turn.
pub(crate) fn turn(end: &pb::TurnFinished) -> Value {
    json!({
        "turn": end.turn_id,
        "outcome": format::outcome_word(end.outcome()),
        "error_reason": end.error_reason,
        "error_message": end.error_message,
        "hints": end.hints,
        "steps": end.steps,
        "tool_calls": end.tool_calls,
        "tokens": end.tokens.as_ref().map(tokens),
        "cost_micro_usd": end.cost_micro_usd,
        "duration_ms": millis(end.duration),
    })
}

/// The word for what happened to a file.
pub(crate) fn kind(kind: pb::ChangeKind) -> &'static str {
    match kind {
        pb::ChangeKind::Created => "created",
        pb::ChangeKind::Modified => "modified",
        pb::ChangeKind::Deleted => "deleted",
        pb::ChangeKind::Renamed => "renamed",
        pb::ChangeKind::Unspecified => "changed",
    }
}

fn tool(outcome: pb::ToolCallOutcome) -> &'static str {
    match outcome {
        pb::ToolCallOutcome::Succeeded => "succeeded",
        pb::ToolCallOutcome::Failed => "failed",
        pb::ToolCallOutcome::Denied => "denied",
        pb::ToolCallOutcome::Interrupted => "interrupted",
        pb::ToolCallOutcome::Unknown | pb::ToolCallOutcome::Unspecified => "unknown",
    }
}

fn millis(time: Option<prost_types::Duration>) -> u64 {
    u64::try_from(format::from_proto(time).as_millis()).unwrap_or(u64::MAX)
}

fn now() -> Option<prost_types::Timestamp> {
    Some(std::time::SystemTime::now().into())
}
