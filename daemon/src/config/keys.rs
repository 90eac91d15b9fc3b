//! Owns: the one table of configuration keys. `agentd config schema`, docs/CONFIG.md, the checks of the file and
//! of the variables all come from it.
//! Guarantees: a key that is not here can't be set; a key that is here is documented.

use std::fmt::Write as _;

use super::value::Kind;

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// Dotted name. `NAME` stands for any provider's name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default, as a person would write it; `None`: unset.
    pub default: Option<&'static str>,
    /// The variable that overrides the file.
    pub env: Option<&'static str>,
    /// What it does, one or two sentences.
    pub doc: &'static str,
}

/// What provider tables are called in names.
pub const PROVIDER_PREFIX: &str = "providers.NAME.";

/// What models' tables are called in names.
pub const MODEL_PREFIX: &str = "models.NAME.";

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    env: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        env,
        doc,
    }
}

/// Every key, in the order of the documentation.
pub const KEYS: &[Key] = &[
    key(
        "model.default",
        Kind::Text,
        None,
        Some("AGENTD_MODEL"),
        "The model of sessions that name none, as `PROVIDER/NAME`, or `demo`. Unset: a model must be named.",
    ),
    key(
        "model.effort",
        Kind::Choice(&["minimal", "low", "medium", "high"]),
        None,
        Some("AGENTD_MODEL_EFFORT"),
        "How long reasoning models think. Unset: the provider's own default.",
    ),
    key(
        "model.max_steps",
        Kind::Count { min: 1, max: 10_000 },
        Some("100"),
        Some("AGENTD_MODEL_MAX_STEPS"),
        "The most model requests in one turn. A turn that reaches it ends and says so.",
    ),
    key(
        "model.small",
        Kind::Text,
        None,
        Some("AGENTD_MODEL_SMALL"),
        "The model that writes titles and summaries, as `PROVIDER/NAME`. Unset: a session's title is the first line of \
         its first message, and its own model summarises it.",
    ),
    key(
        "model.fallback",
        Kind::Texts,
        None,
        Some("AGENTD_MODEL_FALLBACK"),
        "Models that take the place of one whose provider fails for good, in order, for the rest of the turn; each \
         time it is said. Unset: the turn ends with the failure.",
    ),
    key(
        "model.compaction",
        Kind::Choice(&["auto", "off"]),
        Some("auto"),
        Some("AGENTD_MODEL_COMPACTION"),
        "Whether earlier messages are replaced by a summary before the context is full. `off`: only when asked.",
    ),
    key(
        "model.compact_at",
        Kind::Count { min: 30, max: 95 },
        Some("80"),
        Some("AGENTD_MODEL_COMPACT_AT"),
        "Percent of the model's context at which that happens.",
    ),
    key(
        "models.NAME.context_tokens",
        Kind::Count {
            min: 512,
            max: 100_000_000,
        },
        None,
        None,
        "The context of this model in tokens, as `[models.\"PROVIDER/NAME\"]`. It counts before what the catalog says; \
         a server that refuses less is believed.",
    ),
    key(
        "models.NAME.input_usd",
        Kind::Price,
        None,
        None,
        "What a million input tokens cost. A price given here stands alone: the catalog's are not mixed in.",
    ),
    key(
        "models.NAME.cached_input_usd",
        Kind::Price,
        None,
        None,
        "What a million input tokens out of the provider's cache cost. Unset: as `input_usd`.",
    ),
    key(
        "models.NAME.output_usd",
        Kind::Price,
        None,
        None,
        "What a million output tokens cost.",
    ),
    key(
        "models.NAME.edit",
        Kind::Choice(&["apply_patch", "search_replace"]),
        None,
        None,
        "Which way to edit files this model is offered. Unset: by its name.",
    ),
    key(
        "providers.NAME.base_url",
        Kind::Url,
        None,
        None,
        "Where the server is, up to and including `/v1`. Needed for every provider but `openai`.",
    ),
    key(
        "providers.NAME.api",
        Kind::Choice(&["chat", "responses"]),
        None,
        None,
        "Which API the server speaks: Chat Completions or Responses. Unset: `responses` for `openai` at its own \
         address, else `chat`.",
    ),
    key(
        "providers.NAME.auth",
        Kind::Choice(&["bearer", "api-key", "none"]),
        Some("bearer"),
        None,
        "How the key is sent: `Authorization: Bearer`, an `api-key` header, or not at all.",
    ),
    key(
        "providers.NAME.headers",
        Kind::TextMap,
        None,
        None,
        "Extra headers of every request. Values are treated as secrets.",
    ),
    key(
        "providers.NAME.query",
        Kind::TextMap,
        None,
        None,
        "Extra query parameters of every request. Values are treated as secrets.",
    ),
    key(
        "providers.NAME.proxy",
        Kind::Proxy,
        None,
        None,
        "A proxy for this provider only.",
    ),
    key(
        "providers.NAME.ca_file",
        Kind::Path,
        None,
        None,
        "A PEM file with further certificate authorities to trust.",
    ),
    key(
        "providers.NAME.api_key_env",
        Kind::Text,
        None,
        None,
        "The variable that holds the key; agentd reads any name from its own environment, clients send those that end in `_API_KEY`. Unset: `NAME_API_KEY`, in capitals, with `_` for `-`.",
    ),
    key(
        "providers.NAME.models",
        Kind::Texts,
        None,
        None,
        "The models to list for this provider. Unset: the server is asked.",
    ),
    key(
        "jail.kind",
        Kind::Choice(&["bwrap", "outer"]),
        Some("bwrap"),
        Some("AGENTD_JAIL_KIND"),
        "`bwrap`: every shell is jailed by Bubblewrap. `outer`: no jail, for containers that already are a wall; \
         every output then says `jail: none (outer)`.",
    ),
    key(
        "jail.read_only",
        Kind::Paths,
        None,
        Some("AGENTD_JAIL_READ_ONLY"),
        "Directories outside the workspace that jails can read, such as a toolchain. `~` is the home directory.",
    ),
    key(
        "jail.toolchains",
        Kind::Choice(&["auto", "none"]),
        Some("auto"),
        Some("AGENTD_JAIL_TOOLCHAINS"),
        "`auto`: jails also see the compilers and version managers in your home directory (rustup, nvm, pyenv, sdkman, \
         asdf, mise and others) and those of `/opt` and `/nix` on your PATH, read-only, their credentials hidden. \
         `agentctl doctor --project` lists them. `none`: only `jail.read_only`.",
    ),
    key(
        "jail.layout",
        Kind::Choice(&["auto", "root", "host"]),
        Some("auto"),
        Some("AGENTD_JAIL_LAYOUT"),
        "Where the workspace is inside: at `/` (`root`) or at its own path (`host`). `auto`: `root` for `exec` \
         and `shell`, `host` for work with a model.",
    ),
    key(
        "shell.kind",
        Kind::Choice(&["auto", "sh", "bash"]),
        Some("auto"),
        Some("AGENTD_SHELL_KIND"),
        "Which shell. `auto`: `sh` for `exec` and `shell`; `bash`, where there is one, for work with a model.",
    ),
    key(
        "shell.init",
        Kind::Text,
        None,
        Some("AGENTD_SHELL_INIT"),
        "Shell text that a session's shell runs first, in the jail, such as `. ~/.nvm/nvm.sh`. Its output is dropped. rc \
         files are not read.",
    ),
    key(
        "shell.timeout",
        Kind::Span,
        Some("none"),
        Some("AGENTD_SHELL_TIMEOUT"),
        "How long a command of a person or program may run when it names no limit itself.",
    ),
    key(
        "shell.agent_timeout",
        Kind::Span,
        Some("10min"),
        Some("AGENTD_SHELL_AGENT_TIMEOUT"),
        "How long a command of the agent may run when it names no limit itself.",
    ),
    key(
        "shell.max_output",
        Kind::Size,
        Some("64MiB"),
        Some("AGENTD_SHELL_MAX_OUTPUT"),
        "How much of each output stream of a command is kept; of more, the first and the last half.",
    ),
    key(
        "shell.idle_timeout",
        Kind::Span,
        Some("10min"),
        Some("AGENTD_SHELL_IDLE_TIMEOUT"),
        "How long a jail in which nothing runs is kept. The shell's state outlives it.",
    ),
    key(
        "limits.nofile",
        Kind::Count {
            min: 64,
            max: 1_048_576,
        },
        Some("16384"),
        Some("AGENTD_LIMITS_NOFILE"),
        "Open files of each process in a jail.",
    ),
    key(
        "limits.fsize",
        Kind::Size,
        Some("16GiB"),
        Some("AGENTD_LIMITS_FSIZE"),
        "The largest file a process in a jail can write.",
    ),
    key(
        "limits.tmp",
        Kind::Size,
        Some("1GiB"),
        Some("AGENTD_LIMITS_TMP"),
        "The size of a jail's `/tmp`, which is memory.",
    ),
    key(
        "limits.nproc",
        Kind::Count {
            min: 16,
            max: 1_048_576,
        },
        Some("4096"),
        Some("AGENTD_LIMITS_NPROC"),
        "Processes and threads of a jail. Where the kernel does not count them (root, before Linux 5.14, no control \
         groups) they are counted several times a second, and a command that has too many is killed.",
    ),
    key(
        "limits.tmp_files",
        Kind::Count {
            min: 1000,
            max: 100_000_000,
        },
        Some("500000"),
        Some("AGENTD_LIMITS_TMP_FILES"),
        "Files in a jail's `/tmp`. A command that makes more is stopped.",
    ),
    key(
        "limits.memory",
        Kind::Size,
        Some("none"),
        Some("AGENTD_LIMITS_MEMORY"),
        "Memory of everything that runs in a session at once, its `/tmp` included. Kept by a control group where there \
         are any, else by looking several times a second and killing the largest process.",
    ),
    key(
        "limits.cpu_weight",
        Kind::Count { min: 1, max: 10_000 },
        Some("100"),
        Some("AGENTD_LIMITS_CPU_WEIGHT"),
        "A session's share of the processor when others want it too; 100 is usual. Without control groups a smaller \
         weight becomes a niceness.",
    ),
    key(
        "limits.disk_floor",
        Kind::Size,
        Some("256MiB"),
        Some("AGENTD_LIMITS_DISK_FLOOR"),
        "Space that stays free on the workspace's disk: a command that goes on writing below it is stopped. Looked at \
         several times a second.",
    ),
    key(
        "limits.disk_growth",
        Kind::Size,
        Some("none"),
        Some("AGENTD_LIMITS_DISK_GROWTH"),
        "By how much free space on the workspace's disk may fall while a command runs, whoever writes.",
    ),
    key(
        "limits.session_time",
        Kind::Span,
        Some("none"),
        Some("AGENTD_LIMITS_SESSION_TIME"),
        "How long all commands of a session may take together. The last one is stopped, later ones are refused.",
    ),
    key(
        "limits.data",
        Kind::Size,
        Some("none"),
        Some("AGENTD_LIMITS_DATA"),
        "Private memory of each process in a jail.",
    ),
    key(
        "network.agent_mode",
        Kind::Choice(&["off", "ask", "list"]),
        Some("ask"),
        Some("AGENTD_NETWORK_AGENT_MODE"),
        "What programs of a session for work with a model can reach: nothing (`off`), hosts of `allow` and those you \
         approve (`ask`), hosts of `allow` only (`list`).",
    ),
    key(
        "network.shell_mode",
        Kind::Choice(&["off", "ask", "list"]),
        Some("off"),
        Some("AGENTD_NETWORK_SHELL_MODE"),
        "The same for sessions made by `exec`, `shell` and programs.",
    ),
    key(
        "network.allow",
        Kind::Hosts,
        None,
        None,
        "Hosts that need no question: `name`, `*.name` for what lies below it, either with `:port` (without: 443, 80 and \
         22). Unset or empty: none.",
    ),
    key(
        "network.pins",
        Kind::Pins,
        None,
        None,
        "Addresses of hosts, as `\"host:port\" = \"address\"` or `\"address:port\"`: the name is not looked up, and the \
         address may be a private one. The host is still asked about unless it is in `allow`.",
    ),
    key(
        "network.proxy",
        Kind::Proxy,
        None,
        None,
        "A company's proxy that programs in jails go out through, as `http://NAME:PASSWORD@HOST:PORT`, `https://…` (checked \
         with `ca_file` too) or `socks5h://…`; it looks names up. Unset: HTTPS_PROXY of the daemon's environment, but for the \
         hosts of NO_PROXY. Hosts of `pins` go without it.",
    ),
    key(
        "network.ca_file",
        Kind::Path,
        None,
        Some("AGENTD_NETWORK_CA_FILE"),
        "A PEM file with further certificate authorities that programs in jails trust, such as a company's.",
    ),
    key(
        "log.level",
        Kind::Filter,
        Some("info"),
        Some("AGENTD_LOG"),
        "What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or directives such as \
         `info,agentd::model=debug`.",
    ),
    key(
        "log.format",
        Kind::Choice(&["text", "json"]),
        Some("text"),
        Some("AGENTD_LOG_FORMAT"),
        "How it is logged: lines for people, or one JSON object a line.",
    ),
    key(
        "privacy.log",
        Kind::Choice(&["full", "redacted", "none"]),
        Some("redacted"),
        Some("AGENTD_PRIVACY_LOG"),
        "What the log keeps of prompts, answers and tool results: all of it (`full`; agentd's own keys never), with marks \
         where something is or looks like a secret (`redacted`), or no words (`none`: they live in memory until agentd ends; \
         what was done stays). Fixed for a session when it is made.",
    ),
    key(
        "privacy.secret_files",
        Kind::Texts,
        Some(crate::domain::secret_files::USUAL),
        Some("AGENTD_PRIVACY_SECRET_FILES"),
        "Names of files that hold secrets; `*` stands for anything, `!` begins an exception, the last match counts. File tools \
         refuse to read them, and their values are redacted wherever they turn up.",
    ),
    key(
        "privacy.mask",
        Kind::Flag,
        Some("true"),
        Some("AGENTD_PRIVACY_MASK"),
        "Whether secret files are masked in jails: commands see a line of comment instead of their content.",
    ),
    key(
        "storage.trash",
        Kind::Span,
        Some("7d"),
        Some("AGENTD_STORAGE_TRASH"),
        "How long a deleted session can be restored. `none`: until it is purged by hand.",
    ),
    key(
        "storage.archive_keep",
        Kind::Span,
        Some("none"),
        Some("AGENTD_STORAGE_ARCHIVE_KEEP"),
        "Archived sessions in which nothing happened for so long go to the trash.",
    ),
    key(
        "storage.max_output",
        Kind::Size,
        Some("10GiB"),
        Some("AGENTD_STORAGE_MAX_OUTPUT"),
        "Kept output of commands, of all sessions together. Beyond it the oldest outputs of ended commands go.",
    ),
    key(
        "storage.max_log",
        Kind::Size,
        Some("none"),
        Some("AGENTD_STORAGE_MAX_LOG"),
        "Size of the database. Beyond it the trash is emptied and the oldest archived sessions are purged; others \
         never.",
    ),
    key(
        "board.files",
        Kind::Texts,
        Some("docs/TASKS.md:TASKS.md"),
        Some("AGENTD_BOARD_FILES"),
        "The files of a workspace's task board, relative to it. Those that exist are read; the first is made when the first task is added.",
    ),
    key(
        "board.lease",
        Kind::Span,
        Some("1h"),
        Some("AGENTD_BOARD_LEASE"),
        "How long a claim on a task lasts unless renewed. A session at work renews its own.",
    ),
    key(
        "git.pass_identity",
        Kind::Flag,
        Some("true"),
        Some("AGENTD_GIT_PASS_IDENTITY"),
        "Whether commits made in a jail carry your `user.name` and `user.email`. Signing keys never go in.",
    ),
    key(
        "persona.default",
        Kind::Text,
        Some("ask"),
        Some("AGENTD_PERSONA"),
        "The persona of sessions that name none: `ask`, `plan`, `code`, `review`, or one of your own in `personas/` \
         beside this file.",
    ),
    key(
        "hooks.needs_you",
        Kind::Texts,
        None,
        None,
        "A program and its arguments, run by the daemon for each question that waits for you, with the question as \
         JSON on its standard input. Its environment holds no key, and it is ended after ten seconds.",
    ),
    key(
        "ledger.time_zone",
        Kind::Text,
        None,
        Some("AGENTD_LEDGER_TIME_ZONE"),
        "The zone of budgets' days and months, such as `Europe/Berlin`. Unset: this machine's.",
    ),
    key(
        "ledger.retention",
        Kind::Span,
        Some("90d"),
        Some("AGENTD_LEDGER_RETENTION"),
        "How long single rows of usage are kept. Their sums by the quarter of an hour stay.",
    ),
    key(
        "ledger.alert_command",
        Kind::Texts,
        None,
        None,
        "A program and its arguments, run for each alert about spending, with the alert as JSON on its standard input.",
    ),
];

/// The key of a dotted name; providers' names are matched by `NAME`.
pub fn find(name: &str) -> Option<&'static Key> {
    let general = generalised(name);
    KEYS.iter().find(|key| key.name == general)
}

/// `providers.openai.api` → `providers.NAME.api`, `models.a/b.c.edit` → `models.NAME.edit`; other names as they are.
pub fn generalised(name: &str) -> String {
    // Names of models have dots.
    let model = name
        .strip_prefix("models.")
        .and_then(|rest| rest.rsplit_once('.'));
    if let Some((_, leaf)) = model {
        return format!("{MODEL_PREFIX}{leaf}");
    }
    let leaf = name
        .strip_prefix("providers.")
        .and_then(|rest| rest.split_once('.'))
        .map(|(_, leaf)| leaf);
    leaf.map_or_else(|| name.to_owned(), |leaf| format!("{PROVIDER_PREFIX}{leaf}"))
}

/// The documented keys as JSON, for editors and programs.
pub fn schema() -> serde_json::Value {
    let entries = KEYS.iter().map(|key| {
        serde_json::json!({
            "key": key.name,
            "type": key.kind.name(),
            "choices": key.kind.choices(),
            "default": key.default,
            "env": key.env,
            "doc": key.doc,
        })
    });
    entries.collect()
}

/// The documented keys as docs/CONFIG.md.
pub fn reference() -> String {
    let mut text = String::from(REFERENCE_HEAD);
    let mut section = "";
    for key in KEYS {
        let own = key.name.rsplit_once('.').map_or(key.name, |(section, _)| section);
        if own != section {
            section = own;
            let _ = write!(
                text,
                "\n## [{section}]\n\n| key | takes | default | variable | what it does |\n|---|---|---|---|---|\n"
            );
        }
        let leaf = key.name.rsplit('.').next().unwrap_or(key.name);
        let code = |text: &str| format!("`{text}`");
        let _ = writeln!(
            text,
            "| `{leaf}` | {} | {} | {} | {} |",
            key.kind.describe(),
            key.default.map_or_else(|| "unset".to_owned(), code),
            key.env.map_or_else(|| "—".to_owned(), code),
            key.doc,
        );
    }
    text
}

const REFERENCE_HEAD: &str = "\
# Configuration

<!-- Made from daemon/src/config/keys.rs; a test keeps it current. Remake: AGENTD_BLESS=1 cargo test -p agentd reference -->

`~/.config/agentd/config.toml` (or `$XDG_CONFIG_HOME/agentd/config.toml`, or the file named by `AGENTD_CONFIG` or
`--config`). It need not exist. Weakest first: defaults, the file, variables, flags. An unknown key or a wrong value is
an error that names file, line and column; `agentd config check` finds them all, `agentd config show` prints what is in
effect and where it came from. The daemon reads the file when it starts.

A project's `.agentd/policy.toml` can only tighten what its sessions may do, and the `[shell] init` of its
`.agentd/config.toml` runs only after an Approval (docs/POLICY.md); nothing else in a workspace changes what the daemon
does.

API keys are not kept here but in `credentials.toml` in the same directory (mode 0600), or in variables.

Durations have a unit (`500ms`, `90s`, `10min`, `1h30m`, `2d`) or are `none`. Sizes are bytes or have a unit (`64MiB`,
`2GB`), or are `none`. In variables, lists are separated by `:`.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;

    #[test]
    fn every_key_is_documented_and_its_default_is_valid() {
        for key in KEYS {
            assert!(key.doc.ends_with('.') && key.doc.len() > 20, "{}", key.name);
            if let Some(default) = key.default {
                key.kind
                    .parse_text(default)
                    .unwrap_or_else(|e| panic!("{}: {e}", key.name));
                assert_ne!(key.kind.parse_text(default), Ok(Value::Unset));
            }
            assert_eq!(find(key.name).map(|found| found.name), Some(key.name));
        }
        assert!(find("providers.my-server.base_url").is_some());
        assert!(find("providers.my-server.nothing").is_none());
        assert!(find("models.openai/gpt-4.1.context_tokens").is_some());
        assert!(find("models.openai/gpt-4.1").is_none());
    }

    #[test]
    fn the_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md");
        if std::env::var_os("AGENTD_BLESS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == reference(),
            "docs/CONFIG.md is out of date; remake it with AGENTD_BLESS=1"
        );
    }
}
