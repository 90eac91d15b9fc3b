//! Owns: `agentctl config`: the configuration file, key by key.
//! Guarantees: what the daemon would refuse is never saved; comments and order survive; the file is
//! replaced whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentd_proto::{autostart, escape};
use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table};

use crate::args::ConfigVerb;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};

const VALUES: &[Column] = &[flexible("KEY", 9, 12), flexible("VALUE", 8, 10)];
const ORIGINS: &[Column] = &[
    flexible("KEY", 9, 12),
    flexible("VALUE", 8, 10),
    flexible("ORIGIN", 7, 10),
];
const KEYS: &[Column] = &[
    flexible("KEY", 9, 12),
    fixed("TYPE", 8),
    flexible("DEFAULT", 6, 8),
    flexible("MEANING", 3, 12),
];

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: ConfigVerb) -> Result<u8, Failure> {
    match verb {
        ConfigVerb::Path => {
            context.out.line(&path()?.display().to_string())?;
            Ok(exit::OK)
        }
        ConfigVerb::Get { key } => get(context, &key),
        ConfigVerb::List { origin } => list(context, origin),
        ConfigVerb::Schema => schema(context),
        ConfigVerb::Set { key, value } => {
            let mut document = read(&path()?)?;
            set(&mut document, &key, parse(&value))?;
            save(&document.to_string())?;
            context
                .out
                .note("saved · agentctl daemon restart makes a running daemon read it");
            Ok(exit::OK)
        }
        ConfigVerb::Unset { key } => {
            let mut document = read(&path()?)?;
            if !unset(&mut document, &key) {
                return Err(Failure::new(
                    exit::NOT_FOUND,
                    "key_not_set",
                    format!("'{key}' is not set in the file"),
                )
                .next("agentctl config list --origin"));
            }
            save(&document.to_string())?;
            Ok(exit::OK)
        }
        ConfigVerb::Validate { file } => {
            let file = match file {
                Some(file) => file,
                None => path()?,
            };
            if !file.exists() {
                context
                    .out
                    .note(&format!("'{}' does not exist: all defaults", file.display()));
                return Ok(exit::OK);
            }
            check(&file, &file)?;
            context.out.note("fine");
            Ok(exit::OK)
        }
        ConfigVerb::Edit => edit(context),
    }
}

/// The user's configuration file.
fn path() -> Result<PathBuf, Failure> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    variable("AGENTD_CONFIG")
        .or_else(|| variable("XDG_CONFIG_HOME").map(|dir| dir.join("agentd/config.toml")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".config/agentd/config.toml")))
        .ok_or_else(|| Failure::usage("neither HOME nor AGENTD_CONFIG says where the configuration is"))
}

fn read(path: &Path) -> Result<DocumentMut, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Failure::usage(format!(
                "cannot read '{}': {error}",
                path.display()
            )));
        }
    };
    text.parse::<DocumentMut>().map_err(|error| {
        let first = error.to_string().lines().next().unwrap_or_default().to_owned();
        Failure::usage(format!("'{}' is not TOML: {first}", path.display())).next("agentctl config edit")
    })
}

/// A TOML value if it reads as one, else text.
fn parse(text: &str) -> toml_edit::Value {
    let mut value = text.parse().unwrap_or_else(|_| toml_edit::Value::from(text));
    value.decor_mut().clear();
    value
}

fn set(document: &mut DocumentMut, key: &str, value: toml_edit::Value) -> Result<(), Failure> {
    let mut words: Vec<&str> = key.split('.').collect();
    let last = words
        .pop()
        .filter(|word| !word.is_empty())
        .ok_or_else(|| bad_key(key))?;
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for word in words {
        if word.is_empty() {
            return Err(bad_key(key));
        }
        let entry = table.entry(word).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        table = entry.as_table_like_mut().ok_or_else(|| bad_key(key))?;
    }
    // The decor of what stood there keeps its comment.
    match table.get_mut(last) {
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = value;
            *old.decor_mut() = decor;
        }
        _ => {
            table.insert(last, Item::Value(value));
        }
    }
    Ok(())
}

fn bad_key(key: &str) -> Failure {
    Failure::usage(format!(
        "'{}' cannot be a key of the configuration",
        escape::line(key)
    ))
    .next("agentctl config schema")
}

fn unset(document: &mut DocumentMut, key: &str) -> bool {
    let mut words: Vec<&str> = key.split('.').collect();
    let Some(last) = words.pop() else { return false };
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for word in words {
        match table.get_mut(word).and_then(Item::as_table_like_mut) {
            Some(next) => table = next,
            None => return false,
        }
    }
    table.remove(last).is_some()
}

/// Checks the text as the daemon would, then replaces the file.
fn save(text: &str) -> Result<(), Failure> {
    let path = path()?;
    let failed = |error: std::io::Error| {
        Failure::new(
            exit::FAILED,
            "config_not_saved",
            format!("cannot write '{}': {error}", path.display()),
        )
        .next("agentctl config path")
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let fresh = path.with_extension(format!("toml.new-{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(failed)
        .and_then(|()| check(&fresh, &path))
        .and_then(|()| std::fs::rename(&fresh, &path).map_err(failed));
    if written.is_err() {
        // Only ours, and only a draft.
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

/// Lets the daemon's own program judge a file; its sentences name `shown`.
fn check(file: &Path, shown: &Path) -> Result<(), Failure> {
    let output = daemon(&["config", "check", "--file"], Some(file))?;
    if output.status.success() {
        return Ok(());
    }
    let text =
        String::from_utf8_lossy(&output.stderr).replace(&*file.to_string_lossy(), &shown.to_string_lossy());
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("the configuration is refused").to_owned();
    let first = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
    let mut failure = Failure::new(exit::USAGE, "config_invalid", first);
    failure.notes.extend(lines.map(str::to_owned));
    Err(failure.next("agentctl config schema"))
}

fn daemon(words: &[&str], file: Option<&Path>) -> Result<std::process::Output, Failure> {
    let program = autostart::find_program().ok_or_else(|| {
        Failure::new(
            exit::DAEMON,
            "daemon_missing",
            "no program 'agentd' beside agentctl or on PATH",
        )
        .next("agentctl doctor")
    })?;
    let mut command = Command::new(program);
    command.args(words);
    if let Some(file) = file {
        command.arg(file);
    }
    command.output().map_err(|error| {
        Failure::new(
            exit::DAEMON,
            "daemon_missing",
            format!("cannot run agentd: {error}"),
        )
        .next("agentctl doctor")
    })
}

/// What a subcommand of the daemon's program prints as JSON.
fn document(words: &[&str]) -> Result<Value, Failure> {
    let output = daemon(words, None)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or("agentd refused").to_owned();
        let first = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
        return Err(Failure::new(exit::USAGE, "config_invalid", first).next("agentctl config edit"));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| {
        Failure::new(
            exit::DAEMON,
            "version_mismatch",
            format!("agentd's answer is not understood: {error}"),
        )
        .next("agentctl version")
    })
}

/// Key, value and origin of every setting. Both a list of objects and an object by key are understood.
fn effective() -> Result<Vec<(String, Value, String)>, Failure> {
    let word = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(match document(&["config", "show", "--json"])? {
        Value::Array(list) => list
            .iter()
            .map(|one| {
                (
                    word(one, "key"),
                    one.get("value").cloned().unwrap_or_default(),
                    word(one, "origin"),
                )
            })
            .collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, one)| {
                let origin = word(&one, "origin");
                (key, one.get("value").cloned().unwrap_or(one), origin)
            })
            .collect(),
        _ => Vec::new(),
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn get(context: &Context, key: &str) -> Result<u8, Failure> {
    let all = effective()?;
    if let Some((_, value, origin)) = all.iter().find(|(name, ..)| name == key) {
        if context.out.is_json() {
            context
                .out
                .json(&serde_json::json!({"key": key, "value": value, "origin": origin}))?;
        } else {
            context.out.line(&shown(value))?;
        }
        return Ok(exit::OK);
    }
    let names: Vec<String> = all.into_iter().map(|(name, ..)| name).collect();
    let meant = crate::command_line::nearest(key, &names);
    let meant = meant
        .map(|name| format!(". Did you mean '{name}'?"))
        .unwrap_or_default();
    Err(Failure::new(
        exit::NOT_FOUND,
        "key_unknown",
        format!("there is no key '{}'{meant}", escape::line(key)),
    )
    .next("agentctl config schema"))
}

fn list(context: &Context, origin: bool) -> Result<u8, Failure> {
    let all = effective()?;
    if context.out.is_json() {
        let values = all
            .iter()
            .map(|(key, value, origin)| serde_json::json!({"key": key, "value": value, "origin": origin}));
        context.out.json_list(values.collect())?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(key, value, origin)| vec![key.clone(), shown(value), origin.clone()])
        .collect();
    table::print(&context.out, if origin { ORIGINS } else { VALUES }, &rows)?;
    Ok(exit::OK)
}

fn schema(context: &Context) -> Result<u8, Failure> {
    let value = document(&["config", "schema"])?;
    let list = value.as_array().cloned().unwrap_or_default();
    if context.out.is_json() {
        context.out.json_list(list)?;
        return Ok(exit::OK);
    }
    let cell = |one: &Value, key: &str| one.get(key).map(shown).unwrap_or_default();
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|one| {
            ["key", "type", "default", "doc"]
                .map(|key| cell(one, key))
                .to_vec()
        })
        .collect();
    table::print(&context.out, KEYS, &rows)?;
    Ok(exit::OK)
}

fn edit(context: &Context) -> Result<u8, Failure> {
    let path = path()?;
    if !path.exists() {
        save("# Configuration of agentd. All keys: agentctl config schema\n")?;
    }
    open_editor(context, &path, "agentctl config edit")?;
    check(&path, &path)?;
    Ok(exit::OK)
}

/// Opens a file in the person's editor and waits for its end. `again` is the command to repeat when that fails.
pub(super) fn open_editor(context: &Context, path: &Path, again: &str) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR"));
    let Some(editor) = editor.filter(|_| context.can_ask()) else {
        return Err(
            Failure::usage("editing needs a terminal and EDITOR").next(format!("edit {}", path.display()))
        );
    };
    // EDITOR may have arguments, so a shell reads it; the path stays one word.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(path)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(Failure::new(exit::FAILED, "editor_failed", "the editor failed").next(again));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_key_keeps_the_rest_of_the_file() {
        let mut document: DocumentMut = "# mine\nmodel = \"a/b\" # why\n\n[jail]\nkind = \"bwrap\"\n"
            .parse()
            .unwrap();
        set(&mut document, "model", parse("c/d")).unwrap();
        set(&mut document, "jail.memory_bytes", parse("4096")).unwrap();
        set(
            &mut document,
            "model_providers.x.base_url",
            parse("http://127.0.0.1:1/v1"),
        )
        .unwrap();
        let text = document.to_string();
        assert!(text.starts_with("# mine\nmodel = \"c/d\" # why\n"), "{text}");
        assert!(text.contains("memory_bytes = 4096\n"), "{text}");
        assert!(
            text.contains("[model_providers.x]\nbase_url = \"http://127.0.0.1:1/v1\""),
            "{text}"
        );
        assert!(unset(&mut document, "jail.kind") && !unset(&mut document, "jail.kind"));
        assert!(set(&mut document, "model.sub", parse("1")).is_err());
        assert!(set(&mut document, "a..b", parse("1")).is_err());
    }

    #[test]
    fn values_read_as_toml_or_text() {
        assert!(parse("true").is_bool() && parse("12").is_integer() && parse("[\"a\"]").is_array());
        assert!(parse("openai/gpt-5").is_str() && parse("").is_str());
    }
}
