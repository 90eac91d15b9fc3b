//! Owns: the private runtime directories of jails, before and after one lives in them.
//! Guarantees: what nobody recorded is ended, not adopted.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::link;
use super::process::START;

/// A daemon was killed between starting a jail and recording it. Nothing was handed over to it: it ends.
pub(super) fn end_unrecorded(dir: &Path) {
    let socket = dir.join("ctl");
    if socket.symlink_metadata().is_err() {
        return;
    }
    if link::end_and_wait(&socket, START) {
        tracing::info!(dir = %dir.display(), "a jail of which nothing was recorded was ended");
    }
    if let Err(error) = std::fs::remove_dir_all(dir) {
        tracing::warn!(dir = %dir.display(), %error, "a jail's runtime directory could not be removed");
    }
}

pub(super) fn private_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
