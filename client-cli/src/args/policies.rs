//! Owns: the flags of `personas` and `policies`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// Verbs about personas.
#[derive(Debug, Subcommand)]
pub(crate) enum PersonasVerb {
    /// The built-in ones and your own
    List,
    /// One persona in full; with -s the session's
    Show {
        /// Persona; nothing: that of the session
        name: Option<String>,
    },
    /// Make one of your own, in $EDITOR or from a file
    New {
        /// Its name
        name: String,
        /// Begin from this one
        #[arg(long, value_name = "P", default_value = "ask")]
        from: String,
        /// Take this file (`-`: standard input) instead of the editor
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
    },
    /// Change one of your own, in $EDITOR or from a file
    Edit {
        /// Its name
        name: String,
        /// Take this file (`-`: standard input) instead of the editor
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
    },
    /// Take one of your own away
    Rm {
        /// Its name
        name: String,
    },
}

/// Verbs about policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PoliciesVerb {
    /// The built-in ones and your own; with --grants what was granted to projects
    List {
        /// What was granted to projects instead
        #[arg(long)]
        grants: bool,
        /// With --grants: also those that are over or taken back
        #[arg(long, requires = "grants")]
        all: bool,
    },
    /// One policy: its rules and checks; with -s what is in force in a session
    Show {
        /// Policy; nothing: that of the session
        name: Option<String>,
    },
    /// Which rule decides a command, and what it matches in history; nothing runs
    Test(PolicyTest),
    /// Change or make one of your own, in $EDITOR or from a file
    Edit {
        /// Its name; a new one begins as `ask`
        name: String,
        /// Take this file (`-`: standard input) instead of the editor
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
    },
    /// Take one of your own away
    Rm {
        /// Its name
        name: String,
    },
    /// Take a grant of a project back
    Revoke {
        /// Grant: id or unique prefix
        #[arg(required = true)]
        grants: Vec<String>,
    },
}

/// Flags of `policies test`.
#[derive(Debug, Args)]
pub(crate) struct PolicyTest {
    /// One argument: shell text. Several: a command line
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
    /// Judge by this policy [default: of the session with -s, else the usual one]
    #[arg(long, value_name = "P", default_value = "", conflicts_with = "persona")]
    pub(crate) policy: String,
    /// Judge by this persona's policy
    #[arg(long, value_name = "P", default_value = "")]
    pub(crate) persona: String,
    /// A path written by `write`, instead of a command (repeatable)
    #[arg(long, value_name = "PATH")]
    pub(crate) writes: Vec<String>,
    /// Look at this rule: does it match, and what in history?
    #[arg(long, value_name = "RULE", default_value = "")]
    pub(crate) rule: String,
    /// How many calls of the past to look at, at most 5000
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) history: u32,
    /// Only calls of sessions on this directory
    #[arg(long)]
    pub(crate) here: bool,
}
