//! Owns: what holds when the store can't write: a full disk, a second writer.
//! Guarantees: the disk is a real one of a few MiB; the lock is a real lock of another connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

mod support;

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Instant;

use support::{Ran, TestDaemon, finish, until};

/// Tries until a write is refused; a log that was checkpointed has room for some.
const TRIES: usize = 200;

fn begin(home: &TestDaemon, args: &[&str]) -> Child {
    let mut command = home.agentctl(args);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Takes all that is left of the daemon's disk.
fn fill(home: &TestDaemon) {
    let mut file = std::fs::File::create(home.on_disk("ballast")).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Whether any command's output has come so far.
fn kept_output(home: &TestDaemon) -> bool {
    let sessions = std::fs::read_dir(home.on_disk("spool")).unwrap().flatten();
    let mut files = sessions.flat_map(|dir| std::fs::read_dir(dir.path()).unwrap().flatten());
    files.any(|file| {
        let name = file.file_name();
        let run = name.to_string_lossy().starts_with("x-");
        run && file.metadata().is_ok_and(|meta| meta.len() > 0)
    })
}

fn lines(home: &TestDaemon, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(home.project().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Commands that leave a line each, until one is refused for want of space. Which were acknowledged.
fn write_until_refused(home: &TestDaemon) -> (Vec<String>, Ran) {
    let mut acknowledged = Vec::new();
    for n in 0..TRIES {
        let name = format!("line-{n}");
        // Renaming writes to the store alone: no command waits for its end to be written.
        let ran = home.ctl(["sessions", "rename", "n", &name]);
        if ran.code != 0 {
            return (acknowledged, ran);
        }
        home.ctl(["sessions", "rename", &name, "n"]);
        acknowledged.push(name);
    }
    panic!("the disk never filled");
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_loses_nothing() {
    let home = TestDaemon::with_disk("8m");
    home.ctl(["exec", "--name", "n", "--", "echo one >>ran"]).exits(0);
    // One that ends while nothing can be written: its end must come all the same.
    let script = "echo begun; touch begun; while ! [ -e go ]; do sleep 0.02; done; echo two >>ran; (exit 9)";
    let started = Instant::now();
    let child = begin(&home, &["exec", "--name", "m", "--", script]);
    until("the command runs", || {
        home.project().join("begun").exists().then_some(())
    });
    until("its first words are kept", || kept_output(&home).then_some(()));
    fill(&home);
    let (_, refused) = write_until_refused(&home);
    assert!(refused.err().contains("[storage_full]"), "{refused}");
    assert!(refused.err().contains("next:"), "{refused}");
    std::fs::write(home.project().join("go"), "").unwrap();
    until("it has ended in its jail", || {
        (lines(&home, "ran").len() == 2).then_some(())
    });
    // A command is refused before it begins.
    let ran = home.ctl(["exec", "-s", "m", "--timeout", "5s", "--", "echo three >>ran"]);
    assert_ne!(ran.code, 0, "{ran}");
    assert!(ran.err().contains("[storage_full]"), "{ran}");
    // Reading goes on.
    home.ctl(["sessions", "list"]).exits(0);
    home.ctl(["sessions", "show", "m"]).exits(0);
    let logs = home.ctl(["logs", "m", "--events", "-o", "jsonl"]).exits(0);
    assert!(logs.out().contains("while ! [ -e go ]"), "{logs}");
    // Space returns, and with it everything that was held back.
    std::fs::remove_file(home.on_disk("ballast")).unwrap();
    let ran = finish(child, "exec over a full disk", started).exits(9);
    assert_eq!(ran.out(), "begun\n", "{ran}");
    // Who waited was told why.
    assert!(ran.err().contains("its end waits: the disk"), "{ran}");
    home.ctl(["exec", "-s", "m", "--", "echo four >>ran"]).exits(0);
    assert_eq!(
        lines(&home, "ran"),
        ["one", "two", "four"],
        "each once, the refused one never"
    );
}

#[test]
fn a_second_writer_is_named_and_waited_for() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "n", "--", "echo one >>ran"]).exits(0);
    let script = "touch begun; while ! [ -e go ]; do sleep 0.02; done; echo two >>ran; (exit 9)";
    let started = Instant::now();
    let child = begin(&home, &["exec", "--name", "m", "--", script]);
    until("the command runs", || {
        home.project().join("begun").exists().then_some(())
    });
    let other = rusqlite::Connection::open(home.state().join("agentd.db")).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::fs::write(home.project().join("go"), "").unwrap();
    let ran = home.ctl(["exec", "-s", "n", "--", "echo three >>ran"]);
    assert_ne!(ran.code, 0, "{ran}");
    assert!(ran.err().contains("[storage_locked]"), "{ran}");
    home.ctl(["sessions", "list"]).exits(0);
    home.ctl(["logs", "n"]).exits(0);
    until("it has ended in its jail", || {
        (lines(&home, "ran").len() == 2).then_some(())
    });
    other.execute_batch("ROLLBACK").unwrap();
    finish(child, "exec over a lock", started).exits(9);
    home.ctl(["exec", "-s", "n", "--", "echo four >>ran"]).exits(0);
    assert_eq!(lines(&home, "ran"), ["one", "two", "four"]);
}
