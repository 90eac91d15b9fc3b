//! Owns: what a provider is: its settings, its key, and how settings, stored credentials and environments combine.
//! Guarantees: keys come from credentials or environments, never from the settings; a key goes only to an address
//! that its own source, or a source as trusted, named.
//!
//! # Who wins
//! Address: the calling client's `<PROVIDER>_BASE_URL`, a stored credential's, the daemon's environment's, the
//! settings' `base_url`, the built-in one. Key: the calling client's `<PROVIDER>_API_KEY`, the stored one, the
//! daemon's environment's. Nearest wins, as with every other tool: a person who exports something in this shell
//! means it, while the daemon's environment is whatever shell first started it. One limit: an address that came
//! from an environment gets a key only from that environment or from the calling client, so that a stray
//! variable cannot send a stored key to a stranger.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::domain::secret::Secret;

use super::error::ModelError;
use super::fault::Peer;
use super::http::{Clients, Route};
use super::openai::Endpoint;
use super::retry::Limits;

/// Which API a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `/chat/completions`: nearly everyone.
    Chat,
    /// `/responses`: OpenAI, and servers that say so.
    Responses,
}

/// How the key travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// `api-key: …`, as Azure wants it.
    ApiKeyHeader,
    /// No key is sent or asked for.
    None,
}

/// A provider's entry in the settings: `[providers.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Where the API begins, usually ending in `/v1`. A query (`?api-version=…`) is kept for every request.
    pub base_url: Option<String>,
    /// Default: Responses for api.openai.com, Chat elsewhere.
    pub api: Option<Api>,
    /// How the key travels.
    pub auth: Auth,
    /// Further headers of every request.
    pub headers: BTreeMap<String, String>,
    /// Further query parameters of every request.
    pub query: BTreeMap<String, String>,
    /// Proxy URL; `"none"` goes direct whatever the environment says.
    pub proxy: Option<String>,
    /// The variable that holds the key; unset: [`key_variable`].
    pub api_key_env: Option<String>,
    /// PEM file with certificates to trust besides the machine's.
    pub ca_file: Option<PathBuf>,
    /// Seconds for the connection.
    pub connect_timeout_s: Option<u64>,
    /// Seconds from sending to the first byte.
    pub first_byte_timeout_s: Option<u64>,
    /// Seconds of silence inside an answer.
    pub idle_timeout_s: Option<u64>,
    /// Seconds for a whole answer, tries included.
    pub total_timeout_s: Option<u64>,
}

/// The part of the settings that is about models.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// `provider/name` used when nobody says otherwise.
    pub default_model: Option<String>,
    /// Providers by name.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// What is known better than the catalog, by `provider/name`.
    pub models: BTreeMap<String, super::catalog::ModelOverride>,
}

/// What is stored for a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credential {
    /// The key.
    pub api_key: Option<Secret>,
    /// The address it belongs to, when not the usual one.
    pub base_url: Option<String>,
}

/// Stored credentials by provider name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Credentials(pub BTreeMap<String, Credential>);

/// The variables of one process that matter here. Values may be keys: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

const PROXY_NAMES: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"];

impl Environment {
    /// Keeps what matters of some variables and drops the rest; empty values count as unset.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let keep = |(name, value): &(String, String)| Self::is_relevant(name) && !value.trim().is_empty();
        Self(vars.into_iter().filter(keep).collect())
    }

    /// True for names worth passing from a client to the daemon.
    pub fn is_relevant(name: &str) -> bool {
        name == "SSL_CERT_FILE"
            || PROXY_NAMES.contains(&name)
            || PROXY_NAMES.iter().any(|proxy| proxy.to_ascii_lowercase() == name)
            || name.ends_with("_API_KEY")
            || name.ends_with("_BASE_URL")
    }

    /// Keeps a variable too that the settings name.
    #[must_use]
    pub fn and(mut self, name: &str, value: Option<&String>) -> Self {
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            self.0.insert(name.to_owned(), value.clone());
        }
        self
    }

    /// The values that are keys: for the redactor.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|(name, _)| name.ends_with("_API_KEY"))
            .map(|(_, value)| value.trim())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim())
    }

    /// A proxy variable: lower case first, as curl does it.
    fn proxy(&self, name: &str) -> Option<&str> {
        self.get(&name.to_ascii_lowercase()).or_else(|| self.get(name))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Providers known by name, with their addresses. The loopback ones are used only when named.
pub(crate) const KNOWN: [(&str, &str); 13] = [
    ("openai", "https://api.openai.com/v1"),
    ("anthropic", "https://api.anthropic.com/v1"),
    (
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
    ),
    ("openrouter", "https://openrouter.ai/api/v1"),
    ("groq", "https://api.groq.com/openai/v1"),
    ("deepseek", "https://api.deepseek.com/v1"),
    ("mistral", "https://api.mistral.ai/v1"),
    ("xai", "https://api.x.ai/v1"),
    ("together", "https://api.together.xyz/v1"),
    ("ollama", "http://127.0.0.1:11434/v1"),
    ("lmstudio", "http://127.0.0.1:1234/v1"),
    ("llamacpp", "http://127.0.0.1:8080/v1"),
    ("vllm", "http://127.0.0.1:8000/v1"),
];

fn known_url(provider: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|(name, _)| *name == provider)
        .map(|(_, url)| *url)
}

/// The variable that holds a provider's key: `OPENAI_API_KEY`.
pub fn key_variable(provider: &str) -> String {
    variable(provider, "API_KEY")
}

fn variable(provider: &str, what: &str) -> String {
    let upper: String = provider
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("{upper}_{what}")
}

/// Where a value came from, nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Client,
    Stored,
    Daemon,
    Settings,
}

impl Source {
    /// True when a key from `self` may go to an address named by `address`.
    fn may_reach(self, address: Self) -> bool {
        match address {
            Self::Client => self == Self::Client,
            Self::Daemon => self == Self::Daemon || self == Self::Client,
            Self::Stored | Self::Settings => true,
        }
    }
}

/// Everything that decides where a request goes.
pub(crate) struct Sources<'a> {
    pub(crate) settings: &'a ModelSettings,
    pub(crate) stored: &'a Credentials,
    pub(crate) daemon: &'a Environment,
    pub(crate) client: &'a Environment,
}

impl Sources<'_> {
    /// The address of a provider; `None` when nobody names one.
    pub(crate) fn address(&self, provider: &str) -> Option<(String, Source)> {
        let name = variable(provider, "BASE_URL");
        let stored = self.stored.0.get(provider).and_then(|c| c.base_url.as_deref());
        let settings = self
            .settings
            .providers
            .get(provider)
            .and_then(|p| p.base_url.as_deref());
        [
            (self.client.get(&name), Source::Client),
            (stored, Source::Stored),
            (self.daemon.get(&name), Source::Daemon),
            (settings.or_else(|| known_url(provider)), Source::Settings),
        ]
        .into_iter()
        .find_map(|(url, source)| url.map(|url| (url.to_owned(), source)))
    }

    /// The variable that holds a provider's key, as the settings name it or by rule.
    fn variable(&self, provider: &str) -> String {
        let entry = self.settings.providers.get(provider);
        entry
            .and_then(|entry| entry.api_key_env.clone())
            .unwrap_or_else(|| key_variable(provider))
    }

    /// The key to use at an address that `address` named.
    fn key(&self, provider: &str, address: Source) -> Option<(Secret, String)> {
        let name = self.variable(provider);
        let stored = self.stored.0.get(provider).and_then(|c| c.api_key.clone());
        [
            (
                self.client.get(&name).map(Secret::new),
                Source::Client,
                format!("{name} of the calling shell"),
            ),
            (stored, Source::Stored, "the stored credentials".to_owned()),
            (
                self.daemon.get(&name).map(Secret::new),
                Source::Daemon,
                format!("{name} of the daemon's environment"),
            ),
        ]
        .into_iter()
        .filter(|(_, source, _)| source.may_reach(address))
        .find_map(|(key, _, shown)| key.filter(|k| !k.is_empty()).map(|key| (key, shown)))
    }

    /// True when the provider has an address, and a key if it needs one.
    pub(crate) fn is_ready(&self, provider: &str) -> bool {
        let config = self.settings.providers.get(provider);
        self.address(provider).is_some_and(|(url, source)| {
            !needs_key(&url, config.map_or(Auth::Bearer, |c| c.auth)) || self.key(provider, source).is_some()
        })
    }

    /// Puts an endpoint together.
    pub(crate) fn endpoint(
        &self,
        provider: &str,
        defaults: &Limits,
        clients: &Clients,
    ) -> Result<Endpoint, ModelError> {
        let fallback = ProviderConfig::default();
        let config = self.settings.providers.get(provider).unwrap_or(&fallback);
        let Some((address, source)) = self.address(provider) else {
            return Err(ModelError::Config(format!(
                "provider '{provider}' has no base_url"
            )));
        };
        let url = parse(&address, provider)?;
        let key = match config.auth {
            Auth::None => None,
            Auth::Bearer | Auth::ApiKeyHeader => self.key(provider, source),
        };
        if key.is_none() && needs_key(&address, config.auth) {
            return Err(ModelError::AuthMissing {
                provider: provider.to_owned(),
                variable: self.variable(provider),
            });
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_openai = host == "api.openai.com";
        let mut query: Vec<(String, String)> = url
            .query_pairs()
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect();
        query.extend(config.query.iter().map(|(k, v)| (k.clone(), v.clone())));
        let bare = {
            let mut bare = url.clone();
            bare.set_query(None);
            bare.set_fragment(None);
            bare
        };
        let shown = {
            let mut shown = bare.clone();
            // Both fail only for URLs without a host, which `parse` refuses.
            let _ = shown.set_username("");
            let _ = shown.set_password(None);
            shown.as_str().trim_end_matches('/').to_owned()
        };
        let limits = limits(config, defaults);
        let route = self.route(config, &url, &limits);
        let mut secrets: Vec<Secret> = key.iter().map(|(key, _)| key.clone()).collect();
        secrets.extend(
            config
                .headers
                .values()
                .chain(config.query.values())
                .map(Secret::new),
        );
        secrets.extend(url.password().map(Secret::new));
        Ok(Endpoint {
            base_url: bare.as_str().trim_end_matches('/').to_owned(),
            api: config
                .api
                .unwrap_or(if is_openai { Api::Responses } else { Api::Chat }),
            headers: headers(config, key.as_ref().map(|(key, _)| key), provider)?,
            query,
            peer: std::sync::Arc::new(Peer {
                provider: provider.to_owned(),
                url: shown,
                secrets,
                key_source: key.map(|(_, shown)| shown),
                key_variable: self.variable(provider),
                proxy: route.proxy_of(&host),
            }),
            http: clients.get(&route)?,
            limits,
            is_openai,
        })
    }

    fn route(&self, config: &ProviderConfig, url: &reqwest::Url, limits: &Limits) -> Route {
        let either = |name: &str| {
            self.client
                .proxy(name)
                .or_else(|| self.daemon.proxy(name))
                .map(str::to_owned)
        };
        let by_scheme = if url.scheme() == "https" {
            "HTTPS_PROXY"
        } else {
            "HTTP_PROXY"
        };
        let proxy = match config.proxy.as_deref() {
            Some("none" | "") => None,
            Some(proxy) => Some(proxy.to_owned()),
            None if is_loopback(url.host_str().unwrap_or_default()) => None,
            None => either(by_scheme).or_else(|| either("ALL_PROXY")),
        };
        // A proxy of the entry itself is meant for it, whatever NO_PROXY says.
        let no_proxy = if config.proxy.is_none() {
            either("NO_PROXY")
        } else {
            None
        };
        let from_env = self
            .client
            .get("SSL_CERT_FILE")
            .or_else(|| self.daemon.get("SSL_CERT_FILE"));
        let plain =
            url.scheme() == "http" && proxy.as_deref().is_none_or(|proxy| !proxy.starts_with("https"));
        let ca_files = config
            .ca_file
            .iter()
            .cloned()
            .chain(from_env.map(PathBuf::from))
            .collect();
        Route {
            no_proxy: proxy.as_ref().and(no_proxy),
            proxy,
            ca_files: if plain { Vec::new() } else { ca_files },
            connect: limits.connect,
            plain,
        }
    }
}

/// A public server needs a key; one in the house (`http://`) may do without.
fn needs_key(url: &str, auth: Auth) -> bool {
    auth != Auth::None && url.starts_with("https://")
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn parse(address: &str, provider: &str) -> Result<reqwest::Url, ModelError> {
    // The address itself is not shown: it may hold a password.
    let url = reqwest::Url::parse(address).map_err(|why| {
        ModelError::Config(format!(
            "the base_url of provider '{provider}' is not a URL: {why}"
        ))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(ModelError::Config(format!(
            "the base_url of provider '{provider}' must begin with http:// or https://"
        )));
    }
    Ok(url)
}

fn headers(config: &ProviderConfig, key: Option<&Secret>, provider: &str) -> Result<HeaderMap, ModelError> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let (name, text) = match config.auth {
            Auth::ApiKeyHeader => (HeaderName::from_static("api-key"), key.expose().to_owned()),
            _ => (AUTHORIZATION, format!("Bearer {}", key.expose())),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            ModelError::Config(format!(
                "the key of provider '{provider}' holds characters that no key has"
            ))
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    for (name, value) in &config.headers {
        let bad = |_| {
            ModelError::Config(format!(
                "provider '{provider}': header '{name}' is not a valid header"
            ))
        };
        let header = HeaderName::try_from(name.as_str()).map_err(|_| bad(()))?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| bad(()))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

fn limits(config: &ProviderConfig, defaults: &Limits) -> Limits {
    let or =
        |seconds: Option<u64>, default: Duration| seconds.map_or(default, |s| Duration::from_secs(s.max(1)));
    Limits {
        connect: or(config.connect_timeout_s, defaults.connect),
        first_byte: or(config.first_byte_timeout_s, defaults.first_byte),
        idle: or(config.idle_timeout_s, defaults.idle),
        total: or(config.total_timeout_s, defaults.total),
        ..defaults.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_name_the_variable_that_holds_a_key() {
        let mut settings = ModelSettings::default();
        let entry = ProviderConfig {
            base_url: Some("https://models.example/v1".into()),
            api_key_env: Some("CORP_SECRET".into()),
            ..ProviderConfig::default()
        };
        settings.providers.insert("corp".into(), entry);
        let unasked = ("CORP_SECRET".to_owned(), "dropped".to_owned());
        let bare = Environment::from_vars([unasked, ("CORP_API_KEY".to_owned(), "other".to_owned())]);
        let named = bare.clone().and("CORP_SECRET", Some(&"sk-corp".to_owned()));
        let (stored, none) = (Credentials::default(), Environment::default());
        let key = |daemon: &Environment| {
            let sources = Sources {
                settings: &settings,
                stored: &stored,
                daemon,
                client: &none,
            };
            sources.key("corp", Source::Settings)
        };
        let (secret, shown) = key(&named).unwrap();
        assert_eq!(secret.expose(), "sk-corp");
        assert_eq!(shown, "CORP_SECRET of the daemon's environment");
        assert_eq!(key(&bare), None);
    }
}
