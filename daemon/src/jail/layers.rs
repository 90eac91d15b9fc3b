//! Owns: what a Jail's package caches begin with: links to what the person has downloaded already.
//! Guarantees: nothing of the person's is copied, changed or made writable; what the Jail has itself stays; bounded.

use std::io;
use std::path::Path;

/// Files linked at most: a registry with more is one that grew for years.
const MAX_LINKS: usize = 50_000;
/// Says when links were made last.
const MARK: &str = ".agentd-layer";

/// Links the person's registry of cargo into the Jail's own, where it has changed since.
pub(super) fn cargo(registry: &Path, cache: &Path) -> io::Result<()> {
    let home = cache.join("cargo");
    let mark = home.join(MARK);
    let changed = |part: &str| {
        let newest = std::fs::read_dir(registry.join(part)).ok()?.flatten();
        newest
            .filter_map(|entry| entry.metadata().ok()?.modified().ok())
            .max()
    };
    let newest = changed("cache").max(changed("index"));
    let linked = std::fs::metadata(&mark).and_then(|meta| meta.modified()).ok();
    if linked.is_some() && linked >= newest {
        return Ok(());
    }
    let mut left = MAX_LINKS;
    for part in ["cache", "index"] {
        mirror(&registry.join(part), &home.join("registry").join(part), &mut left)?;
    }
    std::fs::write(mark, "")
}

/// Directories are made, files are linked; what is there already stays, unless it is a link that leads nowhere.
fn mirror(from: &Path, to: &Path, left: &mut usize) -> io::Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else {
        return Ok(());
    };
    std::fs::create_dir_all(to)?;
    for entry in entries.flatten() {
        if *left == 0 {
            return Ok(());
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            mirror(&source, &target, left)?;
        } else if kind.is_file() {
            *left -= 1;
            match target.symlink_metadata() {
                Ok(meta) if meta.is_symlink() && !target.exists() => std::fs::remove_file(&target)?,
                Ok(_) => continue,
                Err(_) => {}
            }
            std::os::unix::fs::symlink(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        std::os::unix::fs::symlink("/nowhere", own.join("b.crate")).unwrap();
        cargo(&registry, &cache).unwrap();
        assert_eq!(std::fs::read(own.join("a.crate")).unwrap(), b"own");
        assert_eq!(std::fs::read(own.join("b.crate")).unwrap(), b"b");
        // Nothing new: nothing is looked through.
        std::fs::remove_file(own.join("b.crate")).unwrap();
        cargo(&registry, &cache).unwrap();
        assert!(!own.join("b.crate").exists());
    }
}
