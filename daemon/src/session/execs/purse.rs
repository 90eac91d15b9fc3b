//! Owns: the time that all commands of a session may take together.
//! Guarantees: what earlier daemons saw counts too; a command is never given more than is left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::id::SessionId;
use crate::domain::limits::millis;
use crate::domain::rejection::Rejection;
use crate::store::Store;

/// The least time a command gets: none would mean no limit.
const LEAST: Duration = Duration::from_millis(1);

/// What is left of a session's time.
pub(super) struct TimePurse {
    limit: Option<Duration>,
    spent_us: AtomicU64,
}

impl TimePurse {
    /// With what was spent before. Without a limit nothing is looked up.
    pub(super) async fn open(store: &Store, session: &SessionId, limit: Option<Duration>) -> Self {
        let spent = match limit {
            None => 0,
            Some(_) => store.exec_time(session).await.unwrap_or_else(|error| {
                tracing::warn!(%error, %session, "what its commands took before can't be read");
                0
            }),
        };
        Self {
            limit,
            spent_us: AtomicU64::new(spent),
        }
    }

    fn left(&self) -> Option<Duration> {
        let spent = Duration::from_micros(self.spent_us.load(Ordering::Relaxed));
        Some(self.limit?.saturating_sub(spent))
    }

    /// Refuses when nothing is left.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        match (self.left(), self.limit) {
            (Some(Duration::ZERO), Some(limit)) => Err(Rejection::NotNow {
                message: sentence(limit),
                hints: vec!["agentctl sessions new --session-time 2h   (a new session has its own)".into()],
            }),
            _ => Ok(()),
        }
    }

    /// The time-out of a command that wants `asked`.
    pub(super) fn within(&self, asked: Option<Duration>) -> Option<Duration> {
        match self.left() {
            None => asked,
            Some(left) => Some(asked.map_or(left, |asked| asked.min(left)).max(LEAST)),
        }
    }

    /// A command took so long; a sentence when that was the last of it.
    pub(super) fn took(&self, took: Duration, timed_out: bool) -> Option<String> {
        let limit = self.limit?;
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.spent_us.fetch_add(took, Ordering::Relaxed);
        (timed_out && self.left() == Some(Duration::ZERO)).then(|| sentence(limit))
    }
}

fn sentence(limit: Duration) -> String {
    let text = millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    format!("the time for all commands of this session, {text}, is used up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_what_is_left_and_then_none() {
        let purse = TimePurse {
            limit: Some(Duration::from_secs(10)),
            spent_us: AtomicU64::new(4_000_000),
        };
        let s = Duration::from_secs;
        assert_eq!(purse.within(None), Some(s(6)));
        assert_eq!(purse.within(Some(s(2))), Some(s(2)));
        assert_eq!(purse.took(s(2), true), None);
        assert!(purse.check().is_ok());
        assert!(purse.took(s(4), true).unwrap().contains("10s"));
        assert_eq!(purse.check().unwrap_err().reason(), "WRONG_STATE");
        assert_eq!(purse.within(Some(s(2))), Some(LEAST));
        let free = TimePurse {
            limit: None,
            spent_us: AtomicU64::new(0),
        };
        assert_eq!((free.within(None), free.took(s(9), true)), (None, None));
    }
}
