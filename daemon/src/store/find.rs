//! Owns: finding a text in one session's log.
//! Guarantees: what one call reads is bounded, in events and in bytes; only facts whose stored form can have the text
//! are decoded; words that are only in memory are found like others.

use rusqlite::{Connection, params};

use super::{Store, StoreError, codec};
use crate::domain::find::Needle;
use crate::domain::id::{Seq, SessionId};
use crate::store::unkept::Unkept;

/// Bytes of facts looked at by one call, at most, about.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Where a text is.
#[derive(Debug, Default)]
pub struct Places {
    /// Which events, newest first, each with the line around it.
    pub found: Vec<(Seq, String)>,
    /// Nothing older than this was looked at; 0: there is nothing older.
    pub before: Seq,
}

impl Store {
    /// Looks through a session's log before `before`, newest first: at most `events` of it, until `most` have the text.
    pub async fn find(
        &self,
        session_id: &SessionId,
        needle: Needle,
        before: Seq,
        events: u32,
        most: usize,
    ) -> Result<Places, StoreError> {
        let (id, unkept) = (session_id.clone(), self.unkept.clone());
        self.readers
            .read(move |c| find(c, &unkept, &id, &needle, (before, events, most)))
            .await
    }
}

fn find(
    connection: &Connection,
    unkept: &Unkept,
    session_id: &SessionId,
    needle: &Needle,
    (before, events, most): (Seq, u32, usize),
) -> Result<Places, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, schema, body FROM events WHERE session_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
    )?;
    // Numbers beyond SQLite's own are beyond every log.
    let mut rows = statement.query(params![session_id.as_str(), before.min(i64::MAX as u64), events])?;
    let mut places = Places::default();
    let mut bytes = 0usize;
    while let Some(row) = rows.next()? {
        let seq: Seq = row.get(0)?;
        let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        bytes = bytes.saturating_add(text.len());
        let line = match unkept.said(session_id, seq) {
            Some(body) => needle.find(&body),
            None if needle.may_be_in(text) => {
                let fail = |detail| StoreError::Decode {
                    session: session_id.to_string(),
                    seq,
                    detail,
                };
                needle.find(&codec::decode_body(row.get(1)?, text).map_err(fail)?)
            }
            None => None,
        };
        places.before = if seq > 1 { seq } else { 0 };
        places.found.extend(line.map(|line| (seq, line)));
        if places.found.len() >= most || bytes >= MOST_BYTES {
            break;
        }
    }
    Ok(places)
}
