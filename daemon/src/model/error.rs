//! Owns: `ModelError`, every way a model request can fail, with its stable code and what to do next.
//! Guarantees: no variant carries a key; outside text is bounded and free of control characters.

use std::time::Duration;

/// Why a model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No key for a provider that needs one. Nothing was sent.
    #[error("no API key for provider '{provider}'")]
    AuthMissing {
        /// The provider.
        provider: String,
        /// The environment variable that would have held it.
        variable: String,
    },
    /// 401 or 403.
    #[error("provider '{provider}' refused the API key: {message}")]
    AuthRejected {
        /// The provider.
        provider: String,
        /// The provider's own words.
        message: String,
        /// Where the key came from, for the hint: "OPENAI_API_KEY of the calling shell".
        key_source: Option<String>,
        /// The variable to put it into, for the hint where none was sent.
        key_variable: String,
    },
    /// 429: too many requests for now.
    #[error("rate limited by the provider: {message}")]
    RateLimited {
        /// The provider's own words.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The account has no money or quota left; waiting does not help.
    #[error("the provider's quota is used up: {message}")]
    QuotaExhausted {
        /// The provider's own words.
        message: String,
    },
    /// 5xx, 408, or an error event inside the stream.
    #[error("the provider failed{}: {message}", status_text(*.status))]
    Server {
        /// HTTP status; `None` when the error came inside a stream.
        status: Option<u16>,
        /// The provider's own words.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Any other 4xx: the request itself is not acceptable.
    #[error("the provider refused the request ({status}): {message}")]
    BadRequest {
        /// HTTP status.
        status: u16,
        /// The provider's own words.
        message: String,
    },
    /// The input is longer than the model's context.
    #[error("the session is too long for the model: {message}")]
    ContextExceeded {
        /// The provider's own words.
        message: String,
        /// Tokens sent, where the server says so.
        used: Option<u64>,
        /// Tokens the model can take, where the server says so.
        limit: Option<u64>,
    },
    /// No connection: refused, no route, name not found.
    #[error("cannot reach {url}: {cause}")]
    Unreachable {
        /// Scheme, host, port and path; never credentials or query.
        url: String,
        /// The innermost cause.
        cause: String,
        /// Where on the way it failed.
        hop: Hop,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {url}: {cause}")]
    Tls {
        /// As in `Unreachable`.
        url: String,
        /// The innermost cause.
        cause: String,
    },
    /// Something took longer than its limit.
    #[error("timed out: {what} took longer than {} s", .limit.as_secs_f32())]
    Timeout {
        /// What was waited for.
        what: String,
        /// The limit it exceeded.
        limit: Duration,
    },
    /// The stream ended before the model had finished.
    #[error("the answer was cut off before its end ({detail})")]
    CutStream {
        /// What the connection said.
        detail: String,
    },
    /// What came is not what the API promises.
    #[error("the provider sent something unreadable: {detail}")]
    Garbage {
        /// A bounded excerpt and what was wrong.
        detail: String,
    },
    /// A complete answer with nothing in it.
    #[error("the model sent an empty answer")]
    Empty,
    /// The answer reached its length limit with nothing usable in it.
    #[error("the model's answer hit its length limit before it said anything usable")]
    TooLong,
    /// The stream went past the byte limit.
    #[error("the answer did not end within {} MiB", .limit_bytes / (1024 * 1024))]
    Endless {
        /// The limit.
        limit_bytes: u64,
    },
    /// The provider's content filter withheld the answer.
    #[error("the provider's content filter withheld the answer: {message}")]
    Filtered {
        /// The provider's own words.
        message: String,
    },
    /// No such model or provider.
    #[error("no model '{name}': {why}")]
    UnknownModel {
        /// The name as given.
        name: String,
        /// What is known about it.
        why: String,
        /// Names that look alike.
        suggestions: Vec<String>,
    },
    /// A setting is unusable.
    #[error("model settings: {0}")]
    Config(String),
}

/// Where on the way to a server a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Its name could not be resolved.
    Name,
    /// The proxy could not be reached or refused.
    Proxy,
    /// The server itself.
    Server,
}

fn status_text(status: Option<u16>) -> String {
    status.map(|code| format!(" ({code})")).unwrap_or_default()
}

impl ModelError {
    /// True when sending the same request again may succeed.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::CutStream { .. }
                | Self::Garbage { .. }
                | Self::Empty
        )
    }

    /// What the provider asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Stable snake-case name to branch on.
    pub fn reason_code(&self) -> &'static str {
        match self {
            Self::AuthMissing { .. } => "auth_missing",
            Self::AuthRejected { .. } => "auth_rejected",
            Self::RateLimited { .. } => "provider_rate_limited",
            Self::QuotaExhausted { .. } => "provider_quota_exhausted",
            Self::Server { .. } => "provider_error",
            Self::BadRequest { .. } => "provider_bad_request",
            Self::ContextExceeded { .. } => "context_exceeded",
            Self::Unreachable { .. } => "provider_unreachable",
            Self::Tls { .. } => "provider_tls",
            Self::Timeout { .. } => "provider_timeout",
            Self::CutStream { .. } => "provider_cut_stream",
            Self::Garbage { .. } => "provider_garbage",
            Self::Empty => "provider_empty_answer",
            Self::TooLong => "answer_too_long",
            Self::Endless { .. } => "provider_endless_answer",
            Self::Filtered { .. } => "content_filtered",
            Self::UnknownModel { .. } => "model_unknown",
            Self::Config(_) => "model_config",
        }
    }

    /// Which part of reaching a model failed: `config`, `dns`, `proxy`, `connect`, `tls`, `auth`, `model`, `tools` or
    /// `answer`.
    pub fn stage(&self) -> &'static str {
        let about = |message: &str, words: &[&str]| {
            let message = message.to_ascii_lowercase();
            words.iter().any(|word| message.contains(word))
        };
        match self {
            Self::Config(_) => "config",
            Self::Unreachable { hop: Hop::Name, .. } => "dns",
            Self::Unreachable { hop: Hop::Proxy, .. } => "proxy",
            Self::Unreachable { hop: Hop::Server, .. } => "connect",
            Self::Timeout { what, .. } if what.starts_with("connecting") => "connect",
            Self::Tls { .. } => "tls",
            Self::AuthMissing { .. } | Self::AuthRejected { .. } | Self::QuotaExhausted { .. } => "auth",
            Self::UnknownModel { .. } | Self::BadRequest { status: 404, .. } => "model",
            Self::BadRequest { message, .. } | Self::Server { message, .. }
                if about(message, &["tool", "function", "jinja"]) =>
            {
                "tools"
            }
            Self::BadRequest { message, .. } if about(message, &["model"]) => "model",
            _ => "answer",
        }
    }

    /// What a person can do next: at least one line, two or more where a key or server is missing.
    pub fn hints(&self) -> Vec<String> {
        let lines: Vec<String> = match self {
            Self::AuthMissing { provider, variable } => vec![
                format!("agentctl auth set {provider}   (asks for the key, stores it mode 0600)"),
                format!("export {variable}=…   (this shell only)"),
                "agentctl run --model demo \"hello\"   (built-in demo model, offline, free)".into(),
            ],
            Self::AuthRejected {
                provider,
                key_source,
                key_variable,
                ..
            } => {
                let mut lines = vec![format!("agentctl auth set {provider}   (replace the key)")];
                lines.push(match key_source {
                    Some(source) => format!("the key in use came from {source}"),
                    None => format!("no key was sent: export {key_variable}=…   (this shell only)"),
                });
                lines
            }
            Self::RateLimited { .. } => vec![
                "wait and send the message again".into(),
                "agentctl models   (pick another model)".into(),
            ],
            Self::QuotaExhausted { .. } => vec![
                "add credit in the provider's billing page".into(),
                "agentctl models   (pick another model)".into(),
            ],
            Self::Unreachable { .. } | Self::Timeout { .. } => vec![
                "check that the server runs and that base_url and proxy are right".into(),
                "agentctl models   (lists local servers found and other models)".into(),
                "agentctl run --model demo \"hello\"   (built-in demo model, offline, free)".into(),
            ],
            Self::Tls { .. } => vec![
                "behind a company proxy set ca_file for the provider, or SSL_CERT_FILE".into(),
                "check the machine's clock".into(),
            ],
            Self::ContextExceeded { .. } => vec![
                "start a new session, or compact this one".into(),
                "agentctl models   (pick a model with a larger context)".into(),
            ],
            Self::Garbage { .. } => vec![
                "check base_url: it usually ends in /v1".into(),
                "check api = \"chat\" or \"responses\" of the provider".into(),
            ],
            Self::UnknownModel { suggestions, .. } => {
                let mut lines: Vec<String> = suggestions
                    .iter()
                    .map(|name| format!("did you mean: {name}?"))
                    .collect();
                lines.push("agentctl models   (lists what is available)".into());
                lines
            }
            Self::BadRequest { status: 404, .. } => vec![
                "check the model's name and base_url (it usually ends in /v1)".into(),
                "agentctl models   (lists what is available)".into(),
            ],
            Self::Config(_) => vec!["agentctl config   (shows the settings and where they come from)".into()],
            Self::Server { .. }
            | Self::BadRequest { .. }
            | Self::CutStream { .. }
            | Self::Empty
            | Self::TooLong
            | Self::Endless { .. }
            | Self::Filtered { .. } => vec![
                "send the message again".into(),
                "agentctl models   (pick another model)".into(),
            ],
        };
        lines
    }
}

/// Longest excerpt of outside text that enters an error.
const EXCERPT: usize = 500;

/// Outside text made fit to show: control characters and runs of white space become one space, length bounded.
pub(crate) fn excerpt(text: &str) -> String {
    let mut clean = String::new();
    let mut length = 0usize;
    let mut gap = false;
    for c in text.chars() {
        // Bidirectional overrides and zero-width characters could disguise what the message says.
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_whitespace() || c.is_control() || hidden {
            gap = length > 0;
            continue;
        }
        if length >= EXCERPT {
            clean.push('…');
            break;
        }
        if gap {
            clean.push(' ');
            length += 1;
            gap = false;
        }
        clean.push(c);
        length += 1;
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_is_flattened_and_bounded() {
        assert_eq!(excerpt("  a\r\n\tb\u{1b}[31mc\u{202e}d "), "a b [31mc d");
        assert!(excerpt(&"x".repeat(10_000)).chars().count() <= EXCERPT + 1);
    }

    #[test]
    fn a_missing_key_offers_two_fixes() {
        let error = ModelError::AuthMissing {
            provider: "openai".into(),
            variable: "OPENAI_API_KEY".into(),
        };
        assert_eq!(error.to_string(), "no API key for provider 'openai'");
        assert_eq!(error.reason_code(), "auth_missing");
        assert!(error.hints().len() >= 2);
        assert!(!error.retryable());
    }
}
