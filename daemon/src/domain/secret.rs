//! Owns: the one type that holds a credential in memory.
//! Guarantees: printing it by accident shows nothing; only `expose` gives the text, so uses can be found by name.

use std::fmt;

/// A credential. Has no `Display`, no serialisation, and a `Debug` that says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Only for sending it to whom it belongs, storing it, or redacting it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("sk-canary".into());
        assert!(!format!("{secret:?} {:?}", Some(&secret)).contains("canary"));
        assert_eq!(secret.expose(), "sk-canary");
    }
}
