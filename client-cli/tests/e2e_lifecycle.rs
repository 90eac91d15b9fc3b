//! Owns: the life of a session through agentctl: pause, archive, trash, and what others see of it.
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

use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{TestDaemon, finish, until};

fn show(home: &TestDaemon, session: &str) -> serde_json::Value {
    home.ctl(["sessions", "show", session, "-o", "json"])
        .exits(0)
        .json()
}

fn lines(home: &TestDaemon) -> usize {
    std::fs::read_to_string(home.project().join("ticks")).map_or(0, |text| text.lines().count())
}

/// A turn whose command writes a line every 20 ms and takes a second and a half of its own time.
const TICKING: &str =
    "demo: run i=0; while [ $i -lt 75 ]; do echo $i >>ticks; sleep 0.02; i=$((i+1)); done\nsay ticked";

#[test]
fn a_paused_turn_stands_still_with_its_clock_and_goes_on_only_when_resumed() {
    let home = TestDaemon::start();
    let mut turn = home.agentctl(["run", "--name", "t", "--model", "demo", "--last", TICKING]);
    turn.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (turn, begun) = (turn.spawn().unwrap(), Instant::now());
    until("it ticks", || (lines(&home) > 3).then_some(()));
    home.ctl(["sessions", "pause", "t", "--reason", "lunch"]).exits(0);
    assert_eq!(show(&home, "t")["state"], "paused");
    assert_eq!(show(&home, "t")["pause_reason"], "lunch");
    // What was on its way when the pause was committed is written by the time the next command is answered.
    let ran = home.ctl(["exec", "-s", "t", "--", "true"]);
    assert_eq!(ran.code, 6, "{ran}");
    assert!(
        ran.err().contains("paused: lunch") && ran.err().contains("sessions resume"),
        "{ran}"
    );
    let still = until("it stands still", || {
        let before = lines(&home);
        home.ctl(["sessions", "show", "t"]).exits(0);
        home.ctl(["sessions", "show", "t"]).exits(0);
        (lines(&home) == before).then_some(before)
    });
    for _ in 0..10 {
        home.ctl(["sessions", "show", "t"]).exits(0);
    }
    assert_eq!(lines(&home), still);
    let ran = home.ctl(["send", "t", "are you there?"]);
    assert!(ran.code != 0 && ran.err().contains("[wrong_state]"), "{ran}");
    home.ctl(["sessions", "pause", "t"]).exits(6);
    home.ctl(["sessions", "resume", "t"]).exits(0);
    let ran = finish(turn, "the turn", begun).exits(0);
    assert!(ran.out().ends_with("ticked\n") && lines(&home) == 75, "{ran}");
    home.ctl(["sessions", "resume", "t"]).exits(6);
}

#[test]
fn time_limits_stand_still_in_a_paused_session() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "x", "--", "true"]).exits(0);
    let words = [
        "exec",
        "-s",
        "x",
        "--timeout",
        "2s",
        "--",
        "echo >>ticks; sleep 1; echo out",
    ];
    let mut command = home.agentctl(words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (child, begun) = (command.spawn().unwrap(), Instant::now());
    until("it runs", || (lines(&home) == 1).then_some(()));
    home.ctl(["sessions", "pause", "x"]).exits(0);
    // Longer than the limit, by the only clock there is.
    until("the limit is over", || {
        (begun.elapsed() > Duration::from_millis(2300)).then_some(())
    });
    home.ctl(["sessions", "resume", "x"]).exits(0);
    let ran = finish(child, "the command", begun).exits(0);
    assert_eq!(ran.out(), "out\n");
}

#[test]
fn a_pause_outlives_the_daemon_and_starts_nothing() {
    let mut home = TestDaemon::start();
    home.ctl(["exec", "--name", "x", "--", "true"]).exits(0);
    home.ctl(["sessions", "pause", "x"]).exits(0);
    home.kill9();
    home.restart();
    assert_eq!(show(&home, "x")["state"], "paused");
    home.ctl(["exec", "-s", "x", "--", "true"]).exits(6);
    home.ctl(["sessions", "resume", "x"]).exits(0);
    home.ctl(["exec", "-s", "x", "--", "true"]).exits(0);
}

#[test]
fn an_interrupt_reaches_a_paused_turn() {
    let home = TestDaemon::start();
    home.ctl([
        "run",
        "-d",
        "--name",
        "t",
        "--model",
        "demo",
        "demo: run echo >>ticks; sleep 1000",
    ])
    .exits(0);
    until("it runs", || (lines(&home) == 1).then_some(()));
    home.ctl(["sessions", "pause", "t"]).exits(0);
    home.ctl(["interrupt", "t"]).exits(0);
    until("the turn has ended", || {
        show(&home, "t")["turn_id"]
            .as_str()
            .unwrap()
            .is_empty()
            .then_some(())
    });
    assert_eq!(show(&home, "t")["state"], "paused");
    home.ctl(["sessions", "resume", "t"]).exits(0);
    assert_eq!(show(&home, "t")["state"], "ready");
    home.ctl(["run", "-s", "t", "--model", "demo", "--last", "demo: say again"])
        .exits(0);
}

#[test]
fn archive_and_trash_hide_and_give_back() {
    let home = TestDaemon::start();
    let id = home
        .ctl(["sessions", "new", "--name", "build"])
        .exits(0)
        .out()
        .trim()
        .to_owned();
    home.ctl(["exec", "-s", "build", "--", "cd /; kept=yes; export kept"])
        .exits(0);
    home.ctl(["sessions", "archive", "build"]).exits(0);
    assert_eq!(
        home.ctl(["-o", "json", "sessions", "list"]).exits(0).json(),
        serde_json::json!([])
    );
    home.ctl(["sessions", "archive", &id]).exits(6);
    let ran = home.ctl(["run", "-s", "build", "--model", "demo", "hi"]);
    assert!(ran.code == 6 && ran.err().contains("sessions unarchive"), "{ran}");
    // Its name is free, and then in the way.
    home.ctl(["sessions", "new", "--name", "build"]).exits(0);
    let ran = home.ctl(["sessions", "unarchive", &id]);
    assert!(ran.code == 6 && ran.err().contains("[name_taken]"), "{ran}");
    home.ctl(["sessions", "rename", &id, "older"]).exits(0);
    home.ctl(["sessions", "unarchive", "older"]).exits(0);
    assert_eq!(
        home.ctl(["exec", "-s", "older", "--", "echo $kept"])
            .exits(0)
            .out(),
        "yes\n"
    );

    // Off a terminal nothing is deleted by accident.
    let ran = home.ctl(["sessions", "delete", "older"]).exits(2);
    assert!(
        ran.err().contains("--yes") && ran.err().contains("2 commands"),
        "{ran}"
    );
    assert_eq!(show(&home, "older")["state"], "ready");
    let ran = home.ctl(["rm", "--yes", "older"]).exits(0);
    assert!(
        ran.err().contains("sessions restore") && ran.err().contains("stays as it is"),
        "{ran}"
    );
    assert!(home.project().is_dir());
    assert_eq!(show(&home, &id)["state"], "deleted");
    let trash = home
        .ctl(["-o", "json", "sessions", "list", "--state", "deleted"])
        .exits(0)
        .json();
    assert_eq!(trash.as_array().unwrap().len(), 1);
    let ran = home.ctl(["exec", "-s", &id, "--", "true"]);
    assert!(ran.code == 6 && ran.err().contains("in the trash"), "{ran}");
    home.ctl(["sessions", "restore", &id]).exits(0);
    assert_eq!(
        home.ctl(["exec", "-s", "older", "--", "echo $kept"])
            .exits(0)
            .out(),
        "yes\n"
    );

    // For good.
    home.ctl(["sessions", "delete", "--purge", "--yes", "older"])
        .exits(0);
    home.ctl(["sessions", "show", &id]).exits(3);
    home.ctl(["sessions", "restore", &id]).exits(3);
}

#[test]
fn a_deleted_session_is_at_rest_within_two_seconds_and_its_watchers_hear_of_it() {
    let home = TestDaemon::start();
    home.ctl([
        "run",
        "-d",
        "--name",
        "t",
        "--model",
        "demo",
        "demo: run echo >>ticks; sleep 1000",
    ])
    .exits(0);
    until("it runs", || (lines(&home) == 1).then_some(()));
    let mut follow = home.agentctl(["logs", "t", "-f", "-o", "jsonl"]);
    let out = std::fs::File::create(home.path().join("followed")).unwrap();
    follow.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
    let mut follow = follow.spawn().unwrap();
    let ran = home.ctl(["sessions", "delete", "--yes", "t"]).exits(0);
    assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
    assert!(ran.err().contains("at work"), "{ran}");
    until("the watcher hears of it", || {
        let text = std::fs::read_to_string(home.path().join("followed")).unwrap();
        text.contains("session.deleted").then_some(())
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(home.processes().is_empty() || home.ctl(["daemon", "status", "-o", "json"]).json()["jails"] == 0);
}
