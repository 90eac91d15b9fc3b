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
    let parts = match parts {
        Some(parts) => with_pictures(parts, &waiting.parts)?,
        None => waiting.parts.to_vec(),
    };
    check_parts(&parts)?;
    Ok(vec![EventBody::MessageEdited {
        message_id: message_id.clone(),
        parts,
        steer: steer.unwrap_or(waiting.steer),
    }])
}

/// The parts, with the pictures that were there before in the place of those that are only named.
fn with_pictures(parts: &[Part], before: &[Part]) -> Result<Vec<Part>, Rejection> {
    // Each once: pasted pictures often have one name.
    let mut pictures: Vec<&Part> = before.iter().collect();
    let whole = |part: &Part| {
        let Part::Image { name, data, .. } = part else {
            return Ok(part.clone());
        };
        if !data.is_empty() {
            return Ok(part.clone());
        }
        let same = pictures
            .iter()
            .position(|old| matches!(old, Part::Image { name: old, .. } if old == name));
        same.map(|at| pictures.remove(at).clone()).ok_or_else(|| {
            Rejection::InvalidArgument(format!("image '{name}': the message has none of that name"))
        })
    };
    parts.iter().map(whole).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str, data: &str) -> Part {
        Part::Image {
            name: name.into(),
            media_type: "image/png".into(),
            data: data.into(),
            width: 3,
            height: 7,
        }
    }

    #[test]
    fn a_picture_that_is_only_named_stays_as_it_was() {
        let before = [Part::Text { text: "old".into() }, picture("a.png", "AAAA")];
        let words = Part::Text { text: "new".into() };
        let parts = with_pictures(&[words.clone(), picture("a.png", "")], &before).unwrap();
        assert_eq!(parts, [words, picture("a.png", "AAAA")]);
        let fresh = with_pictures(&[picture("a.png", "BBBB")], &before).unwrap();
        assert_eq!(fresh, [picture("a.png", "BBBB")]);
        assert!(with_pictures(&[picture("b.png", "")], &before).is_err());
        // What is pasted often has one name.
        let two = [picture("image.png", "AAAA"), picture("image.png", "BBBB")];
        let named = [picture("image.png", ""), picture("image.png", "")];
        assert_eq!(with_pictures(&named, &two).unwrap(), two);
    }
}
