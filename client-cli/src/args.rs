//! Owns: the verbs and flags of agentctl.
//! Guarantees: what is listed here works; a test compares the verbs with the help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    Interrupt(OneSession),
    /// Wait for a session to reach a state
    #[command(before_help = help::WAIT)]
    Wait(WaitArgs),
    /// What happened in a session
    #[command(before_help = help::LOGS)]
    Logs(LogsArgs),
    /// List, show, make and rename sessions
    #[command(before_help = help::SESSIONS, alias = "s")]
    Sessions {
        #[command(subcommand)]
        verb: SessionsVerb,
    },
    /// Same as: sessions list
    #[command(hide = true)]
    Ls(SessionsList),
    /// Same as: sessions list --state working,needs-you
    #[command(hide = true)]
    Ps(SessionsList),
    /// Questions that wait for an answer
    #[command(before_help = help::APPROVALS)]
    Approvals {
        #[command(subcommand)]
        verb: ApprovalsVerb,
    },
    /// Let a tool call happen
    #[command(before_help = help::APPROVE)]
    Approve(ApproveArgs),
    /// Refuse a tool call; the turn goes on
    #[command(before_help = help::DENY)]
    Deny(DenyArgs),
    /// Models that can be used
    #[command(before_help = help::MODELS)]
    Models {
        #[command(subcommand)]
        verb: ModelsVerb,
    },
    /// API keys of providers
    #[command(before_help = help::AUTH)]
    Auth {
        #[command(subcommand)]
        verb: AuthVerb,
    },
    /// Start, stop and look at the daemon
    #[command(before_help = help::DAEMON)]
    Daemon {
        #[command(subcommand)]
        verb: DaemonVerb,
    },
    /// Read and change the configuration
    #[command(before_help = help::CONFIG)]
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
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
    },
    /// Help on a verb, or on: exit-codes, environment, output
    #[command(before_help = help::HELP)]
    Help {
        /// Verb or topic
        topic: Vec<String>,
    },
    /// Versions of agentctl and of the running daemon
    #[command(before_help = help::VERSION)]
    Version,
}

/// Flags of `web`.
#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// What the browser may do [default: all]: read, drive, approve, admin
    #[arg(long, global = true, value_delimiter = ',', value_name = "A,B")]
    pub(crate) scopes: Vec<ScopeWord>,
    /// Show a QR code for a phone (read, approve)
    #[arg(long, global = true)]
    pub(crate) pair_phone: bool,
    /// The link of the public URL, not of this machine
    #[arg(long, global = true)]
    pub(crate) public: bool,
    /// Only print the link
    #[arg(long, global = true)]
    pub(crate) no_browser: bool,
}

/// Verbs of `web`.
#[derive(Debug, Subcommand)]
pub(crate) enum WebVerb {
    /// Start the gateway if need be and open a signed-in page
    Open,
    /// Print a sign-in link, good once and for 60 seconds
    Url,
    /// Browsers that are signed in
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Stop the gateway; browsers stay signed in
    Stop,
}

/// Verbs of `web token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// List them
    List,
    /// Sign one out now
    Revoke {
        /// Device id or a prefix of it
        device: String,
    },
}

/// Scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeWord {
    /// Look.
    Read,
    /// Post, interrupt, type.
    Drive,
    /// Answer approvals.
    Approve,
    /// Devices, credentials, stopping.
    Admin,
}

impl ScopeWord {
    pub(crate) fn scope(self) -> agentd_proto::pb::Scope {
        match self {
            Self::Read => agentd_proto::pb::Scope::Read,
            Self::Drive => agentd_proto::pb::Scope::Drive,
            Self::Approve => agentd_proto::pb::Scope::Approve,
            Self::Admin => agentd_proto::pb::Scope::Admin,
        }
    }

    pub(crate) fn of(scope: agentd_proto::pb::Scope) -> Option<Self> {
        [Self::Read, Self::Drive, Self::Approve, Self::Admin].into_iter().find(|word| word.scope() == scope)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Drive => "drive",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to do; `-` or nothing: read from standard input
    pub(crate) prompt: Vec<String>,
    /// Session of this name on this directory, made if absent
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// A new session
    #[arg(long)]
    pub(crate) new: bool,
    /// Model: PROVIDER/NAME, or demo
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Attach a file (repeatable)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Post and leave; prints the session id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// When a tool call needs an approval [default: ask on a terminal, exit otherwise]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_approval: Option<OnApproval>,
    /// At most so many steps
    #[arg(long, value_name = "N")]
    pub(crate) max_turns: Option<u32>,
    /// Print only the final answer
    #[arg(long)]
    pub(crate) last: bool,
    /// Where the workspace appears in the jail of a new session
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// What encloses a new session's commands
    #[arg(long, value_name = "KIND")]
    pub(crate) jail: Option<Jail>,
}

/// What `run` does when a tool call needs an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnApproval {
    /// Ask on the terminal.
    Ask,
    /// Wait until somebody answers elsewhere.
    Wait,
    /// Deny, which ends the turn (exit 5).
    Deny,
    /// Leave with exit 10; the question stays open.
    Exit,
}

/// Layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// The workspace is `/`.
    Root,
    /// The workspace is at its host path.
    Host,
}

/// Jail kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Jail {
    /// Bubblewrap.
    Bwrap,
    /// None: a container around agentd is the wall.
    Outer,
}

/// Shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// The system's `/bin/sh`.
    Sh,
    /// bash.
    Bash,
}

/// Flags of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// One argument: shell text. Several: a command line. `-`: shell text from standard input
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
    /// Session of this name on this directory, made if absent
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Pass standard input on to the command
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', conflicts_with = "no_terminal")]
    pub(crate) terminal: bool,
    /// Give the command no terminal (the default)
    #[arg(short = 'T')]
    pub(crate) no_terminal: bool,
    /// Variable for this command only (repeatable)
    #[arg(long, value_name = "K=V")]
    pub(crate) env: Vec<String>,
    /// Directory for this command only, as seen in the jail
    #[arg(long, value_name = "D")]
    pub(crate) cwd: Option<String>,
    /// With -o json: at most so many bytes of each stream
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub(crate) capture: u64,
    /// Where the workspace appears in the jail of a new session
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// What encloses a new session's commands
    #[arg(long, value_name = "KIND")]
    pub(crate) jail: Option<Jail>,
}

/// Flags of `shell`.
#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// Go back to a shell that was left with Ctrl-] d
    #[arg(long, value_name = "X")]
    pub(crate) rejoin: Option<String>,
    /// Session of this name on this directory, made if absent
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Where the workspace appears in the jail of a new session
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// What encloses a new session's commands
    #[arg(long, value_name = "KIND")]
    pub(crate) jail: Option<Jail>,
}

/// Flags of `attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
    /// Only look
    #[arg(long)]
    pub(crate) read_only: bool,
    /// How many items of the past to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) tail: usize,
}

/// Flags of `send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Session
    pub(crate) target: String,
    /// The message; `-` or nothing: read from standard input
    pub(crate) text: Vec<String>,
    /// Attach a file (repeatable)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
}

/// A verb about one session.
#[derive(Debug, Args)]
pub(crate) struct OneSession {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
}

/// Flags of `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
    /// What to wait for; `done` exits with the code of the turn
    #[arg(long = "for", value_name = "STATE", default_value = "ready")]
    pub(crate) state: WaitFor,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// No turn and no command is open.
    Ready,
    /// An approval is open.
    NeedsYou,
    /// Like ready, with the exit code of the last turn.
    Done,
}

/// Flags of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last N items
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Only what is younger: 10m, 2h, or a time such as 2025-01-31T10:00:00Z
    #[arg(long, value_name = "D")]
    pub(crate) since: Option<String>,
    /// Commands and what they wrote
    #[arg(long, conflicts_with_all = ["transcript", "events"])]
    pub(crate) shell: bool,
    /// What was said and done (the default)
    #[arg(long, conflicts_with = "events")]
    pub(crate) transcript: bool,
    /// Every fact, one a line
    #[arg(long)]
    pub(crate) events: bool,
}

/// Verbs about sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionsVerb {
    /// List sessions, those that need you first
    List(SessionsList),
    /// All about one session
    Show(OneSession),
    /// Make a session
    New(SessionsNew),
    /// Give a session another name
    Rename {
        /// Session
        target: String,
        /// The new name
        name: String,
    },
}

/// Flags of `sessions list`.
#[derive(Debug, Args)]
pub(crate) struct SessionsList {
    /// Only these states: ready, working, needs-you, paused, failed, archived
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) state: Vec<State>,
    /// Also archived ones
    #[arg(long)]
    pub(crate) all: bool,
    /// Only sessions on this directory
    #[arg(long)]
    pub(crate) here: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
}

/// States as flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Waiting for a message.
    Ready,
    /// A turn or command runs.
    Working,
    /// An approval is open.
    NeedsYou,
    /// Paused.
    Paused,
    /// The last turn ended in an error.
    Failed,
    /// Hidden.
    Archived,
}

/// Flags of `sessions new`.
#[derive(Debug, Args)]
pub(crate) struct SessionsNew {
    /// Its name [default: made from the directory]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Model: PROVIDER/NAME, or demo
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Where the workspace appears in its jail
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// Which shell it keeps
    #[arg(long, value_name = "SHELL")]
    pub(crate) shell: Option<Shell>,
    /// What encloses its commands
    #[arg(long, value_name = "KIND")]
    pub(crate) jail: Option<Jail>,
}

/// Verbs about approvals.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsVerb {
    /// Open questions, oldest first
    List {
        /// Also decided ones
        #[arg(long)]
        all: bool,
    },
    /// One question in full
    Show {
        /// Approval
        approval: String,
    },
}

/// Flags of `approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Approvals: id or unique prefix
    #[arg(required = true, value_name = "A")]
    pub(crate) approvals: Vec<String>,
    /// This one call (the default)
    #[arg(long, conflicts_with = "for_session")]
    pub(crate) once: bool,
    /// Also the calls that match the rule shown, until the session ends (written --session)
    // `--session S` is a flag of every verb; `command_line` renames the one without a value before parsing.
    #[arg(long = "for-session")]
    pub(crate) for_session: bool,
}

/// Flags of `deny`.
#[derive(Debug, Args)]
pub(crate) struct DenyArgs {
    /// Approvals: id or unique prefix
    #[arg(required = true, value_name = "A")]
    pub(crate) approvals: Vec<String>,
    /// What the model is told
    #[arg(long, value_name = "T", default_value = "")]
    pub(crate) reason: String,
}

/// Verbs about models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsVerb {
    /// Models that can be used, and what is missing for others
    List,
    /// Try a model with one tiny request
    Test {
        /// Model: PROVIDER/NAME
        model: String,
    },
}

/// Verbs about keys.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthVerb {
    /// Store a provider's key: asked for without echo, or read from standard input
    Set {
        /// Provider, such as openai
        provider: String,
    },
    /// Providers that have a key
    List,
    /// Forget a provider's key
    Rm {
        /// Provider
        provider: String,
    },
}

/// Verbs about the daemon.
#[derive(Debug, Subcommand)]
pub(crate) enum DaemonVerb {
    /// What runs and how it is
    Status,
    /// Start it
    Start,
    /// Stop it, and the jails
    Stop(DaemonStop),
    /// Stop it and start it again; commands in jails go on
    Restart,
    /// Its log
    Logs {
        /// Go on with what comes
        #[arg(short, long)]
        follow: bool,
        /// How many lines
        #[arg(long, value_name = "N", default_value_t = 50)]
        tail: usize,
    },
}

/// Flags of `daemon stop`.
#[derive(Debug, Args)]
pub(crate) struct DaemonStop {
    /// Leave jails and their commands running
    #[arg(long)]
    pub(crate) keep_jails: bool,
}

/// Verbs about the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// The value of a key
    Get {
        /// Key, such as model or jail.kind
        key: String,
    },
    /// Set a key in the configuration file
    Set {
        /// Key
        key: String,
        /// Value
        value: String,
    },
    /// Take a key out of the configuration file
    Unset {
        /// Key
        key: String,
    },
    /// Every key and its value
    List {
        /// Also where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Open the file in $EDITOR, and check it afterwards
    Edit,
    /// Where the file is
    Path,
    /// Check the file
    Validate {
        /// Another file
        file: Option<PathBuf>,
    },
    /// Every key there is, with type, default and meaning
    Schema,
}
