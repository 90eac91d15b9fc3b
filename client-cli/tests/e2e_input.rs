//! Owns: commands that wait for input and those left in the background, as people and programs meet them.
//! Guarantees: every case runs the real programs in a home of its own; input is compared byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::io::Write as _;
use std::process::Stdio;

use support::{TestDaemon, finish, until};

#[test]
fn a_command_that_waits_is_seen_and_answered_from_elsewhere() {
    let mut home = TestDaemon::start();
    let script = "printf 'Overwrite? [y/N] '; read x; echo got $x; read y; echo then $y";
    let mut command = home.agentctl(["--no-autostart", "exec", "--name", "w", "--stdin", "--", script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let begun = std::time::Instant::now();
    let mut waiting = command.spawn().unwrap();
    // Kept open: nobody answers there.
    let held = waiting.stdin.take();
    let shown = |home: &TestDaemon| home.ctl(["sessions", "show", "w", "-o", "json"]).exits(0).json();
    let asked = |home: &TestDaemon, line: &str| {
        until("it is seen to wait", || {
            // The session is being made.
            let ran = home.ctl(["sessions", "show", "w", "-o", "json"]);
            let show = (!ran.out().is_empty()).then(|| ran.json())?;
            (show["waiting"]["line"] == line).then_some(show)
        })
    };
    let show = asked(&home, "Overwrite? [y/N]");
    assert_eq!(show["state"], "needs-you", "{show}");
    assert_eq!(show["waiting"]["pty"], false, "{show}");
    let list = home
        .ctl(["sessions", "list", "--state", "needs-you", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(list[0]["name"], "w", "{list}");
    home.ctl(["send", "w", "--stdin", "yes"]).exits(0);
    asked(&home, "Overwrite? [y/N] got yes");
    // The next daemon sees it too.
    home.kill9();
    home.restart();
    asked(&home, "Overwrite? [y/N] got yes");
    home.ctl(["send", "w", "--stdin", "no"]).exits(0);
    let ran = finish(waiting, "exec", begun).exits(0);
    drop(held);
    assert_eq!(ran.out(), "Overwrite? [y/N] got yes\nthen no\n", "{ran}");
    let show = shown(&home);
    assert!(show["waiting"].is_null() && show["state"] == "ready", "{show}");
    let refused = home.ctl(["send", "w", "--stdin", "yes"]).exits(6);
    assert!(refused.err().contains("waits for input"), "{refused}");
}

#[test]
fn input_of_a_command_survives_the_daemon_byte_for_byte() {
    let mut home = TestDaemon::start();
    let mut command = home.agentctl([
        "--no-autostart",
        "exec",
        "--name",
        "in",
        "--stdin",
        "--",
        "cat >copy; echo done",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let begun = std::time::Instant::now();
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let block: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    let copy = home.project().join("copy");
    let mut sent = Vec::new();
    for round in 0..6 {
        stdin.write_all(&block).unwrap();
        sent.extend_from_slice(&block);
        if round % 2 == 0 {
            // In the middle: some of it is read by nobody yet.
            until("some of it has come", || {
                std::fs::metadata(&copy)
                    .is_ok_and(|file| file.len() > 0)
                    .then_some(())
            });
            home.kill9();
            home.restart();
        }
    }
    drop(stdin);
    let ran = finish(child, "exec", begun).exits(0);
    assert_eq!(ran.out(), "done\n", "{ran}");
    assert!(
        std::fs::read(&copy).unwrap() == sent,
        "every byte once and in order"
    );
}

#[test]
fn background_jobs_are_listed_and_ended_and_their_late_output_is_kept() {
    let mut home = TestDaemon::start();
    let ticking = "(while :; do echo tick; sleep 0.05; done) & echo first";
    let ran = home
        .ctl(["exec", "--name", "j", "-o", "json", "--", ticking])
        .exits(0)
        .json();
    let ticker = ran["exec_id"].as_str().unwrap().to_owned();
    home.ctl(["exec", "--name", "j", "--", "sleep 1000 >/dev/null 2>&1 &"])
        .exits(0);
    home.ctl(["exec", "--name", "j", "--", "echo nothing"]).exits(0);
    let jobs = |home: &TestDaemon| {
        let show = home.ctl(["sessions", "show", "j", "-o", "json"]).exits(0).json();
        show["background"].as_array().unwrap().clone()
    };
    let two = |home: &TestDaemon| {
        let all = jobs(home);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0]["exec_id"], ticker.as_str(), "{all:?}");
        assert_eq!(all[0]["output_open"], true, "{all:?}");
        assert_eq!(all[1]["output_open"], false, "{all:?}");
        assert_eq!(all[1]["processes"][0]["command"], "sleep 1000", "{all:?}");
        all
    };
    two(&home);
    home.kill9();
    home.restart();
    let all = two(&home);
    let text = home.ctl(["sessions", "show", "j", "-o", "plain"]).exits(0);
    assert!(text.out().contains("sleep 1000 >/dev/null"), "{text}");
    home.ctl(["interrupt", "j", "--exec", &ticker]).exits(0);
    until("one is gone", || (jobs(&home).len() == 1).then_some(()));
    let sleeper = all[1]["exec_id"].as_str().unwrap();
    home.ctl(["interrupt", "j", "--exec", sleeper]).exits(0);
    until("both are gone", || jobs(&home).is_empty().then_some(()));
    home.ctl(["interrupt", "j", "--exec", &ticker]).exits(3);
    let log = home.ctl(["logs", "j", "--shell"]).exits(0).out();
    let ticks = log
        .lines()
        .filter(|line| line.contains("tick") && !line.contains("while"))
        .count();
    assert!(ticks > 1, "late output is kept with its command: {log}");
}
