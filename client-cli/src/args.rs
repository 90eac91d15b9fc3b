//! Owns: the verbs of agentctl and the flags of all of them; each verb's own flags are in `args/verbs.rs`.
//! Guarantees: what is listed here works; a test compares the verbs with the help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod jail;
mod lifecycle;
mod policies;
mod record;
mod tasks;
mod usage;
mod verbs;
mod web;

pub(crate) use self::jail::*;
pub(crate) use self::lifecycle::*;
pub(crate) use self::policies::*;
pub(crate) use self::record::*;
pub(crate) use self::tasks::*;
pub(crate) use self::usage::*;
pub(crate) use self::verbs::*;
pub(crate) use self::web::*;
use crate::render::help;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "agentctl", version, disable_help_subcommand = true, override_help = help::ROOT)]
#[command(infer_subcommands = false, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Flags of every verb")]
pub(crate) struct Global {
    /// Session: id, prefix, name, `@last`, or `.` for this directory's
    #[arg(
        short,
        long,
        global = true,
        hide_short_help = true,
        env = "AGENTCTL_SESSION",
        value_name = "S"
    )]
    #[arg(hide_env_values = true)]
    pub(crate) session: Option<String>,
    /// Work as if started in DIR, and take exactly it as the workspace
    #[arg(
        short = 'C',
        long = "cd",
        global = true,
        hide_short_help = true,
        value_name = "DIR"
    )]
    pub(crate) dir: Option<PathBuf>,
    /// Form of the output [default: table on a terminal, plain otherwise]
    #[arg(
        short,
        long,
        global = true,
        hide_short_help = true,
        env = "AGENTCTL_OUTPUT",
        value_name = "FORM"
    )]
    pub(crate) output: Option<Format>,
    /// Same as --output json
    #[arg(long, global = true, hide_short_help = true, conflicts_with = "output")]
    pub(crate) json: bool,
    /// Only these columns or JSON fields
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_delimiter = ',',
        value_name = "A,B"
    )]
    pub(crate) fields: Vec<String>,
    /// No header above tables
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_header: bool,
    /// When to colour
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub(crate) color: When,
    /// No progress or remarks on standard error
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) quiet: bool,
    /// More detail on standard error
    #[arg(short, long, global = true, hide_short_help = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Never ask; fail with the command that would answer
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_input: bool,
    /// Answer yes to questions of agentctl itself (never to approvals)
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) yes: bool,
    /// Give up after this long, with exit code 124: 500ms, 30s, 2m, 1h30m
    #[arg(long, global = true, hide_short_help = true, value_parser = crate::time::parse_duration)]
    #[arg(value_name = "D")]
    pub(crate) timeout: Option<Duration>,
    /// The daemon's socket
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "AGENTD_SOCKET",
        value_name = "PATH"
    )]
    #[arg(hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,
    /// Do not start a daemon when none is running
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_autostart: bool,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// Tab-separated, never cut.
    Plain,
}

/// When to do something that depends on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs. The doc comment's first line is the verb's summary in its help.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// One turn of the agent, streamed
    #[command(before_help = help::RUN)]
    Run(RunArgs),
    /// Run a command in a session's persistent jailed shell
    #[command(before_help = help::EXEC)]
    Exec(ExecArgs),
    /// An interactive shell inside the jail (Ctrl-] d leaves it)
    #[command(before_help = help::SHELL)]
    Shell(ShellArgs),
    /// Follow a session line by line, and write to it
    #[command(before_help = help::ATTACH)]
    Attach(AttachArgs),
    /// Post a message: queued while the agent works
    #[command(before_help = help::SEND)]
    Send(SendArgs),
    /// Stop a session's turn; the session stays
    #[command(before_help = help::INTERRUPT)]
    Interrupt(InterruptArgs),
    /// Programs that listen in a session's jail
    #[command(before_help = help::PORTS)]
    Ports(OneSession),
    /// Open a port of a session's jail on this machine
    #[command(before_help = help::FORWARD)]
    Forward(ForwardArgs),
    /// Wait for a session to reach a state
    #[command(before_help = help::WAIT)]
    Wait(WaitArgs),
    /// What happened in a session
    #[command(before_help = help::LOGS)]
    Logs(LogsArgs),
    /// List sessions, and their whole life: make, pause, archive, delete …
    #[command(override_help = help::SESSIONS, alias = "s")]
    Sessions {
        #[command(subcommand)]
        verb: Option<SessionsVerb>,
    },
    /// Same as: sessions list
    #[command(hide = true)]
    Ls(SessionsList),
    /// Same as: sessions list --state working,needs-you
    #[command(hide = true)]
    Ps(SessionsList),
    /// Same as: sessions delete
    #[command(hide = true)]
    Rm(DeleteArgs),
    /// A session's files: list, read, write, edit
    #[command(before_help = help::FILES)]
    Files {
        #[command(subcommand)]
        verb: FilesVerb,
    },
    /// Find words in sessions, commands and outputs
    #[command(before_help = help::SEARCH)]
    Search(SearchArgs),
    /// What is kept on disk, and taking it away
    #[command(before_help = help::STORAGE)]
    Storage {
        #[command(subcommand)]
        verb: Option<StorageVerb>,
    },
    /// The task board of this directory: docs/TASKS.md
    #[command(override_help = help::TASKS, alias = "t")]
    Tasks {
        #[command(subcommand)]
        verb: Option<TasksVerb>,
    },
    /// Questions that wait for an answer
    #[command(before_help = help::APPROVALS)]
    Approvals {
        #[command(subcommand)]
        verb: Option<ApprovalsVerb>,
    },
    /// Let a tool call happen
    #[command(before_help = help::APPROVE)]
    Approve(ApproveArgs),
    /// Refuse a tool call; the turn goes on
    #[command(before_help = help::DENY)]
    Deny(DenyArgs),
    /// Ways of working: instructions, model, tools, policy
    #[command(before_help = help::PERSONAS)]
    Personas {
        #[command(subcommand)]
        verb: Option<PersonasVerb>,
    },
    /// What is allowed, asked about and denied, and what was granted
    #[command(before_help = help::POLICIES)]
    Policies {
        #[command(subcommand)]
        verb: Option<PoliciesVerb>,
    },
    /// What was used and what it cost; budgets, alerts, exports
    #[command(before_help = help::USAGE, alias = "u")]
    Usage {
        #[command(subcommand)]
        verb: Option<UsageVerb>,
    },
    /// Findings in a change, by file and line
    #[command(before_help = help::REVIEW)]
    Review(ReviewArgs),
    /// What a session did: files written, hosts contacted, commands run
    #[command(before_help = help::AUDIT)]
    Audit(AuditArgs),
    /// Play a session again, offline, from its cassette
    #[command(before_help = help::REPLAY)]
    Replay(ReplayArgs),
    /// Models that can be used
    #[command(before_help = help::MODELS)]
    Models {
        #[command(subcommand)]
        verb: Option<ModelsVerb>,
    },
    /// API keys of providers
    #[command(before_help = help::AUTH)]
    Auth {
        #[command(subcommand)]
        verb: Option<AuthVerb>,
    },
    /// Start, stop and look at the daemon
    #[command(before_help = help::DAEMON)]
    Daemon {
        #[command(subcommand)]
        verb: Option<DaemonVerb>,
    },
    /// Read and change the configuration
    #[command(before_help = help::CONFIG)]
    Config {
        #[command(subcommand)]
        verb: Option<ConfigVerb>,
    },
    /// The browser: start, sign in, sign out, stop
    #[command(before_help = help::WEB)]
    Web {
        #[command(flatten)]
        args: WebArgs,
        #[command(subcommand)]
        verb: Option<WebVerb>,
    },
    /// Check prerequisites and say how to fix what is missing
    #[command(before_help = help::DOCTOR)]
    Doctor {
        /// Also start a jail and try to break out of it
        #[arg(long)]
        prove: bool,
        /// Also compare the tools of this directory inside a jail and outside
        #[arg(long)]
        project: bool,
    },
    /// Help on a verb, or on: exit-codes, environment, output, keys
    #[command(before_help = help::HELP)]
    Help {
        /// Verb or topic
        topic: Vec<String>,
    },
    /// Versions of agentctl and of the running daemon
    #[command(before_help = help::VERSION)]
    Version,
}
