//! Owns: how the programs are linked.
//! Guarantees: only what the linker and the C library of this machine both know is asked for; without it nothing is lost but memory.
//!
//! A program that can lie anywhere in memory has a table of the places that depend on where: 1.5 MB of the daemon's, read at
//! each start and resident ever after. The packed form (RELR) takes a hundredth of that.

use std::process::Command;

/// The C library that reads the packed form.
const GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=Cargo.toml");
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
