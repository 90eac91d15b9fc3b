//! Owns: the demo model's main job as a replay: what was done so far decides what comes next.
//! Guarantees: pure; bounded tries; every edit that did not help is taken back; success is claimed only after a
//! test run that passed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Decision;
use super::evidence::{self, Run};
use super::history::{Done, Turn};
use super::repair::{self, Repair};
use super::script;
use super::source;

/// Repairs tried before giving up.
const MOST_TRIES: usize = 12;

/// Source and test files read.
const MOST_FILES: usize = 6;

/// Lists the project, leaving out what was built or fetched.
const LIST: &str = "find . -type f -not -path '*/.*' -not -path './target/*' -not -path '*/node_modules/*' | sort | head -200";

/// Arguments that name the texts of an edit, in the order of likelihood.
const OLD: &[&str] = &["old", "old_string", "old_text", "search"];
const NEW: &[&str] = &["new", "new_string", "new_text", "replace"];
const PATH: &[&str] = &["path", "file_path", "file"];

/// What the Turn has come to.
#[derive(Debug, Default)]
struct State {
    files: Option<Vec<String>>,
    /// What was read, repairs that are in force applied.
    read: Vec<(String, Vec<String>)>,
    unreadable: BTreeSet<String>,
    /// Test runs that count, the first and those after an edit.
    runs: Vec<Run>,
    test_command: Option<String>,
    /// The edit since the last run, not yet judged.
    pending: Option<(String, String, String)>,
    /// The edit that was judged useless and still stands.
    useless: Option<(String, String, String)>,
    tried: BTreeSet<(String, String, String)>,
    /// Edits that helped, oldest first: path, old, new.
    kept: Vec<(String, String, String)>,
    /// True when an edit was refused.
    refused: Option<String>,
    noted: bool,
    denied_note: bool,
}

fn replay(turn: &Turn) -> State {
    let mut state = State::default();
    for done in &turn.done {
        let path = done.argument(PATH).trim_start_matches("./").to_owned();
        match done.tool.as_str() {
            "exec" if done.argument(&["command"]) == LIST => state.files = Some(listed(done)),
            "exec" => state.ran(done),
            "read" if done.ok => state.read.push((path, source::content(&done.text))),
            "read" => {
                state.unreadable.insert(path);
            }
            "edit" | "apply_patch" => state.edited(done),
            "write" => {
                state.noted = true;
                state.denied_note = !done.ok;
            }
            _ => {}
        }
    }
    state
}

fn listed(done: &Done) -> Vec<String> {
    let is_path = |line: &&str| line.starts_with("./") && !line.contains("  ");
    done.text
        .lines()
        .map(str::trim)
        .filter(is_path)
        .map(|line| line.trim_start_matches("./").to_owned())
        .collect()
}

impl State {
    fn ran(&mut self, done: &Done) {
        let run = evidence::read(done);
        self.test_command
            .get_or_insert_with(|| done.argument(&["command"]).to_owned());
        if let Some(edit) = self.pending.take() {
            let before = self.runs.last().map_or(usize::MAX, Run::badness);
            if run.passed || run.badness() < before {
                self.kept.push(edit);
                self.runs.push(run);
            } else {
                self.useless = Some(edit);
            }
        } else {
            self.runs.push(run);
        }
    }

    fn edited(&mut self, done: &Done) {
        let Some((path, old, new)) = edit_of(done) else {
            return;
        };
        if !done.ok {
            // Not applied. A repair that cannot be applied is one that did not help.
            self.tried.insert((path, old, new));
            self.useless = None;
            self.refused = Some(done.text.lines().next().unwrap_or_default().to_owned());
            return;
        }
        let reverts = self
            .useless
            .take()
            .is_some_and(|(p, o, n)| p == path && o == new && n == old);
        if let Some((_, lines)) = self.read.iter_mut().find(|(file, _)| *file == path) {
            if let Some(line) = lines.iter_mut().find(|line| line.contains(old.as_str())) {
                *line = line.replacen(old.as_str(), &new, 1);
            }
        }
        if !reverts {
            self.tried.insert((path.clone(), old.clone(), new.clone()));
            self.pending = Some((path, old, new));
        }
    }

    fn content(&self, path: &str) -> Option<&Vec<String>> {
        self.read
            .iter()
            .find(|(file, _)| file == path)
            .map(|(_, lines)| lines)
    }

    fn knows(&self, path: &str) -> bool {
        self.content(path).is_some() || self.unreadable.contains(path)
    }
}

fn edit_of(done: &Done) -> Option<(String, String, String)> {
    if done.tool == "edit" {
        let path = done.argument(PATH).trim_start_matches("./").to_owned();
        return Some((path, done.argument(OLD).to_owned(), done.argument(NEW).to_owned()));
    }
    let patch = done.argument(&["patch", "input"]);
    let line = |start: &str| {
        patch
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .map(|rest| rest.trim().to_owned())
    };
    Some((line("*** Update File: ")?, line("-")?, line("+")?))
}

/// The next step of the Turn.
pub(crate) fn next(turn: &Turn) -> Decision {
    if !turn.has("exec") {
        return Decision::say(format!(
            "{}\n\nThere are no tools here, so I cannot do more than say so.",
            about(turn)
        ));
    }
    let state = replay(turn);
    let Some(files) = &state.files else {
        let text = if wants_work(&turn.prompt) {
            "I am the demo model. First I look at what is here."
        } else {
            "Hello from the demo model. I look at what is here."
        };
        return Decision::call(text, "exec", json!({"command": LIST}));
    };
    if !wants_work(&turn.prompt) {
        return Decision::say(greeting(turn, files));
    }
    let command = match &state.test_command {
        Some(command) => command.clone(),
        None => match find_command(&state, files) {
            Found::Command(command) => {
                let text = format!("The tests are run by `{command}`.");
                return Decision::call(text, "exec", json!({"command": command}));
            }
            Found::Read(path) => return look(turn, &path, "It may say how the tests are run."),
            Found::Nothing => {
                return Decision::say(format!(
                    "{}\n\nI found no tests here, so there is nothing I can mend.",
                    greeting(turn, files)
                ));
            }
        },
    };
    let Some(run) = state.runs.last() else {
        return Decision::call("I run the tests again.", "exec", json!({"command": command}));
    };
    if state.pending.is_some() {
        return Decision::call(
            "Did that help? I run the tests again.",
            "exec",
            json!({"command": command}),
        );
    }
    if let Some((path, old, new)) = &state.useless {
        return edit(
            turn,
            &state,
            path,
            new,
            old,
            "That did not help. I take it back.".into(),
        );
    }
    if run.passed {
        return finished(turn, &state, files, &command, run);
    }
    mend(turn, &state, files, run)
}

fn wants_work(prompt: &str) -> bool {
    let lower = prompt.to_ascii_lowercase();
    [
        "fix", "test", "bug", "fail", "broken", "repair", "mend", "debug", "green", "pass", "wrong",
    ]
    .iter()
    .any(|word| lower.contains(word))
}

enum Found {
    Command(String),
    Read(String),
    Nothing,
}

fn find_command(state: &State, files: &[String]) -> Found {
    let has = |name: &str| files.iter().any(|file| file == name);
    for makefile in ["Makefile", "makefile", "GNUmakefile"] {
        if has(makefile) {
            match state.content(makefile) {
                Some(lines) if lines.iter().any(|line| line.starts_with("test:")) => {
                    return Found::Command("make test".into());
                }
                Some(lines) if lines.iter().any(|line| line.starts_with("check:")) => {
                    return Found::Command("make check".into());
                }
                Some(_) => {}
                None if !state.knows(makefile) => return Found::Read(makefile.into()),
                None => {}
            }
        }
    }
    if has("Cargo.toml") {
        return Found::Command("cargo test".into());
    }
    if has("package.json") {
        match state.content("package.json") {
            Some(lines) if lines.iter().any(|line| line.contains("\"test\"")) => {
                return Found::Command("npm test".into());
            }
            None if !state.knows("package.json") => return Found::Read("package.json".into()),
            _ => {}
        }
    }
    if has("go.mod") {
        return Found::Command("go test ./...".into());
    }
    let test_with = |ending: &str| {
        files
            .iter()
            .find(|file| file.ends_with(ending) && source::is_test(file))
    };
    if let Some(test) = test_with(".py") {
        let folder = test.rsplit_once('/').map_or(".", |(folder, _)| folder);
        return Found::Command(format!(
            "python3 -m unittest discover -s {} -p '*test*.py'",
            quote(folder)
        ));
    }
    match test_with(".sh") {
        Some(script) => Found::Command(format!("sh {}", quote(script))),
        None => Found::Nothing,
    }
}

fn quote(word: &str) -> String {
    if word
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
        && !word.starts_with('-')
    {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn look(turn: &Turn, path: &str, why: &str) -> Decision {
    let text = format!("I read `{path}`. {why}");
    if turn.has("read") {
        let name = turn.argument_name("read", PATH);
        Decision::call(text, "read", json!({name: path}))
    } else {
        Decision::say(format!(
            "(demo model) I would read `{path}`, but the tool `read` is not offered here. Goal not met."
        ))
    }
}

/// Reads on, or tries the next repair, or gives up.
fn mend(turn: &Turn, state: &State, files: &[String], run: &Run) -> Decision {
    if let Some(path) = unread(state, files, run) {
        let first = !state.read.iter().any(|(file, _)| source::is_code(file));
        let why = if first {
            format!("The tests fail: {}.", run.headline().trim_end_matches('.'))
        } else {
            "It may matter too.".into()
        };
        return look(turn, &path, &why);
    }
    let hints = hints(state, run);
    let code: Vec<_> = state
        .read
        .iter()
        .filter(|(file, _)| source::is_code(file) && !source::is_test(file))
        .cloned()
        .collect();
    let tries = state.tried.len();
    let candidate = repair::candidates(&code, run, &hints).into_iter().find(|repair| {
        let (old, new) = snippet(&code, repair);
        // A repair that would undo one that helped is no repair.
        let undoes = state
            .kept
            .iter()
            .any(|(p, o, n)| *p == repair.path && *o == new && *n == old);
        !undoes && !state.tried.contains(&(repair.path.clone(), old, new))
    });
    match candidate.filter(|_| tries < MOST_TRIES && (turn.has("edit") || turn.has("apply_patch"))) {
        Some(repair) => {
            let (old, new) = snippet(&code, &repair);
            let place = repair
                .function
                .as_ref()
                .map_or(String::new(), |name| format!(" in `{name}`"));
            let text = format!("{}:{}{place}: I try {}.", repair.path, repair.line, repair.what);
            edit(turn, state, &repair.path, &old, &new, text)
        }
        None => Decision::say(gave_up(turn, state, run)),
    }
}

/// The next file worth reading: what the failure names, then code, then the tests themselves.
fn unread(state: &State, files: &[String], run: &Run) -> Option<String> {
    let seen = state
        .read
        .iter()
        .filter(|(file, _)| source::is_code(file))
        .count()
        + state.unreadable.len();
    if seen >= MOST_FILES {
        return None;
    }
    let score = |file: &String| {
        let stem = file
            .rsplit('/')
            .next()
            .unwrap_or(file)
            .split('.')
            .next()
            .unwrap_or(file);
        let placed = run.places.iter().any(|(place, _)| file.ends_with(place.as_str()));
        let named = run.relevance(stem);
        i32::from(placed) * 4 + named * 2 - i32::from(source::is_test(file)) * 3
    };
    // Headers seldom hold behaviour: only one that the failure names is worth reading.
    let dull = |file: &str| {
        file.ends_with(".h") && !run.places.iter().any(|(place, _)| file.ends_with(place.as_str()))
    };
    let mut unread: Vec<&String> = files
        .iter()
        .filter(|file| source::is_code(file) && !dull(file) && !state.knows(file))
        .collect();
    unread.sort_by_key(|file| std::cmp::Reverse(score(file)));
    unread.first().map(|file| (*file).clone())
}

/// Functions that the failing tests call, by the words near the failing places and inside the failing test functions.
fn hints(state: &State, run: &Run) -> Vec<String> {
    let mut words = Vec::new();
    for (path, lines) in state.read.iter().filter(|(file, _)| source::is_test(file)) {
        let mut inside = false;
        for (at, line) in lines.iter().enumerate() {
            if let Some(name) = source::definition(line) {
                inside = run.words.contains(name);
            }
            let placed = run
                .places
                .iter()
                .any(|(place, number)| path.ends_with(place.as_str()) && *number == at + 1);
            // A table of cases: the line that holds the failing case's own words.
            let told = run.telling.iter().any(|telling| {
                line.split('"')
                    .skip(1)
                    .step_by(2)
                    .any(|text| text.len() >= 4 && telling.contains(text))
            });
            if inside || placed || told {
                let names = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                words.extend(names.filter(|word| word.len() >= 3).map(str::to_owned));
            }
        }
    }
    words
}

/// The shortest text that names the line in its file exactly once: the line without its indent, or the whole line.
fn snippet(files: &[(String, Vec<String>)], repair: &Repair) -> (String, String) {
    let (old, new) = (repair.old.trim(), repair.new.trim());
    let lines = files
        .iter()
        .find(|(path, _)| *path == repair.path)
        .map(|(_, lines)| lines);
    let times = lines.map_or(0, |lines| lines.iter().filter(|line| line.contains(old)).count());
    let before = repair.line.checked_sub(2).and_then(|at| lines?.get(at));
    match before {
        // Twice in the file: the line before it tells them apart.
        Some(before) if times > 1 => (
            format!("{before}\n{}", repair.old),
            format!("{before}\n{}", repair.new),
        ),
        _ => (old.to_owned(), new.to_owned()),
    }
}

fn edit(turn: &Turn, state: &State, path: &str, old: &str, new: &str, text: String) -> Decision {
    if turn.has("edit") {
        let name = |names: &[&'static str]| turn.argument_name("edit", names);
        let arguments: Value = [(name(PATH), path), (name(OLD), old), (name(NEW), new)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        return Decision::call(text, "edit", arguments);
    }
    // A patch speaks of whole lines.
    let whole = |part: &str| {
        let found = state
            .content(path)
            .and_then(|lines| lines.iter().find(|line| line.contains(old)));
        found.map_or_else(|| part.to_owned(), |line| line.replacen(old, part, 1))
    };
    let patch = format!(
        "*** Begin Patch\n*** Update File: {path}\n@@\n-{}\n+{}\n*** End Patch\n",
        whole(old),
        whole(new)
    );
    let name = turn.argument_name("apply_patch", &["patch", "input"]);
    Decision::call(text, "apply_patch", json!({name: patch}))
}

fn finished(turn: &Turn, state: &State, files: &[String], command: &str, run: &Run) -> Decision {
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
            "Changed: {path}{line}\n  - {}\n  + {}\n",
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

fn gave_up(turn: &Turn, state: &State, run: &Run) -> String {
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

fn about(turn: &Turn) -> String {
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

fn greeting(turn: &Turn, files: &[String]) -> String {
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
