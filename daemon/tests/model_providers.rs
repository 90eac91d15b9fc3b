//! Owns: which address and key a model is reached with, and which models are offered.
//! Guarantees: a key goes only where it belongs; a server found on loopback is never used unasked.

mod model_server;

use std::time::Duration;

use agentd::domain::message::Part;
use agentd::model::provider::ProviderConfig;
use agentd::model::registry::Listed;
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

#[tokio::test]
async fn a_list_is_kept_for_the_time_when_its_provider_can_not_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = dir.path().join("models.json");
    let list = json!({"data": [
        {"id": "knows-tools", "supported_parameters": ["tools"], "context_length": 8192},
        {"id": "text-embedding-x"}
    ]});
    let server = serve(vec![fails(200, vec![], &list.to_string())]).await;
    let listed = |registry: ModelRegistry| async move {
        let listing = registry.list(&key()).await;
        let names = listing.models.into_iter().filter(|m| m.name.starts_with("p/"));
        names.map(|m| (m.name, m.tools, m.listed)).collect::<Vec<_>>()
    };
    let first = listed(registry(&server.base, Api::Chat, tuning()).with_shelf(shelf.clone())).await;
    assert_eq!(first[0], ("p/knows-tools".to_owned(), Some(true), Listed::Server));
    assert_eq!(first[1].1, Some(false));
    // The script is over: the server only fails from now on.
    let later = listed(registry(&server.base, Api::Chat, tuning()).with_shelf(shelf)).await;
    assert_eq!(later.len(), 2);
    assert!(
        matches!(later[0].2, Listed::Before(time) if time > 0),
        "{later:?}"
    );
    let none = listed(registry(&server.base, Api::Chat, tuning())).await;
    assert!(none.is_empty(), "{none:?}");
}

#[tokio::test]
async fn the_window_is_what_a_person_says_unless_a_server_refuses_less() {
    let own = agentd::model::catalog::ModelOverride {
        context_tokens: Some(9_000),
        ..Default::default()
    };
    let settings = ModelSettings {
        models: [("p/own".to_owned(), own)].into(),
        ..Default::default()
    };
    let models = ModelRegistry::new(settings, Credentials::default(), Environment::default());
    assert_eq!(models.window("p/own", None), (Some(9_000), "configured"));
    assert_eq!(models.window("openai/gpt-4o", None), (Some(128_000), "catalog"));
    assert_eq!(models.window("p/other", Some(5)), (Some(5), "catalog"));
    assert_eq!(models.window("p/other", None), (None, ""));
    for name in ["p/own", "p/other", "openai/gpt-4o"] {
        models.learn_window(name, 4_096);
        // Copies made for other credentials know it too.
        let copy = models.with_credentials(Credentials::default());
        assert_eq!(copy.window(name, None), (Some(4_096), "learned"));
    }
    models.learn_window("p/own", 12_000);
    assert_eq!(models.window("p/own", None), (Some(9_000), "configured"));
    models.learn_window("p/own", 3);
    assert_eq!(
        models.window("p/own", None).0,
        Some(9_000),
        "no model takes three tokens"
    );
}

#[tokio::test]
async fn what_fails_on_the_way_is_named() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let ask = |proxy: Option<String>| async move {
        let mut settings = ModelSettings::default();
        let entry = ProviderConfig {
            base_url: Some(format!("http://127.0.0.1:{nobody}/v1")),
            proxy,
            ..ProviderConfig::default()
        };
        settings.providers.insert("p".into(), entry);
        let none = Environment::default();
        let models = ModelRegistry::with_tuning(settings, Credentials::default(), none.clone(), tuning());
        let stages = models.stages("p/m", &none);
        let model = models.resolve("p/m", &none).unwrap();
        let last = model.stream(request()).collect::<Vec<_>>().await.pop().unwrap();
        (stages, last.unwrap_err().stage())
    };
    let (stages, failed) = ask(None).await;
    assert_eq!(
        (stages, failed),
        (vec!["config", "connect", "auth", "model"], "connect")
    );
    let (stages, failed) = ask(Some(format!("http://127.0.0.1:{nobody}"))).await;
    assert_eq!(
        (stages, failed),
        (vec!["config", "proxy", "connect", "auth", "model"], "proxy")
    );
}

/// What a picture looks like on the wire.
#[tokio::test]
async fn pictures_and_words_are_sent_in_both_apis() {
    for api in BOTH {
        let server = serve(vec![good(api)]).await;
        let model = registry(&server.base, api, tuning())
            .resolve("p/m", &key())
            .unwrap();
        let mut asked = request();
        asked.messages = vec![agentd::domain::message::Message {
            role: agentd::domain::message::Role::User,
            parts: vec![
                Part::Text { text: "look".into() },
                Part::Image {
                    name: "a.png".into(),
                    media_type: "image/png".into(),
                    data: "aGk=".into(),
                    width: 1,
                    height: 1,
                },
            ],
        }]
        .into();
        asked.effort = Some("high".into());
        model.stream(asked).collect::<Vec<_>>().await;
        let body = server.script.lock().unwrap().1[0].1.clone();
        let url = "data:image/png;base64,aGk=";
        match api {
            Api::Chat => {
                let content = &body["messages"][1]["content"];
                assert_eq!(content[0], json!({"type": "text", "text": "look"}));
                assert_eq!(
                    content[1],
                    json!({"type": "image_url", "image_url": {"url": url}})
                );
                assert_eq!(body["reasoning_effort"], "high");
            }
            Api::Responses => {
                let content = &body["input"][0]["content"];
                assert_eq!(content[0], json!({"type": "input_text", "text": "look"}));
                assert_eq!(content[1], json!({"type": "input_image", "image_url": url}));
                assert_eq!(body["reasoning"]["effort"], "high");
            }
        }
    }
}
