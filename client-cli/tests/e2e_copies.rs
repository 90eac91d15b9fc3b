//! Owns: search, forks, bundles, redaction and storage through agentctl.
//! Guarantees: every case runs the real programs in a home of its own, with real jails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use support::TestDaemon;

const SECRET: &str = "correct-horse-battery";

fn hits(home: &TestDaemon, words: &[&str]) -> Vec<serde_json::Value> {
    let mut line = vec!["-o", "json", "search"];
    line.extend_from_slice(words);
    home.ctl(line).exits(0).json().as_array().unwrap().clone()
}

fn events(home: &TestDaemon, session: &str) -> Vec<serde_json::Value> {
    home.ctl(["logs", session, "--events", "-o", "jsonl"])
        .exits(0)
        .lines()
}

#[test]
fn words_are_found_in_messages_commands_and_results_and_no_longer_once_purged() {
    let home = TestDaemon::start();
    home.ctl([
        "run",
        "--name",
        "t",
        "--model",
        "demo",
        "demo: run echo narwhal-output\nsay unicorn answer 日本語の文",
    ])
    .exits(0);
    home.ctl(["exec", "--name", "x", "--", "true zebra-command"])
        .exits(0);
    for (words, kind) in [
        (&["narwhal-output"][..], "tool_call_finished"),
        (&["unicorn", "answ"], "step_finished"),
        (&["zebra-command"], "exec_started"),
        (&["本語"], "step_finished"),
        (&["UNICORN"], "step_finished"),
    ] {
        let found = hits(&home, words);
        assert!(
            found.iter().any(|hit| hit["kind"] == kind),
            "{words:?}: {found:?}"
        );
        assert!(
            found
                .iter()
                .all(|hit| !hit["snippet"].as_str().unwrap().is_empty())
        );
    }
    assert!(hits(&home, &["nowhere-at-all"]).is_empty());
    assert!(hits(&home, &["\"", "OR", "*"]).is_empty(), "words are no syntax");
    for nothing in ["", "  ", "\"*"] {
        let no = home.ctl(["search", nothing]).exits(2);
        assert!(no.err().contains("nothing to look for"), "{}", no.err());
    }
    home.ctl(["sessions", "archive", "t"]).exits(0);
    assert!(hits(&home, &["unicorn"]).is_empty() && !hits(&home, &["--all", "unicorn"]).is_empty());
    home.ctl(["rm", "--yes", "t"]).exits(0);
    assert!(hits(&home, &["--all", "unicorn"]).is_empty());
    home.ctl(["rm", "--yes", "--purge", "x"]).exits(0);
    assert!(hits(&home, &["--all", "zebra-command"]).is_empty());
}

#[test]
fn a_fork_begins_where_the_original_stood_and_goes_its_own_way() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "a", "--", "kept=one; export kept; echo first"])
        .exits(0);
    home.ctl(["exec", "-s", "a", "--", "kept=two"]).exits(0);
    let fork = home
        .ctl(["sessions", "fork", "a", "--name", "b"])
        .exits(0)
        .out()
        .trim()
        .to_owned();
    assert_eq!(
        home.ctl(["exec", "-s", "b", "--", "echo $kept"]).exits(0).out(),
        "two\n"
    );
    home.ctl(["exec", "-s", "b", "--", "kept=three"]).exits(0);
    assert_eq!(
        home.ctl(["exec", "-s", "a", "--", "echo $kept"]).exits(0).out(),
        "two\n"
    );
    let (original, copy) = (events(&home, "a"), events(&home, &fork));
    let types = |log: &[serde_json::Value]| log.iter().take(4).map(|e| e["type"].clone()).collect::<Vec<_>>();
    assert_eq!(types(&original), types(&copy));
    assert!(copy.iter().any(|e| e["type"] == "session.forked"), "{copy:?}");
    // Its commands' output came along.
    assert!(
        home.ctl(["logs", "b", "--shell"])
            .exits(0)
            .out()
            .contains("first")
    );
    // Earlier than the head: a fresh shell.
    home.ctl(["sessions", "fork", "a", "--at", "3", "--name", "c"])
        .exits(0);
    assert_eq!(
        home.ctl(["exec", "-s", "c", "--", "echo \"[$kept]\""])
            .exits(0)
            .out(),
        "[]\n"
    );
    home.ctl(["sessions", "fork", "a", "--at", "9999"]).exits(2);
    let taken = home.ctl(["sessions", "fork", "a", "--name", "b"]);
    assert!(taken.code == 6 && taken.err().contains("[name_taken]"), "{taken}");
}

#[test]
fn a_bundle_travels_and_is_believed_in_nothing() {
    let home = TestDaemon::start();
    let secret = format!("sk-{}", "a1b2c3d4".repeat(4));
    home.ctl([
        "run",
        "--name",
        "t",
        "--model",
        "demo",
        "demo: run echo hello\nsay done",
    ])
    .exits(0);
    home.ctl(["exec", "-s", "t", "--", &format!("echo {secret}")])
        .exits(0);
    let file = home.path().join("t.jsonl");
    let path = file.to_str().unwrap();
    let ran = home.ctl(["-o", "json", "sessions", "export", "t", path]).exits(0);
    let report = ran.json()["report"].clone();
    assert!(report["redacted"]["api-key"].as_u64().unwrap() >= 2, "{report}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&secret));
    // A file is never overwritten.
    home.ctl(["sessions", "export", "t", path]).exits(2);

    let id = home
        .ctl(["sessions", "import", path, "--name", "u"])
        .exits(0)
        .out()
        .trim()
        .to_owned();
    let copy = events(&home, &id);
    assert!(copy.iter().any(|e| e["type"] == "session.imported"), "{copy:?}");
    assert!(
        copy.iter()
            .any(|e| e["principal"].as_str().is_some_and(|p| p.ends_with("@import")))
    );
    let shown = home.ctl(["-o", "json", "sessions", "show", "u"]).exits(0).json();
    assert_eq!(
        (shown["state"].as_str(), shown["jail"].as_str()),
        (Some("ready"), Some("bwrap"))
    );
    assert_eq!(
        home.ctl(["exec", "-s", "u", "--", "echo fine"]).exits(0).out(),
        "fine\n"
    );

    // Changed, cut off, or no bundle at all: refused whole, with the line.
    let before = home.ctl(["-o", "json", "sessions", "list"]).exits(0).json();
    let lines: Vec<&str> = text.lines().collect();
    for (what, bad) in [
        ("checksum", text.replacen("hello", "HELLO", 1)),
        ("cut off", lines[..lines.len() - 1].join("\n") + "\n"),
        (
            "not one of ours",
            text.replacen("\"body\"", "\"sandbox\":\"off\",\"body\"", 1),
        ),
        ("line 1", "hello\n".to_owned()),
    ] {
        std::fs::write(&file, bad).unwrap();
        let ran = home.ctl(["sessions", "import", path]).exits(2);
        assert!(ran.err().contains(what), "{what}: {ran}");
    }
    assert_eq!(
        home.ctl(["-o", "json", "sessions", "list"]).exits(0).json(),
        before
    );
}

#[test]
fn what_was_redacted_is_nowhere_and_order_stays() {
    let home = TestDaemon::start();
    home.ctl([
        "run",
        "--name",
        "t",
        "--model",
        "demo",
        &format!("demo: run echo {SECRET}\nsay ok"),
    ])
    .exits(0);
    home.ctl(["exec", "-s", "t", "--", &format!("kept={SECRET}; echo {SECRET}")])
        .exits(0);
    let before = events(&home, "t");
    assert!(!hits(&home, &[SECRET]).is_empty());
    home.ctl(["sessions", "redact", "t", "--text", SECRET]).exits(2);
    home.ctl([
        "sessions", "redact", "--yes", "t", "--text", SECRET, "--reason", "leaked",
    ])
    .exits(0);
    let after = events(&home, "t");
    assert_eq!(after.len(), before.len() + 1);
    let order = |log: &[serde_json::Value]| {
        log.iter()
            .map(|e| (e["seq"].clone(), e["type"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(order(&before), order(&after[..before.len()]));
    assert_eq!(after.last().unwrap()["type"], "redacted");
    assert!(!format!("{after:?}").contains(SECRET));
    assert!(hits(&home, &[SECRET]).is_empty());
    assert!(!home.ctl(["logs", "t", "--shell"]).exits(0).out().contains(SECRET));
    // The model's next turn does not have it either, and the bytes are gone from the disk.
    home.ctl(["run", "-s", "t", "--model", "demo", "--last", "demo: say next"])
        .exits(0);
    let mut files = vec![home.state()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        } else if path.is_file() {
            let data = std::fs::read(&path).unwrap();
            let found = data
                .windows(SECRET.len())
                .any(|window| window == SECRET.as_bytes());
            assert!(!found, "{} still has it", path.display());
        }
    }
    let ran = home.ctl(["sessions", "redact", "--yes", "t", "--text", SECRET]);
    assert!(ran.code == 2 && ran.err().contains("nothing"), "{ran}");
}

#[test]
fn storage_is_reported_and_pruned() {
    let home = TestDaemon::start();
    home.ctl([
        "exec",
        "--name",
        "x",
        "--",
        "head -c 100000 /dev/zero | tr '\\0' a",
    ])
    .exits(0);
    let report = || home.ctl(["-o", "json", "storage", "report"]).exits(0).json();
    assert_eq!(report()["output_bytes"], 100_000);
    assert_eq!(report()["largest"][0]["name"], "x");
    home.ctl(["storage", "prune", "--older-than", "1ms", "--dry-run"])
        .exits(0);
    assert_eq!(report()["output_bytes"], 100_000);
    home.ctl(["storage", "prune", "--older-than", "1ms"]).exits(0);
    assert_eq!(report()["output_bytes"], 0);
    home.ctl(["rm", "--yes", "x"]).exits(0);
    assert_eq!(report()["deleted_sessions"], 1);
    home.ctl(["storage", "prune", "--trash"]).exits(0);
    assert_eq!(report()["deleted_sessions"], 0);
}
