//! Owns: what goes on in a jail while no daemon is there, and is found by the next one.
//! Guarantees: the order of things is made with files in the project, not with time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

mod support;

use std::io::Write as _;
use std::process::Stdio;
use std::time::Instant;

use support::{TestDaemon, finish, until};

/// Runs until told; says when it is over.
const SCRIPT: &str = "echo begun; touch begun; while ! [ -e go ]; do sleep 0.02; done; seq 1000; echo oops >&2; touch over; (exit 9)";

#[test]
fn a_command_that_ends_without_a_daemon_keeps_its_end() {
    let mut home = TestDaemon::start();
    let mut command = home.agentctl([
        "--no-autostart",
        "exec",
        "--name",
        "n",
        "-o",
        "json",
        "--",
        SCRIPT,
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let child = command.spawn().unwrap();
    let here = home.project();
    until("the command runs", || here.join("begun").exists().then_some(()));
    home.kill9();
    std::fs::write(here.join("go"), "").unwrap();
    until("it is over", || here.join("over").exists().then_some(()));
    home.restart();
    let ran = finish(child, "exec without a daemon", started).exits(9);
    let end = ran.json();
    let numbers: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    assert_eq!(end["stdout"], format!("begun\n{numbers}"), "{ran}");
    assert_eq!(
        (&end["stderr"], &end["exit_code"]),
        (&"oops\n".into(), &9.into()),
        "{ran}"
    );
}

#[test]
fn a_tool_call_whose_command_ends_without_a_daemon_gets_its_result() {
    let mut home = TestDaemon::start();
    let prompt = format!("demo:\nrun {SCRIPT}\nsay after");
    home.ctl(["run", "-d", "--name", "n", "--model", "demo", &prompt])
        .exits(0);
    let here = home.project();
    until("the command runs", || here.join("begun").exists().then_some(()));
    home.kill9();
    std::fs::write(here.join("go"), "").unwrap();
    until("it is over", || here.join("over").exists().then_some(()));
    home.restart();
    home.ctl(["wait", "n", "--timeout", "20s"]).exits(0);
    let events = home.ctl(["logs", "n", "--events", "-o", "jsonl"]).exits(0).out();
    let ends: Vec<&str> = events
        .lines()
        .filter(|line| line.contains("exit code 9"))
        .collect();
    assert_eq!(ends.len(), 1, "one result, once: {events}");
    assert!(ends[0].contains("oops"), "{}", ends[0]);
    assert!(!events.contains("outcome unknown"), "{events}");
    // The model is told at the start of the next turn.
    home.ctl(["run", "-s", "n", "--model", "demo", "demo: say again"])
        .exits(0);
}

#[test]
fn input_goes_on_after_a_kill() {
    let mut home = TestDaemon::start();
    let script = "read a; echo got $a; touch first; cat";
    let mut command = home.agentctl(["--no-autostart", "exec", "--name", "n", "--stdin", "--", script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    let here = home.project();
    until("the first line arrived", || {
        here.join("first").exists().then_some(())
    });
    home.kill9();
    home.restart();
    input.write_all(b"two\nthree\n").unwrap();
    drop(input);
    let ran = finish(child, "exec --stdin over a kill", started).exits(0);
    assert_eq!(
        ran.out(),
        "got one\ntwo\nthree\n",
        "each line once, in order: {ran}"
    );
}
