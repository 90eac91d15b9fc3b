//! Owns: taking texts out of facts: which parts of a body are text, how much of them a log keeps, and what stands
//! there afterwards.
//! Guarantees: pure; ids, counts, order and kinds stay; what comes out is a body of the same kind.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::EventBody;
use super::message::Part;

/// What the log keeps of what people and models said. Fixed for a session's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Everything but agentd's own keys.
    Full,
    /// Everything, with marks where something is or looks like a secret.
    #[default]
    Redacted,
    /// No words: they live in memory only. What was done stays.
    None,
}

impl LogLevel {
    /// The word used in the configuration and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Redacted => "redacted",
            Self::None => "none",
        }
    }

    /// The level of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Full, Self::Redacted, Self::None]
            .into_iter()
            .find(|level| level.word() == word)
    }
}

/// What stands where words were that are not kept.
pub const NOT_KEPT: &str = "[not kept]";

/// What stands where a text was.
pub const REDACTED: &str = "[redacted]";
/// Where a text was that is read as JSON.
const REDACTED_JSON: &str = "{\"redacted\":true}";
/// Fields that hold what people, models and commands wrote.
const TEXTS: &[&str] = &[
    "text",
    "result",
    "script",
    "summary",
    "detail",
    "reason",
    "message",
    "why",
    "session_rule",
    "rule",
    "rules",
    "deciding_rule",
    "no_rule_why",
    "instructions",
    "command",
    "path",
    "from",
    "hints",
    "title",
    "payload",
    "focus",
    "source",
    "data",
];

/// The body without any of its texts; `None` when it has none.
pub fn blank(body: &EventBody) -> Option<EventBody> {
    rewrite(body, &mut |field, text| match field {
        "arguments" => Some(REDACTED_JSON.to_owned()),
        _ if TEXTS.contains(&field) && !text.is_empty() => Some(REDACTED.to_owned()),
        _ => None,
    })
}

/// The body without what was said in it: prompts, answers, arguments and results of tools. `None` when nothing was.
pub fn unsaid(body: &EventBody) -> Option<EventBody> {
    let mut body = body.clone();
    match &mut body {
        EventBody::MessagePosted { parts, .. }
        | EventBody::MessageEdited { parts, .. }
        | EventBody::StepFinished { parts, .. } => parts.iter_mut().for_each(unsay),
        EventBody::ToolCallStarted { call, .. } => REDACTED_JSON.clone_into(&mut call.arguments),
        EventBody::ToolCallFinished { result, .. } => NOT_KEPT.clone_into(result),
        EventBody::ContextAdded { items, .. } => {
            items.iter_mut().for_each(|item| {
                NOT_KEPT.clone_into(&mut item.text);
                item.picture = None;
            });
        }
        EventBody::ContextCompacted { summary, .. } => NOT_KEPT.clone_into(summary),
        EventBody::PlanUpdated { items, .. } => {
            items
                .iter_mut()
                .for_each(|item| NOT_KEPT.clone_into(&mut item.text));
        }
        EventBody::TitleChosen { title, .. } => NOT_KEPT.clone_into(title),
        _ => return None,
    }
    Some(body)
}

fn unsay(part: &mut Part) {
    match part {
        Part::Text { text } | Part::Attachment { text, .. } => NOT_KEPT.clone_into(text),
        Part::Image { data, .. } => data.clear(),
        Part::Context(item) => NOT_KEPT.clone_into(&mut item.text),
        Part::Reasoning { text, opaque } => {
            NOT_KEPT.clone_into(text);
            *opaque = None;
        }
        Part::ToolCall(call) => REDACTED_JSON.clone_into(&mut call.arguments),
        Part::ToolResult(result) => NOT_KEPT.clone_into(&mut result.text),
    }
}

/// The body with every text that people, models and commands wrote as `change` wants it; `None` when it wants none
/// otherwise. Paths and rules are left alone: what they match would change with them.
pub fn reworded(body: &EventBody, change: &mut dyn FnMut(&str) -> Option<String>) -> Option<EventBody> {
    rewrite(body, &mut |field, text| {
        let written = field == "arguments" || TEXTS.contains(&field);
        let exact = matches!(field, "path" | "from" | "session_rule" | "rule");
        (written && !exact).then(|| change(text)).flatten()
    })
}

/// The body without `needle`; `None` when it is not in it.
pub fn without(body: &EventBody, needle: &str) -> Option<EventBody> {
    rewrite(body, &mut |field, text| {
        let written = field == "arguments" || field == "name" || TEXTS.contains(&field);
        (written && text.contains(needle)).then(|| text.replace(needle, REDACTED))
    })
}

fn rewrite(body: &EventBody, change: &mut dyn FnMut(&str, &str) -> Option<String>) -> Option<EventBody> {
    // Where a session works and how is not a text.
    if matches!(body, EventBody::SessionCreated(_) | EventBody::Redacted { .. }) {
        return None;
    }
    let mut value = serde_json::to_value(body).ok()?;
    let changed = walk("", &mut value, change);
    let after: EventBody = serde_json::from_value(value).ok()?;
    (changed && after != *body).then_some(after)
}

fn walk(field: &str, value: &mut Value, change: &mut dyn FnMut(&str, &str) -> Option<String>) -> bool {
    match value {
        Value::String(text) => match change(field, text) {
            Some(new) => {
                *text = new;
                true
            }
            None => false,
        },
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |any, item| walk(field, item, change) | any),
        Value::Object(fields) => fields
            .iter_mut()
            .fold(false, |any, (name, value)| walk(name, value, change) | any),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::CallOutcome;
    use crate::domain::id::{CallId, TurnId};

    fn result(text: &str) -> EventBody {
        EventBody::ToolCallFinished {
            turn_id: "t-22222222".parse::<TurnId>().unwrap(),
            call_id: CallId("secret-id".into()),
            outcome: CallOutcome::Succeeded,
            result: text.into(),
            duration_ms: 7,
        }
    }

    #[test]
    fn what_was_said_goes_and_what_was_done_stays() {
        assert_eq!(unsaid(&result("words")), Some(result(NOT_KEPT)));
        let done = EventBody::NoticeRecorded {
            code: "x".into(),
            message: "y".into(),
        };
        assert_eq!(unsaid(&done), None);
        let mut upper = |text: &str| Some(text.to_uppercase());
        assert_eq!(reworded(&result("words"), &mut upper), Some(result("WORDS")));
    }

    #[test]
    fn texts_go_and_everything_else_stays() {
        assert_eq!(blank(&result("the secret")), Some(result(REDACTED)));
        assert_eq!(
            without(&result("the secret!"), "secret"),
            Some(result("the [redacted]!"))
        );
        assert_eq!(without(&result("nothing"), "secret"), None);
        assert_eq!(blank(&result("")), None);
    }
}
