//! Tests of the demo model through a tool loop with real files and real processes.

use std::path::Path;
use std::process::Command;

use futures::StreamExt;
use serde_json::{Value, json};

use super::*;
use crate::domain::message::{Role, ToolResult};
use crate::domain::tool::ToolSpec;

fn spec(name: &str, arguments: &[&str]) -> ToolSpec {
    let properties: serde_json::Map<String, Value> = arguments
        .iter()
        .map(|name| ((*name).to_owned(), json!({"type": "string"})))
        .collect();
    ToolSpec {
        name: name.into(),
        description: String::new(),
        parameters: json!({"type": "object", "properties": properties}),
    }
}

fn tools() -> Vec<ToolSpec> {
    vec![
        spec("exec", &["command"]),
        spec("read", &["path"]),
        spec("write", &["path", "content"]),
        spec("edit", &["path", "old", "new"]),
        spec("search", &["pattern"]),
    ]
}

/// Runs a tool for real in `dir`. Writing is answered by `approve`.
fn perform(dir: &Path, tool: &str, arguments: &Value, approve: bool) -> (String, bool) {
    let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
    match tool {
        "exec" => {
            let out = Command::new("sh")
                .arg("-c")
                .arg(text("command"))
                .current_dir(dir)
                .output()
                .unwrap();
            let shown = format!(
                "{}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
            let code = out.status.code().unwrap_or(-1);
            (format!("{shown}\n[exit code: {code}]"), true)
        }
        "read" => match std::fs::read_to_string(dir.join(text("path"))) {
            Ok(content) => (
                content
                    .lines()
                    .enumerate()
                    .map(|(n, line)| format!("{:>6}\t{line}\n", n + 1))
                    .collect(),
                true,
            ),
            Err(error) => (error.to_string(), false),
        },
        "edit" => {
            let path = dir.join(text("path"));
            let content = std::fs::read_to_string(&path).unwrap();
            if content.matches(&text("old")).count() != 1 {
                return ("old text is not there exactly once".into(), false);
            }
            std::fs::write(path, content.replacen(&text("old"), &text("new"), 1)).unwrap();
            ("edited".into(), true)
        }
        "apply_patch" => {
            let patch = text("patch");
            let path = dir.join(
                patch
                    .lines()
                    .find_map(|line| line.strip_prefix("*** Update File: "))
                    .unwrap(),
            );
            let marked = |mark: char| {
                patch
                    .lines()
                    .filter_map(|l| l.strip_prefix(mark))
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            let content = std::fs::read_to_string(&path).unwrap();
            assert_eq!(content.matches(&marked('-')).count(), 1);
            std::fs::write(path, content.replacen(&marked('-'), &marked('+'), 1)).unwrap();
            ("done".into(), true)
        }
        "write" if approve => {
            std::fs::write(dir.join(text("path")), text("content")).unwrap();
            ("written".into(), true)
        }
        _ => ("denied by the person".into(), false),
    }
}

struct Played {
    answer: String,
    calls: Vec<String>,
}

async fn play(dir: &Path, prompt: &str, tools: Vec<ToolSpec>, approver: Option<bool>) -> Played {
    let mut messages = vec![Message::user(prompt)];
    let mut calls = Vec::new();
    for _ in 0..80 {
        let request = ModelRequest {
            instructions: String::new(),
            messages: messages.clone().into(),
            tools: tools.clone().into(),
            effort: None,
            session_key: "s".into(),
            approver_present: approver.is_some(),
        };
        let mut streamed = String::new();
        let mut reply = None;
        let mut stream = DemoModel::new().stream(request);
        while let Some(event) = stream.next().await {
            match event.unwrap() {
                ModelEvent::TextDelta(text) => streamed.push_str(&text),
                ModelEvent::Finished(finished) => reply = Some(finished),
                _ => {}
            }
        }
        let reply = reply.unwrap();
        let message = Message {
            role: Role::Assistant,
            parts: reply.parts,
        };
        assert_eq!(streamed, message.text(), "the deltas are the text");
        let Some(call) = message.tool_calls().next().cloned() else {
            return Played {
                answer: message.text(),
                calls,
            };
        };
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
        calls.push(format!("{} {}", call.tool, arguments));
        let (text, ok) = perform(dir, &call.tool, &arguments, approver == Some(true));
        messages.push(message);
        messages.push(Message {
            role: Role::Tool,
            parts: vec![Part::ToolResult(ToolResult {
                call_id: call.call_id,
                text,
                ok,
            })],
        });
    }
    panic!("no end after 80 steps: {calls:#?}");
}

const CLAMP_C: &str = "#include \"range.h\"\n\nint clamp(int v, int lo, int hi) {\n    if (v < lo)\n        return lo;\n    if (v > hi)\n        return hi;\n    return v;\n}\n\nint in_range(int v, int lo, int hi) {\n    return v >= lo && v < hi;\n}\n\nint span(int lo, int hi) {\n    return hi - lo;\n}\n";

fn c_project(dir: &Path, source: &str) {
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    };
    write("src/range.c", source);
    write(
        "src/range.h",
        "int clamp(int v, int lo, int hi);\nint in_range(int v, int lo, int hi);\nint span(int lo, int hi);\n",
    );
    write("README.md", "ranges\n");
    write(
        "tests/test_range.c",
        r#"#include <stdio.h>
#include "../src/range.h"
static int bad, good;
static void check(const char *name, int expected, int got) {
    if (expected == got) { good++; return; }
    bad++;
    printf("FAIL %s: expected %d, got %d\n", name, expected, got);
}
int main(void) {
    check("clamp_low", 1, clamp(0, 1, 5));
    check("clamp_high", 5, clamp(9, 1, 5));
    check("in_range_upper_edge", 1, in_range(5, 1, 5));
    check("in_range_outside", 0, in_range(6, 1, 5));
    check("span_simple", 4, span(1, 5));
    printf("%d passed, %d failed\n", good, bad);
    return bad != 0;
}
"#,
    );
    write(
        "Makefile",
        "test: build/t\n\t./build/t\nbuild/t: src/range.c tests/test_range.c\n\tmkdir -p build && cc -o $@ $^\n",
    );
}

#[tokio::test(start_paused = true)]
async fn it_finds_and_fixes_an_off_by_one_in_a_c_project() {
    let dir = tempfile::tempdir().unwrap();
    c_project(dir.path(), CLAMP_C);
    let played = play(dir.path(), "Find and fix the failing test.", tools(), Some(true)).await;
    let fixed = std::fs::read_to_string(dir.path().join("src/range.c")).unwrap();
    assert_eq!(
        fixed,
        CLAMP_C.replace("v < hi;", "v <= hi;"),
        "{:#?}",
        played.calls
    );
    assert!(
        played.answer.contains("(demo model) Fixed.") && played.answer.contains("src/range.c:12"),
        "{}",
        played.answer
    );
    assert!(played.answer.contains("all 5 tests pass"), "{}", played.answer);
    let edits = played
        .calls
        .iter()
        .filter(|call| call.starts_with("edit"))
        .count();
    assert_eq!(edits, 1, "{:#?}", played.calls);
    let note = std::fs::read_to_string(dir.path().join("AGENTS.md")).unwrap();
    assert_eq!(note, "Run the tests with `make test`.\n");
}

/// The project of `make demo`: what a newcomer sees first must work.
#[tokio::test(start_paused = true)]
async fn it_mends_the_project_of_the_demo() {
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/project/.");
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(project)
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(copied.success(), "{project} is there");
    let played = play(
        dir.path(),
        "The tests fail. Find out why and fix it.",
        tools(),
        None,
    )
    .await;
    assert!(
        played.answer.contains("Fixed."),
        "{}\n{:#?}",
        played.answer,
        played.calls
    );
    let tests = Command::new("make")
        .arg("test")
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(tests.status.success());
    println!("{}\n{:#?}", played.answer, played.calls);
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_when_the_approval_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    c_project(dir.path(), CLAMP_C);
    let played = play(dir.path(), "fix the tests", tools(), Some(false)).await;
    assert!(played.answer.contains("was not written"), "{}", played.answer);
    assert_eq!(
        played
            .calls
            .iter()
            .filter(|call| call.starts_with("write"))
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn it_asks_nothing_when_nobody_is_there_and_mends_two_faults_with_patches() {
    let dir = tempfile::tempdir().unwrap();
    c_project(dir.path(), &CLAMP_C.replace("return hi - lo", "return hi + lo"));
    let tools = vec![
        spec("exec", &["command"]),
        spec("read", &["path"]),
        spec("apply_patch", &["patch"]),
    ];
    let played = play(dir.path(), "fix the tests", tools, None).await;
    assert!(
        played.answer.contains("all 5 tests pass"),
        "{}\n{:#?}",
        played.answer,
        played.calls
    );
    assert!(!played.calls.iter().any(|call| call.starts_with("write")));
}

#[tokio::test(start_paused = true)]
async fn it_says_so_when_it_cannot_mend_and_leaves_the_source_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let hopeless = CLAMP_C.replace("return v >= lo && v < hi;", "return v * v / 7;");
    c_project(dir.path(), &hopeless);
    let played = play(dir.path(), "fix the tests", tools(), None).await;
    assert!(played.answer.contains("Goal not met"), "{}", played.answer);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("src/range.c")).unwrap(),
        hopeless
    );
    assert!(
        played
            .calls
            .iter()
            .filter(|call| call.starts_with("edit"))
            .count()
            <= 24
    );
}

#[tokio::test(start_paused = true)]
async fn it_mends_python_and_shell_projects_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    std::fs::write(path.join("stats.py"), "def mean(values):\n    return sum(values) / (len(values) - 1)\n\n\ndef top(values):\n    return min(values)\n").unwrap();
    std::fs::write(path.join("test_stats.py"), "import unittest\nimport stats\n\n\nclass T(unittest.TestCase):\n    def test_top(self):\n        self.assertEqual(stats.top([1, 3, 2]), 3)\n\n\nif __name__ == '__main__':\n    unittest.main()\n").unwrap();
    let played = play(path, "there is a bug, fix it", tools(), None).await;
    assert!(
        played.answer.contains("return max(values)"),
        "{}\n{:#?}",
        played.answer,
        played.calls
    );
    let edits = played
        .calls
        .iter()
        .filter(|call| call.starts_with("edit"))
        .count();
    assert_eq!(edits, 1, "{:#?}", played.calls);
}

#[tokio::test(start_paused = true)]
async fn passing_tests_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    c_project(dir.path(), &CLAMP_C.replace("v < hi;", "v <= hi;"));
    let played = play(dir.path(), "fix the tests", tools(), Some(true)).await;
    assert!(played.answer.contains("nothing to mend"), "{}", played.answer);
}

#[tokio::test(start_paused = true)]
async fn a_greeting_gets_an_introduction_with_files_and_attachments() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
    let played = play(dir.path(), "hello there", tools(), None).await;
    assert!(
        played.answer.contains("demo model") && played.answer.contains("hello there"),
        "{}",
        played.answer
    );
    assert!(
        played.answer.contains("notes.txt") && played.answer.contains("auth set"),
        "{}",
        played.answer
    );
    assert_eq!(played.calls.len(), 1);

    let mut message = Message::user("summarize");
    message.parts.push(Part::Attachment {
        name: "stdin".into(),
        text: "line one\nline two\n".into(),
    });
    let request = ModelRequest {
        instructions: String::new(),
        messages: vec![message].into(),
        tools: Vec::new().into(),
        effort: None,
        session_key: "s".into(),
        approver_present: false,
    };
    let text = decide(&request).text;
    assert!(text.contains("stdin (18 bytes), first line: line one"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn rehearsal_commands_do_one_exact_thing() {
    let dir = tempfile::tempdir().unwrap();
    let say = play(dir.path(), "demo: say hi there", tools(), None).await;
    assert_eq!((say.answer.as_str(), say.calls.len()), ("hi there", 0));
    let run = play(dir.path(), "demo: run echo a-b", tools(), None).await;
    assert!(run.answer.contains("a-b"), "{}", run.answer);
    let ask = play(dir.path(), "demo: ask", tools(), Some(true)).await;
    assert!(ask.calls[0].starts_with("write") && dir.path().join("AGENTS.md").exists());
    let words = play(dir.path(), "demo: stream 50", tools(), None).await;
    assert_eq!(words.answer.split(' ').count(), 50);
    let two = play(dir.path(), "demo: run echo 1\nrun echo 2\nsay end", tools(), None).await;
    assert!(
        two.calls.len() == 2 && two.answer.ends_with("end"),
        "{}",
        two.answer
    );
    assert!(
        play(dir.path(), "demo: dance", tools(), None)
            .await
            .answer
            .contains("unknown command")
    );
}

#[tokio::test(start_paused = true)]
async fn a_rehearsed_failure_is_an_error_and_thinking_and_retries_show() {
    let request = |prompt: &str| ModelRequest {
        instructions: String::new(),
        messages: vec![Message::user(prompt)].into(),
        tools: tools().into(),
        effort: None,
        session_key: "s".into(),
        approver_present: false,
    };
    let all = |prompt: &str| DemoModel::new().stream(request(prompt)).collect::<Vec<_>>();
    assert_eq!(
        all("demo: fail")
            .await
            .last()
            .unwrap()
            .as_ref()
            .unwrap_err()
            .reason_code(),
        "provider_error"
    );
    assert!(
        all("demo: think")
            .await
            .iter()
            .any(|event| matches!(event, Ok(ModelEvent::ReasoningDelta(_))))
    );
    assert!(
        all("demo: retry\nsay x")
            .await
            .iter()
            .any(|event| matches!(event, Ok(ModelEvent::Retrying { .. })))
    );
}
