//! Owns: usage and money of all sessions: sums, forecast, exports, budgets, alerts, retention.
//! Guarantees: a price that is unknown is never counted as nothing; what is shown, exported and enforced comes
//! from the same rows.

pub mod budgets;
pub mod calendar;
mod export;
mod forecast;
mod hook;
mod query;
mod reconcile;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use budgets::{Estimate, Hold, Spender};
pub use calendar::{Bucket, Calendar, Range};
pub use export::{Export, Format, Wish};
pub use forecast::Forecast;
pub use query::{Filters, Group, Point, Query, Report, Times};
pub use reconcile::Reconciled;

use crate::clock::now_us;
use crate::domain::rejection::Rejection;
use crate::store::{Store, StoreError};

/// How often old rows are looked for.
const TIDY: Duration = Duration::from_secs(6 * 3600);

/// A question can't be answered, or something is broken.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A reasoned "no".
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LedgerError {
    fn reject(message: impl Into<String>) -> Self {
        Self::Rejected(Rejection::InvalidArgument(message.into()))
    }
}

/// How the ledger is kept.
#[derive(Debug, Clone, Default)]
pub struct LedgerSettings {
    /// IANA zone of days and months; empty: this machine's.
    pub zone: String,
    /// Single rows older than this are given up; `None`: never.
    pub retention: Option<Duration>,
    /// Program and arguments to run for each alert; empty: none.
    pub alert_command: Vec<String>,
}

/// The ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    store: Store,
    settings: LedgerSettings,
    /// What requests under way may still take, by budget and stretch. Held while one more is let in, so that
    /// two can't both take the last of it.
    reserved: tokio::sync::Mutex<HashMap<(String, String), u64>>,
    /// When an hour out of the ordinary was last looked for.
    spike_looked_us: std::sync::atomic::AtomicI64,
}

impl Ledger {
    /// A ledger over the store. Refuses a zone that does not exist.
    pub fn new(store: Store, settings: LedgerSettings) -> Result<Self, Rejection> {
        Calendar::of(&settings.zone)?;
        Ok(Self(Arc::new(Inner {
            store,
            settings,
            reserved: tokio::sync::Mutex::default(),
            spike_looked_us: std::sync::atomic::AtomicI64::new(0),
        })))
    }

    /// Gives up old rows now and then, for as long as the runtime lives.
    pub fn keep(&self) {
        let ledger = self.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(TIDY);
            loop {
                tick.tick().await;
                if let Err(error) = ledger.prune(now_us()).await {
                    tracing::warn!(%error, "ledger: old rows could not be given up");
                }
            }
        });
    }

    /// Gives up single rows that are too old at `now_us`; gives how many. Their sums stay.
    pub async fn prune(&self, now_us: i64) -> Result<u64, LedgerError> {
        let Some(retention) = self.0.settings.retention else {
            return Ok(0);
        };
        let age = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        Ok(self.0.store.prune_usage(now_us.saturating_sub(age)).await?)
    }

    /// Books a person's rows to nobody, or deletes them with their sums. Gives how many rows there were.
    pub async fn forget_principal(&self, principal: &str, delete: bool) -> Result<u64, LedgerError> {
        if principal.is_empty() {
            return Err(LedgerError::reject("principal is missing"));
        }
        Ok(self.0.store.forget_principal(principal, delete).await?)
    }
}

#[cfg(test)]
mod tests;
