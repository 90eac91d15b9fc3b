//! Owns: turning a JailSpec and what the host has into an Enclosure.
//! Guarantees: the order of mounts (a parent before what lies in it, protection last); only what is listed here is visible.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::bwrap::{Enclosure, Mount};
use super::guard::GitGuard;
use super::sight::Sight;
use super::spec::{CACHE, HOME, JailSpec};
use crate::domain::workspace::{Layout, ShellKind};

/// Where the exchange directory is inside.
pub const EXCHANGE: &str = "/run/j";
/// Where PID 1's program is inside.
pub const JINIT: &str = "/run/jinit";

/// A tmpfs that holds nothing but mount points.
const TOP_BYTES: u64 = 64 * 1024;

/// What the host has, as far as a Jail is concerned.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// `/bin -> usr/bin` and its likes: link, text. Empty before the merge of /usr.
    pub merged: Vec<(PathBuf, PathBuf)>,
    /// The program loader: the path compiled into programs, and the file.
    pub loader: Option<(PathBuf, PathBuf)>,
}

impl HostFacts {
    /// Looks.
    pub fn gather() -> Self {
        let merged = ["/bin", "/sbin", "/lib", "/lib64", "/lib32"]
            .into_iter()
            .filter_map(|p| Some((PathBuf::from(p), std::fs::read_link(p).ok()?)))
            .collect();
        let loader = [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-linux-aarch64.so.1",
            "/lib/ld-musl-x86_64.so.1",
            "/lib/ld-musl-aarch64.so.1",
        ]
        .into_iter()
        .find_map(|p| Some((PathBuf::from(p), Path::new(p).canonicalize().ok()?)));
        Self { merged, loader }
    }
}

/// The directories the root layout needs in the project; `tops` for what else is shown.
pub fn mount_points(root: &Path, ours: &[PathBuf], tops: &[PathBuf]) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = super::layout::REQUIRED
        .iter()
        .filter(|n| **n != "sys")
        .map(PathBuf::from)
        .collect();
    let lib = root.join("lib");
    if lib.symlink_metadata().is_err() || ours.contains(&lib) {
        names.push("lib".into());
    }
    names.extend(tops.iter().cloned());
    names
}

/// Everything the plan needs to know.
pub(super) struct Inputs<'a> {
    pub(super) spec: &'a JailSpec,
    pub(super) facts: &'a HostFacts,
    pub(super) sight: &'a Sight,
    /// An empty file, to be shown in the place of what stays hidden.
    pub(super) mask: &'a Path,
    pub(super) guard: &'a GitGuard,
    /// The private /etc, and the host directories to show in it.
    pub(super) etc: (&'a Path, &'a [PathBuf]),
    /// Files of the workspace that show something else, relative to it.
    pub(super) masked: &'a [PathBuf],
    pub(super) exchange: &'a Path,
    pub(super) jinit: &'a Path,
    pub(super) filters: usize,
    pub(super) own_lib: bool,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

pub(super) fn enclosure(inputs: &Inputs<'_>, command: Vec<OsString>) -> Enclosure {
    let spec = inputs.spec;
    let workspace = &spec.workspace;
    let root_layout = workspace.layout == Layout::Root;
    let same = |p: &Path| Mount::ReadOnly(p.to_owned(), p.to_owned());
    let tmpfs = |at: &str, mode| Mount::Tmpfs {
        at: at.into(),
        bytes: spec.limits.tmp_bytes,
        mode,
    };
    let mut mounts = Vec::new();
    // Under a policy that only looks, nothing of the project can be changed from inside.
    let work = |from: PathBuf, to: PathBuf| match spec.policy.read_only {
        true => Mount::ReadOnly(from, to),
        false => Mount::Bind(from, to),
    };
    if root_layout {
        // Mount points are made in it: it is frozen at the end.
        mounts.push(Mount::Bind(workspace.root.clone(), "/".into()));
    }
    mounts.push(same(Path::new("/usr")));
    if root_layout {
        // Directories, not links: a link would be left in the project.
        mounts.push(Mount::ReadOnly("/bin".into(), "/bin".into()));
        mounts.push(Mount::Tmpfs {
            at: "/lib64".into(),
            bytes: 64 * 1024,
            mode: "0755",
        });
        if let Some((at, file)) = inputs
            .facts
            .loader
            .as_ref()
            .filter(|(at, _)| at.starts_with("/lib64"))
        {
            mounts.push(Mount::ReadOnly(file.clone(), at.clone()));
        }
        mounts.push(Mount::Freeze("/lib64".into()));
        if !inputs.own_lib {
            mounts.push(Mount::ReadOnly("/lib".into(), "/lib".into()));
        }
    } else {
        for name in ["/bin", "/sbin", "/lib", "/lib64", "/lib32"] {
            match inputs
                .facts
                .merged
                .iter()
                .find(|(link, _)| link == Path::new(name))
            {
                Some((link, text)) => mounts.push(Mount::Symlink(text.clone(), link.clone())),
                None if Path::new(name).is_dir() => mounts.push(same(Path::new(name))),
                None => {}
            }
        }
    }
    mounts.push(Mount::ReadOnly(inputs.etc.0.to_owned(), "/etc".into()));
    mounts.extend(
        inputs
            .etc
            .1
            .iter()
            .map(|name| same(&Path::new("/etc").join(name))),
    );
    mounts.push(Mount::Proc);
    if inputs.uid == 0 {
        // Root may write there without any capability.
        mounts.push(same(Path::new("/proc/sys")));
    }
    mounts.push(Mount::ReadOnly(
        inputs.etc.0.join(super::etc::BOOT_ID),
        "/proc/sys/kernel/random/boot_id".into(),
    ));
    mounts.push(Mount::Dev);
    mounts.push(tmpfs("/dev/shm", "1777"));
    mounts.push(Mount::Freeze("/dev".into()));
    mounts.push(tmpfs("/tmp", "1777"));
    mounts.push(Mount::Dir(HOME.into()));
    mounts.push(Mount::Tmpfs {
        at: "/run".into(),
        bytes: 16 * 1024 * 1024,
        mode: "0755",
    });
    mounts.push(Mount::ReadOnly(inputs.exchange.to_owned(), EXCHANGE.into()));
    mounts.push(Mount::ReadOnly(inputs.jinit.to_owned(), JINIT.into()));
    if let Some(cache) = &spec.cache_dir {
        mounts.push(Mount::Bind(cache.clone(), CACHE.into()));
    }
    show(inputs, root_layout, &mut mounts);
    if !root_layout {
        mounts.push(work(workspace.root.clone(), workspace.root.clone()));
    }
    protect(inputs, &mut mounts, &work);
    if !root_layout || spec.policy.read_only {
        mounts.push(Mount::Freeze("/".into()));
    }
    Enclosure {
        mounts,
        env: spec.environment(inputs.sight),
        uid: inputs.uid,
        gid: inputs.gid,
        own_network: true,
        filters: inputs.filters,
        chdir: "/".into(),
        command,
    }
}

/// Toolchains and added directories, with what in them stays hidden.
fn show(inputs: &Inputs<'_>, root_layout: bool, mounts: &mut Vec<Mount>) {
    let sight = inputs.sight;
    let tops = || {
        sight
            .tops
            .iter()
            .filter(|_| root_layout)
            .map(|top| Path::new("/").join(top))
    };
    mounts.extend(tops().map(|at| Mount::Tmpfs {
        at,
        bytes: TOP_BYTES,
        mode: "0755",
    }));
    for dir in &sight.toolchains.mounts {
        mounts.push(Mount::ReadOnly(dir.clone(), dir.clone()));
    }
    for path in &sight.toolchains.masked {
        if path.is_dir() {
            mounts.push(Mount::Tmpfs {
                at: path.clone(),
                bytes: TOP_BYTES,
                mode: "0500",
            });
            mounts.push(Mount::Freeze(path.clone()));
        } else {
            mounts.push(Mount::ReadOnly(inputs.mask.to_owned(), path.clone()));
        }
    }
    for (file, at) in &sight.toolchains.files {
        mounts.push(Mount::ReadOnly(file.clone(), at.clone()));
    }
    for dir in &sight.added {
        mounts.push(if dir.writable && !inputs.spec.policy.read_only {
            Mount::Bind(dir.path.clone(), dir.path.clone())
        } else {
            Mount::ReadOnly(dir.path.clone(), dir.path.clone())
        });
    }
    mounts.extend(tops().map(Mount::Freeze));
}

fn protect(inputs: &Inputs<'_>, mounts: &mut Vec<Mount>, work: &dyn Fn(PathBuf, PathBuf) -> Mount) {
    let workspace = &inputs.spec.workspace;
    let inside = |p: &Path| workspace.jail_root().join(p);
    for dir in &inputs.guard.outside {
        mounts.push(work(dir.clone(), dir.clone()));
    }
    for path in &inputs.guard.pinned {
        mounts.push(work(workspace.root.join(path), inside(path)));
    }
    for path in &inputs.guard.read_only {
        mounts.push(Mount::ReadOnly(workspace.root.join(path), inside(path)));
    }
    for path in inputs.masked {
        mounts.push(Mount::ReadOnly(inputs.etc.0.join(super::etc::MASK), inside(path)));
    }
}

/// The shell's program inside, and whether it is an ash or a bash.
pub(super) fn shell_program(kind: ShellKind) -> (PathBuf, &'static str) {
    match kind {
        ShellKind::Bash if Path::new("/usr/bin/bash").exists() => ("/usr/bin/bash".into(), "bash"),
        ShellKind::Bash if Path::new("/bin/bash").exists() => ("/bin/bash".into(), "bash"),
        _ => {
            let real = Path::new("/bin/sh").canonicalize().unwrap_or_default();
            let is_bash = real.file_name().is_some_and(|n| n == "bash");
            ("/bin/sh".into(), if is_bash { "bash" } else { "ash" })
        }
    }
}

/// Whether the shell of this kind is bash under whatever name.
pub fn is_bash(kind: ShellKind) -> bool {
    shell_program(kind).1 == "bash"
}
