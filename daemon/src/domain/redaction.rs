//! Owns: taking texts out of facts: which parts of a body are text, and what stands there afterwards.
//! Guarantees: pure; ids, counts, order and kinds stay; what comes out is a body of the same kind.

use serde_json::Value;

use super::event::EventBody;

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
];

/// The body without any of its texts; `None` when it has none.
pub fn blank(body: &EventBody) -> Option<EventBody> {
    rewrite(body, &mut |field, text| match field {
        "arguments" => Some(REDACTED_JSON.to_owned()),
        _ if TEXTS.contains(&field) && !text.is_empty() => Some(REDACTED.to_owned()),
        _ => None,
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
