//! Owns: reading what `read` and `exec` show: line numbers stripped, functions found.
//! Guarantees: works on any layout of line numbers; text without them is taken as it is.

use std::sync::LazyLock;

use regex::Regex;

/// A line number in front of a line: `12\tcode`, `  12: code`, `12| code`, `12→code`.
#[expect(clippy::expect_used, reason = "a constant pattern, compiled in the tests")]
static NUMBERED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^ {0,8}L?(\d+)(?:\t|→|: ?|\| ?| \| ?|│ ?)(.*)$").expect("constant"));

/// The content of a file as `read` showed it.
pub(crate) fn content(shown: &str) -> Vec<String> {
    let mut numbered: Vec<(u64, &str)> = Vec::new();
    for line in shown.lines() {
        if let Some(found) = NUMBERED.captures(line) {
            let number = found.get(1).and_then(|n| n.as_str().parse().ok()).unwrap_or(0);
            numbered.push((number, found.get(2).map_or("", |text| text.as_str())));
        }
    }
    let counts_up = numbered
        .iter()
        .zip(numbered.iter().skip(1))
        .all(|((a, _), (b, _))| *b == a + 1);
    let starts = numbered.first().is_some_and(|(number, _)| *number == 1);
    let most = numbered.len() * 2 > shown.lines().count();
    if starts && counts_up && most {
        numbered.into_iter().map(|(_, text)| text.to_owned()).collect()
    } else {
        shown.lines().map(str::to_owned).collect()
    }
}

#[expect(clippy::expect_used, reason = "a constant pattern, compiled in the tests")]
static DEFINITION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^\s*(?:pub(?:\([a-z]+\))? |export |default |async |const |unsafe |static |inline )*",
        r"(?:fn|def|func|function)\s+(?:\([^)]*\)\s*)?(\w+)", // Rust, Python, Go, JavaScript, shell
        r"|^(?:[A-Za-z_][\w\s\*]*[\s\*])(\w+)\s*\([^;]*$",    // C
        r"|^\s*(?:export )?(?:const|let|var)\s+(\w+)\s*=\s*(?:async\s*)?(?:function|\()", // JavaScript
        r"|^(\w+)\s*\(\)\s*\{?\s*$"                           // shell
    ))
    .expect("constant")
});

/// The function that begins at this line, if one does.
pub(crate) fn definition(line: &str) -> Option<&str> {
    let found = DEFINITION.captures(line)?;
    let name = (1..=4).find_map(|group| found.get(group))?.as_str();
    (!matches!(name, "if" | "while" | "for" | "switch" | "return" | "else")).then_some(name)
}

/// True for files that hold tests rather than the code under test.
pub(crate) fn is_test(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower
        .split('/')
        .any(|piece| matches!(piece, "test" | "tests" | "spec" | "__tests__" | "testing"))
        || lower.rsplit('/').next().is_some_and(|name| {
            let stem = name.split('.').next().unwrap_or(name);
            stem.starts_with("test_")
                || stem.ends_with("_test")
                || stem == "test"
                || stem == "tests"
                || stem.ends_with("_tests")
                || name.contains(".test.")
                || name.contains(".spec.")
        })
}

/// True for files in a language the demo model can mend.
pub(crate) fn is_code(path: &str) -> bool {
    let endings = [
        "c", "h", "cc", "cpp", "rs", "py", "js", "mjs", "ts", "go", "sh", "java", "rb",
    ];
    path.rsplit_once('.')
        .is_some_and(|(_, ending)| endings.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_numbers_of_any_layout_are_stripped() {
        for shown in [
            "1\ta\n2\t b",
            "     1\ta\n     2\t b",
            "1: a\n2:  b",
            "1| a\n2|  b",
            "1→a\n2→ b",
            "f.c, 2 lines:\n1\ta\n2\t b\n",
            "a\n b",
        ] {
            assert_eq!(content(shown), ["a", " b"], "{shown:?}");
        }
        assert_eq!(content("1: x\n7: y"), ["1: x", "7: y"]);
    }

    #[test]
    fn functions_are_found_in_several_languages() {
        for (line, name) in [
            ("int clamp(int v, int lo, int hi) {", Some("clamp")),
            ("static char *name_of(struct x *p)", Some("name_of")),
            ("    pub(crate) fn words(text: &str) -> u8 {", Some("words")),
            ("def mean(values):", Some("mean")),
            ("func (s *Stack) Push(x int) {", Some("Push")),
            ("export const add = (a, b) => a + b", Some("add")),
            ("greet() {", Some("greet")),
            ("    return foo(x);", None),
            ("    if (a < b) {", None),
        ] {
            assert_eq!(definition(line), name, "{line}");
        }
    }

    #[test]
    fn tests_are_told_from_code() {
        assert!(
            is_test("tests/a.c") && is_test("test_x.py") && is_test("src/x.test.js") && is_test("x_test.go")
        );
        assert!(!is_test("src/latest.c") && !is_test("contest.py"));
    }
}
