//! Owns: which files of a workspace hold secrets, by their names.
//! Guarantees: pure; decided on the name alone, letter case changes nothing; of several patterns the last one that
//! matches decides.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// What counts as a secret file, unless configured otherwise.
pub const USUAL: &str = ".env:.env.*:*.env:!.env.example:!.env.sample:!.env.template:!.env.dist:.netrc:.pgpass:\
.git-credentials:.pypirc:credentials:credentials.json:credentials.toml:credentials.y*ml:secrets.json:secrets.toml:\
secrets.y*ml:service-account*.json:*.pem:*.p12:*.pfx:*.jks:*.kdbx:id_rsa:id_dsa:id_ecdsa:id_ed25519:id_*_sk:*.tfvars";

/// Patterns of names. `*` stands for any characters; a pattern after `!` is an exception.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretFiles(Arc<[String]>);

impl SecretFiles {
    /// These patterns.
    pub fn new(patterns: impl IntoIterator<Item = String>) -> Self {
        Self(
            patterns
                .into_iter()
                .map(|pattern| pattern.to_lowercase())
                .collect(),
        )
    }

    /// True when a file of this path holds secrets.
    pub fn has(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().map(OsStr::to_string_lossy) else {
            return false;
        };
        let name = name.to_lowercase();
        let decides = self.0.iter().rev().find_map(|pattern| {
            let (pattern, yes) = match pattern.strip_prefix('!') {
                Some(rest) => (rest, false),
                None => (pattern.as_str(), true),
            };
            matches(pattern, &name).then_some(yes)
        });
        decides.unwrap_or(false)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(between) = last.replace(piece) {
            match rest.find(between) {
                Some(at) => rest = rest.get(at + between.len()..).unwrap_or_default(),
                None => return false,
            }
        }
    }
    match last {
        // Without a star the whole name was the first piece.
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_are_known_and_examples_are_not() {
        let usual = SecretFiles::new(USUAL.split(':').map(str::to_owned));
        for path in [
            ".env",
            "app/.ENV",
            ".env.local",
            "prod.env",
            "certs/server.pem",
            "id_ed25519",
            "id_ecdsa_sk",
            "credentials",
            "config/credentials.json",
            "service-account-7.json",
        ] {
            assert!(usual.has(Path::new(path)), "{path}");
        }
        for path in [
            ".env.example",
            "env",
            "environment.ts",
            "id_rsa.pub",
            "id_map.rs",
            "pem",
            "src/credentials/mod.rs",
            "src/credentials.rs",
            "secrets.py",
            "",
        ] {
            assert!(!usual.has(Path::new(path)), "{path}");
        }
        assert!(!SecretFiles::default().has(Path::new(".env")));
    }
}
