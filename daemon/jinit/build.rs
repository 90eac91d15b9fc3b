//! Owns: making `agent-jinit` a static binary with the ordinary glibc target.
//! Guarantees: where the static archives are missing the build still works, dynamically, and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the linker must find as archives: it is told `-Bdynamic` again after `-static`, and with only archives on
/// the first search path it still picks them.
const ARCHIVES: [(&str, &str); 7] = [
    ("libgcc_s.a", "libgcc_eh.a"),
    ("libc.a", "libc.a"),
    ("libm.a", "libm.a"),
    ("libutil.a", "libutil.a"),
    ("librt.a", "librt.a"),
    ("libpthread.a", "libpthread.a"),
    ("libdl.a", "libdl.a"),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CC");
    let musl = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl");
    let native = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    if musl || !native {
        return;
    }
    let Some(out) = std::env::var_os("OUT_DIR").map(PathBuf::from) else {
        return;
    };
    match link_archives(&out.join("static")) {
        Ok(dir) => {
            // Not rustc-link-search: that would reach every program that links our library too.
            println!("cargo:rustc-link-arg-bins=-L{}", dir.display());
            println!("cargo:rustc-link-arg-bins=-static");
            println!("cargo:rustc-link-arg-bins=-no-pie");
        }
        Err(why) => println!("cargo:warning=agent-jinit will be linked dynamically: {why}"),
    }
}

fn link_archives(dir: &Path) -> Result<PathBuf, String> {
    std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    for (name, wanted) in ARCHIVES {
        let output = Command::new(&cc)
            .arg(format!("-print-file-name={wanted}"))
            .output()
            .map_err(|e| format!("{cc}: {e}"))?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        // The compiler echoes the bare name when it knows no such file.
        if !path.is_absolute() || !path.exists() {
            return Err(format!("{wanted} was not found"));
        }
        let link = dir.join(name);
        let _gone = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&path, &link).map_err(|e| e.to_string())?;
    }
    Ok(dir.to_owned())
}
