//! Owns: what the ledger gives up: old single rows, and a person's name in it.
//! Guarantees: the sums stay when rows go; forgetting a person leaves every sum over all of them as it was,
//! unless their rows are to be deleted.

use rusqlite::{Connection, params};

use super::read;
use super::write::{Cells, HOURS, QUARTERS};
use crate::domain::latency::Latency;
use crate::store::{Store, StoreError};

/// Rows deleted in one transaction: the writer must not be held up for long.
const AT_ONCE: u32 = 5_000;
/// Who rows are booked to whose person was forgotten.
pub(super) const NOBODY: &str = "(anonymous)";

impl Store {
    /// Gives up single rows older than `before_us`; their sums stay. Gives how many.
    pub async fn prune_usage(&self, before_us: i64) -> Result<u64, StoreError> {
        let mut gone = 0u64;
        loop {
            let some = self.writer.write(move |c| prune(c, before_us)).await?;
            gone = gone.saturating_add(u64::from(some));
            if some < AT_ONCE {
                return Ok(gone);
            }
        }
    }

    /// Books a person's rows and sums to nobody, or deletes them. Gives how many single rows there were.
    pub async fn forget_principal(&self, principal: &str, delete: bool) -> Result<u64, StoreError> {
        let principal = principal.to_owned();
        self.writer
            .write(move |c| {
                for cells in [HOURS, QUARTERS] {
                    if !delete {
                        cells.move_to_nobody(c, &principal)?;
                    }
                    let table = cells.table;
                    c.execute(&format!("DELETE FROM {table} WHERE principal = ?1"), [&principal])?;
                }
                let rows = if delete {
                    c.execute("DELETE FROM usage WHERE principal = ?1", [&principal])?
                } else {
                    c.execute(
                        "UPDATE usage SET principal = ?2 WHERE principal = ?1",
                        params![principal, NOBODY],
                    )?
                };
                Ok(rows as u64)
            })
            .await
    }
}

fn prune(connection: &Connection, before_us: i64) -> Result<u32, StoreError> {
    let gone = connection
        .prepare_cached(
            "DELETE FROM usage WHERE (time_us, session_id, seq) IN
             (SELECT time_us, session_id, seq FROM usage WHERE time_us < ?1 ORDER BY time_us LIMIT ?2)",
        )?
        .execute(params![before_us, AT_ONCE])?;
    if gone > 0 {
        connection.execute(
            "INSERT INTO usage_state VALUES ('whole_since_us', ?1)
             ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
            [before_us],
        )?;
    }
    Ok(u32::try_from(gone).unwrap_or(u32::MAX))
}

impl Cells {
    fn move_to_nobody(&self, connection: &Connection, principal: &str) -> Result<(), StoreError> {
        let (table, key) = (self.table, self.key);
        let names: Vec<&str> = key.split(", ").collect();
        let sql = format!(
            "SELECT start_us, {}, first_token, total, {key} FROM {table} WHERE principal = ?1",
            read::SUMS
        );
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([principal])?;
        let mut cells = Vec::new();
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(names.len());
            for (at, name) in names.iter().enumerate() {
                values.push(match *name {
                    "principal" => NOBODY.to_owned(),
                    _ => row.get::<_, String>(at + 20)?,
                });
            }
            let (mut first_token, mut total) = (Latency::default(), Latency::default());
            first_token.add_bytes(&row.get::<_, Vec<u8>>(18)?);
            total.add_bytes(&row.get::<_, Vec<u8>>(19)?);
            cells.push((
                row.get::<_, i64>(0)?,
                values,
                read::sums(row, 1)?,
                first_token,
                total,
            ));
        }
        for (start_us, values, sums, first_token, total) in &cells {
            let key: Vec<&String> = values.iter().collect();
            self.add(connection, *start_us, &key, sums, first_token, total)?;
        }
        Ok(())
    }
}
