//! Owns: finding "waits T-9", "depends on T-1, T-2", "blocked by #4" in a task's text.
//! Guarantees: only tokens that look like ids (they have a digit) count, and only right behind such words.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::domain::task::TaskId;

const WORDS: [&str; 8] = [
    "waits for",
    "waits on",
    "waits",
    "depends on",
    "depends",
    "blocked by",
    "requires",
    "waiting for",
];

/// All of the words in one pass; nearly every text has none. `None` could only be a word too long to search for.
static SEARCH: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .build(WORDS)
        .ok()
});

/// The tasks that `text` says it waits for.
pub(super) fn of(text: &str) -> Vec<TaskId> {
    let mut found = Vec::new();
    for word in SEARCH.iter().flat_map(|search| search.find_iter(text)) {
        let starts_a_word = text
            .get(..word.start())
            .and_then(|before| before.chars().next_back())
            .is_none_or(|c| !c.is_alphanumeric());
        if starts_a_word {
            take_ids(text.get(word.end()..).unwrap_or_default(), &mut found);
        }
    }
    found
}

/// The ids of a cell that holds nothing else: `T-1, T-2`.
pub(super) fn list(cell: &str) -> Vec<TaskId> {
    let mut found = Vec::new();
    for token in cell.split([',', ';', ' ', '&']) {
        if let Some(id) = id(token) {
            merge(&mut found, vec![id]);
        }
    }
    found
}

/// Adds what is not there yet.
pub(super) fn merge(all: &mut Vec<TaskId>, more: Vec<TaskId>) {
    for id in more {
        if !all.contains(&id) {
            all.push(id);
        }
    }
}

fn take_ids(text: &str, found: &mut Vec<TaskId>) {
    let mut rest = text.trim_start_matches([':', ' ']);
    loop {
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | '|'))
            .unwrap_or(rest.len());
        let Some(id) = id(rest.get(..end).unwrap_or_default()) else {
            return;
        };
        merge(found, vec![id]);
        rest = rest.get(end..).unwrap_or_default();
        let joined = rest.trim_start();
        let next = joined
            .strip_prefix(',')
            .or_else(|| joined.strip_prefix("and "))
            .or_else(|| joined.strip_prefix('&'));
        match next {
            Some(next) => rest = next.trim_start().trim_start_matches("and "),
            None => return,
        }
    }
}

fn id(token: &str) -> Option<TaskId> {
    let bare =
        token.trim_matches(|c: char| matches!(c, '*' | '`' | '_' | '(' | ')' | '[' | ']' | '.' | ':' | '~'));
    bare.contains(|c: char| c.is_ascii_digit())
        .then(|| bare.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_waits_for_is_read() {
        for (text, ids) in [
            ("waits T-9", "T-9"),
            ("Depends on T-1, T-2 and T-3.", "T-1 T-2 T-3"),
            ("x (depends on T001, T002)", "T001 T002"),
            ("blocked by #4; later depends on P6.1.1", "#4 P6.1.1"),
            ("waits for `T-9`, then more", "T-9"),
            ("awaits T-9", ""),
            ("waits for the weekend", ""),
            ("it depends on 3 things", "3"),
            ("Ünï waits T-1", "T-1"),
        ] {
            let found: Vec<String> = of(text).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), ids, "{text}");
        }
        assert_eq!(list("T-1, T-2; T-1").len(), 2);
        assert!(list("—").is_empty());
    }
}
