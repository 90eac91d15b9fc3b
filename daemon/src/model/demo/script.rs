//! Owns: the rehearsal commands of the demo model, with which clients and tests make it do one exact thing.
//! Guarantees: a prompt that does not begin with `demo:` is never read as a script.
//!
//! The prompt is `demo:` followed by one command per line, done in order:
//!
//! | command | what happens |
//! |---|---|
//! | `run COMMAND` | one `exec` call; the final text ends with the end of its output |
//! | `read PATH` | one `read` call |
//! | `write PATH TEXT` | one `write` call |
//! | `ask` | a `write` to `AGENTS.md`, a protected path: asks an approval |
//! | `say TEXT` | answers TEXT |
//! | `stream N` | answers N words, about 200 a second |
//! | `think` | thinks aloud before answering |
//! | `retry` | announces a pretended retry before answering |
//! | `fail` | says half a sentence, then fails like a broken provider |

use serde_json::json;

use super::Decision;
use super::history::Turn;
use crate::model::error::ModelError;

/// One command of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Run(String),
    Read(String),
    Write(String, String),
    Ask,
    Say(String),
    Stream(usize),
    Think,
    Retry,
    Fail,
    Unknown(String),
}

impl Command {
    fn call(&self) -> Option<(&'static str, serde_json::Value)> {
        match self {
            Self::Run(command) => Some(("exec", json!({"command": command}))),
            Self::Read(path) => Some(("read", json!({"path": path}))),
            Self::Write(path, text) => Some(("write", json!({"path": path, "content": format!("{text}\n")}))),
            Self::Ask => Some((
                "write",
                json!({"path": "AGENTS.md", "content": "Written by the demo model.\n"}),
            )),
            _ => None,
        }
    }
}

/// Most words of `stream`: a slip of the finger must not stream for an hour.
const MOST_WORDS: usize = 20_000;

/// The commands of a prompt, if it is a script.
pub(crate) fn parse(prompt: &str) -> Option<Vec<Command>> {
    let script = prompt.trim().strip_prefix("demo:")?;
    let lines = script
        .lines()
        .map(|line| line.trim().trim_start_matches("demo:").trim());
    Some(lines.filter(|line| !line.is_empty()).map(command).collect())
}

fn command(line: &str) -> Command {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match word {
        "run" if !rest.is_empty() => Command::Run(rest.into()),
        "read" if !rest.is_empty() => Command::Read(rest.into()),
        "write" if !rest.is_empty() => {
            let (path, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            Command::Write(path.into(), text.trim().into())
        }
        "ask" => Command::Ask,
        "say" => Command::Say(rest.into()),
        "stream" => Command::Stream(rest.parse().unwrap_or(100).min(MOST_WORDS)),
        "think" => Command::Think,
        "retry" => Command::Retry,
        "fail" => Command::Fail,
        _ => Command::Unknown(line.into()),
    }
}

/// The next step of a script.
pub(crate) fn perform(commands: &[Command], turn: &Turn) -> Decision {
    let calls: Vec<_> = commands.iter().filter_map(Command::call).collect();
    if let Some((tool, mut arguments)) = calls.into_iter().nth(turn.done.len()) {
        if !turn.has(tool) {
            return Decision::say(format!("(demo model) the tool '{tool}' is not offered here."));
        }
        rename_content(&mut arguments, turn, tool);
        let mut decision = Decision::call("", tool, arguments);
        if turn.done.is_empty() {
            decision.retry = commands.contains(&Command::Retry);
            decision.thought = thought(commands);
        }
        return decision;
    }
    let mut pieces = Vec::new();
    for done in &turn.done {
        let answer = if done.ok { "" } else { " (not ok)" };
        let shown = done.argument(&["command", "path"]);
        pieces.push(format!("{} {shown}{answer}:\n{}", done.tool, tail(&done.text)));
    }
    let mut fault = None;
    for command in commands {
        match command {
            Command::Say(text) => pieces.push(text.clone()),
            Command::Stream(count) => pieces.push(numbered(*count)),
            Command::Unknown(line) => pieces.push(format!(
                "(demo model) unknown command '{line}'. Known: run, read, write, ask, say, stream, think, retry, fail."
            )),
            Command::Fail => {
                pieces.push("(demo model) about to".into());
                fault = Some(ModelError::Server {
                    status: Some(500),
                    message: "the demo model was asked to fail".into(),
                    retry_after: None,
                });
            }
            _ => {}
        }
    }
    let mut text = pieces.join("\n");
    if text.trim().is_empty() {
        text = "(demo model) done.".into();
    }
    let mut decision = Decision {
        text,
        fault,
        ..Decision::default()
    };
    if turn.done.is_empty() {
        decision.retry = commands.contains(&Command::Retry);
        decision.thought = thought(commands);
    }
    decision
}

fn thought(commands: &[Command]) -> String {
    if commands.contains(&Command::Think) {
        "I am the demo model, so I do not really think. These words only show where thinking appears.".into()
    } else {
        String::new()
    }
}

/// Some `write` tools call their text otherwise.
pub(crate) fn rename_content(arguments: &mut serde_json::Value, turn: &Turn, tool: &str) {
    let name = turn.argument_name(tool, &["content", "text", "contents"]);
    let Some(fields) = arguments.as_object_mut() else {
        return;
    };
    if let Some(content) = fields.remove("content") {
        fields.insert(name.into(), content);
    }
}

fn numbered(count: usize) -> String {
    (1..=count)
        .map(|n| format!("word{n}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The end of a text: enough to see what happened.
fn tail(text: &str) -> String {
    const LINES: usize = 20;
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(LINES))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}
