//! Owns: where a session works and how that looks from inside its jail.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the workspace appears inside the jail. Fixed for a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The workspace is `/`.
    Root,
    /// The workspace is at its host path.
    Host,
}

/// Which shell a session keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellKind {
    /// The system's `/bin/sh`.
    Sh,
    /// bash, without rc files.
    Bash,
}

/// What encloses a session's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JailKind {
    /// Bubblewrap.
    Bwrap,
    /// Nothing of ours.
    Outer,
}

/// The host directory a Session works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Canonical host path.
    pub root: PathBuf,
    /// Where the shell starts, relative to `root`.
    pub start_dir: PathBuf,
    /// Where it appears inside.
    pub layout: Layout,
    /// Why, as a sentence.
    pub layout_reason: String,
}
