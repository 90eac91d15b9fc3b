//! Owns: a session's files as people and programs reach them: list, read, write.
//! Guarantees: the same guard as the model's tools; a write replaces only what its writer believed to be there, and is a
//! fact in the log; reading holds one piece in memory, whatever the file's size.

use std::ffi::OsStr;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{Fault, SessionHandle, Settings};
use crate::domain::event::SessionSpec;
use crate::domain::id::Seq;
use crate::domain::principal::Caller;
use crate::domain::rejection::Rejection;
use crate::domain::session::State;
use crate::domain::workspace::{Layout, Workspace};
use crate::jail::shown_added;
use crate::workspace::{Expect, Guard, GuardError, Listing, Stamp, protected};

/// Bytes of a file sent at a time.
const PIECE: usize = 256 * 1024;
/// Pieces read ahead of a slow reader.
const AHEAD: usize = 4;

/// A part of a directory.
#[derive(Debug)]
pub struct FilesPage {
    /// Its names.
    pub listing: Listing,
    /// The directory as seen inside.
    pub path: Vec<u8>,
}

/// Something of a file, in order: first what it is, then bytes, then its etag.
#[derive(Debug)]
pub enum FilePiece {
    /// What it is.
    Info {
        /// Its path as seen inside, without links.
        path: Vec<u8>,
        /// Length in bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
        /// Why it is protected; empty when it is not.
        protected_why: &'static str,
    },
    /// Its next bytes.
    Bytes(Bytes),
    /// What a writer gives back to say which file he means.
    Etag(String),
}

/// A file to be written.
#[derive(Debug)]
pub struct FileWish {
    /// As seen inside.
    pub path: Vec<u8>,
    /// All of its content.
    pub data: Bytes,
    /// What the writer believes is there: an etag, nothing (`Some("")`), or whatever (`None`).
    pub expected: Option<String>,
    /// Also a protected one.
    pub allow_protected: bool,
}

/// A file that was written.
#[derive(Debug)]
pub struct FileWrote {
    /// Of the file as it is now.
    pub etag: String,
    /// Its path as seen inside.
    pub path: Vec<u8>,
    /// False when it was there already.
    pub written: bool,
    /// It is new.
    pub created: bool,
    /// The fact; 0 when nothing was written.
    pub seq: Seq,
}

impl SessionHandle {
    /// Names in a directory, from after one on.
    pub async fn list_files(
        &self,
        path: Vec<u8>,
        after: Vec<u8>,
        limit: usize,
    ) -> Result<FilesPage, Rejection> {
        let spec = self.summary().spec;
        let (guard, workspace) = (self.guard(&spec)?, spec.workspace);
        let ours = self.net.settings.jails.ours(&workspace.root);
        blocking(move || {
            let rel = relative(&guard, &workspace, &path)?;
            let real = guard.real(&rel).map_err(refusal)?;
            // Jails' mount points are not the project's.
            let dir = workspace.root.join(&real);
            let points: Vec<&OsStr> = ours
                .iter()
                .filter(|point| point.parent() == Some(&dir) && is_bare(point))
                .filter_map(|point| point.file_name())
                .collect();
            let mut listing = guard
                .list_after(
                    &real,
                    OsStr::from_bytes(&after),
                    limit.saturating_add(points.len()),
                )
                .map_err(refusal)?;
            listing
                .entries
                .retain(|entry| !points.contains(&entry.name.as_os_str()));
            listing.entries.truncate(limit);
            listing.total = listing.total.saturating_sub(points.len());
            Ok(FilesPage {
                listing,
                path: inside(&workspace, &real),
            })
        })
        .await
    }

    /// A file, piece by piece. Refusals that are known at once are the answer; later ones come as the last piece.
    pub async fn read_file(
        &self,
        path: Vec<u8>,
        offset: u64,
        limit: Option<u64>,
    ) -> Result<mpsc::Receiver<Result<FilePiece, Rejection>>, Rejection> {
        let spec = self.summary().spec;
        let (guard, workspace) = (self.guard(&spec)?, spec.workspace);
        let (tx, rx) = mpsc::channel(AHEAD);
        let (mut file, stamp, info) = blocking(move || {
            let real = guard
                .real(&relative(&guard, &workspace, &path)?)
                .map_err(refusal)?;
            let (file, stamp, mode) = guard.open_stamped(&real).map_err(refusal)?;
            let info = FilePiece::Info {
                path: inside(&workspace, &real),
                size: stamp.size,
                mode,
                protected_why: protected(&real).unwrap_or_default(),
            };
            Ok((file, stamp, info))
        })
        .await?;
        tokio::task::spawn_blocking(move || {
            let end = pieces(&mut file, &stamp, offset, limit, info, &tx);
            if let Err(no) = end {
                // Nobody reads any more: then nobody misses it.
                let _gone = tx.blocking_send(Err(no));
            }
        });
        Ok(rx)
    }

    /// Writes a file, whole or not at all, and says so in the log.
    pub async fn write_file(&self, caller: Caller, wish: FileWish) -> Result<FileWrote, Fault> {
        let summary = self.summary();
        if summary.state == State::Deleted {
            return Err(Rejection::NotNow {
                message: format!("session '{}' is in the trash", summary.name),
                hints: vec![format!("agentctl sessions restore {}", summary.session_id)],
            }
            .into());
        }
        let (guard, workspace) = (self.guard(&summary.spec)?, summary.spec.workspace);
        let size = wish.data.len();
        let mut wrote = blocking(move || write(&guard, &workspace, &wish)).await?;
        if wrote.written {
            let verb = if wrote.created { "created" } else { "written" };
            let message = format!(
                "{} was {verb} by {} ({}): {size} bytes",
                String::from_utf8_lossy(&wrote.path),
                caller.principal,
                caller.client.word(),
            );
            self.actor.notice(caller, "file_written", &message).await;
            wrote.seq = self.summary().head;
        }
        Ok(wrote)
    }

    /// The files that calls which name these would write: links followed, as a policy judges them.
    pub async fn to_write(&self, paths: Vec<String>) -> Result<Vec<PathBuf>, Rejection> {
        let spec = self.summary().spec;
        let guard = self.guard(&spec)?;
        blocking(move || to_write(&guard, &spec.workspace, &paths)).await
    }

    fn guard(&self, spec: &SessionSpec) -> Result<Guard, Rejection> {
        let opened = guard_of(spec, &self.net.settings).map(|guard| guard.with_umask(self.execs.umask()));
        opened.map_err(|error| Rejection::WorkspaceRefused {
            message: gone(spec, &error),
            hints: vec!["bring the directory back, or make a session on another one".into()],
        })
    }
}

/// The same for sessions that could be made on the directory `root`.
pub async fn to_write_in(root: PathBuf, paths: Vec<String>) -> Result<Vec<PathBuf>, Rejection> {
    let workspace = Workspace {
        root,
        start_dir: PathBuf::new(),
        layout: Layout::Host,
        layout_reason: String::new(),
    };
    blocking(move || {
        let guard = Guard::open(&workspace.root).map_err(refusal)?;
        to_write(&guard, &workspace, &paths)
    })
    .await
}

fn to_write(guard: &Guard, workspace: &Workspace, paths: &[String]) -> Result<Vec<PathBuf>, Rejection> {
    let real = |path: &String| {
        let real = guard
            .real(&relative(guard, workspace, path.as_bytes())?)
            .map_err(refusal)?;
        guard.require_writable(&real).map_err(refusal)?;
        Ok(real)
    };
    paths.iter().map(real).collect()
}

/// Why a workspace can't be worked on.
pub(super) fn gone(spec: &SessionSpec, error: &GuardError) -> String {
    let root = spec.workspace.root.display();
    match error {
        GuardError::NotFound(_) => format!("{root}: the workspace is gone"),
        other => format!("{root}: {other}"),
    }
}

/// True for an empty directory or file: nobody put anything there.
fn is_bare(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => path
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_file() && meta.len() == 0),
    }
}

/// A session's files as they are reached from outside its jail: what commands in it see of the workspace and beside it.
pub(super) fn guard_of(spec: &SessionSpec, settings: &Settings) -> Result<Guard, GuardError> {
    let ours = settings.jails.ours(&spec.workspace.root);
    let added = shown_added(spec.jail, &spec.workspace, &spec.added_dirs, &ours);
    let added = added.map(|dir| (dir.path.as_path(), dir.writable));
    let guard = Guard::open(&spec.workspace.root)?;
    Ok(guard.with_added(added))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(Rejection::ShuttingDown))
}

fn relative(guard: &Guard, workspace: &Workspace, path: &[u8]) -> Result<PathBuf, Rejection> {
    let given = Path::new(OsStr::from_bytes(path));
    let root = workspace.jail_root();
    guard
        .locate(root, workspace.relative(given), given)
        .ok_or_else(|| {
            let added: String = guard
                .added_dirs()
                .map(|(dir, _)| format!(", and outside {}, which was added", dir.display()))
                .collect();
            let lost: String = guard
                .lost_dirs()
                .map(|dir| {
                    format!(
                        "; {} was added and is gone, or something else is in its place",
                        dir.display()
                    )
                })
                .collect();
            Rejection::FileRefused(format!(
                "{} lies outside the workspace, which is {} there{added}{lost}",
                given.display(),
                root.display()
            ))
        })
}

fn inside(workspace: &Workspace, real: &Path) -> Vec<u8> {
    workspace.jail_path(real).into_os_string().into_vec()
}

/// The guard's "no" as the caller's.
fn refusal(error: GuardError) -> Rejection {
    match error {
        GuardError::NotFound(path) => Rejection::FileNotFound(path.display().to_string()),
        GuardError::Stale(_) | GuardError::Exists(_) | GuardError::Moved(_) => Rejection::FileChanged {
            message: error.to_string(),
            hints: vec!["read it again, and repeat the change on what it is now".into()],
        },
        GuardError::Io(path, error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Rejection::WorkspaceFull(path.display().to_string())
        }
        other => Rejection::FileRefused(other.to_string()),
    }
}

fn pieces(
    file: &mut std::fs::File,
    stamp: &Stamp,
    offset: u64,
    limit: Option<u64>,
    info: FilePiece,
    tx: &mpsc::Sender<Result<FilePiece, Rejection>>,
) -> Result<(), Rejection> {
    let io = |error: std::io::Error| Rejection::FileRefused(format!("reading it failed: {error}"));
    let whole = offset == 0 && limit.is_none_or(|limit| limit >= stamp.size);
    if tx.blocking_send(Ok(info)).is_err() {
        return Ok(());
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    // One byte more than it had tells a file that grows.
    let mut left = limit
        .unwrap_or(u64::MAX)
        .min(stamp.size.saturating_sub(offset).saturating_add(1));
    let mut hasher = Sha256::new();
    let mut read = 0_u64;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = Vec::with_capacity(room);
        let got = file.take(room as u64).read_to_end(&mut piece).map_err(io)? as u64;
        if got == 0 {
            break;
        }
        (read, left) = (read.saturating_add(got), left.saturating_sub(got));
        if whole {
            hasher.update(&piece);
        }
        if tx.blocking_send(Ok(FilePiece::Bytes(piece.into()))).is_err() {
            return Ok(());
        }
    }
    let now = Stamp::of_open(file).map_err(io)?;
    if whole && (!now.same_metadata(stamp) || read != stamp.size) {
        return Err(Rejection::FileChanged {
            message: "the file changed while it was read".into(),
            hints: vec!["read it again".into()],
        });
    }
    let sha256 = whole.then(|| hasher.finalize().into());
    // Nobody reads any more: then nobody misses it.
    let _gone = tx.blocking_send(Ok(FilePiece::Etag(etag(&Stamp { sha256, ..now }))));
    Ok(())
}

fn write(guard: &Guard, workspace: &Workspace, wish: &FileWish) -> Result<FileWrote, Rejection> {
    let rel = relative(guard, workspace, &wish.path)?;
    let real = guard.real(&rel).map_err(refusal)?;
    guard.require_writable(&real).map_err(refusal)?;
    if let Some(why) = protected(&real).filter(|_| !wish.allow_protected) {
        let path = real.display().to_string();
        return Err(Rejection::FileProtected { path, why });
    }
    let expect = match wish.expected.as_deref() {
        None => Expect::Any,
        Some("") => Expect::Absent,
        Some(text) => Expect::Stamp(
            stamp_of(text)
                .ok_or_else(|| Rejection::InvalidArgument("expected_etag is not one of ours".into()))?,
        ),
    };
    let path = inside(workspace, &real);
    let before = match guard.read(&real, wish.data.len() as u64 + 1) {
        Ok(before) => Some(before),
        Err(GuardError::NotFound(_)) => None,
        Err(other) => return Err(refusal(other)),
    };
    let created = before.is_none();
    if let Some(before) = before.filter(|before| before.is_whole() && before.bytes == *wish.data) {
        return Ok(FileWrote {
            etag: etag(&before.stamp),
            path,
            written: false,
            created: false,
            seq: 0,
        });
    }
    let written = guard.write(&real, &wish.data, &expect).map_err(refusal)?;
    Ok(FileWrote {
        etag: etag(&written.stamp),
        path,
        written: true,
        created,
        seq: 0,
    })
}

/// A stamp as one word.
fn etag(stamp: &Stamp) -> String {
    let hash = stamp.sha256.map_or_else(String::new, |hash| {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    });
    format!(
        "{:x}.{:x}.{:x}.{:x}.{hash}",
        stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.ino
    )
}

fn stamp_of(text: &str) -> Option<Stamp> {
    let mut parts = text.split('.');
    let mut number = || u128::from_str_radix(parts.next()?, 16).ok();
    let (size, mtime, ctime, ino) = (number()?, number()?, number()?, number()?);
    let sha256 = match parts.next()? {
        "" => None,
        hex if hex.len() == 64 && hex.is_ascii() => {
            let mut hash = [0; 32];
            for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            }
            Some(hash)
        }
        _ => return None,
    };
    Some(Stamp {
        size: size.try_into().ok()?,
        mtime_ns: mtime.cast_signed(),
        ctime_ns: ctime.cast_signed(),
        ino: ino.try_into().ok()?,
        sha256,
    })
    .filter(|_| parts.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workspace::Layout;

    fn place() -> (tempfile::TempDir, Guard, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        let guard = Guard::open(dir.path()).unwrap();
        let workspace = Workspace {
            root: dir.path().to_owned(),
            start_dir: "".into(),
            layout: Layout::Root,
            layout_reason: String::new(),
        };
        (dir, guard, workspace)
    }

    fn wish(path: &str, data: &'static [u8], expected: Option<&str>) -> FileWish {
        FileWish {
            path: path.as_bytes().to_vec(),
            data: Bytes::from_static(data),
            expected: expected.map(str::to_owned),
            allow_protected: false,
        }
    }

    #[test]
    fn an_etag_is_a_stamp_and_back() {
        for sha256 in [None, Some([0xa5; 32])] {
            let stamp = Stamp {
                size: 7,
                mtime_ns: -3,
                ctime_ns: 1 << 70,
                ino: 9,
                sha256,
            };
            assert_eq!(stamp_of(&etag(&stamp)), Some(stamp));
        }
        for bad in ["", "x", "1.2.3.4", "1.2.3.4.zz", "1.2.3.4..5", "1.2.3.4.é"] {
            assert_eq!(stamp_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_write_replaces_only_what_its_writer_believed() {
        let (dir, guard, workspace) = place();
        let first = write(&guard, &workspace, &wish("/a/b", b"\0one\xff", Some(""))).unwrap();
        assert!(first.created && first.written && first.path == b"/a/b");
        assert_eq!(std::fs::read(dir.path().join("a/b")).unwrap(), b"\0one\xff");
        // A repeat is a success without a write, whatever was believed.
        let again = write(&guard, &workspace, &wish("a/b", b"\0one\xff", Some(""))).unwrap();
        assert!(!again.written && again.etag.split('.').next() == Some("5"));
        let refused = |wish: &FileWish| write(&guard, &workspace, wish).unwrap_err().reason();
        assert_eq!(refused(&wish("a/b", b"x", Some(""))), "FILE_CHANGED");
        write(&guard, &workspace, &wish("a/b", b"two", Some(&first.etag))).unwrap();
        assert_eq!(refused(&wish("a/b", b"three", Some(&first.etag))), "FILE_CHANGED");
        assert_eq!(
            refused(&wish("a/b", b"three", Some("nonsense"))),
            "INVALID_ARGUMENT"
        );
        write(&guard, &workspace, &wish("a/b", b"three", None)).unwrap();
        assert_eq!(std::fs::read(dir.path().join("a/b")).unwrap(), b"three");
    }

    #[test]
    fn what_leads_elsewhere_or_is_obeyed_is_refused() {
        let (dir, guard, workspace) = place();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RUSR).unwrap();
        let refused = |path: &str| {
            write(&guard, &workspace, &wish(path, b"x", None))
                .unwrap_err()
                .reason()
        };
        for path in ["../x", "out", "loop", "fifo", "out/x", "\0", ""] {
            assert_eq!(refused(path), "FILE_REFUSED", "{path:?}");
        }
        assert_eq!(refused(".git/hooks/post-commit"), "FILE_PROTECTED");
        assert_eq!(refused("AGENTS.md"), "FILE_PROTECTED");
        let meant = FileWish {
            allow_protected: true,
            ..wish("AGENTS.md", b"x", None)
        };
        assert!(write(&guard, &workspace, &meant).unwrap().created);
    }
}
