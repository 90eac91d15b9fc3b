//! Owns: what agentctl says and where, before any agent works: help, typos, refusals, forms of output.
//! Guarantees: every case runs the real programs in a home of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use support::{TestDaemon, run};

const ESC: u8 = 0x1b;

#[test]
fn the_first_call_in_a_fresh_home_is_quick_and_says_what_works_and_how_to_add_a_key() {
    let home = TestDaemon::home();
    let ran = home.ctl([""; 0]);
    // Off a terminal: short help on standard error.
    assert_eq!((ran.code, ran.out().as_str()), (2, ""), "{ran}");
    assert!(ran.took < Duration::from_secs(1), "{:?}", ran.took);
    for word in [
        "agentctl shell",
        "run --model demo",
        "auth set openai",
        "OPENAI_API_KEY",
    ] {
        assert!(ran.err().contains(word), "no {word:?} in {ran}");
    }
}

#[test]
fn a_run_without_a_key_ends_within_two_seconds_with_two_fixes_that_work() {
    let home = TestDaemon::home();
    for form in [&["run", "hi"][..], &["run", "--model", "openai/gpt-x", "hi"]] {
        let ran = home.ctl(form).exits(4);
        assert!(ran.took < Duration::from_secs(2), "{:?}", ran.took);
        assert!(ran.stdout.is_empty(), "{ran}");
        let err = ran.err();
        assert!(
            err.contains("'openai'") && err.contains("[auth_missing]"),
            "{ran}"
        );
        let is_fix = |l: &&str| {
            ["agentctl auth set", "export ", "--model"]
                .iter()
                .any(|w| l.contains(w))
        };
        assert!(err.lines().filter(is_fix).count() >= 2, "{ran}");
        assert!(!err.contains("panicked") && !err.contains(".rs:"), "{ran}");
    }
    let ran = home.ctl(["-o", "json", "run", "hi"]).exits(4);
    assert!(ran.stdout.is_empty(), "{ran}");
    assert_eq!(ran.error_json()["error"]["code"], "auth_missing", "{ran}");
    // The last fix it names, pasted.
    home.ctl(["run", "--model", "demo", "hello"]).exits(0);
}

#[test]
fn an_unknown_session_is_exit_3_everywhere_and_creates_nothing() {
    let home = TestDaemon::start();
    let verbs: &[&[&str]] = &[
        &["sessions", "show", "nope"],
        &["run", "--model", "demo", "-s", "nope", "hi"],
        &["exec", "-s", "nope", "--", "true"],
        &["send", "nope", "hi"],
        &["interrupt", "nope"],
        &["wait", "nope"],
        &["logs", "nope"],
        &["attach", "nope"],
        &["sessions", "rename", "nope", "other"],
        &["approvals", "show", "a-nope"],
        &["approve", "a-nope"],
        &["deny", "a-nope"],
    ];
    for verb in verbs {
        let ran = home.ctl(*verb).exits(3);
        assert!(ran.stdout.is_empty(), "{verb:?}: {ran}");
        assert!(ran.err().contains("next:"), "{verb:?}: {ran}");
        let mut json = vec!["-o", "json"];
        json.extend_from_slice(verb);
        let ran = home.ctl(&json).exits(3);
        assert!(matches!(ran.out().trim(), "" | "[]"), "{verb:?}: {ran}");
        assert_eq!(ran.error_json()["error"]["exit"], 3, "{verb:?}: {ran}");
    }
    let list = home
        .ctl(["sessions", "list", "--all", "-o", "plain", "--no-header"])
        .exits(0);
    assert!(list.stdout.is_empty(), "{list}");
}

#[test]
fn typos_are_usage_errors_with_the_right_suggestion() {
    let home = TestDaemon::home();
    let typos: &[(&[&str], &str)] = &[
        (&["sesions"], "'sessions'"),
        (&["aprove", "a-1"], "'approve'"),
        (&["sessions", "lsit"], "'list'"),
        (&["daemon", "stats"], "'status'"),
        (&["sessions", "list", "--jsn"], "'--json'"),
        (&["run", "--modle", "demo", "x"], "'--model'"),
        (&["exec", "--tiemout", "1s", "--", "true"], "'--timeout'"),
    ];
    for (words, suggestion) in typos {
        let ran = home.ctl(*words).exits(2);
        assert!(
            ran.err().contains("Did you mean") && ran.err().contains(suggestion),
            "{words:?}: {ran}"
        );
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    // None of that needs a daemon.
    assert!(!home.socket().exists());
}

#[test]
fn help_fits_a_screen_and_shows_an_example_and_needs_no_daemon() {
    let home = TestDaemon::home();
    let verbs = [
        "run",
        "exec",
        "shell",
        "attach",
        "send",
        "interrupt",
        "wait",
        "logs",
        "sessions",
        "approvals",
        "approve",
        "deny",
        "models",
        "config",
        "daemon",
        "doctor",
        "version",
        "auth",
    ];
    for verb in verbs {
        let ran = home.ctl([verb, "-h"]).exits(0);
        assert!(
            ran.out().lines().count() <= 24,
            "{verb}: {} lines\n{ran}",
            ran.out().lines().count()
        );
        assert!(ran.out().contains(&format!("agentctl {verb}")), "{verb}: {ran}");
        home.ctl([verb, "--help"]).exits(0);
    }
    for topic in ["exit-codes", "environment", "output", "run"] {
        assert!(!home.ctl(["help", topic]).exits(0).stdout.is_empty());
    }
    assert!(!home.socket().exists());
}

#[test]
fn every_list_and_show_verb_parses_as_json_and_plain_is_tab_separated() {
    let home = TestDaemon::start();
    let long = "会議".repeat(15);
    home.ctl(["run", "--model", "demo", "--name", &long, "demo: say hi"])
        .exits(0);
    home.ctl(["exec", "--name", "tools", "--", "echo out"]).exits(0);
    let verbs: &[&[&str]] = &[
        &["sessions", "list"],
        &["sessions", "show", "tools"],
        &["approvals", "list"],
        &["models", "list"],
        &["config", "list"],
        &["config", "list", "--origin"],
        &["daemon", "status"],
        &["doctor"],
        &["version"],
        &["auth", "list"],
        &["logs", "tools"],
        &["logs", "tools", "--events"],
        &["logs", "tools", "--shell"],
    ];
    for verb in verbs {
        let mut words = verb.to_vec();
        words.extend(["-o", "json"]);
        let ran = home.ctl(&words).exits(0);
        ran.json();
        assert!(ran.stderr.is_empty(), "{verb:?}: {ran}");
        words.pop();
        words.push("jsonl");
        home.ctl(&words).exits(0).lines();
        words.pop();
        words.push("plain");
        let ran = home.ctl(&words).exits(0);
        assert!(
            !ran.stdout.contains(&ESC) && !ran.stderr.contains(&ESC),
            "{verb:?}: {ran}"
        );
    }
    let plain = home
        .ctl(["sessions", "list", "-o", "plain", "--no-header"])
        .exits(0)
        .out();
    let columns: Vec<usize> = plain.lines().map(|line| line.split('\t').count()).collect();
    assert_eq!(columns.len(), 2, "{plain}");
    assert!(columns.iter().all(|c| *c > 3 && *c == columns[0]), "{plain}");
    assert!(plain.contains(&long), "plain is never cut: {plain}");
    let mut table = home.agentctl(["sessions", "list", "-o", "table"]);
    table.env("COLUMNS", "80");
    let table = run(table, b"").exits(0).out();
    for line in table.lines() {
        let width: usize = line.chars().map(|c| if c as u32 >= 0x2e80 { 2 } else { 1 }).sum();
        assert!(width <= 80, "{width}: {line}");
    }
}

#[test]
fn pipes_get_no_escapes_unless_asked_for() {
    let home = TestDaemon::start();
    let script = "demo: run printf '\\033[31mred\\033[0m\\033]0;title\\007'";
    let ran = home.ctl(["run", "--model", "demo", script]).exits(0);
    assert!(
        !ran.stdout.contains(&ESC) && !ran.stderr.contains(&ESC),
        "{ran:?}"
    );
    let ran = home.ctl(["logs"]).exits(0);
    assert!(!ran.stdout.contains(&ESC), "{ran:?}");
    let coloured = home
        .ctl(["sessions", "list", "--color", "always", "-o", "table"])
        .exits(0);
    assert!(coloured.stdout.contains(&ESC), "{coloured}");
    // The command's own bytes are not ours to change.
    let ran = home.ctl(["exec", "--", "printf '\\033[31mred'"]).exits(0);
    assert_eq!(ran.stdout, b"\x1b[31mred");
}

#[test]
fn no_daemon_is_exit_7_with_the_command_or_started() {
    let home = TestDaemon::home();
    let ran = home.ctl(["--no-autostart", "sessions", "list"]).exits(7);
    assert!(ran.err().contains("next: agentctl daemon start"), "{ran}");
    assert!(!home.socket().exists());
    // The fix, pasted.
    home.ctl(["daemon", "start"]).exits(0);
    home.ctl(["--no-autostart", "sessions", "list"]).exits(0);
    home.ctl(["daemon", "stop"]).exits(0);
    assert!(!home.socket().exists());
    home.ctl(["--no-autostart", "sessions", "list"]).exits(7);
    home.ctl(["sessions", "list"]).exits(0);
    assert!(home.socket().exists());
    home.ctl(["daemon", "restart"]).exits(0);
    home.ctl(["--no-autostart", "daemon", "status"]).exits(0);
}

#[test]
fn what_needs_a_person_off_a_terminal_says_the_command_that_answers() {
    let home = TestDaemon::start();
    // `auth set` reads the key from a pipe; an empty one is no key.
    for words in [&["auth", "set", "openai"][..], &["shell"]] {
        let ran = home.ctl(words);
        assert!(matches!(ran.code, 2 | 10), "{ran}");
        assert!(ran.err().contains("next:"), "{ran}");
    }
    home.ctl(["run"]).exits(2);
    let ran = home.ctl(["run", "--model", "demo", "demo: ask"]).exits(10);
    assert!(ran.err().contains("agentctl approve a-"), "{ran}");
    // What comes after the question waits for its answer, and says so.
    let sessions = home.ctl(["sessions", "list", "-o", "json"]).exits(0).json();
    let session = sessions[0]["session_id"].as_str().unwrap();
    let ran = home.ctl(["send", session, "and then"]).exits(0);
    assert!(
        ran.err().contains("waits for an answer · agentctl approve a-"),
        "{ran}"
    );
}

#[test]
fn the_next_steps_of_errors_work_when_pasted() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "build", "--", "true"]).exits(0);
    let failing: &[&[&str]] = &[
        &["sessions", "show", "bild"],
        &["sesions"],
        &["sessions", "list", "--jsn"],
        &["logs", "nope"],
        &["approve", "a-nope"],
        &["config", "get", "no.such.key"],
        &["help", "nosuchtopic"],
        &["search", " "],
        &["exec", "--name", "evil\u{1b}[2J", "--", "true"],
    ];
    for words in failing {
        let ran = home.ctl(*words);
        assert_ne!(ran.code, 0, "{ran}");
        let err = ran.err();
        assert!(err.starts_with("error: "), "{ran}");
        assert!(err.lines().count() <= 6, "{ran}");
        let next = err
            .lines()
            .find_map(|l| l.trim().strip_prefix("next: "))
            .unwrap_or_else(|| panic!("{ran}"));
        let command = next.split("   ").next().unwrap().trim();
        let command = command.split("  (").next().unwrap();
        assert!(command.starts_with("agentctl "), "{ran}");
        let mut shell = home.command("sh");
        shell.args(["-c", &format!("PATH={}:$PATH; {command}", home.bin().display())]);
        let pasted = run(shell, b"");
        assert_eq!(pasted.code, 0, "{command}: {pasted}");
    }
}

#[test]
fn doctor_finds_what_was_planted_and_says_how_to_mend_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = TestDaemon::home();
    home.ctl(["doctor"]).exits(0);
    home.ctl(["daemon", "stop"]).exits(0);
    // A socket that nobody answers at.
    std::fs::create_dir_all(home.socket().parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.socket()).unwrap());
    // A key file that others can read.
    let keys = home.path().join("credentials.toml");
    std::fs::write(&keys, "").unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    let doctor = |form: &str| {
        run(
            support::without_bwrap(&home, &home.agentctl(["doctor", "-o", form])),
            b"",
        )
    };
    let ran = doctor("plain");
    assert_ne!(ran.code, 0, "{ran}");
    let all = format!("{}{}", ran.out(), ran.err());
    for word in ["bwrap", "credentials", "socket", "chmod 600", "apt"] {
        assert!(all.contains(word), "no {word:?}: {ran}");
    }
    let json = doctor("json");
    assert_eq!(json.code, ran.code, "{json}");
    json.json();
}
