//! Owns: telling the user's own program of an alert.
//! Guarantees: the alert is on its standard input as JSON, never on its command line; it is ended after ten
//! seconds; a failure is logged and stops nothing.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::domain::budget::Alert;

/// A notifier is quick; what hangs must not pile up.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs the command with the alert, without waiting for it.
pub(super) fn tell(command: &[String], alert: &Alert) {
    let Some((program, arguments)) = command.split_first() else {
        return;
    };
    let spawned = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(%error, program, "ledger: the alert command could not be started");
            return;
        }
    };
    let text = serde_json::json!({
        "alert_id": alert.alert_id,
        "kind": alert.kind.word(),
        "message": alert.message,
        "budget_id": alert.budget_id,
        "percent": alert.percent,
        "session_id": alert.session_id,
    })
    .to_string();
    let program = program.clone();
    tokio::spawn(async move {
        let run = async {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(text.as_bytes()).await?;
                stdin.write_all(b"\n").await?;
            }
            child.wait().await
        };
        match tokio::time::timeout(LIMIT, run).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => tracing::warn!(program, %status, "ledger: the alert command failed"),
            Ok(Err(error)) => tracing::warn!(program, %error, "ledger: the alert command failed"),
            Err(_) => tracing::warn!(program, "ledger: the alert command took too long and was ended"),
        }
    });
}
