//! Owns: the wall clock.
//! Guarantees: its time stamps what is recorded and shown; nothing that ends or prolongs work is measured with it, since
//! it may be set.

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time in microseconds since the epoch.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
