//! Owns: finding the secret files of a workspace: what is masked in its jails and learnt by the redactor.
//! Guarantees: bounded in depth and entries; nothing outside the workspace is found; a link is followed to what it
//! means, where that lies inside.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::domain::secret_files::SecretFiles;

/// How deep files are looked for, and how many entries are looked at.
const DEPTH: usize = 6;
const ENTRIES: usize = 20_000;
/// Where other people's code and built things are.
const SKIPPED: &[&str] = &[".git", "node_modules", "target", ".venv", "venv", "__pycache__"];

/// The regular files in `root` that hold secrets, relative to it, in order.
pub fn secret_files(root: &Path, names: &SecretFiles) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    if names.is_empty() {
        return Vec::new();
    }
    let mut left = ENTRIES;
    let mut todo = std::collections::VecDeque::from([(PathBuf::new(), 0)]);
    // Level by level: where there is too much, what lies near the root is seen.
    while let Some((dir, depth)) = todo.pop_front() {
        for entry in std::fs::read_dir(root.join(&dir)).into_iter().flatten().flatten() {
            left = left.saturating_sub(1);
            if left == 0 {
                return found.into_iter().collect();
            }
            let path = dir.join(entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
                if depth < DEPTH && !skipped {
                    todo.push_back((path, depth + 1));
                }
            } else if names.has(&path) {
                if kind.is_file() {
                    found.insert(path);
                } else if let Ok(real) = root.join(&path).canonicalize()
                    && let Ok(inside) = real.strip_prefix(root)
                    && real.is_file()
                {
                    found.insert(inside.to_owned());
                }
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_files_are_found_through_links_and_not_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("w");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join("node_modules/x")).unwrap();
        for file in [".env", "a/b/.env", "a/real.txt", "node_modules/x/.env", "main.rs"] {
            std::fs::write(root.join(file), "x").unwrap();
        }
        std::fs::write(dir.path().join("out"), "x").unwrap();
        std::os::unix::fs::symlink("real.txt", root.join("a/prod.env")).unwrap();
        std::os::unix::fs::symlink("../out", root.join("out.env")).unwrap();
        let names = SecretFiles::new([".env".to_owned(), "*.env".to_owned()]);
        assert_eq!(
            secret_files(&root, &names),
            [".env", "a/b/.env", "a/real.txt"].map(PathBuf::from)
        );
        assert_eq!(
            secret_files(&root, &SecretFiles::default()),
            Vec::<PathBuf>::new()
        );
    }
}
