//! Owns: the log's words on their way out.

use std::time::Duration;

use agentd_proto::pb;
use agentd_proto::pb::event::Body;

use super::session::parts;
use super::{approval, span, timestamp};
use crate::domain::event::{CallOutcome, ChangeKind, Event, EventBody, ExecResult, TurnOutcome, TurnTotals};
use crate::domain::id::{SessionId, TurnId};
use crate::domain::session::Session;

fn ms(ms: u64) -> prost_types::Duration {
    span(Duration::from_millis(ms))
}

impl From<Event> for pb::Event {
    fn from(event: Event) -> Self {
        let created = match &event.body {
            EventBody::SessionCreated(_) => Session::begin(&event).map(|s| s.summary().into()),
            _ => None,
        };
        Self {
            event_time: Some(timestamp(event.time_us)),
            seq: event.seq,
            schema: event.schema,
            principal: event.caller.principal,
            client: event.caller.client.word().to_owned(),
            trace_id: event.caller.trace_id,
            request_id: event.caller.request_id.unwrap_or_default(),
            body: Some(body(&event.session_id, event.body, created)),
            session_id: event.session_id.to_string(),
        }
    }
}

fn body(session_id: &SessionId, body: EventBody, created: Option<pb::Session>) -> Body {
    match body {
        EventBody::SessionCreated(_) => Body::SessionCreated(pb::SessionCreated { session: created }),
        EventBody::SessionRenamed { name } => Body::SessionRenamed(pb::SessionRenamed { name }),
        EventBody::ModelChosen { model } => Body::ModelChosen(pb::ModelChosen { model: model.name }),
        EventBody::TaskChosen { task } => Body::TaskChosen(pb::TaskChosen {
            task_id: task.map(|task| task.to_string()).unwrap_or_default(),
        }),
        EventBody::MessagePosted {
            message_id,
            parts: said,
            queued,
            steer,
            ..
        } => Body::MessagePosted(pb::MessagePosted {
            message_id: message_id.to_string(),
            parts: parts(said),
            queued,
            steer,
        }),
        EventBody::MessageEdited {
            message_id,
            parts: said,
            steer,
        } => Body::MessageEdited(pb::MessageEdited {
            message_id: message_id.to_string(),
            parts: parts(said),
            steer,
        }),
        EventBody::MessageRemoved { message_id } => Body::MessageRemoved(pb::MessageRemoved {
            message_id: message_id.to_string(),
        }),
        EventBody::TurnSteered { turn_id, message_ids } => Body::TurnSteered(pb::TurnSteered {
            turn_id: turn_id.to_string(),
            message_ids: message_ids.iter().map(ToString::to_string).collect(),
        }),
        EventBody::TurnStarted {
            turn_id,
            message_ids,
            model,
            ..
        } => Body::TurnStarted(pb::TurnStarted {
            turn_id: turn_id.to_string(),
            message_ids: message_ids.iter().map(ToString::to_string).collect(),
            model: model.name,
            demo: model.demo,
        }),
        EventBody::StepFinished {
            turn_id,
            step,
            parts: said,
            finish,
            usage,
        } => Body::StepFinished(pb::StepFinished {
            turn_id: turn_id.to_string(),
            step,
            parts: parts(said),
            finish,
            usage: Some(usage.into()),
        }),
        EventBody::ContextAdded { turn_id, items } => Body::ContextAdded(pb::ContextAdded {
            turn_id: turn_id.to_string(),
            items: items.into_iter().map(Into::into).collect(),
        }),
        EventBody::CompactionRequested { focus } => {
            Body::CompactionRequested(pb::CompactionRequested { focus })
        }
        EventBody::ContextCompacted {
            turn_id,
            reason,
            before,
            after,
            summary,
            window,
            usage,
            ..
        } => Body::ContextCompacted(pb::ContextCompacted {
            turn_id: turn_id.to_string(),
            reason: reason.word().to_owned(),
            before_tokens: before.tokens,
            before_messages: before.messages,
            after_tokens: after.tokens,
            after_messages: after.messages,
            summary,
            context_window_tokens: window.unwrap_or(0),
            usage: usage.map(Into::into),
        }),
        EventBody::PlanUpdated {
            turn_id,
            call_id,
            items,
        } => Body::PlanUpdated(pb::PlanUpdated {
            turn_id: turn_id.to_string(),
            call_id: call_id.0,
            items: super::context::plan(&items),
        }),
        EventBody::TitleChosen { title, usage } => Body::TitleChosen(pb::TitleChosen {
            title,
            usage: usage.map(Into::into),
        }),
        EventBody::StepRetried {
            turn_id,
            step,
            attempt,
            max_attempts,
            wait_ms,
            reason,
        } => Body::StepRetried(pb::StepRetried {
            turn_id: turn_id.to_string(),
            step,
            attempt,
            max_attempts,
            wait: Some(ms(wait_ms)),
            reason,
        }),
        EventBody::PersonaChosen { persona, generation } => Body::PersonaChosen(pb::PersonaChosen {
            persona: persona.name.clone(),
            policy: persona.policy.name.clone(),
            generation,
            read_only: persona.policy.read_only,
        }),
        EventBody::ApprovalRequested { approval } => Body::ApprovalRequested(pb::ApprovalRequested {
            approval: Some(approval::approval(session_id, "", approval)),
        }),
        EventBody::ApprovalResolved {
            approval_id,
            call_id,
            verdict,
            reason,
            rule,
            rules,
            rules_until_us,
        } => Body::ApprovalResolved(pb::ApprovalResolved {
            approval_id: approval_id.to_string(),
            call_id: call_id.0,
            decision: approval::decision(verdict).into(),
            reason,
            rule: rule.unwrap_or_default(),
            rules,
            grant_expire_time: rules_until_us.map(timestamp),
        }),
        EventBody::ToolCallStarted {
            turn_id,
            call,
            summary,
            effects,
            exec_id,
        } => Body::ToolCallStarted(pb::ToolCallStarted {
            turn_id: turn_id.to_string(),
            call: Some(call.into()),
            summary,
            effects: approval::effects(&effects),
            exec_id: exec_id.map(|id| id.to_string()).unwrap_or_default(),
        }),
        EventBody::ToolCallFinished {
            turn_id,
            call_id,
            outcome,
            result,
            duration_ms,
        } => Body::ToolCallFinished(pb::ToolCallFinished {
            turn_id: turn_id.to_string(),
            call_id: call_id.0,
            outcome: match outcome {
                CallOutcome::Succeeded => pb::ToolCallOutcome::Succeeded,
                CallOutcome::Failed => pb::ToolCallOutcome::Failed,
                CallOutcome::Denied => pb::ToolCallOutcome::Denied,
                CallOutcome::Interrupted => pb::ToolCallOutcome::Interrupted,
                CallOutcome::Unknown => pb::ToolCallOutcome::Unknown,
            }
            .into(),
            result,
            duration: Some(ms(duration_ms)),
        }),
        EventBody::ExecStarted {
            exec_id,
            script,
            script_truncated,
            call_id,
            pty,
            timeout_ms,
        } => Body::ExecStarted(pb::ExecStarted {
            exec_id: exec_id.to_string(),
            script,
            script_truncated,
            call_id: call_id.map(|c| c.0).unwrap_or_default(),
            pty,
            timeout: timeout_ms.map(ms),
        }),
        EventBody::ExecFinished { exec_id, result } => Body::ExecFinished(pb::ExecFinished {
            exec_id: exec_id.to_string(),
            result: Some(result.into()),
        }),
        EventBody::ChangeRecorded {
            change_id,
            call_id,
            path,
            change,
            added,
            removed,
            from,
        } => Body::ChangeRecorded(pb::ChangeRecorded {
            change_id: change_id.to_string(),
            call_id: call_id.0,
            path: path.to_string_lossy().into_owned(),
            kind: match change {
                ChangeKind::Created => pb::ChangeKind::Created,
                ChangeKind::Modified => pb::ChangeKind::Modified,
                ChangeKind::Deleted => pb::ChangeKind::Deleted,
                ChangeKind::Renamed => pb::ChangeKind::Renamed,
            }
            .into(),
            added_lines: added,
            removed_lines: removed,
            from_path: from.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default(),
        }),
        EventBody::TurnFinished {
            turn_id,
            outcome,
            totals,
        } => Body::TurnFinished(turn_finished(session_id, &turn_id, outcome, &totals)),
        EventBody::SessionPaused { reason } => Body::SessionPaused(pb::SessionPaused { reason }),
        EventBody::SessionResumed => Body::SessionResumed(pb::SessionResumed {}),
        EventBody::SessionArchived => Body::SessionArchived(pb::SessionArchived {}),
        EventBody::SessionUnarchived => Body::SessionUnarchived(pb::SessionUnarchived {}),
        EventBody::SessionDeleted { purge_us } => Body::SessionDeleted(pb::SessionDeleted {
            purge_time: Some(timestamp(purge_us)),
        }),
        EventBody::SessionRestored => Body::SessionRestored(pb::SessionRestored {}),
        EventBody::SessionForked { session_id, seq } => Body::SessionForked(pb::SessionForked {
            session_id: session_id.to_string(),
            seq,
        }),
        EventBody::SessionImported { session_id, seq } => Body::SessionImported(pb::SessionImported {
            session_id: session_id.to_string(),
            seq,
        }),
        EventBody::Redacted { seqs, reason } => Body::Redacted(pb::Redacted { seqs, reason }),
        EventBody::ConnectionsRecorded { connections, omitted } => {
            Body::ConnectionsRecorded(pb::ConnectionsRecorded {
                connections: connections.into_iter().map(Into::into).collect(),
                omitted,
            })
        }
        EventBody::NetworkChosen { mode } => Body::NetworkChosen(pb::NetworkChosen {
            mode: super::session::network(mode).into(),
        }),
        EventBody::PortOpened { door } => Body::PortOpened(pb::PortOpened {
            door: Some(door.into()),
        }),
        EventBody::PortClosed { door } => Body::PortClosed(pb::PortClosed {
            door: Some(door.into()),
        }),
        EventBody::NoticeRecorded { code, message } => {
            Body::NoticeRecorded(pb::NoticeRecorded { code, message })
        }
    }
}

fn turn_finished(
    session_id: &SessionId,
    turn_id: &TurnId,
    outcome: TurnOutcome,
    totals: &TurnTotals,
) -> pb::TurnFinished {
    let (number, error_reason, error_message, hints) = match outcome {
        TurnOutcome::Done => (pb::TurnOutcome::Done, String::new(), String::new(), Vec::new()),
        // The daemon's own end, and not a person: the agent stands still for no reason of anybody's.
        TurnOutcome::Interrupted { reason }
            if [TurnOutcome::WENT_DOWN, TurnOutcome::WAS_STOPPED].contains(&reason.as_str()) =>
        {
            (
                pb::TurnOutcome::Interrupted,
                "restart".to_owned(),
                reason,
                vec!["agentctl run -s SESSION \"go on\"".to_owned()],
            )
        }
        TurnOutcome::Interrupted { reason } => {
            (pb::TurnOutcome::Interrupted, String::new(), reason, Vec::new())
        }
        TurnOutcome::GoalNotMet => (
            pb::TurnOutcome::GoalNotMet,
            String::new(),
            String::new(),
            Vec::new(),
        ),
        TurnOutcome::OverBudget { reason, hints } => {
            (pb::TurnOutcome::OverBudget, String::new(), reason, hints)
        }
        TurnOutcome::Failed {
            reason,
            message,
            hints,
        } => (pb::TurnOutcome::Failed, reason, message, hints),
        TurnOutcome::Denied { reason } => (pb::TurnOutcome::Denied, String::new(), reason, Vec::new()),
    };
    pb::TurnFinished {
        turn_id: turn_id.to_string(),
        outcome: number.into(),
        error_reason,
        error_message,
        // Who gave a hint need not know whose it is: what is shown works when it is pasted.
        hints: hints
            .iter()
            .map(|hint| hint.replace("SESSION", session_id.as_str()))
            .collect(),
        steps: totals.steps,
        tool_calls: totals.tool_calls,
        tokens: Some(totals.tokens.into()),
        cost_micro_usd: totals.cost.map(|c| c.micro_usd),
        duration: Some(ms(totals.duration_ms)),
    }
}

impl From<ExecResult> for pb::ExecResult {
    fn from(r: ExecResult) -> Self {
        Self {
            exit_code: r.exit_code,
            timed_out: r.timed_out,
            interrupted: r.interrupted,
            background: r.background,
            shell_restarted: r.shell_restarted,
            unknown: r.unknown,
            stdout_bytes: r.stdout_bytes,
            stderr_bytes: r.stderr_bytes,
            stdout_dropped_bytes: r.stdout_dropped,
            stderr_dropped_bytes: r.stderr_dropped,
            duration: Some(span(Duration::from_micros(r.duration_us))),
            cwd: r.cwd,
            message: r.message,
        }
    }
}
