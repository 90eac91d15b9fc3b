//! Owns: the flags of the verbs about a session's life.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// Orders of `sessions list`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Needing-you first, then the last event.
    #[default]
    Activity,
    /// By name.
    Name,
    /// The newest session first.
    Created,
    /// The dearest first.
    Cost,
}

/// Flags of `sessions pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
    /// Why, for the others
    #[arg(long, value_name = "T", default_value = "")]
    pub(crate) reason: String,
}

/// Flags of `sessions delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Sessions
    #[arg(required = true, value_name = "S")]
    pub(crate) targets: Vec<String>,
    /// Gone for good at once: no trash
    #[arg(long)]
    pub(crate) purge: bool,
    /// Only say what would be lost
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Flags of `search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Words; all must be there
    #[arg(required = true, value_name = "TEXT")]
    pub(crate) words: Vec<String>,
    /// Also in archived sessions
    #[arg(long)]
    pub(crate) all: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
}

/// Flags of `sessions fork`.
#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// Session [default: -s, else this directory's]
    pub(crate) target: Option<String>,
    /// Up to this event [default: all]
    #[arg(long, value_name = "SEQ", default_value_t = 0, hide_default_value = true)]
    pub(crate) at: u64,
    /// The fork's name [default: made from the original's]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
}

/// Flags of `sessions export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Session
    pub(crate) target: String,
    /// Where to; `-`: standard output [default: NAME.agentd.jsonl]
    pub(crate) file: Option<PathBuf>,
    /// Leave out what commands wrote
    #[arg(long)]
    pub(crate) without_outputs: bool,
}

/// Flags of `sessions import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The bundle; the session works on this directory, or on -C
    pub(crate) file: PathBuf,
    /// Its name [default: as in the bundle]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
}

/// Flags of `sessions redact`.
#[derive(Debug, Args)]
pub(crate) struct RedactArgs {
    /// Session
    pub(crate) target: String,
    /// All texts of these events: A or A..B
    #[arg(
        long,
        value_name = "A..B",
        conflicts_with = "text",
        required_unless_present = "text"
    )]
    pub(crate) seq: Option<String>,
    /// This text, wherever it stands; `-`: read from standard input
    #[arg(long, value_name = "T")]
    pub(crate) text: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "T", default_value = "")]
    pub(crate) reason: String,
}

/// Verbs about what is kept on disk.
#[derive(Debug, Subcommand)]
pub(crate) enum StorageVerb {
    /// How much of what is kept
    Report,
    /// Take away what is old, and what is over its cap
    Prune(PruneArgs),
}

/// Flags of `storage prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Output of commands last written longer ago: 30d, 12h
    #[arg(long, value_name = "D", value_parser = crate::time::parse_duration)]
    pub(crate) older_than: Option<Duration>,
    /// Everything in the trash
    #[arg(long)]
    pub(crate) trash: bool,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}
