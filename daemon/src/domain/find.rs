//! Owns: finding a text in facts, as a person reads them. Pure.
//! Guarantees: upper and lower case are the same; what is found comes with a line of what is around it; a fact whose
//! JSON can't have the text is known without reading it; a text that is found in a fact has only runs of three that the
//! fact's folded text has.

use regex::{Regex, RegexBuilder};

use super::event::{EventBody, TurnOutcome};
use super::message::Part;

/// Longest text that is looked for, in characters.
pub const LONGEST: usize = 200;
/// Characters shown before and after what was found.
const AROUND: usize = 60;
/// Runs of three that are asked for at most: more would not tell more apart.
const MOST_RUNS: usize = 24;

/// A text to look for.
#[derive(Debug, Clone)]
pub struct Needle {
    text: Regex,
    /// The same inside a JSON string.
    json: Regex,
    /// The same folded.
    folded: String,
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
        let mut folded = String::new();
        fold_into(text, &mut folded);
        Some(Self {
            text: whatever_the_case(text)?,
            json: whatever_the_case(quoted)?,
            folded,
        })
    }

    /// Runs of three characters that the folded text of a fact that has this has too. None: it is too short.
    pub fn runs(&self) -> Vec<String> {
        let letters: Vec<char> = self.folded.chars().collect();
        let all = letters.windows(3);
        let step = all.len().div_ceil(MOST_RUNS).max(1);
        let mut runs: Vec<String> = all.step_by(step).map(|run| run.iter().collect()).collect();
        runs.sort_unstable();
        runs.dedup();
        runs
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

/// Adds the texts of a fact that a person reads, folded: letters that are found for each other are the same one.
pub fn fold(body: &EventBody, out: &mut String) {
    each(body, &mut |text| {
        fold_into(text, out);
        out.push('\n');
    });
}

/// Letter by letter, so that a part of a text is folded to a part of the folded text.
fn fold_into(text: &str, out: &mut String) {
    for c in text.chars() {
        let same = folded(c);
        out.push(same);
        // Two of these are a word often, and one is: three times each, a run of three has them.
        if matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7a3
            | 0xf900..=0xfaff | 0x20000..=0x3134f)
        {
            out.push(same);
            out.push(same);
        }
    }
}

/// One letter for all that differ by case only.
fn folded(c: char) -> char {
    if c.is_ascii() {
        // What ends a text in C would end what is indexed.
        return if c == '\0' {
            char::REPLACEMENT_CHARACTER
        } else {
            c.to_ascii_lowercase()
        };
    }
    // First to upper case: long s, final sigma and others of the kind are nobody's lower case.
    let c = match c {
        // Written in two ways, and without a single letter in the other case.
        '\u{1fd3}' => '\u{390}',
        '\u{1fe3}' => '\u{3b0}',
        '\u{fb05}' => '\u{fb06}',
        other => other,
    };
    let upper = single(c.to_uppercase()).unwrap_or(c);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut letters: impl Iterator<Item = char>) -> Option<char> {
    let first = letters.next();
    first.filter(|_| letters.next().is_none())
}

/// Every text of a fact that a person reads. Logs that are indexed already lack what is added here: let a migration put
/// `find_logs.blocks` to 0.
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
    fn letters_that_are_found_for_each_other_fold_to_one() {
        let cased: String = (0..=u32::from(char::MAX))
            .filter_map(char::from_u32)
            .filter(|c| !c.to_lowercase().eq([*c]) || !c.to_uppercase().eq([*c]))
            .collect();
        for c in cased.chars() {
            let pattern = format!("(?i){c}");
            for found in Regex::new(&pattern).unwrap().find_iter(&cased) {
                let other = found.as_str().chars().next().unwrap();
                assert_eq!(folded(c), folded(other), "{c} {other}");
            }
        }
    }

    #[test]
    fn what_is_found_has_its_runs_in_the_folded_text() {
        let all = [
            ("needle", "a NEEDLE here"),
            ("ſtraße", "eine STRAẞE"),
            ("漢字", "これは漢字です"),
            ("漢", "漢"),
            ("a漢", "a漢"),
            ("K 3\n\t4", "\u{212a} 3\n\t4"),
            ("a\0b", "A\0B"),
        ];
        for (needle, text) in all {
            let needle = Needle::new(needle).unwrap();
            let mut out = String::new();
            fold(&note(text), &mut out);
            assert!(needle.find(&note(text)).is_some(), "{text}");
            assert!(
                !needle.runs().is_empty() && needle.runs().iter().all(|run| out.contains(run)),
                "{text}: {out}"
            );
        }
        assert!(Needle::new("ab").unwrap().runs().is_empty());
        let long = Needle::new(&("0123456789".repeat(20))).unwrap().runs();
        assert!(
            long.len() <= MOST_RUNS && long.iter().all(|run| run.len() == 3),
            "{long:?}"
        );
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
