//! Owns: what the user has configured: the file, the variables and the flags, in rising precedence.
//! Guarantees: a `Config` has been checked as a whole; every value knows where it came from; a workspace can't
//! change it, since no project file is read.

pub(crate) mod file;
pub mod keys;
pub mod project;
mod sections;
pub mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::domain::secret::Secret;
use crate::paths::Env;
pub use sections::{
    BoardConfig, GitConfig, HooksConfig, JailConfig, JailKind, Layout, LedgerConfig, LimitsConfig, LogConfig,
    ModelConfig, ModelEntry, NetworkConfig, PrivacyConfig, ProviderApi, ProviderAuth, ProviderEntry,
    ShellChoice, ShellConfig, StorageConfig,
};
use value::Value;

/// A configuration file is a page; more is a wrong path.
const FILE_MAX: u64 = 1024 * 1024;

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[model]`
    pub model: ModelConfig,
    /// `[providers.NAME]`
    pub providers: BTreeMap<String, ProviderEntry>,
    /// `[models."PROVIDER/NAME"]`
    pub models: BTreeMap<String, ModelEntry>,
    /// `[jail]`
    pub jail: JailConfig,
    /// `[shell]`
    pub shell: ShellConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[network]`
    pub network: NetworkConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[privacy]`
    pub privacy: PrivacyConfig,
    /// `[git]`
    pub git: GitConfig,
    /// `[persona]`: the name of the usual one.
    pub persona: String,
    /// `[hooks]`
    pub hooks: HooksConfig,
    /// `[ledger]`
    pub ledger: LedgerConfig,
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[board]`.
    pub board: BoardConfig,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// Things a person should know that are no errors.
    pub notices: Vec<String>,
    settings: Settings,
}

/// Values given by flags; each wins over everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    /// `--log-level`
    pub log_level: Option<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// A variable.
    Env,
    /// A flag.
    Flag,
}

/// The exact spot of a value or mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file; line and column from 1.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// Which character of it.
        column: usize,
    },
    /// In a variable.
    Variable(&'static str),
    /// In a flag.
    Flag(&'static str),
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
}

/// Everything that is wrong with a configuration. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// A value, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    value: Value,
    origin: Origin,
    place: Option<Place>,
}

type Settings = BTreeMap<String, Setting>;

impl Config {
    /// Reads the file (which may be absent unless `must_exist`), the variables and the flags.
    pub fn load(path: &Path, must_exist: bool, env: &Env, flags: &ConfigFlags) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut settings = defaults();
        let mut files = Vec::new();
        match read_text(path, must_exist) {
            Ok(None) => {}
            Ok(Some(text)) => {
                files.push(path.to_owned());
                match file::read(path, &text) {
                    Ok(found) => settings.extend(found),
                    Err(found) => errors.extend(found),
                }
            }
            Err(message) => {
                let place = Place::File {
                    path: path.to_owned(),
                    line: 1,
                    column: 1,
                };
                errors.push(ConfigError { place, message });
            }
        }
        overlay(&mut settings, &mut errors, env, flags);
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok(Self::from_settings(
            settings,
            files,
            unknown_variables(env),
            env.get("HOME").map(Path::new),
        ))
    }

    /// Values that must not be shown or logged: what headers and query parameters hold, passwords in addresses.
    pub fn secrets(&self) -> Vec<Secret> {
        let texts = self.providers.values().flat_map(|entry| {
            let values = entry
                .headers
                .values()
                .chain(entry.query.values())
                .map(String::as_str);
            let addresses = [entry.base_url.as_deref(), entry.proxy.as_deref()];
            values.chain(
                addresses
                    .into_iter()
                    .flatten()
                    .filter_map(|url| password(url).map(|(_, secret, _)| secret)),
            )
        });
        let proxy = self.network.proxy.iter().filter_map(|url| password(url.expose()));
        let texts = texts.chain(proxy.map(|(_, secret, _)| secret));
        // Short values such as `api-version=1` are no secrets, and hiding them everywhere would maim the log.
        texts.filter(|text| text.len() >= 8).map(Secret::new).collect()
    }

    /// Every value in effect, with its origin. Values of headers and query parameters are not shown.
    pub fn effective(&self) -> serde_json::Value {
        let shown = self.settings.iter().map(|(name, setting)| {
            serde_json::json!({
                "key": name,
                "value": hidden(name, &setting.value).to_json(),
                "origin": setting.origin.to_string(),
                "place": setting.place.as_ref().map(ToString::to_string),
            })
        });
        shown.collect()
    }
}

impl Default for Config {
    /// What is in effect when nobody configured anything.
    fn default() -> Self {
        Self::from_settings(defaults(), Vec::new(), Vec::new(), None)
    }
}

fn defaults() -> Settings {
    let plain = keys::KEYS.iter().filter(|key| !key.name.contains(".NAME."));
    plain
        .map(|key| {
            // A test proves that every default parses.
            let value = key
                .default
                .and_then(|text| key.kind.parse_text(text).ok())
                .unwrap_or(Value::Unset);
            (
                key.name.to_owned(),
                Setting {
                    value,
                    origin: Origin::Default,
                    place: None,
                },
            )
        })
        .collect()
}

fn overlay(settings: &mut Settings, errors: &mut Vec<ConfigError>, env: &Env, flags: &ConfigFlags) {
    let mut set = |key: &keys::Key, text: &str, origin: Origin, place: Place| match key.kind.parse_text(text)
    {
        Ok(value) => {
            settings.insert(
                key.name.to_owned(),
                Setting {
                    value,
                    origin,
                    place: Some(place),
                },
            );
        }
        Err(message) => errors.push(ConfigError { place, message }),
    };
    for key in keys::KEYS {
        let Some(name) = key.env else { continue };
        if let Some(text) = env.get(name).filter(|text| !text.is_empty()) {
            set(key, text, Origin::Env, Place::Variable(name));
        }
    }
    if let (Some(level), Some(key)) = (&flags.log_level, keys::find("log.level")) {
        set(key, level, Origin::Flag, Place::Flag("--log-level"));
    }
}

/// Variables of ours that set nothing: most likely mistyped.
fn unknown_variables(env: &Env) -> Vec<String> {
    let others = ["AGENTD_STATE_DIR", "AGENTD_SOCKET", "AGENTD_CONFIG"];
    let known: Vec<&str> = others
        .into_iter()
        .chain(keys::KEYS.iter().filter_map(|key| key.env))
        .collect();
    env.keys()
        .filter(|name| name.starts_with("AGENTD_") && !known.contains(&name.as_str()))
        .filter(|name| !name.starts_with("AGENTD_TEST_"))
        .map(|name| {
            let near = value::nearest(name, known.iter().copied());
            let meant = near.map(|near| format!(" Did you mean {near}?"));
            format!(
                "the variable {name} means nothing here.{}",
                meant.unwrap_or_default()
            )
        })
        .collect()
}

fn read_text(path: &Path, must_exist: bool) -> Result<Option<String>, String> {
    let size = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(None),
        Err(error) => return Err(format!("can't be read: {error}")),
        Ok(meta) if !meta.is_file() => return Err("is not a file".to_owned()),
        Ok(meta) => meta.len(),
    };
    if size > FILE_MAX {
        return Err(format!("has {size} bytes, too many for a configuration file"));
    }
    std::fs::read_to_string(path)
        .map(Some)
        .map_err(|error| format!("can't be read: {error}"))
}

/// What may be shown of a value.
fn hidden(name: &str, value: &Value) -> Value {
    match value {
        Value::Map(entries) => Value::Map(
            entries
                .keys()
                .map(|key| (key.clone(), "(hidden)".to_owned()))
                .collect(),
        ),
        Value::Text(url) if name.starts_with("providers.") || name == "network.proxy" => {
            match password(url) {
                Some((before, secret, after)) if !secret.is_empty() => {
                    Value::Text(format!("{before}(hidden){after}"))
                }
                _ => value.clone(),
            }
        }
        _ => value.clone(),
    }
}

/// Splits `http://user:secret@host` around its secret.
fn password(url: &str) -> Option<(&str, &str, &str)> {
    let start = url.find("://")? + 3;
    let authority_end = url.get(start..)?.find('/').map_or(url.len(), |at| start + at);
    let at = start + url.get(start..authority_end)?.rfind('@')?;
    let colon = start + url.get(start..at)?.find(':')? + 1;
    Some((url.get(..colon)?, url.get(colon..at)?, url.get(at..)?))
}

impl Place {
    fn position(&self) -> (usize, usize) {
        match self {
            Self::File { line, column, .. } => (*line, *column),
            Self::Variable(_) | Self::Flag(_) => (0, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Env => "env",
            Self::Flag => "flag",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
