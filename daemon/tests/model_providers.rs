//! Owns: which address and key a model is reached with, and which models are offered.
//! Guarantees: a key goes only where it belongs; a server found on loopback is never used unasked.

mod model_server;

use std::time::Duration;

use agentd::model::provider::ProviderConfig;
use agentd::model::{Api, Auth, Credentials, Environment, ModelEvent, ModelRegistry, ModelSettings};
use futures::StreamExt;
use model_server::*;
use serde_json::{Value, json};

#[tokio::test]
async fn keys_and_addresses_come_from_where_they_should() {
    let env = |pairs: &[(&str, &str)]| {
        Environment::from_vars(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    };
    let none = Environment::default();
    let bare = ModelRegistry::new(ModelSettings::default(), Credentials::default(), none.clone());
    let error = bare.resolve("openai/gpt-5", &none).err().unwrap();
    assert_eq!(error.reason_code(), "auth_missing");
    assert!(error.hints().len() >= 2);
    assert!(
        bare.resolve("openai/gpt-5", &env(&[("OPENAI_API_KEY", "k")]))
            .is_ok()
    );
    assert!(bare.resolve("ollama/qwen3", &none).is_ok());
    assert_eq!(
        bare.resolve("opnai/gpt-5", &none).err().unwrap().reason_code(),
        "model_unknown"
    );
    assert_eq!(
        bare.resolve("gpt-5", &none).err().unwrap().reason_code(),
        "model_unknown"
    );
    assert!(bare.resolve("demo", &none).unwrap().is_demo());

    // The calling client's address gets the client's key, and never the stored one.
    let stored: Credentials = serde_json::from_value(json!({"openai": {"api_key": "stored-key-1"}})).unwrap();
    let daemon = env(&[("OPENAI_API_KEY", "daemon-key-1")]);
    let registry = ModelRegistry::with_tuning(ModelSettings::default(), stored, daemon, tuning());
    for (key, sent) in [(Some("client-key-1"), Some("Bearer client-key-1")), (None, None)] {
        let server = serve(vec![good(Api::Chat)]).await;
        let mut pairs = vec![("OPENAI_BASE_URL", server.base.as_str())];
        pairs.extend(key.map(|key| ("OPENAI_API_KEY", key)));
        let model = registry.resolve("openai/gpt-5", &env(&pairs)).unwrap();
        assert!(matches!(
            model.stream(request()).collect::<Vec<_>>().await.pop(),
            Some(Ok(ModelEvent::Finished(_)))
        ));
        let headers = &server.script.lock().unwrap().1[0].0;
        assert_eq!(
            headers.get("authorization").map(|value| value.to_str().unwrap()),
            sent
        );
    }
}

#[tokio::test]
async fn a_provider_entry_sets_headers_query_and_the_way_of_the_key() {
    let server = serve(vec![good(Api::Chat)]).await;
    let entry = json!({"base_url": format!("{}?api-version=1", server.base), "auth": "api_key_header", "api": "chat",
        "headers": {"x-team": "blue"}, "query": {"q": "a b"}});
    let settings: ModelSettings = serde_json::from_value(json!({"providers": {"p": entry}})).unwrap();
    assert_eq!(settings.providers["p"].auth, Auth::ApiKeyHeader);
    let registry =
        ModelRegistry::with_tuning(settings, Credentials::default(), Environment::default(), tuning());
    let model = registry.resolve("p/m", &key()).unwrap();
    assert!(matches!(
        model.stream(request()).collect::<Vec<_>>().await.pop(),
        Some(Ok(ModelEvent::Finished(_)))
    ));
    let headers = server.script.lock().unwrap().1[0].0.clone();
    assert_eq!(
        (&headers["api-key"], &headers["x-team"]),
        (&"sk-canary-4242".parse().unwrap(), &"blue".parse().unwrap())
    );
    assert!(headers.get("authorization").is_none());
    assert!(serde_json::from_value::<ProviderConfig>(json!({"base_ulr": "x"})).is_err());
    assert!(serde_json::from_value::<ProviderConfig>(json!({"api_key": "x"})).is_err());
}

#[tokio::test]
async fn models_are_listed_and_local_servers_found_but_not_used_unasked() {
    let list = |ids: &[&str]| {
        let data: Vec<Value> = ids
            .iter()
            .map(|id| json!({"id": id, "max_model_len": 4096}))
            .collect();
        fails(200, vec![], &json!({"object": "list", "data": data}).to_string())
    };
    let server = serve(vec![
        list(&["big", "small"]),
        list(&["qwen"]),
        list(&["qwen"]),
        good(Api::Chat),
    ])
    .await;
    let registry = registry(&server.base, Api::Chat, tuning());
    let listing = registry.list(&key()).await;
    let names: Vec<&str> = listing.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["demo/demo", "p/big", "p/small"]);
    assert_eq!(listing.models[1].entry.context_tokens, Some(4096));

    let probe = agentd::model::registry::Probe {
        product: "Ollama".into(),
        provider: "ollama".into(),
        base_url: server.base.clone(),
    };
    let registry = registry.with_probes(vec![probe]);
    let found = registry.loopback_servers(Duration::from_secs(5)).await;
    assert_eq!(found[0].models, ["ollama/qwen"]);
    let model = registry.resolve("local/qwen", &Environment::default()).unwrap();
    assert!(matches!(
        model.stream(request()).collect::<Vec<_>>().await.pop(),
        Some(Ok(ModelEvent::Finished(_)))
    ));
    assert_eq!(registry.default_model(), None);
}
