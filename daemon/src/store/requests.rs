//! Owns: what was answered to which request id.
//! Guarantees: the answer is stored in the transaction of the change; an id is good for one content only.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError};
use crate::domain::command::Reply;
use crate::domain::id::SessionId;

/// How long answers are kept: longer than any client retries.
const KEEP_US: i64 = 48 * 3600 * 1_000_000;

/// Which request: its id, the method, and a hash of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Chosen by the client.
    pub request_id: String,
    /// Name of the RPC method.
    pub method: &'static str,
    /// SHA-256 of the request's content, hex.
    pub fingerprint: String,
}

/// An answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its id.
    pub request_id: String,
    /// The method it called.
    pub method: String,
    /// Hash of its content.
    pub fingerprint: String,
    /// The session it changed.
    pub session_id: SessionId,
    /// What was answered.
    pub reply: Reply,
    /// When, microseconds since the epoch.
    pub time_us: i64,
}

impl RequestRecord {
    /// True when `key` is this very request again.
    pub fn matches(&self, key: &RequestKey) -> bool {
        self.method == key.method && self.fingerprint == key.fingerprint
    }
}

impl Store {
    /// The answer given to a request id before.
    pub async fn request(&self, request_id: &str) -> Result<Option<RequestRecord>, StoreError> {
        let id = request_id.to_owned();
        self.readers.read(move |c| find(c, &id)).await
    }

    /// Forgets answers that no client can still retry.
    pub async fn forget_old_requests(&self, now_us: i64) -> Result<(), StoreError> {
        self.writer
            .write(move |c| {
                c.execute(
                    "DELETE FROM requests WHERE time_us < ?1",
                    [now_us.saturating_sub(KEEP_US)],
                )?;
                Ok(())
            })
            .await
    }
}

fn find(connection: &Connection, request_id: &str) -> Result<Option<RequestRecord>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT method, fingerprint, session_id, reply, time_us FROM requests WHERE request_id = ?1",
        )?
        .query_row([request_id], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
                row.get::<_, i64>(4)?,
            ))
        })
        .optional()?;
    let Some((method, fingerprint, session, reply, time_us)) = row else {
        return Ok(None);
    };
    let broken = |detail: String| StoreError::Io(std::io::Error::other(detail));
    Ok(Some(RequestRecord {
        request_id: request_id.to_owned(),
        method,
        fingerprint,
        session_id: session
            .parse()
            .map_err(|e: crate::domain::id::IdError| broken(e.to_string()))?,
        reply: serde_json::from_str(&reply).map_err(|e| broken(e.to_string()))?,
        time_us,
    }))
}

/// Remembers an answer, or fails with the one that was given before.
pub(super) fn insert(connection: &Connection, record: &RequestRecord) -> Result<(), StoreError> {
    if let Some(before) = find(connection, &record.request_id)? {
        return Err(StoreError::Duplicate(Box::new(before)));
    }
    let reply = serde_json::to_string(&record.reply).map_err(|e| StoreError::Io(std::io::Error::other(e)))?;
    connection
        .prepare_cached(
            "INSERT INTO requests (request_id, method, fingerprint, session_id, reply, time_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            record.request_id,
            record.method,
            record.fingerprint,
            record.session_id.as_str(),
            reply,
            record.time_us
        ])?;
    Ok(())
}
