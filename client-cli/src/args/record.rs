//! Owns: the flags of `audit`, `replay` and `review`.
//! Guarantees: each flag listed here works.

use std::path::PathBuf;

use clap::Args;

/// Flags of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Session [default: this directory's]
    pub(crate) target: Option<String>,
}

/// Flags of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A cassette's file, or the session to take one from
    #[arg(value_name = "FILE|S")]
    pub(crate) target: String,
    /// Only write the cassette to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

/// Flags of `review`.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// As git diff takes it, such as main...HEAD [default: what is not committed]
    pub(crate) range: Option<String>,
    /// Also put each finding on the task board
    #[arg(long)]
    pub(crate) task: bool,
    /// Exit with 1 when there are findings
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Model: PROVIDER/NAME, demo, or cassette:FILE
    #[arg(short, long, value_name = "MODEL", value_parser = super::parse_model)]
    pub(crate) model: Option<String>,
    /// At most so many steps
    #[arg(long, value_name = "N", value_parser = super::parse_steps)]
    pub(crate) max_turns: Option<u32>,
    /// At most so much money, such as '$2'
    #[arg(long, value_name = "USD", value_parser = super::parse_budget)]
    pub(crate) budget: Option<u64>,
}
