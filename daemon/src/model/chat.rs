//! Owns: Chat Completions: the request body, and assembling an answer from its chunks.
//! Guarantees: the body always asks for a stream with usage; tool calls survive missing indices and repeated ids.

use serde::Deserialize;
use serde_json::{Value, json};

use super::convert::{Draft, Piece, Said, lawful, sendable_arguments};
use super::error::ModelError;
use super::fault::{self, Peer};
use super::lenient::{self, CallDelta, ChatChunk, Choice, Delta, Usage};
use super::openai::{Assembler, Wire};
use super::{Finish, ModelEvent, ModelRequest};
use crate::domain::id::CallId;
use crate::domain::message::{Part, ToolCall};

/// The request body.
pub(crate) fn body(request: &ModelRequest, wire: &Wire<'_>) -> Value {
    let mut messages = Vec::new();
    if !request.instructions.is_empty() {
        messages.push(json!({"role": "system", "content": request.instructions}));
    }
    messages.extend(lawful(&request.messages).iter().map(message));
    let mut body = json!({
        "model": wire.model,
        "messages": messages,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    if let Value::Object(fields) = &mut body {
        if !request.tools.is_empty() {
            let tools: Vec<Value> = request
                .tools
                .iter()
                .map(|tool| {
                    json!({"type": "function", "function": {
                        "name": tool.name, "description": tool.description, "parameters": tool.parameters,
                    }})
                })
                .collect();
            fields.insert("tools".into(), tools.into());
        }
        if let Some(effort) = &request.effort {
            fields.insert("reasoning_effort".into(), effort.as_str().into());
        }
        if wire.is_openai {
            // Others refuse fields they do not know.
            fields.insert("prompt_cache_key".into(), request.session_key.as_str().into());
        }
    }
    body
}

fn message(said: &Said<'_>) -> Value {
    match said {
        Said::User(pieces) => match pieces.as_slice() {
            // Plain words stay a plain string: every server takes that.
            [Piece::Text(text)] => json!({"role": "user", "content": text}),
            pieces => {
                let content: Vec<Value> = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => json!({"type": "text", "text": text}),
                        Piece::Image(url) => json!({"type": "image_url", "image_url": {"url": url}}),
                    })
                    .collect();
                json!({"role": "user", "content": content})
            }
        },
        Said::Result { call_id, text } => {
            json!({"role": "tool", "tool_call_id": call_id.as_str(), "content": text})
        }
        Said::Assistant(parts) => {
            let mut text = String::new();
            let mut calls = Vec::new();
            for part in *parts {
                match part {
                    Part::Text { text: more } => {
                        if !text.is_empty() {
                            text.push('\n');
                        }
                        text.push_str(more);
                    }
                    Part::ToolCall(call) => calls.push(json!({
                        "id": call.call_id.as_str(),
                        "type": "function",
                        "function": {"name": call.tool, "arguments": sendable_arguments(&call.arguments)},
                    })),
                    _ => {}
                }
            }
            let content = if text.is_empty() {
                Value::Null
            } else {
                Value::String(text)
            };
            if calls.is_empty() {
                json!({"role": "assistant", "content": content})
            } else {
                json!({"role": "assistant", "content": content, "tool_calls": calls})
            }
        }
    }
}

/// A tool call being assembled.
#[derive(Debug, Default)]
struct Building {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// Assembles one answer.
#[derive(Debug, Default)]
pub(crate) struct ChatAssembler {
    text: String,
    reasoning: String,
    calls: Vec<Building>,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

/// More calls than this in one reply is a server gone mad.
const MOST_CALLS: usize = 256;

impl Assembler for ChatAssembler {
    type Chunk = ChatChunk;

    fn take(&mut self, chunk: ChatChunk, peer: &Peer) -> Result<Vec<ModelEvent>, ModelError> {
        if let Some(error) = chunk.error.filter(|e| !e.is_null()) {
            return Err(fault::from_value(peer, &json!({"error": error})));
        }
        let mut events = Vec::new();
        // The last usage wins: some servers repeat a running total in every chunk.
        for usage in [chunk.x_groq.and_then(|nested| nested.usage), chunk.usage]
            .into_iter()
            .flatten()
        {
            self.usage = Some(usage);
        }
        let first = chunk.choices.unwrap_or_default().into_iter().next();
        let Some(choice) = first.and_then(|value| Choice::deserialize(value).ok()) else {
            return Ok(events);
        };
        if let Some(usage) = choice.usage {
            self.usage = Some(usage);
        }
        let whole = self.text.is_empty() && self.calls.is_empty();
        if let Some(delta) = choice.delta.or(choice.message.filter(|_| whole)) {
            self.add(delta, &mut events)?;
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish = Some(match reason.as_str() {
                "stop" | "end_turn" | "eos" => Finish::Stop,
                "tool_calls" | "function_call" | "tool_use" => Finish::ToolCalls,
                "length" | "max_tokens" => Finish::Length,
                "content_filter" => Finish::ContentFilter,
                "error" => {
                    return Err(ModelError::Server {
                        status: None,
                        message: "the stream ended with finish_reason \"error\"".into(),
                        retry_after: None,
                    });
                }
                other => Finish::Other(peer.clean(other)),
            });
        }
        Ok(events)
    }

    fn is_terminal(&self) -> bool {
        self.finish.is_some()
    }

    fn must_read_on(&self) -> bool {
        // Usage and the end mark follow the finish reason.
        true
    }

    fn finish(self, done: bool) -> Result<Draft, ModelError> {
        if self.finish.is_none() && !done {
            let nothing = self.text.is_empty() && self.calls.is_empty() && self.reasoning.is_empty();
            let detail = if nothing {
                "the stream ended before the first token"
            } else {
                "no finish reason came"
            };
            return Err(ModelError::CutStream {
                detail: detail.into(),
            });
        }
        let mut parts = Vec::new();
        if !self.reasoning.is_empty() {
            parts.push(Part::Reasoning {
                text: self.reasoning,
                opaque: None,
            });
        }
        if !self.text.is_empty() {
            parts.push(Part::Text { text: self.text });
        }
        for call in self.calls {
            if call.name.is_empty() && call.arguments.is_empty() {
                continue;
            }
            parts.push(Part::ToolCall(ToolCall {
                call_id: CallId(call.id),
                tool: call.name,
                arguments: call.arguments,
            }));
        }
        Ok(Draft {
            parts,
            finish: self.finish,
            usage: self.usage,
        })
    }
}

impl ChatAssembler {
    fn add(&mut self, delta: Delta, events: &mut Vec<ModelEvent>) -> Result<(), ModelError> {
        // A server that sends both names sends the same words twice.
        let thought = match lenient::text(delta.reasoning_content.as_ref()) {
            words if words.is_empty() => lenient::text(delta.reasoning.as_ref()),
            words => words,
        };
        if !thought.is_empty() {
            self.reasoning.push_str(&thought);
            events.push(ModelEvent::ReasoningDelta(thought));
        }
        for words in [
            lenient::text(delta.content.as_ref()),
            lenient::text(delta.refusal.as_ref()),
        ] {
            if !words.is_empty() {
                self.text.push_str(&words);
                events.push(ModelEvent::TextDelta(words));
            }
        }
        for value in delta.tool_calls.unwrap_or_default() {
            let Ok(piece) = CallDelta::deserialize(value) else {
                continue;
            };
            self.add_call(piece, events)?;
        }
        Ok(())
    }

    fn add_call(&mut self, piece: CallDelta, events: &mut Vec<ModelEvent>) -> Result<(), ModelError> {
        let index = lenient::number(piece.index.as_ref());
        let id = piece.id.unwrap_or_default();
        let function = piece.function.unwrap_or_default();
        let name = function.name.unwrap_or_default();
        let arguments = lenient::arguments(function.arguments.as_ref());

        let at = self.place_of(index, &id, &name);
        let at = match at {
            Some(at) => at,
            None if self.calls.len() >= MOST_CALLS => {
                return Err(ModelError::Garbage {
                    detail: format!("more than {MOST_CALLS} tool calls in one reply"),
                });
            }
            None => {
                self.calls.push(Building {
                    index,
                    ..Building::default()
                });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else {
            return Ok(());
        };
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        call.arguments.push_str(&arguments);
        events.push(ModelEvent::ToolCallDelta {
            index: at,
            call_id: (!call.id.is_empty()).then(|| CallId(call.id.clone())),
            tool: (!call.name.is_empty()).then(|| call.name.clone()),
            arguments,
        });
        Ok(())
    }

    /// Which call a piece continues. Servers that send index 0 (or none) for every call begin each with a new id
    /// and a name; without an index, a piece with neither continues the last call.
    fn place_of(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let at = match index {
            Some(wanted) => self.calls.iter().rposition(|call| call.index == Some(wanted))?,
            None if id.is_empty() && name.is_empty() => self.calls.len().checked_sub(1)?,
            None if id.is_empty() => return None,
            None => self.calls.iter().rposition(|call| call.id == id)?,
        };
        let call = self.calls.get(at)?;
        let another = !id.is_empty() && !name.is_empty() && !call.id.is_empty() && call.id != id;
        (!another).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer {
            provider: "p".into(),
            url: "u".into(),
            secrets: vec![],
            key_source: None,
            key_variable: "P_API_KEY".into(),
            proxy: None,
        }
    }

    fn assemble(chunks: &[Value]) -> Vec<Part> {
        let mut assembler = ChatAssembler::default();
        for chunk in chunks {
            assembler
                .take(serde_json::from_value(chunk.clone()).unwrap(), &peer())
                .unwrap();
        }
        assembler.finish(true).unwrap().parts
    }

    fn piece(call: Value) -> Value {
        json!({"choices": [{"delta": {"tool_calls": [call]}}]})
    }

    fn calls(chunks: &[Value]) -> Vec<(String, String, String)> {
        assemble(chunks)
            .into_iter()
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some((call.call_id.0, call.tool, call.arguments)),
                _ => None,
            })
            .collect()
    }

    fn triple(id: &str, tool: &str, arguments: &str) -> (String, String, String) {
        (id.into(), tool.into(), arguments.into())
    }

    #[test]
    fn parallel_calls_are_kept_apart_by_index() {
        let got = calls(&[
            piece(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"n\""}})),
            piece(json!({"index": 1, "id": "b", "function": {"name": "y", "arguments": "{"}})),
            piece(json!({"index": 0, "function": {"arguments": ":1}"}})),
            piece(json!({"index": 1, "function": {"arguments": "}"}})),
        ]);
        assert_eq!(got, [triple("a", "x", "{\"n\":1}"), triple("b", "y", "{}")]);
    }

    #[test]
    fn calls_are_kept_apart_without_an_index_or_with_a_constant_one() {
        for index in [Value::Null, json!(0)] {
            let got = calls(&[
                piece(json!({"index": index, "id": "a", "function": {"name": "x", "arguments": "{"}})),
                piece(json!({"index": index, "function": {"arguments": "}"}})),
                piece(json!({"index": index, "id": "b", "function": {"name": "y", "arguments": {"k": 1}}})),
            ]);
            assert_eq!(
                got,
                [triple("a", "x", "{}"), triple("b", "y", "{\"k\":1}")],
                "{index}"
            );
        }
    }

    #[test]
    fn a_repeated_id_and_name_continue_the_call() {
        let got = calls(&[
            piece(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{"}})),
            piece(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "}"}})),
        ]);
        assert_eq!(got, [triple("a", "x", "{}")]);
    }

    #[test]
    fn a_message_sent_whole_is_taken() {
        let parts = assemble(&[
            json!({"choices": [{"message": {"content": "all", "reasoning": "r"}, "finish_reason": "stop"}]}),
        ]);
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn the_body_is_the_same_bytes_each_time_and_grows_at_its_end() {
        let request = |messages: Vec<crate::domain::message::Message>| ModelRequest {
            instructions: "be brief".into(),
            messages: messages.into(),
            tools: vec![].into(),
            effort: None,
            session_key: "s".into(),
            approver_present: false,
        };
        let wire = Wire {
            model: "m",
            full_name: "p/m",
            is_openai: false,
        };
        let hi = crate::domain::message::Message::user("hi");
        let one = body(&request(vec![hi.clone()]), &wire).to_string();
        assert_eq!(
            one,
            r#"{"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}"#
        );
        // Two messages of a person in a row are one to the model: something is said in between.
        let yes = crate::domain::message::Message {
            role: crate::domain::message::Role::Assistant,
            parts: vec![Part::Text { text: "yes".into() }],
        };
        let two = body(&request(vec![hi.clone(), yes, hi]), &wire).to_string();
        assert!(two.starts_with(one.split("],\"stream\"").next().unwrap()));
    }
}
