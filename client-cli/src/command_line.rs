//! Owns: what is wrong with a command line, said in the house style with a suggestion.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Global};
use crate::exit::{self, Failure};
use crate::render::Out;

/// Flags of every verb that take a value, so that the verb can be found behind them.
const WITH_VALUE: &[&str] = &[
    "-s",
    "--session",
    "-C",
    "--cd",
    "-o",
    "--output",
    "--fields",
    "--color",
    "--timeout",
    "--socket",
];

/// `approve --session` has no value although `--session S` elsewhere has one: gives it its own name.
pub(crate) fn normalize(mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(verb) = verb_at(&words) else { return words };
    if words.get(verb).is_some_and(|word| word == "approve") {
        for word in words
            .iter_mut()
            .skip(verb + 1)
            .filter(|word| *word == "--session")
        {
            *word = OsString::from("--for-session");
        }
    }
    words
}

fn verb_at(words: &[OsString]) -> Option<usize> {
    let mut index = 1;
    while let Some(word) = words.get(index) {
        let word = word.to_str()?;
        if !word.starts_with('-') {
            return Some(index);
        }
        index += if WITH_VALUE.contains(&word) { 2 } else { 1 };
    }
    None
}

/// Prints help or the mistake; gives the exit code.
pub(crate) fn answer(error: &clap::Error, words: &[OsString]) -> u8 {
    let out = Out::new(&lenient(words));
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match out.bytes(error.render().to_string().as_bytes()) {
                Ok(()) => exit::OK,
                Err(failure) => failure.exit,
            }
        }
        _ => {
            let failure = failure(error, words);
            out.failure(&failure);
            failure.exit
        }
    }
}

/// The flags that decide how a mistake is shown, taken from a line that does not parse.
fn lenient(words: &[OsString]) -> Global {
    let has = |wanted: &[&str]| {
        words.windows(2).any(
            |pair| matches!(pair, [a, b] if wanted.contains(&&*format!("{} {}", a.display(), b.display()))),
        )
    };
    let one = |wanted: &str| words.iter().any(|word| word == wanted);
    let mut line = vec!["agentctl"];
    if one("--json")
        || one("-ojson")
        || one("--output=json")
        || has(&["-o json", "--output json", "-o jsonl"])
    {
        line.push("--json");
    }
    Cli::try_parse_from(&line)
        .or_else(|_| Cli::try_parse_from(["agentctl"]))
        .map_or_else(
            |_| Global {
                session: None,
                dir: None,
                output: None,
                json: false,
                fields: Vec::new(),
                no_header: false,
                color: crate::args::When::Never,
                quiet: false,
                verbose: 0,
                no_input: true,
                yes: false,
                timeout: None,
                socket: None,
                no_autostart: true,
            },
            |cli| cli.global,
        )
}

fn failure(error: &clap::Error, words: &[OsString]) -> Failure {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(list)) => list.join(", "),
        Some(ContextValue::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let path = command_path(words);
    let help = format!("{} -h", path.join(" "));
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let candidates = subcommands(&path);
            suggest(format!("unknown command '{word}'"), &word, &candidates, "").next(help)
        }
        ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg);
            let bare = word.split('=').next().unwrap_or_default().to_owned();
            if !bare.starts_with('-') {
                return Failure::usage(format!("'{bare}' is one argument too many")).next(help);
            }
            suggest(format!("unknown flag '{bare}'"), &bare, &flags(&path), "--").next(help)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let flag = text(ContextKind::InvalidArg);
            let flag = flag.split(" <").next().unwrap_or_default().to_owned();
            let value = text(ContextKind::InvalidValue);
            if value.is_empty() {
                return Failure::usage(format!("flag '{flag}' needs a value")).next(help);
            }
            let valid: Vec<String> = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(list)) => list.clone(),
                _ => Vec::new(),
            };
            let source = std::error::Error::source(error).map(ToString::to_string);
            let sentence = source.unwrap_or_else(|| format!("'{value}' is no value for '{flag}'"));
            let failure = suggest(sentence, &value, &valid, "");
            if valid.is_empty() {
                failure.next(help)
            } else {
                failure.note(format!("one of: {}", valid.join(", "))).next(help)
            }
        }
        ErrorKind::MissingRequiredArgument => {
            Failure::usage(format!("missing: {}", text(ContextKind::InvalidArg))).next(help)
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let verbs = subcommands(&path).join(", ");
            Failure::usage(format!("'{}' needs a verb", path.join(" ")))
                .note(format!("one of: {verbs}"))
                .next(help)
        }
        ErrorKind::ArgumentConflict => {
            let (one, other) = (text(ContextKind::InvalidArg), text(ContextKind::PriorArg));
            Failure::usage(format!("'{one}' and '{other}' exclude each other")).next(help)
        }
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            Failure::usage(first.strip_prefix("error: ").unwrap_or(first)).next(help)
        }
    }
}

/// The sentence, with the nearest candidate when one is near.
fn suggest(sentence: String, word: &str, candidates: &[String], lead: &str) -> Failure {
    let bare = word.trim_start_matches('-');
    match nearest(bare, candidates) {
        Some(best) => {
            // A flag nobody has: `--json` is the one people mean by it.
            Failure::usage(format!("{sentence}. Did you mean '{lead}{best}'?"))
        }
        None => Failure::usage(sentence),
    }
}

/// The candidate that is nearest, if it is near at all.
pub(crate) fn nearest(word: &str, candidates: &[String]) -> Option<String> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= limit || (word.len() >= 3 && candidate.starts_with(&word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.clone())
}

/// `agentctl`, the verb and the verb below it, as far as they exist.
fn command_path(words: &[OsString]) -> Vec<String> {
    let mut path = vec!["agentctl".to_owned()];
    let mut command = Cli::command();
    let Some(first) = verb_at(words) else { return path };
    for word in words.iter().skip(first) {
        let Some(found) = word
            .to_str()
            .and_then(|word| command.find_subcommand(word))
            .cloned()
        else {
            break;
        };
        path.push(found.get_name().to_owned());
        command = found;
    }
    path
}

fn at(path: &[String]) -> clap::Command {
    let mut command = Cli::command();
    command.build();
    for word in path.iter().skip(1) {
        if let Some(found) = command.find_subcommand(word).cloned() {
            command = found;
        }
    }
    command
}

fn subcommands(path: &[String]) -> Vec<String> {
    at(path)
        .get_subcommands()
        .filter(|one| !one.is_hide_set())
        .map(|one| one.get_name().to_owned())
        .collect()
}

fn flags(path: &[String]) -> Vec<String> {
    at(path)
        .get_arguments()
        .filter_map(|one| one.get_long().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(line: &[&str]) -> Failure {
        let words: Vec<OsString> = std::iter::once(&"agentctl")
            .chain(line)
            .map(OsString::from)
            .collect();
        let words = normalize(words);
        let error = Cli::try_parse_from(&words).expect_err("a mistake");
        failure(&error, &words)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn typos_get_the_right_suggestion() {
        for (line, meant) in [
            (&["sesions"][..], "'sessions'"),
            (&["aprove", "a-1"], "'approve'"),
            (&["sessions", "lst"], "'list'"),
            (&["sessions", "list", "--jsn"], "'--json'"),
            (&["run", "--modle", "x", "hi"], "'--model'"),
            (&["logs", "-o", "jsno"], "'json'"),
        ] {
            let failure = mistake(line);
            assert_eq!(failure.exit, exit::USAGE);
            assert!(failure.message.contains(meant), "{line:?}: {}", failure.message);
            assert!(!failure.next.is_empty());
        }
    }

    #[test]
    fn nonsense_gets_no_suggestion() {
        assert!(!mistake(&["xyzzy"]).message.contains("mean"));
    }

    #[test]
    fn approve_takes_a_session_flag_without_a_value() {
        let words = ["agentctl", "-o", "json", "approve", "a-1", "--session"]
            .map(OsString::from)
            .to_vec();
        let cli = Cli::try_parse_from(normalize(words)).unwrap();
        assert!(matches!(cli.verb, Some(crate::args::Verb::Approve(approve)) if approve.for_session));
    }

    #[test]
    fn exec_passes_the_commands_own_flags_on() {
        let cli = Cli::try_parse_from(["agentctl", "exec", "--name", "n", "--", "ls", "-o", "--name", "x"])
            .unwrap();
        let Some(crate::args::Verb::Exec(exec)) = cli.verb else {
            panic!("exec")
        };
        assert_eq!(exec.command, ["ls", "-o", "--name", "x"].map(OsString::from));
        let cli = Cli::try_parse_from(["agentctl", "exec", "ls", "-la"]).unwrap();
        let Some(crate::args::Verb::Exec(exec)) = cli.verb else {
            panic!("exec")
        };
        assert_eq!(exec.command, ["ls", "-la"].map(OsString::from));
    }
}
