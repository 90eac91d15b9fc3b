//! Owns: running tests of a binary as an ordinary user, where it is root that runs them.
//! Guarantees: what root is denied says little of others, so those tests run again as `nobody`, and each must pass.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs these tests of this very binary as `nobody`, with copies of these programs where it looks for them.
pub fn as_nobody(programs: &[PathBuf], tests: &[&str]) {
    let dir = tempfile::Builder::new().prefix("au").tempdir_in("/tmp").unwrap();
    let at = |name: &str| dir.path().join(name);
    for sub in ["deps", "tmp", "home"] {
        std::fs::create_dir(at(sub)).unwrap();
        std::os::unix::fs::chown(at(sub), Some(65534), Some(65534)).unwrap();
    }
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // Where the build put them may be a place that only root enters.
    std::fs::copy(std::env::current_exe().unwrap(), at("deps/tests")).unwrap();
    for program in programs {
        let name = program.file_name().unwrap();
        std::fs::copy(program, dir.path().join(Path::new(name))).unwrap();
    }
    let output = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .arg(at("deps/tests"))
        .arg("--exact")
        .args(tests)
        .env("TMPDIR", at("tmp"))
        .env("HOME", at("home"))
        .current_dir(at("home"))
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let passed = format!("{} passed", tests.len());
    assert!(output.status.success() && text.contains(&passed), "{text}");
}
