//! Owns: the daemon's systemd unit as clients see it: is there one that would start this very daemon, and how to tell systemd.
//! Guarantees: a daemon with places of its own (a state directory, a socket, a configuration) is never taken for the unit's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::endpoint::Endpoint;

/// The daemon's unit.
pub const SERVICE: &str = "agentd.service";
/// The unit that listens for it.
pub const SOCKET: &str = "agentd.socket";
/// Variables that give a daemon places of its own; systemd's would not have them.
const OWN_PLACES: &[&str] = &["AGENTD_STATE_DIR", "AGENTD_SOCKET", "AGENTD_CONFIG"];

/// An installed unit whose manager runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its file.
    pub file: PathBuf,
}

impl Unit {
    /// The unit that would start the daemon of this endpoint.
    pub fn of(endpoint: &Endpoint) -> Option<Self> {
        Self::find(endpoint, &|name| std::env::var_os(name).map(PathBuf::from))
    }

    fn find(endpoint: &Endpoint, variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
        if endpoint.explicit.is_some() || OWN_PLACES.iter().any(|name| set(name).is_some()) {
            return None;
        }
        let home = set("HOME")?;
        let runtime = set("XDG_RUNTIME_DIR")?;
        // The manager was started before this shell: what was changed here since, it does not know.
        let usual = |name: &str, below: &str| set(name).is_none_or(|dir| dir == home.join(below));
        if !usual("XDG_STATE_HOME", ".local/state") || !usual("XDG_CONFIG_HOME", ".config") {
            return None;
        }
        if !runtime.join("systemd/private").exists() {
            return None;
        }
        let data_home = set("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
        let data_dirs = set("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".into());
        let places = [home.join(".config"), "/etc".into(), runtime, data_home]
            .into_iter()
            .chain(std::env::split_paths(&data_dirs))
            .chain(["/usr/local/lib".into(), "/usr/lib".into(), "/lib".into()]);
        let file = places
            .map(|place| place.join("systemd/user").join(SERVICE))
            .find(|file| file.exists())?;
        // A masked unit is a link to /dev/null: somebody does not want systemd to start it.
        let masked = std::fs::canonicalize(&file).is_ok_and(|real| real == Path::new("/dev/null"));
        (!masked).then_some(Self { file })
    }

    /// `systemctl --user ARGS`, to be run.
    pub fn systemctl(args: &[&str]) -> Command {
        let mut command = Command::new("systemctl");
        command.arg("--user").args(args).stdin(Stdio::null());
        command
    }

    /// The process systemd runs as the daemon, if it does.
    pub fn main_pid() -> Option<i64> {
        let output = Self::systemctl(&["show", "--property=MainPID", "--value", SERVICE])
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let pid = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
        (pid > 0).then_some(pid)
    }

    /// Runs `systemctl --user ARGS` to its end.
    ///
    /// # Errors
    /// Its own words.
    pub fn tell(args: &[&str]) -> Result<(), String> {
        let output = Self::systemctl(args).output().map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Whether systemctl's words are about the daemon itself, which would fail just as well without systemd.
pub fn is_the_daemons_fault(words: &[String]) -> bool {
    words.iter().any(|line| line.starts_with("Job for "))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home {
        dir: tempfile::TempDir,
        vars: Vec<(&'static str, PathBuf)>,
    }

    impl Home {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let manager = dir.path().join("run/systemd");
            std::fs::create_dir_all(&manager).unwrap();
            std::fs::write(manager.join("private"), "").unwrap();
            let units = dir.path().join(".config/systemd/user");
            std::fs::create_dir_all(&units).unwrap();
            std::fs::write(units.join(SERVICE), "").unwrap();
            let vars = vec![
                ("HOME", dir.path().to_owned()),
                ("XDG_RUNTIME_DIR", dir.path().join("run")),
            ];
            Self { dir, vars }
        }

        fn find(&self) -> Option<Unit> {
            let endpoint = Endpoint::at(&self.dir.path().join("s"), None);
            Unit::find(&endpoint, &|name| {
                let found = self.vars.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| value.clone())
            })
        }
    }

    #[test]
    fn the_users_unit_is_found_where_its_manager_runs() {
        let home = Home::new();
        let file = home.dir.path().join(".config/systemd/user").join(SERVICE);
        assert_eq!(home.find(), Some(Unit { file }));
        std::fs::remove_file(home.dir.path().join("run/systemd/private")).unwrap();
        assert_eq!(home.find(), None);
    }

    #[test]
    fn a_daemon_with_places_of_its_own_is_not_the_units() {
        for (name, value) in [
            ("AGENTD_STATE_DIR", "/s"),
            ("AGENTD_CONFIG", "/c"),
            ("AGENTD_SOCKET", "/a.sock"),
            ("XDG_STATE_HOME", "/elsewhere"),
            ("XDG_CONFIG_HOME", "/elsewhere"),
        ] {
            let mut home = Home::new();
            home.vars.push((name, value.into()));
            assert_eq!(home.find(), None, "{name}");
        }
        let mut home = Home::new();
        let usual = home.dir.path().join(".local/state");
        home.vars.push(("XDG_STATE_HOME", usual));
        assert!(home.find().is_some());
    }

    #[test]
    fn a_masked_unit_is_none() {
        let home = Home::new();
        let file = home.dir.path().join(".config/systemd/user").join(SERVICE);
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/null", &file).unwrap();
        assert_eq!(home.find(), None);
    }
}
