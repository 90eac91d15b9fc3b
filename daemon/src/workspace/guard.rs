//! Owns: opening and reading files of a Workspace.
//! Guarantees: the kernel resolves every path beneath the Workspace's own directory handle (openat2), so neither `..`,
//! an absolute path, a symbolic link, a magic link nor a swap in mid-flight can lead outside; only regular files are
//! read, a FIFO, socket or device is refused without touching it; nothing is ever mapped into memory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::added::Added;
use crate::domain::secret_files::SecretFiles;

/// How often the kernel may answer "a rename was under way, look again" before we give up.
const RESOLVE_ATTEMPTS: u32 = 64;
/// As many links as the kernel itself follows.
const MAX_LINKS: u32 = 40;
/// A file that changes under every one of so many reads is being written right now.
const READ_ATTEMPTS: u32 = 3;

/// The handle through which the daemon touches the files of one Workspace.
#[derive(Debug)]
pub struct Guard {
    pub(super) root: OwnedFd,
    /// Of what is made new; `None`: what this process has.
    pub(super) umask: Option<u32>,
    /// Files that are not read.
    secret: SecretFiles,
    /// Directories beside it, by their absolute paths.
    pub(super) added: Vec<Added>,
    /// Those of them that could not be taken hold of.
    pub(super) lost: Vec<std::path::PathBuf>,
}

/// What a file was when it was looked at: the basis of every stale-file check.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Length in bytes.
    pub size: u64,
    /// Time of the last content change, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Time of the last change of content or metadata.
    pub ctime_ns: i128,
    /// Which file it is.
    pub ino: u64,
    /// Hash of the content; `None` when it was too large to be read whole.
    pub sha256: Option<[u8; 32]>,
}

impl Stamp {
    pub(super) fn of(stat: &Stat, sha256: Option<[u8; 32]>) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
            ino: stat.st_ino,
            sha256,
        }
    }

    /// What an open file is at this moment, unread.
    pub fn of_open(file: &File) -> std::io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?, None))
    }

    /// True when both stand for the same content. Hashes decide where both have one, since a clock tick can hide a
    /// change and a `touch`, a new hard link or a checkout of the same text is no change.
    pub fn same_content(&self, other: &Self) -> bool {
        match (&self.sha256, &other.sha256) {
            (Some(one), Some(two)) => one == two,
            _ => self.same_metadata(other),
        }
    }

    /// True when size, times and inode agree.
    pub fn same_metadata(&self, other: &Self) -> bool {
        (self.size, self.mtime_ns, self.ctime_ns, self.ino)
            == (other.size, other.mtime_ns, other.ctime_ns, other.ino)
    }
}

fn nanos(seconds: impl Into<i128>, nanos: impl TryInto<i128>) -> i128 {
    seconds
        .into()
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos.try_into().unwrap_or(0))
}

/// A file's bytes and what it was when they were read.
#[derive(Debug, Clone)]
pub struct FileContent {
    /// Its first bytes, as many as were asked for.
    pub bytes: Vec<u8>,
    /// The file as it was. Hashed when `bytes` is all of it.
    pub stamp: Stamp,
    /// Permission bits.
    pub mode: u32,
    /// Its whole length; larger than `bytes.len()` when it was cut.
    pub total_bytes: u64,
}

impl FileContent {
    /// True when `bytes` is the whole file.
    pub fn is_whole(&self) -> bool {
        self.stamp.sha256.is_some()
    }
}

/// What a writer believes about the file it is about to replace.
#[derive(Debug, Clone)]
pub enum Expect {
    /// There is none; finding one is an error.
    Absent,
    /// It is still the one that was seen.
    Stamp(Stamp),
    /// Whatever is there is replaced.
    Any,
}

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// Something this program does not know.
    Unknown,
}

impl Kind {
    pub(super) fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::BlockDevice | FileType::CharacterDevice => Self::Device,
            FileType::Unknown => Self::Unknown,
        }
    }

    pub(super) fn of(stat: &Stat) -> Self {
        Self::from(FileType::from_raw_mode(stat.st_mode))
    }

    /// The kind in words, with its article.
    pub fn words(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a FIFO (named pipe)",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Unknown => "of an unknown kind",
        }
    }
}

/// Why a file was not touched. Paths are relative to the Workspace.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The path, or a link in it, leads out of the Workspace.
    #[error("{} leads outside the workspace", .0.display())]
    Outside(PathBuf),
    /// Nothing has that name.
    #[error("{} does not exist", .0.display())]
    NotFound(PathBuf),
    /// Something other than a regular file.
    #[error("{} is {}, not a regular file", .0.display(), .1.words())]
    NotAFile(PathBuf, Kind),
    /// A file stands where a directory is needed.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Links that lead in a circle.
    #[error("{} has too many symbolic links (a loop?)", .0.display())]
    Loop(PathBuf),
    /// A link that points at nothing.
    #[error("{} is a symbolic link to something that does not exist", .0.display())]
    Dangling(PathBuf),
    /// A name no file can have.
    #[error("{} is not a usable file name: {}", .0.display(), .1)]
    BadName(PathBuf, &'static str),
    /// The file is not what the writer believed.
    #[error("{} changed since it was last read", .0.display())]
    Stale(PathBuf),
    /// A file is there that should not be.
    #[error("{} already exists", .0.display())]
    Exists(PathBuf),
    /// The owner took away the right to write.
    #[error("{} is read-only (mode {:04o})", .0.display(), .1)]
    ReadOnly(PathBuf, u32),
    /// A part of the path became a symbolic link after it had been resolved.
    #[error("{} changed while it was being opened", .0.display())]
    Moved(PathBuf),
    /// What is in it is nobody's business in there.
    #[error("{} holds secrets", .0.display())]
    Secret(PathBuf),
    /// In a directory that was added to be read.
    #[error("{} is in a directory that was added read-only (--add-dir PATH:rw adds it writable)", .0.display())]
    AddedReadOnly(PathBuf),
    /// The kernel said no.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, std::io::Error),
}

impl GuardError {
    /// The same about another path.
    pub(super) fn map_path(self, to: impl FnOnce(PathBuf) -> PathBuf) -> Self {
        match self {
            Self::Outside(path) => Self::Outside(to(path)),
            Self::NotFound(path) => Self::NotFound(to(path)),
            Self::NotAFile(path, kind) => Self::NotAFile(to(path), kind),
            Self::NotADirectory(path) => Self::NotADirectory(to(path)),
            Self::Loop(path) => Self::Loop(to(path)),
            Self::Dangling(path) => Self::Dangling(to(path)),
            Self::BadName(path, why) => Self::BadName(to(path), why),
            Self::Stale(path) => Self::Stale(to(path)),
            Self::Exists(path) => Self::Exists(to(path)),
            Self::ReadOnly(path, mode) => Self::ReadOnly(to(path), mode),
            Self::Moved(path) => Self::Moved(to(path)),
            Self::Secret(path) => Self::Secret(to(path)),
            Self::AddedReadOnly(path) => Self::AddedReadOnly(to(path)),
            Self::Io(path, error) => Self::Io(to(path), error),
        }
    }

    pub(super) fn from_errno(path: &Path, errno: Errno) -> Self {
        let path = path.to_path_buf();
        match errno {
            Errno::NOENT => Self::NotFound(path),
            Errno::XDEV => Self::Outside(path),
            Errno::LOOP => Self::Loop(path),
            Errno::NOTDIR => Self::NotADirectory(path),
            Errno::EXIST => Self::Exists(path),
            Errno::NAMETOOLONG => Self::BadName(path, "too long"),
            // Opening a socket, or a device without a driver.
            Errno::NXIO => Self::NotAFile(path, Kind::Unknown),
            Errno::AGAIN => Self::Moved(path),
            Errno::NOSYS => {
                let reason = "this kernel lacks openat2; Linux 5.6 or newer is needed";
                Self::Io(path, std::io::Error::new(std::io::ErrorKind::Unsupported, reason))
            }
            other => Self::Io(path, other.into()),
        }
    }
}

impl Guard {
    /// Takes hold of the directory `root`. The handle follows the directory itself, whatever its name becomes.
    pub fn open(root: &Path) -> Result<Self, GuardError> {
        Self::open_with(root, ResolveFlags::empty())
    }

    /// The same where no part of the path is a link: what somebody put there since it was named is not meant.
    pub(super) fn open_itself(root: &Path) -> Result<Self, GuardError> {
        Self::open_with(root, ResolveFlags::NO_SYMLINKS)
    }

    fn open_with(root: &Path, resolve: ResolveFlags) -> Result<Self, GuardError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat2(rustix::fs::CWD, root, flags, Mode::empty(), resolve)
            .map_err(|errno| GuardError::from_errno(root, errno))?;
        let guard = Self {
            root,
            umask: None,
            secret: SecretFiles::default(),
            added: Vec::new(),
            lost: Vec::new(),
        };
        // Say now, not at the first tool call, that the kernel (before 5.6) or a filter lacks openat2.
        guard.open_beneath(Path::new("."), OFlags::PATH, ResolveFlags::empty())?;
        Ok(guard)
    }

    /// New files and directories get the modes that this mask leaves: the person's, where this process has its own.
    #[must_use]
    pub fn with_umask(mut self, umask: Option<u32>) -> Self {
        self.umask = umask;
        for one in &mut self.added {
            one.guard.umask = umask;
        }
        self
    }

    /// Files of these names are not read.
    #[must_use]
    pub fn without(mut self, secret: SecretFiles) -> Self {
        for one in &mut self.added {
            one.guard.secret = secret.clone();
        }
        self.secret = secret;
        self
    }

    /// Reads at most `max` bytes of a regular file. Links that stay beneath the Workspace are followed.
    pub fn read(&self, rel: &Path, max: u64) -> Result<FileContent, GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            return one.guard.read(inner, max).map_err(|error| one.error(error));
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (mut file, before) = self.open_regular(rel)?;
            let size = u64::try_from(before.st_size).unwrap_or(0);
            // Reserve by what the file says, but never trust it beyond a first megabyte: it may be sparse.
            let mut bytes = Vec::with_capacity(usize::try_from(size.min(max).min(1 << 20)).unwrap_or(0));
            (&mut file)
                .take(max)
                .read_to_end(&mut bytes)
                .map_err(|error| GuardError::Io(rel.to_path_buf(), error))?;
            let after = rustix::fs::fstat(&file).map_err(|errno| GuardError::from_errno(rel, errno))?;
            let settled = Stamp::of(&before, None).same_metadata(&Stamp::of(&after, None));
            if !settled && attempt < READ_ATTEMPTS {
                continue;
            }
            let read = bytes.len() as u64;
            let whole = settled && read == size;
            let hash = whole.then(|| Sha256::digest(&bytes).into());
            return Ok(FileContent {
                stamp: Stamp::of(&after, hash),
                mode: after.st_mode & 0o7777,
                total_bytes: size.max(read),
                bytes,
            });
        }
    }

    /// Opens a regular file for reading, for those who stream it.
    pub fn open_file(&self, rel: &Path) -> Result<(File, u64), GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            return one.guard.open_file(inner).map_err(|error| one.error(error));
        }
        let (file, stat) = self.open_regular(rel)?;
        Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// The same with what the file is: for those who check at the end that it is still that.
    pub fn open_stamped(&self, rel: &Path) -> Result<(File, Stamp, u32), GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            return one.guard.open_stamped(inner).map_err(|error| one.error(error));
        }
        let (file, stat) = self.open_regular(rel)?;
        Ok((file, Stamp::of(&stat, None), stat.st_mode & 0o7777))
    }

    /// The regular file `rel` as it is now, unread.
    pub fn stamp(&self, rel: &Path) -> Result<Stamp, GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            return one.guard.stamp(inner).map_err(|error| one.error(error));
        }
        let handle = self.open_beneath(rel, OFlags::PATH, ResolveFlags::empty())?;
        let stat = rustix::fs::fstat(&handle).map_err(|errno| GuardError::from_errno(rel, errno))?;
        match Kind::of(&stat) {
            Kind::File => Ok(Stamp::of(&stat, None)),
            other => Err(GuardError::NotAFile(rel.to_path_buf(), other)),
        }
    }

    /// What stands at `rel` itself: a link is a link.
    pub fn kind(&self, rel: &Path) -> Result<Kind, GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            return one.guard.kind(inner).map_err(|error| one.error(error));
        }
        let rel = normal(rel)?;
        let Some(name) = rel.file_name() else {
            return Ok(Kind::Directory);
        };
        let parent = self.parent_handle(&rel)?;
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| GuardError::from_errno(&rel, errno))?;
        Ok(Kind::of(&stat))
    }

    /// The path of `rel` without symbolic links and dots: what the file is really called. The last parts need not
    /// exist yet. Writers use it, so that a rule about a path holds for every link to it.
    pub fn real(&self, rel: &Path) -> Result<PathBuf, GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            let real = one.guard.real(inner).map_err(|error| one.error(error))?;
            return Ok(one.outer(&real));
        }
        let wanted = normal(rel)?;
        let mut todo: Vec<OsString> = parts(&wanted);
        todo.reverse();
        let mut done = PathBuf::new();
        let mut links = 0;
        let mut missing = false;
        while let Some(part) = todo.pop() {
            if part == ".." {
                if !done.pop() {
                    return Err(GuardError::Outside(wanted));
                }
                continue;
            }
            done.push(&part);
            if missing {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let handle = match self.open_beneath(&done, flags, ResolveFlags::NO_SYMLINKS) {
                Ok(handle) => handle,
                Err(GuardError::NotFound(_)) => {
                    missing = true;
                    continue;
                }
                // All parts before the last were no links a moment ago.
                Err(GuardError::Loop(_)) => return Err(GuardError::Moved(wanted)),
                Err(error) => return Err(error),
            };
            let fault = |errno| GuardError::from_errno(&wanted, errno);
            match Kind::of(&rustix::fs::fstat(&handle).map_err(fault)?) {
                Kind::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(GuardError::Loop(wanted));
                    }
                    let target = rustix::fs::readlinkat(&handle, "", Vec::new()).map_err(fault)?;
                    let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                    if target.is_absolute() {
                        return Err(GuardError::Outside(wanted));
                    }
                    done.pop();
                    todo.extend(parts(target).into_iter().rev());
                }
                Kind::Directory => {}
                _ if todo.is_empty() => {}
                _ => return Err(GuardError::NotADirectory(done)),
            }
        }
        // Creating a file where a dangling link points would surprise whoever made the link.
        if missing && links > 0 && self.kind(&wanted).ok() == Some(Kind::Symlink) {
            return Err(GuardError::Dangling(wanted));
        }
        Ok(done)
    }

    fn open_regular(&self, rel: &Path) -> Result<(File, Stat), GuardError> {
        let rel = normal(rel)?;
        if self.secret.has(&rel) {
            return Err(GuardError::Secret(rel));
        }
        // First without opening it in earnest: opening a device can do things, a FIFO can wait.
        let probe = self.open_beneath(&rel, OFlags::PATH, ResolveFlags::empty())?;
        self.require_regular(&rel, &probe)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let handle = self.open_beneath(&rel, flags, ResolveFlags::empty())?;
        // And again on what was really opened, since the name may have changed hands in between.
        let stat = self.require_regular(&rel, &handle)?;
        Ok((File::from(handle), stat))
    }

    pub(super) fn require_regular(&self, rel: &Path, handle: &OwnedFd) -> Result<Stat, GuardError> {
        let stat = rustix::fs::fstat(handle).map_err(|errno| GuardError::from_errno(rel, errno))?;
        match Kind::of(&stat) {
            Kind::File => Ok(stat),
            kind => Err(GuardError::NotAFile(rel.to_path_buf(), kind)),
        }
    }

    fn parent_handle(&self, rel: &Path) -> Result<OwnedFd, GuardError> {
        self.directory(rel.parent().unwrap_or(Path::new("")), ResolveFlags::empty())
    }

    /// A handle on a directory that can be listed and synced.
    pub(super) fn directory(&self, rel: &Path, extra: ResolveFlags) -> Result<OwnedFd, GuardError> {
        let rel = if rel.as_os_str().is_empty() {
            Path::new(".")
        } else {
            rel
        };
        self.open_beneath(rel, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK, extra)
    }

    pub(super) fn open_beneath(
        &self,
        rel: &Path,
        flags: OFlags,
        extra: ResolveFlags,
    ) -> Result<OwnedFd, GuardError> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | extra;
        let path = if rel.as_os_str().is_empty() {
            Path::new(".")
        } else {
            rel
        };
        let mut attempt = 0;
        loop {
            let opened = rustix::fs::openat2(
                self.root.as_fd(),
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            );
            match opened {
                Ok(handle) => return Ok(handle),
                // A rename somewhere on the system made the kernel unsure; it asks us to try again.
                Err(Errno::AGAIN | Errno::INTR) if attempt < RESOLVE_ATTEMPTS => attempt += 1,
                Err(errno) => return Err(GuardError::from_errno(rel, errno)),
            }
        }
    }
}

/// `rel` without dots, or why it cannot name a file beneath the Workspace.
pub(super) fn normal(rel: &Path) -> Result<PathBuf, GuardError> {
    if rel.as_os_str().as_bytes().contains(&0) {
        let shown: String = rel.to_string_lossy().replace('\0', "\\0");
        return Err(GuardError::BadName(shown.into(), "it contains a NUL byte"));
    }
    let mut clean = PathBuf::new();
    for component in rel.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => clean.push(part),
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(GuardError::Outside(rel.to_path_buf()));
            }
        }
    }
    Ok(clean)
}

fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_os_string()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}
