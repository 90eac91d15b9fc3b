//! Owns: `Secret`, the wrapper every API key lives in.
//! Guarantees: neither `Debug` nor any error, log or serialised form shows what is inside.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A value that must never be shown. Read it with [`Secret::expose`], at the one place that sends it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key. Surrounding white space is dropped: pasted keys often end in a newline.
    pub fn new(value: impl AsRef<str>) -> Self {
        Self(value.as_ref().trim().to_owned())
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True when there is nothing inside.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Shortest text worth blotting out; anything shorter would hit ordinary words.
const SHORTEST: usize = 6;

/// Replaces every occurrence of the secrets in text that came from outside: some servers echo the key they refuse.
pub(crate) fn blot(text: &str, secrets: &[Secret]) -> String {
    let mut clean = text.to_owned();
    for secret in secrets {
        if secret.0.len() >= SHORTEST && clean.contains(secret.0.as_str()) {
            clean = clean.replace(secret.0.as_str(), "[key]");
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let key = Secret::new("sk-canary-123456\n");
        assert_eq!(format!("{key:?}"), "Secret(…)");
        assert_eq!(key.expose(), "sk-canary-123456");
    }

    #[test]
    fn an_echoed_key_is_blotted_out() {
        let keys = [Secret::new("sk-canary-123456"), Secret::new("ab")];
        assert_eq!(
            blot("bad key sk-canary-123456, about", &keys),
            "bad key [key], about"
        );
    }
}
