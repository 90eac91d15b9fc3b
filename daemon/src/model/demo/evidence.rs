//! Owns: reading a test run: did it fail, what does it point at, what was expected.
//! Guarantees: a run counts as passed only when nothing in it says otherwise.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::history::Done;

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("constant"));
    };
}

pattern!(
    EXIT,
    r"(?im)^\W*(?:\w+ )?exit(?:ed)?(?:[ _-]?(?:code|status))?(?: with)?\s*[:=]?\s*(\d+)\b"
);
pattern!(
    BROKEN,
    r"(?i)\bfail(?:ed|ure|ures|s)?\b|\bnot ok\b|\berror\b|panicked|assert|mismatch|traceback|segmentation|aborted"
);
pattern!(
    NONE_FAILED,
    r"(?i)\b0 (?:failed|failures|failing|errors)\b|\bfailed[:=]? ?0\b|\bno failures\b"
);
pattern!(
    TOLD,
    r"(?i)\bexpect|\bgot\b|\bwant|\bactual|\bleft:|\bright:|!=|\bshould\b"
);
pattern!(WORD, r"[A-Za-z_][A-Za-z0-9_]{2,}");
pattern!(
    PAIR,
    r#"(?i)(?:expect(?:ed|s)?|want(?:ed)?)\W{0,4}("[^"]*"|'[^']*'|-?[\w.]+).{0,30}?(?:got|but was|actual|was|found)\W{0,4}("[^"]*"|'[^']*'|-?[\w.]+)"#
);
pattern!(
    PAIR_BACK,
    r#"(?i)(?:got|actual)\W{0,4}("[^"]*"|'[^']*'|-?[\w.]+).{0,30}?(?:expect(?:ed|s)?|want(?:ed)?)\W{0,4}("[^"]*"|'[^']*'|-?[\w.]+)"#
);
pattern!(UNEQUAL, r#"("[^"]*"|'[^']*'|-?\d+) != ("[^"]*"|'[^']*'|-?\d+)"#);
pattern!(PLACE, r"([\w./-]+\.[a-z]{1,4}):(\d+)");
pattern!(
    COUNT,
    r"(?i)\b(\d+)(?:\s*/\s*(\d+))?\s+(?:tests? |checks? |assertions? )?(?:passed|ok\b|pass\b)|\bran (\d+) tests?|\ball (\d+) (?:tests|checks)"
);

/// What a test run showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) passed: bool,
    /// Lines that tell of failure.
    pub(crate) telling: Vec<String>,
    /// Words in those lines, test names also without their `test_`.
    pub(crate) words: BTreeSet<String>,
    /// Expected and actual values, where both were told.
    pub(crate) pairs: Vec<(String, String)>,
    /// `file:line` places.
    pub(crate) places: Vec<(String, usize)>,
    /// How many tests passed, where told.
    pub(crate) count: Option<String>,
}

/// Reads the answer to a test command.
pub(crate) fn read(done: &Done) -> Run {
    let text = &done.text;
    let exit = EXIT
        .captures_iter(text)
        .last()
        .and_then(|found| found.get(1)?.as_str().parse::<u32>().ok());
    let broken =
        |line: &&str| (BROKEN.is_match(line) && !NONE_FAILED.is_match(line)) || line.starts_with("make: ***");
    let passed = match exit {
        Some(code) => code == 0,
        None => done.ok && !text.lines().any(|line| broken(&line)),
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut run = Run {
        passed,
        count: count(text),
        ..Run::default()
    };
    for (at, line) in lines.iter().enumerate() {
        let near_failure = || lines.iter().skip(at.saturating_sub(2)).take(3).any(&broken);
        // A line that sets what was wanted against what came needs no other sign of failure.
        let contrasts = !passed && (PAIR.is_match(line) || PAIR_BACK.is_match(line));
        if contrasts || broken(line) || (TOLD.is_match(line) && near_failure()) {
            run.telling.push(line.trim().chars().take(200).collect());
        }
    }
    let telling = run.telling.join("\n");
    for word in WORD.find_iter(&telling) {
        run.words.insert(word.as_str().to_owned());
        let bare = word
            .as_str()
            .trim_start_matches("test_")
            .trim_start_matches("Test")
            .trim_end_matches("_test");
        run.words.insert(bare.to_owned());
    }
    for (pattern, swap) in [(&PAIR, false), (&PAIR_BACK, true), (&UNEQUAL, true)] {
        for found in pattern.captures_iter(&telling) {
            let of = |n: usize| {
                found
                    .get(n)
                    .map_or("", |m| m.as_str())
                    .trim_matches(['"', '\'', '.', ','])
                    .to_owned()
            };
            run.pairs.push(if swap { (of(2), of(1)) } else { (of(1), of(2)) });
        }
    }
    for found in PLACE.captures_iter(text) {
        if let (Some(path), Some(line)) = (found.get(1), found.get(2)) {
            let path = path.as_str().trim_start_matches("./").to_owned();
            run.places.push((path, line.as_str().parse().unwrap_or(0)));
        }
    }
    run
}

fn count(text: &str) -> Option<String> {
    let found = COUNT.captures_iter(text).last()?;
    let number = |n: usize| found.get(n).map(|m| m.as_str().to_owned());
    number(2)
        .or_else(|| number(1))
        .or_else(|| number(3))
        .or_else(|| number(4))
}

impl Run {
    /// How many lines tell of failure: fewer than before means that a repair helped.
    pub(crate) fn badness(&self) -> usize {
        self.telling.len()
    }

    /// The failure in one line.
    pub(crate) fn headline(&self) -> String {
        let first = self
            .telling
            .iter()
            .find(|line| TOLD.is_match(line))
            .or(self.telling.first());
        first
            .cloned()
            .unwrap_or_else(|| "the command failed without saying why".into())
    }

    /// True when two told numbers differ by one.
    pub(crate) fn off_by_one(&self) -> bool {
        self.pairs
            .iter()
            .any(|(a, b)| match (a.parse::<i64>(), b.parse::<i64>()) {
                (Ok(a), Ok(b)) => a.abs_diff(b) == 1,
                _ => false,
            })
    }

    /// True when something should have held and did not: a condition is too strict. False when it is too lax.
    pub(crate) fn too_strict(&self) -> Option<bool> {
        let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Some(true),
            "0" | "false" | "no" => Some(false),
            _ => None,
        };
        self.pairs
            .iter()
            .find_map(|(expected, got)| match (truth(expected)?, truth(got)?) {
                (true, false) => Some(true),
                (false, true) => Some(false),
                _ => None,
            })
    }

    /// True when two told texts differ only in case.
    pub(crate) fn case_differs(&self) -> bool {
        self.pairs
            .iter()
            .any(|(a, b)| a != b && a.eq_ignore_ascii_case(b))
    }

    /// How much a failing run speaks of this function: 0 not at all, 3 by name.
    pub(crate) fn relevance(&self, function: &str) -> i32 {
        if self.words.contains(function) {
            return 3;
        }
        let lower = function.to_ascii_lowercase();
        let akin = |word: &String| {
            let word = word.to_ascii_lowercase();
            word.len() >= 4 && lower.len() >= 4 && (word.contains(&lower) || lower.contains(&word))
        };
        if self.words.iter().any(akin) { 2 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, ok: bool) -> Run {
        read(&Done {
            tool: "exec".into(),
            arguments: serde_json::Value::Null,
            text: text.into(),
            ok,
        })
    }

    #[test]
    fn passing_and_failing_runs_are_told_apart() {
        assert!(run("ok 1\n5 passed, 0 failed", true).passed);
        assert!(run("test result: ok. 3 passed; 0 failed; 0 ignored", true).passed);
        assert!(!run("make: *** [Makefile:4: test] Error 1", true).passed);
        assert!(!run("FAIL: x", true).passed);
        assert!(!run("fine\n[exit code: 2]", true).passed);
        assert!(run("handles error codes\nexit code 0", true).passed);
        assert!(!run("", false).passed);
    }

    #[test]
    fn what_was_expected_is_read() {
        let failed = run("FAIL test_clamp: expected 10, got 9\nexit code: 1", true);
        assert_eq!(failed.pairs, [("10".to_owned(), "9".to_owned())]);
        assert!(failed.off_by_one());
        assert_eq!(failed.relevance("clamp"), 3);
        assert_eq!(failed.relevance("other"), 0);
        assert!(run("FAIL: expected \"ABC\" but got \"abc\"", false).case_differs());
        assert!(run("AssertionError: 4 != 5", false).off_by_one());
    }

    #[test]
    fn the_number_of_passed_tests_is_read() {
        for (text, count) in [
            ("7 passed", "7"),
            ("5/5 tests passed", "5"),
            ("Ran 3 tests in 0.1s\n\nOK", "3"),
            ("all 4 tests ok", "4"),
        ] {
            assert_eq!(run(text, true).count.as_deref(), Some(count), "{text}");
        }
    }
}
