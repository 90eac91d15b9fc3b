//! Owns: turning an Enclosure (data) into bwrap's arguments: the only place that knows a flag of it.
//! Guarantees: pure; every namespace is unshared, every tmpfs is sized, nested user namespaces are off.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of the smallest enclosure that shows whether this machine allows ours at all.
pub const TRIAL: &[&str] = &[
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--disable-userns",
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--",
    "/bin/sh",
    "-c",
    ":",
];

/// One thing that appears inside, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// Read-write.
    Bind(PathBuf, PathBuf),
    /// Read-only.
    ReadOnly(PathBuf, PathBuf),
    /// Link text, place.
    Symlink(PathBuf, PathBuf),
    /// A fresh, sized tmpfs.
    Tmpfs {
        /// Where.
        at: PathBuf,
        /// How much it may hold.
        bytes: u64,
        /// Permission bits, octal.
        mode: &'static str,
    },
    /// The Jail's own processes.
    Proc,
    /// A minimal set of devices.
    Dev,
    /// An empty directory (on one of the tmpfs).
    Dir(PathBuf),
    /// What was mounted here can't be written any more.
    Freeze(PathBuf),
}

/// What bwrap shall make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosure {
    /// Everything visible.
    pub mounts: Vec<Mount>,
    /// Everything in the environment.
    pub env: BTreeMap<String, String>,
    /// Identity inside.
    pub uid: u32,
    /// Identity inside.
    pub gid: u32,
    /// Whether the network is the Jail's own, with nothing but loopback in it.
    pub own_network: bool,
    /// How many seccomp filters follow over descriptors.
    pub filters: usize,
    /// Where PID 1 starts.
    pub chdir: PathBuf,
    /// PID 1.
    pub command: Vec<OsString>,
}

/// Replaced by a descriptor's number in `agent-jinit launch`.
const FILTER: &str = "@filter";

impl Enclosure {
    /// The arguments after `bwrap`.
    pub fn argv(&self) -> Vec<OsString> {
        let mut argv: Vec<OsString> = [
            "--unshare-user",
            "--disable-userns",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--new-session",
            "--as-pid-1",
            "--clearenv",
        ]
        .into_iter()
        .chain(self.own_network.then_some("--unshare-net"))
        .map(OsString::from)
        .collect();
        let mut add = |parts: &[&dyn AsRef<std::ffi::OsStr>]| {
            argv.extend(parts.iter().map(|p| p.as_ref().to_owned()));
        };
        add(&[&"--hostname", &"agent", &"--cap-drop", &"ALL"]);
        add(&[&"--uid", &self.uid.to_string(), &"--gid", &self.gid.to_string()]);
        for (name, value) in &self.env {
            add(&[&"--setenv", name, value]);
        }
        for mount in &self.mounts {
            match mount {
                Mount::Bind(from, to) => add(&[&"--bind", from, to]),
                Mount::ReadOnly(from, to) => add(&[&"--ro-bind", from, to]),
                Mount::Symlink(text, at) => add(&[&"--symlink", text, at]),
                Mount::Tmpfs { at, bytes, mode } => {
                    add(&[&"--perms", mode, &"--size", &bytes.to_string(), &"--tmpfs", at]);
                }
                Mount::Proc => add(&[&"--proc", &"/proc"]),
                Mount::Dev => add(&[&"--dev", &"/dev"]),
                Mount::Dir(at) => add(&[&"--dir", at]),
                Mount::Freeze(at) => add(&[&"--remount-ro", at]),
            }
        }
        for _ in 0..self.filters {
            add(&[&"--add-seccomp-fd", &FILTER]);
        }
        add(&[&"--chdir", &self.chdir, &"--"]);
        argv.extend(self.command.iter().cloned());
        argv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_the_enclosure_says() {
        let enclosure = Enclosure {
            mounts: vec![
                Mount::Bind("/w".into(), "/".into()),
                Mount::ReadOnly("/usr".into(), "/usr".into()),
                Mount::Tmpfs {
                    at: "/tmp".into(),
                    bytes: 9,
                    mode: "1777",
                },
                Mount::Freeze("/dev".into()),
            ],
            env: BTreeMap::from([("A".to_owned(), "b c".to_owned())]),
            uid: 7,
            gid: 8,
            own_network: true,
            filters: 1,
            chdir: "/d".into(),
            command: vec!["/run/jinit".into(), "serve".into()],
        };
        let line: Vec<String> = enclosure
            .argv()
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            line.join(" "),
            "--unshare-user --disable-userns --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try \
             --new-session --as-pid-1 --clearenv --unshare-net --hostname agent --cap-drop ALL --uid 7 --gid 8 \
             --setenv A b c --bind /w / --ro-bind /usr /usr --perms 1777 --size 9 --tmpfs /tmp --remount-ro /dev \
             --add-seccomp-fd @filter --chdir /d -- /run/jinit serve"
        );
    }
}
