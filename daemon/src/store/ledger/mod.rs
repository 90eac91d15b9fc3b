//! Owns: the ledger's tables: rows by time, sums by the hour and the quarter of an hour, budgets, alerts.
//! Guarantees: a row and the sums over it are one transaction; a range is summed from whole cells and the
//! rows at its ragged ends, so that any range gives the sum of its rows exactly.

mod alerts;
mod keep;
mod read;
mod write;

use rusqlite::Connection;

pub(super) use write::{put, rebuild};

use super::{Store, StoreError};
use crate::domain::latency::Latency;
use crate::domain::usage::{Dimension, Row, Sums};

/// Microseconds of a cell of the hours.
pub const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a cell of the quarters.
pub const QUARTER_US: i64 = HOUR_US / 4;

/// What to sum.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// First moment, microseconds since the epoch.
    pub from_us: i64,
    /// First moment that no longer counts.
    pub to_us: i64,
    /// Where each bucket starts, rising, the first not after `from_us`; empty: one bucket.
    pub starts_us: Vec<i64>,
    /// Sums by the values of this; `None`: one group.
    pub group_by: Option<Dimension>,
    /// Only rows with one of these values, in each of these dimensions.
    pub filters: Vec<(Dimension, Vec<String>)>,
    /// Count durations as well.
    pub latency: bool,
}

/// Sums of one group in one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// Index into the starts asked for.
    pub bucket: usize,
    /// Index into [`Summed::groups`].
    pub group: usize,
    /// The sums.
    pub sums: Sums,
    /// Times to the first token, where asked for.
    pub first_token: Latency,
    /// Times from start to end, where asked for.
    pub total: Latency,
}

/// The answer: cells that are not empty, in no particular order.
#[derive(Debug, Clone, Default)]
pub struct Summed {
    /// The values of the dimension asked for; one empty value when none was.
    pub groups: Vec<String>,
    /// The cells.
    pub cells: Vec<Cell>,
    /// Models of requests whose price is unknown, in the order of the alphabet.
    pub unpriced_models: Vec<String>,
}

/// Which rows an export gives.
#[derive(Debug, Clone, Default)]
pub struct RowFilter {
    /// First moment.
    pub from_us: i64,
    /// First moment that no longer counts.
    pub to_us: i64,
    /// Only rows with one of these values, in each of these dimensions.
    pub filters: Vec<(Dimension, Vec<String>)>,
    /// Tool calls instead of model requests.
    pub tool_calls: bool,
}

/// Where an export goes on: after the row of this time, session and seq.
pub type RowCursor = (i64, String, u64);

impl Store {
    /// Sums over the ledger.
    pub async fn sum_usage(&self, wanted: Wanted) -> Result<Summed, StoreError> {
        self.readers.read(move |c| read::sum(c, &wanted)).await
    }

    /// A page of rows in the order of time, after `cursor`.
    pub async fn usage_rows(
        &self,
        filter: RowFilter,
        cursor: Option<RowCursor>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        self.readers
            .read(move |c| read::rows(c, &filter, cursor.as_ref(), limit))
            .await
    }

    /// Since when single rows are there; `None`: all are.
    pub async fn usage_whole_since(&self) -> Result<Option<i64>, StoreError> {
        let since = self.readers.read(whole_since).await?;
        Ok(Some(since).filter(|since| *since > i64::MIN))
    }

    /// Puts rows into the ledger directly: for imports and measurements, never for what a session did.
    pub async fn put_usage_rows(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.writer
            .write(move |c| {
                for row in &rows {
                    write::insert(c, row)?;
                }
                Ok(())
            })
            .await
    }
}

/// The SQL of one column for a dimension.
fn column(dimension: Dimension, table: Table) -> &'static str {
    match (dimension, table) {
        (Dimension::Principal, _) => "principal",
        (Dimension::Client, _) => "client",
        (Dimension::Session, _) => "session_id",
        (Dimension::Task, Table::Rows) => "coalesce(task_id, '')",
        (Dimension::Task, _) => "task_id",
        (Dimension::Persona, _) => "persona",
        (Dimension::Provider, _) => {
            "CASE WHEN instr(model, '/') > 0 THEN substr(model, 1, instr(model, '/') - 1) ELSE model END"
        }
        (Dimension::Model, _) => "model",
        (Dimension::Tool, _) => "tool",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Rows,
    Hours,
    Quarters,
}

fn whole_since(connection: &Connection) -> Result<i64, StoreError> {
    let since: Option<i64> = connection
        .prepare_cached("SELECT max(value) FROM usage_state WHERE name = 'whole_since_us'")?
        .query_row([], |row| row.get(0))?;
    Ok(since.unwrap_or(i64::MIN))
}

#[cfg(test)]
mod tests;
