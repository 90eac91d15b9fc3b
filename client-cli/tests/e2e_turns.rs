//! Owns: turns through agentctl: output forms, prompts, interrupts, waiting, approvals from a second terminal.
//! Guarantees: every case runs the real programs in a home of its own, with the demo model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{TestDaemon, finish, run, signal, until};

/// A command that says when it runs, and runs until told otherwise.
const ENDLESS: &str = "demo: run touch begun; sleep 1000";

fn background(home: &TestDaemon, words: &[&str]) -> Child {
    let mut command = home.agentctl(words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn begun(home: &TestDaemon) {
    until("the command runs", || {
        home.project().join("begun").exists().then_some(())
    });
}

fn state(home: &TestDaemon, session: &str) -> String {
    let show = home
        .ctl(["sessions", "show", session, "-o", "json"])
        .exits(0)
        .json();
    show["state"].as_str().unwrap().replace('_', "-")
}

fn needs_you(home: &TestDaemon, session: &str) {
    until("the session is there", || {
        (home
            .ctl(["wait", session, "--for", "needs-you", "--timeout", "20s"])
            .code
            == 0)
            .then_some(())
    });
}

#[test]
fn off_a_terminal_the_answer_alone_is_on_standard_output() {
    let home = TestDaemon::start();
    let ran = home
        .ctl(["run", "--model", "demo", "demo: run echo noise\nsay the answer"])
        .exits(0);
    assert!(ran.out().ends_with("the answer\n"), "{ran}");
    assert!(
        !ran.out().contains('\u{1b}') && !ran.err().contains(['\u{1b}', '\r']),
        "{ran}"
    );
    assert!(ran.err().contains("demo model"), "marked as a demo: {ran}");
    let ran = home
        .ctl(["-q", "run", "--model", "demo", "demo: say only this"])
        .exits(0);
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("only this\n", ""));
}

#[test]
fn json_lines_rise_and_end_with_the_turn() {
    let home = TestDaemon::start();
    let prompt = "demo: think\nretry\nrun echo hi\nsay done";
    let ran = home
        .ctl(["run", "--model", "demo", "-o", "jsonl", prompt])
        .exits(0);
    let lines = ran.lines();
    let mut last = 0;
    for line in &lines {
        assert_eq!(line["v"], 1, "{line}");
        let seq = line["seq"].as_u64().unwrap();
        assert!(seq >= last, "{line}");
        last = seq;
        assert!(line["ts"].is_string() && line["session"].is_string(), "{line}");
    }
    let types: Vec<&str> = lines.iter().map(|l| l["type"].as_str().unwrap()).collect();
    for kind in [
        "session.started",
        "turn.started",
        "tool.started",
        "tool.done",
        "text.delta",
        "text.done",
        "usage",
    ] {
        assert!(types.contains(&kind), "no {kind}: {types:?}");
    }
    assert_eq!(types.last(), Some(&"turn.done"));
    let one = home
        .ctl(["run", "--model", "demo", "-o", "json", "demo: say once"])
        .exits(0)
        .json();
    assert!(one.to_string().contains("once"), "{one}");
}

#[test]
fn a_failed_turn_is_never_a_success() {
    let home = TestDaemon::start();
    let ran = home.ctl(["run", "--model", "demo", "demo: fail"]);
    assert_eq!(ran.code, 11, "{ran}");
    assert!(ran.err().contains("the demo model was asked to fail"), "{ran}");
    assert!(
        ran.err().contains("error: ") && ran.err().contains("next:"),
        "{ran}"
    );
    let ran = home.ctl(["run", "--model", "demo", "-o", "jsonl", "demo: fail"]);
    assert_eq!(ran.code, 11, "{ran}");
    let last = ran.lines().pop().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["outcome"].as_str()),
        (Some("turn.done"), Some("failed")),
        "{last}"
    );
}

#[test]
fn a_pipe_is_the_prompt_or_goes_along_with_it() {
    let home = TestDaemon::start();
    let ran = run(home.agentctl(["run", "--model", "demo"]), b"demo: say piped").exits(0);
    assert_eq!(ran.out(), "piped\n");
    let ran = run(home.agentctl(["run", "--model", "demo", "-"]), b"demo: say dash").exits(0);
    assert_eq!(ran.out(), "dash\n");
    let ran = run(
        home.agentctl(["run", "--model", "demo", "--name", "f", "hello"]),
        b"attached text",
    )
    .exits(0);
    let log = home.ctl(["logs", "f", "--events", "-o", "jsonl"]).exits(0);
    assert!(
        log.out().contains("attached text") && log.out().contains("stdin"),
        "{ran}\n{log}"
    );
    let big = vec![b'x'; 1024 * 1024 + 1];
    let ran = run(home.agentctl(["run", "--model", "demo", "hello"]), &big).exits(2);
    assert!(ran.err().contains("-f"), "{ran}");
}

#[test]
fn ctrl_c_stops_the_turn_within_a_second_and_the_session_is_ready() {
    let home = TestDaemon::start();
    for round in 0..3 {
        std::fs::remove_file(home.project().join("begun")).ok();
        let child = background(&home, &["run", "--model", "demo", "--name", "n", ENDLESS]);
        begun(&home);
        let at = Instant::now();
        signal(&child, Signal::INT);
        let ran = finish(child, "run", at).exits(130);
        assert!(ran.took < Duration::from_secs(2), "round {round}: {:?}", ran.took);
        home.ctl(["wait", "n", "--timeout", "5s"]).exits(0);
        assert_eq!(state(&home, "n"), "ready");
    }
    // While the model speaks.
    let mut child = background(
        &home,
        &[
            "run",
            "--model",
            "demo",
            "--name",
            "n",
            "-o",
            "jsonl",
            "demo: stream 20000",
        ],
    );
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("text.delta")));
    signal(&child, Signal::INT);
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).last());
    assert_eq!(finish(child, "run", Instant::now()).code, 130);
    assert!(rest.join().unwrap().unwrap().contains("interrupted"));
    assert_eq!(state(&home, "n"), "ready");
    // While it waits for an answer.
    let child = background(
        &home,
        &[
            "run",
            "--model",
            "demo",
            "--name",
            "n",
            "--on-approval",
            "wait",
            "demo: ask",
        ],
    );
    needs_you(&home, "n");
    signal(&child, Signal::INT);
    assert_eq!(finish(child, "run", Instant::now()).code, 130);
    home.ctl(["wait", "n", "--timeout", "5s"]).exits(0);
    assert_eq!(
        home.ctl(["approvals", "list", "-o", "json"]).exits(0).json(),
        serde_json::json!([])
    );
    // And of a plain command.
    std::fs::remove_file(home.project().join("begun")).ok();
    let child = background(&home, &["exec", "--name", "x", "--", "touch begun; sleep 1000"]);
    begun(&home);
    signal(&child, Signal::INT);
    assert_eq!(finish(child, "exec", Instant::now()).code, 130);
    home.ctl(["exec", "--name", "x", "--", "true"]).exits(0);
}

#[test]
fn a_closed_terminal_leaves_the_turn_running() {
    let home = TestDaemon::start();
    let prompt = "demo: run touch begun; while ! [ -e go ]; do sleep 0.02; done; echo over > over";
    let child = background(&home, &["run", "--model", "demo", "--name", "n", prompt]);
    begun(&home);
    signal(&child, Signal::HUP);
    finish(child, "run", Instant::now());
    assert_eq!(state(&home, "n"), "working");
    std::fs::write(home.project().join("go"), "").unwrap();
    home.ctl(["wait", "n", "--for", "done", "--timeout", "20s"])
        .exits(0);
    assert!(home.project().join("over").exists());
}

#[test]
fn detached_it_prints_only_the_id_and_waiting_says_how_it_went() {
    let home = TestDaemon::start();
    let prompt = "demo: run while ! [ -e go ]; do sleep 0.02; done\nask\nsay over";
    let ran = home
        .ctl(["run", "-d", "--on-approval", "wait", "--model", "demo", prompt])
        .exits(0);
    let id = ran.out().trim().to_owned();
    assert!(
        ran.out() == format!("{id}\n") && id.starts_with("s-") && !id.contains(' '),
        "{ran}"
    );
    home.ctl(["wait", &id, "--for", "needs-you", "--timeout", "1s"])
        .exits(124);
    home.ctl(["wait", &id, "--timeout", "100ms"]).exits(124);
    std::fs::write(home.project().join("go"), "").unwrap();
    home.ctl(["wait", &id, "--for", "needs-you", "--timeout", "20s"])
        .exits(0);
    let id_of = home.ctl(["approvals", "list", "-o", "json"]).exits(0).json();
    let approval = id_of[0]["approval_id"]
        .as_str()
        .or_else(|| id_of[0]["id"].as_str())
        .unwrap()
        .to_owned();
    // Messages queue while it works.
    let queued = home.ctl(["send", &id, "demo: say second"]).exits(0);
    assert!(format!("{queued}").contains("queued"), "{queued}");
    home.ctl(["approve", &approval]).exits(0);
    until("both messages are answered", || {
        let log = home.ctl(["logs", &id]).exits(0).out();
        (log.contains("second") && state(&home, &id) == "ready").then_some(())
    });
    home.ctl(["wait", &id, "--for", "done"]).exits(0);
    // Decided is decided, and says by whom.
    let late = home.ctl(["deny", &approval]).exits(6);
    assert!(
        late.err().contains("[approval_decided]") && late.err().contains("approved"),
        "{late}"
    );
    let user = home.ctl(["sessions", "show", &id, "-o", "json"]).exits(0).json();
    assert!(
        late.err().contains(user["principal"].as_str().unwrap()),
        "{late} {user}"
    );
}

#[test]
fn a_denial_reaches_the_model_with_its_reason_and_the_turn_goes_on() {
    let home = TestDaemon::start();
    let child = background(
        &home,
        &[
            "run",
            "--model",
            "demo",
            "--name",
            "n",
            "--on-approval",
            "wait",
            "demo: ask\nrun echo went on",
        ],
    );
    needs_you(&home, "n");
    let list = home.ctl(["approvals", "list", "-o", "json"]).exits(0).json();
    let id = list[0]["approval_id"]
        .as_str()
        .or_else(|| list[0]["id"].as_str())
        .unwrap()
        .to_owned();
    home.ctl(["deny", &id, "--reason", "not on a Sunday"]).exits(0);
    let ran = finish(child, "run", Instant::now()).exits(0);
    assert!(
        ran.out().contains("not on a Sunday") && ran.out().contains("went on"),
        "{ran}"
    );
    assert!(!home.project().join("AGENTS.md").exists());
}

#[test]
fn approvals_off_a_terminal_end_as_asked() {
    let home = TestDaemon::start();
    let ran = home
        .ctl([
            "run",
            "--model",
            "demo",
            "--name",
            "a",
            "--on-approval",
            "deny",
            "demo: ask",
        ])
        .exits(5);
    assert!(
        ran.err().contains("error: ") || ran.err().contains("denied"),
        "{ran}"
    );
    let ran = home
        .ctl(["run", "--model", "demo", "--name", "b", "demo: ask"])
        .exits(10);
    let command = ran
        .err()
        .lines()
        .find_map(|l| {
            l.find("agentctl approve a-")
                .map(|at| l[at..].split("   ").next().unwrap().trim().to_owned())
        })
        .unwrap_or_else(|| panic!("{ran}"));
    let words: Vec<&str> = command.split_whitespace().skip(1).take(2).collect();
    home.ctl(&words).exits(0);
    home.ctl(["wait", "b", "--for", "done", "--timeout", "20s"])
        .exits(0);
    assert!(home.project().join("AGENTS.md").exists());
}

#[test]
fn a_directory_keeps_its_session_and_the_shell_its_place() {
    let home = TestDaemon::start();
    std::fs::create_dir(home.project().join("sub")).unwrap();
    home.ctl(["run", "--model", "demo", "demo: run cd sub"]).exits(0);
    let ran = home.ctl(["run", "--model", "demo", "demo: run pwd"]).exits(0);
    assert!(ran.out().contains("/sub"), "{ran}");
    let list = home
        .ctl(["sessions", "list", "-o", "plain", "--no-header"])
        .exits(0)
        .out();
    assert_eq!(list.lines().count(), 1, "{list}");
    home.ctl(["run", "--model", "demo", "--new", "demo: say new"])
        .exits(0);
    let list = home
        .ctl(["sessions", "list", "-o", "plain", "--no-header"])
        .exits(0)
        .out();
    assert_eq!(list.lines().count(), 2, "{list}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "n", "--", "true"]).exits(0);
    // `script` gives a terminal.
    let on_a_terminal = |no_color: &str| {
        let mut command = home.command("script");
        let line = format!("{}/agentctl sessions list", home.bin().display());
        command
            .args(["-qec", &line, "/dev/null"])
            .env("TERM", "xterm-256color")
            .env("NO_COLOR", no_color);
        run(command, b"").exits(0).out()
    };
    assert!(on_a_terminal("").contains("\u{1b}["));
    let plain = on_a_terminal("1");
    assert!(
        !plain.contains("\u{1b}[3") && plain.contains("ready"),
        "{plain:?}"
    );
}

#[test]
fn messages_that_wait_are_listed_changed_taken_back_and_steer() {
    let home = TestDaemon::start();
    let id = home
        .ctl([
            "run",
            "-d",
            "--model",
            "demo",
            "demo: run while ! [ -e go ]; do sleep 0.02; done\nrun echo two\nsay over",
        ])
        .exits(0)
        .out()
        .trim()
        .to_owned();
    let send = |args: &[&str]| {
        let all: Vec<&str> = ["send", &id].into_iter().chain(args.iter().copied()).collect();
        home.ctl(&all)
    };
    let posted = |text: &str, flags: &[&str]| {
        let mut args = vec![text, "-o", "json"];
        args.extend(flags);
        let sent = send(&args).exits(0).json();
        assert_eq!(sent["queued"], true, "{sent}");
        sent["message_id"].as_str().unwrap().to_owned()
    };
    let first = posted("demo: say first words", &[]);
    let second = posted("never read", &[]);
    let third = posted("look at this now", &["--steer"]);
    let list = send(&["--list", "-o", "json"]).exits(0).json();
    assert_eq!(list.as_array().unwrap().len(), 3, "{list}");
    assert_eq!(
        (&list[2]["steer"], &list[0]["steer"]),
        (&true.into(), &false.into())
    );
    send(&["--edit", &first, "demo: say other words"]).exits(0);
    send(&["--remove", &second]).exits(0);
    let again = send(&["--remove", &second]).exits(3);
    assert!(
        again.err().contains("[message_not_waiting]") && again.err().contains("--list"),
        "{again}"
    );
    std::fs::write(home.project().join("go"), "").unwrap();
    home.ctl(["wait", &id, "--for", "ready", "--timeout", "30s"])
        .exits(0);
    until("the queued message is answered", || {
        let log = home.ctl(["logs", &id]).exits(0).out();
        (log.contains("agent: other words") && state(&home, &id) == "ready").then_some(())
    });
    let events = home.ctl(["logs", &id, "-o", "jsonl"]).exits(0).out();
    let lines: Vec<serde_json::Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let at = |kind: &str| {
        lines
            .iter()
            .position(|line| line["type"] == kind)
            .unwrap_or_else(|| panic!("no {kind}: {events}"))
    };
    let steered = at("turn.steered");
    assert_eq!(lines[steered]["messages"], serde_json::json!([third]));
    // Between the first call's result and the next step of the same turn.
    assert!(at("tool.done") < steered && steered < at("turn.done"), "{events}");
    let log = home.ctl(["logs", &id]).exits(0).out();
    assert!(!log.contains("agent: first words"), "{log}");
    let late = send(&["--edit", &third, "too late"]).exits(3);
    assert!(late.err().contains("[message_not_waiting]"), "{late}");
}

#[test]
fn who_follows_a_session_is_told_and_gone_when_they_go() {
    let home = TestDaemon::start();
    home.ctl(["sessions", "new", "--name", "shop"]).exits(0);
    let clients = || {
        home.ctl(["sessions", "clients", "shop", "-o", "json"])
            .exits(0)
            .json()
    };
    assert_eq!(clients(), serde_json::json!([]));
    let mut follower = background(&home, &["logs", "shop", "-f"]);
    until("it is seen", || {
        let now = clients();
        (now.as_array().unwrap().len() == 1 && now[0]["client"] == "cli" && now[0]["input"] == false)
            .then_some(())
    });
    follower.kill().unwrap();
    follower.wait().unwrap();
    until("it is gone", || {
        (clients() == serde_json::json!([])).then_some(())
    });
}
