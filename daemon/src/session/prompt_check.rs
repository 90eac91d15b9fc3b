//! Owns: the safety checks on what goes to the model: secrets, and hidden characters in what people wrote.
//! Guarantees: each new message is looked at once, before the request that carries it; what is asked about or denied stops
//! the turn before the request; the log never held the secret.

use std::sync::atomic::Ordering;

use super::mailbox::TurnView;
use super::turn::TurnJob;
use crate::domain::event::{EventBody, TurnOutcome};
use crate::domain::message::{Message, Part, Role};
use crate::domain::policy::{self, Check, CheckLevel};

/// What stands where the redactor took a secret out: on its way into the log, which is what the model reads.
const MARK: &str = "[redacted:";

impl TurnJob {
    /// Looks at what the next request would send for the first time; under `deny`, at everything it would send. Gives
    /// what to say, and how the turn ends when it must not go on.
    pub(super) fn check_prompt(&self, view: &TurnView) -> (Vec<EventBody>, Option<TurnOutcome>) {
        let checks = &view.persona.policy.checks;
        let begun = || {
            let last = view
                .history
                .iter()
                .rposition(|message| message.role == Role::User);
            last.unwrap_or(0)
        };
        let seen = match self.checked.load(Ordering::Relaxed) {
            0 => begun(),
            seen => seen.min(view.history.len()),
        };
        self.checked.store(view.history.len(), Ordering::Relaxed);
        let mut notices = Vec::new();
        for check in [Check::SecretsInPrompts, Check::HiddenUnicode] {
            let level = checks.level(check);
            let from = match level {
                CheckLevel::Off => continue,
                CheckLevel::Deny => 0,
                CheckLevel::Warn | CheckLevel::Ask => seen,
            };
            let messages = view.history.get(from..).unwrap_or_default();
            let Some(why) = messages.iter().find_map(|message| found(check, message)) else {
                continue;
            };
            if level == CheckLevel::Warn {
                notices.push(EventBody::NoticeRecorded {
                    code: format!("check_{}", check.name()),
                    message: why,
                });
                continue;
            }
            return (notices, Some(stopped(check, level, &why, view)));
        }
        (notices, None)
    }
}

fn stopped(check: Check, level: CheckLevel, why: &str, view: &TurnView) -> TurnOutcome {
    let id = &view.session_id;
    let ask = level == CheckLevel::Ask;
    let next = if ask {
        format!("agentctl send {id} \"go on\"   (sends it after all)")
    } else {
        format!("agentctl sessions redact {id}, or sessions fork before it")
    };
    let word = if ask { "asks first" } else { "does not allow it" };
    TurnOutcome::Failed {
        reason: format!("check_{}", check.name()),
        message: format!(
            "nothing was sent to the model: {why}, and the check {} {word}",
            check.name()
        ),
        hints: vec![next, format!("agentctl policies show -s {id}")],
    }
}

fn found(check: Check, message: &Message) -> Option<String> {
    message
        .parts
        .iter()
        .find_map(|part| match (check, part, message.role) {
            (Check::SecretsInPrompts, Part::Text { text } | Part::Attachment { text, .. }, Role::User) => {
                secret("a message", text)
            }
            (Check::SecretsInPrompts, Part::ToolResult(result), _) => secret("a tool's result", &result.text),
            (Check::HiddenUnicode, Part::Text { text }, Role::User) => {
                policy::hidden_unicode("a message", text).map(|finding| finding.why)
            }
            (Check::HiddenUnicode, Part::Attachment { name, text }, Role::User) => {
                policy::hidden_unicode(name, text).map(|finding| finding.why)
            }
            _ => None,
        })
}

fn secret(what: &str, text: &str) -> Option<String> {
    let after = text.split_once(MARK)?.1;
    let kind: String = after
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    Some(format!(
        "{what} held a secret ({kind}); it was taken out before anything was kept or sent"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, part: Part) -> Message {
        Message {
            role,
            parts: vec![part],
        }
    }

    #[test]
    fn secrets_and_hidden_characters_of_people_are_found_and_answers_are_left_alone() {
        let text = |text: &str| Part::Text { text: text.into() };
        let secret = text("use [redacted:openai-key] here");
        let found_in = |check, role, part| found(check, &message(role, part));
        let why = found_in(Check::SecretsInPrompts, Role::User, secret.clone()).unwrap();
        assert!(why.contains("openai-key"), "{why}");
        assert_eq!(found_in(Check::SecretsInPrompts, Role::Assistant, secret), None);
        assert_eq!(
            found_in(Check::SecretsInPrompts, Role::User, text("nothing")),
            None
        );
        assert!(found_in(Check::HiddenUnicode, Role::User, text("do\u{200b}it")).is_some());
        let attached = Part::Attachment {
            name: "AGENTS.md".into(),
            text: "a\u{202e}b".into(),
        };
        assert!(
            found_in(Check::HiddenUnicode, Role::User, attached)
                .unwrap()
                .starts_with("AGENTS.md")
        );
    }
}
