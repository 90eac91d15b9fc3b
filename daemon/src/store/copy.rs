//! Owns: logs that begin with another's: the first events of a fork, and of a session that came in a bundle.
//! Guarantees: the copy and what it begins with are one transaction with its row; questions and costs stay
//! the original's alone.

use rusqlite::{Connection, params};

use super::{StoreError, codec};
use crate::domain::event::{Event, EventBody, SCHEMA};
use crate::domain::id::{Seq, SessionId};

/// Where a log begins.
#[derive(Debug, Clone)]
pub enum Prefix {
    /// With another session's events up to a seq, with its commands and, where given, its shell's state.
    Of {
        /// Which session.
        session_id: SessionId,
        /// Up to where.
        seq: Seq,
        /// The shell's state, JSON.
        snapshot: Option<String>,
    },
    /// With these events. They are this session's already and went through the redactor.
    Events(Vec<Event>),
}

pub(super) fn put_prefix(
    connection: &Connection,
    session_id: &SessionId,
    prefix: &Prefix,
) -> Result<(), StoreError> {
    match prefix {
        Prefix::Of {
            session_id: from,
            seq,
            snapshot,
        } => {
            connection
                .prepare_cached(
                    "INSERT INTO events (session_id, seq, time_us, schema, kind, principal, client, trace_id, request_id, body)
                     SELECT ?1, seq, time_us, schema, kind, principal, client, trace_id, request_id, body
                     FROM events WHERE session_id = ?2 AND seq <= ?3",
                )?
                .execute(params![session_id.as_str(), from.as_str(), seq])?;
            connection
                .prepare_cached(
                    "INSERT INTO execs (session_id, exec_id, started_seq, finished_seq, result)
                     SELECT ?1, exec_id, started_seq,
                       CASE WHEN finished_seq <= ?3 THEN finished_seq END,
                       CASE WHEN finished_seq <= ?3 THEN result END
                     FROM execs WHERE session_id = ?2 AND started_seq <= ?3",
                )?
                .execute(params![session_id.as_str(), from.as_str(), seq])?;
            if let Some(text) = snapshot {
                connection
                    .prepare_cached(
                        "INSERT INTO snapshots (session_id, time_us, snapshot) VALUES (?1, 0, ?2)",
                    )?
                    .execute(params![session_id.as_str(), text])?;
            }
            Ok(())
        }
        Prefix::Events(events) => {
            for event in events {
                put_event(connection, event)?;
            }
            Ok(())
        }
    }
}

fn put_event(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO events (session_id, seq, time_us, schema, kind, principal, client, trace_id, request_id, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, ?9)",
        )?
        .execute(params![
            event.session_id.as_str(),
            event.seq,
            event.time_us,
            SCHEMA,
            event.body.kind(),
            event.caller.principal,
            event.caller.client.word(),
            event.caller.trace_id,
            codec::encode(&event.body)?,
        ])?;
    // Commands are looked up by their row; questions are the original's.
    if matches!(
        event.body,
        EventBody::ExecStarted { .. } | EventBody::ExecFinished { .. }
    ) {
        super::index::note(connection, event)?;
    }
    Ok(())
}
