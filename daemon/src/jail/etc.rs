//! Owns: the minimal `/etc` of a Jail, written into a private directory.
//! Guarantees: neutral names; nothing of the host's /etc but what programs need to start, resolve and verify.

use std::io;
use std::path::{Path, PathBuf};

/// Files taken as they are on the host, when they exist.
const COPIED: [&str; 4] = ["ld.so.cache", "localtime", "ssl/openssl.cnf", "mime.types"];
/// Directories shown read-only, when they exist: links into them are all over /usr.
const SHOWN: [&str; 6] = [
    "alternatives",
    "ssl/certs",
    "ca-certificates",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "crypto-policies",
];

/// Shown in place of secret files.
pub(super) const MASK: &str = "masked";
/// Shown in place of the kernel's.
pub(super) const BOOT_ID: &str = "boot_id";

/// Writes the files into `dir`; returns the host directories to show inside it, relative to /etc. Git does not see
/// `hidden`: mount points in the workspace are full of files that are not the project's.
pub(super) fn write(dir: &Path, uid: u32, gid: u32, hidden: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir)?;
    let (user, home) = (if uid == 0 { "root" } else { "agent" }, super::spec::HOME);
    let text = |name: &str, text: String| std::fs::write(dir.join(name), text);
    let nobody = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    text(
        "passwd",
        format!("{user}:x:{uid}:{gid}:{user}:{home}:/bin/sh\n{nobody}"),
    )?;
    text("group", format!("{user}:x:{gid}:\nnogroup:x:65534:\n"))?;
    text(
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n".to_owned(),
    )?;
    text("hosts", "127.0.0.1 localhost agent\n::1 localhost\n".to_owned())?;
    text("hostname", "agent\n".to_owned())?;
    // The machine's own would tell one machine, or one of its starts, from another.
    text("machine-id", "00000000000000000000000000000001\n".to_owned())?;
    text(BOOT_ID, "00000000-0000-0000-0000-000000000001\n".to_owned())?;
    text(
        MASK,
        "# agentd keeps this file's content out of the jail: see privacy.secret_files\n".to_owned(),
    )?;
    text(
        "gitignore",
        hidden
            .iter()
            .map(|name| format!("/{}/\n", name.display()))
            .collect(),
    )?;
    for name in COPIED {
        let from = Path::new("/etc").join(name);
        if from.is_file() {
            let to = dir.join(name);
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent)?;
            }
            // An unreadable one is one that programs of this user do without.
            let _unreadable = std::fs::copy(&from, &to);
        }
    }
    let mut shown = Vec::new();
    for name in SHOWN {
        if Path::new("/etc").join(name).is_dir() {
            std::fs::create_dir_all(dir.join(name))?;
            shown.push(PathBuf::from(name));
        }
    }
    Ok(shown)
}
