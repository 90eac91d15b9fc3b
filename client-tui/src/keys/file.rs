//! Owns: reading `keys.toml`: a preset and other keys for actions.
//! Guarantees: what is wrong is named with the number of its line, and nothing of the file is used then.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{Action, Binding, Context, Key, Keymap, presets};

/// What is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeysError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    preset: Option<Spanned<String>>,
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Spanned<Keys>>,
}

/// One key or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Keys {
    One(String),
    Many(Vec<String>),
}

/// The table that the text of a file makes.
///
/// `[keys]` gives actions other keys: `decide = "ctrl-o"`, `quit = ["ctrl-x d", "f10"]`; an empty list takes
/// an action's keys away. The keys count wherever the action has keys in the preset.
pub(crate) fn load(text: &str) -> Result<Keymap, KeysError> {
    let file: File = toml::from_str(text).map_err(|error| KeysError {
        line: error.span().map_or(1, |span| line_of(text, &span)),
        message: error.message().to_owned(),
    })?;
    let mut keymap = match &file.preset {
        None => presets::default(),
        Some(name) => presets::by_name(name.get_ref()).ok_or_else(|| KeysError {
            line: line_of(text, &name.span()),
            message: format!(
                "there is no preset '{}'; there are: {}",
                name.get_ref(),
                presets::NAMES.join(", ")
            ),
        })?,
    };
    let mut lines: Vec<(Action, usize)> = Vec::new();
    for (name, keys) in &file.keys {
        let line = line_of(text, &name.span());
        let fail = |message: String| KeysError { line, message };
        let action = Action::by_name(name.get_ref())
            .ok_or_else(|| fail(format!("there is no action '{}'", name.get_ref())))?;
        let words: Vec<&str> = match keys.get_ref() {
            Keys::One(one) => vec![one.as_str()],
            Keys::Many(many) => many.iter().map(String::as_str).collect(),
        };
        let mut sequences = Vec::new();
        for word in words {
            let keys: Option<Vec<Key>> = word.split_whitespace().map(Key::parse).collect();
            let keys = keys
                .filter(|keys| (1..=2).contains(&keys.len()))
                .ok_or_else(|| fail(format!("'{word}' is not a key, nor two keys")))?;
            sequences.push(keys);
        }
        replace(&mut keymap, action, &sequences);
        lines.push((action, line));
    }
    if let Some((one, other)) = keymap.conflict() {
        let line = |action: Action| {
            lines
                .iter()
                .find(|(one, _)| *one == action)
                .map(|(_, line)| *line)
        };
        let (first, second) = (line(one.action), line(other.action));
        let place =
            |line: Option<usize>| line.map_or("as delivered".to_owned(), |line| format!("line {line}"));
        return Err(KeysError {
            line: first.max(second).unwrap_or(1),
            message: format!(
                "{} means both '{}' ({}, {}) and '{}' ({}, {})",
                one.shown(),
                one.action.name(),
                one.context.title(),
                place(first),
                other.action.name(),
                other.context.title(),
                place(second),
            ),
        });
    }
    Ok(keymap)
}

fn replace(keymap: &mut Keymap, action: Action, sequences: &[Vec<Key>]) {
    let mut contexts: Vec<Context> = Vec::new();
    for binding in keymap.bindings.iter().filter(|one| one.action == action) {
        if !contexts.contains(&binding.context) {
            contexts.push(binding.context);
        }
    }
    if contexts.is_empty() {
        contexts.push(Context::Everywhere);
    }
    keymap.bindings.retain(|one| one.action != action);
    for context in contexts {
        for keys in sequences {
            let keys = keys.clone();
            keymap.bindings.push(Binding {
                context,
                action,
                keys,
            });
        }
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.bytes()
        .take(span.start)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_can_be_changed() {
        let keymap = load("preset = \"vim\"\n[keys]\nnotices = [\"f3\", \"ctrl-x z\"]\n").unwrap();
        assert_eq!(keymap.all(Action::Notices), "F3, Ctrl-X z");
        assert_eq!(keymap.shown(Context::List, Action::Help), Some("?".into()));
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        let cases = [
            ("[keys]\n\nfly = \"f3\"", 3, "no action 'fly'"),
            ("[keys]\nhelp = \"hyper-x\"", 2, "not a key"),
            ("# mine\npreset = \"nano\"", 2, "no preset 'nano'"),
            (
                "[keys]\nhelp = \"f3\"\nnotices = \"f3\"",
                3,
                "F3 means both 'help'",
            ),
            ("[keys]\nhelp = \"ctrl-y\"", 2, "as delivered"),
            ("[keys]\nhelp = \"f3\"\nhelp = \"f4\"", 3, "duplicate key"),
        ];
        for (text, line, message) in cases {
            let error = load(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error:?}");
            assert!(error.message.contains(message), "{error:?}");
        }
    }
}
