//! Owns: what a person, the model and tools say to each other: Messages and their Parts.
//! Guarantees: provider-neutral; nothing here knows Chat Completions or Responses.

use serde::{Deserialize, Serialize};

use super::context::{ContextItem, ContextKind};
use super::id::CallId;

/// Who said a Message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person (or a program on a person's behalf).
    User,
    /// The model.
    Assistant,
    /// A tool, answering a tool call.
    Tool,
}

/// One piece of a Message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Plain text or Markdown.
    Text {
        /// The words.
        text: String,
    },
    /// Text attached by the person: a file or piped standard input.
    Attachment {
        /// File name as the person gave it, or `stdin`.
        name: String,
        /// Its content.
        text: String,
    },
    /// A picture attached by the person, checked to be one.
    Image {
        /// File name as the person gave it.
        name: String,
        /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
        media_type: String,
        /// Its bytes, base64.
        data: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// What the daemon put beside the words: surroundings, instruction files, named files, notes.
    Context(ContextItem),
    /// What the model thought aloud. Shown folded; sent back only where a provider wants it.
    Reasoning {
        /// The words, possibly a summary. May be empty when only `opaque` is present.
        text: String,
        /// The provider's own item, to be returned unread (Responses: encrypted reasoning).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<serde_json::Value>,
    },
    /// The model asks for a tool.
    ToolCall(ToolCall),
    /// A tool's answer.
    ToolResult(ToolResult),
}

impl Part {
    /// About how many bytes of text a model reads in it.
    pub fn weight(&self) -> u64 {
        let bytes = match self {
            Self::Text { text } | Self::Reasoning { text, .. } => text.len(),
            Self::Attachment { name, text } => name.len().saturating_add(text.len()),
            Self::Image { .. } => return super::context::IMAGE_TOKENS.saturating_mul(7) / 2,
            Self::Context(item) => item.name.len().saturating_add(item.text.len()),
            Self::ToolCall(call) => call.tool.len().saturating_add(call.arguments.len()),
            Self::ToolResult(result) => result.text.len(),
        };
        // What a message costs besides its words.
        (bytes as u64).saturating_add(16)
    }
}

/// One use of a tool, as the model asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub call_id: CallId,
    /// The tool's name, such as `exec`.
    pub tool: String,
    /// Arguments exactly as the model wrote them: JSON text, which may be malformed.
    pub arguments: String,
}

/// The answer to a tool call, as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call this answers.
    pub call_id: CallId,
    /// What the model reads.
    pub text: String,
    /// False when the tool failed, was denied, or its outcome is unknown.
    pub ok: bool,
}

/// What one party said at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who.
    pub role: Role,
    /// What.
    pub parts: Vec<Part>,
}

impl Message {
    /// A person's plain words.
    pub fn user(text: impl Into<String>) -> Self {
        Self {
            role: Role::User,
            parts: vec![Part::Text { text: text.into() }],
        }
    }

    /// All plain text of the Message, joined by newlines; attachments and reasoning left out.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { text } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        texts.join("\n")
    }

    /// True when the daemon put it beside the words: nobody said it.
    pub fn is_beside(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Context(_)))
    }

    /// True when nothing but the daemon's own pieces are in it that a compaction puts back afresh.
    pub fn is_surroundings(&self) -> bool {
        self.role == Role::User
            && !self.parts.is_empty()
            && self.parts.iter().all(|part| match part {
                Part::Context(item) => item.kind != ContextKind::Mention,
                _ => false,
            })
    }

    /// About how many bytes of text a model reads in it; an image counts as the text of as many tokens.
    pub fn weight(&self) -> u64 {
        let sizes = self.parts.iter().map(Part::weight);
        sizes.fold(0, u64::saturating_add)
    }

    /// The tool calls in it, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }
}

/// What the model reads of a call that ended.
pub(super) fn tool_message(call_id: &CallId, text: &str, ok: bool) -> Message {
    Message {
        role: Role::Tool,
        parts: vec![Part::ToolResult(ToolResult {
            call_id: call_id.clone(),
            text: text.to_owned(),
            ok,
        })],
    }
}
