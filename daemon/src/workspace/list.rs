//! Owns: listing a directory of a Workspace.
//! Guarantees: bounded in entries looked at, whatever the directory holds; never follows a link; sorted by name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, ResolveFlags};

use super::guard::{Guard, GuardError, Kind, normal};

/// No directory a person works in is larger; beyond it a listing is cut, and says so.
const MAX_SCANNED: usize = 200_000;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, any bytes but `/` and NUL.
    pub name: OsString,
    /// What it stands for; a link is a link.
    pub kind: Kind,
    /// Length in bytes of a regular file.
    pub size: Option<u64>,
}

/// The names in a directory.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The first entries by name.
    pub entries: Vec<Entry>,
    /// How many there are in all.
    pub total: usize,
    /// True when even `total` is cut.
    pub more: bool,
}

impl Guard {
    /// The first `limit` entries of the directory `rel` (empty = the Workspace itself), with the sizes of files.
    pub fn list(&self, rel: &Path, limit: usize) -> Result<Listing, GuardError> {
        self.list_with(rel, limit, ResolveFlags::empty(), true)
    }

    /// The same from the first name after `after` on. `total` counts all names.
    pub fn list_after(&self, rel: &Path, after: &OsStr, limit: usize) -> Result<Listing, GuardError> {
        self.list_from(rel, after, limit, ResolveFlags::empty(), true)
    }

    pub(super) fn list_with(
        &self,
        rel: &Path,
        limit: usize,
        resolve: ResolveFlags,
        sizes: bool,
    ) -> Result<Listing, GuardError> {
        self.list_from(rel, OsStr::new(""), limit, resolve, sizes)
    }

    fn list_from(
        &self,
        rel: &Path,
        after: &OsStr,
        limit: usize,
        resolve: ResolveFlags,
        sizes: bool,
    ) -> Result<Listing, GuardError> {
        if let Some((one, inner)) = self.elsewhere(rel) {
            let listed = one.guard.list_from(inner, after, limit, resolve, sizes);
            return listed.map_err(|error| one.error(error));
        }
        let rel = normal(rel)?;
        let fault = |errno| GuardError::from_errno(&rel, errno);
        let handle = self.directory(&rel, resolve)?;
        let mut found: Vec<(OsString, rustix::fs::FileType)> = Vec::new();
        let mut more = false;
        for entry in Dir::read_from(&handle).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if found.len() >= MAX_SCANNED {
                more = true;
                break;
            }
            found.push((OsStr::from_bytes(name).to_os_string(), entry.file_type()));
        }
        found.sort_unstable_by(|one, two| one.0.cmp(&two.0));
        let total = found.len();
        let mut entries = Vec::with_capacity(total.min(limit));
        let rest = found.into_iter().filter(|(name, _)| name.as_os_str() > after);
        for (name, file_type) in rest.take(limit) {
            let mut kind = Kind::from(file_type);
            let mut size = None;
            if (sizes && kind == Kind::File) || kind == Kind::Unknown {
                // A name that vanished meanwhile is left as the directory told it.
                if let Ok(stat) = rustix::fs::statat(&handle, &name, AtFlags::SYMLINK_NOFOLLOW) {
                    kind = Kind::of(&stat);
                    size = u64::try_from(stat.st_size).ok().filter(|_| kind == Kind::File);
                }
            }
            entries.push(Entry { name, kind, size });
        }
        Ok(Listing { entries, total, more })
    }
}
