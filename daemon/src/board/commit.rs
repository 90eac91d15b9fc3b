//! Owns: checking that a link of a finished task leads somewhere: a commit that exists, or an address.
//! Guarantees: git runs without the repository's hooks, monitors or transports; it only looks, and not for long.

use std::path::Path;
use std::time::Duration;

use crate::domain::rejection::Rejection;

/// A local look-up takes milliseconds; a stuck file system must not hold up the board.
const WITHIN: Duration = Duration::from_secs(10);

/// The link as it is noted: the commit's short name, or the address as given.
pub(super) async fn check(workspace: &Path, link: &str) -> Result<String, Rejection> {
    let link = link.trim();
    if link.starts_with("https://") || link.starts_with("http://") {
        let fits = link.len() <= 500
            && !link.contains(|c: char| c.is_whitespace() || c.is_control() || "|<>\"`".contains(c));
        return if fits {
            Ok(link.to_owned())
        } else {
            Err(Rejection::InvalidArgument("the link is no web address".into()))
        };
    }
    let plain = !link.is_empty()
        && link.len() <= 200
        && !link.starts_with('-')
        && link
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./~^@{}".contains(c));
    if !plain {
        return Err(Rejection::InvalidArgument(
            "the link must be a commit (a1b2c3d, HEAD, a branch) or an address (https://…)".into(),
        ));
    }
    let child = tokio::process::Command::new("git")
        .args([
            "-c",
            "core.fsmonitor=",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "protocol.allow=never",
        ])
        .args(["rev-parse", "--verify", "--quiet", "--short", "--end-of-options"])
        .arg(format!("{link}^{{commit}}"))
        .current_dir(workspace)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let unknown =
        |why: &str| Rejection::CommitUnknown(format!("no commit '{link}' in {}{why}", workspace.display()));
    match tokio::time::timeout(WITHIN, child).await {
        Ok(Ok(output)) if output.status.success() => {
            let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if name.is_empty() {
                Err(unknown(""))
            } else {
                Ok(name)
            }
        }
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().next().unwrap_or_default();
            Err(unknown(&if first.is_empty() {
                String::new()
            } else {
                format!(": {first}")
            }))
        }
        Ok(Err(error)) => Err(unknown(&format!(": git can't be run: {error}"))),
        Err(_) => Err(unknown(": git did not answer")),
    }
}
