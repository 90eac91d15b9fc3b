//! Owns: the names of things. Ids are short, typed and printable; the type says what they name.
//! Guarantees: an id that parses is well-formed; no two kinds can be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Letters without look-alikes (no i, l, o, 0, 1): ids are read aloud and typed on phones.
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";

/// Text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

fn random_tail(len: usize) -> String {
    (0..len)
        .map(|_| {
            let index = fastrand::usize(..ALPHABET.len());
            char::from(ALPHABET.get(index).copied().unwrap_or(b'2'))
        })
        .collect()
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $len:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A fresh random id.
            pub fn random() -> Self {
                Self(format!(concat!($prefix, "{}"), random_tail($len)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let tail = text.strip_prefix($prefix).unwrap_or_default();
                let ok = !tail.is_empty()
                    && tail.len() <= 40
                    && tail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                if ok {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { text: text.chars().take(60).collect(), expected: $expected })
                }
            }
        }
    };
}

text_id!(/** A Session, such as `s-7k2f`. */ SessionId, "s-", 6, "a session id (s-…)");
text_id!(/** A Turn, such as `t-4m9x2q`. */ TurnId, "t-", 8, "a turn id (t-…)");
text_id!(/** One run of a command in a Shell, such as `x-9d2k7h`. */ ExecId, "x-", 10, "an exec id (x-…)");
text_id!(/** A stored question, such as `a-31k9`. */ ApprovalId, "a-", 7, "an approval id (a-…)");
text_id!(/** A rule granted for a project, such as `g-7k2f9q`. */ GrantId, "g-", 6, "a grant id (g-…)");
text_id!(/** A Message a person posted, such as `m-8w3n`. */ MessageId, "m-", 8, "a message id (m-…)");
text_id!(/** One file's difference, such as `c-9k2m`. */ ChangeId, "c-", 6, "a change id (c-…)");
text_id!(/** A browser or program with a token, such as `d-7k2f9q`. */ DeviceId, "d-", 6, "a device id (d-…)");
text_id!(/** A Budget, such as `b-7k2f9q`. */ BudgetId, "b-", 6, "a budget id (b-…)");
text_id!(/** An Alert, such as `al-7k2f9q`. */ AlertId, "al-", 6, "an alert id (al-…)");

/// The id a model gave to a tool call. Models choose freely, so any text is taken; unique within a Turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub String);

impl CallId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Content hash (SHA-256, lower-case hex) of a Blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(pub String);

/// Position of an Event in its Session: dense, from 1. 0 stands before all.
pub type Seq = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_parses_back() {
        for _ in 0..200 {
            let id = SessionId::random();
            assert_eq!(id.as_str().parse::<SessionId>().as_ref(), Ok(&id));
        }
    }

    #[test]
    fn another_kind_or_hostile_text_is_refused() {
        for bad in [
            "",
            "s-",
            "x-2222",
            "s-A",
            "s-../x",
            "s-\u{202e}a",
            "s- a",
            &format!("s-{}", "a".repeat(41)),
        ] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
        }
    }
}
