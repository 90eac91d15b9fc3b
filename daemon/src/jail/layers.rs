//! Owns: what a Jail's package caches begin with: what the person has downloaded already.
//! Guarantees: nothing of the person's is changed or made writable; what the Jail has itself stays; bounded; no link that
//! the Jail made is followed, so nothing is ever put anywhere but into its caches.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::toolchains::{Cache, Layer};

/// Files taken at most: a cache with more is one that grew for years.
const MOST: usize = 20_000;
/// An entry of an index is a few lines; a longer file is none.
const LONGEST_ENTRY: u64 = 256 * 1024;
/// Says when that was done last.
const MARK: &str = ".agentd-layer";

/// How a part is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// By links into the read-only mount.
    Linked,
    /// As copies: the package manager goes on writing into these files.
    Copied,
}

/// A part of a cache: of the person, in the Jail, how it is taken, and how deep one must look to see that it has grown.
type Part = (&'static str, &'static str, How, u32);

fn parts(cache: Cache) -> (&'static str, &'static [Part]) {
    match cache {
        Cache::Cargo => (
            "cargo",
            &[
                ("cache", "registry/cache", How::Linked, 1),
                ("index", "registry/index", How::Linked, 1),
            ],
        ),
        Cache::Npm => (
            "npm",
            &[
                // Every download passes through it.
                ("tmp", "", How::Linked, 0),
                ("content-v2", "_cacache/content-v2", How::Linked, 1),
                ("index-v5", "_cacache/index-v5", How::Copied, 1),
            ],
        ),
        Cache::Pip => (
            "pip",
            &[
                ("http", "http", How::Linked, 3),
                ("http-v2", "http-v2", How::Linked, 3),
                ("wheels", "wheels", How::Linked, 3),
            ],
        ),
    }
}

/// Puts what the person has into the Jail's own cache, where it has changed since.
pub(super) fn fill(layer: &Layer, caches: &Path) -> io::Result<()> {
    let (name, parts) = parts(layer.cache);
    let caches = open_dir(CWD, caches.as_os_str())?;
    let home = make_dir(caches.as_fd(), OsStr::new(name))?;
    let newest = parts
        .iter()
        .filter_map(|(from, _, _, depth)| newest(&layer.at.join(from), *depth))
        .max();
    let filled = rustix::fs::statat(&home, MARK, AtFlags::SYMLINK_NOFOLLOW).ok();
    let filled = filled.and_then(|stat| {
        let since = std::time::Duration::new(
            u64::try_from(stat.st_mtime).ok()?,
            u32::try_from(stat.st_mtime_nsec).ok()?,
        );
        SystemTime::UNIX_EPOCH.checked_add(since)
    });
    if filled.is_some() && filled >= newest {
        return Ok(());
    }
    let mut left = MOST;
    for (from, to, how, _) in parts.iter().filter(|(_, to, _, _)| !to.is_empty()) {
        let from = layer.at.join(from);
        if !from.is_dir() {
            continue;
        }
        let mut dir = home.try_clone()?;
        for part in Path::new(to) {
            dir = make_dir(dir.as_fd(), part)?;
        }
        mirror(&from, dir.as_fd(), *how, &mut left)?;
    }
    let _before = rustix::fs::unlinkat(&home, MARK, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&home, MARK, flags, Mode::from_raw_mode(0o600))?;
    Ok(())
}

/// When something in a directory, so deep, was changed last.
fn newest(dir: &Path, depth: u32) -> Option<SystemTime> {
    let own = std::fs::metadata(dir).ok()?.modified().ok();
    if depth == 0 {
        return own;
    }
    let below = std::fs::read_dir(dir).ok()?.flatten();
    let below = below.filter_map(|entry| match entry.file_type().ok()?.is_dir() {
        true => newest(&entry.path(), depth.saturating_sub(1)),
        false => entry.metadata().ok()?.modified().ok(),
    });
    below.max().max(own)
}

fn open_dir(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// A directory in one we hold; a link in its place is an error.
fn make_dir(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => open_dir(at, name),
        Err(errno) => Err(errno.into()),
    }
}

/// Directories are made, files are taken; what is there already stays, unless it is a link to elsewhere.
fn mirror(from: &Path, to: BorrowedFd<'_>, how: How, left: &mut usize) -> io::Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if *left == 0 {
            return Ok(());
        }
        let (source, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            match make_dir(to, &name) {
                Ok(below) => mirror(&source, below.as_fd(), how, left)?,
                // The Jail's own file or link of that name.
                Err(error) if is_own(&error) => {}
                Err(error) => return Err(error),
            }
        } else if kind.is_file() {
            *left = left.saturating_sub(1);
            let taken = match how {
                How::Linked => link(&source, to, &name),
                How::Copied => copy(&source, to, &name),
            };
            match taken {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_own(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NOTDIR))
}

fn link(source: &Path, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::symlinkat(source, to, name) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    // A link of before, to where the person's cache was then. Where it leads is not looked at.
    let leads = rustix::fs::readlinkat(to, name, Vec::new());
    if leads.is_ok_and(|leads| leads.to_bytes() != source.as_os_str().as_encoded_bytes()) {
        rustix::fs::unlinkat(to, name, AtFlags::empty())?;
        rustix::fs::symlinkat(source, to, name)?;
    }
    Ok(())
}

fn copy(source: &Path, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut text = Vec::new();
    let file = std::fs::File::open(source)?;
    file.take(LONGEST_ENTRY + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST_ENTRY {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    std::fs::File::from(made).write_all(&text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn layer(cache: Cache, at: &Path) -> Layer {
        Layer {
            cache,
            at: at.to_owned(),
        }
    }

    #[test]
    fn a_cache_begins_with_links_and_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (registry, cache) = (dir.path().join("registry"), dir.path().join("cache"));
        std::fs::create_dir_all(registry.join("cache/i")).unwrap();
        std::fs::write(registry.join("cache/i/a.crate"), "a").unwrap();
        std::fs::write(registry.join("cache/i/b.crate"), "b").unwrap();
        let own = cache.join("cargo/registry/cache/i");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("a.crate"), "own").unwrap();
        symlink("/nowhere", own.join("b.crate")).unwrap();
        let cargo = layer(Cache::Cargo, &registry);
        fill(&cargo, &cache).unwrap();
        assert_eq!(std::fs::read(own.join("a.crate")).unwrap(), b"own");
        assert_eq!(std::fs::read(own.join("b.crate")).unwrap(), b"b");
        // Nothing new: nothing is looked through.
        std::fs::remove_file(own.join("b.crate")).unwrap();
        fill(&cargo, &cache).unwrap();
        assert!(!own.join("b.crate").exists());
    }

    #[test]
    fn what_is_written_on_is_a_copy_and_what_is_new_follows() {
        let dir = tempfile::tempdir().unwrap();
        let (npm, cache) = (dir.path().join("npm"), dir.path().join("cache"));
        for sub in ["content-v2/sha512/aa", "index-v5/bb", "tmp"] {
            std::fs::create_dir_all(npm.join(sub)).unwrap();
        }
        std::fs::create_dir(&cache).unwrap();
        std::fs::write(npm.join("content-v2/sha512/aa/x"), "content").unwrap();
        std::fs::write(npm.join("index-v5/bb/y"), "entry").unwrap();
        let npm_layer = layer(Cache::Npm, &npm);
        fill(&npm_layer, &cache).unwrap();
        let at = |name: &str| cache.join("npm/_cacache").join(name);
        assert!(at("content-v2/sha512/aa/x").is_symlink() && !at("index-v5/bb/y").is_symlink());
        assert_eq!(std::fs::read(at("index-v5/bb/y")).unwrap(), b"entry");
        std::fs::write(at("index-v5/bb/y"), "mine").unwrap();
        std::fs::write(npm.join("content-v2/sha512/aa/z"), "later").unwrap();
        let tmp = std::fs::File::open(npm.join("tmp")).unwrap();
        let soon = SystemTime::now() + std::time::Duration::from_secs(5);
        tmp.set_modified(soon).unwrap();
        fill(&npm_layer, &cache).unwrap();
        assert_eq!(std::fs::read(at("content-v2/sha512/aa/z")).unwrap(), b"later");
        assert_eq!(std::fs::read(at("index-v5/bb/y")).unwrap(), b"mine");
        assert_eq!(std::fs::read(npm.join("index-v5/bb/y")).unwrap(), b"entry");
    }

    #[test]
    fn a_link_that_a_jail_left_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("pip/http-v2/a")).unwrap();
        std::fs::write(at("pip/http-v2/a/x"), "x").unwrap();
        std::fs::create_dir_all(at("cache/pip/http-v2")).unwrap();
        std::fs::create_dir(at("prey")).unwrap();
        symlink(at("prey"), at("cache/pip/http-v2/a")).unwrap();
        let pip = layer(Cache::Pip, &at("pip"));
        fill(&pip, &at("cache")).unwrap();
        for planted in ["cache/pip/http-v2", "cache/pip"] {
            // As if the person's had grown meanwhile.
            let _first_time = std::fs::remove_file(at("cache/pip").join(MARK));
            std::fs::remove_dir_all(at(planted)).unwrap();
            std::fs::create_dir_all(at("cache")).unwrap();
            symlink(at("prey"), at(planted)).unwrap();
            assert!(fill(&pip, &at("cache")).is_err(), "{planted}");
            std::fs::remove_file(at(planted)).unwrap();
            std::fs::create_dir_all(at(planted)).unwrap();
        }
        assert_eq!(std::fs::read_dir(at("prey")).unwrap().count(), 0);
    }
}
