//! `agentctl tasks` against a real daemon: changes reach TASKS.md, hand edits come back, claims end, runs go to review.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A home, a workspace and a daemon that ends with the test.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let beside = Path::new(env!("CARGO_BIN_EXE_agentctl")).with_file_name("agentd");
        assert!(
            beside.is_file(),
            "{} is missing: cargo build --workspace",
            beside.display()
        );
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "shop"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    fn work(&self) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join("shop")
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_agentctl"))
            .args(words)
            .current_dir(self.work())
            .stdin(Stdio::null())
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .output()
            .unwrap()
    }

    /// Asks until there is an answer.
    fn until<T>(&self, mut ask: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no end in sight");
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.run(&["daemon", "stop"]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

const FILE: &str = "# Tasks\n\n| ID | Title | Status | Priority | Owner | Notes |\n|---|---|---|---|---|---|\n\
| T-1 | Say hello | Todo | High | | |\n| T-2 | Say more | Todo | Low | | waits T-1 |\n";

#[test]
fn the_board_is_the_file_and_the_file_is_the_board() {
    let home = Home::new();
    fs::create_dir_all(home.work().join("docs")).unwrap();
    let path = home.work().join("docs/TASKS.md");
    fs::write(&path, FILE).unwrap();
    let file = || fs::read_to_string(&path).unwrap();

    let list = home.run(&["tasks", "list", "-o", "json"]);
    let list = json(&list.stdout);
    assert_eq!(list[0]["task_id"], "T-1");
    assert_eq!(list[1]["open_waits"][0], "T-1");
    let plain = home.run(&["tasks", "list", "--no-header", "--fields", "id,state"]);
    assert_eq!(text(&plain.stdout), "T-1\ttodo\nT-2\ttodo\n");

    assert_eq!(
        text(
            &home
                .run(&["tasks", "add", "New", "one", "--priority", "P2"])
                .stdout
        ),
        "T-3\n"
    );
    // Without the padding that keeps columns in line.
    let rows = || {
        let words = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
        file().lines().map(words).collect::<Vec<_>>().join("\n")
    };
    assert!(rows().contains("| T-3 | New one | Todo | P2"));
    // A status as the file writes it does as well.
    assert!(
        home.run(&["tasks", "move", "T-3", "In Progress"])
            .status
            .success()
    );
    assert!(rows().contains("| T-3 | New one | In Progress | P2"));
    assert!(home.run(&["tasks", "move", "T-3", "review"]).status.success());
    assert!(rows().contains("| T-3 | New one | Review | P2"));
    assert!(home.run(&["tasks", "note", "t-3", "see", "#4"]).status.success());
    assert!(file().contains("see #4"));

    // An unknown task is 3, a waiting one 6, a commit that is none 3; nothing is written for any of them.
    let before = file();
    assert_eq!(home.run(&["tasks", "show", "T-99"]).status.code(), Some(3));
    assert_eq!(home.run(&["tasks", "claim", "T-2"]).status.code(), Some(6));
    assert_eq!(
        home.run(&["tasks", "done", "T-3", "--link", "deadbeef"])
            .status
            .code(),
        Some(3)
    );
    assert_eq!(
        home.run(&["tasks", "move", "T-3", "sideways"]).status.code(),
        Some(2)
    );
    assert_eq!(file(), before);

    // A hand edit and an edit of the same field: both are kept, exit 6; then a side is chosen.
    let mut clash = None;
    let mut title = "Say hello";
    for _ in 0..50 {
        fs::write(&path, file().replace(title, "Say it by hand")).unwrap();
        let ran = home.run(&["tasks", "edit", "T-1", "--title", "Say it here"]);
        if !ran.status.success() {
            clash = Some(ran);
            break;
        }
        // The board had read the hand edit before the client came: one follows the other.
        assert!(file().contains("Say it here"));
        title = "Say it here";
    }
    let clash = clash.expect("the client is faster now and then");
    assert_eq!(clash.status.code(), Some(6), "{}", text(&clash.stderr));
    assert!(text(&clash.stderr).contains("[task_conflict]"));
    assert!(file().contains("Say it by hand"));
    assert!(
        home.run(&["tasks", "sync", "T-1", "--keep", "board"])
            .status
            .success()
    );
    assert!(file().contains("Say it here"));

    // A file in a merge is reported by its line and left alone.
    let good = file();
    let merge = good.replace("| T-2", "<<<<<<< HEAD\n| T-2") + "=======\n>>>>>>> other\n";
    fs::write(&path, &merge).unwrap();
    let refused = home.run(&["tasks", "move", "T-1", "done"]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(
        text(&refused.stderr).contains("docs/TASKS.md:6"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(file(), merge);
    fs::write(&path, &good).unwrap();

    // In the background, by the demo model, to review; what it cost counts for the task.
    let started = home.run(&["tasks", "run", "T-1", "-m", "demo"]);
    assert!(started.status.success(), "{}", text(&started.stderr));
    let session = text(&started.stdout).trim().to_owned();
    let shown = home.until(|| {
        let shown = json(&home.run(&["tasks", "show", "T-1", "-o", "json"]).stdout);
        if shown["state"] == "in_progress" {
            for one in json(&home.run(&["approvals", "list", "-o", "json"]).stdout)
                .as_array()
                .unwrap()
            {
                home.run(&["approve", one["approval_id"].as_str().unwrap()]);
            }
        }
        (shown["state"] != "in_progress" && shown["claim"].is_null()).then_some(shown)
    });
    assert_eq!(shown["state"], "review", "{shown:#}");
    assert_eq!(shown["sessions"][0]["session_id"], session.as_str());
    assert!(shown["requests"].as_u64().unwrap() > 0);
    assert!(rows().contains("| T-1 | Say it here | Review"), "{}", file());
}
