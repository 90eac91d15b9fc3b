//! Owns: turning what a server or the network said into a `ModelError`: error bodies, statuses, connection causes.
//! Guarantees: the status is known even when the body is unreadable; keys a server echoes are blotted out.

use std::error::Error;
use std::time::Duration;

use serde_json::Value;

use super::error::{Hop, ModelError, excerpt};
use super::lenient::number;
use crate::domain::secret::{Secret, blot};

/// Who is being talked to, as far as errors need to know.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) provider: String,
    /// URL without credentials and query.
    pub(crate) url: String,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) key_source: Option<String>,
    /// The variable that holds, or would hold, the key.
    pub(crate) key_variable: String,
    /// The proxy on the way, without credentials.
    pub(crate) proxy: Option<String>,
}

impl Peer {
    /// True when the address is a number: no name is looked up.
    pub(crate) fn is_numeric(&self) -> bool {
        let host = reqwest::Url::parse(&self.url).ok();
        let host = host.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default();
        host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
    }

    /// Outside text made fit to show.
    pub(crate) fn clean(&self, text: &str) -> String {
        excerpt(&blot(text, &self.secrets))
    }
}

/// What an error body says, whatever its shape.
#[derive(Debug, Default)]
struct Told {
    message: String,
    labels: String,
    code: Option<u16>,
    used: Option<u64>,
    limit: Option<u64>,
}

impl Told {
    fn from_value(value: &Value) -> Self {
        // Gemini wraps the error in an array.
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        let inner = value.get("error").filter(|e| !e.is_null()).unwrap_or(value);
        let text_at =
            |holder: &Value, name: &str| holder.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut message = match inner {
            Value::String(text) => text.clone(),
            _ => text_at(inner, "message")
                .or_else(|| text_at(value, "message"))
                .or_else(|| inner.get("detail").map(detail_text))
                .or_else(|| text_at(inner, "error_description"))
                .unwrap_or_else(|| inner.to_string()),
        };
        // OpenRouter says "Provider returned error" and hides the real words here.
        if let Some(raw) = inner
            .get("metadata")
            .and_then(|m| m.get("raw"))
            .and_then(Value::as_str)
        {
            message = format!("{message}: {raw}");
        }
        let label = |name: &str| match inner.get(name) {
            Some(Value::String(text)) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        Self {
            message,
            labels: format!("{} {} {}", label("type"), label("code"), label("status")),
            code: number(inner.get("code"))
                .and_then(|c| u16::try_from(c).ok())
                .filter(|c| (400..600).contains(c)),
            used: number(inner.get("n_prompt_tokens")),
            limit: number(inner.get("n_ctx")),
        }
        .with_figures()
    }

    /// Figures that stand in the words only: "maximum context length is 8192 tokens … resulted in 9000 tokens".
    fn with_figures(mut self) -> Self {
        let message = self.message.to_ascii_lowercase();
        let after = |words: &str| {
            let (_, rest) = message.split_once(words)?;
            let digits: String = rest
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(|c| c.is_ascii_digit() || *c == ',')
                .filter(char::is_ascii_digit)
                .collect();
            digits.parse::<u64>().ok()
        };
        self.limit = self.limit.or_else(|| {
            [
                "maximum context length",
                "context window of",
                "context length of",
                "maximum of",
            ]
            .iter()
            .find_map(|words| after(words))
        });
        self.used = self.used.or_else(|| {
            ["resulted in", "you requested"]
                .iter()
                .find_map(|words| after(words))
        });
        self
    }

    fn from_body(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::from_value(&value),
            Err(_) => Self {
                message: String::from_utf8_lossy(body).into_owned(),
                ..Self::default()
            },
        }
    }

    fn says_context(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.labels.contains("context_length")
            || self.labels.contains("exceed_context")
            || [
                "maximum context length",
                "context length exceeded",
                "context window",
                "context size",
                "prompt is too long",
                "input is too long",
                "too many tokens",
            ]
            .iter()
            .any(|words| message.contains(words))
    }

    fn says_quota(&self) -> bool {
        self.labels.contains("insufficient_quota")
            || self.labels.contains("billing")
            || self.message.to_ascii_lowercase().contains("insufficient_quota")
            || self
                .message
                .to_ascii_lowercase()
                .contains("exceeded your current quota")
    }
}

fn detail_text(detail: &Value) -> String {
    match detail {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The error for an HTTP answer that is not a success.
pub(crate) fn from_status(
    peer: &Peer,
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> ModelError {
    classify(peer, Some(status), retry_after, &Told::from_body(body))
}

/// The error for an error object inside a stream, or inside a 200 that should have been a stream.
pub(crate) fn from_value(peer: &Peer, value: &Value) -> ModelError {
    let told = Told::from_value(value);
    let status = told.code;
    classify(peer, status, None, &told)
}

fn classify(peer: &Peer, status: Option<u16>, retry_after: Option<Duration>, told: &Told) -> ModelError {
    let mut message = peer.clean(&told.message);
    if message.is_empty() {
        message = "no explanation given".into();
    }
    if told.says_context() && status.is_none_or(|s| s < 500) {
        return ModelError::ContextExceeded {
            message,
            used: told.used,
            limit: told.limit,
        };
    }
    if status == Some(402) || (told.says_quota() && status.is_none_or(|s| s == 429 || s == 403)) {
        return ModelError::QuotaExhausted { message };
    }
    match status {
        Some(401 | 403) => ModelError::AuthRejected {
            provider: peer.provider.clone(),
            message,
            key_source: peer.key_source.clone(),
            key_variable: peer.key_variable.clone(),
        },
        Some(407) => ModelError::Unreachable {
            url: peer.url.clone(),
            cause: "the proxy wants a name and a password (http://NAME:PASSWORD@HOST:PORT)".into(),
            hop: Hop::Proxy,
        },
        Some(429) => ModelError::RateLimited { message, retry_after },
        Some(413) => ModelError::ContextExceeded {
            message,
            used: told.used,
            limit: told.limit,
        },
        Some(408 | 425) => ModelError::Server {
            status,
            message,
            retry_after,
        },
        Some(code) if code >= 500 => ModelError::Server {
            status,
            message,
            retry_after,
        },
        Some(code) => ModelError::BadRequest {
            status: code,
            message,
        },
        None if told.labels.contains("rate_limit") || told.labels.contains("throttl") => {
            ModelError::RateLimited { message, retry_after }
        }
        None if told.labels.contains("invalid_request") => ModelError::BadRequest { status: 400, message },
        None => ModelError::Server {
            status,
            message,
            retry_after,
        },
    }
}

/// The error for a request that got no HTTP answer.
pub(crate) fn from_transport(peer: &Peer, error: &reqwest::Error, connect_limit: Duration) -> ModelError {
    let url = peer.url.clone();
    let mut cause = String::new();
    let mut tls = false;
    let mut name = false;
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(link) = next {
        tls |= is_tls(link);
        cause = link.to_string();
        name |= cause.contains("dns error") || cause.contains("failed to lookup address");
        next = link.source();
    }
    let cause = peer.clean(&cause);
    if tls {
        ModelError::Tls { url, cause }
    } else if error.is_timeout() {
        ModelError::Timeout {
            what: format!("connecting to {url}"),
            limit: connect_limit,
        }
    } else if error.is_connect() {
        match &peer.proxy {
            Some(proxy) => ModelError::Unreachable {
                url,
                cause: format!("through the proxy {proxy}: {cause}"),
                hop: Hop::Proxy,
            },
            None => ModelError::Unreachable {
                url,
                cause,
                hop: if name { Hop::Name } else { Hop::Server },
            },
        }
    } else if error.is_builder() {
        ModelError::Config(format!("cannot build a request for {url}: {cause}"))
    } else {
        ModelError::CutStream { detail: cause }
    }
}

/// The handshake's error lies inside an I/O error, or inside one that lies inside another.
fn is_tls(link: &(dyn Error + 'static)) -> bool {
    link.downcast_ref::<rustls::Error>().is_some()
        || link
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .is_some_and(|inner| is_tls(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer {
            provider: "p".into(),
            url: "http://h/v1".into(),
            secrets: vec![Secret::new("sk-canary-99")],
            key_source: None,
            key_variable: "P_API_KEY".into(),
            proxy: None,
        }
    }

    fn of(status: u16, body: &str) -> ModelError {
        from_status(&peer(), status, None, body.as_bytes())
    }

    #[test]
    fn every_known_shape_of_error_body_yields_its_message() {
        for body in [
            r#"{"error":{"message":"boom","type":"x","code":null}}"#,
            r#"{"error":{"message":"boom","code":400}}"#,
            r#"{"error":"boom"}"#,
            r#"{"detail":"boom"}"#,
            r#"{"message":"boom"}"#,
            r#"[{"error":{"message":"boom"}}]"#,
            "boom",
        ] {
            assert_eq!(
                of(400, body),
                ModelError::BadRequest {
                    status: 400,
                    message: "boom".into()
                },
                "{body}"
            );
        }
    }

    #[test]
    fn statuses_map_to_kinds() {
        assert_eq!(of(401, "").reason_code(), "auth_rejected");
        assert_eq!(of(403, "no").reason_code(), "auth_rejected");
        assert_eq!(of(402, "pay").reason_code(), "provider_quota_exhausted");
        assert_eq!(of(429, "slow").reason_code(), "provider_rate_limited");
        assert_eq!(
            of(429, r#"{"error":{"message":"m","code":"insufficient_quota"}}"#).reason_code(),
            "provider_quota_exhausted"
        );
        assert_eq!(of(529, "busy").reason_code(), "provider_error");
        assert_eq!(of(413, "big").reason_code(), "context_exceeded");
        let llama = r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#;
        assert!(matches!(
            of(400, llama),
            ModelError::ContextExceeded {
                used: Some(9000),
                limit: Some(4096),
                ..
            }
        ));
    }

    #[test]
    fn the_limit_is_read_out_of_the_words_too() {
        let openai = r#"{"error":{"message":"This model's maximum context length is 8,192 tokens. However, your messages resulted in 9001 tokens.","code":"context_length_exceeded"}}"#;
        assert!(matches!(
            of(400, openai),
            ModelError::ContextExceeded {
                used: Some(9001),
                limit: Some(8192),
                ..
            }
        ));
    }

    #[test]
    fn an_echoed_key_does_not_enter_the_error() {
        let error = of(401, r#"{"error":{"message":"Incorrect API key: sk-canary-99"}}"#);
        assert!(!format!("{error} {error:?} {:?}", error.hints()).contains("canary"));
    }
}
