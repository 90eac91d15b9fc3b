//! Owns: seeing that an answer has become the same words over and over, while it is written.
//! Guarantees: only exact repetition counts, and much of it: a table, a list of numbers or a long line is never cut.

/// Bytes at the end of an answer that have to be one passage again and again.
const MUCH: usize = 8 * 1024;
/// Longest passage that is looked for: the end then has it at least sixteen times.
const PASSAGE: usize = 512;
/// Bytes between two looks.
const STRIDE: usize = 1024;

/// The end of one stream of words.
#[derive(Debug, Default)]
pub(super) struct Drone {
    tail: Vec<u8>,
    since: usize,
}

impl Drone {
    /// More was written. True once its end says nothing new any more.
    pub(super) fn hears(&mut self, delta: &str) -> bool {
        self.tail.extend_from_slice(delta.as_bytes());
        self.since = self.since.saturating_add(delta.len());
        if self.since < STRIDE || self.tail.len() < MUCH {
            return false;
        }
        self.since = 0;
        let spare = self.tail.len().saturating_sub(MUCH);
        self.tail.drain(..spare);
        passage(&self.tail).is_some()
    }
}

/// An answer that ended in a drone: up to and with the passage's first time.
pub(super) fn without_drone(text: &str) -> &str {
    let bytes = text.as_bytes();
    let end = bytes.get(bytes.len().saturating_sub(MUCH)..).unwrap_or(bytes);
    let Some(period) = passage(end) else { return text };
    let differs = |at: &usize| bytes.get(*at) != bytes.get(at.saturating_add(period));
    let same_from = (0..bytes.len().saturating_sub(period)).rev().find(differs);
    let first = same_from.map_or(0, |at| at.saturating_add(1));
    let mut end = first.saturating_add(period);
    while !text.is_char_boundary(end) {
        end = end.saturating_add(1);
    }
    text.get(..end).unwrap_or(text)
}

/// How long the passage is that `words` are made of, where they are made of one.
fn passage(words: &[u8]) -> Option<usize> {
    // The longest beginning of the words that is also an end of them (Knuth, Morris and Pratt) lies one passage apart.
    let mut border = vec![0usize; words.len()];
    let mut length = 0usize;
    for at in 1..words.len() {
        while length > 0 && words.get(at) != words.get(length) {
            length = *border.get(length - 1)?;
        }
        if words.get(at) == words.get(length) {
            length += 1;
        }
        *border.get_mut(at)? = length;
    }
    let period = words.len().checked_sub(length)?;
    (period <= PASSAGE).then_some(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: impl Iterator<Item = String>) -> Option<usize> {
        let mut drone = Drone::default();
        let mut length = 0;
        for piece in pieces {
            length += piece.len();
            if drone.hears(&piece) {
                return Some(length);
            }
        }
        None
    }

    #[test]
    fn a_passage_that_never_ends_is_heard_early_and_kept_once() {
        let beginning = "I have several files:\n1. `a.txt`\n2. `L/proj";
        let all = std::iter::once(beginning.to_owned()).chain((0..).map(|_| "/L/proj".to_owned()));
        let length = heard(all.take(100_000)).expect("heard");
        assert!(length < 2 * MUCH, "{length}");
        let text = format!("{beginning}{}", "/L/proj".repeat(2_000));
        assert_eq!(without_drone(&text), format!("{beginning}/"));
        let umlauts = format!("Also: {}", "ä ö ".repeat(3_000));
        assert!(umlauts.starts_with(without_drone(&umlauts)));
        assert!(without_drone(&umlauts).len() < 20);
    }

    #[test]
    fn what_goes_on_is_let_on() {
        let numbers = (0..50_000).map(|n| format!("{n}, "));
        assert_eq!(heard(numbers), None);
        let table = (0..5_000).map(|n| format!("| row {n} | 0 | 0 | 0 | 0 | 0 |\n"));
        assert_eq!(heard(table), None);
        let line = std::iter::once("-".repeat(4_000)).chain((0..500).map(|n| format!("word {n} ")));
        assert_eq!(heard(line), None);
        assert_eq!(without_drone("as it is"), "as it is");
    }
}
