//! Owns: the repairs the demo model can think of: one token of one line, ranked by what the failing tests point at.
//! Guarantees: deterministic order; strings, comments and preprocessor lines are left alone.

use super::evidence::Run;
use super::source::definition;

/// One possible repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repair {
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) function: Option<String>,
    /// The whole line before and after.
    pub(crate) old: String,
    pub(crate) new: String,
    /// What it does, in words.
    pub(crate) what: String,
    score: i32,
}

/// What a repair is about, to weigh it against the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Edge,
    Direction,
    Arithmetic,
    Logic,
    Equality,
    Extreme,
    Case,
    Constant,
    Truth,
}

/// Tokens and what they may have been meant to be, likeliest first. Longer operators come before their beginnings.
const SWAPS: &[(&str, &[(&str, Kind)])] = &[
    ("<<", &[(">>", Kind::Direction)]),
    (">>", &[("<<", Kind::Direction)]),
    ("<=", &[("<", Kind::Edge), (">=", Kind::Direction)]),
    (">=", &[(">", Kind::Edge), ("<=", Kind::Direction)]),
    ("===", &[("!==", Kind::Equality)]),
    ("!==", &[("===", Kind::Equality)]),
    ("==", &[("!=", Kind::Equality)]),
    ("!=", &[("==", Kind::Equality)]),
    ("&&", &[("||", Kind::Logic)]),
    ("||", &[("&&", Kind::Logic)]),
    ("+=", &[("-=", Kind::Arithmetic)]),
    ("-=", &[("+=", Kind::Arithmetic)]),
    ("<", &[("<=", Kind::Edge), (">", Kind::Direction)]),
    (">", &[(">=", Kind::Edge), ("<", Kind::Direction)]),
    ("+", &[("-", Kind::Arithmetic)]),
    ("-", &[("+", Kind::Arithmetic)]),
    ("*", &[("/", Kind::Arithmetic), ("+", Kind::Arithmetic)]),
    ("/", &[("*", Kind::Arithmetic)]),
    ("%", &[("/", Kind::Arithmetic)]),
];

/// Operators that are one token and stay as they are.
const WHOLE: &[&str] = &["->", "=>", "++", "--", "//", "/*", "*/", "<-", "**", "::", "..="];

const NAMES: &[(&str, &str, Kind)] = &[
    ("min", "max", Kind::Extreme),
    ("MIN", "MAX", Kind::Extreme),
    ("Min", "Max", Kind::Extreme),
    ("lo", "hi", Kind::Extreme),
    ("low", "high", Kind::Extreme),
    ("first", "last", Kind::Extreme),
    ("floor", "ceil", Kind::Extreme),
    ("toupper", "tolower", Kind::Case),
    ("upper", "lower", Kind::Case),
    ("isupper", "islower", Kind::Case),
    ("toUpperCase", "toLowerCase", Kind::Case),
    ("to_uppercase", "to_lowercase", Kind::Case),
    ("to_ascii_uppercase", "to_ascii_lowercase", Kind::Case),
    ("and", "or", Kind::Logic),
    ("true", "false", Kind::Truth),
    ("True", "False", Kind::Truth),
    ("startswith", "endswith", Kind::Extreme),
    ("starts_with", "ends_with", Kind::Extreme),
];

/// Shell comparisons: `-lt` and its kin.
const SHELL: &[(&str, &str, Kind)] = &[
    ("-lt", "-le", Kind::Edge),
    ("-gt", "-ge", Kind::Edge),
    ("-eq", "-ne", Kind::Equality),
];

/// Every repair of these files, best first. `hints` are functions that the failing tests call.
pub(crate) fn candidates(files: &[(String, Vec<String>)], run: &Run, hints: &[String]) -> Vec<Repair> {
    let mut repairs = Vec::new();
    for (path, lines) in files {
        let mut function: Option<&str> = None;
        let hashes = [".py", ".sh", ".rb"].iter().any(|ending| path.ends_with(ending));
        for (at, line) in lines.iter().enumerate() {
            let starts = definition(line);
            function = starts.or(function);
            let one_liner = starts.is_none() || line.contains("return") || line.contains("=>");
            if !one_liner || is_inert(line, hashes) {
                continue;
            }
            let relevance = function.map_or(0, |name| {
                run.relevance(name).max(if hints.iter().any(|hint| hint == name) {
                    2
                } else {
                    0
                })
            });
            let place = i32::from(
                run.places
                    .iter()
                    .any(|(file, number)| path.ends_with(file.as_str()) && *number == at + 1),
            );
            for (new, token, kind) in mutations(line, hashes) {
                repairs.push(Repair {
                    path: path.clone(),
                    line: at + 1,
                    function: function.map(str::to_owned),
                    old: line.clone(),
                    score: relevance * 10 + place * 10 + weight(kind, run) + leaning(kind, line, &new, run),
                    new,
                    what: token,
                });
            }
        }
    }
    // A stable sort: equals keep the order of files and lines.
    repairs.sort_by_key(|repair| std::cmp::Reverse(repair.score));
    repairs
}

fn weight(kind: Kind, run: &Run) -> i32 {
    let usual = match kind {
        Kind::Edge | Kind::Case => 6,
        Kind::Arithmetic | Kind::Logic => 5,
        Kind::Equality | Kind::Extreme => 4,
        Kind::Direction => 3,
        Kind::Truth => 2,
        Kind::Constant => 1,
    };
    let fits = match kind {
        Kind::Edge => run.off_by_one(),
        Kind::Constant => run.off_by_one(),
        Kind::Case => run.case_differs(),
        _ => false,
    };
    usual + if fits { 4 } else { 0 }
}

/// Which way an edge should move: `<` admits more as `<=`, and less the other way round.
fn leaning(kind: Kind, old: &str, new: &str, run: &Run) -> i32 {
    match run.too_strict() {
        Some(strict) if kind == Kind::Edge => {
            if (new.len() > old.len()) == strict {
                2
            } else {
                -2
            }
        }
        _ => 0,
    }
}

/// Lines without behaviour.
fn is_inert(line: &str, hashes: bool) -> bool {
    let line = line.trim_start();
    line.is_empty()
        || ["//", "/*", "* ", "import ", "from ", "use ", "package "]
            .iter()
            .any(|start| line.starts_with(start))
        || (line.starts_with('#') && (hashes || !line.starts_with("#define")))
}

/// Every line that differs from this one in one token: the line, the change in words, its kind.
fn mutations(line: &str, hashes: bool) -> Vec<(String, String, Kind)> {
    let mut found = Vec::new();
    let mut change = |at: usize, old: &str, new: &str, kind: Kind| {
        if let (Some(head), Some(tail)) = (line.get(..at), line.get(at + old.len()..)) {
            found.push((format!("{head}{new}{tail}"), format!("`{old}` → `{new}`"), kind));
        }
    };
    let mut at = 0;
    let mut before = ' ';
    while let Some(rest) = line.get(at..) {
        let Some(first) = rest.chars().next() else { break };
        if rest.starts_with("//") || (hashes && first == '#') {
            break;
        }
        let mut step = first.len_utf8();
        if first == '"' || first == '\'' || first == '`' {
            step = quoted(rest, first);
        } else if let Some((old, new, kind)) = SHELL.iter().find_map(|(a, b, kind)| {
            let hit = |word: &str| {
                rest.starts_with(word) && !rest[word.len()..].starts_with(|c: char| c.is_alphanumeric())
            };
            if hit(a) {
                Some((*a, *b, *kind))
            } else if hit(b) {
                Some((*b, *a, *kind))
            } else {
                None
            }
        }) {
            change(at, old, new, kind);
            step = old.len();
        } else if first.is_alphabetic() || first == '_' {
            let word: &str = rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or(rest);
            for (a, b, kind) in NAMES {
                if word == *a {
                    change(at, a, b, *kind);
                } else if word == *b {
                    change(at, b, a, *kind);
                }
            }
            step = word.len().max(1);
        } else if first.is_ascii_digit() {
            let number: &str = rest
                .split(|c: char| !c.is_alphanumeric() && c != '.' && c != '_')
                .next()
                .unwrap_or(rest);
            if let Ok(value) = number.parse::<i64>() {
                change(at, number, &(value - 1).to_string(), Kind::Constant);
                change(at, number, &(value + 1).to_string(), Kind::Constant);
            }
            step = number.len().max(1);
        } else if let Some(whole) = WHOLE.iter().find(|whole| rest.starts_with(**whole)) {
            step = whole.len();
        } else if let Some((old, news)) = SWAPS.iter().find(|(old, _)| rest.starts_with(*old)) {
            // Between two operands, or it is a sign, a pointer or a type's bracket.
            let operand_before = before.is_alphanumeric() || matches!(before, ')' | ']' | '_' | '"' | '\'');
            let spaced =
                line.get(..at).is_some_and(|head| head.ends_with(' ')) && rest[old.len()..].starts_with(' ');
            let tight_is_fine = matches!(*old, "+" | "-" | "%") || old.len() > 1;
            if operand_before && (spaced || tight_is_fine) {
                for (new, kind) in *news {
                    change(at, old, new, *kind);
                }
            }
            step = old.len();
        }
        before = rest
            .get(..step)
            .and_then(|token| token.chars().rfind(|c| !c.is_whitespace()))
            .unwrap_or(before);
        at += step;
    }
    found
}

/// Length of a quoted text, quotes included. A lone quote (Rust lifetimes, apostrophes) is one character.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(line: &str) -> Vec<String> {
        mutations(line, false)
            .into_iter()
            .map(|(new, _, _)| new)
            .collect()
    }

    #[test]
    fn each_token_has_its_repairs() {
        for (line, wanted) in [
            ("  if (v < lo) return lo;", "  if (v <= lo) return lo;"),
            ("  return a - b;", "  return a + b;"),
            ("  return a+b;", "  return a-b;"),
            ("  if (a && b)", "  if (a || b)"),
            ("  s[i] = toupper(c);", "  s[i] = tolower(c);"),
            ("  return max(a, b);", "  return min(a, b);"),
            ("  return n * 2;", "  return n * 3;"),
            ("while [ \"$i\" -lt 5 ]; do", "while [ \"$i\" -le 5 ]; do"),
            ("  return a != b", "  return a == b"),
        ] {
            assert!(
                lines_of(line).contains(&wanted.to_owned()),
                "{line}: {:?}",
                lines_of(line)
            );
        }
    }

    #[test]
    fn strings_comments_arrows_and_pointers_stay() {
        for line in [
            "  puts(\"a < b\"); // a < b",
            "  p->x;",
            "  i++;",
            "char *p = &x;",
            "Vec<u8>",
        ] {
            assert!(lines_of(line).is_empty(), "{line}: {:?}", lines_of(line));
        }
    }

    #[test]
    fn the_function_in_the_failure_comes_first() {
        let run = Run {
            words: ["clamp".to_owned()].into(),
            ..Run::default()
        };
        let file: Vec<String> = [
            "int add(int a, int b) {",
            "  return a + b;",
            "}",
            "int clamp(int v, int hi) {",
            "  return v > hi ? hi : v;",
            "}",
        ]
        .map(str::to_owned)
        .into();
        let best = candidates(&[("a.c".into(), file)], &run, &[]);
        assert_eq!(best.first().unwrap().function.as_deref(), Some("clamp"));
        assert_eq!(best.first().unwrap().line, 5);
    }
}
