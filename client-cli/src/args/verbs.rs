//! Owns: the flags of each verb of agentctl.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::jail::JailFlags;
use super::lifecycle::{DeleteArgs, ExportArgs, ForkArgs, ImportArgs, Order, PauseArgs, RedactArgs};

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
    /// Model: PROVIDER/NAME, demo, or cassette:FILE
    #[arg(short, long, value_name = "MODEL", value_parser = super::parse_model)]
    pub(crate) model: Option<String>,
    /// How long a reasoning model thinks: minimal, low, medium, high
    #[arg(long, value_name = "EFFORT", hide_short_help = true)]
    pub(crate) effort: Option<String>,
    /// A JSON Schema that the answer must match
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) json_schema: Option<PathBuf>,
    /// Attach a file or picture (repeatable)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Post and leave; prints the session id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// On an approval: ask, wait, deny or exit [default: ask on a terminal]
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub(crate) on_approval: Option<OnApproval>,
    /// Work as this persona from now on: ask, plan, code, review or yours
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    pub(crate) persona: String,
    /// Under this policy in place of the persona's own
    #[arg(
        long,
        value_name = "P",
        default_value = "",
        hide_default_value = true,
        hide_short_help = true
    )]
    pub(crate) policy: String,
    /// At most so many steps
    #[arg(long, value_name = "N", value_parser = super::parse_steps, hide_short_help = true)]
    pub(crate) max_turns: Option<u32>,
    /// At most so much money, such as '$2'; then the session pauses (exit 8)
    #[arg(long, value_name = "USD", value_parser = super::parse_budget)]
    pub(crate) budget: Option<u64>,
    /// Print only the final answer
    #[arg(long)]
    pub(crate) last: bool,
    /// A new session's layout: root (the workspace is /) or host (its path)
    #[arg(long, value_name = "LAYOUT", hide_possible_values = true)]
    pub(crate) layout: Option<Layout>,
    /// A new session's jail: bwrap, or outer (a container is the wall)
    #[arg(
        long,
        value_name = "KIND",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub(crate) jail: Option<Jail>,
    /// What programs can reach: off, ask (listed hosts; others are asked about) or list
    #[arg(
        long,
        value_name = "MODE",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub(crate) net: Option<Net>,
    /// Make this machine's port reachable inside, after an approval (repeatable)
    #[arg(long, value_name = "PORT", hide_short_help = true)]
    pub(crate) host_port: Vec<u16>,
    #[command(flatten)]
    pub(crate) flags: JailFlags,
    /// What a new session's log keeps of what is said: full, redacted or none
    #[arg(
        long,
        value_name = "LEVEL",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub(crate) log: Option<LogLevel>,
}

/// What a session's log keeps of what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Everything but agentd's own keys.
    Full,
    /// Everything, with marks where secrets were.
    Redacted,
    /// No words.
    None,
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

/// What a session's programs can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Net {
    /// Nothing.
    Off,
    /// Listed hosts, and those a person approves.
    Ask,
    /// Listed hosts.
    List,
}

/// Flags of `forward`.
#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    /// Session
    pub(crate) target: String,
    /// Port inside, or PORT:LOCAL; nothing: list the open ones
    pub(crate) port: Option<String>,
    /// Close it
    #[arg(long, requires = "port")]
    pub(crate) close: bool,
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
    /// Change to this directory first, as seen in the jail; it stays
    #[arg(long, value_name = "D")]
    pub(crate) cwd: Option<String>,
    /// With -o json: at most so many bytes of each stream
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub(crate) capture: u64,
    /// A new session's layout: root (the workspace is /) or host (its path)
    #[arg(long, value_name = "LAYOUT", hide_possible_values = true)]
    pub(crate) layout: Option<Layout>,
    /// A new session's jail: bwrap, or outer (a container is the wall)
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub(crate) jail: Option<Jail>,
    /// What programs can reach: off, ask (listed hosts; others are asked about) or list
    #[arg(
        long,
        value_name = "MODE",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub(crate) net: Option<Net>,
    /// Make this machine's port reachable inside, after an approval (repeatable)
    #[arg(long, value_name = "PORT", hide_short_help = true)]
    pub(crate) host_port: Vec<u16>,
    #[command(flatten)]
    pub(crate) flags: JailFlags,
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
    /// A new session's layout: root (the workspace is /) or host (its path)
    #[arg(long, value_name = "LAYOUT", hide_possible_values = true)]
    pub(crate) layout: Option<Layout>,
    /// A new session's jail: bwrap, or outer (a container is the wall)
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub(crate) jail: Option<Jail>,
    /// What programs can reach: off, ask (listed hosts; others are asked about) or list
    #[arg(
        long,
        value_name = "MODE",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub(crate) net: Option<Net>,
    /// Make this machine's port reachable inside, after an approval (repeatable)
    #[arg(long, value_name = "PORT", hide_short_help = true)]
    pub(crate) host_port: Vec<u16>,
    #[command(flatten)]
    pub(crate) flags: JailFlags,
}

/// Flags of `attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
    /// Only look
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Labelled lines without redraws, also on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// How many items of the past to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) tail: usize,
}

/// Flags of `send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Session
    pub(crate) target: String,
    /// The message (with --stdin: what to type); `-` or nothing: read from standard input
    pub(crate) text: Vec<String>,
    /// Type it into the command that waits for input, with a line end
    #[arg(long, conflicts_with_all = ["file", "steer", "queue", "list", "edit", "remove"])]
    pub(crate) stdin: bool,
    /// With --stdin: into this command, whether it waits or not
    #[arg(long, value_name = "COMMAND", requires = "stdin", hide_short_help = true)]
    pub(crate) exec: Option<String>,
    /// With --stdin: nothing more will come
    #[arg(long, requires = "stdin", hide_short_help = true)]
    pub(crate) eof: bool,
    /// Attach a file (repeatable)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// While a turn is open: read it before the next step
    #[arg(long, conflicts_with_all = ["list", "remove"])]
    pub(crate) steer: bool,
    /// While a turn is open: wait for its end (the default)
    #[arg(long, conflicts_with_all = ["steer", "list", "remove"])]
    pub(crate) queue: bool,
    /// List the messages that wait
    #[arg(long, conflicts_with_all = ["text", "file", "edit", "remove"])]
    pub(crate) list: bool,
    /// Change a message that waits: its text, or when it is read
    #[arg(long, value_name = "MESSAGE")]
    pub(crate) edit: Option<String>,
    /// Take a message that waits back
    #[arg(long, value_name = "MESSAGE", conflicts_with_all = ["text", "file", "edit"])]
    pub(crate) remove: Option<String>,
}

/// A verb about one session.
#[derive(Debug, Args)]
pub(crate) struct OneSession {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
}

/// Flags of `interrupt`.
#[derive(Debug, Args)]
pub(crate) struct InterruptArgs {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
    /// Stop this command, or what it left running in the background, instead of the turn (repeatable)
    #[arg(long, value_name = "COMMAND")]
    pub(crate) exec: Vec<String>,
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
    /// An approval is open, or a command waits for input.
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
    Show(ShowSession),
    /// Make a session
    New(SessionsNew),
    /// Who follows a session at this moment
    Clients(OneSession),
    /// Give a session another name
    Rename {
        /// Session
        target: String,
        /// The new name
        name: String,
    },
    /// Stop it in mid-stride: turn and commands stand still
    Pause(PauseArgs),
    /// Let a paused session go on
    Resume(OneSession),
    /// Hide a session
    Archive(OneSession),
    /// Show an archived session again
    Unarchive(OneSession),
    /// Put sessions into the trash, for 7 days
    Delete(DeleteArgs),
    /// Take a session out of the trash
    Restore(OneSession),
    /// A new session that begins with another's log
    Fork(ForkArgs),
    /// Write a session into one file
    Export(ExportArgs),
    /// Make a session from such a file
    Import(ImportArgs),
    /// Take texts out of a session for good
    Redact(RedactArgs),
}

/// Flags of `sessions list`.
#[derive(Debug, Args)]
pub(crate) struct SessionsList {
    /// Only these states: ready, working, needs-you, paused, failed, archived, deleted
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
    /// Order: activity, name, created or cost
    #[arg(
        long,
        value_name = "BY",
        default_value = "activity",
        hide_possible_values = true
    )]
    pub(crate) sort: Order,
    /// Go on: again whenever one changes
    #[arg(short, long)]
    pub(crate) watch: bool,
}

impl SessionsList {
    /// As `sessions list` without any flag.
    pub(crate) fn all_open() -> Self {
        Self {
            state: Vec::new(),
            all: false,
            here: false,
            limit: 1000,
            sort: Order::Activity,
            watch: false,
        }
    }
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
    /// In the trash.
    Deleted,
}

/// Flags of `sessions new`.
#[derive(Debug, Args)]
pub(crate) struct SessionsNew {
    /// Its name [default: made from the directory]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Model: PROVIDER/NAME, demo, or cassette:FILE
    #[arg(short, long, value_name = "MODEL", value_parser = super::parse_model)]
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
    /// What its log keeps of what is said
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<LogLevel>,
    #[command(flatten)]
    pub(crate) flags: JailFlags,
    /// What programs can reach: off, ask (listed hosts; others are asked about) or list
    #[arg(long, value_name = "MODE", hide_possible_values = true)]
    pub(crate) net: Option<Net>,
}

/// Flags of `sessions show`.
#[derive(Debug, Args)]
pub(crate) struct ShowSession {
    /// Session: id, unique prefix, name, @last or .
    pub(crate) target: Option<String>,
    /// What fills the model's context, and its plan
    #[arg(long)]
    pub(crate) context: bool,
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
    /// The same in every session of yours on this project, until --expires
    #[arg(long, conflicts_with_all = ["once", "for_session"])]
    pub(crate) project: bool,
    /// Add this rule instead of the one shown (repeatable); it must match what is asked
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Vec<String>,
    /// How long --project counts: 1h, 7d [default: 30d]
    #[arg(long, value_name = "D", requires = "project", value_parser = crate::time::parse_duration)]
    pub(crate) expires: Option<std::time::Duration>,
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
    /// Try a model with one tiny request; names the part that fails
    Test {
        /// Model: PROVIDER/NAME [default: the configured one]
        model: Option<String>,
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
        /// Key, such as model.default or jail.kind
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
