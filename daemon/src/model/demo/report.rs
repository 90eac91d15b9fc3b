//! Owns: the demo model's last words: what it did, what it could not do, and what it is.
//! Guarantees: every last word says that it is the demo model's; success is claimed only for a run that passed.

use serde_json::json;

use super::Decision;
use super::evidence::Run;
use super::history::Turn;
use super::plan::look;
use super::replay::State;
use super::script;
use super::source;

/// The tests pass: asks to note how they are run, once, then says what was done.
pub(super) fn finished(turn: &Turn, state: &State, files: &[String], command: &str, run: &Run) -> Decision {
    let tests = run.count.as_ref().map_or("all tests pass".to_owned(), |count| {
        format!("all {count} tests pass")
    });
    if state.kept.is_empty() {
        return Decision::say(format!(
            "(demo model) `{command}`: {tests} already. There was nothing to mend."
        ));
    }
    if turn.approver_present && !state.noted && turn.has("write") {
        let note = format!("Run the tests with `{command}`.\n");
        let mut content = note.clone();
        if files.iter().any(|file| file == "AGENTS.md") {
            // A write replaces the file, so what is there has to be known first.
            match state.content("AGENTS.md") {
                None if !state.knows("AGENTS.md") => {
                    return look(turn, "AGENTS.md", "I want to add how the tests are run.");
                }
                Some(lines) => content = format!("{}\n{note}", lines.join("\n")),
                None => {}
            }
        }
        let mut arguments = json!({"path": "AGENTS.md", "content": content});
        script::rename_content(&mut arguments, turn, "write");
        return Decision::call(
            "The tests pass. I note how to run them in `AGENTS.md`, which asks for your approval.",
            "write",
            arguments,
        );
    }
    let mut text = String::from("(demo model) Fixed.\n\n");
    if let Some(first) = state.runs.first() {
        text.push_str(&format!("What was wrong: {}\n", first.headline()));
    }
    for (path, old, new) in &state.kept {
        let last = |part: &str| part.lines().last().unwrap_or_default().trim().to_owned();
        let line = state
            .content(path)
            .and_then(|lines| lines.iter().position(|line| line.contains(&last(new))));
        let line = line.map_or(String::new(), |at| format!(":{}", at + 1));
        text.push_str(&format!(
            // Fenced: in Markdown a line that begins with a minus is a list.
            "Changed: {path}{line}\n```diff\n- {}\n+ {}\n```\n",
            last(old),
            last(new)
        ));
    }
    text.push_str(&format!("Now {tests} (`{command}`)."));
    if state.noted {
        text.push_str(if state.denied_note {
            " The note in AGENTS.md was not written."
        } else {
            " AGENTS.md says how to run them."
        });
    }
    Decision::say(text)
}

/// The tests still fail, and there is nothing more to try.
pub(super) fn gave_up(turn: &Turn, state: &State, run: &Run) -> String {
    let tries = state.tried.len();
    let mut text = format!(
        "(demo model) Goal not met: the tests still fail: {}\n",
        run.headline()
    );
    if !(turn.has("edit") || turn.has("apply_patch")) {
        text.push_str("No edit tool is offered here, so I could not try anything.");
    } else if tries == 0 {
        text.push_str("I found no single-token repair to try.");
    } else {
        text.push_str(&format!(
            "I tried {tries} single-token repairs and took back each one that did not help."
        ));
    }
    if let Some(refusal) = state.refused.as_ref().filter(|refusal| !refusal.is_empty()) {
        text.push_str(&format!(" An edit was refused: {refusal}"));
    }
    text.push_str("\nI only know small repairs; a real model knows more: `agentctl auth set openai`, or start a local server such as Ollama.");
    text
}

/// True when `agentctl review` asks.
pub(super) fn asks_for_review(prompt: &str) -> bool {
    prompt.starts_with("Review this change.")
}

/// The answer to a review: what the project's own checks say, and that nobody read the change.
pub(super) fn reviewed(state: &State, run: Option<(&str, &Run)>) -> String {
    let (summary, findings) = match run {
        None => ("I found no tests to run.".to_owned(), Vec::new()),
        Some((command, run)) if run.passed => (format!("`{command}` passes."), Vec::new()),
        Some((command, run)) => {
            let files = state.files.as_deref().unwrap_or_default();
            let known = |place: &(String, usize)| {
                let found = files
                    .iter()
                    .find(|file| **file == place.0 || file.ends_with(&format!("/{}", place.0)));
                found.map(|file| (file.clone(), place.1.max(1)))
            };
            let test = files.iter().find(|file| source::is_test(file)).or(files.first());
            let place = run.places.iter().find_map(known);
            let findings = place.or_else(|| Some((test?.clone(), 1))).map(|(file, line)| {
                json!({"file": file, "line": line, "severity": "error",
                    "title": format!("`{command}` fails: {}", run.headline()),
                    "detail": "Found by running the project's tests, not by reading the change."})
            });
            (format!("`{command}` fails."), findings.into_iter().collect())
        }
    };
    let summary = format!("(demo model) This is no review: I only ran the project's tests. {summary}");
    json!({"summary": summary, "findings": findings}).to_string()
}

/// What it is, and what it was given.
pub(super) fn about(turn: &Turn) -> String {
    let prompt: String = turn
        .prompt
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(200)
        .collect();
    let mut text = format!(
        "(demo model) I am agentd's built-in demo model: a small script, not a language model. I work offline and cost nothing.\nYou said: {prompt}"
    );
    for (name, content) in &turn.attachments {
        let first: String = content
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(120)
            .collect();
        text.push_str(&format!(
            "\nAttached: {name} ({} bytes), first line: {first}",
            content.len()
        ));
    }
    text
}

/// The answer to a prompt without work in it.
pub(super) fn greeting(turn: &Turn, files: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = about(turn);
    if files.is_empty() {
        text.push_str("\nThis workspace has no files yet.");
    } else {
        let some = files.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        let more = if files.len() > SHOWN { ", …" } else { "" };
        text.push_str(&format!("\nI saw {} files: {some}{more}", files.len()));
    }
    text.push_str(concat!(
        "\n\nTry me on a project with a failing test: \"find and fix the failing test\".",
        "\nFor a real model: `agentctl auth set openai`, or `export OPENAI_API_KEY=…`, or start Ollama or LM Studio and run `agentctl models`.",
    ));
    text
}
