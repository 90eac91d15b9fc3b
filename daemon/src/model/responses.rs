//! Owns: the Responses API: the request body, and assembling an answer from its events.
//! Guarantees: nothing is stored at the provider; the whole history is resent, encrypted reasoning included;
//! an answer counts only when its terminal event came.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::convert::{Draft, Piece, Said, lawful, sendable_arguments};
use super::error::ModelError;
use super::fault::{self, Peer};
use super::lenient::{self, ResponseObject, ResponsesEvent, Usage};
use super::openai::{Assembler, Wire};
use super::{Finish, ModelEvent, ModelRequest};
use crate::domain::id::CallId;
use crate::domain::message::{Part, ToolCall};

/// The request body.
pub(crate) fn body(request: &ModelRequest, wire: &Wire<'_>) -> Value {
    let mut input = Vec::new();
    for said in lawful(&request.messages) {
        match said {
            Said::User(pieces) => {
                let content: Vec<Value> = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => json!({"type": "input_text", "text": text}),
                        Piece::Image(url) => json!({"type": "input_image", "image_url": url}),
                    })
                    .collect();
                input.push(json!({"type": "message", "role": "user", "content": content}));
            }
            Said::Result { call_id, text } => {
                input.push(
                    json!({"type": "function_call_output", "call_id": call_id.as_str(), "output": text}),
                );
            }
            Said::Assistant(parts) => input.extend(parts.iter().filter_map(|part| item(part, wire))),
        }
    }
    let mut body = json!({"model": wire.model, "instructions": request.instructions, "input": input, "stream": true, "store": false});
    if let Value::Object(fields) = &mut body {
        if !request.tools.is_empty() {
            let tools: Vec<Value> = request
                .tools
                .iter()
                .map(|tool| {
                    json!({
                        "type": "function", "name": tool.name, "description": tool.description,
                        "parameters": tool.parameters, "strict": false,
                    })
                })
                .collect();
            fields.insert("tools".into(), tools.into());
        }
        if reasons(wire.model) {
            fields.insert("include".into(), json!(["reasoning.encrypted_content"]));
        }
        if let Some(effort) = &request.effort {
            fields.insert("reasoning".into(), json!({"effort": effort, "summary": "auto"}));
        }
        if wire.is_openai {
            fields.insert("prompt_cache_key".into(), request.session_key.as_str().into());
        }
    }
    body
}

/// False for the models that answer 400 when asked for encrypted reasoning; unknown names are asked.
fn reasons(model: &str) -> bool {
    let base = model.rsplit('/').next().unwrap_or(model);
    !["gpt-3", "gpt-4", "chatgpt-4"]
        .iter()
        .any(|prefix| base.starts_with(prefix))
}

fn item(part: &Part, wire: &Wire<'_>) -> Option<Value> {
    match part {
        Part::Text { text } if !text.is_empty() => Some(
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}),
        ),
        Part::ToolCall(call) => Some(json!({
            "type": "function_call",
            "call_id": call.call_id.as_str(),
            "name": call.tool,
            "arguments": sendable_arguments(&call.arguments),
        })),
        // Encrypted reasoning can be read only by the model that wrote it.
        Part::Reasoning {
            opaque: Some(opaque), ..
        } => (opaque.get("model").and_then(Value::as_str) == Some(wire.full_name))
            .then(|| opaque.get("item").cloned())?,
        _ => None,
    }
}

/// An output item being assembled.
#[derive(Debug, Default)]
struct Building {
    /// The item as first announced, replaced by the finished one.
    item: Value,
    text: String,
    thought: String,
    arguments: String,
}

/// Assembles one answer.
#[derive(Debug)]
pub(crate) struct ResponsesAssembler {
    model: String,
    items: BTreeMap<u64, Building>,
    /// Which place an item id has, for events without an output index.
    places: Vec<(String, u64)>,
    streamed: bool,
    terminal: Option<Finish>,
    output: Vec<Value>,
    usage: Option<Usage>,
}

impl ResponsesAssembler {
    /// `model` is the full name that encrypted reasoning is marked with.
    pub(crate) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            items: BTreeMap::new(),
            places: Vec::new(),
            streamed: false,
            terminal: None,
            output: Vec::new(),
            usage: None,
        }
    }

    fn place(&mut self, index: Option<&Value>, item_id: Option<&str>) -> u64 {
        let known =
            |id: &str, places: &[(String, u64)]| places.iter().rev().find(|(k, _)| k == id).map(|(_, p)| *p);
        let last = self.items.keys().next_back().copied();
        let place = lenient::number(index)
            .or_else(|| item_id.and_then(|id| known(id, &self.places)))
            .or_else(|| {
                if item_id.is_none() {
                    last
                } else {
                    last.map(|p| p.saturating_add(1))
                }
            })
            .unwrap_or(0);
        if let Some(id) = item_id.filter(|id| known(id, &self.places).is_none()) {
            self.places.push((id.to_owned(), place));
        }
        place
    }

    fn building(&mut self, event: &ResponsesEvent) -> &mut Building {
        let place = self.place(event.output_index.as_ref(), event.item_id.as_deref());
        self.items.entry(place).or_default()
    }

    fn announce(&mut self, event: ResponsesEvent) -> Vec<ModelEvent> {
        let Some(item) = event.item else { return Vec::new() };
        let id = item.get("id").and_then(Value::as_str).map(str::to_owned);
        let place = if event.output_index.is_none() && id.is_none() {
            // Neither place nor name: a new item.
            self.items
                .keys()
                .next_back()
                .map_or(0, |last| last.saturating_add(1))
        } else {
            self.place(event.output_index.as_ref(), id.as_deref())
        };
        let is_call = kind_of(&item) == "function_call";
        let call_id = item
            .get("call_id")
            .and_then(Value::as_str)
            .map(|id| CallId(id.to_owned()));
        let tool = item.get("name").and_then(Value::as_str).map(str::to_owned);
        self.items.entry(place).or_default().item = item;
        if !is_call {
            return Vec::new();
        }
        vec![ModelEvent::ToolCallDelta {
            index: self.call_index(place),
            call_id,
            tool,
            arguments: String::new(),
        }]
    }

    fn call_index(&self, place: u64) -> usize {
        self.items
            .range(..place)
            .filter(|(_, building)| kind_of(&building.item) == "function_call")
            .count()
    }

    fn end(&mut self, response: Option<ResponseObject>, finish: Finish) {
        if let Some(response) = response {
            self.output = response.output.unwrap_or_default();
            self.usage = response.usage.or(self.usage.take());
        }
        self.terminal = Some(finish);
    }
}

fn kind_of(item: &Value) -> &str {
    item.get("type").and_then(Value::as_str).unwrap_or_default()
}

impl Assembler for ResponsesAssembler {
    type Chunk = ResponsesEvent;

    fn take(&mut self, event: ResponsesEvent, peer: &Peer) -> Result<Vec<ModelEvent>, ModelError> {
        let kind = event.kind.clone().unwrap_or_default();
        let words = lenient::text(event.delta.as_ref());
        match kind.as_str() {
            "response.output_text.delta" | "response.refusal.delta" if !words.is_empty() => {
                self.building(&event).text.push_str(&words);
                self.streamed = true;
                return Ok(vec![ModelEvent::TextDelta(words)]);
            }
            "response.reasoning_summary_text.delta"
            | "response.reasoning_text.delta"
            | "response.reasoning.delta"
                if !words.is_empty() =>
            {
                self.building(&event).thought.push_str(&words);
                return Ok(vec![ModelEvent::ReasoningDelta(words)]);
            }
            "response.function_call_arguments.delta" if !words.is_empty() => {
                let place = self.place(event.output_index.as_ref(), event.item_id.as_deref());
                let index = self.call_index(place);
                self.items.entry(place).or_default().arguments.push_str(&words);
                return Ok(vec![ModelEvent::ToolCallDelta {
                    index,
                    call_id: None,
                    tool: None,
                    arguments: words,
                }]);
            }
            "response.function_call_arguments.done" => {
                let whole = lenient::arguments(event.arguments.as_ref());
                if !whole.is_empty() {
                    self.building(&event).arguments = whole;
                }
            }
            "response.output_item.added" => return Ok(self.announce(event)),
            "response.output_item.done" => {
                self.announce(event);
            }
            "response.completed" | "response.done" => self.end(event.response, Finish::Stop),
            "response.incomplete" => {
                let details = event
                    .response
                    .as_ref()
                    .and_then(|r| r.incomplete_details.as_ref());
                let reason = lenient::text(details.and_then(|d| d.get("reason")));
                let finish = match reason.as_str() {
                    "max_output_tokens" | "" => Finish::Length,
                    "content_filter" => Finish::ContentFilter,
                    other => Finish::Other(peer.clean(other)),
                };
                self.end(event.response, finish);
            }
            "response.failed" | "response.cancelled" => {
                let error = event
                    .response
                    .and_then(|response| response.error)
                    .unwrap_or(Value::Null);
                return Err(fault::from_value(peer, &json!({"error": error})));
            }
            _ if kind == "error"
                || (kind.is_empty() && event.error.as_ref().is_some_and(|e| !e.is_null())) =>
            {
                let error = match event.error.filter(|e| !e.is_null()) {
                    Some(nested) => nested,
                    None => json!({"message": lenient::text(event.message.as_ref()), "code": event.code}),
                };
                return Err(fault::from_value(peer, &json!({"error": error})));
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    fn must_read_on(&self) -> bool {
        // The terminal event carries everything; some servers keep the connection open after it.
        false
    }

    fn finish(self, done: bool) -> Result<Draft, ModelError> {
        let Some(finish) = self.terminal else {
            let detail = if done {
                "[DONE] came without response.completed"
            } else {
                "no response.completed came"
            };
            return Err(ModelError::CutStream {
                detail: detail.into(),
            });
        };
        let from_items: Vec<Part> = self
            .items
            .values()
            .flat_map(|building| parts_of(building, &self.model))
            .collect();
        let from_output: Vec<Part> = self
            .output
            .into_iter()
            .flat_map(|item| {
                parts_of(
                    &Building {
                        item,
                        ..Building::default()
                    },
                    &self.model,
                )
            })
            .collect();
        // The terminal event's list is the authority, unless a server left it empty.
        let parts = if from_output.is_empty() {
            from_items
        } else {
            from_output
        };
        Ok(Draft {
            parts,
            finish: Some(finish),
            usage: self.usage,
        })
    }
}

fn parts_of(building: &Building, model: &str) -> Vec<Part> {
    let item = &building.item;
    match kind_of(item) {
        "function_call" => {
            let field = |name: &str| lenient::text(item.get(name));
            let whole = lenient::arguments(item.get("arguments"));
            let id = match field("call_id") {
                id if id.is_empty() => field("id"),
                id => id,
            };
            vec![Part::ToolCall(ToolCall {
                call_id: CallId(id),
                tool: field("name"),
                arguments: if whole.is_empty() {
                    building.arguments.clone()
                } else {
                    whole
                },
            })]
        }
        "reasoning" => {
            let told = [item.get("summary"), item.get("content")]
                .map(lenient_list)
                .concat();
            let text = if told.is_empty() {
                building.thought.clone()
            } else {
                told
            };
            let sealed = item
                .get("encrypted_content")
                .and_then(Value::as_str)
                .is_some_and(|c| !c.is_empty());
            vec![Part::Reasoning {
                text,
                opaque: sealed.then(|| json!({"model": model, "item": returnable(item)})),
            }]
        }
        // A message, or an item that was only ever seen through its deltas.
        _ => {
            let mut parts = Vec::new();
            if !building.thought.is_empty() {
                parts.push(Part::Reasoning {
                    text: building.thought.clone(),
                    opaque: None,
                });
            }
            let told = said_in(item);
            let text = if told.is_empty() {
                building.text.clone()
            } else {
                told
            };
            if !text.is_empty() {
                parts.push(Part::Text { text });
            }
            parts
        }
    }
}

/// A reasoning item as it may be sent back: `status` and unknown fields are refused on input.
fn returnable(item: &Value) -> Value {
    let mut back = serde_json::Map::new();
    for name in ["type", "id", "summary", "encrypted_content"] {
        if let Some(value) = item.get(name) {
            back.insert(name.into(), value.clone());
        }
    }
    back.entry("summary").or_insert_with(|| json!([]));
    Value::Object(back)
}

fn lenient_list(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| lenient::text(Some(part)))
            .filter(|t| !t.is_empty())
            .collect::<Vec<_>>()
            .join("\n\n"),
        _ => String::new(),
    }
}

fn said_in(item: &Value) -> String {
    let Some(Value::Array(parts)) = item.get("content") else {
        return lenient::text(item.get("content"));
    };
    parts
        .iter()
        .map(|part| match part.get("refusal") {
            Some(refusal) => lenient::text(Some(refusal)),
            None => lenient::text(Some(part)),
        })
        .collect()
}
