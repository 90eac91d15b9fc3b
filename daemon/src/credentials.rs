//! Owns: the API keys on disk, one file of mode 0600 beside the configuration.
//! Guarantees: a file that others can read is refused, with the fix; a change is whole or absent (temporary file,
//! fsync, rename); keys are never listed, logged or put into an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::domain::secret::Secret;
use crate::durable::{self, Point};
use crate::paths::private_dir;

/// Real keys have at most a few kilobytes (signed tokens); more is a wrong paste.
const KEY_MAX: usize = 16 * 1024;

/// Why a credential could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Others can read the file.
    #[error("others can read {path}, which holds API keys; fix it with: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to somebody else.
    #[error("{path} belongs to another user (uid {owner}); keys in it are not used")]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The file is not what this program writes.
    #[error("{path}:{line}: not a credentials file; each provider is a table with one string, api_key")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it went wrong. The text is not shown: it may be a key.
        line: usize,
    },
    /// Not a provider's name.
    #[error("'{0}' is not a provider's name; use lower-case letters, digits, '-' and '_'")]
    BadProvider(String),
    /// Not a key.
    #[error("the key {0}")]
    BadKey(&'static str),
    /// The system refused.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// The store. Sees changes made to the file by hand.
#[derive(Debug)]
pub struct Credentials {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    keys: BTreeMap<String, Secret>,
    /// Every key ever seen by this process. A replaced key stays a secret.
    ever: Vec<Secret>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// One provider's table in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    api_key: String,
}

impl Credentials {
    /// Opens the store. A missing file is an empty store.
    pub fn open(path: &Path) -> Result<Self, CredentialsError> {
        durable::remove_dead_drafts(path);
        let store = Self {
            path: path.to_owned(),
            known: Mutex::default(),
        };
        drop(store.refreshed()?);
        Ok(store)
    }

    /// Where the keys are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A provider's key.
    pub fn get(&self, provider: &str) -> Result<Option<Secret>, CredentialsError> {
        Ok(self.refreshed()?.keys.get(provider).cloned())
    }

    /// The providers that have a key, in order.
    pub fn list(&self) -> Result<Vec<String>, CredentialsError> {
        Ok(self.refreshed()?.keys.keys().cloned().collect())
    }

    /// Stores a key, replacing the one before.
    pub fn set(&self, provider: &str, key: &Secret) -> Result<(), CredentialsError> {
        check_provider(provider)?;
        let key = checked_key(key)?;
        let mut known = self.refreshed()?;
        let mut keys = known.keys.clone();
        keys.insert(provider.to_owned(), key);
        self.save(&mut known, keys)
    }

    /// Forgets a key. False when there was none.
    pub fn delete(&self, provider: &str) -> Result<bool, CredentialsError> {
        let mut known = self.refreshed()?;
        let mut keys = known.keys.clone();
        let existed = keys.remove(provider).is_some();
        if existed {
            self.save(&mut known, keys)?;
        }
        Ok(existed)
    }

    /// Every key this process has seen in the file, for the redactor. Reads no file.
    pub fn secrets(&self) -> Vec<Secret> {
        self.lock().ever.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing is left half-changed under this lock, so a panic elsewhere spoils nothing.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refreshed(&self) -> Result<MutexGuard<'_, Known>, CredentialsError> {
        let mut known = self.lock();
        let (stamp, keys) = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, BTreeMap::new()),
            Err(source) => return Err(self.io("open", source)),
            Ok(mut file) => {
                let meta = file.metadata().map_err(|source| self.io("look at", source))?;
                self.check(&meta)?;
                let stamp = Some(Stamp::of(&meta));
                if stamp == known.stamp {
                    return Ok(known);
                }
                let mut text = String::new();
                file.read_to_string(&mut text)
                    .map_err(|source| self.io("read", source))?;
                (stamp, self.parse(&text)?)
            }
        };
        known.replace(stamp, keys);
        Ok(known)
    }

    fn check(&self, meta: &fs::Metadata) -> Result<(), CredentialsError> {
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(CredentialsError::ForeignOwner {
                path: self.path.clone(),
                owner: meta.uid(),
            });
        }
        if meta.mode() & 0o077 != 0 {
            return Err(CredentialsError::Exposed {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    fn parse(&self, text: &str) -> Result<BTreeMap<String, Secret>, CredentialsError> {
        let entries: BTreeMap<String, Entry> = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
            CredentialsError::Malformed {
                path: self.path.clone(),
                line,
            }
        })?;
        Ok(entries
            .into_iter()
            .map(|(name, entry)| (name, Secret::new(entry.api_key)))
            .collect())
    }

    fn save(&self, known: &mut Known, keys: BTreeMap<String, Secret>) -> Result<(), CredentialsError> {
        let entries: BTreeMap<&str, Entry> = keys
            .iter()
            .map(|(name, key)| {
                (
                    name.as_str(),
                    Entry {
                        api_key: key.expose().to_owned(),
                    },
                )
            })
            .collect();
        let tables = toml::to_string(&entries).map_err(|error| self.io("write", io::Error::other(error)))?;
        let text = format!("# API keys of agentd. Keep this file private (mode 0600).\n\n{tables}");
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        if !dir.exists() {
            private_dir(dir).map_err(|error| self.io("make the directory of", io::Error::other(error)))?;
        }
        let stamp =
            replace_file(&self.path, dir, text.as_bytes()).map_err(|source| self.io("write", source))?;
        known.replace(Some(stamp), keys);
        Ok(())
    }

    fn io(&self, action: &'static str, source: io::Error) -> CredentialsError {
        CredentialsError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

impl Known {
    fn replace(&mut self, stamp: Option<Stamp>, keys: BTreeMap<String, Secret>) {
        let seen: BTreeSet<String> = self.ever.iter().map(|key| key.expose().to_owned()).collect();
        self.ever
            .extend(keys.values().filter(|key| !seen.contains(key.expose())).cloned());
        self.stamp = stamp;
        self.keys = keys;
    }
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Puts a private file in place in one step; a crash leaves the old one or the new one.
pub(crate) fn replace_file(path: &Path, dir: &Path, content: &[u8]) -> io::Result<Stamp> {
    let temporary = durable::draft_of(path);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            Point::CredentialsSync.through(|| file.sync_all())?;
            Point::CredentialsRename.through(|| fs::rename(&temporary, path))?;
            Ok(Stamp::of(&file.metadata()?))
        });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let stamp = written?;
    let dir = File::open(dir)?;
    Point::CredentialsDirSync.through(|| dir.sync_all())?;
    Ok(stamp)
}

fn check_provider(name: &str) -> Result<(), CredentialsError> {
    let ok = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if ok {
        Ok(())
    } else {
        Err(CredentialsError::BadProvider(name.chars().take(80).collect()))
    }
}

/// The key without the line end that pasting adds.
fn checked_key(key: &Secret) -> Result<Secret, CredentialsError> {
    let text = key.expose().trim();
    if text.is_empty() {
        return Err(CredentialsError::BadKey("is empty"));
    }
    if text.len() > KEY_MAX {
        return Err(CredentialsError::BadKey("is longer than 16 KiB"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(CredentialsError::BadKey("has blanks or control characters in it"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[test]
    fn keys_are_stored_private_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agentd/credentials.toml");
        let store = Credentials::open(&path).unwrap();
        store.set("openai", &secret("sk-\"one\n")).unwrap();
        store.set("local-1", &secret("two")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = Credentials::open(&path).unwrap();
        assert_eq!(again.get("openai").unwrap(), Some(secret("sk-\"one")));
        assert_eq!(again.list().unwrap(), ["local-1", "openai"]);
        assert!(again.delete("openai").unwrap());
        assert!(!again.delete("openai").unwrap());
        assert_eq!(
            store.get("openai").unwrap(),
            None,
            "another process's change is seen"
        );
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_others_can_read_is_refused_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.toml");
        fs::write(&path, "[openai]\napi_key = \"canary\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Credentials::open(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Credentials::open(&path).unwrap().get("openai").unwrap().is_some());
    }

    #[test]
    fn errors_never_show_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.toml");
        fs::write(&path, "[openai]\nkey = \"canary\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Credentials::open(&path).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("line: ") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_replaced_key_stays_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let store = Credentials::open(&dir.path().join("credentials.toml")).unwrap();
        store.set("openai", &secret("first")).unwrap();
        store.set("openai", &secret("second")).unwrap();
        store.delete("openai").unwrap();
        assert_eq!(store.secrets(), [secret("first"), secret("second")]);
    }

    #[test]
    fn wrong_names_and_wrong_pastes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Credentials::open(&dir.path().join("credentials.toml")).unwrap();
        for name in ["", "Open AI", "a/b", "x.y"] {
            assert!(
                matches!(
                    store.set(name, &secret("k")),
                    Err(CredentialsError::BadProvider(_))
                ),
                "{name}"
            );
        }
        for key in ["", " \n", "two words", "a\u{7}b", &"x".repeat(KEY_MAX + 1)] {
            assert!(matches!(
                store.set("openai", &secret(key)),
                Err(CredentialsError::BadKey(_))
            ));
        }
        assert!(store.list().unwrap().is_empty());
    }
}
