//! Owns: what a client learns from where it was started: the enclosing workspace and the variables that
//! reach a provider or its tools.
//! Guarantees: every client picks the same directory and sends the same variables, and no others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The enclosing git root. A home directory kept in git is not a workspace: it does not count.
pub fn git_root(from: &Path) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    from.ancestors()
        .find(|dir| dir.join(".git").exists())
        .filter(|dir| dir.parent().is_some() && Some(*dir) != home.as_deref())
        .map(Path::to_owned)
}

/// The calling person's PATH, as far as the contract takes it; empty when there is none.
pub fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    if path.len() > 16 * 1024 {
        String::new()
    } else {
        path
    }
}

/// The variables by which the daemon may reach a provider on this client's behalf.
pub fn provider_variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| !value.is_empty() && is_for_providers(name))
        .collect()
}

/// True for names that the contract takes (see `ClientEnvironment`).
fn is_for_providers(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    name.ends_with("_API_KEY")
        || matches!(name, "OPENAI_BASE_URL" | "SSL_CERT_FILE")
        || matches!(
            upper.as_str(),
            "HTTP_PROXY" | "HTTPS_PROXY" | "ALL_PROXY" | "NO_PROXY"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_providers_is_sent() {
        for name in [
            "OPENAI_API_KEY",
            "MISTRAL_API_KEY",
            "https_proxy",
            "NO_PROXY",
            "SSL_CERT_FILE",
        ] {
            assert!(is_for_providers(name), "{name}");
        }
        for name in ["PATH", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "ssl_cert_file"] {
            assert!(!is_for_providers(name), "{name}");
        }
    }
}
