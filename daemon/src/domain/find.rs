//! Owns: finding a text in facts, as a person reads them. Pure.
//! Guarantees: upper and lower case are the same; what is found comes with a line of what is around it; a fact whose
//! JSON can't have the text is known without reading it.

use regex::{Regex, RegexBuilder};

use super::event::{EventBody, TurnOutcome};
use super::message::Part;

/// Longest text that is looked for, in characters.
pub const LONGEST: usize = 200;
/// Characters shown before and after what was found.
const AROUND: usize = 60;

/// A text to look for.
#[derive(Debug, Clone)]
pub struct Needle {
    text: Regex,
    /// The same inside a JSON string.
    json: Regex,
}

impl Needle {
    /// `None` for an empty or too long text.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > LONGEST {
            return None;
        }
        let json = serde_json::to_string(text).ok()?;
        let quoted = json.strip_prefix('"')?.strip_suffix('"')?;
        let whatever_the_case = |text: &str| {
            RegexBuilder::new(&regex::escape(text))
                .case_insensitive(true)
                .build()
                .ok()
        };
        Some(Self {
            text: whatever_the_case(text)?,
            json: whatever_the_case(quoted)?,
        })
    }

    /// False: no fact with this JSON has the text. Reading all of a long log would take many times as long.
    pub fn may_be_in(&self, json: &str) -> bool {
        self.json.is_match(json)
    }

    /// The line around the first place in a fact that has it.
    pub fn find(&self, body: &EventBody) -> Option<String> {
        let mut found = None;
        each(body, &mut |text| {
            if found.is_none() {
                found = self.line(text);
            }
        });
        found
    }

    fn line(&self, text: &str) -> Option<String> {
        let place = self.text.find(text)?;
        let (before, after) = (text.get(..place.start())?, text.get(place.end()..)?);
        let start = before
            .char_indices()
            .rev()
            .take(AROUND)
            .last()
            .map_or(before.len(), |(at, _)| at);
        let end = after.char_indices().nth(AROUND).map_or(after.len(), |(at, _)| at);
        let around = text.get(start..place.end().saturating_add(end))?;
        let mut line: String = around.split_whitespace().collect::<Vec<_>>().join(" ");
        if start > 0 {
            line.insert(0, '…');
        }
        if end < after.len() {
            line.push('…');
        }
        Some(line)
    }
}

/// Every text of a fact that a person reads.
fn each(body: &EventBody, look: &mut impl FnMut(&str)) {
    match body {
        EventBody::SessionRenamed { name } => look(name),
        EventBody::MessagePosted { parts, .. } | EventBody::StepFinished { parts, .. } => {
            for part in parts {
                match part {
                    Part::Text { text } | Part::Reasoning { text, .. } => look(text),
                    Part::Attachment { name, text } => {
                        look(name);
                        look(text);
                    }
                    Part::Image { name, .. } => look(name),
                    Part::Context(item) => {
                        look(&item.name);
                        look(&item.text);
                    }
                    // The fact of the call has it.
                    Part::ToolCall(_) | Part::ToolResult(_) => {}
                }
            }
        }
        EventBody::ContextAdded { items, .. } => items.iter().for_each(|item| {
            look(&item.name);
            look(&item.text);
        }),
        EventBody::ContextCompacted { summary, .. } => look(summary),
        EventBody::PlanUpdated { items, .. } => items.iter().for_each(|item| look(&item.text)),
        EventBody::TitleChosen { title, .. } => look(title),
        EventBody::StepRetried { reason, .. } => look(reason),
        EventBody::ApprovalRequested { approval } => {
            look(&approval.summary);
            look(&approval.detail);
            look(&approval.why);
        }
        EventBody::ApprovalResolved { reason, .. } => look(reason),
        EventBody::ToolCallStarted { call, summary, .. } => {
            look(summary);
            look(&call.arguments);
        }
        EventBody::ToolCallFinished { result, .. } => look(result),
        EventBody::ExecStarted { script, .. } => look(script),
        EventBody::ExecFinished { result, .. } => look(&result.message),
        EventBody::ChangeRecorded { path, .. } => look(&path.to_string_lossy()),
        EventBody::TurnFinished {
            outcome: TurnOutcome::Failed { message, .. },
            ..
        } => look(message),
        EventBody::NoticeRecorded { message, .. } => look(message),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> EventBody {
        EventBody::NoticeRecorded {
            code: "x".into(),
            message: message.into(),
        }
    }

    #[test]
    fn case_does_not_matter_and_nothing_is_a_pattern() {
        let find = |needle: &str, text: &str| Needle::new(needle).and_then(|n| n.find(&note(text)));
        assert_eq!(
            find("GRÜN (a|b)*", "so grün (a|b)* it is"),
            Some("so grün (a|b)* it is".into())
        );
        assert_eq!(find("axb", "a.b"), None);
        assert_eq!(find("  ", "anything"), None);
        assert_eq!(find(&"x".repeat(LONGEST + 1), "x"), None);
    }

    #[test]
    fn what_is_found_is_seen_in_the_json_before() {
        let all = [
            ("say \"No\"", "they SAY \"no\" again"),
            ("a\\b\nc", "A\\B\nC"),
            ("ÄPFEL \u{1b}[0m", "äpfel \u{1b}[0m"),
            ("tab\there", "a TAB\tHERE"),
            ("\u{2028}</x>", "\u{2028}</X>"),
        ];
        for (needle, text) in all {
            let needle = Needle::new(needle).unwrap();
            let body = note(text);
            assert!(needle.find(&body).is_some(), "{text}");
            assert!(needle.may_be_in(&serde_json::to_string(&body).unwrap()), "{text}");
            assert!(!needle.may_be_in(&serde_json::to_string(&note("other")).unwrap()));
        }
    }

    #[test]
    fn a_long_text_is_cut_around_the_place_at_whole_letters() {
        let text = format!("{}needle{}", "ä\n".repeat(500), "漢".repeat(500));
        let line = Needle::new("NEEDLE").unwrap().find(&note(&text)).unwrap();
        assert!(
            line.starts_with('…') && line.ends_with('…') && line.contains("needle"),
            "{line}"
        );
        assert!(line.chars().count() < 140 && !line.contains('\n'), "{line}");
    }
}
