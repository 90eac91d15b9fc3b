//! Owns: what can be done with messages that wait: changing them, taking them back, and handing those that
//! steer to the open turn.
//! Guarantees: pure; a message is read by the agent once, in the form it had then, or never.

use std::collections::BTreeSet;

use super::decide::check_parts;
use super::event::EventBody;
use super::id::{CallId, MessageId};
use super::message::{Message, Part, Role};
use super::rejection::Rejection;
use super::session::{QueuedMessage, Session, Turn};

/// Changes a message that waits; what is `None` stays as it is.
pub(super) fn edit(
    session: &Session,
    message_id: &MessageId,
    parts: Option<&[Part]>,
    steer: Option<bool>,
) -> Result<Vec<EventBody>, Rejection> {
    let waiting = find(session, message_id)?;
    if let Some(parts) = parts {
        check_parts(parts)?;
    }
    Ok(vec![EventBody::MessageEdited {
        message_id: message_id.clone(),
        parts: parts.unwrap_or(&waiting.parts).to_vec(),
        steer: steer.unwrap_or(waiting.steer),
    }])
}

/// Takes a message back.
pub(super) fn remove(session: &Session, message_id: &MessageId) -> Result<Vec<EventBody>, Rejection> {
    find(session, message_id)?;
    Ok(vec![EventBody::MessageRemoved {
        message_id: message_id.clone(),
    }])
}

/// The messages that the next step of `turn` reads, should `facts` bring the turn between two steps: every
/// call of the last one has its result then. Never elsewhere: providers want results right after their calls.
pub(super) fn steered(session: &Session, turn: &Turn, facts: &[EventBody]) -> Option<EventBody> {
    let mut open: BTreeSet<CallId> = turn.calls.iter().map(|one| one.call.call_id.clone()).collect();
    let mut ended_one = false;
    for fact in facts {
        match fact {
            EventBody::StepFinished { parts, .. } => {
                let said = Message {
                    role: Role::Assistant,
                    parts: parts.clone(),
                };
                open = said.tool_calls().map(|call| call.call_id.clone()).collect();
            }
            EventBody::ToolCallFinished { call_id, .. } => ended_one |= open.remove(call_id),
            EventBody::TurnFinished { .. } => return None,
            _ => {}
        }
    }
    let message_ids: Vec<MessageId> = session
        .queue
        .iter()
        .filter(|waiting| waiting.steer)
        .map(|waiting| waiting.message_id.clone())
        .collect();
    (ended_one && open.is_empty() && !message_ids.is_empty()).then(|| EventBody::TurnSteered {
        turn_id: turn.turn_id.clone(),
        message_ids,
    })
}

fn find<'a>(session: &'a Session, message_id: &MessageId) -> Result<&'a QueuedMessage, Rejection> {
    session
        .queue
        .iter()
        .find(|waiting| &waiting.message_id == message_id)
        .ok_or_else(|| Rejection::MessageNotWaiting {
            message: message_id.to_string(),
            session: session.name.clone(),
        })
}
