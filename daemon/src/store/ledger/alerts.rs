//! Owns: budgets and alerts as they are stored.
//! Guarantees: the same thing is said once; an acknowledgement stays.

use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::budget::{Alert, Budget};
use crate::store::{Store, StoreError};

/// Alerts kept; older ones go.
const KEPT: u32 = 1_000;

fn broken(error: serde_json::Error) -> StoreError {
    StoreError::Io(std::io::Error::other(error))
}

impl Store {
    /// All budgets, oldest first.
    pub async fn budgets(&self) -> Result<Vec<Budget>, StoreError> {
        // Asked before and after each model request, and hardly ever changed. Held over the read: what is changed
        // meanwhile is forgotten afterwards.
        let mut known = self.budgets.lock().await;
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let read = self
            .readers
            .read(|c| {
                let mut statement =
                    c.prepare_cached("SELECT budget FROM budgets ORDER BY created_us, budget_id")?;
                let mut rows = statement.query([])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(serde_json::from_str::<Budget>(&row.get::<_, String>(0)?).map_err(broken)?);
                }
                Ok(found)
            })
            .await?;
        *known = Some(read.clone());
        Ok(read)
    }

    /// Makes or replaces a budget.
    pub async fn put_budget(&self, budget: Budget, now_us: i64) -> Result<(), StoreError> {
        let put = self
            .writer
            .write(move |c| {
                c.execute(
                    "INSERT INTO budgets VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET budget = excluded.budget",
                    params![budget.budget_id, now_us, serde_json::to_string(&budget).map_err(broken)?],
                )?;
                Ok(())
            })
            .await;
        *self.budgets.lock().await = None;
        put
    }

    /// Takes a budget away. False when there is none.
    pub async fn delete_budget(&self, budget_id: &str) -> Result<bool, StoreError> {
        let id = budget_id.to_owned();
        let deleted = self
            .writer
            .write(move |c| Ok(c.execute("DELETE FROM budgets WHERE budget_id = ?1", [id])? > 0))
            .await;
        *self.budgets.lock().await = None;
        deleted
    }

    /// Keeps an alert, unless one about the same thing was kept before. False when it was.
    pub async fn raise_alert(&self, alert: Alert, about: String) -> Result<bool, StoreError> {
        self.writer
            .write(move |c| {
                let text = serde_json::to_string(&alert).map_err(broken)?;
                let new = c.execute(
                    "INSERT OR IGNORE INTO alerts VALUES (?1, ?2, ?3, NULL, ?4)",
                    params![alert.alert_id, alert.raised_us, about, text],
                )? > 0;
                if new {
                    c.execute(
                        "DELETE FROM alerts WHERE alert_id NOT IN
                         (SELECT alert_id FROM alerts ORDER BY raised_us DESC LIMIT ?1)",
                        [KEPT],
                    )?;
                }
                Ok(new)
            })
            .await
    }

    /// Alerts, newest first; the acknowledged ones only when asked for.
    pub async fn alerts(&self, acknowledged: bool, limit: u32) -> Result<Vec<Alert>, StoreError> {
        self.readers
            .read(move |c| {
                let mut statement = c.prepare_cached(
                    "SELECT alert FROM alerts WHERE acknowledged_us IS NULL OR ?1 ORDER BY raised_us DESC LIMIT ?2",
                )?;
                let mut rows = statement.query(params![acknowledged, limit])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(serde_json::from_str(&row.get::<_, String>(0)?).map_err(broken)?);
                }
                Ok(found)
            })
            .await
    }

    /// Notes that a person saw an alert. The alert as it is now; `None` when there is none.
    pub async fn acknowledge_alert(
        &self,
        alert_id: &str,
        by: String,
        now_us: i64,
    ) -> Result<Option<Alert>, StoreError> {
        let id = alert_id.to_owned();
        self.writer.write(move |c| acknowledge(c, &id, by, now_us)).await
    }
}

fn acknowledge(
    connection: &Connection,
    id: &str,
    by: String,
    now_us: i64,
) -> Result<Option<Alert>, StoreError> {
    let text: Option<String> = connection
        .query_row("SELECT alert FROM alerts WHERE alert_id = ?1", [id], |row| {
            row.get(0)
        })
        .optional()?;
    let Some(text) = text else { return Ok(None) };
    let mut alert: Alert = serde_json::from_str(&text).map_err(broken)?;
    if alert.acknowledged_us.is_none() {
        alert.acknowledged_us = Some(now_us);
        alert.acknowledged_by = by;
        connection.execute(
            "UPDATE alerts SET acknowledged_us = ?2, alert = ?3 WHERE alert_id = ?1",
            params![id, now_us, serde_json::to_string(&alert).map_err(broken)?],
        )?;
    }
    Ok(Some(alert))
}
