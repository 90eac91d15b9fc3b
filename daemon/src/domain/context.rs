//! Owns: what stands in a model's context besides what was said: surroundings, instruction files, named files, notes.
//! Guarantees: pure; each piece is bounded and says what was left out; characters that hide or reorder text are shown.

use serde::{Deserialize, Serialize};

use super::decide::is_invisible;
use super::picture::Picture;

/// What a piece of context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextKind {
    /// Facts about the machine, the workspace and its repository.
    Environment,
    /// An instruction file of the project, such as AGENTS.md.
    Instructions,
    /// A file that a person named with `@`.
    Mention,
    /// What the answer must look like.
    Schema,
    /// What was left of earlier messages when the context was compacted.
    Summary,
    /// Something the model should know now: a limit that comes near, what to mend.
    Note,
}

impl ContextKind {
    /// The word in requests, in the API and in every UI.
    pub fn word(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Instructions => "instructions",
            Self::Mention => "mention",
            Self::Schema => "schema",
            Self::Summary => "summary",
            Self::Note => "note",
        }
    }
}

/// A piece of context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextItem {
    /// What it is.
    pub kind: ContextKind,
    /// Path relative to the workspace, or a word.
    #[serde(rename = "source")]
    pub name: String,
    /// What the model reads.
    pub text: String,
    /// Bytes of the whole; more than `text` holds when it was cut.
    pub total_bytes: u64,
    /// Characters in it that hide or reorder text; the model reads them as `[U+202E]`.
    #[serde(default)]
    pub hidden: u32,
    /// Tells one content of a file from another; empty where it does not matter.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// What is shown of a file that is a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
}

impl ContextItem {
    /// A note.
    pub fn note(text: impl Into<String>) -> Self {
        Self::plain(ContextKind::Note, "agentd", text.into())
    }

    /// A piece that is here in full.
    pub fn plain(kind: ContextKind, name: &str, text: String) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            total_bytes: text.len() as u64,
            text,
            hidden: 0,
            digest: String::new(),
            picture: None,
        }
    }

    /// A file's beginning, at most `most` bytes of it, with a notice of what is missing.
    pub fn of_file(kind: ContextKind, name: &str, bytes: &[u8], total_bytes: u64, most: usize) -> Self {
        let kept = bytes.get(..most.min(bytes.len())).unwrap_or(bytes);
        let whole = String::from_utf8_lossy(kept);
        // A cut in the middle of a character leaves at most one stand-in at the end.
        let whole = if (kept.len() as u64) < total_bytes {
            whole.trim_end_matches('\u{fffd}')
        } else {
            &whole
        };
        let (mut text, hidden) = reveal(whole);
        if (kept.len() as u64) < total_bytes {
            text.push_str(&format!(
                "\n[cut: these are the first {} of {total_bytes} bytes; read {name} for the rest]",
                kept.len()
            ));
        }
        Self {
            kind,
            name: name.to_owned(),
            text,
            total_bytes,
            hidden,
            digest: String::new(),
            picture: None,
        }
    }
}

/// The text with characters that hide or reorder it made visible, and how many there were.
pub fn reveal(text: &str) -> (String, u32) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let hides = |c: char| {
        is_invisible(c)
            || matches!(u32::from(c), 0xe0000..=0xe0fff | 0x2028 | 0x2029 | 0x061c | 0xfff9..=0xfffb)
            || (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
    };
    let mut hidden = 0u32;
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) {
            hidden = hidden.saturating_add(1);
            shown.push_str(&format!("[U+{:04X}]", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    (shown, hidden)
}

/// Bytes of text that are about one token, times two: code and other languages are denser than English.
const HALF_BYTES_PER_TOKEN: u64 = 7;

/// About how many tokens so many bytes of text are.
pub fn tokens_of(bytes: u64) -> u64 {
    bytes.saturating_mul(2).div_ceil(HALF_BYTES_PER_TOKEN)
}

/// About how many tokens an image is.
pub const IMAGE_TOKENS: u64 = 1_000;

/// Why the context was compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactReason {
    /// It came near the model's limit.
    Near,
    /// A person asked for it.
    Asked,
    /// The server refused a request as too long.
    Refused,
}

impl CompactReason {
    /// The word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Near => "near_limit",
            Self::Asked => "asked",
            Self::Refused => "refused",
        }
    }
}

/// How much stands in a context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSize {
    /// Tokens; an estimate where no server counted them.
    pub tokens: u64,
    /// Messages.
    pub messages: u32,
}

/// One line of the agent's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    /// What is to be done.
    pub text: String,
    /// How far it is.
    pub state: PlanState,
}

/// How far a line of a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// Not begun.
    Todo,
    /// At work on it.
    Doing,
    /// Done.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_and_counted() {
        let (text, hidden) = reveal("\u{feff}do\u{202e}x\u{e0041}\n\ttab");
        assert_eq!(text, "do[U+202E]x[U+E0041]\n\ttab");
        assert_eq!(hidden, 2);
    }

    #[test]
    fn a_long_file_is_cut_at_a_character_and_says_so() {
        let file = "é".repeat(100);
        let item = ContextItem::of_file(ContextKind::Instructions, "AGENTS.md", file.as_bytes(), 200, 11);
        assert!(
            item.text
                .starts_with("ééééé\n[cut: these are the first 11 of 200 bytes"),
            "{}",
            item.text
        );
        assert_eq!(item.total_bytes, 200);
        let whole = ContextItem::of_file(ContextKind::Mention, "x", b"all", 3, 11);
        assert_eq!(whole.text, "all");
    }
}
