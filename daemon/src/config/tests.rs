//! Owns: the tests of layering and of the whole configuration.

use std::time::Duration;

use super::*;

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn load(text: &str, vars: &[(&str, &str)], flags: &ConfigFlags) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path, true, &env(vars), flags)
}

fn origin(config: &Config, key: &str) -> String {
    let all = config.effective();
    let entry = all
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["key"] == key)
        .unwrap();
    entry["origin"].as_str().unwrap().to_owned()
}

#[test]
fn nothing_configured_is_a_configuration() {
    let config = Config::load(
        Path::new("/nowhere/config.toml"),
        false,
        &Env::new(),
        &ConfigFlags::default(),
    );
    let config = config.unwrap();
    assert_eq!(
        config.model,
        ModelConfig {
            default: None,
            effort: None,
            max_steps: 100,
            small: None,
            fallback: Vec::new(),
            compact_at: Some(80),
        }
    );
    assert_eq!(config.jail.kind, JailKind::Bwrap);
    assert_eq!(config.shell.max_output, Some(64 << 20));
    assert_eq!(config.shell.agent_timeout, Some(Duration::from_secs(600)));
    assert_eq!(config.shell.timeout, None);
    assert!(config.git.pass_identity && config.files.is_empty() && config.notices.is_empty());
    assert_eq!(config.limits, Config::default().limits);
}

#[test]
fn a_named_file_must_exist() {
    let error = Config::load(
        Path::new("/nowhere/c.toml"),
        true,
        &Env::new(),
        &ConfigFlags::default(),
    );
    assert!(error.unwrap_err().to_string().contains("/nowhere/c.toml"));
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let text = "[log]\nlevel = 'warn'\n[model]\ndefault = 'a/b'\nmax_steps = 7\n";
    let flags = ConfigFlags {
        log_level: Some("trace".into()),
    };
    let config = load(text, &[("AGENTD_LOG", "debug"), ("AGENTD_MODEL", "c/d")], &flags).unwrap();
    assert_eq!(config.log.level, "trace");
    assert_eq!(config.model.default.as_deref(), Some("c/d"));
    assert_eq!(config.model.max_steps, 7);
    let origins =
        ["log.level", "model.default", "model.max_steps", "shell.kind"].map(|key| origin(&config, key));
    assert_eq!(origins, ["flag", "env", "file", "default"]);
}

#[test]
fn mistakes_in_variables_and_flags_are_named() {
    let flags = ConfigFlags {
        log_level: Some("loud".into()),
    };
    let text = load("", &[("AGENTD_SHELL_TIMEOUT", "10")], &flags)
        .unwrap_err()
        .to_string();
    assert!(text.contains("AGENTD_SHELL_TIMEOUT: 10 has no unit"), "{text}");
    assert!(text.contains("--log-level: 'loud'"), "{text}");
}

#[test]
fn a_mistyped_variable_is_noticed() {
    let config = load(
        "",
        &[("AGENTD_SOKET", "/x"), ("AGENTD_TEST_LONG", "1")],
        &ConfigFlags::default(),
    )
    .unwrap();
    assert_eq!(
        config.notices,
        ["the variable AGENTD_SOKET means nothing here. Did you mean AGENTD_SOCKET?"]
    );
}

#[test]
fn providers_are_read_whole() {
    let text = r#"
        [providers.openai]
        api = "chat"
        [providers.my-lab]
        base_url = "https://lab.example/v1/"
        auth = "api-key"
        headers = { X-Team = "team-canary" }
        query = { api-version = "1" }
        proxy = "http://me:proxy-canary@proxy:3128"
        ca_file = "~/ca.pem"
        models = ["small", "large"]
        [jail]
        read_only = ["~/.rustup", "/opt/tools"]
    "#;
    let config = load(text, &[("HOME", "/home/ana")], &ConfigFlags::default()).unwrap();
    let lab = &config.providers["my-lab"];
    assert_eq!(lab.base_url.as_deref(), Some("https://lab.example/v1"));
    assert_eq!((lab.auth, lab.api), (ProviderAuth::ApiKey, None));
    assert_eq!(lab.api_key_env, "MY_LAB_API_KEY");
    assert_eq!(lab.ca_file.as_deref(), Some(Path::new("/home/ana/ca.pem")));
    assert_eq!(lab.models, ["small", "large"]);
    assert_eq!(config.providers["openai"].api, Some(ProviderApi::Chat));
    assert_eq!(
        config.jail.read_only,
        [Path::new("/home/ana/.rustup"), Path::new("/opt/tools")]
    );
    let secrets: Vec<_> = config.secrets().iter().map(|s| s.expose().to_owned()).collect();
    assert_eq!(secrets, ["team-canary", "proxy-canary"]);
    let shown = config.effective().to_string();
    assert!(
        !shown.contains("canary") && shown.contains("X-Team") && shown.contains("@proxy:3128"),
        "{shown}"
    );
}

#[test]
fn an_empty_variable_sets_nothing() {
    let config = load(
        "[model]\ndefault = 'a/b'",
        &[("AGENTD_MODEL", "")],
        &ConfigFlags::default(),
    )
    .unwrap();
    assert_eq!(config.model.default.as_deref(), Some("a/b"));
}
