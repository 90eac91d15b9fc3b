//! Owns: the command line of `agentd`, and its verbs that need no daemon (`config`, `version`).
//! Guarantees: prints nothing itself; a verb's output is a value that `main` prints.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, ConfigFlags, keys};
use crate::paths::{Env, PathFlags, Paths, PathsError};

/// The per-user daemon of agentd: jailed shells, the model loop, the session log.
#[derive(Debug, Parser)]
#[command(
    name = "agentd",
    version,
    after_help = "Without a command it runs the daemon in the foreground. Clients start it by themselves when \
                  they find none.\nExamples:\n  agentd                        run the daemon here\n  \
                  agentd config check           find mistakes in the configuration\n  \
                  agentd config show --json     what is in effect, and where it came from"
)]
pub struct Args {
    /// How the daemon runs
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// What to do instead of running
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Flags of the daemon itself.
#[derive(Debug, Default, ClapArgs)]
pub struct DaemonArgs {
    /// Listen on this socket [env: AGENTD_SOCKET]
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
    /// Keep everything in this directory [env: AGENTD_STATE_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<PathBuf>,
    /// Read this configuration file [env: AGENTD_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Log at this level, or by these directives [env: AGENTD_LOG]
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,
    /// Log to standard error even when it is not a terminal
    #[arg(long)]
    pub foreground: bool,
}

/// What to do instead of running the daemon.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print the version
    Version,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Find every mistake; exit code 2 if there is one
    Check {
        /// Check this file instead
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print what is in effect, and where each value came from
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print every key as JSON: type, default, variable, meaning
    Schema,
}

/// What a verb has to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// For the caller.
    pub code: u8,
}

/// Why a verb or the daemon could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The places can't be used.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
}

impl DaemonArgs {
    /// What the flags say about places.
    pub fn path_flags(&self) -> PathFlags {
        PathFlags {
            state_dir: self.state_dir.clone(),
            socket: self.socket.clone(),
            config_file: self.config.clone(),
        }
    }

    /// What the flags say about the configuration.
    pub fn config_flags(&self) -> ConfigFlags {
        ConfigFlags {
            log_level: self.log_level.clone(),
        }
    }

    /// Paths and configuration, the way every start begins.
    pub fn load(&self, env: &Env) -> Result<(Paths, Config), StartError> {
        let paths = Paths::resolve(env, &self.path_flags())?;
        let config = Config::load(
            &paths.config_file,
            self.config_named(env),
            env,
            &self.config_flags(),
        )?;
        Ok((paths, config))
    }

    /// A file that somebody named must be there; the usual one need not.
    fn config_named(&self, env: &Env) -> bool {
        self.config.is_some() || env.get("AGENTD_CONFIG").is_some_and(|file| !file.is_empty())
    }
}

impl Args {
    /// The answer of the verb, or `None` when the daemon is to run.
    pub fn answer(&self, env: &Env) -> Option<Answer> {
        let verb = self.verb.as_ref()?;
        let answer = match verb {
            Verb::Version => Ok(format!("agentd {}\n", env!("CARGO_PKG_VERSION"))),
            Verb::Config(ConfigVerb::Schema) => Ok(pretty(&keys::schema())),
            Verb::Config(ConfigVerb::Show { json }) => {
                self.daemon.load(env).map(|(_, config)| show(&config, *json))
            }
            Verb::Config(ConfigVerb::Check { file }) => self.check(file.as_ref(), env),
        };
        Some(match answer {
            Ok(stdout) => Answer {
                stdout,
                ..Answer::default()
            },
            Err(error) => Answer {
                stderr: format!("{error}\n"),
                code: 2,
                ..Answer::default()
            },
        })
    }

    fn check(&self, file: Option<&PathBuf>, env: &Env) -> Result<String, StartError> {
        let (path, must_exist) = match file {
            Some(file) => (file.clone(), true),
            None => (
                Paths::resolve(env, &self.daemon.path_flags())?.config_file,
                self.daemon.config_named(env),
            ),
        };
        let config = Config::load(&path, must_exist, env, &self.daemon.config_flags())?;
        let state = if config.files.is_empty() {
            "no such file; defaults are in effect"
        } else {
            "ok"
        };
        let notices: String = config
            .notices
            .iter()
            .map(|notice| format!("note: {notice}\n"))
            .collect();
        Ok(format!("{}: {state}\n{notices}", path.display()))
    }
}

fn show(config: &Config, json: bool) -> String {
    let effective = config.effective();
    if json {
        return pretty(&effective);
    }
    let text = |value: Option<&serde_json::Value>| match value {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Null) | None => "—".to_owned(),
        Some(other) => other.to_string(),
    };
    let lines = effective.as_array().into_iter().flatten().map(|entry| {
        let place = entry.get("place").and_then(|place| place.as_str());
        let origin = place.map_or_else(|| text(entry.get("origin")), str::to_owned);
        format!(
            "{} = {}  ({origin})\n",
            text(entry.get("key")),
            text(entry.get("value"))
        )
    });
    lines.collect()
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &[&str], env: &Env) -> Answer {
        let args = Args::try_parse_from([&["agentd"], line].concat()).unwrap();
        args.answer(env).unwrap()
    }

    fn home() -> Env {
        Env::from([("HOME".to_owned(), "/nowhere".to_owned())])
    }

    #[test]
    fn without_a_verb_the_daemon_runs() {
        let args = Args::try_parse_from(["agentd", "--state-dir", "/s", "--foreground"]).unwrap();
        assert!(args.answer(&home()).is_none());
        let (paths, _) = args.daemon.load(&home()).unwrap();
        assert_eq!(paths.state_dir, PathBuf::from("/s"));
    }

    #[test]
    fn check_names_every_mistake_and_exits_2() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "[shell]\ntimout = '1s'\nkind = 'zsh'\n").unwrap();
        let path = file.display().to_string();
        let found = answer(&["config", "check", "--file", &path], &home());
        assert_eq!(found.code, 2);
        assert_eq!(found.stdout, "");
        let expected = format!(
            "{path}:2:1: unknown key 'shell.timout'. Did you mean 'shell.timeout'?\n\
             {path}:3:8: shell.kind: 'zsh' is not one of auto, sh, bash."
        );
        assert!(found.stderr.starts_with(&expected), "{}", found.stderr);
        std::fs::write(&file, "[shell]\ntimeout = '1s'\n").unwrap();
        assert_eq!(
            answer(&["config", "check", "--file", &path], &home()).stdout,
            format!("{path}: ok\n")
        );
        assert_eq!(
            answer(&["config", "check", "--file", "/nowhere.toml"], &home()).code,
            2
        );
        assert_eq!(answer(&["config", "check"], &home()).code, 0);
    }

    #[test]
    fn show_and_schema_are_json() {
        let shown = answer(&["config", "show", "--json", "--log-level", "debug"], &home()).stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let level = shown
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["key"] == "log.level")
            .unwrap();
        assert_eq!(
            (level["value"].as_str(), level["origin"].as_str()),
            (Some("debug"), Some("flag"))
        );
        let schema: serde_json::Value =
            serde_json::from_str(&answer(&["config", "schema"], &home()).stdout).unwrap();
        assert_eq!(schema.as_array().unwrap().len(), keys::KEYS.len());
        let text = answer(&["config", "show"], &home()).stdout;
        assert!(text.contains("model.max_steps = 100  (default)"), "{text}");
        assert!(answer(&["version"], &home()).stdout.starts_with("agentd 0."));
    }
}
