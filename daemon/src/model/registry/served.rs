//! Owns: how large a model's window is by what its provider lists.
//! Guarantees: a provider is asked for it once in a daemon's life (again where nobody answered), shortly, and only where nothing else says it and
//! a person named its address.

use std::time::Duration;

use super::{ModelRegistry, shelf};
use crate::model::{Environment, ModelError};

/// The time a provider gets: somebody waits for the first answer.
const ASK: Duration = Duration::from_secs(1);

impl ModelRegistry {
    /// The window of a model by its provider's last list.
    pub(super) fn served_window(&self, name: &str) -> Option<u64> {
        let (provider, id) = name.split_once('/')?;
        let kept = self.0.shelf.find(provider)?;
        let mut models = kept.models.into_iter();
        models.find(|one| one.id == id)?.context_tokens
    }

    /// Asks a model's provider for its list where the model's window is known from nowhere.
    pub async fn ask_window(&self, name: &str, client: &Environment) {
        let Some((provider, _)) = name.split_once('/') else {
            return;
        };
        // Public providers say nothing there that the catalog does not know.
        let own = self.0.settings.providers.contains_key(provider);
        if !own || self.window(name, None).0.is_some() || !self.learned().asked.insert(provider.to_owned()) {
            return;
        }
        let limits = &self.0.tuning.limits;
        let Ok(endpoint) = self.sources(client).endpoint(provider, limits, &self.0.clients) else {
            return;
        };
        match tokio::time::timeout(ASK, endpoint.models()).await {
            Ok(Ok(list)) => self.0.shelf.keep(provider, &shelf::listed(&list)),
            // What is wrong with the server is said by the request that matters.
            Ok(Err(error)) => {
                if matches!(error, ModelError::Unreachable { .. }) {
                    // It may be started by the next message.
                    self.learned().asked.remove(provider);
                }
                tracing::debug!(%error, provider, "no list of models: the window stays unknown")
            }
            Err(_) => tracing::debug!(
                provider,
                "the list of models takes too long: the window stays unknown"
            ),
        }
    }
}
