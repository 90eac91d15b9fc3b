//! Owns: the file that tells agentctl where this program listens.
//! Guarantees: removed at the end, unless a successor wrote it meanwhile.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

/// The file, as long as this lives.
pub(crate) struct Running {
    path: PathBuf,
    text: String,
}

impl Running {
    /// Writes it.
    pub(crate) fn announce(state_dir: &Path, url: &str, public_url: Option<&str>) -> std::io::Result<Self> {
        fs::create_dir_all(state_dir)?;
        let path = state_dir.join(agentd_proto::endpoint::WEB_FILE);
        let text = json!({ "pid": std::process::id(), "url": url, "public_url": public_url }).to_string();
        let temporary = path.with_extension(format!("json.{}", std::process::id()));
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?
            .write_all(text.as_bytes())?;
        fs::rename(&temporary, &path)?;
        Ok(Self { path, text })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|found| found == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
