//! Owns: the doorbell of a session, its newest facts for those who look on, and the glimpse of the answer being made.
//! Guarantees: the doorbell says only "something is new"; whoever is slow or absent can neither lose a fact
//! nor hold anybody up. Previews are lossy by design: the newest text replaces what was not read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::event::Event;
use crate::domain::id::{Seq, TurnId};

/// Newest facts at hand: a crowd of readers at the head shares them, where each would read and decode its own.
const NEWEST: usize = 128;

/// What is new. Each number only ever rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tick {
    /// Highest committed seq.
    pub head: Seq,
    /// Changes of the preview.
    pub preview: u64,
    /// Times a command wrote something.
    pub output: u64,
}

/// Doorbell and preview of one session.
#[derive(Debug)]
pub struct Feed {
    tick: watch::Sender<Tick>,
    preview: Mutex<Preview>,
    /// The newest facts, without a gap up to the head; none while nobody listens.
    newest: Mutex<VecDeque<Arc<Event>>>,
    begun: Instant,
}

/// The answer being made, in full.
#[derive(Debug, Clone, Default)]
struct Preview {
    turn: Option<(TurnId, u32)>,
    /// Rises when the step starts over (a retry), so that readers begin anew.
    round: u64,
    text: String,
    reasoning: String,
    tool_call: String,
}

/// How far a reader has read the preview.
#[derive(Debug, Clone, Default)]
pub struct PreviewCursor {
    turn: Option<(TurnId, u32)>,
    round: u64,
    text: usize,
    reasoning: usize,
    tool_call: String,
}

/// What a reader has not seen of the preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewDelta {
    /// The turn.
    pub turn_id: TurnId,
    /// The step.
    pub step: u32,
    /// What follows replaces what was shown of the step.
    pub restart: bool,
    /// Text added.
    pub text: String,
    /// Reasoning added.
    pub reasoning: String,
    /// The tool call being written, one line.
    pub tool_call: String,
}

impl Feed {
    /// A feed at `head`.
    pub fn new(head: Seq) -> Self {
        Self {
            tick: watch::Sender::new(Tick {
                head,
                ..Tick::default()
            }),
            preview: Mutex::default(),
            newest: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// When it was made.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Highest committed seq.
    pub fn head(&self) -> Seq {
        self.tick.borrow().head
    }

    /// A receiver of the doorbell.
    pub fn listen(&self) -> watch::Receiver<Tick> {
        self.tick.subscribe()
    }

    /// Facts up to `head` are committed: `facts`, the last ones, where they are at hand.
    pub fn announce(&self, head: Seq, facts: Vec<Event>) {
        {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            let goes_on = newest
                .back()
                .zip(facts.first())
                .is_some_and(|(last, first)| last.seq + 1 == first.seq);
            if !goes_on || self.tick.receiver_count() == 0 {
                newest.clear();
            }
            if self.tick.receiver_count() > 0 {
                newest.extend(facts.into_iter().map(Arc::new));
                let spare = newest.len().saturating_sub(NEWEST);
                newest.drain(..spare);
            }
        }
        self.tick.send_modify(|tick| tick.head = head);
    }

    /// All facts after `after`, where they are at hand; otherwise the log has them.
    pub fn facts_after(&self, after: Seq) -> Option<Vec<Arc<Event>>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let first = newest.front()?.seq;
        if after + 1 < first {
            return None;
        }
        Some(newest.iter().filter(|event| event.seq > after).cloned().collect())
    }

    /// What was said is no longer what the log says: readers get it from there.
    pub fn forget_facts(&self) {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Some command wrote something.
    pub fn output(&self) {
        self.tick
            .send_modify(|tick| tick.output = tick.output.wrapping_add(1));
    }

    /// A step begins (or begins again): nothing of it is written yet.
    pub fn begin_step(&self, turn_id: &TurnId, step: u32) {
        let mut preview = self.lock();
        let round = preview.round.wrapping_add(1);
        *preview = Preview {
            turn: Some((turn_id.clone(), step)),
            round,
            ..Preview::default()
        };
        drop(preview);
        self.ring();
    }

    /// More text.
    pub fn text(&self, delta: &str) {
        self.lock().text.push_str(delta);
        self.ring();
    }

    /// More reasoning.
    pub fn reasoning(&self, delta: &str) {
        self.lock().reasoning.push_str(delta);
        self.ring();
    }

    /// The tool call being written.
    pub fn tool_call(&self, line: String) {
        self.lock().tool_call = line;
        self.ring();
    }

    /// The step has become a fact (or nothing): there is no preview.
    pub fn end_step(&self) {
        let mut preview = self.lock();
        let round = preview.round;
        *preview = Preview {
            round,
            ..Preview::default()
        };
    }

    /// What `cursor` has not seen; moves it.
    pub fn preview_since(&self, cursor: &mut PreviewCursor) -> Option<PreviewDelta> {
        let preview = self.lock();
        let (turn_id, step) = preview.turn.clone()?;
        let restart = cursor.turn != preview.turn || cursor.round != preview.round;
        if restart {
            *cursor = PreviewCursor {
                turn: preview.turn.clone(),
                round: preview.round,
                ..Default::default()
            };
        }
        let text = preview.text.get(cursor.text..).unwrap_or_default().to_owned();
        let reasoning = preview
            .reasoning
            .get(cursor.reasoning..)
            .unwrap_or_default()
            .to_owned();
        let tool_call = if cursor.tool_call == preview.tool_call {
            String::new()
        } else {
            preview.tool_call.clone()
        };
        if text.is_empty() && reasoning.is_empty() && tool_call.is_empty() {
            return None;
        }
        cursor.text = preview.text.len();
        cursor.reasoning = preview.reasoning.len();
        cursor.tool_call.clone_from(&preview.tool_call);
        Some(PreviewDelta {
            turn_id,
            step,
            restart,
            text,
            reasoning,
            tool_call,
        })
    }

    fn ring(&self) {
        self.tick
            .send_modify(|tick| tick.preview = tick.preview.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, Preview> {
        // Strings are whole after any panic elsewhere.
        self.preview.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reader_gets_the_text_so_far_and_then_deltas() {
        let feed = Feed::new(0);
        let turn = TurnId::random();
        feed.begin_step(&turn, 1);
        feed.text("one ");
        feed.text("two ");
        let mut cursor = PreviewCursor::default();
        let first = feed.preview_since(&mut cursor).expect("something");
        assert_eq!((first.restart, first.text.as_str()), (true, "one two "));
        assert_eq!(feed.preview_since(&mut cursor), None);
        feed.text("three");
        let second = feed.preview_since(&mut cursor).expect("something");
        assert_eq!((second.restart, second.text.as_str()), (false, "three"));
    }

    #[test]
    fn a_retry_starts_over_and_an_end_shows_nothing() {
        let feed = Feed::new(0);
        let turn = TurnId::random();
        let mut cursor = PreviewCursor::default();
        feed.begin_step(&turn, 1);
        feed.text("half a sen");
        feed.preview_since(&mut cursor);
        feed.begin_step(&turn, 1);
        feed.text("whole");
        let again = feed.preview_since(&mut cursor).expect("something");
        assert_eq!((again.restart, again.text.as_str()), (true, "whole"));
        feed.end_step();
        assert_eq!(feed.preview_since(&mut cursor), None);
    }
}
