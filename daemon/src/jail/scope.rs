//! Owns: putting a jail into a transient scope of the user's service manager, so that neither a restart of the daemon's own
//! unit nor its limits reach it.
//! Guarantees: nothing of a jail's arguments passes through systemd-run, whose versions differ in what they expand; a jail
//! that the manager would not take is told apart from one that did not come up.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::domain::id::SessionId;

/// Where `agent-jinit` finds its arguments, in the jail's own directory.
const ARGUMENTS: &str = "launch.args";
/// What systemd-run needs to find its manager. `agent-jinit` drops them again.
const WAY: &[&str] = &["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// The way to a manager that takes scopes.
#[derive(Debug, Clone)]
pub struct Scopes {
    program: PathBuf,
    env: Vec<(String, String)>,
}

impl Scopes {
    /// Finds systemd-run and the bus of the user's manager.
    ///
    /// # Errors
    /// Why there is none, as the end of a sentence.
    pub fn find(env: &std::collections::BTreeMap<String, String>) -> Result<Self, String> {
        let way: Vec<(String, String)> = WAY
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env.get(*name)?.clone())))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let value = |name: &str| way.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let Some(runtime) = value("XDG_RUNTIME_DIR") else {
            return Err("XDG_RUNTIME_DIR is not set".into());
        };
        let bus = value("DBUS_SESSION_BUS_ADDRESS").is_some() || Path::new(runtime).join("bus").exists();
        if !bus {
            return Err("the user has no D-Bus (package dbus-user-session)".into());
        }
        let path = env.get("PATH").map(OsString::from).unwrap_or_default();
        let program = std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/bin")])
            .map(|dir| dir.join("systemd-run"))
            .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
            .ok_or("systemd-run is not installed")?;
        Ok(Self { program, env: way })
    }

    /// The command that makes the scope and becomes `jinit launch` in it. Runs in `dir`, where its arguments are left.
    ///
    /// # Errors
    /// When the arguments can't be written.
    pub(super) fn command(
        &self,
        session: &SessionId,
        jinit: &Path,
        args: &[OsString],
        dir: &Path,
        properties: &[String],
    ) -> io::Result<tokio::process::Command> {
        // Before version 254 systemd-run expands `$` in arguments, and later ones don't unless told to.
        if jinit.as_os_str().as_bytes().contains(&b'$') {
            return Err(io::Error::other("the path of agent-jinit has a `$` in it"));
        }
        let text = args.join(OsStr::from_bytes(b"\0"));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(dir.join(ARGUMENTS))?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        let mut command = tokio::process::Command::new(&self.program);
        // A name of its own each time: the scope of the session's last jail may be on its way out.
        let unit = format!("agentd-jail-{session}-{:08x}.scope", fastrand::u32(..));
        command
            .args(["--user", "--scope", "--quiet", "--collect"])
            .arg("--slice=app-agentd.slice")
            .args(properties.iter().map(|one| format!("--property={one}")))
            .arg(format!("--unit={unit}"))
            .arg(format!("--description=agentd: jail of session {session}"))
            .arg("--")
            .arg(jinit)
            .args(["launch-from", ARGUMENTS])
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(dir);
        Ok(command)
    }
}

/// Whether these last words are systemd-run's own: the jail was never begun, and can be begun without it.
pub(super) fn was_refused(said: &str) -> bool {
    ["Failed to ", "Unknown interface ", "Job for "]
        .iter()
        .any(|start| said.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
        pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = |pairs: &[(&str, &str)]| Scopes::find(&env(pairs)).unwrap_err();
        assert!(why(&[]).contains("XDG_RUNTIME_DIR"));
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().to_str().unwrap();
        assert!(why(&[("XDG_RUNTIME_DIR", runtime)]).contains("dbus-user-session"));
    }

    #[test]
    fn no_argument_of_a_jail_reaches_systemd_run() {
        let dir = tempfile::tempdir().unwrap();
        let scopes = Scopes {
            program: "/usr/bin/systemd-run".into(),
            env: vec![("XDG_RUNTIME_DIR".into(), "/run/user/7".into())],
        };
        let args: Vec<OsString> = vec!["launch".into(), "-".into(), "--".into(), "/p/$HOME/$$ x".into()];
        let session = SessionId::random();
        let command = scopes
            .command(
                &session,
                Path::new("/opt/agent-jinit"),
                &args,
                dir.path(),
                &["TasksMax=9".into()],
            )
            .unwrap();
        let shown = format!("{:?}", command.as_std());
        assert!(
            !shown.contains('$') && shown.contains("--property=TasksMax=9"),
            "{shown}"
        );
        let kept = std::fs::read(dir.path().join(ARGUMENTS)).unwrap();
        assert_eq!(kept, b"launch\0-\0--\0/p/$HOME/$$ x");
        assert!(
            scopes
                .command(&session, Path::new("/opt/$x/agent-jinit"), &args, dir.path(), &[])
                .is_err()
        );
    }

    #[test]
    fn a_refusal_is_not_a_jail_that_failed() {
        assert!(was_refused(
            "Failed to start transient scope unit: Unit x already exists."
        ));
        assert!(!was_refused(
            "bwrap: Can't find source path /x: No such file or directory"
        ));
        assert!(!was_refused("agent-jinit: Operation not permitted"));
    }
}
