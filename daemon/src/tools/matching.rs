//! Owns: finding the place a model means: a ladder from exact to similar text.
//! Guarantees: a lower rung is tried only when all above found nothing; it says which one matched; similar text is taken
//! only when one place stands out; never guesses between equals.

use std::collections::HashMap;
use std::ops::Range;

use super::text::{Splice, line_ranges};

/// Below these a line, or a block of lines, is another one.
const SIMILAR_LINE: f64 = 0.7;
const SIMILAR_BLOCK: f64 = 0.9;
/// Comparing letter by letter costs; larger texts must be quoted exactly.
const SIMILAR_MAX_LINES: usize = 20_000;
const SIMILAR_MAX_BLOCK: usize = 200;
/// A closest place worth showing.
const CLOSE: f64 = 0.5;
/// Letters compared with letters; beyond it (far under a second) nothing counts as similar.
const SIMILAR_WORK: usize = 30_000_000;

/// How text was matched, from strict to lenient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rung {
    /// Byte for byte.
    Exact,
    /// After ignoring spaces at line ends.
    TrailingSpace,
    /// After ignoring indentation too.
    Indentation,
    /// After taking typographic quotes, dashes and spaces for plain ones too.
    Punctuation,
    /// Line by line nearly the same.
    Similar,
}

impl Rung {
    const BY_LINE: [Self; 4] = [
        Self::Exact,
        Self::TrailingSpace,
        Self::Indentation,
        Self::Punctuation,
    ];

    /// For the sentence "matched …"; `None` when there is nothing to say.
    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Self::Exact => None,
            Self::TrailingSpace => Some("after ignoring spaces at line ends"),
            Self::Indentation => Some("after ignoring indentation"),
            Self::Punctuation => Some("after ignoring typographic punctuation and spaces"),
            Self::Similar => Some("by similarity, not exactly"),
        }
    }

    fn key(self, line: &str) -> String {
        match self {
            Self::Exact | Self::Similar => line.to_owned(),
            Self::TrailingSpace => line.trim_end().to_owned(),
            Self::Indentation => line.trim().to_owned(),
            Self::Punctuation => plain_punctuation(line).trim().to_owned(),
        }
    }
}

/// Where a block of lines was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineMatches {
    /// Index of the first line of each match.
    pub(super) at: Vec<usize>,
    /// How.
    pub(super) rung: Rung,
}

/// Finds a block of lines, climbing down the ladder. Empty `at` = nowhere.
pub(super) fn find_lines(hay: &[&str], needle: &[&str], from: usize, lowest: Rung) -> LineMatches {
    let nowhere = LineMatches {
        at: Vec::new(),
        rung: Rung::Exact,
    };
    if needle.is_empty() || hay.len() < needle.len() {
        return nowhere;
    }
    for rung in Rung::BY_LINE.into_iter().filter(|rung| *rung <= lowest) {
        let wanted: Vec<String> = needle.iter().map(|line| rung.key(line)).collect();
        if rung > Rung::TrailingSpace && wanted.iter().all(String::is_empty) {
            break;
        }
        let keys: Vec<String> = hay.iter().skip(from).map(|line| rung.key(line)).collect();
        let at: Vec<usize> = keys
            .windows(wanted.len())
            .enumerate()
            .filter(|(_, window)| *window == wanted.as_slice())
            .map(|(index, _)| index + from)
            .collect();
        if !at.is_empty() {
            return LineMatches { at, rung };
        }
    }
    if lowest < Rung::Similar || needle.len() < 3 {
        return nowhere;
    }
    let mut at = Vec::new();
    let mut best = SIMILAR_BLOCK;
    for (index, score) in similar_blocks(hay, needle, from, SIMILAR_LINE) {
        // Close runners-up make it a guess: keep them all, and the caller sees several.
        if score >= SIMILAR_BLOCK {
            best = best.max(score);
            at.push((index, score));
        }
    }
    at.retain(|(_, score)| best - score < 0.05);
    LineMatches {
        at: at.into_iter().map(|(index, _)| index).collect(),
        rung: Rung::Similar,
    }
}

/// The place most like the block, for an error: first line and number of lines.
pub(super) fn closest(hay: &[&str], needle: &[&str]) -> Option<(usize, usize)> {
    let needle: Vec<&str> = needle
        .iter()
        .copied()
        .filter(|line| !line.trim().is_empty())
        .take(20)
        .collect();
    let height = needle.len().min(hay.len());
    let needle = needle.get(..height)?;
    let mut best: Option<(usize, f64)> = None;
    for (index, score) in similar_blocks(hay, needle, 0, 0.0) {
        if score >= CLOSE && best.is_none_or(|(_, top)| score > top) {
            best = Some((index, score));
        }
    }
    // A block of which only one line is known: show where that line is.
    let by_line = || {
        let known = needle
            .iter()
            .map(|line| line.trim())
            .filter(|line| line.len() >= 8);
        known
            .filter_map(|line| hay.iter().position(|other| other.trim() == line))
            .next()
    };
    best.map(|(index, _)| index)
        .or_else(by_line)
        .map(|index| (index, height))
}

fn similar_blocks(hay: &[&str], needle: &[&str], from: usize, least_line: f64) -> Vec<(usize, f64)> {
    if needle.is_empty() || needle.len() > SIMILAR_MAX_BLOCK || hay.len() > SIMILAR_MAX_LINES {
        return Vec::new();
    }
    // A blank line in common says little: only lines with text are weighed.
    let weight = needle
        .iter()
        .filter(|line| !line.trim().is_empty())
        .count()
        .max(1) as f64;
    let mut found = Vec::new();
    let mut work = 0;
    for (index, window) in hay.windows(needle.len()).enumerate().skip(from) {
        let mut sum = 0.0;
        let mut possible = weight;
        let floor = if least_line > 0.0 { SIMILAR_BLOCK } else { CLOSE };
        let fits = window.iter().zip(needle).all(|(have, want)| {
            let score = likeness(have.trim(), want.trim(), &mut work);
            if !want.trim().is_empty() {
                sum += score;
                possible -= 1.0 - score;
            }
            score >= least_line && possible / weight >= floor
        });
        if work > SIMILAR_WORK {
            // Half a search cannot tell whether a place stands out.
            return Vec::new();
        }
        if fits {
            found.push((index, sum / weight));
        }
    }
    found
}

fn likeness(one: &str, two: &str, work: &mut usize) -> f64 {
    if one == two {
        return 1.0;
    }
    let (short, long) = (one.len().min(two.len()) as f64, one.len().max(two.len()) as f64);
    // Length alone rules most lines out; very long ones are not worth the square of their length.
    if short / long < 0.5 || long > 1_000.0 {
        return 0.0;
    }
    *work = work.saturating_add(one.len() * two.len());
    strsim::normalized_levenshtein(one, two)
}

/// A search-and-replace that found its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// What to change, in order.
    pub(super) splices: Vec<Splice>,
    /// First line of each match, from 1.
    pub(super) lines: Vec<usize>,
    /// How it was found.
    pub(super) rung: Rung,
}

/// Finds every place `old` stands for in `plain` and what `new` becomes there.
pub(super) fn find_text(plain: &str, old: &str, new: &str, lowest: Rung) -> Found {
    let exact: Vec<usize> = plain.match_indices(old).map(|(at, _)| at).collect();
    if !exact.is_empty() {
        let splices = exact.iter().map(|at| Splice {
            range: *at..at + old.len(),
            with: new.to_owned(),
        });
        let lines = line_numbers(plain, &exact);
        return Found {
            splices: splices.collect(),
            lines,
            rung: Rung::Exact,
        };
    }
    let ranges = line_ranges(plain);
    let hay = lines_at(plain, &ranges);
    let wanted: Vec<&str> = old.strip_suffix('\n').unwrap_or(old).split('\n').collect();
    let matches = find_lines(&hay, &wanted, 0, lowest);
    let mut splices: Vec<Splice> = Vec::new();
    let mut lines = Vec::new();
    for at in &matches.at {
        let (Some(first), Some(last)) = (ranges.get(*at), ranges.get(at + wanted.len() - 1)) else {
            continue;
        };
        if splices
            .last()
            .is_some_and(|splice| splice.range.end > first.start)
        {
            continue;
        }
        let have = hay.get(*at..at + wanted.len()).unwrap_or_default();
        let with = reindent(new.strip_suffix('\n').unwrap_or(new), &wanted, have);
        // Deleting whole lines deletes their line end too.
        let end = last.end + usize::from(new.is_empty() && last.end < plain.len());
        splices.push(Splice {
            range: first.start..end,
            with,
        });
        lines.push(at + 1);
    }
    Found {
        splices,
        lines,
        rung: matches.rung,
    }
}

/// The lines (from 1) of ascending positions, in one pass: there may be very many.
fn line_numbers(plain: &str, positions: &[usize]) -> Vec<usize> {
    let (mut line, mut from) = (1, 0);
    let number = |at: &usize| {
        let between = plain.as_bytes().get(from..*at).unwrap_or_default();
        line += between.iter().filter(|byte| **byte == b'\n').count();
        from = *at;
        line
    };
    positions.iter().map(number).collect()
}

/// The lines of a text at the given ranges.
pub(super) fn lines_at<'a>(plain: &'a str, ranges: &[Range<usize>]) -> Vec<&'a str> {
    ranges
        .iter()
        .map(|range| plain.get(range.clone()).unwrap_or_default())
        .collect()
}

/// New text with the indentation of the file, where the model's own differs from it.
pub(super) fn reindent(new: &str, wanted: &[&str], have: &[&str]) -> String {
    let mut known: HashMap<&str, &str> = HashMap::new();
    for (want, have) in wanted.iter().zip(have) {
        if !want.trim().is_empty() && !have.trim().is_empty() {
            known.entry(indent(want)).or_insert_with(|| indent(have));
        }
    }
    if known.iter().all(|(want, have)| want == have) {
        return new.to_owned();
    }
    let lines = new.split('\n').map(|line| {
        let own = indent(line);
        if line.trim().is_empty() {
            return line.to_owned();
        }
        // The deepest known indentation this one starts with; what goes beyond it is kept.
        let base = known
            .iter()
            .filter(|(want, _)| own.starts_with(**want))
            .max_by_key(|(want, _)| want.len());
        match base {
            Some((want, have)) => format!("{have}{}", line.get(want.len()..).unwrap_or_default()),
            None => {
                // Shallower than anything matched: take away what the model had too much.
                let (want, have) = known
                    .iter()
                    .min_by_key(|(want, _)| want.len())
                    .unwrap_or((&"", &""));
                let missing = want.len().saturating_sub(own.len());
                let kept = have.get(..have.len().saturating_sub(missing)).unwrap_or_default();
                format!("{kept}{}", line.trim_start())
            }
        }
    });
    lines.collect::<Vec<String>>().join("\n")
}

fn indent(line: &str) -> &str {
    line.get(..line.len() - line.trim_start().len())
        .unwrap_or_default()
}

fn plain_punctuation(line: &str) -> String {
    line.chars()
        .filter_map(|c| match c {
            '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' => Some('\''),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => Some('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => Some('-'),
            '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
                Some(' ')
            }
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => None,
            other => Some(other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(plain: &str, old: &str, new: &str) -> (Rung, Vec<usize>, String) {
        let found = find_text(plain, old, new, Rung::Similar);
        let mut result = plain.to_owned();
        for splice in found.splices.iter().rev() {
            result.replace_range(splice.range.clone(), &splice.with);
        }
        (found.rung, found.lines, result)
    }

    #[test]
    fn exact_text_is_taken_first_even_inside_a_line() {
        let (rung, lines, text) = found("a b c\nb\n", "b", "X");
        assert_eq!(
            (rung, lines, text.as_str()),
            (Rung::Exact, vec![1, 2], "a X c\nX\n")
        );
    }

    #[test]
    fn spaces_at_line_ends_are_forgiven() {
        let (rung, lines, text) = found("x\nfoo  \nbar\t\ny\n", "foo\nbar\n", "new\n");
        assert_eq!(
            (rung, lines, text.as_str()),
            (Rung::TrailingSpace, vec![2], "x\nnew\ny\n")
        );
    }

    #[test]
    fn indentation_is_forgiven_and_kept() {
        let file = "impl A {\n\tfn f() {\n\t\tone();\n\t}\n}\n";
        let old = "fn f() {\n    one();\n}";
        let new = "fn f() {\n    two();\n    if x {\n        three();\n    }\n}";
        let (rung, lines, text) = found(file, old, new);
        assert_eq!((rung, lines), (Rung::Indentation, vec![2]));
        let want = "impl A {\n\tfn f() {\n\t\ttwo();\n\t\tif x {\n\t\t    three();\n\t\t}\n\t}\n}\n";
        assert_eq!(text, want);
    }

    #[test]
    fn too_much_indentation_is_taken_away() {
        let (rung, _, text) = found("if a:\n    b()\n", "        b()", "    if c:\n        d()");
        assert_eq!(
            (rung, text.as_str()),
            (Rung::Indentation, "if a:\nif c:\n    d()\n")
        );
    }

    #[test]
    fn typographic_punctuation_is_forgiven() {
        let (rung, _, text) = found(
            "say(\u{201c}it\u{2019}s\u{201d})\u{a0}\u{2014} x\n",
            "say(\"it's\") - x",
            "y",
        );
        assert_eq!((rung, text.as_str()), (Rung::Punctuation, "y\n"));
    }

    #[test]
    fn similar_lines_are_taken_when_one_place_stands_out() {
        let file = "fn total(items: &[Item]) -> u64 {\n    let mut sum = 0;\n    for item in items {\n        sum += item.price;\n    }\n    sum\n}\n";
        let old = "fn total(items: &[Item]) -> u64 {\n    let mut sum = 0;\n    for item in items {\n        sum += item.prize;\n";
        let (rung, lines, _) = found(file, old, "x\n");
        assert_eq!((rung, lines), (Rung::Similar, vec![1]));
        let (_, lines, _) = found(&file.repeat(2), old, "x\n");
        assert_eq!(lines.len(), 2, "two equals are no match");
    }

    #[test]
    fn short_or_different_text_is_not_similar() {
        for old in [
            "let total = 1;",
            "a\nb\nc",
            "fn main() {\n    other();\n    things();\n}",
        ] {
            assert!(
                found("fn main() {\n    call(1);\n    call(2);\n}\n", old, "x")
                    .1
                    .is_empty(),
                "{old}"
            );
        }
    }

    #[test]
    fn deleting_matched_lines_deletes_their_line_ends() {
        assert_eq!(found("a\n  b\nc\n", "b  \n", "").2, "a\nc\n");
    }

    #[test]
    fn blank_lines_alone_match_only_themselves() {
        assert!(found("a\n\t\nb\n", "\n\n\n", "x").1.is_empty());
    }

    #[test]
    fn the_closest_place_is_found() {
        let hay = ["one", "let value = compute(a, b);", "three"];
        assert_eq!(closest(&hay, &["let value = compute(a);"]), Some((1, 1)));
        assert_eq!(closest(&hay, &["nothing like it at all in here"]), None);
        assert_eq!(closest(&[], &["x"]), None);
    }
}
