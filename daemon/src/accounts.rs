//! Owns: the devices: browsers and programs with a token, and the one-time codes that make them.
//! Guarantees: tokens and codes are kept as hashes only; a code works once and for 60 seconds; a revoked device is
//! refused at once, over restarts too; comparisons take the same time whatever the difference.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::domain::id::DeviceId;
use crate::domain::principal::Scope;
use crate::domain::rejection::Rejection;
use crate::durable::{self, Point};

/// How long a code may lie around: time to switch windows, not to be found.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// Codes that wait at the same time. More is not a person pairing.
const MAX_CODES: usize = 8;
/// Wrong codes in a minute after which all are refused for the rest of it.
const MAX_WRONG: usize = 10;
/// How long a token lives.
const TOKEN_LIFE_US: i64 = 30 * 24 * 3600 * 1_000_000;
/// Devices at most; the one unseen for longest makes room.
const MAX_DEVICES: usize = 100;
/// "Last seen" is written at most so often: a busy browser must not keep the disk busy.
const SEEN_EVERY_US: i64 = 60 * 1_000_000;
const NAME_MAX: usize = 80;

/// The file of devices can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't {action} {path}: {source}")]
pub struct AccountsError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A browser or program with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub device_id: DeviceId,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was paired, microseconds since the epoch.
    pub created_us: i64,
    /// When it last called.
    pub seen_us: i64,
    /// When its token ends.
    pub expires_us: i64,
    token_hash: String,
}

/// What a presented token allows.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Whose it is.
    pub device: Device,
    /// Cancelled when the device is revoked.
    pub revoked: CancellationToken,
}

impl Grant {
    /// Refuses unless the scope was given.
    pub fn needs(&self, scope: Scope) -> Result<(), Rejection> {
        if self.device.scopes.contains(&scope) {
            Ok(())
        } else {
            Err(Rejection::ScopeMissing(scope.word()))
        }
    }
}

/// The devices. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounts {
    path: Arc<PathBuf>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    devices: Vec<(Device, CancellationToken)>,
    codes: Vec<Code>,
    wrong: VecDeque<Instant>,
}

#[derive(Debug)]
struct Code {
    hash: String,
    scopes: Vec<Scope>,
    until: Instant,
}

impl Accounts {
    /// Reads the devices. A missing file means none.
    pub fn open(path: &Path) -> Result<Self, AccountsError> {
        let error = |action, source| AccountsError {
            action,
            path: path.to_owned(),
            source,
        };
        durable::remove_dead_drafts(path);
        let devices: Vec<Device> = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(error("read", e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| error("understand", e.into()))?,
        };
        let devices = devices
            .into_iter()
            .map(|d| (d, CancellationToken::new()))
            .collect();
        Ok(Self {
            path: Arc::new(path.to_owned()),
            state: Arc::new(Mutex::new(State {
                devices,
                ..State::default()
            })),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is a single assignment or push, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a code; gives it and its life.
    pub fn create_pairing(&self, mut scopes: Vec<Scope>) -> io::Result<(String, Duration)> {
        let code = random_hex(16)?;
        scopes.sort();
        scopes.dedup();
        let mut state = self.lock();
        let now = Instant::now();
        state.codes.retain(|c| c.until > now);
        if state.codes.len() >= MAX_CODES {
            state.codes.remove(0);
        }
        state.codes.push(Code {
            hash: hash(&code),
            scopes,
            until: now + CODE_LIFE,
        });
        Ok((code, CODE_LIFE))
    }

    /// Turns a code into a device and its token.
    pub fn redeem(&self, code: &str, name: &str, now_us: i64) -> Result<(Device, String), Rejection> {
        let token =
            random_hex(32).map_err(|_| Rejection::PairingRefused("this machine has no random numbers"))?;
        let hashed = hash(code);
        let mut state = self.lock();
        let now = Instant::now();
        state
            .wrong
            .retain(|at| now.duration_since(*at) < Duration::from_secs(60));
        if state.wrong.len() >= MAX_WRONG {
            return Err(Rejection::PairingRefused("too many wrong codes; wait a minute"));
        }
        state.codes.retain(|c| c.until > now);
        let found = state.codes.iter().position(|c| same(&c.hash, &hashed));
        let Some(index) = found else {
            state.wrong.push_back(now);
            return Err(Rejection::PairingRefused(
                "this code is unknown, used or older than 60 seconds",
            ));
        };
        let code = state.codes.swap_remove(index);
        let device = Device {
            device_id: DeviceId::random(),
            name: named(name),
            scopes: code.scopes,
            created_us: now_us,
            seen_us: now_us,
            expires_us: now_us.saturating_add(TOKEN_LIFE_US),
            token_hash: hash(&token),
        };
        state.devices.retain(|(d, _)| d.expires_us > now_us);
        if state.devices.len() >= MAX_DEVICES
            && let Some(oldest) = state
                .devices
                .iter()
                .enumerate()
                .min_by_key(|(_, (d, _))| d.seen_us)
                .map(|(i, _)| i)
        {
            state.devices.swap_remove(oldest).1.cancel();
        }
        state.devices.push((device.clone(), CancellationToken::new()));
        self.save(&state).map_err(|error| {
            tracing::error!(%error, "the devices could not be written");
            Rejection::PairingRefused("the device could not be stored; see agentctl daemon logs")
        })?;
        Ok((device, token))
    }

    /// What a token allows now.
    pub fn admit(&self, token: &str, now_us: i64) -> Result<Grant, Rejection> {
        let hashed = hash(token);
        let mut state = self.lock();
        let mut found = None;
        // All are compared, so the time does not say which one was near.
        for (index, (device, _)) in state.devices.iter().enumerate() {
            if same(&device.token_hash, &hashed) && device.expires_us > now_us {
                found = Some(index);
            }
        }
        let entry = found
            .and_then(|index| state.devices.get_mut(index))
            .ok_or(Rejection::TokenRefused)?;
        let write = now_us.saturating_sub(entry.0.seen_us) >= SEEN_EVERY_US;
        if write {
            entry.0.seen_us = now_us;
        }
        let grant = Grant {
            device: entry.0.clone(),
            revoked: entry.1.clone(),
        };
        if write && let Err(error) = self.save(&state) {
            tracing::warn!(%error, "when a device was last seen could not be written");
        }
        Ok(grant)
    }

    /// The devices, last seen first.
    pub fn list(&self, now_us: i64) -> Vec<Device> {
        let mut all: Vec<Device> = self
            .lock()
            .devices
            .iter()
            .map(|(d, _)| d.clone())
            .filter(|d| d.expires_us > now_us)
            .collect();
        all.sort_by_key(|d| std::cmp::Reverse(d.seen_us));
        all
    }

    /// Ends a device's access. Takes its id or a unique prefix.
    pub fn revoke(&self, wanted: &str) -> Result<Device, Rejection> {
        let mut state = self.lock();
        let exact = state
            .devices
            .iter()
            .position(|(d, _)| d.device_id.as_str() == wanted);
        let mut near = state
            .devices
            .iter()
            .enumerate()
            .filter(|(_, (d, _))| d.device_id.as_str().starts_with(wanted));
        let index = exact.or(match (near.next(), near.next()) {
            (Some((index, _)), None) if wanted.len() >= 3 => Some(index),
            _ => None,
        });
        let index = index.ok_or_else(|| Rejection::DeviceNotFound(wanted.chars().take(60).collect()))?;
        let (device, cut) = state.devices.swap_remove(index);
        cut.cancel();
        self.save(&state).map_err(|error| {
            tracing::error!(%error, "a revocation could not be written");
            Rejection::WrongState(
                "revoked until the next restart only: the file of devices can't be written".into(),
            )
        })?;
        Ok(device)
    }

    fn save(&self, state: &State) -> io::Result<()> {
        let devices: Vec<&Device> = state.devices.iter().map(|(d, _)| d).collect();
        let bytes = serde_json::to_vec_pretty(&devices)?;
        let temporary = durable::draft_of(&self.path);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&bytes)?;
        Point::DevicesSync.through(|| file.sync_all())?;
        Point::DevicesRename.through(|| fs::rename(&temporary, self.path.as_path()))?;
        // The name too must outlast a power cut: a revoked device that comes back would be let in.
        let dir = fs::File::open(self.path.parent().unwrap_or(Path::new("/")))?;
        Point::DevicesDirSync.through(|| dir.sync_all())
    }
}

/// A name as it may be shown: one line, short.
fn named(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
    let clean = clean.trim();
    if clean.is_empty() {
        "a browser".to_owned()
    } else {
        clean.to_owned()
    }
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_hex(len: usize) -> io::Result<String> {
    let mut bytes = vec![0; len];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Compares without stopping at the first difference.
fn same(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(dir: &tempfile::TempDir) -> Accounts {
        Accounts::open(&dir.path().join("devices.json")).unwrap()
    }

    #[test]
    fn a_code_works_once_and_its_token_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let all = accounts(&dir);
        let (code, _) = all.create_pairing(vec![Scope::Read]).unwrap();
        let (device, token) = all.redeem(&code, "phone\n", 1).unwrap();
        assert_eq!((device.name.as_str(), code.len(), token.len()), ("phone", 32, 64));
        assert!(matches!(
            all.redeem(&code, "again", 2),
            Err(Rejection::PairingRefused(_))
        ));
        let grant = accounts(&dir).admit(&token, 3).unwrap();
        assert!(grant.needs(Scope::Read).is_ok());
        assert_eq!(grant.needs(Scope::Drive), Err(Rejection::ScopeMissing("drive")));
        let text = fs::read_to_string(dir.path().join("devices.json")).unwrap();
        assert!(!text.contains(&token) && !text.contains(&code), "{text}");
    }

    #[test]
    fn a_revoked_or_expired_device_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let all = accounts(&dir);
        let (code, _) = all.create_pairing(Scope::ALL.to_vec()).unwrap();
        let (device, token) = all.redeem(&code, "", 1).unwrap();
        let grant = all.admit(&token, 2).unwrap();
        assert!(all.admit(&token, device.expires_us).is_err());
        all.revoke(&device.device_id.as_str()[..4]).unwrap();
        assert!(grant.revoked.is_cancelled());
        assert_eq!(all.admit(&token, 3).unwrap_err(), Rejection::TokenRefused);
        assert_eq!(accounts(&dir).list(3), []);
    }

    #[test]
    fn guessing_stops_after_some_tries() {
        let dir = tempfile::tempdir().unwrap();
        let all = accounts(&dir);
        let (code, _) = all.create_pairing(vec![Scope::Read]).unwrap();
        for _ in 0..MAX_WRONG {
            assert!(all.redeem("0", "x", 1).is_err());
        }
        assert_eq!(
            all.redeem(&code, "x", 1).unwrap_err(),
            Rejection::PairingRefused("too many wrong codes; wait a minute")
        );
    }
}
