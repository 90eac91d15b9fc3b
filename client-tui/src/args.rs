//! Owns: the command line of agent-tui.

use std::path::PathBuf;

use clap::Parser;

/// The terminal UI of agentd: watch and drive sessions.
#[derive(Debug, Parser)]
#[command(name = "agent-tui", version, about)]
pub(crate) struct Args {
    /// Open this session: id, unique prefix or name. Without it: the dashboard.
    pub(crate) session: Option<String>,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Do not start a daemon when none answers.
    #[arg(long)]
    pub(crate) no_autostart: bool,
    /// Workspace of new sessions; otherwise the enclosing git root.
    #[arg(short = 'C', long = "cd", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Look only: nothing is sent and nothing is decided.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Linear mode without redraws, for screen readers and logs.
    #[arg(long)]
    pub(crate) plain: bool,
    /// Keep the terminal's own scrollback: finished items above, a footer below.
    #[arg(long)]
    pub(crate) inline: bool,
    /// dark, light, high-contrast, mono, deuteranopia or ascii. Otherwise by NO_COLOR and the background.
    #[arg(long, value_name = "NAME", env = "AGENT_TUI_THEME")]
    pub(crate) theme: Option<String>,
    /// Leave the mouse to the terminal.
    #[arg(long)]
    pub(crate) no_mouse: bool,
    /// Tell the terminal when a session needs you (OSC 9: a notification where the terminal makes one).
    #[arg(long, env = "AGENT_TUI_NOTIFY", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub(crate) notify: bool,
    /// Print the key table as Markdown, and end.
    #[arg(long)]
    pub(crate) print_keys: bool,
    /// Key table to use instead of keys.toml in the configuration directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
}
