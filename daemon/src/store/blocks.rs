//! Owns: the index for finding a text in one session: which blocks of its log have which runs of three letters.
//! Guarantees: a block that is indexed has all runs of its facts' texts, so that only blocks that have all runs of a text
//! need to be read for it; what was redacted or purged leaves the index with the log; no commit waits for it, one step of
//! it is short, and what is not indexed yet is read instead.

use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, codec};
use crate::domain::find;
use crate::domain::id::{Seq, SessionId};

/// Events in a block. Alike texts lie together: the index is a fifth of the texts.
pub(super) const EVENTS: Seq = 32;
/// Bytes of bodies that are indexed in one go: other writes wait no longer than that takes.
const AT_ONCE: usize = 128 * 1024;
/// A block with more bytes of bodies, or with a body that can't be read, is not indexed but read for every text.
const LARGEST: usize = 512 * 1024;
/// What is indexed of a block that is to be read for every text.
const ALWAYS: &str = "\u{1}\u{1}\u{1}";

/// The block that an event is in.
pub(super) fn of(seq: Seq) -> Seq {
    seq.saturating_sub(1) / EVENTS
}

/// The first and the last event of a block.
pub(super) fn bounds(block: Seq) -> (Seq, Seq) {
    let before = block.saturating_mul(EVENTS);
    (before.saturating_add(1), before.saturating_add(EVENTS))
}

/// How much of a log is indexed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Indexed {
    no: i64,
    /// How many blocks, from the first.
    pub(super) blocks: Seq,
}

impl Indexed {
    /// Nothing where the log is not known yet.
    pub(super) fn read(connection: &Connection, session_id: &SessionId) -> Result<Option<Self>, StoreError> {
        Ok(connection
            .prepare_cached("SELECT no, blocks FROM find_logs WHERE session_id = ?1")?
            .query_row([session_id.as_str()], |row| {
                Ok(Self {
                    no: row.get(0)?,
                    blocks: row.get(1)?,
                })
            })
            .optional()?)
    }

    fn row(self, block: Seq) -> i64 {
        (self.no << 32) | i64::try_from(block).unwrap_or(i64::MAX)
    }

    /// The last blocks up to `last` that have all the runs, newest first, at most `most`.
    pub(super) fn with(
        self,
        connection: &Connection,
        runs: &[String],
        last: Seq,
        most: usize,
    ) -> Result<Vec<Seq>, StoreError> {
        let quoted: Vec<String> = runs
            .iter()
            .map(|run| format!("\"{}\"", run.replace('"', "\"\"")))
            .collect();
        let mut statement = connection.prepare_cached(
            "SELECT rowid FROM find WHERE find MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid DESC LIMIT ?4",
        )?;
        let query = format!("({}) OR \"{ALWAYS}\"", quoted.join(" AND "));
        let mut rows = statement.query(params![query, self.row(0), self.row(last), most])?;
        let mut blocks = Vec::new();
        while let Some(row) = rows.next()? {
            blocks.push(row.get::<_, i64>(0)?.saturating_sub(self.row(0)).unsigned_abs());
        }
        Ok(blocks)
    }
}

/// Remembers that a log grew from `before` to `head`, where that made a block whole.
pub(super) fn fall_behind(
    connection: &Connection,
    session_id: &SessionId,
    before: Seq,
    head: Seq,
) -> Result<(), StoreError> {
    if head / EVENTS > before / EVENTS {
        connection
            .prepare_cached(
                "INSERT INTO find_logs (session_id, blocks, behind) VALUES (?1, 0, 1)
                 ON CONFLICT (session_id) DO UPDATE SET behind = 1",
            )?
            .execute([session_id.as_str()])?;
    }
    Ok(())
}

/// Indexes some of what is not yet; true when there is more.
pub(super) fn catch_up(connection: &Connection) -> Result<bool, StoreError> {
    let mut room = AT_ONCE;
    let next = || {
        connection
            .prepare_cached("SELECT no, blocks, session_id FROM find_logs WHERE behind = 1 LIMIT 1")?
            .query_row([], |row| {
                let indexed = Indexed {
                    no: row.get(0)?,
                    blocks: row.get(1)?,
                };
                Ok((indexed, row.get::<_, String>(2)?))
            })
            .optional()
    };
    while let Some((mut indexed, session_id)) = next()? {
        let mut behind = true;
        while behind && room > 0 {
            match put(connection, indexed, &session_id, indexed.blocks)? {
                Some(bytes) => {
                    indexed.blocks = indexed.blocks.saturating_add(1);
                    room = room.saturating_sub(bytes.max(1));
                }
                None => behind = false,
            }
        }
        connection
            .prepare_cached("UPDATE find_logs SET blocks = ?2, behind = ?3 WHERE no = ?1")?
            .execute(params![indexed.no, indexed.blocks, behind])?;
        if room == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Indexes a block; how many bytes it has. `None`: it is not whole yet.
fn put(
    connection: &Connection,
    indexed: Indexed,
    session_id: &str,
    block: Seq,
) -> Result<Option<usize>, StoreError> {
    let (first, last) = bounds(block);
    let mut statement = connection.prepare_cached(
        "SELECT schema, body FROM events WHERE session_id = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq",
    )?;
    let mut rows = statement.query(params![session_id, first, last])?;
    let (mut bytes, mut count, mut text, mut readable) = (0usize, 0, String::new(), true);
    while let Some(row) = rows.next()? {
        let body = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        count += 1;
        bytes = bytes.saturating_add(body.len());
        if bytes <= LARGEST && readable {
            match codec::decode_body(row.get(0)?, body) {
                Ok(body) => find::fold(&body, &mut text),
                // Who comes to this place is told what is wrong with it.
                Err(_) => readable = false,
            }
        }
    }
    if count < EVENTS {
        return Ok(None);
    }
    if bytes > LARGEST || !readable {
        ALWAYS.clone_into(&mut text);
    }
    connection
        .prepare_cached("INSERT INTO find (rowid, text) VALUES (?1, ?2)")?
        .execute(params![indexed.row(block), text])?;
    Ok(Some(bytes))
}

fn take_out(connection: &Connection, indexed: Indexed, block: Seq) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM find WHERE rowid = ?1")?
        .execute([indexed.row(block)])?;
    Ok(())
}

/// Indexes anew what the blocks of these events say now. What they said is overwritten.
pub(super) fn renew(connection: &Connection, session_id: &SessionId, seqs: &[Seq]) -> Result<(), StoreError> {
    let Some(indexed) = Indexed::read(connection, session_id)? else {
        return Ok(());
    };
    let mut touched: Vec<Seq> = seqs
        .iter()
        .map(|seq| of(*seq))
        .filter(|block| *block < indexed.blocks)
        .collect();
    touched.sort_unstable();
    touched.dedup();
    for block in &touched {
        take_out(connection, indexed, *block)?;
        put(connection, indexed, session_id.as_str(), *block)?;
    }
    if !touched.is_empty() {
        // Deleted rows leave their words in the index until its segments are merged.
        connection.execute("INSERT INTO find (find) VALUES ('optimize')", [])?;
    }
    Ok(())
}

/// Takes a log out of the index.
pub(super) fn forget(connection: &Connection, session_id: &SessionId) -> Result<(), StoreError> {
    if let Some(indexed) = Indexed::read(connection, session_id)? {
        for block in 0..indexed.blocks {
            take_out(connection, indexed, block)?;
        }
    }
    connection
        .prepare_cached("DELETE FROM find_logs WHERE session_id = ?1")?
        .execute([session_id.as_str()])?;
    Ok(())
}
