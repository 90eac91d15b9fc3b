//! Owns: finding a text in one session's log.
//! Guarantees: what one call reads is bounded, in events and in bytes; of what is indexed only blocks that can have the
//! text are read, of what is read only facts whose stored form can have it are decoded; words that are only in memory
//! are found like others.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::blocks::{self, Indexed};
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
        let (session_id, unkept) = (session_id.clone(), self.unkept.clone());
        self.readers
            .read(move |connection| {
                // The log and its index as they were at one moment.
                let moment = connection.unchecked_transaction()?;
                let look = Look {
                    connection: &moment,
                    unkept: &unkept,
                    session_id: &session_id,
                    needle: &needle,
                    most,
                    places: Places::default(),
                    events: u64::from(events),
                    bytes: MOST_BYTES,
                };
                look.all(before)
            })
            .await
    }
}

/// One look through a log.
struct Look<'a> {
    connection: &'a Connection,
    unkept: &'a Unkept,
    session_id: &'a SessionId,
    needle: &'a Needle,
    /// Places that are enough.
    most: usize,
    places: Places,
    /// How many events may still be read.
    events: u64,
    /// How many bytes.
    bytes: usize,
}

impl Look<'_> {
    fn all(mut self, before: Seq) -> Result<Places, StoreError> {
        let runs = self.needle.runs();
        let indexed = Indexed::read(self.connection, self.session_id)?.filter(|_| !runs.is_empty());
        let end = indexed.map_or(0, |indexed| indexed.blocks.saturating_mul(blocks::EVENTS));
        // What is not indexed: the newest facts, or all of them.
        let mut more = before > end.saturating_add(1) && !self.through(end, before)?;
        let Some(indexed) = indexed.filter(|indexed| !more && indexed.blocks > 0) else {
            return Ok(self.places);
        };
        // Some blocks: reading the log ends before they do.
        let at_once = usize::try_from(self.events / blocks::EVENTS)
            .unwrap_or(0)
            .saturating_add(1);
        let last = blocks::of(before.saturating_sub(1).min(end));
        let with = indexed.with(self.connection, &runs, last, at_once)?;
        let lowest = with.last().copied().filter(|_| with.len() == at_once);
        let mut candidates: BTreeSet<Seq> = with.into_iter().collect();
        // The log does not have these words, so the index does not either.
        candidates.extend(
            self.unkept
                .seqs(self.session_id)
                .into_iter()
                .map(blocks::of)
                .filter(|block| *block <= last),
        );
        for block in candidates.range(lowest.unwrap_or(0)..).rev() {
            let (first, last) = blocks::bounds(*block);
            more = !self.through(first.saturating_sub(1), before.min(last.saturating_add(1)))?;
            if more {
                break;
            }
        }
        if !more && lowest.is_none() {
            self.places.before = 0;
        }
        Ok(self.places)
    }

    /// Reads what is after `after` and before `before`, newest first; false where it ended early.
    fn through(&mut self, after: Seq, before: Seq) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, schema, body FROM events WHERE session_id = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq DESC",
        )?;
        // Numbers beyond SQLite's own are beyond every log.
        let before = before.min(i64::MAX as u64);
        let mut rows = statement.query(params![self.session_id.as_str(), after, before])?;
        while let Some(row) = rows.next()? {
            if self.events == 0 || self.bytes == 0 || self.places.found.len() >= self.most {
                return Ok(false);
            }
            let seq: Seq = row.get(0)?;
            let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
            self.events = self.events.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(text.len());
            let line = match self.unkept.said(self.session_id, seq) {
                Some(body) => self.needle.find(&body),
                None if self.needle.may_be_in(text) => {
                    let fail = |detail| StoreError::Decode {
                        session: self.session_id.to_string(),
                        seq,
                        detail,
                    };
                    self.needle
                        .find(&codec::decode_body(row.get(1)?, text).map_err(fail)?)
                }
                None => None,
            };
            self.places.before = if seq > 1 { seq } else { 0 };
            self.places.found.extend(line.map(|line| (seq, line)));
        }
        Ok(true)
    }
}
