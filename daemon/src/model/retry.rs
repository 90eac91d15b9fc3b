//! Owns: when and how long to wait before asking again, and every limit on time and size.
//! Guarantees: bounded tries, bounded waits, no wait without a limit; a server's own wish (Retry-After) is honoured.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::HeaderMap;

use super::error::ModelError;

/// Limits on one model request. There is no "for ever".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    /// TCP and TLS.
    pub connect: Duration,
    /// From sending to the HTTP answer's head. Local servers read a long prompt for minutes before it.
    pub first_byte: Duration,
    /// Between two reads of the stream. Reasoning models are silent for long.
    pub idle: Duration,
    /// For what follows the finish reason (usage, `[DONE]`); after it the reply counts as complete.
    pub trailer: Duration,
    /// For a whole Step, tries and waits included.
    pub total: Duration,
    /// Bytes of one stream.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(180),
            trailer: Duration::from_secs(5),
            total: Duration::from_secs(45 * 60),
            max_bytes: 32 * 1024 * 1024,
        }
    }
}

/// How often and how patiently to ask again.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub max_attempts: u32,
    /// Tries in all when no connection could be made: a server that is not there must be reported within 2 s.
    pub max_connect_attempts: u32,
    /// First wait; doubles each time.
    pub base: Duration,
    /// Longest wait chosen by ourselves.
    pub cap: Duration,
    /// Longest wait accepted from a server; a longer wish ends the tries at once.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            max_connect_attempts: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            max_retry_after: Duration::from_secs(90),
        }
    }
}

impl RetryPolicy {
    /// Tries in all for this kind of failure.
    pub fn attempts_for(&self, error: &ModelError) -> u32 {
        match error {
            ModelError::Unreachable { .. } => self.max_connect_attempts,
            _ => self.max_attempts,
        }
    }

    /// The wait after `failed` failed tries, or `None` to give up. `jitter` is in 0..1.
    pub fn wait(&self, failed: u32, error: &ModelError, jitter: f64) -> Option<Duration> {
        if !error.retryable() || failed >= self.attempts_for(error) {
            return None;
        }
        let doubled = self
            .base
            .saturating_mul(1u32 << failed.saturating_sub(1).min(16))
            .min(self.cap);
        let spread = match error {
            // Nobody is overloaded by a refused connection: short waits, so that the person soon knows.
            ModelError::Unreachable { .. } => doubled.mul_f64(0.3 + 0.2 * jitter),
            _ => doubled.mul_f64(0.5 + 0.5 * jitter),
        };
        match error.retry_after() {
            Some(asked) if asked > self.max_retry_after => None,
            // Never earlier than asked; a little later, so that many clients do not return at once.
            Some(asked) => Some(asked.saturating_add(self.base.mul_f64(jitter * 0.5))),
            None => Some(spread),
        }
    }
}

/// How the waiting between tries is done.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Limits, retry policy and the clock's hand: everything a test wants to turn.
#[derive(Clone)]
pub struct Tuning {
    /// Limits of requests whose provider entry does not set its own.
    pub limits: Limits,
    /// When to ask again.
    pub retry: RetryPolicy,
    /// Waits between tries.
    pub sleep: Sleep,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            sleep: Arc::new(|wait| Box::pin(tokio::time::sleep(wait))),
        }
    }
}

impl fmt::Debug for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tuning")
            .field("limits", &self.limits)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// What the answer's headers ask to wait: `retry-after-ms`, or `retry-after` as seconds or as an HTTP date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    if let Some(ms) = text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let wish = text("retry-after")?;
    if let Ok(seconds) = wish.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = http_date(wish)?;
    // Measured against the server's own clock where it shows it: ours may be wrong.
    let now = text("date")
        .and_then(http_date)
        .unwrap_or_else(jiff::Timestamp::now);
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let secs = Duration::from_secs;
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(secs(7)));
        assert_eq!(
            retry_after(&headers(&[("retry-after", "0.5")])),
            Some(Duration::from_millis(500))
        );
        assert_eq!(
            retry_after(&headers(&[("retry-after-ms", "250"), ("retry-after", "9")])),
            Some(Duration::from_millis(250))
        );
        let date = [
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
        ];
        assert_eq!(retry_after(&headers(&date)), Some(secs(30)));
        assert_eq!(
            retry_after(&headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")])),
            Some(Duration::ZERO)
        );
        for bad in ["soon", "-5", "", "nan"] {
            assert_eq!(retry_after(&headers(&[("retry-after", bad)])), None, "{bad}");
        }
    }

    #[test]
    fn waits_grow_are_capped_and_end() {
        let policy = RetryPolicy::default();
        let error = ModelError::Server {
            status: Some(500),
            message: String::new(),
            retry_after: None,
        };
        let waits: Vec<_> = (1..=4).map(|failed| policy.wait(failed, &error, 1.0)).collect();
        assert_eq!(
            waits,
            [500, 1000, 2000]
                .map(|ms| Some(Duration::from_millis(ms)))
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
        );
        assert!(policy.wait(1, &error, 0.0) < policy.wait(1, &error, 0.9));
    }

    #[test]
    fn a_missing_server_is_reported_within_two_seconds() {
        let policy = RetryPolicy::default();
        let error = ModelError::Unreachable {
            url: String::new(),
            cause: String::new(),
            hop: super::super::error::Hop::Server,
        };
        let total: Duration = (1..10).map_while(|failed| policy.wait(failed, &error, 1.0)).sum();
        assert!(total < Duration::from_millis(1500), "{total:?}");
    }

    #[test]
    fn a_server_that_asks_for_too_long_a_wait_is_not_waited_for() {
        let policy = RetryPolicy::default();
        let limited = |secs| ModelError::RateLimited {
            message: String::new(),
            retry_after: Some(Duration::from_secs(secs)),
        };
        assert_eq!(policy.wait(1, &limited(3600), 0.0), None);
        assert_eq!(policy.wait(1, &limited(3), 0.0), Some(Duration::from_secs(3)));
    }
}
