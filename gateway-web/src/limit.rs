//! Owns: how many requests a device may make in a second, and how large they may be.
//! Guarantees: one busy device does not slow down another; memory for this does not grow without bound.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Largest request: a message with its attachments (4 MiB) and its envelope.
pub(crate) const MAX_BODY: usize = 5 * 1024 * 1024;
/// Largest pairing request.
pub(crate) const MAX_PAIR_BODY: usize = 4 * 1024;

/// Token buckets by key.
#[derive(Debug)]
pub(crate) struct Limit {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Keys that are remembered; beyond that, full buckets are forgotten.
const MAX_KEYS: usize = 1024;

impl Limit {
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            buckets: Mutex::default(),
        }
    }

    /// Takes one; false when there is none left.
    pub(crate) fn take(&self, key: &str, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KEYS && !buckets.contains_key(key) {
            let (rate, burst) = (self.per_second, self.burst);
            buckets.retain(|_, b| b.left + now.duration_since(b.at).as_secs_f64() * rate < burst);
            if buckets.len() >= MAX_KEYS {
                return false;
            }
        }
        let bucket = buckets.entry(key.to_owned()).or_insert(Bucket {
            left: self.burst,
            at: now,
        });
        let gained = now.duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.left = (bucket.left + gained).min(self.burst);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let limit = Limit::new(10.0, 3.0);
        let now = Instant::now();
        assert_eq!([0; 4].map(|_| limit.take("a", now)), [true, true, true, false]);
        assert!(limit.take("b", now), "another device is not held up");
        assert!(limit.take("a", now + Duration::from_millis(150)));
        assert!(!limit.take("a", now + Duration::from_millis(150)));
    }
}
