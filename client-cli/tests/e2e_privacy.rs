//! Owns: what is kept and what is not, seen through agentctl: canaries in everything on disk, log levels, secret files,
//! audits, cassettes played again, reviews, and the limits of a run.
//! Guarantees: every case runs the real programs in a home of its own, offline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{TestDaemon, run};

/// In `.env`; a word like any other, secret by its place alone.
const WORDS: &str = "orchid-river-meadow";
/// With a provider's prefix.
const SHAPED: &str = "sk-proj-canaryabcdefghijklmnop";
/// By its looks.
const RANDOM: &str = "q7Xv2LmP9sTzR4wKcB8nYdF3hJ6gAe1U";

/// Files below `dir` that hold the text.
fn files_with(dir: &Path, needle: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_with(&path, needle, found);
        } else if kind.is_file() {
            let data = std::fs::read(&path).unwrap();
            if data
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
}

fn assert_nowhere(dir: &Path, needle: &str) {
    let mut found = Vec::new();
    files_with(dir, needle, &mut found);
    assert!(found.is_empty(), "{needle} is in {found:?}");
}

fn logs(home: &TestDaemon, session: &str) -> String {
    home.ctl(["logs", session, "-o", "jsonl"]).exits(0).out()
}

#[test]
fn no_canary_reaches_the_disk_a_process_list_or_an_export() {
    let mut home = TestDaemon::home();
    std::fs::write(
        home.project().join(".env"),
        format!("MODE=test\nDB_WORDS_KEY={WORDS}\n"),
    )
    .unwrap();
    let notes = format!("{WORDS} {SHAPED} {RANDOM}\n");
    std::fs::write(home.project().join("notes.txt"), &notes).unwrap();
    home.spawn();
    // A person's own output is theirs, byte for byte.
    let shown = home
        .ctl(["exec", "--name", "own", "--", "cat notes.txt"])
        .exits(0);
    assert_eq!(shown.out(), notes);
    let said = format!("demo: run cat notes.txt\nsay {WORDS}");
    let ran = home.ctl(["run", "--name", "one", "-m", "demo", &said]).exits(0);
    assert!(ran.out().contains("[redacted:env]"), "{ran}");
    for kind in ["env", "api-key", "high-entropy"] {
        assert!(
            logs(&home, "one").contains(&format!("[redacted:{kind}]")),
            "{kind}"
        );
    }
    let bundle = home.path().join("bundle");
    let cassette = home.path().join("cassette");
    home.ctl(["sessions", "export", "one", bundle.to_str().unwrap()])
        .exits(0);
    home.ctl(["replay", "one", "--save", cassette.to_str().unwrap()])
        .exits(0);
    let wrong = home.ctl(["run", "-s", "one", "-m", &format!("cassette:{SHAPED}"), "x"]);
    assert_ne!(wrong.code, 0);
    let pids = home.processes().into_iter().chain([home.pid()]);
    let lines: Vec<String> = pids
        .map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).into_owned()
        })
        .collect();
    for program in ["agentd", "agent-jinit"] {
        assert!(lines.iter().any(|line| line.contains(program)), "{lines:?}");
    }
    let outputs = [
        logs(&home, "one"),
        home.ctl(["search", "canary"]).out(),
        lines.join("\n"),
    ];
    home.ctl(["daemon", "stop"]).exits(0);
    home.wait_for_end();
    for canary in [WORDS, SHAPED, RANDOM] {
        assert!(!outputs.iter().any(|text| text.contains(canary)), "{canary}");
        assert_nowhere(&home.state(), canary);
        for file in [&bundle, &cassette] {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(
                text.contains("redacted") && !text.contains(canary),
                "{}",
                file.display()
            );
        }
    }
    // The output is kept, with stars where it must not be read, in its full length.
    let mut kept = Vec::new();
    files_with(&home.state().join("spool"), &"*".repeat(WORDS.len()), &mut kept);
    assert!(!kept.is_empty());
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().len(), notes.len() as u64);
}

#[test]
fn secret_files_are_masked_in_jails_and_refused_to_tools() {
    let mut home = TestDaemon::home();
    let project = home.project();
    std::fs::create_dir(project.join("deep")).unwrap();
    for file in [".env", "deep/server.pem", "id_ed25519"] {
        std::fs::write(project.join(file), "canary-value\n").unwrap();
    }
    std::fs::write(project.join(".env.example"), "KEY=\n").unwrap();
    home.spawn();
    for layout in ["root", "host"] {
        let all = "cat .env deep/server.pem id_ed25519 .env.example; grep -r canary deep .env id_ed25519 | wc -l; mv .env x 2>&1";
        let ran = home.ctl(["exec", "--name", layout, "--layout", layout, "--", all]);
        assert!(!ran.out().contains("canary-value"), "{ran}");
        assert_eq!(ran.out().matches("privacy.secret_files").count(), 3, "{ran}");
        assert!(
            ran.out().contains("KEY=\n0\n") && ran.out().contains("busy"),
            "{ran}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(project.join(".env")).unwrap(),
        "canary-value\n"
    );
    let ran = home
        .ctl(["run", "--name", "tools", "-m", "demo", "demo: read .env"])
        .exits(0);
    assert!(
        ran.out().contains("holds secrets") && !ran.out().contains("canary"),
        "{ran}"
    );
    // A person may say otherwise.
    home.ctl(["daemon", "stop"]).exits(0);
    home.wait_for_end();
    home.config("[privacy]\nmask = false\nsecret_files = [\"*.pem\"]\n");
    home.spawn();
    let ran = home
        .ctl(["exec", "--name", "open", "--", "cat .env deep/server.pem"])
        .exits(0);
    assert_eq!(ran.out(), "canary-value\ncanary-value\n");
}

#[test]
fn a_log_without_words_has_them_only_while_agentd_lives() {
    let mut home = TestDaemon::start();
    let secret = "pineapple-words";
    let said = format!("demo: run echo done\nsay {secret}");
    let ran = home
        .ctl(["run", "--name", "quiet", "--log", "none", "-m", "demo", &said])
        .exits(0);
    assert!(ran.out().contains(secret), "{ran}");
    assert!(logs(&home, "quiet").contains(secret));
    let listed = home.ctl(["sessions", "list", "-o", "json"]).exits(0).out();
    assert!(!listed.contains(secret), "{listed}");
    home.ctl(["replay", "quiet", "--save", "x"]).exits(6);
    // And the model still knows what was said.
    home.ctl(["run", "-s", "quiet", "-m", "demo", "demo: say again"])
        .exits(0);
    home.kill9();
    assert_nowhere(&home.state(), secret);
    home.restart();
    let after = logs(&home, "quiet");
    assert!(after.contains("[not kept]") && !after.contains(secret), "{after}");
    // What was done stays.
    let audit = home.ctl(["audit", "quiet", "-o", "json"]).exits(0).out();
    assert!(audit.contains("echo done"), "{audit}");
    let full = format!("demo: say {SHAPED}");
    home.ctl(["run", "--name", "full", "--log", "full", "-m", "demo", &full])
        .exits(0);
    assert!(logs(&home, "full").contains(SHAPED));
}

#[test]
fn an_audit_names_commands_files_and_refusals() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "a", "--", "exit 3"]).exits(3);
    let said = "demo: run echo hi\nwrite note.txt text\nask";
    home.ctl(["run", "-s", "a", "-m", "demo", "--on-approval", "deny", said])
        .exits(5);
    let audit = home.ctl(["audit", "a", "-o", "json"]).exits(0).json();
    let of = |kind: &str| -> Vec<&Value> {
        let all = audit.as_array().unwrap();
        all.iter().filter(|one| one["kind"] == kind).collect()
    };
    let commands = of("command");
    assert_eq!(
        (&commands[0]["by"], &commands[0]["exit_code"]),
        (&json!("person"), &json!(3))
    );
    assert_eq!(
        (&commands[1]["script"], &commands[1]["by"]),
        (&json!("echo hi"), &json!("model"))
    );
    let file = of("file")[0];
    assert_eq!(
        (&file["path"], &file["change"]),
        (&json!("note.txt"), &json!("created"))
    );
    let refusal = of("refusal")[0];
    assert!(
        refusal["what"].as_str().unwrap().contains("AGENTS.md"),
        "{refusal}"
    );
    home.ctl(["audit", "nobody"]).exits(3);
}

#[test]
fn a_session_is_played_again_and_what_differs_is_said() {
    let home = TestDaemon::start();
    let said = "demo: run test -e here\nwrite out.txt text\nsay bye";
    std::fs::write(home.project().join("here"), "").unwrap();
    home.ctl(["run", "--name", "first", "-m", "demo", said]).exits(0);
    home.ctl(["run", "-s", "first", "-m", "demo", "demo: say second turn"])
        .exits(0);
    std::fs::remove_file(home.project().join("out.txt")).unwrap();
    let same = home.ctl(["replay", "first", "-o", "json"]).exits(0).json();
    assert_eq!((&same["turns"], &same["calls"]), (&json!(2), &json!(2)), "{same}");
    assert!(home.project().join("out.txt").exists());
    let file = home.path().join("bug.jsonl");
    home.ctl(["replay", "first", "--save", file.to_str().unwrap()])
        .exits(0);
    std::fs::remove_file(home.project().join("here")).unwrap();
    std::fs::remove_file(home.project().join("out.txt")).unwrap();
    let other = home.ctl(["replay", file.to_str().unwrap()]).exits(1);
    assert!(other.err().contains("succeeded then, failed now"), "{other}");
    assert!(other.out().contains("second turn"), "{other}");
    // A cassette is a model like any other, and one that does not fit says so.
    let model = format!("cassette:{}", file.display());
    home.ctl(["run", "--new", "-m", &model, "anything"]).exits(0);
    let spent = home.ctl(["run", "--name", "far", "-m", &model, "one"]).exits(0);
    drop(spent);
    home.ctl(["run", "-s", "far", "-m", &model, "two"]).exits(0);
    let over = home.ctl(["run", "-s", "far", "-m", &model, "three"]);
    assert!(
        over.code != 0 && over.err().contains("none that follows"),
        "{over}"
    );
    home.ctl(["run", "--new", "-m", "cassette:/nowhere", "x"])
        .exits(2);
    home.ctl(["replay", "no-such-session"]).exits(3);
}

fn cassette(home: &TestDaemon, name: &str, answers: &[&str]) -> String {
    let mut lines = vec![json!({"cassette": {"format": 1, "model": "x/y", "dialect": "search_replace"}})];
    for answer in answers {
        lines.push(json!({"prompt": {"parts": []}}));
        lines.push(json!({"step": {"parts": [{"type": "text", "text": answer}]}}));
    }
    let file = home.path().join(name);
    std::fs::write(
        &file,
        lines.iter().map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
    format!("cassette:{}", file.display())
}

#[test]
fn a_review_gives_checked_findings_by_file_and_line() {
    let home = TestDaemon::start();
    let project = home.project();
    std::fs::write(project.join("a.py"), "one = 1\n").unwrap();
    let test = "import unittest, a\nclass T(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(a.one, 1)\n";
    std::fs::write(project.join("test_a.py"), test).unwrap();
    let mut init = home.command("git");
    init.arg("init").arg("-q").current_dir(&project);
    assert_eq!(run(init, b"").code, 0);
    let ran = home.ctl(["review", "-m", "demo"]).exits(2);
    assert!(ran.err().contains("no commit yet"), "{ran}");
    home.git_init();
    let empty = home.ctl(["review", "-m", "demo", "-o", "json"]).exits(0).json();
    assert_eq!(empty["findings"], json!([]));
    std::fs::write(project.join("a.py"), "one = 2\n").unwrap();
    // The demo model runs the tests and says that it is no reviewer.
    let demo = home
        .ctl(["review", "-m", "demo", "--exit-code", "-o", "json"])
        .exits(1)
        .json();
    assert!(
        demo["demo"] == true && demo["summary"].as_str().unwrap().contains("no review"),
        "{demo}"
    );
    assert_eq!(demo["findings"][0]["file"], "test_a.py", "{demo}");
    // An answer that names what is not there gets one more try.
    let wrong = r#"{"findings":[{"file":"b.py","line":1,"severity":"error","title":"x"}]}"#;
    let right = r#"Sure: {"summary":"s","findings":[{"file":"a.py","line":1,"severity":"error","title":"one is two","detail":"d"}]}"#;
    let model = cassette(&home, "review", &[wrong, right]);
    let ran = home.ctl(["review", "-m", &model, "--task"]).exits(0);
    assert!(ran.out().starts_with("a.py:1: error: one is two ("), "{ran}");
    let again = home
        .ctl(["review", "-m", &model, "--task", "HEAD", "-o", "json"])
        .exits(0)
        .json();
    let tasks = home.ctl(["tasks", "list", "-o", "json"]).exits(0).out();
    assert_eq!(tasks.matches("a.py:1 one is two").count(), 1, "{tasks}");
    assert!(again["findings"][0]["task"].is_string(), "{again}");
    let never = cassette(&home, "never", &["no", "no again"]);
    let ran = home.ctl(["review", "-m", &never]).exits(1);
    assert!(ran.err().contains("review_unusable"), "{ran}");
    home.ctl(["review", "no-such-ref", "-m", "demo"]).exits(2);
    home.ctl(["review", "--output=x", "-m", "demo"]).exits(2);
}

#[test]
fn limits_of_a_run_have_their_exit_codes_and_lose_nothing() {
    let home = TestDaemon::start();
    let two = "demo: run echo one\nrun echo two";
    let ran = home
        .ctl(["run", "--name", "r", "-m", "demo", "--max-turns", "1", two])
        .exits(8);
    assert!(ran.err().contains("1 step"), "{ran}");
    let goal = cassette(&home, "goal", &["GOAL NOT MET: no compiler"]);
    home.ctl(["run", "--new", "-m", &goal, "x"]).exits(9);
    home.ctl(["run", "--new", "-m", "demo", "--on-approval", "deny", "demo: ask"])
        .exits(5);
    home.ctl(["run", "--new", "-m", "demo", "--on-approval", "exit", "demo: ask"])
        .exits(10);
    home.ctl(["run", "--new", "-m", "demo", "--on-approval", "ask", "demo: ask"])
        .exits(2);
    // A budget pauses; raised, the session goes on where it was.
    let set = home
        .ctl([
            "usage",
            "budget",
            "set",
            "1500 tokens",
            "--per",
            "session",
            "-o",
            "json",
        ])
        .exits(0);
    let over = home.ctl(["run", "--name", "b", "-m", "demo", two]).exits(8);
    assert!(over.err().contains("budget"), "{over}");
    let show = home.ctl(["sessions", "show", "b", "-o", "json"]).exits(0).json();
    assert_eq!(show["state"], "paused", "{show}");
    let text = set.out();
    let at = text.find("b-").unwrap();
    let id: String = text[at..]
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '-')
        .collect();
    home.ctl(["usage", "budget", "raise", &id, "900000 tokens"])
        .exits(0);
    home.ctl(["run", "-s", "b", "-m", "demo", "demo: say on"])
        .exits(0);
}
