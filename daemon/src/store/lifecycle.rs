//! Owns: what happens to a session's rows as a whole: what a deletion loses, and the purge.
//! Guarantees: a purge is one transaction and leaves a tombstone for watchers; what a session cost stays known.

use rusqlite::{Connection, params};

use super::{Store, StoreError, blocks, codec, index, search};
use crate::domain::approval::Approval;
use crate::domain::event::EventBody;
use crate::domain::id::{Seq, SessionId};

/// What goes with a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Events in its log.
    pub events: u64,
    /// Messages people posted.
    pub messages: u64,
    /// Commands that ran.
    pub commands: u64,
}

impl Store {
    /// What would go with a session.
    pub async fn loss(&self, session_id: &SessionId) -> Result<Loss, StoreError> {
        let id = session_id.clone();
        self.readers.read(move |c| loss(c, &id)).await
    }

    /// Sessions whose time in the trash is over.
    pub async fn expired_sessions(&self, now_us: i64) -> Result<Vec<SessionId>, StoreError> {
        self.readers
            .read(move |c| {
                ids(
                    c,
                    "SELECT session_id FROM sessions WHERE purge_us IS NOT NULL AND purge_us <= ?1",
                    now_us,
                )
            })
            .await
    }

    /// Archived sessions whose last event is older.
    pub async fn archived_before(&self, before_us: i64) -> Result<Vec<SessionId>, StoreError> {
        self.readers
            .read(move |c| {
                ids(
                    c,
                    "SELECT session_id FROM sessions WHERE state = 'archived' AND updated_us < ?1",
                    before_us,
                )
            })
            .await
    }

    /// How many sessions are open, archived and in the trash.
    pub async fn standing_counts(&self) -> Result<(u64, u64, u64), StoreError> {
        self.readers
            .read(|c| {
                Ok(c.query_row(
                    "SELECT count(*) FILTER (WHERE state NOT IN ('archived', 'deleted')),
                            count(*) FILTER (WHERE state = 'archived'), count(*) FILTER (WHERE state = 'deleted')
                     FROM sessions",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )?)
            })
            .await
    }

    /// Sessions whose log begins with this one's.
    pub async fn forks_of(&self, session_id: &SessionId) -> Result<Vec<SessionId>, StoreError> {
        let id = session_id.clone();
        self.readers
            .read(move |c| {
                let mut statement = c.prepare_cached(
                    "SELECT session_id FROM sessions WHERE json_extract(summary, '$.standing.forked_from[0]') = ?1",
                )?;
                let mut rows = statement.query([id.as_str()])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(index::id_of(&row.get::<_, String>(0)?)?);
                }
                Ok(found)
            })
            .await
    }

    /// Writes the database anew: what was overwritten is in its unused parts still, and in the write-ahead log.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.writer.scrub().await
    }

    /// Takes everything of a session out of the database but its ledger rows.
    pub async fn purge(&self, session_id: &SessionId) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.unkept.forget(&id);
        self.writer.write(move |c| purge(c, &id)).await
    }
}

fn loss(connection: &Connection, id: &SessionId) -> Result<Loss, StoreError> {
    let one = |sql: &str| -> Result<u64, StoreError> {
        Ok(connection
            .prepare_cached(sql)?
            .query_row([id.as_str()], |row| row.get(0))?)
    };
    Ok(Loss {
        events: one("SELECT count(*) FROM events WHERE session_id = ?1")?,
        messages: one("SELECT count(*) FROM events WHERE session_id = ?1 AND kind = 'message_posted'")?,
        commands: one("SELECT count(*) FROM execs WHERE session_id = ?1")?,
    })
}

fn ids(connection: &Connection, sql: &str, time_us: i64) -> Result<Vec<SessionId>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([time_us])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(index::id_of(&row.get::<_, String>(0)?)?);
    }
    Ok(found)
}

fn purge(connection: &Connection, id: &SessionId) -> Result<(), StoreError> {
    search::forget(connection, id, None, false)?;
    blocks::forget(connection, id)?;
    // Zeroes where the texts were: a purge is for good.
    connection.pragma_update(None, "secure_delete", "ON")?;
    let done = (|| -> Result<(), StoreError> {
        for table in [
            "events",
            "approvals",
            "execs",
            "snapshots",
            "folds",
            "requests",
            "search_behind",
            "sessions",
        ] {
            connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE session_id = ?1"))?
                .execute([id.as_str()])?;
        }
        let rev = index::next_rev(connection)?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO tombstones (session_id, rev) VALUES (?1, ?2)")?
            .execute(params![id.as_str(), rev])?;
        Ok(())
    })();
    connection.pragma_update(None, "secure_delete", "OFF")?;
    done
}

/// Puts events in the place of earlier ones, in the log, the questions and the index.
pub(super) fn rewrite(
    connection: &Connection,
    id: &SessionId,
    rewrites: &[(Seq, EventBody)],
) -> Result<(), StoreError> {
    if rewrites.is_empty() {
        return Ok(());
    }
    // What is not indexed yet would be a second time, after this.
    search::catch_up_with(connection, id)?;
    let seqs: Vec<Seq> = rewrites.iter().map(|(seq, _)| *seq).collect();
    search::forget(connection, id, Some(&seqs), true)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    super::folds::forget(connection, id)?;
    let done = rewrites
        .iter()
        .try_for_each(|(seq, body)| rewrite_one(connection, id, *seq, body))
        .and_then(|()| blocks::renew(connection, id, &seqs));
    connection.pragma_update(None, "secure_delete", "OFF")?;
    done
}

fn rewrite_one(
    connection: &Connection,
    id: &SessionId,
    seq: Seq,
    body: &EventBody,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE events SET body = ?3 WHERE session_id = ?1 AND seq = ?2")?
        .execute(params![id.as_str(), seq, codec::encode(body)?])?;
    if let EventBody::ApprovalRequested { approval } = body {
        let text: String = connection
            .prepare_cached("SELECT approval FROM approvals WHERE approval_id = ?1")?
            .query_row([approval.approval_id.as_str()], |row| row.get(0))?;
        let json = |e| StoreError::Io(std::io::Error::other(e));
        let before: Approval = serde_json::from_str(&text).map_err(json)?;
        let after = Approval {
            answer: before.answer,
            ..approval.clone()
        };
        connection
            .prepare_cached("UPDATE approvals SET approval = ?2 WHERE approval_id = ?1")?
            .execute(params![
                approval.approval_id.as_str(),
                serde_json::to_string(&after).map_err(json)?
            ])?;
    }
    let sql = format!(
        "SELECT {} FROM events WHERE session_id = ?1 AND seq = ?2",
        codec::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![id.as_str(), seq])?;
    match rows.next()? {
        Some(row) => search::note(connection, &codec::decode(row)?),
        None => Ok(()),
    }
}
