//! The help as people meet it: every verb listed, one screen each, examples first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::process::{Command, Output};

/// The one list of verbs.
const VERBS: &[&str] = &[
    "run",
    "exec",
    "shell",
    "storage",
    "attach",
    "send",
    "interrupt",
    "wait",
    "ports",
    "forward",
    "logs",
    "search",
    "files",
    "sessions",
    "tasks",
    "approvals",
    "approve",
    "deny",
    "review",
    "audit",
    "replay",
    "models",
    "personas",
    "policies",
    "auth",
    "daemon",
    "config",
    "doctor",
    "web",
    "usage",
    "help",
    "version",
];

fn agentctl(words: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_agentctl"))
        .args(words)
        .env_clear()
        .env("HOME", home.path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_lists_every_verb_and_only_verbs_that_exist() {
    let help = text(&agentctl(&["--help"]).stdout);
    for verb in VERBS {
        let listed = help.lines().any(|line| {
            line.split_whitespace().next() == Some(verb) || line.contains(&format!("   {verb} "))
        });
        assert!(listed, "{verb} is not in:\n{help}");
        let output = agentctl(&[verb, "-h"]);
        assert!(output.status.success(), "{verb}");
    }
    // The words at the start of both columns are verbs.
    let listed = help
        .lines()
        .skip_while(|line| !line.starts_with("Usage"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .flat_map(|line| [line.get(2..49), line.get(49..)])
        .flatten()
        .filter_map(|column| column.split_whitespace().next().map(str::to_owned));
    for word in listed {
        assert!(VERBS.contains(&word.as_str()), "{word} is no verb:\n{help}");
    }
}

#[test]
fn short_help_is_one_screen_with_examples_first() {
    for verb in VERBS.iter().map(|verb| vec![*verb]).chain([vec![]]) {
        let mut words = verb.clone();
        words.push("-h");
        let help = text(&agentctl(&words).stdout);
        assert!(
            help.lines().count() <= 24,
            "{verb:?}: {} lines\n{help}",
            help.lines().count()
        );
        let examples = help
            .lines()
            .take(5)
            .filter(|line| line.contains("agentctl"))
            .count();
        assert!(examples >= 3, "{verb:?}:\n{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 110),
            "{verb:?}:\n{help}"
        );
    }
}

#[test]
fn topics_are_there() {
    for topic in ["exit-codes", "environment", "output", "run", "approve"] {
        let output = agentctl(&["help", topic]);
        assert!(output.status.success() && output.stdout.len() > 100, "{topic}");
    }
    let output = agentctl(&["help", "exit-code"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'exit-codes'"));
}

#[test]
fn mistakes_are_said_in_the_house_style() {
    for (words, meant) in [
        (&["sesions"][..], "Did you mean 'sessions'?"),
        (&["aprove"], "Did you mean 'approve'?"),
        (&["ls", "--jsn"], "Did you mean '--json'?"),
        (&["logs", "-o", "yaml"], "one of: table"),
        (&["approve"], "missing"),
        (&["exec"], "no command"),
        (&["exec", "--timeout", "5x", "--", "ls"], "not a duration"),
        (&["-s"], "needs a value"),
    ] {
        let output = agentctl(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(output.stdout.is_empty());
        assert!(
            said.starts_with("error: ") && said.contains("next: "),
            "{words:?}: {said}"
        );
        assert!(said.contains(meant), "{words:?}: {said}");
        assert!(
            said.lines().count() <= 6 && !said.contains('\u{1b}'),
            "{words:?}: {said}"
        );
    }
}

#[test]
fn a_mistake_with_json_is_an_object_on_standard_error() {
    for words in [
        &["ls", "-o", "json", "--nope"][..],
        &["--no-autostart", "--json", "ls"],
    ] {
        let output = agentctl(words);
        assert!(output.stdout.is_empty());
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["exit"], output.status.code().unwrap(), "{error}");
        assert!(
            error["error"]["hint"].as_str().unwrap().contains("agentctl"),
            "{error}"
        );
    }
}

#[test]
fn without_a_terminal_the_bare_program_says_how_to_go_on() {
    let output = agentctl(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(
        said.contains("agentctl auth set") && said.contains("--model demo"),
        "{said}"
    );
}

#[test]
fn no_daemon_and_no_autostart_is_exit_seven_with_the_command_that_helps() {
    let output = agentctl(&["--no-autostart", "sessions", "list"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("next: agentctl daemon start"));
}

#[test]
fn a_prompt_is_never_waited_for_in_silence() {
    let output = Command::new(env!("CARGO_BIN_EXE_agentctl"))
        .args(["run"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("prompt"));
}
