//! Owns: reading the current Turn out of a request: the prompt, and each tool call with its answer.
//! Guarantees: malformed arguments and missing answers are read as empty, never as a fault.

use serde_json::Value;

use crate::domain::message::{Message, Part, Role};
use crate::domain::tool::ToolSpec;
use crate::model::ModelRequest;

/// One tool call of this Turn and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) tool: String,
    pub(crate) arguments: Value,
    pub(crate) text: String,
    pub(crate) ok: bool,
}

impl Done {
    /// A text argument under any of its usual names.
    pub(crate) fn argument(&self, names: &[&str]) -> &str {
        names
            .iter()
            .find_map(|name| self.arguments.get(*name).and_then(Value::as_str))
            .unwrap_or_default()
    }
}

/// The Turn so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn {
    /// What the person asked, attachments left out.
    pub(crate) prompt: String,
    /// Attachments: name and content.
    pub(crate) attachments: Vec<(String, String)>,
    /// What was done since, oldest first.
    pub(crate) done: Vec<Done>,
    pub(crate) tools: Vec<ToolSpec>,
    pub(crate) approver_present: bool,
}

impl Turn {
    pub(crate) fn has(&self, tool: &str) -> bool {
        self.tools.iter().any(|spec| spec.name == tool)
    }

    /// The name a tool's argument has in its schema, of several usual ones.
    pub(crate) fn argument_name(&self, tool: &str, names: &[&'static str]) -> &'static str {
        let properties = self
            .tools
            .iter()
            .find(|spec| spec.name == tool)
            .and_then(|spec| spec.parameters.get("properties"));
        let known = |name: &&&str| properties.is_some_and(|p| p.get(**name).is_some());
        names
            .iter()
            .find(known)
            .or(names.first())
            .copied()
            .unwrap_or("path")
    }
}

/// What the person said. News of earlier calls, which agentd puts before it, is not theirs.
fn prompt(message: &Message) -> String {
    let texts: Vec<&str> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text { text } if !text.starts_with("[The earlier tool call ") => Some(text.as_str()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}

/// True for what a person said; what the daemon put beside it is not.
fn is_said(message: &Message) -> bool {
    message.role == Role::User && !message.is_beside()
}

/// Reads the Turn: everything after the last Message of a person.
pub(crate) fn read(request: &ModelRequest) -> Turn {
    let messages: &[Message] = &request.messages;
    let from = messages.iter().rposition(is_said).unwrap_or(0);
    let mut turn = Turn {
        tools: request.tools.to_vec(),
        approver_present: request.approver_present,
        ..Turn::default()
    };
    let mut ids = Vec::new();
    for message in messages.iter().skip(from) {
        if is_said(message) {
            turn.prompt = prompt(message);
        }
        for part in &message.parts {
            match part {
                Part::Attachment { name, text } => turn.attachments.push((name.clone(), text.clone())),
                Part::ToolCall(call) => {
                    ids.push(call.call_id.clone());
                    turn.done.push(Done {
                        tool: call.tool.clone(),
                        arguments: serde_json::from_str(&call.arguments).unwrap_or(Value::Null),
                        text: String::new(),
                        ok: false,
                    });
                }
                Part::ToolResult(result) => {
                    let at = ids.iter().rposition(|id| *id == result.call_id);
                    if let Some(done) = at.and_then(|at| turn.done.get_mut(at)) {
                        done.text = result.text.clone();
                        done.ok = result.ok;
                    }
                }
                _ => {}
            }
        }
    }
    turn
}
