//! Owns: reading the configuration file.
//! Guarantees: all mistakes are found in one go, each with line and column; nothing unknown is passed over.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{self, KEYS};
use super::value::{Value, nearest};
use super::{ConfigError, Origin, Place, Setting, Settings};

/// Reads the text of a configuration file.
pub(super) fn read(path: &Path, text: &str) -> Result<Settings, Vec<ConfigError>> {
    let mut reading = Reading {
        path,
        text,
        settings: Settings::new(),
        errors: Vec::new(),
    };
    let (root, syntax) = DeTable::parse_recoverable(text);
    for error in syntax {
        let at = error.span().map_or(0, |span| span.start);
        reading.fault(at, error.message().trim().to_owned());
    }
    if reading.errors.is_empty() {
        reading.table("", root.get_ref());
    }
    // Tables come sorted by name; people read from top to bottom.
    reading.errors.sort_by_key(|error| error.place.position());
    if reading.errors.is_empty() {
        Ok(reading.settings)
    } else {
        Err(reading.errors)
    }
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    settings: Settings,
    errors: Vec<ConfigError>,
}

impl Reading<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            if let Some(key) = keys::find(&full) {
                let at = value.span().start;
                match key.kind.parse_toml(value.get_ref()) {
                    Ok(value) => self.keep(full, value, at),
                    Err(message) => self.fault(at, format!("{full}: {message}")),
                }
            } else if prefix == "models." || is_section(&full) {
                self.section(&full, name, value);
            } else {
                self.unknown(prefix, &full, name);
            }
        }
    }

    fn section(&mut self, full: &str, name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) {
        let Some(inner) = value.get_ref().as_table() else {
            self.fault(value.span().start, format!("{full} is a table; write [{full}]"));
            return;
        };
        self.table(&format!("{full}."), inner);
        if let Some(model) = full.strip_prefix("models.")
            && !model.contains('/')
        {
            let rule = "write it as [models.\"PROVIDER/NAME\"]";
            self.fault(
                name.span().start,
                format!("'{model}' is not a model's name; {rule}"),
            );
        }
        if let Some(provider) = full.strip_prefix("providers.") {
            self.provider(provider, name, inner);
        }
    }

    fn provider(&mut self, provider: &str, name: &Spanned<DeString<'_>>, table: &DeTable<'_>) {
        let at = name.span().start;
        if provider == "demo" {
            self.fault(
                at,
                "'demo' is the built-in demo model; choose another name".to_owned(),
            );
        }
        let usual = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if provider.is_empty() || provider.len() > 64 || !provider.bytes().all(usual) {
            let rule = "use lower-case letters, digits, '-' and '_'";
            self.fault(at, format!("'{provider}' is not a provider's name; {rule}"));
        }
        if provider != "openai" && !table.iter().any(|(key, _)| key.get_ref().as_ref() == "base_url") {
            self.fault(at, format!("provider '{provider}' has no base_url"));
        }
    }

    fn unknown(&mut self, prefix: &str, full: &str, name: &Spanned<DeString<'_>>) {
        let at = name.span().start;
        let leaf = name.get_ref().as_ref();
        if prefix.starts_with("providers.") && matches!(leaf, "api_key" | "key" | "token") {
            let message = format!(
                "unknown key '{full}'. Keys are kept in credentials.toml, beside this file, or in the variable \
                 named by api_key_env"
            );
            return self.fault(at, message);
        }
        let meant = suggestion(prefix, leaf).map(|near| format!(". Did you mean '{near}'?"));
        self.fault(at, format!("unknown key '{full}'{}", meant.unwrap_or_default()));
    }

    fn keep(&mut self, name: String, value: Value, at: usize) {
        let (line, column) = position(self.text, at);
        let place = Place::File {
            path: self.path.to_owned(),
            line,
            column,
        };
        self.settings.insert(
            name,
            Setting {
                value,
                origin: Origin::File,
                place: Some(place),
            },
        );
    }

    fn fault(&mut self, at: usize, message: String) {
        let (line, column) = position(self.text, at);
        let place = Place::File {
            path: PathBuf::from(self.path),
            line,
            column,
        };
        self.errors.push(ConfigError { place, message });
    }
}

fn is_section(full: &str) -> bool {
    let inner = format!("{}.", full);
    let provider = full
        .strip_prefix("providers.")
        .is_some_and(|name| !name.contains('.'));
    provider || KEYS.iter().any(|key| key.name.starts_with(&inner))
}

/// A neighbour in the same table; else a key of that name in another one.
fn suggestion(prefix: &str, leaf: &str) -> Option<String> {
    let general = keys::generalised(&format!("{prefix}x"));
    let inside = general.strip_suffix('x').unwrap_or_default();
    let siblings = KEYS
        .iter()
        .filter_map(|key| key.name.strip_prefix(inside))
        .map(|rest| rest.split('.').next().unwrap_or(rest));
    if let Some(near) = nearest(leaf, siblings) {
        return Some(format!("{prefix}{near}"));
    }
    let elsewhere = KEYS
        .iter()
        .map(|key| key.name)
        .find(|name| name.rsplit('.').next() == Some(leaf));
    elsewhere.map(str::to_owned)
}

/// Line and column, from 1, the column in characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let found = read(Path::new("c.toml"), text).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_keys_name_their_place_and_what_was_meant() {
        let text = "[shell]\nmax_ouput = \"1MiB\"\n\n[modle]\ndefault = \"x\"\n";
        assert_eq!(
            errors(text),
            [
                "c.toml:2:1: unknown key 'shell.max_ouput'. Did you mean 'shell.max_output'?",
                "c.toml:4:2: unknown key 'modle'. Did you mean 'model'?",
            ]
        );
        assert_eq!(
            errors("max_steps = 3"),
            ["c.toml:1:1: unknown key 'max_steps'. Did you mean 'model.max_steps'?"]
        );
        assert_eq!(errors("qqq = 3"), ["c.toml:1:1: unknown key 'qqq'"]);
        assert_eq!(
            errors("[providers.x]\nbase_url = 'http://h'\nbase-ulr = ''"),
            ["c.toml:3:1: unknown key 'providers.x.base-ulr'. Did you mean 'providers.x.base_url'?"]
        );
    }

    #[test]
    fn wrong_values_name_their_place() {
        assert_eq!(
            errors("[shell]\ntimeout = 10\nidle_timeout = 'soon'"),
            [
                "c.toml:2:11: shell.timeout: 10 has no unit; write '10s' for seconds or '10min' for minutes",
                "c.toml:3:16: shell.idle_timeout: 'soon' is not a duration; write it like '90s', '10min', '1h30m' or 'none'",
            ]
        );
        assert_eq!(
            errors("[model]\nmax_steps = true"),
            ["c.toml:2:13: model.max_steps: a whole number is wanted here, not a boolean"]
        );
        assert_eq!(errors("jail = 1"), ["c.toml:1:8: jail is a table; write [jail]"]);
        assert_eq!(errors("[jail]\nread_only = ['/usr', 'x']").len(), 1);
        assert_eq!(errors("[model]\nmax_steps = -1").len(), 1);
    }

    #[test]
    fn syntax_errors_and_repeated_keys_name_their_place() {
        for text in [
            "[shell\n",
            "[log]\nlevel = \n",
            "[log]\nlevel='info'\nlevel='warn'\n",
        ] {
            let found = errors(text);
            assert!(
                found.first().is_some_and(|first| first.starts_with("c.toml:")),
                "{text:?}: {found:?}"
            );
        }
    }

    #[test]
    fn keys_do_not_belong_here() {
        let found = errors("[providers.openai]\napi_key = \"sk-canary\"\n");
        assert!(found.concat().contains("credentials.toml"), "{found:?}");
        assert!(!found.concat().contains("canary"));
    }

    #[test]
    fn a_models_table_is_named_in_full_and_may_have_dots() {
        let text = "[models.\"openai/gpt-4.1\"]\ncontext_tokens = 9000\ninput_usd = 2.5\noutput_usd = 8\n";
        assert_eq!(errors(text), Vec::<String>::new());
        assert_eq!(errors("[models.gpt]\nedit = 'apply_patch'").len(), 1);
        assert_eq!(
            errors("[models.'a/b']\ncontext_token = 9000"),
            ["c.toml:2:1: unknown key 'models.a/b.context_token'. Did you mean 'models.a/b.context_tokens'?"]
        );
        assert_eq!(
            errors("[models.'a/b']\ninput_usd = -1"),
            [
                "c.toml:2:13: models.a/b.input_usd: '-1' is no price; write US dollars per million tokens, such as 2.5"
            ]
        );
    }

    #[test]
    fn a_provider_needs_an_address_and_a_usable_name() {
        assert_eq!(
            errors("[providers.local]\nauth = 'none'"),
            ["c.toml:1:12: provider 'local' has no base_url"]
        );
        assert!(errors("[providers.openai]\napi = 'chat'").is_empty());
        assert_eq!(errors("[providers.Local]\nbase_url = 'http://h'").len(), 1);
        assert_eq!(errors("[providers.demo]\nbase_url = 'http://h'").len(), 1);
    }
}
