//! Owns: appending to the log and reading it back.
//! Guarantees: events, the session's row, approvals, execs, ledger rows and the answer to the request are
//! one transaction; only events that passed the redactor ([`Sealed`]) can be appended; of a log that keeps no words
//! none reach the disk.

use rusqlite::{Connection, params};

use super::copy::Prefix;
use super::requests::{self, RequestRecord};
use super::{Store, StoreError, blocks, codec, index, search};
use crate::domain::event::{Event, EventBody, NewEvent, SCHEMA};
use crate::domain::id::{CallId, Seq, SessionId};
use crate::domain::principal::Asker;
use crate::domain::redaction::{LogLevel, unsaid};
use crate::domain::session::Summary;

/// A page of events ends after so many bytes of bodies: below what stock gRPC clients take in one message.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Events that went through the redactor and have their seq. Made only by [`Store::seal`].
#[derive(Debug)]
pub struct Sealed {
    /// As they are committed.
    kept: Vec<Event>,
    bodies: Vec<String>,
    /// As this process goes on with them: with the words that are not kept, where the log keeps none.
    spoken: Option<Vec<Event>>,
}

impl Sealed {
    /// The events as they will be applied and shown.
    pub fn events(&self) -> &[Event] {
        self.spoken.as_ref().unwrap_or(&self.kept)
    }
}

/// One append: all of it, or nothing.
#[derive(Debug)]
pub struct Append {
    /// Whose log.
    pub session_id: SessionId,
    /// The head the writer believes in; 0 for a session that is being made.
    pub expected_head: Seq,
    /// What happened.
    pub sealed: Sealed,
    /// The session's row afterwards.
    pub summary: Summary,
    /// The answer to remember.
    pub request: Option<RequestRecord>,
    /// On whose behalf the open turn works: who its ledger rows are for.
    pub asker: Option<Asker>,
    /// The tools of the calls that are open before this: their ends name only the call.
    pub open_calls: Vec<(CallId, String)>,
    /// Where the log begins that this one goes on with, for a session that is being made from another's.
    pub begins_with: Option<Prefix>,
    /// Earlier events whose texts are taken out, as they will be.
    pub rewrites: Vec<(Seq, EventBody)>,
}

impl Store {
    /// Passes events through the redactor, as a log of this level keeps them, and numbers them from `head + 1`.
    pub fn seal(
        &self,
        session_id: &SessionId,
        level: LogLevel,
        head: Seq,
        new: Vec<NewEvent>,
    ) -> Result<Sealed, StoreError> {
        let mut events = Vec::with_capacity(new.len());
        let mut bodies = Vec::with_capacity(new.len());
        for (index, event) in new.into_iter().enumerate() {
            let seq = head.saturating_add(1).saturating_add(index as Seq);
            let text = codec::encode(&event.body)?;
            let (body, text) = self
                .redactor
                .redact_body(level, event.body, text)
                .map_err(|detail| StoreError::Decode {
                    session: session_id.to_string(),
                    seq,
                    detail,
                })?;
            bodies.push(text);
            events.push(Event {
                session_id: session_id.clone(),
                seq,
                time_us: event.time_us,
                schema: SCHEMA,
                caller: event.caller,
                body,
            });
        }
        let mut sealed = Sealed {
            kept: events,
            bodies,
            spoken: None,
        };
        if level == LogLevel::None {
            sealed.unsay()?;
        }
        Ok(sealed)
    }

    /// Commits one append. Answers once it is on disk.
    pub async fn append(&self, append: Append) -> Result<Vec<Event>, StoreError> {
        // Before it is committed: from then on anybody may read it.
        if let Some(spoken) = &append.sealed.spoken {
            self.unkept.remember(&append.sealed.kept, spoken);
        }
        let sealed = self
            .writer
            .write(move |connection| {
                append_in(connection, &append)?;
                Ok(append.sealed)
            })
            .await?;
        self.index_soon();
        Ok(sealed.spoken.unwrap_or(sealed.kept))
    }

    /// Events of a session after `after`, ascending, at most `limit`; fewer where they are large.
    pub async fn events_after(
        &self,
        session_id: &SessionId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let id = session_id.clone();
        let mut events = self
            .readers
            .read(move |c| read(c, "seq > ?2 ORDER BY seq", &id, after, limit))
            .await?;
        self.unkept.speak(session_id, &mut events);
        Ok(events)
    }

    /// Forgets the words of a session that are only in memory.
    pub fn forget_words(&self, session_id: &SessionId) {
        self.unkept.forget(session_id);
    }

    /// The same as they are on disk: without the words that are only in memory.
    pub async fn kept_events_after(
        &self,
        session_id: &SessionId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let id = session_id.clone();
        self.readers
            .read(move |c| read(c, "seq > ?2 ORDER BY seq", &id, after, limit))
            .await
    }

    /// The last events of a session before `before`, ascending, at most `limit`; fewer where they are large.
    pub async fn events_before(
        &self,
        session_id: &SessionId,
        before: Seq,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let id = session_id.clone();
        let mut events = self
            .readers
            .read(move |c| read(c, "seq < ?2 ORDER BY seq DESC", &id, before, limit))
            .await?;
        events.reverse();
        self.unkept.speak(session_id, &mut events);
        Ok(events)
    }
}

impl Sealed {
    /// Takes out of what is committed what was said, and keeps it for this process.
    fn unsay(&mut self) -> Result<(), StoreError> {
        let spoken = self.kept.clone();
        for (event, text) in self.kept.iter_mut().zip(&mut self.bodies) {
            if let Some(body) = unsaid(&event.body) {
                *text = codec::encode(&body)?;
                event.body = body;
            }
        }
        self.spoken = Some(spoken);
        Ok(())
    }
}

/// Sessions whose calls are looked at.
const RECENT_SESSIONS: u32 = 100;
/// Events of each that are looked at.
const RECENT_EVENTS: u32 = 10_000;

/// The last tool calls, session by session, the one at work last first.
pub(super) fn recent_calls(
    connection: &Connection,
    workspace: Option<&str>,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut sessions = connection.prepare_cached(
        "SELECT session_id, head FROM sessions WHERE ?1 IS NULL OR workspace = ?1 ORDER BY updated_us DESC LIMIT ?2",
    )?;
    let mut rows = sessions.query(params![workspace, RECENT_SESSIONS])?;
    let sql = format!(
        "SELECT {} FROM events WHERE session_id = ?1 AND seq > ?2 AND kind = 'tool_call_started'
         ORDER BY seq DESC LIMIT ?3",
        codec::COLUMNS
    );
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        let head: Seq = row.get(1)?;
        let mut events = connection.prepare_cached(&sql)?;
        let mut events = events.query(params![
            row.get::<_, String>(0)?,
            head.saturating_sub(u64::from(RECENT_EVENTS)),
            left
        ])?;
        while let Some(event) = events.next()? {
            found.push(codec::decode(event)?);
        }
    }
    Ok(found)
}

fn read(
    connection: &Connection,
    order: &str,
    session_id: &SessionId,
    seq: Seq,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let sql = format!(
        "SELECT {} FROM events WHERE session_id = ?1 AND {order} LIMIT ?3",
        codec::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    // Numbers beyond SQLite's own are beyond every log.
    let seq = seq.min(i64::MAX as u64);
    let mut rows = statement.query(params![session_id.as_str(), seq, limit])?;
    let (mut events, mut bytes) = (Vec::new(), 0usize);
    while let Some(row) = rows.next()? {
        bytes = bytes.saturating_add(codec::body_len(row)?);
        // At least one, so that every reader gets on.
        if bytes > PAGE_BYTES && !events.is_empty() {
            break;
        }
        events.push(codec::decode(row)?);
    }
    Ok(events)
}

pub(super) fn append_in(connection: &Connection, append: &Append) -> Result<(), StoreError> {
    if let Some(request) = &append.request {
        requests::insert(connection, request)?;
    }
    if let Some(prefix) = &append.begins_with {
        super::copy::put_prefix(connection, &append.session_id, prefix)?;
    }
    index::put_session(connection, append)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO events (session_id, seq, time_us, schema, kind, principal, client, trace_id, request_id, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (event, body) in append.sealed.kept.iter().zip(&append.sealed.bodies) {
        insert.execute(params![
            event.session_id.as_str(),
            event.seq,
            event.time_us,
            event.schema,
            event.body.kind(),
            event.caller.principal,
            event.caller.client.word(),
            event.caller.trace_id,
            event.caller.request_id,
            body,
        ])?;
        index::note(connection, event)?;
    }
    let indexed = match &append.begins_with {
        Some(_) => 0,
        None => append.expected_head,
    };
    search::fall_behind(connection, &append.session_id, indexed)?;
    blocks::fall_behind(connection, &append.session_id, indexed, append.summary.head)?;
    super::ledger::put(connection, append)?;
    super::lifecycle::rewrite(connection, &append.session_id, &append.rewrites)
}
