//! Owns: how the programs are linked, and the name of the code that folds a log.
//! Guarantees: only what the linker and the C library of this machine both know is asked for; without it nothing is lost but memory.
//! Another text of what folds has another name.
//!
//! A program that can lie anywhere in memory has a table of the places that depend on where: 1.5 MB of the daemon's, read at
//! each start and resident ever after. The packed form (RELR) takes a hundredth of that.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

/// The C library that reads the packed form.
const GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=Cargo.toml");
    // The daemon's only: the other program that is linked so has none.
    let domain = Path::new("src/domain");
    if domain.is_dir() {
        let mut code = DefaultHasher::new();
        // What events are, how they are read, and what is made of them.
        for part in ["src/domain", "src/store/codec.rs", "src/session/folds.rs"] {
            println!("cargo:rerun-if-changed={part}");
            read(Path::new(part), &mut code);
        }
        println!("cargo:rustc-env=AGENTD_FOLD_CODE={:016x}", code.finish());
    }
    let is = |name, value| std::env::var(name).is_ok_and(|found| found == value);
    let native = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    if native && is("CARGO_CFG_TARGET_ENV", "gnu") && glibc().is_some_and(|found| found >= GLIBC) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

fn glibc() -> Option<(u32, u32)> {
    let printed = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(printed.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// A file, or every file below a directory, by name.
fn read(path: &Path, into: &mut DefaultHasher) {
    if !path.is_dir() {
        path.hash(into);
        return std::fs::read(path).unwrap_or_default().hash(into);
    }
    let entries = std::fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()));
    let mut paths: Vec<_> = entries.into_iter().flatten().collect();
    paths.sort();
    for path in paths {
        read(&path, into);
    }
}
