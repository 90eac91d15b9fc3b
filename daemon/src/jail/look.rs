//! Owns: a look at a workspace's repository with git, which may be told by that repository to run programs.
//! Guarantees: git runs in an enclosure of its own: the workspace read-only, no network, no home, nothing kept; it
//! has seconds and its words are bounded; no answer is as good as one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::bwrap::{Enclosure, Mount};
use super::plan::HostFacts;
use super::probe::ensure_jail_possible;
use crate::domain::workspace::JailKind;

/// Seconds git has, and how much longer is waited for it.
const SECONDS: u32 = 3;
const GRACE: Duration = Duration::from_secs(2);
/// Most bytes of its words.
const MOST: u64 = 6 * 1024;
/// Branch, changed files and last commits. What a repository's configuration would start is switched off as well as
/// that goes; for what is left there is the enclosure.
/// Filters are switched off by name: one that fails would end git, and what it starts is not ours to start.
const SCRIPT: &str = "g() { timeout \"$SECONDS_LEFT\" git -c core.fsmonitor= -c core.hooksPath=/dev/null \
                      -c protocol.allow=never -c safe.directory='*' -c color.ui=never \"$@\" 2>/dev/null; }\n\
                      g rev-parse --git-dir >/dev/null || exit 1\n\
                      n=0\n\
                      while read -r key; do\n\
                      [ -n \"$key\" ] || continue\n\
                      export \"GIT_CONFIG_KEY_$n=$key\" \"GIT_CONFIG_VALUE_$n=\"\n\
                      n=$((n + 1))\n\
                      done <<END\n\
$(g config --name-only --get-regexp '^filter[.]')\n\
END\n\
                      export GIT_CONFIG_COUNT=$n\n\
                      g status --short --branch | head -n 40\n\
                      echo 'last commits:'\n\
                      g log --oneline --no-decorate -n 5 | cut -c 1-120";

/// What git says of the repository at `root`; `None` where there is none or git can't say.
pub async fn repository(root: &Path, kind: JailKind) -> Option<String> {
    if root.join(".git").symlink_metadata().is_err() {
        return None;
    }
    let mut command = match kind {
        JailKind::Bwrap => {
            let mut command = tokio::process::Command::new(ensure_jail_possible().ok()?);
            command.args(enclosure(root).argv());
            command
        }
        // Something outside is the wall.
        JailKind::Outer => {
            let mut command = tokio::process::Command::new("/bin/sh");
            command
                .args(["-c", SCRIPT])
                .current_dir(root)
                .env_clear()
                .envs(environment());
            command
        }
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut said = Vec::new();
    let reading = child.stdout.take()?.take(MOST);
    let limit = Duration::from_secs(u64::from(SECONDS)) * 3 + GRACE;
    let ended = tokio::time::timeout(limit, async {
        let mut reading = reading;
        reading.read_to_end(&mut said).await.ok()?;
        // The rest is not wanted: a full pipe ends the writer.
        drop(reading);
        child.wait().await.ok()
    });
    let ended = ended.await.ok()??;
    (ended.success() && !said.is_empty()).then(|| String::from_utf8_lossy(&said).into_owned())
}

fn environment() -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C.UTF-8"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("SECONDS_LEFT", "3"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn enclosure(root: &Path) -> Enclosure {
    let same = |path: &Path| Mount::ReadOnly(path.to_owned(), path.to_owned());
    let facts = HostFacts::gather();
    let mut mounts = vec![same(Path::new("/usr"))];
    for name in ["/bin", "/sbin", "/lib", "/lib64", "/lib32"] {
        match facts.merged.iter().find(|(link, _)| link == Path::new(name)) {
            Some((link, text)) => mounts.push(Mount::Symlink(text.clone(), link.clone())),
            None if Path::new(name).is_dir() => mounts.push(same(Path::new(name))),
            None => {}
        }
    }
    mounts.push(Mount::Proc);
    mounts.push(Mount::Dev);
    mounts.push(Mount::Tmpfs {
        at: "/tmp".into(),
        bytes: 1024 * 1024,
        mode: "0700",
    });
    mounts.push(same(root));
    Enclosure {
        mounts,
        env: environment(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        own_network: true,
        filters: 0,
        chdir: root.to_owned(),
        command: ["/bin/sh", "-c", SCRIPT]
            .into_iter()
            .map(OsString::from)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dir: &Path, args: &[&str]) {
        let out = std::process::Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@localhost",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(args)
            .current_dir(dir)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    #[tokio::test]
    async fn branch_changes_and_commits_are_told_and_the_repository_starts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(repository(&root, JailKind::Bwrap).await, None, "not a repository");
        std::fs::write(root.join("a"), "1").unwrap();
        git(&root, &["init", "-q", "-b", "main"]);
        git(&root, &["add", "a"]);
        git(&root, &["commit", "-qm", "First things"]);
        // All of these start a program when git looks at the file.
        let canary = root.join("canary");
        let touch = format!("touch {}", canary.display());
        git(&root, &["config", "core.fsmonitor", &touch]);
        git(&root, &["config", "filter.f.clean", &format!("{touch}; cat")]);
        git(&root, &["config", "filter.f.process", &touch]);
        std::fs::write(root.join(".gitattributes"), "a filter=f\n").unwrap();
        std::fs::write(root.join("a"), "2").unwrap();
        let said = repository(&root, JailKind::Bwrap).await.unwrap();
        assert!(
            said.contains("## main") && said.contains("First things"),
            "{said}"
        );
        assert!(said.contains("?? .gitattributes"), "{said}");
        assert!(!canary.exists(), "what the repository starts can't write");
    }
}
