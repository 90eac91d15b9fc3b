//! Owns: what a Command leads to: Events, or a Rejection.
//! Guarantees: pure; looks only at the state and the Command; never half a yes.

use super::approval::{Answer, Approval, Verdict};
use super::command::Command;
use super::event::{CallOutcome, EventBody, ExecResult, TurnOptions, TurnOutcome};
use super::id::{CallId, ExecId, Seq, TurnId};
use super::message::Part;
use super::rejection::Rejection;
use super::session::{CallStage, OpenCall, Session, Turn};
use super::standing::{self, check_awake};
use super::{approvals, queue};

/// Most bytes of text in one message: an event with it must pass stock gRPC clients, which take 4 MiB.
pub const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;
/// Longest name of an attachment, in bytes: that of a file.
const MAX_ATTACHMENT_NAME: usize = 255;
/// Most messages that can wait.
const MAX_QUEUE: usize = 100;
/// Longest name of a session.
pub const MAX_NAME_CHARS: usize = 64;

/// Decides a Command. `now_us` is wall-clock time for durations in facts.
pub fn decide(session: &Session, command: &Command, now_us: i64) -> Result<Vec<EventBody>, Rejection> {
    match command {
        Command::PostMessage {
            message_id,
            parts,
            model,
            options,
            steer,
            turn_id,
            expected_head,
        } => {
            check_awake(session)?;
            check_head(session, *expected_head)?;
            check_parts(parts)?;
            if session.queue.len() >= MAX_QUEUE {
                return Err(Rejection::WrongState(format!(
                    "{MAX_QUEUE} messages wait already"
                )));
            }
            let mut events = Vec::new();
            if let Some(model) = model
                && session.model.as_ref() != Some(model)
            {
                events.push(EventBody::ModelChosen { model: model.clone() });
            }
            let open = session.turn.is_some();
            events.push(EventBody::MessagePosted {
                message_id: message_id.clone(),
                parts: parts.clone(),
                queued: open,
                steer: open && *steer,
                options: options.clone(),
            });
            if !open {
                let Some(model) = model.as_ref().or(session.model.as_ref()) else {
                    return Err(Rejection::Model {
                        reason: "auth_missing".into(),
                        message: "no model is set up for this session".into(),
                        hints: vec![
                            "agentctl run --model demo \"hello\"".into(),
                            "agentctl models list".into(),
                        ],
                    });
                };
                // Messages left over from a turn that was stopped go along with the first new one.
                let mut message_ids: Vec<_> = session.queue.iter().map(|q| q.message_id.clone()).collect();
                message_ids.push(message_id.clone());
                events.push(EventBody::TurnStarted {
                    turn_id: turn_id.clone(),
                    message_ids,
                    model: model.clone(),
                    options: options.clone(),
                });
            }
            Ok(events)
        }
        Command::EditMessage {
            message_id,
            parts,
            steer,
        } => queue::edit(session, message_id, parts.as_deref(), *steer),
        Command::RemoveMessage { message_id } => queue::remove(session, message_id),
        Command::Rename { name } => {
            check_name(name)?;
            Ok(vec![EventBody::SessionRenamed { name: name.clone() }])
        }
        // Choosing what is chosen already leaves no trace.
        Command::ChooseTask { task } if session.task == *task => Ok(Vec::new()),
        Command::ChooseTask { task } => Ok(vec![EventBody::TaskChosen { task: task.clone() }]),
        Command::ResolveApproval {
            approval_id,
            verdict,
            reason,
            rules,
            rules_until_us,
            expected_head,
        } => {
            check_head(session, *expected_head)?;
            if let Some(before) = session.decided.iter().find(|a| &a.approval_id == approval_id)
                && let Some(answer) = &before.answer
            {
                return Err(decided(approval_id.as_str(), answer));
            }
            let Some(approval) = session.approvals.iter().find(|a| &a.approval_id == approval_id) else {
                return Err(Rejection::ApprovalNotFound(approval_id.to_string()));
            };
            approvals::resolve(approval, *verdict, reason, rules, *rules_until_us, now_us)
        }
        Command::ExpireApproval { approval_id } => approvals::expire(session, approval_id, now_us),
        Command::ChoosePersona { persona, model } => {
            approvals::choose_persona(session, persona, model.as_ref())
        }
        Command::StartExec {
            exec_id,
            script,
            script_truncated,
            pty,
            timeout_ms,
        } => {
            check_awake(session)?;
            Ok(vec![EventBody::ExecStarted {
                exec_id: exec_id.clone(),
                script: script.clone(),
                script_truncated: *script_truncated,
                call_id: None,
                pty: *pty,
                timeout_ms: *timeout_ms,
            }])
        }
        Command::FinishExec {
            exec_id,
            result,
            late,
        } => {
            if !session.execs.contains_key(exec_id) {
                return Err(Rejection::ExecNotFound(exec_id.to_string()));
            }
            let mut events = vec![EventBody::ExecFinished {
                exec_id: exec_id.clone(),
                result: result.clone(),
            }];
            let ended = result;
            if let Some((turn_id, call_id, result)) = late
                && session.late_calls.get(call_id) == Some(turn_id)
            {
                events.push(EventBody::ToolCallFinished {
                    turn_id: turn_id.clone(),
                    call_id: call_id.clone(),
                    outcome: if ended.interrupted {
                        CallOutcome::Interrupted
                    } else if ended.exit_code == 0 {
                        CallOutcome::Succeeded
                    } else {
                        CallOutcome::Failed
                    },
                    result: result.clone(),
                    duration_ms: ended.duration_us / 1000,
                });
            }
            Ok(events)
        }
        Command::RecordTurn {
            turn_id,
            facts,
            next_turn_id,
        } => record_turn(session, turn_id, facts, next_turn_id, now_us),
        Command::Compact { focus, turn_id } => compact(session, focus, turn_id),
        Command::ChooseTitle { title, usage } => Ok(vec![EventBody::TitleChosen {
            title: title.clone(),
            usage: usage.clone(),
        }]),
        Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Archive
        | Command::Unarchive
        | Command::Delete { .. }
        | Command::Restore => standing::decide(session, command),
        Command::Redact { rewrites, reason } => Ok(vec![EventBody::Redacted {
            seqs: rewrites.iter().map(|(seq, _)| *seq).collect(),
            reason: reason.clone(),
        }]),
        Command::AskInit { approval } => Ok(approvals::ask_init(session, approval)),
        Command::AskHosts { .. }
        | Command::RecordConnections { .. }
        | Command::ChooseNetwork { .. }
        | Command::OpenPort { .. }
        | Command::ClosePort { .. } => super::reach::decide(session, command),
        Command::Notice { code, message } => Ok(vec![EventBody::NoticeRecorded {
            code: code.clone(),
            message: message.clone(),
        }]),
    }
}

fn compact(session: &Session, focus: &str, turn_id: &TurnId) -> Result<Vec<EventBody>, Rejection> {
    check_awake(session)?;
    if session.heard.messages < 2 {
        return Err(Rejection::WrongState("there is nothing to compact yet".into()));
    }
    if session.heard.wanted.is_some() {
        // Asked for already.
        return Ok(Vec::new());
    }
    let mut events = vec![EventBody::CompactionRequested {
        focus: super::session::clip(focus, 2_000),
    }];
    if session.turn.is_none() {
        let Some(model) = session.model.clone() else {
            return Err(Rejection::WrongState("the session has no model yet".into()));
        };
        events.push(EventBody::TurnStarted {
            turn_id: turn_id.clone(),
            message_ids: Vec::new(),
            model,
            options: TurnOptions {
                compact_only: true,
                ..TurnOptions::default()
            },
        });
    }
    Ok(events)
}

fn record_turn(
    session: &Session,
    turn_id: &TurnId,
    facts: &[EventBody],
    next_turn_id: &TurnId,
    now_us: i64,
) -> Result<Vec<EventBody>, Rejection> {
    let Some(turn) = session.turn.as_ref().filter(|turn| &turn.turn_id == turn_id) else {
        return Err(Rejection::NoOpenTurn(session.name.clone()));
    };
    let mut events = Vec::with_capacity(facts.len());
    for fact in facts {
        match fact {
            EventBody::TurnFinished { outcome, .. } => {
                events.extend(withdraw(session));
                events.push(finish(turn, outcome, &events, now_us));
                if !matches!(outcome, TurnOutcome::Interrupted { .. }) && !session.standing.rests() {
                    events.extend(next_turn(session, next_turn_id));
                }
            }
            other => events.push(other.clone()),
        }
    }
    events.extend(queue::steered(session, turn, facts));
    Ok(events)
}

/// The end of a turn, with sums that count the facts of the same batch.
fn finish(turn: &Turn, outcome: &TurnOutcome, before: &[EventBody], now_us: i64) -> EventBody {
    let mut totals = turn.totals_at(now_us);
    for event in before {
        match event {
            EventBody::StepFinished { usage, .. } => {
                totals.steps = totals.steps.saturating_add(1);
                totals.tokens = totals.tokens.plus(&usage.tokens.unwrap_or_default());
                totals.cost = match (totals.cost, usage.cost) {
                    (Some(sum), Some(cost)) if !turn.cost_unknown => Some(super::usage::Cost {
                        micro_usd: sum.micro_usd.saturating_add(cost.micro_usd),
                        source: cost.source,
                    }),
                    _ => None,
                };
            }
            EventBody::ToolCallFinished { .. } => totals.tool_calls = totals.tool_calls.saturating_add(1),
            _ => {}
        }
    }
    EventBody::TurnFinished {
        turn_id: turn.turn_id.clone(),
        outcome: outcome.clone(),
        totals,
    }
}

/// Questions nobody answered before their turn ended.
fn withdraw(session: &Session) -> Vec<EventBody> {
    // A question about a host outlives the turn: whoever answers it later answers for the next try.
    let held = session
        .approvals
        .iter()
        .filter(|approval| approval.holds_a_call());
    held.map(|approval| approvals::closed(approval, Verdict::Withdrawn, "the turn ended"))
        .collect()
}

/// The turn that takes up what was queued; never after a turn that somebody stopped: a stopped session stays
/// stopped.
pub(super) fn next_turn(session: &Session, turn_id: &TurnId) -> Option<EventBody> {
    let last: TurnOptions = session.queue.back()?.options.clone();
    Some(EventBody::TurnStarted {
        turn_id: turn_id.clone(),
        message_ids: session.queue.iter().map(|q| q.message_id.clone()).collect(),
        model: session
            .model
            .clone()
            .or_else(|| session.turn.as_ref().map(|t| t.model.clone()))?,
        options: last,
    })
}

/// What is true of a session when no daemon was there for a while: facts to append at start-up.
/// `running` tells the commands that a live jail still has.
pub fn recover(session: &Session, running: &dyn Fn(&ExecId) -> bool) -> Vec<EventBody> {
    let mut events: Vec<EventBody> = session
        .execs
        .keys()
        .filter(|id| !running(id))
        .map(exec_unknown)
        .collect();
    // Results that were to follow their turn, of commands that no jail has any more.
    for (call_id, turn_id) in &session.late_calls {
        let alive = session
            .execs
            .iter()
            .any(|(id, open)| open.call_id.as_ref() == Some(call_id) && running(id));
        if !alive {
            events.push(call_unknown(turn_id, call_id));
        }
    }
    let Some(turn) = &session.turn else { return events };
    let begun: Vec<&OpenCall> = turn
        .calls
        .iter()
        .filter(|open| matches!(open.stage, CallStage::Started(_)))
        .collect();
    events.extend(
        begun
            .iter()
            .filter(|open| !is_alive(open, running))
            .map(|open| call_unknown(&turn.turn_id, &open.call.call_id)),
    );
    // A turn that only waits for an answer lost nothing: it stays open, and the answer moves it on.
    let waits = session.approvals.iter().any(Approval::holds_a_call);
    if !waits || !begun.is_empty() {
        let reason = TurnOutcome::WENT_DOWN.to_owned();
        events.extend(withdraw(session));
        events.push(finish(
            turn,
            &TurnOutcome::Interrupted { reason },
            &events,
            session.updated_us,
        ));
    }
    events
}

/// What closes a log that begins a copy: nothing that was open in the original goes on in it.
pub fn close_copy(session: &Session) -> Vec<EventBody> {
    let mut events = recover(session, &|_| false);
    if let Some(turn) = &session.turn
        && !events
            .iter()
            .any(|event| matches!(event, EventBody::TurnFinished { .. }))
    {
        let reason = "the copy begins here".to_owned();
        events.extend(withdraw(session));
        let end = finish(
            turn,
            &TurnOutcome::Interrupted { reason },
            &events,
            session.updated_us,
        );
        events.push(end);
    }
    events
}

/// The ends of what an open turn began and nobody watches any more.
pub fn loose_ends(session: &Session, running: &dyn Fn(&ExecId) -> bool) -> Vec<EventBody> {
    let Some(turn) = &session.turn else {
        return Vec::new();
    };
    let mut events = Vec::new();
    for open in turn
        .calls
        .iter()
        .filter(|open| matches!(open.stage, CallStage::Started(_)))
    {
        if is_alive(open, running) {
            continue;
        }
        if let CallStage::Started(Some(exec_id)) = &open.stage
            && session.execs.contains_key(exec_id)
        {
            events.push(exec_unknown(exec_id));
        }
        events.push(call_unknown(&turn.turn_id, &open.call.call_id));
    }
    events
}

fn is_alive(open: &OpenCall, running: &dyn Fn(&ExecId) -> bool) -> bool {
    matches!(&open.stage, CallStage::Started(Some(exec_id)) if running(exec_id))
}

fn exec_unknown(exec_id: &ExecId) -> EventBody {
    EventBody::ExecFinished {
        exec_id: exec_id.clone(),
        result: ExecResult {
            exit_code: 125,
            unknown: true,
            message: "agentd or the machine went down; the outcome is unknown and nothing was run again"
                .into(),
            ..ExecResult::default()
        },
    }
}

fn call_unknown(turn_id: &TurnId, call_id: &CallId) -> EventBody {
    EventBody::ToolCallFinished {
        turn_id: turn_id.clone(),
        call_id: call_id.clone(),
        outcome: CallOutcome::Unknown,
        result:
            "[outcome unknown: agentd went down while this ran. It was not run again. Look at the state of \
                 things before you repeat it.]"
                .into(),
        duration_ms: 0,
    }
}

/// The rejection for an approval that has an answer.
pub fn decided(approval_id: &str, answer: &Answer) -> Rejection {
    Rejection::ApprovalDecided {
        id: approval_id.to_owned(),
        verdict: answer.verdict.word(),
        by: answer.by.clone(),
    }
}

fn check_head(session: &Session, expected: Option<Seq>) -> Result<(), Rejection> {
    match expected {
        Some(expected) if expected != session.head => Err(Rejection::HeadMoved {
            head: session.head,
            expected,
        }),
        _ => Ok(()),
    }
}

pub(super) fn check_parts(parts: &[Part]) -> Result<(), Rejection> {
    let mut bytes = 0usize;
    let mut words = false;
    for part in parts {
        match part {
            Part::Text { text } => {
                words |= !text.trim().is_empty();
                bytes = bytes.saturating_add(text.len());
            }
            Part::Attachment { name, text } => {
                if name.len() > MAX_ATTACHMENT_NAME {
                    return Err(Rejection::InvalidArgument(format!(
                        "an attachment's name has more than {MAX_ATTACHMENT_NAME} bytes"
                    )));
                }
                words = true;
                bytes = bytes.saturating_add(text.len());
            }
            Part::Image { name, data, .. } => {
                if name.len() > MAX_ATTACHMENT_NAME {
                    return Err(Rejection::InvalidArgument(format!(
                        "an attachment's name has more than {MAX_ATTACHMENT_NAME} bytes"
                    )));
                }
                words = true;
                bytes = bytes.saturating_add(data.len());
            }
            _ => {
                return Err(Rejection::InvalidArgument(
                    "a message has text, attachments and images only".into(),
                ));
            }
        }
    }
    if !words {
        return Err(Rejection::InvalidArgument("the message is empty".into()));
    }
    if bytes > MAX_MESSAGE_BYTES {
        return Err(Rejection::InvalidArgument(format!(
            "the message has {bytes} bytes, the most is {MAX_MESSAGE_BYTES}"
        )));
    }
    Ok(())
}

/// Refuses names that can't be typed, shown or told from an id.
pub fn check_name(name: &str) -> Result<(), Rejection> {
    let bad = |why: &str| Err(Rejection::InvalidArgument(format!("session name {why}")));
    if name.is_empty() || name.trim() != name {
        return bad("is empty or has space around it");
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return bad(&format!("is longer than {MAX_NAME_CHARS} characters"));
    }
    if name
        .chars()
        .any(|c| c.is_control() || c == '/' || is_invisible(c))
    {
        return bad("has a control character, an invisible character or a slash");
    }
    if name.starts_with("s-") || name.starts_with('@') || name.starts_with('-') || name == "." {
        return bad("starts like an id or an option (s-, @, -)");
    }
    Ok(())
}

/// Characters that reorder or hide text.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{00ad}')
}
