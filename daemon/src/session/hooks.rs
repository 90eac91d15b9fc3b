//! Owns: the user's own program that is told when a session needs them.
//! Guarantees: named only in the user's configuration; run as argument words, never through a shell; what happened is on
//! its standard input as JSON; its environment holds no key; it is ended after ten seconds; its failure stops nothing.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::domain::approval::Approval;
use crate::domain::policy::visible;
use crate::domain::session::{Session, clip};

/// A notifier is quick; what hangs must not pile up.
const LIMIT: Duration = Duration::from_secs(10);
/// What such programs need to reach the user's desktop, terminal or network; keys are not among it.
const VARIABLES: &[&str] = &[
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "TMUX",
];
/// Longest text of a field, characters.
const FIELD: usize = 500;

/// The programs to tell.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// Program and arguments for an open question; empty: none.
    pub needs_you: Vec<String>,
    /// The environment they are given.
    environment: Vec<(String, String)>,
}

impl Hooks {
    /// The hooks of a configuration, with the variables of `env` that such programs need.
    pub fn new(needs_you: Vec<String>, env: &std::collections::BTreeMap<String, String>) -> Self {
        let environment = env.iter().filter(|(name, _)| VARIABLES.contains(&name.as_str()));
        Self {
            needs_you,
            environment: environment
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    /// Tells that a question is open, without waiting.
    pub(super) fn needs_you(&self, session: &Session, approval: &Approval) {
        let Some((program, arguments)) = self.needs_you.split_first() else {
            return;
        };
        let text = serde_json::json!({
            "event": "needs_you",
            "session_id": session.session_id,
            "session": session.name,
            "workspace": session.spec.workspace.root,
            "approval_id": approval.approval_id,
            "tool": visible(&approval.tool),
            "summary": clip(&visible(&approval.summary), FIELD),
            "why": clip(&visible(&approval.why), FIELD),
        });
        let spawned = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return tracing::warn!(%error, program, "hooks: needs_you could not be started"),
        };
        let program = program.clone();
        tokio::spawn(async move {
            let run = async {
                if let Some(mut stdin) = child.stdin.take() {
                    // A program that does not read is none the worse.
                    let _unread = stdin.write_all(format!("{text}\n").as_bytes()).await;
                }
                child.wait().await
            };
            match tokio::time::timeout(LIMIT, run).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => tracing::warn!(program, %status, "hooks: needs_you failed"),
                Ok(Err(error)) => tracing::warn!(program, %error, "hooks: needs_you failed"),
                Err(_) => tracing::warn!(program, "hooks: needs_you took too long and was ended"),
            }
        });
    }
}
