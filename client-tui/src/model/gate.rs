//! Owns: when an approval may be decided.
//! Guarantees: never within 500 ms after the question appeared or changed, never within 300 ms after the
//! last typed key: nobody approves with what they were typing.

use std::time::{Duration, Instant};

/// How long a question must have been on the screen.
const SEEN_FOR: Duration = Duration::from_millis(500);
/// How long no key may have been typed.
const QUIET_FOR: Duration = Duration::from_millis(300);

/// What is asked on the screen and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    asked: Option<Asked>,
    typed: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    approval_id: String,
    /// All that a person could read of it.
    text: String,
    since: Instant,
}

impl Gate {
    /// Tells what is on the screen now; a change begins the dead time anew.
    pub(crate) fn show(&mut self, question: Option<(&str, String)>, now: Instant) -> bool {
        let same = match (&self.asked, &question) {
            (Some(asked), Some((id, text))) => asked.approval_id == *id && asked.text == *text,
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.asked = question.map(|(id, text)| Asked {
                approval_id: id.to_owned(),
                text,
                since: now,
            });
        }
        !same
    }

    /// A key was typed that was not meant for the question.
    pub(crate) fn typed(&mut self, now: Instant) {
        self.typed = Some(now);
    }

    /// The question that may be decided now.
    pub(crate) fn open(&self, now: Instant) -> Option<&str> {
        let asked = self.asked.as_ref()?;
        (self.opens_at()? <= now).then_some(asked.approval_id.as_str())
    }

    /// When the dead time ends; `None` when nothing is asked.
    pub(crate) fn opens_at(&self) -> Option<Instant> {
        let seen = self.asked.as_ref()?.since + SEEN_FOR;
        Some(self.typed.map_or(seen, |typed| seen.max(typed + QUIET_FOR)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Option<(&'static str, String)> {
        Some(("a-1", text.to_owned()))
    }

    #[test]
    fn a_new_question_is_dead_for_half_a_second() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut gate = Gate::default();
        assert_eq!(gate.open(start), None);
        gate.show(ask("ls"), start);
        assert_eq!(gate.open(ms(499)), None);
        assert_eq!(gate.open(ms(500)), Some("a-1"));
        gate.show(ask("ls"), ms(600));
        assert_eq!(
            gate.open(ms(600)),
            Some("a-1"),
            "the same question does not begin anew"
        );
        gate.show(ask("rm -rf x"), ms(700));
        assert_eq!(gate.open(ms(1_199)), None, "a changed one does");
        assert_eq!(gate.open(ms(1_200)), Some("a-1"));
    }

    #[test]
    fn typing_keeps_it_dead() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut gate = Gate::default();
        gate.show(ask("ls"), start);
        gate.typed(ms(450));
        assert_eq!(gate.open(ms(749)), None);
        assert_eq!(gate.open(ms(750)), Some("a-1"));
        gate.show(None, ms(800));
        assert_eq!(gate.open(ms(5_000)), None);
    }
}
