//! Owns: whether this machine can make a Jail, and if not, the named cause and its exact fix.
//! Guarantees: never a guess where the system gives an answer; the cheap check and `doctor` speak with one voice.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::{JailError, bwrap};

/// The oldest Bubblewrap with everything needed (`--disable-userns`, `--add-seccomp-fd`, `--size`).
const NEEDED: (u32, u32) = (0, 8);

/// How much a Finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// All is well.
    Ok,
    /// No Jail can be made.
    Fatal,
}

/// One thing found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Short, stable: `bwrap`, `bwrap_version`, `user_namespaces`.
    pub name: &'static str,
    /// Whether it is in the way.
    pub severity: Severity,
    /// What was found, as a sentence.
    pub what: String,
    /// What to type, in order. Empty when all is well.
    pub fix: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(first) = self.fix.first() {
            write!(f, " Fix: {first}")?;
        }
        Ok(())
    }
}

/// The AppArmor profile that gives bwrap back what Ubuntu 23.10 and later take from every program.
pub const APPARMOR_PROFILE: &str = "abi <abi/4.0>,
include <tunables/global>
profile bwrap /usr/bin/bwrap flags=(unconfined) {
  userns,
  include if exists <local/bwrap>
}
";

/// Where bwrap is.
pub fn find_bwrap() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")])
        .map(|dir| dir.join("bwrap"))
        .find(|p| rustix::fs::access(p, rustix::fs::Access::EXEC_OK).is_ok())
}

/// Everything there is to say, good news too.
pub fn probe() -> Vec<Finding> {
    let Some(bwrap) = find_bwrap() else {
        return vec![missing()];
    };
    let version = version_of(&bwrap);
    let mut findings = vec![version.clone()];
    if version.severity == Severity::Ok {
        findings.push(try_namespaces(&bwrap));
    }
    findings
}

/// Fails with the first thing in the way. A success is remembered, a failure is asked again.
///
/// # Errors
/// [`JailError::Impossible`] with the cause and its fix.
pub fn ensure_jail_possible() -> Result<PathBuf, JailError> {
    static KNOWN_GOOD: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut known = KNOWN_GOOD
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = known.as_ref().filter(|p| p.exists()) {
        return Ok(path.clone());
    }
    if let Some(bad) = probe().into_iter().find(|f| f.severity == Severity::Fatal) {
        return Err(JailError::Impossible(bad));
    }
    let path = find_bwrap().ok_or_else(|| JailError::Impossible(missing()))?;
    *known = Some(path.clone());
    Ok(path)
}

fn missing() -> Finding {
    Finding {
        name: "bwrap",
        severity: Severity::Fatal,
        what: "Bubblewrap (bwrap) is not installed; commands only ever run inside it.".to_owned(),
        fix: install_commands("install"),
    }
}

fn install_commands(verb: &str) -> Vec<String> {
    let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let all = [
        (
            "debian ubuntu mint pop",
            format!("sudo apt-get update && sudo apt-get {verb} -y bubblewrap"),
        ),
        ("fedora rhel centos", "sudo dnf install -y bubblewrap".to_owned()),
        ("arch manjaro", "sudo pacman -S --needed bubblewrap".to_owned()),
    ];
    let mut ours: Vec<String> = all
        .iter()
        .filter(|(ids, _)| ids.split(' ').any(|id| os.contains(id)))
        .map(|(_, c)| c.clone())
        .collect();
    if ours.is_empty() {
        ours = all.into_iter().map(|(_, c)| c).collect();
    }
    ours
}

/// What `bwrap --version` says, such as `bwrap 0.8.0`.
pub fn version_line(bwrap: &Path) -> String {
    let output = Command::new(bwrap).arg("--version").output();
    let text = output.map(|o| {
        String::from_utf8_lossy(&o.stdout)
            .trim()
            .replace("bubblewrap", "bwrap")
    });
    text.unwrap_or_default()
}

fn version_of(bwrap: &Path) -> Finding {
    let text = version_line(bwrap);
    let mut numbers = text
        .trim()
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .split('.')
        .map(|n| n.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let fine = found >= NEEDED;
    Finding {
        name: "bwrap_version",
        severity: if fine { Severity::Ok } else { Severity::Fatal },
        what: if fine {
            format!("{} at {}.", text.trim(), bwrap.display())
        } else {
            format!(
                "{} is too old ({}); {}.{} or later is needed.",
                bwrap.display(),
                text.trim(),
                NEEDED.0,
                NEEDED.1
            )
        },
        fix: if fine {
            Vec::new()
        } else {
            install_commands("install --only-upgrade")
        },
    }
}

/// The only certain test is to try.
fn try_namespaces(program: &Path) -> Finding {
    let output = Command::new(program).args(bwrap::TRIAL).env_clear().output();
    match output {
        Ok(output) if output.status.success() => Finding {
            name: "user_namespaces",
            severity: Severity::Ok,
            what: "A jail can be made.".to_owned(),
            fix: Vec::new(),
        },
        Ok(output) => blocked(String::from_utf8_lossy(&output.stderr).trim(), &sysctl),
        Err(error) => blocked(&error.to_string(), &sysctl),
    }
}

fn sysctl(name: &str) -> Option<String> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    std::fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
}

/// Names what blocks user namespaces.
fn blocked(said: &str, sysctl: &dyn Fn(&str) -> Option<String>) -> Finding {
    let is = |name: &str, value: &str| sysctl(name).is_some_and(|v| v == value);
    let (what, fix) = if is("kernel.unprivileged_userns_clone", "0") {
        let line = "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-userns.conf && sudo sysctl --system";
        (
            "This kernel is set to refuse user namespaces (kernel.unprivileged_userns_clone = 0).",
            vec![line.to_owned()],
        )
    } else if is("user.max_user_namespaces", "0") {
        let line = "echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-userns.conf && sudo sysctl --system";
        (
            "This system allows no user namespaces (user.max_user_namespaces = 0).",
            vec![line.to_owned()],
        )
    } else if is("kernel.apparmor_restrict_unprivileged_userns", "1") {
        let write = format!("sudo tee /etc/apparmor.d/bwrap >/dev/null <<'EOF'\n{APPARMOR_PROFILE}EOF");
        (
            "AppArmor keeps bwrap from making user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1).",
            vec![write, "sudo apparmor_parser -r /etc/apparmor.d/bwrap".to_owned()],
        )
    } else if Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists() {
        (
            "This container does not allow user namespaces.",
            vec![
                "Start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined".to_owned(),
                "Or, if the container is all the wall you need, set jail = \"outer\" in your own configuration".to_owned(),
            ],
        )
    } else {
        (
            "bwrap could not make a jail.",
            vec!["Run `bwrap --ro-bind / / --unshare-user true` to see the cause".to_owned()],
        )
    };
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(" It said: {said}")
    };
    Finding {
        name: "user_namespaces",
        severity: Severity::Fatal,
        what: format!("{what}{said}"),
        fix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_named_with_its_own_fix() {
        let cases = [
            (
                "kernel.unprivileged_userns_clone",
                "0",
                "unprivileged_userns_clone=1",
            ),
            ("user.max_user_namespaces", "0", "max_user_namespaces=15000"),
            (
                "kernel.apparmor_restrict_unprivileged_userns",
                "1",
                "apparmor.d/bwrap",
            ),
        ];
        for (name, value, fix) in cases {
            let finding = blocked("bwrap: denied", &|n| (n == name).then(|| value.to_owned()));
            assert!(
                finding.what.contains(name) && finding.what.contains("bwrap: denied"),
                "{}",
                finding.what
            );
            assert!(finding.fix.iter().any(|f| f.contains(fix)), "{:?}", finding.fix);
        }
    }
}
