//! Owns: the spool files of a run: where they are, and what they look like once the run is over.
//! Guarantees: up to the cap the file is the stream; past it, after [`finalise`], it is the first half and the last half, and
//! counts say exactly what lies between.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::domain::id::ExecId;
use crate::durable::Point;

/// The two files of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolPaths {
    /// Standard output, or a terminal's bytes.
    pub stdout: PathBuf,
    /// Standard error.
    pub stderr: PathBuf,
}

impl SpoolPaths {
    pub(crate) fn new(dir: &Path, exec: &ExecId) -> Self {
        Self {
            stdout: dir.join(format!("{exec}.out")),
            stderr: dir.join(format!("{exec}.err")),
        }
    }

    /// Creates both, empty.
    pub(crate) fn create(&self) -> io::Result<(File, File)> {
        Ok((create(&self.stdout)?, create(&self.stderr)?))
    }
}

pub(crate) fn create(path: &Path) -> io::Result<File> {
    if Point::SpoolHandOn
        .through(|| std::fs::rename(spare_of(path), path))
        .is_ok()
        && let Ok(file) = File::options().write(true).open(path)
        && file.metadata().is_ok_and(|meta| meta.len() == 0)
    {
        return Ok(file);
    }
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Takes away the file of a run that wrote nothing: the next run of the session gets it under its own name. Most commands
/// leave at least one such file, and a file system that makes and frees thousands of them slows down (ext4 looks through
/// all that were freed in the last seconds for each one it makes).
///
/// # Errors
/// When it could be neither kept for the next nor removed.
pub fn hand_on(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    let to = spare_of(path);
    Point::SpoolHandOn
        .through(|| rustix::fs::renameat_with(CWD, path, CWD, to, RenameFlags::NOREPLACE))
        .or_else(|_| std::fs::remove_file(path))
}

/// The empty file that waits for the next run: `spare.out`, `spare.err`.
fn spare_of(path: &Path) -> PathBuf {
    path.with_file_name("spare")
        .with_extension(path.extension().unwrap_or_default())
}

/// Where the kept halves meet, and how many bytes are missing there. None: the file is the whole stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Offset in the file.
    pub at: u64,
    /// Bytes not kept.
    pub dropped: u64,
}

/// The gap in a stream of `total` bytes whose cap was `cap`.
pub fn gap(total: u64, cap: u64) -> Option<Gap> {
    (total > cap).then(|| Gap {
        at: cap / 2,
        dropped: total - cap,
    })
}

/// How much of a stream its file can hold: the cap, or less where the disk was full.
pub(crate) fn kept(path: &Path, total: u64, cap: u64) -> u64 {
    let len = std::fs::metadata(path).map_or(0, |m| m.len());
    if len < total.min(cap) { len } else { cap }
}

/// Puts the ring of newest bytes in order, once: a sorted file is read-only. The file's length is the cap, once it was
/// reached. Not while anybody still writes.
pub(crate) fn finalise(path: &Path, total: u64) -> io::Result<()> {
    if total == 0 {
        return Ok(());
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    let cap = meta.len();
    if total <= cap || cap < 2 || meta.permissions().mode() & 0o200 == 0 {
        return Ok(());
    }
    let half = cap / 2;
    let ring = cap - half;
    let start = half + (total - half) % ring;
    // A new file and a rename: a crash in between leaves the old one whole.
    let temporary = sorting(path);
    let sorted = || -> io::Result<()> {
        let mut out = create(&temporary)?;
        for (from, to) in [(0, half), (start, cap), (half, start)] {
            copy(&file, from, to, &mut out)?;
        }
        out.set_permissions(std::fs::Permissions::from_mode(0o400))?;
        Point::SpoolRename.through(|| std::fs::rename(&temporary, path))
    };
    if sorted().is_err() {
        // No room for a second file: over itself, which needs none.
        let _never_made = std::fs::remove_file(&temporary);
        let mut tail = Vec::new();
        copy(&file, start, cap, &mut tail)?;
        copy(&file, half, start, &mut tail)?;
        let itself = File::options().write(true).open(path)?;
        itself.write_all_at(&tail, half)?;
        itself.set_permissions(std::fs::Permissions::from_mode(0o400))?;
    }
    Ok(())
}

/// Removes what [`finalise`] leaves when it is killed half-way.
pub fn remove_half_sorted(dir: &Path, exec: &ExecId) {
    let paths = SpoolPaths::new(dir, exec);
    for path in [paths.stdout, paths.stderr] {
        // Hardly ever there.
        let _absent = std::fs::remove_file(sorting(&path));
    }
}

/// Where a terminal's shell says its last state.
pub(super) fn state_file(dir: &Path, exec: &str) -> PathBuf {
    dir.join(format!("{exec}.state"))
}

/// Removes the last state of a terminal's shell.
pub fn remove_state(dir: &Path, exec: &ExecId) {
    // There for terminals alone.
    let _absent = std::fs::remove_file(state_file(dir, exec.as_str()));
}

/// Both streams are put in order at the same time: each needs a name of its own.
fn sorting(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sorting");
    PathBuf::from(name)
}

fn copy(file: &File, mut from: u64, to: u64, out: &mut impl Write) -> io::Result<()> {
    let mut buf = vec![0; 256 * 1024];
    while from < to {
        let want = usize::try_from(to - from).unwrap_or(usize::MAX).min(buf.len());
        let n = file.read_at(buf.get_mut(..want).unwrap_or_default(), from)?;
        if n == 0 {
            return Ok(());
        }
        out.write_all(buf.get(..n).unwrap_or_default())?;
        from += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_serves_the_next_run_and_a_second_one_goes() {
        let dir = tempfile::tempdir().unwrap();
        let names = || {
            let entries = std::fs::read_dir(dir.path()).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let run = |id: &str| SpoolPaths::new(dir.path(), &id.parse().unwrap());
        let (one, two) = (run("x-aaaaaaaaaa"), run("x-bbbbbbbbbb"));
        one.create().unwrap();
        two.create().unwrap();
        hand_on(&one.stdout).unwrap();
        hand_on(&two.stdout).unwrap();
        assert_eq!(names(), ["spare.out", "x-aaaaaaaaaa.err", "x-bbbbbbbbbb.err"]);
        let three = run("x-cccccccccc");
        let (mut out, _) = three.create().unwrap();
        out.write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&three.stdout).unwrap(), b"new");
        assert!(!names().contains(&"spare.out".to_owned()), "{:?}", names());
    }

    #[test]
    fn the_ring_comes_out_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.out");
        // Cap 8, stream a..k (11): head abcd, ring of hijk written round.
        std::fs::write(&path, "abcdijkh").unwrap();
        finalise(&path, 11).unwrap();
        finalise(&path, 11).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdhijk");
        assert_eq!(gap(11, 8), Some(Gap { at: 4, dropped: 3 }));
        assert_eq!(gap(8, 8), None);
    }
}
