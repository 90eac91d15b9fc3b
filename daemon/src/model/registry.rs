//! Owns: finding a model by name, listing models, and looking for model servers on loopback.
//! Guarantees: resolving sends nothing and reads at most a cassette; a server found on loopback is offered, never used unless named.

mod served;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{self, BoxFuture, FutureExt};
use serde_json::Value;

use super::cassette::{self, CassetteModel};
use super::catalog::{self, Entry};
use super::demo::DemoModel;
use super::error::ModelError;
use super::http::{Clients, Route};
use super::openai::{Endpoint, OpenAiModel, Target};
use super::provider::{Credentials, Environment, KNOWN, ModelSettings, Sources};
use super::retry::Tuning;
use super::shelf::{self, Shelf};
use super::{Model, dialect_of};

/// A place where a local model server may listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Product name.
    pub product: String,
    /// Name as a provider.
    pub provider: String,
    /// Where its API begins.
    pub base_url: String,
}

/// A model server that answered on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundServer {
    /// Product that usually listens there.
    pub product: String,
    /// Name as a provider: `provider/model` can be used at once.
    pub provider: String,
    /// Where its API begins.
    pub base_url: String,
    /// Its models, by the names to use.
    pub models: Vec<String>,
}

/// Where a listed model is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The provider's own list.
    Server,
    /// The built-in catalog: the provider could not be asked.
    Catalog,
    /// The provider's own list of an earlier time, microseconds since the epoch: it can't be asked now.
    Before(i64),
    /// Built in: the demo model.
    BuiltIn,
}

/// A model that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// `provider/name`.
    pub name: String,
    /// Context and prices as far as known.
    pub entry: Entry,
    /// Where it is known from.
    pub listed: Listed,
    /// Whether it can call tools, where anybody says.
    pub tools: Option<bool>,
}

/// The models of all usable providers, and why others could not be asked.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The models, by provider.
    pub models: Vec<ModelInfo>,
    /// Providers that are set up but did not answer.
    pub problems: Vec<(String, ModelError)>,
}

/// Finds models by name. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct ModelRegistry(Arc<Inner>);

struct Inner {
    settings: ModelSettings,
    /// What servers taught since the daemon began; shared by all copies.
    learned: Arc<Mutex<Learned>>,
    /// What providers listed last; shared by all copies.
    shelf: Arc<Shelf>,
    stored: Credentials,
    daemon: Environment,
    tuning: Tuning,
    probes: Vec<Probe>,
    clients: Arc<Clients>,
}

/// What servers taught of their models.
#[derive(Debug, Default)]
struct Learned {
    /// Providers that were asked what they serve, since a model's window was known from nowhere.
    asked: HashSet<String>,
    /// Context windows in tokens, by full name.
    windows: HashMap<String, u64>,
    /// Models that refused pictures.
    blind: HashSet<String>,
}

/// The time a provider gets to list its models.
const LIST: Duration = Duration::from_secs(4);

/// The time loopback servers get to show themselves.
pub const PROBE: Duration = Duration::from_millis(200);

/// The provider name that means "whichever loopback server has this model".
const LOCAL: &str = "local";

impl ModelRegistry {
    /// A registry over settings, stored credentials and the daemon's own environment.
    pub fn new(settings: ModelSettings, stored: Credentials, daemon: Environment) -> Self {
        Self::with_tuning(settings, stored, daemon, Tuning::default())
    }

    /// As `new`, with other limits and waits.
    pub fn with_tuning(
        settings: ModelSettings,
        stored: Credentials,
        daemon: Environment,
        tuning: Tuning,
    ) -> Self {
        let products = [
            ("Ollama", "ollama"),
            ("LM Studio", "lmstudio"),
            ("llama.cpp", "llamacpp"),
            ("vLLM", "vllm"),
        ];
        let probes = products
            .into_iter()
            .filter_map(|(product, provider)| {
                let (_, url) = KNOWN.iter().find(|(name, _)| *name == provider)?;
                Some(Probe {
                    product: product.into(),
                    provider: provider.into(),
                    base_url: (*url).into(),
                })
            })
            .collect();
        Self(Arc::new(Inner {
            settings,
            stored,
            daemon,
            tuning,
            probes,
            clients: Arc::default(),
            learned: Arc::default(),
            shelf: Arc::default(),
        }))
    }

    /// The same registry looking for local servers elsewhere.
    #[must_use]
    pub fn with_probes(&self, probes: Vec<Probe>) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            settings: inner.settings.clone(),
            stored: inner.stored.clone(),
            daemon: inner.daemon.clone(),
            tuning: inner.tuning.clone(),
            probes,
            clients: inner.clients.clone(),
            learned: inner.learned.clone(),
            shelf: inner.shelf.clone(),
        }))
    }

    /// The same registry keeping what providers list in this file.
    #[must_use]
    pub fn with_shelf(&self, path: PathBuf) -> Self {
        let mut copy = self.with_probes(self.0.probes.clone());
        if let Some(inner) = Arc::get_mut(&mut copy.0) {
            inner.shelf = Arc::new(Shelf::at(path));
        }
        copy
    }

    /// The same registry after credentials changed. Connections are kept.
    #[must_use]
    pub fn with_credentials(&self, stored: Credentials) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            settings: inner.settings.clone(),
            stored,
            daemon: inner.daemon.clone(),
            tuning: inner.tuning.clone(),
            probes: inner.probes.clone(),
            clients: inner.clients.clone(),
            learned: inner.learned.clone(),
            shelf: inner.shelf.clone(),
        }))
    }

    /// The model of the settings, if they name one.
    pub fn default_model(&self) -> Option<String> {
        self.0.settings.default_model.clone()
    }

    /// What is known of a model's context and prices.
    pub fn catalog_entry(&self, name: &str) -> Entry {
        catalog::lookup(name, &self.0.settings.models)
    }

    /// The context window of a model in tokens, and where it is known from. A person's figure counts unless the server
    /// refused less; a server's counts before the catalog's and before `declared`, the model's own.
    pub fn window(&self, name: &str, declared: Option<u64>) -> (Option<u64>, &'static str) {
        let own = self
            .0
            .settings
            .models
            .get(name)
            .and_then(|own| own.context_tokens);
        let learned = self.learned().windows.get(name).copied();
        match (own, learned) {
            (Some(own), Some(learned)) if learned < own => (Some(learned), "learned"),
            (Some(own), _) => (Some(own), "configured"),
            (None, Some(learned)) => (Some(learned), "learned"),
            (None, None) => match (self.catalog_entry(name).context_tokens, self.served_window(name)) {
                (Some(tokens), _) => (Some(tokens), "catalog"),
                (None, Some(tokens)) => (Some(tokens), "server"),
                (None, None) => (declared, if declared.is_some() { "catalog" } else { "" }),
            },
        }
    }

    /// A server said how much a model takes in.
    pub fn learn_window(&self, name: &str, tokens: u64) {
        // No model is of use with less; a server that says so says something else.
        if tokens >= 256 {
            self.learned().windows.insert(name.to_owned(), tokens);
        }
    }

    /// True when a model refused pictures.
    pub fn refuses_images(&self, name: &str) -> bool {
        self.learned().blind.contains(name)
    }

    /// A model refused pictures. False when that was known.
    pub fn refuse_images(&self, name: &str) -> bool {
        self.learned().blind.insert(name.to_owned())
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when some public provider has what it needs to be used (an address and a key).
    pub fn is_set_up(&self, client: &Environment) -> bool {
        !self.ready_providers(client).is_empty()
    }

    /// The model of this name: `provider/name`, `demo`, or `cassette:FILE`. Sends nothing.
    pub fn resolve(&self, name: &str, client: &Environment) -> Result<Arc<dyn Model>, ModelError> {
        let name = name.trim();
        if name == "demo" || name == "demo/demo" {
            return Ok(Arc::new(DemoModel::new()));
        }
        if name.starts_with(cassette::PREFIX) {
            return Ok(Arc::new(CassetteModel::open(name)?));
        }
        let (provider, wire_name) = match name.split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => (provider, model),
            _ => {
                let suggestions = catalog::names()
                    .filter(|known| known.ends_with(&format!("/{name}")))
                    .map(str::to_owned);
                return Err(ModelError::UnknownModel {
                    name: name.into(),
                    why: "write it as PROVIDER/NAME".into(),
                    suggestions: suggestions.take(3).collect(),
                });
            }
        };
        let target = if provider == LOCAL && !self.0.settings.providers.contains_key(LOCAL) {
            self.seek(wire_name)
        } else {
            if !self.provider_names().contains(provider) && self.sources(client).endpoint_is_unnamed(provider)
            {
                return Err(self.unknown_provider(name, provider, wire_name));
            }
            let endpoint = self
                .sources(client)
                .endpoint(provider, &self.0.tuning.limits, &self.0.clients)?;
            Target::Fixed(Arc::new(endpoint))
        };
        let own = self.0.settings.models.get(name);
        Ok(Arc::new(OpenAiModel {
            full_name: name.to_owned(),
            wire_name: wire_name.to_owned(),
            dialect: own
                .and_then(|own| own.edit_dialect)
                .unwrap_or_else(|| dialect_of(name)),
            context_tokens: self
                .catalog_entry(name)
                .context_tokens
                .or_else(|| self.served_window(name)),
            target,
            tuning: self.0.tuning.clone(),
        }))
    }

    /// Every model that could be used now: the demo model, and what each provider that is set up lists.
    pub async fn list(&self, client: &Environment) -> Listing {
        let mut listing = Listing::default();
        listing.models.push(ModelInfo {
            name: "demo/demo".into(),
            entry: Entry::default(),
            listed: Listed::BuiltIn,
            tools: Some(true),
        });
        let asked = self
            .ready_providers(client)
            .into_iter()
            .map(|provider| async move {
                let endpoint =
                    self.sources(client)
                        .endpoint(&provider, &self.0.tuning.limits, &self.0.clients);
                let answer = match endpoint {
                    Ok(endpoint) => tokio::time::timeout(LIST, endpoint.models()).await.unwrap_or(Err(
                        ModelError::Timeout {
                            what: "the list of models".into(),
                            limit: LIST,
                        },
                    )),
                    Err(error) => Err(error),
                };
                (provider, answer)
            });
        for (provider, answer) in future::join_all(asked).await {
            match answer {
                Ok(value) => {
                    let found = shelf::listed(&value);
                    self.0.shelf.keep(&provider, &found);
                    let infos = found
                        .into_iter()
                        .map(|one| self.info(&provider, one, Listed::Server));
                    listing.models.extend(infos);
                }
                Err(error) => {
                    let Some(kept) = self.kept(&provider, &error) else {
                        self.add_known(&provider, error, &mut listing);
                        continue;
                    };
                    let at = Listed::Before(kept.time_us);
                    let infos = kept.models.into_iter().map(|one| self.info(&provider, one, at));
                    listing.models.extend(infos);
                    listing.problems.push((provider, error));
                }
            }
        }
        listing
    }

    /// What a provider that can't be asked listed before; nothing when it refuses the key.
    fn kept(&self, provider: &str, error: &ModelError) -> Option<shelf::Kept> {
        let known = !matches!(
            error,
            ModelError::AuthMissing { .. } | ModelError::AuthRejected { .. } | ModelError::Config(_)
        );
        known.then(|| self.0.shelf.find(provider)).flatten()
    }

    fn add_known(&self, provider: &str, error: ModelError, listing: &mut Listing) {
        let prefix = format!("{provider}/");
        let known = catalog::names().filter(|name| name.starts_with(&prefix));
        listing.models.extend(known.map(|name| ModelInfo {
            name: name.into(),
            entry: self.catalog_entry(name),
            listed: Listed::Catalog,
            tools: Some(true),
        }));
        listing.problems.push((provider.to_owned(), error));
    }

    fn info(&self, provider: &str, one: shelf::Listed, listed: Listed) -> ModelInfo {
        let name = format!("{provider}/{}", one.id);
        let mut entry = self.catalog_entry(&name);
        entry.context_tokens = entry.context_tokens.or(one.context_tokens);
        ModelInfo {
            // Models without tools are not in the catalog.
            tools: one.tools.or_else(|| catalog::knows(&name).then_some(true)),
            name,
            entry,
            listed,
        }
    }

    /// The stages a request to this model goes through before there is an answer, in order; empty when it can't even
    /// be put together.
    pub fn stages(&self, name: &str, client: &Environment) -> Vec<&'static str> {
        let Some((provider, _)) = name.split_once('/') else {
            return Vec::new();
        };
        let sources = self.sources(client);
        let Ok(endpoint) = sources.endpoint(provider, &self.0.tuning.limits, &self.0.clients) else {
            return Vec::new();
        };
        let mut stages = vec!["config"];
        let proxied = endpoint.peer.proxy.is_some();
        if proxied {
            stages.push("proxy");
        } else if !endpoint.peer.is_numeric() {
            stages.push("dns");
        }
        stages.push("connect");
        if endpoint.base_url.starts_with("https:") {
            stages.push("tls");
        }
        stages.extend(["auth", "model"]);
        stages
    }

    /// Model servers that answer on loopback within the budget. Any local user can listen there: offer, do not use.
    pub async fn loopback_servers(&self, budget: Duration) -> Vec<FoundServer> {
        find(&self.0.probes, &self.0.clients, budget).await
    }

    fn sources<'a>(&'a self, client: &'a Environment) -> Sources<'a> {
        let inner = &self.0;
        Sources {
            settings: &inner.settings,
            stored: &inner.stored,
            daemon: &inner.daemon,
            client,
        }
    }

    fn provider_names(&self) -> BTreeSet<&str> {
        let own = self
            .0
            .settings
            .providers
            .keys()
            .chain(self.0.stored.0.keys())
            .map(String::as_str);
        KNOWN
            .iter()
            .map(|(name, _)| *name)
            .chain(own)
            .chain([LOCAL])
            .collect()
    }

    /// Providers with an address and a key, or settings of their own. Known loopback ones are found by probing.
    fn ready_providers(&self, client: &Environment) -> Vec<String> {
        let sources = self.sources(client);
        let is_probed = |name: &str| self.0.probes.iter().any(|probe| probe.provider == name);
        self.provider_names()
            .into_iter()
            .filter(|name| self.0.settings.providers.contains_key(*name) || !is_probed(name))
            .filter(|name| sources.is_ready(name))
            .map(str::to_owned)
            .collect()
    }

    fn unknown_provider(&self, name: &str, provider: &str, wire_name: &str) -> ModelError {
        let close = |known: &&str| strsim::damerau_levenshtein(known, provider) <= 2;
        let suggestions = self
            .provider_names()
            .into_iter()
            .filter(close)
            .map(|known| format!("{known}/{wire_name}"));
        ModelError::UnknownModel {
            name: name.into(),
            why: format!("no provider '{provider}' is known or set up"),
            suggestions: suggestions.take(3).collect(),
        }
    }

    /// Looks for the loopback server that has the model, at each request.
    fn seek(&self, wire_name: &str) -> Target {
        let inner = self.0.clone();
        let wanted = wire_name.to_owned();
        Target::Sought(Arc::new(
            move || -> BoxFuture<'static, Result<Endpoint, ModelError>> {
                let (inner, wanted) = (inner.clone(), wanted.clone());
                async move {
                    let found = find(&inner.probes, &inner.clients, PROBE.saturating_mul(5)).await;
                    let has = |server: &&FoundServer| {
                        server
                            .models
                            .iter()
                            .any(|name| name.split_once('/').is_some_and(|(_, model)| model == wanted))
                    };
                    let Some(server) = found.iter().find(has) else {
                        return Err(ModelError::UnknownModel {
                            name: format!("{LOCAL}/{wanted}"),
                            why: match found.len() {
                                0 => "no model server answers on loopback".into(),
                                n => format!("none of the {n} model servers on loopback has it"),
                            },
                            suggestions: found
                                .iter()
                                .flat_map(|server| server.models.clone())
                                .take(3)
                                .collect(),
                        });
                    };
                    let mut settings = ModelSettings::default();
                    let config = super::ProviderConfig {
                        base_url: Some(server.base_url.clone()),
                        auth: super::Auth::None,
                        ..super::ProviderConfig::default()
                    };
                    settings.providers.insert(LOCAL.into(), config);
                    let (stored, none) = (Credentials::default(), Environment::default());
                    Sources {
                        settings: &settings,
                        stored: &stored,
                        daemon: &none,
                        client: &none,
                    }
                    .endpoint(LOCAL, &inner.tuning.limits, &inner.clients)
                }
                .boxed()
            },
        ))
    }
}

impl Sources<'_> {
    fn endpoint_is_unnamed(&self, provider: &str) -> bool {
        self.address(provider).is_none()
    }
}

async fn find(probes: &[Probe], clients: &Clients, budget: Duration) -> Vec<FoundServer> {
    let route = Route {
        connect: budget,
        plain: true,
        ..Route::default()
    };
    let Ok(client) = clients.get(&route) else {
        return Vec::new();
    };
    let asked = probes.iter().map(|probe| {
        let client = client.clone();
        async move {
            let answer = tokio::time::timeout(budget, async {
                let response = client
                    .get(format!("{}/models", probe.base_url))
                    .send()
                    .await
                    .ok()?;
                let body = response.error_for_status().ok()?.bytes().await.ok()?;
                serde_json::from_slice::<Value>(&body).ok()
            });
            let models = shelf::listed(&answer.await.ok()??);
            Some(FoundServer {
                product: probe.product.clone(),
                provider: probe.provider.clone(),
                base_url: probe.base_url.clone(),
                models: models
                    .into_iter()
                    .map(|one| format!("{}/{}", probe.provider, one.id))
                    .collect(),
            })
        }
    });
    // A server without a single model is something else that happens to listen there.
    future::join_all(asked)
        .await
        .into_iter()
        .flatten()
        .filter(|server| !server.models.is_empty())
        .collect()
}
