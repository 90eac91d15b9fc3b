//! Owns: what ends the daemon and its jails besides people: a logout, a crash, a reboot; and which promises this machine
//! can't keep.
//! Guarantees: judged from facts that are gathered once and given; nothing is started or changed.

use std::path::Path;

use crate::paths::Env;

/// Where this process stands among those of its user, by its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Below the user's own service manager: ends with it.
    UserManager,
    /// In a login session: may be ended with it.
    LoginSession,
    /// Elsewhere: a container, a system service, cron. No logout reaches it.
    Elsewhere,
}

/// What is known about the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The user's name; empty when unknown.
    pub user: String,
    /// systemd is the init.
    pub systemd: bool,
    /// The user's service manager runs.
    pub manager: bool,
    /// A service manager started this process.
    pub supervised: bool,
    /// Where this process is.
    pub place: Place,
    /// The user's service manager runs from boot to shutdown.
    pub linger: bool,
    /// logind ends what a session leaves behind (KillUserProcesses).
    pub kills_leftovers: bool,
    /// The runtime directory goes with the last logout.
    pub runtime_dir_goes: bool,
    /// Kernel version.
    pub kernel: (u32, u32),
    /// Why jails get no scope of their own; `None`: they do.
    pub no_scopes: Option<String>,
}

/// A promise and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Stable word: `service`, `logout`, `jail_scope`, `kernel`.
    pub check: &'static str,
    /// Kept without a limit.
    pub kept: bool,
    /// One sentence.
    pub message: String,
    /// What to type; may be empty.
    pub fix: String,
}

impl Surroundings {
    /// Looks around. `runtime_dir`: where the socket is.
    pub fn look(env: &Env, runtime_dir: &Path, supervised: bool) -> Self {
        let user = user_name(env);
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let place = if started_by_user_manager(env) {
            Place::UserManager
        } else {
            place_of(&read("/proc/self/cgroup"))
        };
        Self {
            systemd: Path::new("/run/systemd/system").is_dir(),
            manager: manager_runs(env),
            supervised,
            place,
            linger: lingers(&user),
            kills_leftovers: kills_leftovers(&logind_settings(), &user),
            runtime_dir_goes: runtime_dir.starts_with("/run/user"),
            kernel: kernel_of(&read("/proc/sys/kernel/osrelease")),
            no_scopes: None,
            user,
        }
    }

    /// The same with what a person can change while the daemon runs.
    pub fn now(&self) -> Self {
        Self {
            linger: lingers(&self.user),
            ..self.clone()
        }
    }

    /// Whether a jail is better off in a scope of the user's service manager. Where the daemon itself would outlive that
    /// manager, its jails must too: the manager ends its scopes at the last logout of a user who doesn't linger.
    pub fn wants_scopes(&self) -> Result<(), String> {
        if !self.manager {
            return Err("no systemd user manager runs".into());
        }
        if self.linger || self.place == Place::UserManager {
            return Ok(());
        }
        Err("the user manager ends at logout, and agentd was not started by it".into())
    }

    /// Every promise, kept or not.
    pub fn promises(&self) -> Vec<Promise> {
        vec![
            self.service(),
            self.logout(),
            self.jail_scope(),
            self.kernel_age(),
        ]
    }

    /// Those that can't be kept here.
    pub fn limits(&self) -> Vec<Promise> {
        self.promises()
            .into_iter()
            .filter(|promise| !promise.kept)
            .collect()
    }

    fn service(&self) -> Promise {
        let (kept, message, fix) = if self.supervised {
            (
                true,
                "systemd runs agentd, watches it and restarts it".to_owned(),
                "",
            )
        } else if self.manager {
            (
                false,
                "agentd was not started by systemd: after a crash or a reboot it is down until the next client starts it"
                    .to_owned(),
                "make install   (then: systemctl --user enable --now agentd.socket)",
            )
        } else {
            let why = if self.systemd {
                "no systemd user manager runs for this user"
            } else {
                "no systemd here"
            };
            (
                false,
                format!("{why}: after a crash or a reboot agentd is down until the next client starts it"),
                "",
            )
        };
        promise("service", kept, message, fix)
    }

    fn logout(&self) -> Promise {
        let user = if self.user.is_empty() {
            "this user"
        } else {
            &self.user
        };
        let killed = self.place == Place::LoginSession && self.kills_leftovers;
        if !self.systemd || self.place == Place::Elsewhere {
            return promise("logout", true, "no logout ends agentd here".into(), "");
        }
        if self.linger && !killed {
            return promise(
                "logout",
                true,
                format!("{user} lingers: detached work goes on after a logout"),
                "",
            );
        }
        if killed {
            return promise(
                "logout",
                false,
                "detached work ends when you log out: logind ends what a session leaves behind \
                 (KillUserProcesses=yes), and agentd runs in one"
                    .into(),
                "make install   (then: systemctl --user enable --now agentd.socket && loginctl enable-linger)",
            );
        }
        if self.place == Place::UserManager {
            return promise(
                "logout",
                false,
                format!(
                    "detached work ends with your last logout: {user} does not linger, so systemd ends agentd then"
                ),
                "loginctl enable-linger",
            );
        }
        if self.runtime_dir_goes {
            return promise(
                "logout",
                false,
                format!(
                    "detached work is cut off at your last logout: {user} does not linger, so systemd removes the \
                     directory of the socket then"
                ),
                "loginctl enable-linger",
            );
        }
        promise("logout", true, "detached work goes on after a logout".into(), "")
    }

    fn jail_scope(&self) -> Promise {
        match &self.no_scopes {
            None => promise(
                "jail_scope",
                true,
                "each jail has a systemd scope of its own, which no restart of agentd touches".into(),
                "",
            ),
            // Plain sessions outlive the daemon just as well where no service manager could end them with it.
            Some(why) => promise(
                "jail_scope",
                !self.supervised,
                format!("jails are plain sessions of their own, not systemd scopes: {why}"),
                if self.supervised {
                    "sudo apt install dbus-user-session   (then: agentctl daemon restart)"
                } else {
                    ""
                },
            ),
        }
    }

    fn kernel_age(&self) -> Promise {
        let (major, minor) = self.kernel;
        let running = format!("kernel {major}.{minor}");
        if self.kernel < (5, 11) {
            let message = format!(
                "{running} is older than 5.11: copies of a workspace can't be layered, and a stuck jail can't always be ended"
            );
            promise("kernel", false, message, "boot a kernel of 5.11 or later")
        } else if self.kernel < (5, 14) {
            let message =
                format!("{running} is older than 5.14: the number of processes in a jail is not limited");
            promise("kernel", false, message, "boot a kernel of 5.14 or later")
        } else {
            promise("kernel", true, format!("{running} has everything"), "")
        }
    }
}

fn promise(check: &'static str, kept: bool, message: String, fix: &str) -> Promise {
    Promise {
        check,
        kept,
        message,
        fix: fix.to_owned(),
    }
}

fn lingers(user: &str) -> bool {
    !user.is_empty() && Path::new("/var/lib/systemd/linger").join(user).exists()
}

/// The user's service manager listens on a socket of its own.
fn manager_runs(env: &Env) -> bool {
    env.get("XDG_RUNTIME_DIR")
        .is_some_and(|dir| dir.starts_with('/') && Path::new(dir).join("systemd/private").exists())
}

/// Its notification socket is in the user's own runtime directory; the system's is not.
fn started_by_user_manager(env: &Env) -> bool {
    match (env.get("NOTIFY_SOCKET"), env.get("XDG_RUNTIME_DIR")) {
        (Some(socket), Some(runtime)) => runtime.len() > 1 && Path::new(socket).starts_with(runtime),
        _ => false,
    }
}

fn user_name(env: &Env) -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let listed = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    // A user of a directory service is not listed there.
    listed
        .or_else(|| env.get("USER").cloned())
        .filter(|name| !name.contains('/'))
        .unwrap_or_default()
}

fn place_of(cgroups: &str) -> Place {
    // Unified, or systemd's own hierarchy beside the old ones.
    let ours = cgroups
        .lines()
        .filter(|line| line.starts_with("0::") || line.contains(":name=systemd:"));
    let mut place = Place::Elsewhere;
    for line in ours {
        if line.contains("/user@") {
            return Place::UserManager;
        }
        if line
            .split('/')
            .any(|part| part.starts_with("session-") && part.ends_with(".scope"))
        {
            place = Place::LoginSession;
        }
    }
    place
}

fn kernel_of(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// logind's settings in the order in which later ones win.
fn logind_settings() -> Vec<String> {
    let mut files = vec![Path::new("/etc/systemd/logind.conf").to_owned()];
    let mut drop_ins: Vec<_> = ["/usr/lib/systemd/logind.conf.d", "/etc/systemd/logind.conf.d"]
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "conf"))
        .collect();
    drop_ins.sort_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    files.extend(drop_ins);
    files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect()
}

fn kills_leftovers(settings: &[String], user: &str) -> bool {
    let last = |key: &str| {
        let lines = settings.iter().flat_map(|text| text.lines());
        lines
            .filter_map(|line| line.trim().split_once('='))
            .filter(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_owned())
            .next_back()
    };
    let kills = last("KillUserProcesses").is_some_and(|v| matches!(v.as_str(), "yes" | "true" | "1" | "on"));
    let names = |key: &str| last(key).unwrap_or_default();
    let only = names("KillOnlyUsers");
    // The default of KillExcludeUsers is root.
    let spared = last("KillExcludeUsers").unwrap_or_else(|| "root".to_owned());
    let listed = |list: &str| list.split_whitespace().any(|name| name == user);
    kills && !listed(&spared) && (only.is_empty() || listed(&only))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laptop() -> Surroundings {
        Surroundings {
            user: "ana".into(),
            systemd: true,
            manager: true,
            supervised: true,
            place: Place::UserManager,
            linger: true,
            kills_leftovers: false,
            runtime_dir_goes: true,
            kernel: (6, 1),
            no_scopes: None,
        }
    }

    fn broken(surroundings: &Surroundings) -> Vec<&'static str> {
        surroundings.limits().iter().map(|limit| limit.check).collect()
    }

    #[test]
    fn a_lingering_user_with_the_unit_loses_nothing() {
        assert_eq!(laptop().limits(), []);
        assert_eq!(laptop().wants_scopes(), Ok(()));
    }

    #[test]
    fn a_detach_that_would_not_survive_is_named_with_its_fix() {
        let mut here = laptop();
        here.linger = false;
        let limits = here.limits();
        assert_eq!(broken(&here), ["logout"]);
        assert!(limits[0].message.contains("ana does not linger"), "{limits:?}");
        assert_eq!(limits[0].fix, "loginctl enable-linger");
        // Started by a client from a login: its socket goes all the same.
        here.place = Place::LoginSession;
        here.supervised = false;
        assert_eq!(broken(&here), ["service", "logout"]);
        assert!(here.limits()[1].message.contains("socket"));
        // … unless it is somewhere that stays.
        here.runtime_dir_goes = false;
        assert_eq!(broken(&here), ["service"]);
        // Lingering does not help a process that logind ends with its session.
        here.linger = true;
        here.kills_leftovers = true;
        assert_eq!(broken(&here), ["service", "logout"]);
    }

    #[test]
    fn without_systemd_no_logout_is_feared() {
        let mut here = laptop();
        (here.systemd, here.manager, here.supervised, here.linger) = (false, false, false, false);
        here.place = Place::Elsewhere;
        here.no_scopes = Some("no systemd user manager runs".into());
        assert_eq!(broken(&here), ["service"]);
        assert!(here.limits()[0].message.starts_with("no systemd here"));
        assert!(here.wants_scopes().is_err());
    }

    #[test]
    fn jails_do_not_go_where_they_would_die_sooner_than_the_daemon() {
        let mut here = laptop();
        here.linger = false;
        assert_eq!(
            here.wants_scopes(),
            Ok(()),
            "the daemon ends with the manager as well"
        );
        here.place = Place::LoginSession;
        assert!(here.wants_scopes().is_err());
        here.linger = true;
        assert_eq!(here.wants_scopes(), Ok(()));
    }

    #[test]
    fn old_kernels_are_named_with_what_is_missing() {
        let of = |kernel| Surroundings { kernel, ..laptop() };
        assert!(of((5, 10)).limits()[0].message.contains("5.11"));
        assert!(of((5, 13)).limits()[0].message.contains("processes"));
        assert_eq!(broken(&of((5, 14))), [""; 0]);
        assert_eq!(kernel_of("6.1.0-13-amd64\n"), (6, 1));
        assert_eq!(kernel_of("5.15-rc3"), (5, 15));
        assert_eq!(kernel_of(""), (0, 0));
    }

    #[test]
    fn the_place_is_read_from_either_kind_of_cgroups() {
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/agentd.service\n";
        assert_eq!(place_of(user), Place::UserManager);
        let session =
            "12:pids:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n0::/\n";
        assert_eq!(place_of(session), Place::LoginSession);
        assert_eq!(place_of("0::/system.slice/cron.service\n"), Place::Elsewhere);
        assert_eq!(place_of("0::/docker/session-of-mine\n"), Place::Elsewhere);
    }

    #[test]
    fn the_users_manager_is_known_by_its_socket() {
        let of = |socket: &str| {
            let pairs = [("XDG_RUNTIME_DIR", "/run/user/7"), ("NOTIFY_SOCKET", socket)];
            let env = pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
            started_by_user_manager(&env)
        };
        assert!(of("/run/user/7/systemd/notify"));
        assert!(!of("/run/systemd/notify"));
        assert!(!of("/run/user/77/systemd/notify"));
    }

    #[test]
    fn logind_ends_leftovers_of_those_it_is_told_to() {
        let of = |texts: &[&str], user| {
            let settings: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
            kills_leftovers(&settings, user)
        };
        assert!(!of(&["[Login]\n#KillUserProcesses=yes\n"], "ana"));
        assert!(of(&["[Login]\nKillUserProcesses=yes\n"], "ana"));
        assert!(!of(&["KillUserProcesses=yes"], "root"), "spared by default");
        assert!(!of(&["KillUserProcesses=yes", "KillUserProcesses=no"], "ana"));
        assert!(!of(&["KillUserProcesses=yes\nKillExcludeUsers=root ana"], "ana"));
        assert!(!of(&["KillUserProcesses=yes\nKillOnlyUsers=ben"], "ana"));
    }
}
