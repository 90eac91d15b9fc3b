//! Owns: telling the redactor what the secret files of a workspace hold.
//! Guarantees: the values are known before the first word of a turn is written; nothing of them is kept but in
//! memory.

use std::path::PathBuf;
use std::sync::Arc;

use super::Settings;
use crate::jail::secret_files;
use crate::store::redact::Redactor;

/// Longer files are no lists of settings.
const LONGEST: u64 = 64 * 1024;

/// Reads the secret files of a workspace.
pub(super) async fn learn(settings: &Arc<Settings>, redactor: &Arc<Redactor>, root: PathBuf) {
    let (names, redactor) = (settings.secret_files.clone(), redactor.clone());
    let work = move || {
        for path in secret_files(&root, &names) {
            let path = root.join(path);
            let short = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
            // One that can't be read here can't be read in a jail either.
            if let Some(data) = short.then(|| std::fs::read(&path).ok()).flatten() {
                redactor.learn_file(&String::from_utf8_lossy(&data));
            }
        }
    };
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!(%error, "the secret files of a workspace could not be read");
    }
}
