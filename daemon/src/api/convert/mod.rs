//! Owns: the boundary between the words on the wire and the words of the domain.
//! Guarantees: inbound is parsed, not believed; outbound never fails.

pub(super) mod approval;
pub(super) mod audit;
pub(super) mod context;
pub(super) mod event;
pub(super) mod files;
pub(super) mod network;
pub(super) mod policy;
pub(super) mod session;
pub(super) mod shell;
pub(super) mod task;
pub(super) mod usage;

use std::time::Duration;

use super::status::invalid;
use crate::domain::rejection::Rejection;

/// Microseconds since the epoch as a Timestamp.
pub(super) fn timestamp(us: i64) -> prost_types::Timestamp {
    let nanos = us.rem_euclid(1_000_000).saturating_mul(1000);
    prost_types::Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// A span as a Duration of the wire.
pub(super) fn span(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A Duration of the wire that must not be negative.
pub(super) fn duration(field: &str, value: &prost_types::Duration) -> Result<Duration, Rejection> {
    Duration::try_from(*value).map_err(|_| invalid(format!("{field} is negative or out of range")))
}
