//! Owns: tests of the patch language, among them: a patch made from two texts turns the one into the other.

use proptest::prelude::*;
use similar::{ChangeTag, TextDiff};

use super::matching::Rung;
use super::text::Text;
use super::v4a::{FilePatch, Hunk, Problem, apply, parse};

fn hunks(body: &str) -> Vec<Hunk> {
    match parse(&format!(
        "*** Begin Patch\n*** Update File: f\n{body}*** End Patch\n"
    ))
    .unwrap()
    .remove(0)
    {
        FilePatch::Update { hunks, .. } => hunks,
        other => panic!("{other:?}"),
    }
}

fn patched(file: &str, body: &str) -> Result<String, Problem> {
    let text = Text::parse(file.as_bytes()).unwrap();
    let (splices, _) = apply(&text, &hunks(body), Rung::Similar).map_err(|error| error.problem)?;
    Ok(text.apply(&splices).unwrap())
}

#[test]
fn a_whole_patch_is_parsed() {
    let patch = "```\n*** Begin Patch\n*** Add File: a b.txt\n+one\n+\n+ two\n*** Delete File: old\n\n*** Update File: x\n*** Move to: y\n@@ class A\n@@ def f():\n keep\n-gone\n+here\n*** End of File\n*** End Patch\n```";
    let files = parse(patch).unwrap();
    assert_eq!(files.len(), 3);
    assert_eq!(
        files[0],
        FilePatch::Add {
            path: "a b.txt".into(),
            content: "one\n\n two\n".into()
        }
    );
    assert_eq!(files[1], FilePatch::Delete { path: "old".into() });
    let FilePatch::Update { path, move_to, hunks } = &files[2] else {
        panic!("{:?}", files[2])
    };
    assert_eq!(
        (path.as_str(), move_to.as_deref(), hunks.len()),
        ("x", Some("y"), 1)
    );
    assert_eq!(hunks[0].anchors, ["class A", "def f():"]);
    assert!(hunks[0].at_end);
}

#[test]
fn what_is_no_patch_is_refused_with_its_line() {
    for (patch, want) in [
        ("", "must start with"),
        ("*** Begin Patch\n*** Add File: a\n+x\n", "cut off"),
        ("*** Begin Patch\n*** End Patch", "changes no file"),
        ("*** Begin Patch\nhello\n*** End Patch", "Line 2"),
        (
            "*** Begin Patch\n*** Add File: a\nx\n*** End Patch",
            "must start with `+`",
        ),
        (
            "*** Begin Patch\n*** Add File:  \n+x\n*** End Patch",
            "path is missing",
        ),
        (
            "*** Begin Patch\n*** Delete File: a\n+x\n*** End Patch",
            "takes no lines",
        ),
        (
            "*** Begin Patch\n*** Update File: a\n*** End Patch",
            "has no lines",
        ),
        (
            "*** Begin Patch\n*** Update File: a\nfoo\n*** End Patch",
            "Line 3",
        ),
        (
            "*** Begin Patch\n*** Update File: a\n-x\n*** Move to: b\n*** End Patch",
            "directly below",
        ),
        ("*** End Patch\n*** Begin Patch\n*** Delete File: a\n", "cut off"),
    ] {
        let error = parse(patch).unwrap_err();
        assert!(error.contains(want), "{patch:?}: {error}");
    }
}

#[test]
fn context_stays_as_it_is_in_the_file() {
    let file = "def f():  \n\treturn 1\n\nx = 2\n";
    assert_eq!(
        patched(file, " def f():\n-    return 1\n+    return 2\n").unwrap(),
        "def f():  \n\treturn 2\n\nx = 2\n"
    );
}

#[test]
fn line_ends_mark_and_final_newline_survive() {
    let file = "\u{feff}a\r\nb\r\nc";
    assert_eq!(
        patched(file, " a\n-b\n+B\n+B2\n c\n").unwrap(),
        "\u{feff}a\r\nB\r\nB2\r\nc"
    );
    assert_eq!(patched(file, " b\n-c\n+C\n").unwrap(), "\u{feff}a\r\nb\r\nC");
    assert_eq!(
        patched(file, " b\n c\n+d\n*** End of File\n").unwrap(),
        "\u{feff}a\r\nb\r\nc\r\nd"
    );
    assert_eq!(patched("a\nb", "-b\n").unwrap(), "a");
    assert_eq!(patched("a\n", "-a\n").unwrap(), "");
    assert_eq!(patched("", "+a\n").unwrap(), "a\n");
}

#[test]
fn a_hunk_that_fits_twice_needs_an_anchor() {
    let file =
        "class A:\n    def run(self):\n        return 1\nclass B:\n    def run(self):\n        return 1\n";
    let body = "-        return 1\n+        return 2\n";
    assert_eq!(patched(file, body), Err(Problem::Ambiguous(vec![3, 6])));
    let want =
        "class A:\n    def run(self):\n        return 1\nclass B:\n    def run(self):\n        return 2\n";
    for anchors in [
        "@@ class B:\n",
        "@@ class B\n",
        "@@ class B:\n@@ def run(self):\n",
        "@@ class B: @@\n",
        "@@ -4,3 +4,3 @@ class B:\n",
    ] {
        assert_eq!(
            patched(file, &format!("{anchors}{body}")).as_deref(),
            Ok(want),
            "{anchors}"
        );
    }
    let repeated = "@@ def run(self):\n";
    assert!(matches!(
        patched(file, &format!("{repeated}{body}")),
        Err(Problem::Ambiguous(_))
    ));
}

#[test]
fn end_of_file_tells_the_last_of_several() {
    assert_eq!(
        patched("a\nb\na\n", "-a\n+c\n*** End of File\n").unwrap(),
        "a\nb\nc\n"
    );
}

#[test]
fn added_lines_go_below_their_anchor_or_at_the_end() {
    assert_eq!(patched("a\nb\n", "@@ a\n+new\n").unwrap(), "a\nnew\nb\n");
    assert_eq!(patched("a\nb\n", "+new\n").unwrap(), "a\nb\nnew\n");
    assert_eq!(
        patched("a\nb\n", "@@ nowhere\n+new\n"),
        Err(Problem::NoAnchor("nowhere".into()))
    );
}

#[test]
fn hunks_come_in_the_order_of_the_file() {
    let file = "one\ntwo\nthree\nfour\n";
    assert_eq!(
        patched(file, "@@\n-one\n+1\n@@\n-four\n+4\n").unwrap(),
        "1\ntwo\nthree\n4\n"
    );
    assert_eq!(
        patched(file, "@@\n-four\n+4\n@@\n-one\n+1\n"),
        Err(Problem::OutOfOrder(1))
    );
    assert_eq!(patched(file, "-nothing like it\n+x\n"), Err(Problem::NotFound));
}

#[test]
fn blank_lines_between_hunks_are_layout() {
    assert_eq!(
        patched("a\nb\nc\n", "@@\n-a\n+A\n\n@@\n-c\n+C\n\n").unwrap(),
        "A\nb\nC\n"
    );
    assert_eq!(patched("a\n\nb\n", " a\n\n-b\n+B\n").unwrap(), "a\n\nB\n");
    // With its leading space an empty line is meant.
    assert_eq!(patched("\nb\n", "+a\n \n").unwrap(), "a\n\nb\n");
}

/// The patch a model would write: three lines of context around each change.
fn patch_between(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut body = String::new();
    for group in diff.grouped_ops(3) {
        body.push_str("@@\n");
        for op in group {
            for change in diff.iter_changes(&op) {
                let sign = match change.tag() {
                    ChangeTag::Equal => ' ',
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                };
                body.push(sign);
                body.push_str(change.value());
            }
        }
    }
    body
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,30}",
        1 => Just(String::new()),
        1 => Just("}".to_owned()),
        1 => Just("*** End Patch".to_owned()),
        1 => "\\PC{0,12}",
    ]
}

fn lines_to_text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

proptest! {
    #![proptest_config(super::testing::property(400))]

    /// Whatever the lines, a patch does what it says or is refused as unclear; never something else.
    #[test]
    fn a_patch_yields_its_target_or_is_ambiguous(
        old in prop::collection::vec(line(), 0..30),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, line()), 1..6),
        crlf in any::<bool>(),
    ) {
        let mut new = old.clone();
        for (at, what, line) in edits {
            let at = at.index(new.len() + 1);
            match what {
                0 => new.insert(at, line),
                1 if at < new.len() => { new.remove(at); }
                _ if at < new.len() => new[at] = line,
                _ => new.push(line),
            }
        }
        let (old, new) = (lines_to_text(&old), lines_to_text(&new));
        let body = patch_between(&old, &new);
        prop_assume!(!body.is_empty());
        let disk = |text: &str| if crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
        match patched(&disk(&old), &body) {
            // A file that was empty has no line ends to go by.
            Ok(result) => prop_assert_eq!(result, if old.is_empty() { new } else { disk(&new) }),
            Err(problem) => prop_assert!(matches!(problem, Problem::Ambiguous(_)), "{:?}", problem),
        }
    }

    /// Where every line is its own, nothing is ambiguous.
    #[test]
    fn a_patch_of_distinct_lines_always_applies(
        count in 1usize..60,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8), 1..8),
    ) {
        let old: Vec<String> = (0..count).map(|n| format!("    line {n};")).collect();
        let mut new = old.clone();
        for (step, (at, what)) in edits.into_iter().enumerate() {
            let at = at.index(new.len() + 1);
            match what {
                0 => new.insert(at, format!("added {step}")),
                1 if at < new.len() => { new.remove(at); }
                _ if at < new.len() => new[at] = format!("changed {step}"),
                _ => new.push(format!("last {step}")),
            }
        }
        let (old, new) = (lines_to_text(&old), lines_to_text(&new));
        let body = patch_between(&old, &new);
        prop_assume!(!body.is_empty());
        prop_assert_eq!(patched(&old, &body).unwrap(), new);
    }

    /// No text whatever makes the parser fail otherwise than by saying no.
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC*", lines in prop::collection::vec(line(), 0..10)) {
        let _ = parse(&text);
        let _ = parse(&format!("*** Begin Patch\n*** Update File: f\n{}*** End Patch", lines_to_text(&lines)));
    }
}
