//! Owns: seeing that a turn goes round in circles.
//! Guarantees: the model is told before the turn is stopped; work that changes anything is never stopped.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

/// Calls looked back on.
const WINDOW: usize = 24;
/// The same call with the same result so often: the model is told, the turn is brought to its end.
const TELL: usize = 3;
const STOP: usize = 6;
/// Failed calls in a row after which the same happens.
const FAILED_TELL: usize = 8;
const FAILED_STOP: usize = 16;

/// The calls of a turn and what came of them.
#[derive(Default)]
pub(super) struct Repeats(Mutex<State>);

#[derive(Default)]
struct State {
    calls: VecDeque<u64>,
    failed: usize,
    over: Option<&'static str>,
}

impl Repeats {
    /// A call ended. Gives what the model should be told with its result.
    pub(super) fn note(&self, tool: &str, arguments: &str, result: &str, ok: bool) -> Option<&'static str> {
        let mut hasher = DefaultHasher::new();
        // How long a command took stands in its first line.
        let (first, rest) = result.split_once('\n').unwrap_or((result, ""));
        let first: String = first.chars().filter(|c| !c.is_ascii_digit()).collect();
        (tool, arguments, first, rest).hash(&mut hasher);
        let call = hasher.finish();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.calls.len() >= WINDOW {
            state.calls.pop_front();
        }
        state.calls.push_back(call);
        state.failed = if ok { 0 } else { state.failed.saturating_add(1) };
        let same = state.calls.iter().filter(|one| **one == call).count();
        if same >= STOP {
            state.over = Some("it made the same call with the same result again and again");
        } else if state.failed >= FAILED_STOP {
            state.over = Some("one call after the other failed");
        }
        if same >= TELL {
            return Some(
                "[You made this very call before, with this very result. Repeating it changes nothing: try something \
                 else, or say what is in the way.]",
            );
        }
        (state.failed >= FAILED_TELL).then_some(
            "[The last calls all failed. Look at why before the next one: read the errors, check names and paths, or \
             say what is in the way.]",
        )
    }

    /// Something changed: what was in vain before may not be now.
    pub(super) fn changed(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls.clear();
    }

    /// Why the turn should end, once it should.
    pub(super) fn over(&self) -> Option<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_with_the_same_result_is_told_of_and_then_ends_the_turn() {
        let repeats = Repeats::default();
        for n in 1..=STOP {
            assert_eq!(
                repeats.note("exec", "{}", "same", true).is_some(),
                n >= TELL,
                "{n}"
            );
            repeats.note("read", &n.to_string(), "another", true);
            assert_eq!(repeats.over().is_some(), n >= STOP);
        }
    }

    #[test]
    fn another_result_or_a_change_is_progress() {
        let repeats = Repeats::default();
        for n in 0..40 {
            assert_eq!(
                repeats.note("exec", "{}", &format!("exit code 0\n{n}"), true),
                None
            );
        }
        repeats.note("exec", "{}", "x", true);
        repeats.note("exec", "{}", "x", true);
        repeats.changed();
        assert_eq!(repeats.note("exec", "{}", "x", true), None);
    }

    #[test]
    fn failures_in_a_row_count_whatever_the_call() {
        let repeats = Repeats::default();
        for n in 1..=FAILED_STOP {
            let told = repeats.note("exec", &n.to_string(), "no", false);
            assert_eq!(told.is_some(), n >= FAILED_TELL);
        }
        assert!(repeats.over().is_some());
    }
}
