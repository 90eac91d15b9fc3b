//! Owns: the demo model's main job: what was done so far decides what comes next.
//! Guarantees: pure; bounded tries; every edit that did not help is taken back; success is claimed only after a
//! test run that passed.

use serde_json::{Value, json};

use super::Decision;
use super::evidence::Run;
use super::history::Turn;
use super::repair::{self, Repair};
use super::replay::{LIST, NEW, OLD, PATH, State, key, replay};
use super::report::{self, about, finished, gave_up, greeting};
use super::source;

/// Repairs tried before giving up.
const MOST_TRIES: usize = 12;

/// Calls in a Turn, whatever the tools answer.
const MOST_CALLS: usize = 100;

/// Source and test files read.
const MOST_FILES: usize = 6;

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
    let reviews = report::asks_for_review(&turn.prompt);
    if !wants_work(&turn.prompt) && !reviews {
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
            Found::Nothing if reviews => return Decision::say(report::reviewed(&state, None)),
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
    if reviews {
        return Decision::say(report::reviewed(&state, Some((&command, run))));
    }
    if turn.done.len() > MOST_CALLS {
        return Decision::say(gave_up(turn, &state, run));
    }
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
        // -B: an edit of equal length within a second would otherwise run the old code from its cache.
        return Found::Command(format!(
            "python3 -B -m unittest discover -s {} -p '*test*.py'",
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

pub(super) fn look(turn: &Turn, path: &str, why: &str) -> Decision {
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
    let can_edit = turn.has("edit") || turn.has("apply_patch");
    let candidate = repair::candidates(&code, run, &hints)
        .into_iter()
        .find_map(|repair| {
            let (old, new) = snippet(state.content(&repair.path)?, &repair)?;
            // A repair that would undo one that helped is no repair.
            let undoes = state
                .kept
                .iter()
                .any(|(p, o, n)| *p == repair.path && *o == new && *n == old);
            let fresh = !undoes && !state.tried.contains(&key(&repair.path, &old, &new));
            fresh.then_some((repair, old, new))
        });
    match candidate.filter(|_| state.tried.len() < MOST_TRIES && can_edit && !state.giving_up) {
        Some((repair, old, new)) => {
            let place = repair
                .function
                .as_ref()
                .map_or(String::new(), |name| format!(" in `{name}`"));
            let text = format!("{}:{}{place}: I try {}.", repair.path, repair.line, repair.what);
            edit(turn, state, &repair.path, &old, &new, text)
        }
        None => match state.kept.last() {
            Some((path, old, new)) => edit(
                turn,
                state,
                path,
                new,
                old,
                "It helped, but not enough. I take it back.".into(),
            ),
            None => Decision::say(gave_up(turn, state, run)),
        },
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

/// The shortest texts that name the line exactly once, before and after the repair (it may have to be taken back):
/// the line without its indent, else the line with one or two lines before it.
fn snippet(lines: &[String], repair: &Repair) -> Option<(String, String)> {
    let at = repair.line.checked_sub(1)?;
    let mut repaired = lines.to_vec();
    *repaired.get_mut(at)? = repair.new.clone();
    let (before, after) = (lines.join("\n"), repaired.join("\n"));
    let with = |line: &str, context: usize| -> Option<String> {
        let mut piece = lines.get(at.checked_sub(context)?..at)?.to_vec();
        piece.push(line.to_owned());
        Some(piece.join("\n"))
    };
    let choices = (0..3).map(|context| match context {
        0 => Some((repair.old.trim().to_owned(), repair.new.trim().to_owned())),
        _ => Some((with(&repair.old, context)?, with(&repair.new, context)?)),
    });
    let once = |text: &str, part: &str| text.matches(part).count() == 1;
    choices
        .flatten()
        .find(|(old, new)| once(&before, old) && once(&after, new))
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
    let text_before = state
        .content(path)
        .map(|lines| lines.join("\n"))
        .unwrap_or_default();
    let indent: String = text_before
        .split_once(old)
        .and_then(|(head, _)| head.rsplit('\n').next())
        .filter(|head| head.trim().is_empty())
        .unwrap_or_default()
        .to_owned();
    let marked = |mark: char, part: &str| {
        format!("{indent}{part}")
            .lines()
            .map(|line| format!("{mark}{line}\n"))
            .collect::<String>()
    };
    let (removed, added) = (marked('-', old), marked('+', new));
    let patch = format!("*** Begin Patch\n*** Update File: {path}\n@@\n{removed}{added}*** End Patch\n");
    let name = turn.argument_name("apply_patch", &["patch", "input"]);
    Decision::call(text, "apply_patch", json!({name: patch}))
}
