//! Owns: the one redactor, at the one write door: what a secret looks like, and what stands in its place.
//! Guarantees: known keys, values of the workspaces' secret files, texts shaped like keys and texts that look like
//! one (a name that says so, or letters and digits without order) do not reach the log, the database, kept output
//! or the daemon's own log lines.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use regex::bytes::{Regex, RegexBuilder};

use crate::domain::event::EventBody;
use crate::domain::redaction::{LogLevel, reworded};

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

/// A name that says secret, and what it is set to: `DB_PASSWORD=…`, `"apiKey": "…"`.
const NAMED: &str = r#"(?i)(?:api_?-?key|access_?-?key|private_?-?key|secret|token|passwo?r?d|passphrase|credential)[\w-]{0,20}\\?["']?\s{0,3}(?:=|:|=>|:=)\s{0,3}\\?["']?([A-Za-z0-9_+/.~=-]{12,200})"#;
/// What may be a secret without a name.
const BARE: &str = r"[A-Za-z0-9_+/-]{32,}";
/// Longer ones are data.
const LONGEST_BARE: usize = 128;

/// Shorter ones would turn ordinary words into holes.
const SHORTEST_KNOWN: usize = 8;
/// Values of secret files that are remembered at most.
const MOST_KNOWN: usize = 10_000;

/// Replaces secrets by `[redacted:…]`.
#[derive(Default)]
pub struct Redactor {
    shapes: Option<Regex>,
    named: Option<Regex>,
    bare: Option<Regex>,
    known: RwLock<Known>,
}

/// Values that are secret whatever they look like.
#[derive(Default)]
struct Known {
    /// Each with what is said in its place.
    values: BTreeMap<String, &'static str>,
    /// Finds any of them, plain or as JSON writes them.
    any: Option<Regex>,
}

/// What was found, and where.
struct Hit {
    range: Range<usize>,
    kind: &'static str,
}

/// How much is suspected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    /// Known values only.
    Known,
    /// And what has a secret's shape.
    Shapes,
    /// And what looks like one.
    Looks,
}

impl Redactor {
    /// A redactor for the usual shapes and whatever it learns.
    pub fn new() -> Self {
        let shapes: Vec<String> = SHAPES
            .iter()
            .map(|(name, shape)| format!("(?P<{}>{shape})", name.replace('-', "_")))
            .collect();
        Self {
            shapes: compiled(&shapes.join("|")),
            named: compiled(NAMED),
            bare: compiled(BARE),
            known: RwLock::default(),
        }
    }

    /// Adds a value that must never be written.
    pub fn learn(&self, secret: &str) {
        self.learn_all("key", [secret.to_owned()]);
    }

    /// Adds the values of a workspace's secret file.
    pub fn learn_file(&self, text: &str) {
        self.learn_all("env", values_of(text));
    }

    fn learn_all(&self, kind: &'static str, secrets: impl IntoIterator<Item = String>) {
        // What is in it is whole after any panic elsewhere.
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.values.len();
        for secret in secrets {
            if secret.len() >= SHORTEST_KNOWN && known.values.len() < MOST_KNOWN {
                known.values.entry(secret).or_insert(kind);
            }
        }
        if known.values.len() == before {
            return;
        }
        // Longest first: of two that begin alike the longer one must go.
        let mut forms: Vec<String> = known.values.keys().flat_map(|value| forms_of(value)).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        let pattern: Vec<String> = forms.iter().map(|form| regex::escape(form)).collect();
        known.any = compiled(&pattern.join("|"));
    }

    /// JSON text without secrets; `None` when there is none in it (the common case costs no copy).
    pub fn redact_json(&self, text: &str) -> Option<String> {
        match self.put_marks(text, Suspicion::Shapes) {
            Cow::Borrowed(_) => None,
            Cow::Owned(redacted) => Some(redacted),
        }
    }

    /// Text without secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.put_marks(text, Suspicion::Looks)
    }

    /// An event's body, and its JSON text, as a log of this level keeps it. The error says why what came out is no
    /// body any more.
    pub fn redact_body(
        &self,
        level: LogLevel,
        body: EventBody,
        text: String,
    ) -> Result<(EventBody, String), String> {
        let suspicion = match level {
            LogLevel::Full => Suspicion::Known,
            LogLevel::Redacted | LogLevel::None => Suspicion::Shapes,
        };
        let (mut body, mut text) = match self.put_marks(&text, suspicion) {
            Cow::Borrowed(_) => (body, text),
            Cow::Owned(clean) => (
                serde_json::from_str(&clean).map_err(|error| error.to_string())?,
                clean,
            ),
        };
        let looks = |text: &str| {
            let matches = |regex: &Option<Regex>| regex.as_ref().is_some_and(|r| r.is_match(text.as_bytes()));
            matches(&self.named) || matches(&self.bare)
        };
        // Ids and what providers want back unread are none of this: only texts are looked at, one by one.
        if suspicion != Suspicion::Known
            && looks(&text)
            && let Some(new) = reworded(&body, &mut |text| match self.redact(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(clean) => Some(clean),
            })
        {
            text = serde_json::to_string(&new).map_err(|error| error.to_string())?;
            body = new;
        }
        Ok((body, text))
    }

    /// Where the secrets are in what a command wrote, for a log of this level.
    pub fn secrets_in(&self, level: LogLevel, data: &[u8]) -> Vec<Range<usize>> {
        let suspicion = match level {
            LogLevel::Full => Suspicion::Known,
            LogLevel::Redacted | LogLevel::None => Suspicion::Looks,
        };
        let hits = self.hits(data, suspicion);
        hits.into_iter().map(|hit| hit.range).collect()
    }

    fn put_marks<'a>(&self, text: &'a str, suspicion: Suspicion) -> Cow<'a, str> {
        let hits = self.hits(text.as_bytes(), suspicion);
        if hits.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for hit in hits {
            out.push_str(text.get(at..hit.range.start).unwrap_or_default());
            out.push_str("[redacted:");
            out.push_str(hit.kind);
            out.push(']');
            at = hit.range.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// What is found, in order, without overlaps.
    fn hits(&self, text: &[u8], suspicion: Suspicion) -> Vec<Hit> {
        let mut hits = Vec::new();
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            for found in known.any.iter().flat_map(|any| any.find_iter(text)) {
                let value = String::from_utf8_lossy(found.as_bytes());
                hits.push(Hit {
                    range: found.range(),
                    kind: known.values.get(value.as_ref()).copied().unwrap_or("key"),
                });
            }
        }
        if suspicion != Suspicion::Known {
            for found in self.shapes.iter().flat_map(|shapes| shapes.captures_iter(text)) {
                let kind = SHAPES
                    .iter()
                    .map(|(name, _)| *name)
                    .find(|name| found.name(&name.replace('-', "_")).is_some())
                    .unwrap_or("secret");
                hits.extend(found.get(0).map(|all| Hit {
                    range: all.range(),
                    kind,
                }));
            }
        }
        if suspicion == Suspicion::Looks {
            for found in self.named.iter().flat_map(|named| named.captures_iter(text)) {
                let value = found.get(1).filter(|value| is_value(value.as_bytes()));
                hits.extend(value.map(|value| Hit {
                    range: value.range(),
                    kind: "secret",
                }));
            }
            for found in self.bare.iter().flat_map(|bare| bare.find_iter(text)) {
                let before = text.get(..found.start()).unwrap_or_default();
                if is_random(found.as_bytes()) && !before.ends_with(b"h1:") {
                    hits.push(Hit {
                        range: found.range(),
                        kind: "high-entropy",
                    });
                }
            }
        }
        hits.sort_by_key(|hit| (hit.range.start, std::cmp::Reverse(hit.range.end)));
        let mut end = 0;
        hits.retain(|hit| {
            let free = hit.range.start >= end;
            if free {
                end = hit.range.end;
            }
            free
        });
        hits
    }
}

fn compiled(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(64 * 1024 * 1024)
        .build()
        .map_err(|error| tracing::error!(%error, "redactor: a pattern does not compile"))
        .ok()
}

/// A value as it stands in text, in JSON, and in JSON within JSON.
fn forms_of(value: &str) -> Vec<String> {
    let escape = |text: &str| {
        let quoted = serde_json::to_string(text).unwrap_or_default();
        quoted
            .get(1..quoted.len().saturating_sub(1))
            .unwrap_or_default()
            .to_owned()
    };
    let once = escape(value);
    let twice = escape(&once);
    let mut forms = vec![value.to_owned(), once, twice];
    forms.dedup();
    forms
}

/// The secrets in a file of `NAME=value` lines (or `name: value`): values whose name or looks say so.
fn values_of(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once(['=', ':']).filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let value = value.trim().trim_end_matches([',', ';']);
        let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.split(mark).next());
        let value = quoted('"')
            .or_else(|| quoted('\''))
            .unwrap_or_else(|| value.split(" #").next().unwrap_or(value).trim());
        if let Some((_, password)) = value
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'))
            .and_then(|(user, _)| user.split_once(':'))
        {
            values.push(password.to_owned());
        }
        if says_secret(name) || !is_plain(value) {
            values.push(value.to_owned());
        }
    }
    values
}

fn says_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = ["key", "secret", "token", "password", "passwd", "passphrase"];
    let words = [
        "pass",
        "pwd",
        "pw",
        "credential",
        "credentials",
        "auth",
        "private",
        "dsn",
        "salt",
    ];
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| words.contains(&word) || ends.iter().any(|end| word.ends_with(end)))
}

/// Values that say nothing: words, numbers, addresses and paths, which also stand in ordinary text.
fn is_plain(value: &str) -> bool {
    let word = |text: &str| {
        !text.bytes().any(|b| b.is_ascii_digit()) || !text.bytes().any(|b| b.is_ascii_alphabetic())
    };
    value.contains("://")
        || value.contains(' ')
        || value.starts_with(['/', '.', '~', '$'])
        || value.split([':', '.', '-', '_', '/', ',']).all(word)
}

/// Capitals, small letters and digits.
fn class(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        b'0'..=b'9' => 3,
        _ => 0,
    }
}

struct Looks {
    digits: usize,
    capitals: usize,
    small: usize,
    /// Neighbours of different class, of a hundred.
    changes: usize,
    /// Bits of each byte, times ten.
    entropy: usize,
}

fn looks(text: &[u8]) -> Looks {
    let mut counts = [0usize; 256];
    let (mut by_class, mut changes) = ([0usize; 4], 0usize);
    let mut last = 0;
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
        let class = class(*byte);
        if let Some(count) = by_class.get_mut(usize::from(class)) {
            *count += 1;
        }
        if class != 0 && last != 0 && class != last {
            changes += 1;
        }
        last = class;
    }
    let total = text.len().max(1) as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = *count as f64 / total;
            -share * share.log2()
        })
        .sum();
    let [_, capitals, small, digits] = by_class;
    Looks {
        digits,
        capitals,
        small,
        changes: changes * 100 / text.len().max(1),
        entropy: (entropy * 10.0) as usize,
    }
}

/// Letters and digits without order: words, paths and hashes in hex are not, whole files in base64 are too long.
fn is_random(text: &[u8]) -> bool {
    let hash = [&b"sha1-"[..], b"sha256-", b"sha384-", b"sha512-"];
    if text.len() > LONGEST_BARE || hash.iter().any(|name| text.starts_with(name)) {
        return false;
    }
    let seen = looks(text);
    seen.digits >= 3 && seen.capitals >= 3 && seen.small >= 3 && seen.changes >= 45 && seen.entropy >= 42
}

/// What a name that says secret is set to: not a word, a call or a place-holder.
fn is_value(text: &[u8]) -> bool {
    let seen = looks(text);
    seen.digits >= 2 && seen.capitals + seen.small >= 2 && seen.changes >= 18 && seen.entropy >= 28
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let out = Redactor::new()
                .redact_json(&json)
                .unwrap_or_else(|| panic!("{secret} was kept"));
            assert!(!out.contains(secret), "{out}");
            serde_json::from_str::<serde_json::Value>(&out).expect("still JSON");
        }
    }

    #[test]
    fn a_known_value_is_caught_whatever_its_shape_and_writing() {
        let redactor = Redactor::new();
        redactor.learn("correct horse");
        redactor.learn("quo\"te\\slash");
        assert_eq!(
            redactor.redact("the correct horse runs"),
            "the [redacted:key] runs"
        );
        let inner = serde_json::json!({"command": "echo quo\"te\\slash"}).to_string();
        let outer = serde_json::json!({"arguments": inner}).to_string();
        for text in [inner, outer] {
            let clean = redactor.redact_json(&text).expect("found");
            assert!(!clean.contains("slash"), "{clean}");
            serde_json::from_str::<serde_json::Value>(&clean).expect("still JSON");
        }
    }

    #[test]
    fn the_values_of_a_secret_file_are_known_and_its_plain_words_are_not() {
        let redactor = Redactor::new();
        redactor.learn_file(
            "# comment\nexport DB_PASSWORD='tulip-meadow'\nMODE=development\nPASSENGERS=manifold\nPORT=8080\nHOST=db.internal\n\
             URL=postgres://ana:orchid-river@db/x\nODD=\"a8f3k2m9\"\n\"client_secret\": \"plainwords\",\n",
        );
        for secret in ["tulip-meadow", "orchid-river", "a8f3k2m9", "plainwords"] {
            assert_eq!(redactor.redact(secret), "[redacted:env]", "{secret}");
        }
        for word in ["development", "manifold", "db.internal", "8080 8080", "postgres"] {
            assert_eq!(redactor.redact(word), word);
        }
    }

    #[test]
    fn what_looks_like_a_secret_is_caught() {
        let redactor = Redactor::new();
        for (text, kind) in [
            ("AWS: kT9v+Rz3Lq8/WmX2pN7cYb4HsJ6dGf1aQeU5oViB", "high-entropy"),
            ("npm_8kZq2LwPv5RtYxN3mBcD7fGhJ1sQ9aWe", "high-entropy"),
            ("API_TOKEN=9f8e7d6c5b4a39281706", "secret"),
            (r#""clientSecret": "aB3-xY9.kL2-mN7""#, "secret"),
            ("password: hunter2hunter3", "secret"),
        ] {
            let clean = redactor.redact(text);
            assert!(clean.contains(&format!("[redacted:{kind}]")), "{text} -> {clean}");
        }
    }

    #[test]
    fn ordinary_text_is_left_alone_without_a_copy() {
        let text = r#"{"text":"fn main() { let task = sk_8; } risk-averse sk-short"}"#;
        assert!(Redactor::new().redact_json(text).is_none());
        for text in [
            "commit 3f786850e387550fdab836ed7e6dc881de23001b",
            "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
            "h1:Xr7vQY3mB2kZ9pLw8tNfJ4cHs6gD1aEuR5yKo0iVbTM=",
            "src/components/LoginForm2/useRedirectAfterLogin/index.test.tsx",
            "test_redirect_keeps_next_parameter_when_logged_in_2_times",
            "let token = parser.next_token_of_kind(Kind::Identifier);",
            "max_tokens: 128000000000, password = get_password_from_user()",
            "AbstractSingletonProxyFactoryBean2AndItsTestCase3WithManyWords4",
            "secret_name: db-credentials-version",
        ] {
            assert_eq!(Redactor::new().redact(text), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_looked_through() {
        let redactor = Redactor::new();
        redactor.learn("correct horse");
        let data = b"\xff the correct horse \xfe sk-proj-abcdefghijklmnopqrstuvwx";
        assert_eq!(
            redactor.secrets_in(LogLevel::Full, data),
            std::iter::once(6..19).collect::<Vec<_>>()
        );
        assert_eq!(redactor.secrets_in(LogLevel::Redacted, data), [6..19, 22..54]);
    }
}
