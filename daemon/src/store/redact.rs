//! Owns: the one redactor, at the one write door: what a secret looks like, and what stands in its place.
//! Guarantees: known keys and texts shaped like keys do not reach the log, the database or the daemon's own
//! log lines.

use std::borrow::Cow;
use std::sync::{Arc, RwLock};

use regex::Regex;

/// Shapes of secrets that issue their own prefix. None can contain a quote or backslash, so that a match
/// never crosses the end of a JSON string. The private-key shape spans the `\n` escapes of JSON.
const SHAPES: &[(&str, &str)] = &[
    ("api-key", r"\bsk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{20,}"),
    (
        "github-token",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})",
    ),
    ("gitlab-token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("aws-key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("slack-token", r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    ("google-key", r"\bAIza[0-9A-Za-z_-]{35}"),
    (
        "jwt",
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    ),
    ("bearer", r"(?i:bearer) [A-Za-z0-9._~+/-]{32,}=*"),
    (
        "private-key",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\x22-]*-----END [A-Z ]*PRIVATE KEY-----",
    ),
];

/// Shorter ones would turn ordinary words into holes.
const SHORTEST_KNOWN: usize = 8;

/// Replaces secrets by `[redacted:…]`.
pub struct Redactor {
    shapes: Option<Regex>,
    known: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    /// A redactor for the usual shapes and whatever `known` holds at the time.
    pub fn new(known: Arc<RwLock<Vec<String>>>) -> Self {
        let pattern: Vec<String> = SHAPES
            .iter()
            .map(|(name, shape)| format!("(?P<{}>{shape})", name.replace('-', "_")))
            .collect();
        let shapes = Regex::new(&pattern.join("|"))
            .map_err(|error| tracing::error!(%error, "redactor: a shape does not compile"))
            .ok();
        Self { shapes, known }
    }

    /// Adds a value that must never be written.
    pub fn learn(&self, secret: &str) {
        if secret.len() < SHORTEST_KNOWN {
            return;
        }
        if let Ok(mut known) = self.known.write()
            && !known.iter().any(|k| k == secret)
        {
            known.push(secret.to_owned());
        }
    }

    /// JSON text without secrets; `None` when there is none in it (the common case costs no copy).
    pub fn redact_json(&self, text: &str) -> Option<String> {
        match self.redact(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(redacted) => Some(redacted),
        }
    }

    /// Text without secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Cow::Borrowed(text);
        if let Ok(known) = self.known.read() {
            for secret in known.iter() {
                if out.contains(secret.as_str()) {
                    out = Cow::Owned(out.replace(secret.as_str(), "[redacted:key]"));
                }
            }
        }
        if let Some(shapes) = &self.shapes
            && shapes.is_match(&out)
        {
            let replaced = shapes.replace_all(&out, |found: &regex::Captures<'_>| {
                let name = SHAPES
                    .iter()
                    .map(|(name, _)| *name)
                    .find(|name| found.name(&name.replace('-', "_")).is_some())
                    .unwrap_or("secret");
                format!("[redacted:{name}]")
            });
            out = Cow::Owned(replaced.into_owned());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(Arc::new(RwLock::new(Vec::new())))
    }

    #[test]
    fn every_shape_is_caught_inside_json() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\\nMIIabc+/=\\n-----END RSA PRIVATE KEY-----";
        for secret in [
            "sk-proj-abcdefghijklmnopqrstuvwx",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            "AKIAIOSFODNN7EXAMPLE",
            "xoxb-1234567890-abc",
            "glpat-abcdefghijklmnopqrst",
            "Bearer abcdefghijklmnopqrstuvwxyz0123456789",
            key,
        ] {
            let json = format!(r#"{{"text":"before {secret} after"}}"#);
            let out = redactor()
                .redact_json(&json)
                .unwrap_or_else(|| panic!("{secret} was kept"));
            assert!(!out.contains(secret), "{out}");
            serde_json::from_str::<serde_json::Value>(&out).expect("still JSON");
        }
    }

    #[test]
    fn a_known_value_is_caught_whatever_its_shape() {
        let redactor = redactor();
        redactor.learn("correct horse");
        assert_eq!(
            redactor.redact("the correct horse runs"),
            "the [redacted:key] runs"
        );
    }

    #[test]
    fn ordinary_text_is_left_alone_without_a_copy() {
        let text = r#"{"text":"fn main() { let task = sk_8; } risk-averse sk-short"}"#;
        assert!(redactor().redact_json(text).is_none());
    }
}
