//! Owns: changing files of a Workspace: write, remove, rename.
//! Guarantees: a reader sees the old file or the new one, never a part; the parent directory is held while the file
//! is replaced and no symbolic link is followed on the way, so a swap cannot redirect the write; set-id bits are never
//! set; a file with several names gets a new one of its own, the others keep the old content.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::guard::{Expect, Guard, GuardError, Kind, Stamp, normal};
use crate::durable::Point;

/// Random names that all exist already mean something else is wrong.
const NAME_ATTEMPTS: u32 = 16;

/// What shall stand in a file's place.
#[derive(Clone, Copy)]
struct Replacement<'a> {
    bytes: &'a [u8],
    old: Option<&'a Stat>,
    expect: &'a Expect,
    new_mode: Option<u32>,
}

/// What a write left behind.
#[derive(Debug, Clone)]
pub struct Written {
    /// The new file as it was just after it got its name.
    pub stamp: Stamp,
    /// Directories made on the way, outermost first.
    pub made_dirs: Vec<PathBuf>,
    /// The file had other names (hard links), which keep the old content.
    pub broke_link: bool,
}

impl Guard {
    /// Replaces or creates the file `rel`. The path must be real (see [`Guard::real`]): a link in it is refused.
    /// Missing parent directories are made. Permission bits of an existing file are kept, set-id bits dropped.
    pub fn write(&self, rel: &Path, bytes: &[u8], expect: &Expect) -> Result<Written, GuardError> {
        self.write_as(rel, bytes, expect, None)
    }

    /// Like [`Guard::write`]; a file that is new gets the permission bits `new_mode` (moved and restored files keep
    /// their own).
    pub fn write_as(
        &self,
        rel: &Path,
        bytes: &[u8],
        expect: &Expect,
        new_mode: Option<u32>,
    ) -> Result<Written, GuardError> {
        self.require_writable(rel)?;
        if let Some((one, inner)) = self.elsewhere(rel) {
            let written = one.guard.write_as(inner, bytes, expect, new_mode);
            let mut written = written.map_err(|error| one.error(error))?;
            for dir in &mut written.made_dirs {
                *dir = one.outer(dir);
            }
            return Ok(written);
        }
        let rel = normal(rel)?;
        let name = rel
            .file_name()
            .ok_or_else(|| GuardError::NotAFile(rel.clone(), Kind::Directory))?;
        let mut made_dirs = Vec::new();
        let result = self.held_parent(&rel, &mut made_dirs).and_then(|parent| {
            let old = self.current(&parent, &rel, name)?;
            self.check(&rel, old.as_ref(), expect)?;
            let replacement = Replacement {
                bytes,
                old: old.as_ref(),
                expect,
                new_mode,
            };
            self.place(&parent, &rel, name, &replacement)
        });
        match result {
            Ok((stamp, broke_link)) => Ok(Written {
                stamp,
                made_dirs,
                broke_link,
            }),
            Err(error) => {
                self.remove_dirs(&made_dirs);
                Err(error)
            }
        }
    }

    /// Removes the regular file `rel`.
    pub fn remove(&self, rel: &Path, expect: &Expect) -> Result<(), GuardError> {
        self.require_writable(rel)?;
        if let Some((one, inner)) = self.elsewhere(rel) {
            return one.guard.remove(inner, expect).map_err(|error| one.error(error));
        }
        let rel = normal(rel)?;
        let name = rel
            .file_name()
            .ok_or_else(|| GuardError::NotAFile(rel.clone(), Kind::Directory))?;
        let parent = self.directory(rel.parent().unwrap_or(Path::new("")), ResolveFlags::NO_SYMLINKS)?;
        let old = self.current(&parent, &rel, name)?;
        if old.is_none() {
            return Err(GuardError::NotFound(rel));
        }
        self.check(&rel, old.as_ref(), expect)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())
            .map_err(|errno| GuardError::from_errno(&rel, errno))?;
        sync_dir(&parent);
        Ok(())
    }

    /// Removes the temporary files a killed daemon left in the directory `rel`; returns how many. Only for a moment
    /// when nobody writes there.
    pub fn remove_leftovers(&self, rel: &Path) -> Result<usize, GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            return one
                .guard
                .remove_leftovers(inner)
                .map_err(|error| one.error(error));
        }
        let rel = normal(rel)?;
        let directory = self.directory(&rel, ResolveFlags::NO_SYMLINKS)?;
        let listing = self.list_with(&rel, usize::MAX, ResolveFlags::NO_SYMLINKS, false)?;
        let mut removed = 0;
        for entry in listing.entries {
            if entry.kind == Kind::File && is_temp(&entry.name) {
                removed +=
                    usize::from(rustix::fs::unlinkat(&directory, &entry.name, AtFlags::empty()).is_ok());
            }
        }
        Ok(removed)
    }

    /// Removes directories that a write made, if they are empty. Never anything else.
    pub fn remove_dirs(&self, made: &[PathBuf]) {
        for dir in made.iter().rev() {
            if let Some((one, inner)) = self.elsewhere(dir) {
                one.guard.remove_dirs(&[inner.to_path_buf()]);
                continue;
            }
            let Some(name) = dir.file_name() else { continue };
            let parent = self.directory(dir.parent().unwrap_or(Path::new("")), ResolveFlags::NO_SYMLINKS);
            if let Ok(parent) = parent {
                // Not empty, or gone: then it is no longer ours.
                let _ = rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR);
            }
        }
    }

    /// A handle on the directory `rel` lies in, made if need be, component by component beneath handles we hold.
    fn held_parent(&self, rel: &Path, made: &mut Vec<PathBuf>) -> Result<OwnedFd, GuardError> {
        let parent = rel.parent().unwrap_or(Path::new(""));
        match self.directory(parent, ResolveFlags::NO_SYMLINKS) {
            Err(GuardError::NotFound(_)) => {}
            // The caller resolved all links; one that is there now was put there since.
            Err(GuardError::Loop(path)) => return Err(GuardError::Moved(path)),
            other => return other,
        }
        let mut handle = self.directory(Path::new(""), ResolveFlags::NO_SYMLINKS)?;
        let mut walked = PathBuf::new();
        for part in parent.iter() {
            walked.push(part);
            let fault = |errno| match errno {
                Errno::LOOP => GuardError::Moved(walked.clone()),
                other => GuardError::from_errno(&walked, other),
            };
            match rustix::fs::mkdirat(&handle, part, Mode::from_raw_mode(0o777)) {
                Ok(()) => made.push(walked.clone()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(fault(errno)),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            handle = rustix::fs::openat(&handle, part, flags, Mode::empty()).map_err(fault)?;
            if made.last() == Some(&walked)
                && let Some(mask) = self.umask
            {
                rustix::fs::fchmod(&handle, Mode::from_raw_mode(0o777 & !mask)).map_err(fault)?;
            }
        }
        Ok(handle)
    }

    fn current(&self, parent: &OwnedFd, rel: &Path, name: &OsStr) -> Result<Option<Stat>, GuardError> {
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match Kind::of(&stat) {
                Kind::File => Ok(Some(stat)),
                Kind::Symlink => Err(GuardError::Moved(rel.to_path_buf())),
                kind => Err(GuardError::NotAFile(rel.to_path_buf(), kind)),
            },
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(GuardError::from_errno(rel, errno)),
        }
    }

    fn check(&self, rel: &Path, old: Option<&Stat>, expect: &Expect) -> Result<(), GuardError> {
        match (expect, old) {
            (Expect::Any, _) | (Expect::Absent, None) => Ok(()),
            (Expect::Absent, Some(_)) => Err(GuardError::Exists(rel.to_path_buf())),
            (Expect::Stamp(_), None) => Err(GuardError::Stale(rel.to_path_buf())),
            (Expect::Stamp(stamp), Some(stat)) => {
                let now = Stamp::of(stat, None);
                if stamp.same_metadata(&now) {
                    return Ok(());
                }
                // A touch, a chmod or a checkout of the same text moves the times only.
                let same = stamp.sha256.is_some()
                    && now.size == stamp.size
                    && self
                        .read(rel, stamp.size.saturating_add(1))?
                        .stamp
                        .same_content(stamp);
                if same {
                    Ok(())
                } else {
                    Err(GuardError::Stale(rel.to_path_buf()))
                }
            }
        }
    }

    fn place(
        &self,
        parent: &OwnedFd,
        rel: &Path,
        name: &OsStr,
        replacement: &Replacement<'_>,
    ) -> Result<(Stamp, bool), GuardError> {
        let Replacement {
            bytes,
            old,
            expect,
            new_mode,
        } = *replacement;
        let fault = |errno| GuardError::from_errno(rel, errno);
        let mode = old.map(|stat| stat.st_mode & 0o777);
        // Renaming over it would work even so; but someone took the right to write away, and that means something.
        if let Some(mode) = mode.filter(|mode| mode & 0o222 == 0) {
            return Err(GuardError::ReadOnly(rel.to_path_buf(), mode));
        }
        // What replaces a private file must not be readable for a moment; a new file gets what the umask leaves.
        let left = self.umask.map(|mask| 0o666 & !mask);
        let mode = mode.or(new_mode.map(|mode| mode & 0o777)).or(left);
        let first_mode = if mode.is_some() { 0o600 } else { 0o666 };
        let (temp_name, temp) = create_temp(parent, first_mode).map_err(fault)?;
        let mut file = File::from(temp);
        let placed = (|| {
            file.write_all(bytes)
                .map_err(|error| GuardError::Io(rel.to_path_buf(), error))?;
            if let Some(stat) = old {
                keep_owner(&file, stat);
            }
            if let Some(mode) = mode {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(fault)?;
            }
            Point::FileSync
                .through(|| rustix::fs::fsync(&file))
                .map_err(fault)?;
            if matches!(expect, Expect::Stamp(_)) {
                // Once more, as late as can be: fsync may have taken a while.
                let now = self.current(parent, rel, name)?;
                self.check(rel, now.as_ref(), expect)?;
            }
            // Before it has its name: what anybody writes into it from then on is a change.
            let made = rustix::fs::fstat(&file).map_err(fault)?;
            let flags = match expect {
                Expect::Absent => RenameFlags::NOREPLACE,
                Expect::Stamp(_) | Expect::Any => RenameFlags::empty(),
            };
            Point::FileRename
                .through(|| rustix::fs::renameat_with(parent, &temp_name, parent, name, flags))
                .map_err(fault)?;
            Ok(named(&file, made))
        })();
        let made = match placed {
            Ok(made) => made,
            Err(error) => {
                let _ = rustix::fs::unlinkat(parent, &temp_name, AtFlags::empty());
                return Err(error);
            }
        };
        sync_dir(parent);
        let broke_link = old.is_some_and(|stat| stat.st_nlink > 1);
        Ok((Stamp::of(&made, Some(Sha256::digest(bytes).into())), broke_link))
    }
}

/// What a file is once it has its name. On many file systems getting it moves the time of change, and nothing else; where
/// anything else moved, somebody wrote into it, and what it was before stands, so that the next look reads it.
fn named(file: &File, made: Stat) -> Stat {
    match rustix::fs::fstat(file) {
        Ok(now)
            if (now.st_size, now.st_mtime, now.st_mtime_nsec)
                == (made.st_size, made.st_mtime, made.st_mtime_nsec) =>
        {
            now
        }
        _ => made,
    }
}

/// A temporary name is recognised by these ends and sixteen hexadecimal digits between them.
const TEMP_START: &str = ".agentd-";
const TEMP_END: &str = ".tmp";

fn is_temp(name: &OsStr) -> bool {
    let middle = name
        .to_str()
        .and_then(|name| name.strip_prefix(TEMP_START)?.strip_suffix(TEMP_END));
    middle.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn create_temp(parent: &OwnedFd, mode: u32) -> Result<(String, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut attempt = 0;
    loop {
        let name = format!("{TEMP_START}{:016x}{TEMP_END}", fastrand::u64(..));
        match rustix::fs::openat(parent, &name, flags, Mode::from_raw_mode(mode)) {
            Ok(handle) => return Ok((name, handle)),
            Err(Errno::EXIST) if attempt < NAME_ATTEMPTS => attempt += 1,
            Err(errno) => return Err(errno),
        }
    }
}

/// A daemon run by root edits other people's files; they stay theirs. Where that is not allowed they were ours anyway.
fn keep_owner(file: &File, old: &Stat) {
    let Ok(new) = rustix::fs::fstat(file) else { return };
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
        let _ = rustix::fs::fchown(
            file,
            Some(Uid::from_raw(old.st_uid)),
            Some(Gid::from_raw(old.st_gid)),
        );
    }
}

/// Some file systems cannot sync a directory; the file's own data is synced already.
fn sync_dir(parent: &OwnedFd) {
    let _ = Point::FileDirSync.through(|| rustix::fs::fsync(parent));
}
