//! Owns: what both APIs share of turning our Messages into a request and a finished answer into our Parts.
//! Guarantees: a request is lawful for strict servers (every call answered once, arguments are JSON objects) and
//! deterministic; a reply has a text or a tool call, and call ids unique within the Session's history.

use std::collections::HashSet;

use serde_json::Value;

use super::error::ModelError;
use super::lenient::{Usage, micro_usd, number};
use super::{Finish, ModelRequest};
use crate::domain::id::CallId;
use crate::domain::message::{Message, Part, Role, ToolCall};
use crate::domain::usage::Tokens;

/// Said for a call whose answer is not in the history: an interrupted Turn leaves such calls.
const NO_RESULT: &str = "(no result: the call was interrupted before it finished; its effects are unknown)";

/// One thing said, in an order every server accepts.
#[derive(Debug, PartialEq)]
pub(crate) enum Said<'a> {
    User(Vec<Piece>),
    Assistant(&'a [Part]),
    Result { call_id: &'a CallId, text: &'a str },
}

/// The history made lawful: every tool call has exactly one result right after it, nothing else is there.
pub(crate) fn lawful(messages: &[Message]) -> Vec<Said<'_>> {
    let mut said = Vec::new();
    let mut open: Vec<&CallId> = Vec::new();
    for message in messages {
        match message.role {
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { continue };
                    let Some(at) = open.iter().position(|id| **id == result.call_id) else {
                        continue;
                    };
                    open.remove(at);
                    said.push(Said::Result {
                        call_id: &result.call_id,
                        text: &result.text,
                    });
                }
            }
            Role::User => {
                close(&mut open, &mut said);
                let pieces = user_pieces(&message.parts);
                match said.last_mut() {
                    // Strict templates want person and model to take turns.
                    Some(Said::User(before)) => join(before, pieces),
                    _ if !pieces.is_empty() => said.push(Said::User(pieces)),
                    _ => {}
                }
            }
            Role::Assistant => {
                close(&mut open, &mut said);
                if !is_hollow(&message.parts) {
                    said.push(Said::Assistant(&message.parts));
                    open = message.tool_calls().map(|call| &call.call_id).collect();
                }
            }
        }
    }
    close(&mut open, &mut said);
    said
}

fn close<'a>(open: &mut Vec<&'a CallId>, said: &mut Vec<Said<'a>>) {
    said.extend(open.drain(..).map(|call_id| Said::Result {
        call_id,
        text: NO_RESULT,
    }));
}

fn is_hollow(parts: &[Part]) -> bool {
    !parts.iter().any(|part| match part {
        Part::Text { text } => !text.is_empty(),
        Part::ToolCall(_) => true,
        _ => false,
    })
}

/// A piece of what a person says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Words.
    Text(String),
    /// A picture as a `data:` address.
    Image(String),
}

fn user_pieces(parts: &[Part]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for part in parts {
        let piece = match part {
            Part::Text { text } => Piece::Text(text.clone()),
            Part::Attachment { name, text } => {
                let name = name.replace(['"', '<', '>'], "_");
                let newline = if text.ends_with('\n') { "" } else { "\n" };
                Piece::Text(format!(
                    "<attachment name=\"{name}\">\n{text}{newline}</attachment>"
                ))
            }
            Part::Context(item) => {
                let name = item.name.replace(['"', '<', '>'], "_");
                // What is in a file must not look like the end of it.
                let text = item.text.replace("</context", "<\\/context");
                let newline = if text.ends_with('\n') { "" } else { "\n" };
                let kind = item.kind.word();
                Piece::Text(format!(
                    "<context kind=\"{kind}\" name=\"{name}\">\n{text}{newline}</context>"
                ))
            }
            // Taken out of the log: there is no picture any more.
            Part::Image { name, data, .. } if data.starts_with('[') => {
                Piece::Text(format!("[the picture {name} was redacted]"))
            }
            Part::Image { media_type, data, .. } => Piece::Image(format!("data:{media_type};base64,{data}")),
            _ => continue,
        };
        join(&mut pieces, vec![piece]);
    }
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    pieces
}

/// Adds pieces; words that follow words become one piece.
fn join(pieces: &mut Vec<Piece>, more: Vec<Piece>) {
    for piece in more {
        match (pieces.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => {
                if !before.is_empty() && !text.is_empty() {
                    before.push_str("\n\n");
                }
                before.push_str(&text);
            }
            (_, piece) => pieces.push(piece),
        }
    }
}

/// Arguments fit to send back. Strict servers refuse a whole history over one malformed call, so such a call goes
/// back with none; its result says what was wrong with it.
pub(crate) fn sendable_arguments(arguments: &str) -> &str {
    if is_object(arguments) { arguments } else { "{}" }
}

fn is_object(arguments: &str) -> bool {
    matches!(serde_json::from_str::<Value>(arguments), Ok(Value::Object(_)))
}

/// An answer as assembled from the stream, not yet judged.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) parts: Vec<Part>,
    pub(crate) finish: Option<Finish>,
    pub(crate) usage: Option<Usage>,
}

/// Judges a draft: gives its parts and finish, or the error that it really is.
pub(crate) fn settle(mut draft: Draft, request: &ModelRequest) -> Result<(Vec<Part>, Finish), ModelError> {
    let mut finish = draft.finish.take().unwrap_or(Finish::Stop);
    draft.parts.retain(|part| match part {
        Part::Text { text } => !text.trim().is_empty(),
        Part::Reasoning { text, opaque } => !text.is_empty() || opaque.is_some(),
        // Cut in the middle: what is left of it must not run.
        Part::ToolCall(call) => finish != Finish::Length || is_object(&call.arguments),
        _ => true,
    });
    if is_hollow(&draft.parts) {
        return Err(match finish {
            Finish::Length => ModelError::TooLong,
            Finish::ContentFilter => ModelError::Filtered {
                message: "no text was let through".into(),
            },
            _ => ModelError::Empty,
        });
    }
    name_calls(&mut draft.parts, request);
    let calls = draft.parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    if calls && matches!(finish, Finish::Stop | Finish::Other(_)) {
        finish = Finish::ToolCalls;
    } else if !calls && finish == Finish::ToolCalls {
        finish = Finish::Stop;
    }
    Ok((draft.parts, finish))
}

/// Longest call id accepted: OpenAI's own limit.
const LONGEST_ID: usize = 64;

/// Gives every call an id that is usable and new. Some servers send none, the same one twice, or the same one in every reply.
fn name_calls(parts: &mut [Part], request: &ModelRequest) {
    let mut taken: HashSet<String> = request
        .messages
        .iter()
        .flat_map(Message::tool_calls)
        .map(|call| call.call_id.as_str().to_owned())
        .collect();
    let step = request.messages.len();
    let calls = parts.iter_mut().filter_map(|part| match part {
        Part::ToolCall(call) => Some(call),
        _ => None,
    });
    for (
        index,
        ToolCall {
            call_id, arguments, ..
        },
    ) in calls.enumerate()
    {
        let given = call_id.as_str();
        let usable =
            !given.is_empty() && given.len() <= LONGEST_ID && given.bytes().all(|b| b.is_ascii_graphic());
        let mut id = if usable {
            given.to_owned()
        } else {
            format!("call_{step}_{index}")
        };
        let mut again = 1;
        while taken.contains(&id) {
            again += 1;
            id = format!("call_{step}_{index}_{again}");
        }
        taken.insert(id.clone());
        *call_id = CallId(id);
        if arguments.trim().is_empty() {
            *arguments = "{}".into();
        }
    }
}

/// Tokens and cost as far as the server reported them.
pub(crate) fn count(usage: Option<&Usage>) -> (Option<Tokens>, Option<u64>) {
    let Some(usage) = usage else { return (None, None) };
    let prompt = usage.prompt_tokens_details.as_ref();
    let completion = usage.completion_tokens_details.as_ref();
    let input = number(usage.prompt_tokens.as_ref());
    let output = number(usage.completion_tokens.as_ref());
    // A request that took no tokens at all does not exist: such a server does not count.
    let counted = input.unwrap_or(0) > 0 || output.unwrap_or(0) > 0;
    let tokens = counted.then(|| Tokens {
        input: input.unwrap_or(0),
        cached_input: prompt
            .and_then(|d| number(d.cached_tokens.as_ref()))
            .or_else(|| number(usage.prompt_cache_hit_tokens.as_ref()))
            .unwrap_or(0),
        cache_write: prompt
            .and_then(|d| number(d.cache_write_tokens.as_ref()))
            .or_else(|| number(usage.cache_creation_input_tokens.as_ref()))
            .unwrap_or(0),
        output: output.unwrap_or(0),
        reasoning: completion
            .and_then(|d| number(d.reasoning_tokens.as_ref()))
            .unwrap_or(0),
    });
    (tokens, micro_usd(usage.cost.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::ToolResult;

    fn call(id: &str, arguments: &str) -> Part {
        Part::ToolCall(ToolCall {
            call_id: CallId(id.into()),
            tool: "exec".into(),
            arguments: arguments.into(),
        })
    }

    fn assistant(parts: Vec<Part>) -> Message {
        Message {
            role: Role::Assistant,
            parts,
        }
    }

    fn result(id: &str) -> Message {
        let result = ToolResult {
            call_id: CallId(id.into()),
            text: "r".into(),
            ok: true,
        };
        Message {
            role: Role::Tool,
            parts: vec![Part::ToolResult(result)],
        }
    }

    fn request(messages: Vec<Message>) -> ModelRequest {
        ModelRequest {
            instructions: String::new(),
            messages: messages.into(),
            tools: Vec::new().into(),
            effort: None,
            session_key: "s".into(),
            approver_present: false,
        }
    }

    #[test]
    fn an_unanswered_call_gets_an_answer_and_a_stray_answer_goes() {
        let messages = [
            assistant(vec![call("a", "{}"), call("b", "{}")]),
            result("b"),
            result("zzz"),
            Message::user("next"),
        ];
        let said = lawful(&messages);
        assert_eq!(said.len(), 4);
        assert!(matches!(&said[1], Said::Result { call_id, text: "r" } if call_id.as_str() == "b"));
        assert!(
            matches!(&said[2], Said::Result { call_id, text } if call_id.as_str() == "a" && *text == NO_RESULT)
        );
        assert!(matches!(&said[3], Said::User(_)));
    }

    #[test]
    fn a_longer_history_begins_with_the_shorter_one() {
        let mut messages = vec![Message::user("hi"), assistant(vec![call("a", "{}")]), result("a")];
        let before = format!("{:?}", lawful(&messages));
        messages.push(assistant(vec![Part::Text { text: "done".into() }]));
        assert!(format!("{:?}", lawful(&messages)).starts_with(before.trim_end_matches(']')));
    }

    #[test]
    fn ids_are_made_unique_against_reply_and_history() {
        let request = request(vec![assistant(vec![call("x", "{}")])]);
        let draft = Draft {
            parts: vec![
                call("x", "{}"),
                call("y", ""),
                call("y", "{}"),
                call("", "{}"),
                call(&"l".repeat(99), "{}"),
            ],
            finish: Some(Finish::Stop),
            usage: None,
        };
        let (parts, finish) = settle(draft, &request).unwrap();
        let ids: HashSet<_> = assistant(parts.clone())
            .tool_calls()
            .map(|c| c.call_id.clone())
            .collect();
        assert_eq!(ids.len(), 5);
        assert!(!ids.contains(&CallId("x".into())) && ids.contains(&CallId("y".into())));
        assert_eq!(finish, Finish::ToolCalls);
        assert!(assistant(parts).tool_calls().all(|c| c.arguments == "{}"));
    }

    #[test]
    fn nothing_usable_is_an_error_not_a_success() {
        let judged = |parts, finish| {
            settle(
                Draft {
                    parts,
                    finish: Some(finish),
                    usage: None,
                },
                &request(vec![]),
            )
        };
        let thought = || {
            vec![Part::Reasoning {
                text: "hm".into(),
                opaque: None,
            }]
        };
        assert_eq!(judged(vec![], Finish::Stop), Err(ModelError::Empty));
        assert_eq!(judged(thought(), Finish::Stop), Err(ModelError::Empty));
        assert_eq!(judged(thought(), Finish::Length), Err(ModelError::TooLong));
        assert_eq!(
            judged(vec![call("a", "{\"cut")], Finish::Length),
            Err(ModelError::TooLong)
        );
        assert_eq!(
            judged(vec![], Finish::ContentFilter).unwrap_err().reason_code(),
            "content_filtered"
        );
    }
}
