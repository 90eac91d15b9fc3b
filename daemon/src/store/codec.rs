//! Owns: how an Event's body looks on disk, for every schema number ever released.
//! Guarantees: encode then decode is identity; an unknown body of the same schema is an error, never a guess.

use rusqlite::Row;

use super::StoreError;
use crate::domain::event::{Event, EventBody, SCHEMA};
use crate::domain::id::{Seq, SessionId};
use crate::domain::principal::{Caller, Client};

/// The columns [`decode`] reads, in order.
pub(super) const COLUMNS: &str =
    "session_id, seq, time_us, schema, principal, client, trace_id, request_id, body";

/// The body as JSON text.
pub(super) fn encode(body: &EventBody) -> Result<String, StoreError> {
    serde_json::to_string(body).map_err(|e| StoreError::Io(std::io::Error::other(e)))
}

/// Reads the body of schema `schema`.
pub(super) fn decode_body(schema: u32, text: &str) -> Result<EventBody, String> {
    match schema {
        SCHEMA => serde_json::from_str(text).map_err(|e| e.to_string()),
        other => Err(format!("schema {other} is not known to this agentd")),
    }
}

/// Bytes of the body in one row of [`COLUMNS`].
pub(super) fn body_len(row: &Row<'_>) -> Result<usize, StoreError> {
    Ok(row.get_ref(8)?.as_bytes().map_or(0, <[u8]>::len))
}

/// Reads one row of [`COLUMNS`].
pub(super) fn decode(row: &Row<'_>) -> Result<Event, StoreError> {
    decode_from(row, 0)
}

/// The same, where the columns begin with the one numbered `at`.
pub(super) fn decode_from(row: &Row<'_>, at: usize) -> Result<Event, StoreError> {
    let session: String = row.get(at)?;
    let seq: Seq = row.get(at + 1)?;
    let schema: u32 = row.get(at + 3)?;
    let text: String = row.get(at + 8)?;
    let fail = |detail: String| StoreError::Decode {
        session: session.clone(),
        seq,
        detail,
    };
    let body = decode_body(schema, &text).map_err(&fail)?;
    let session_id: SessionId = session
        .parse()
        .map_err(|e: crate::domain::id::IdError| fail(e.to_string()))?;
    Ok(Event {
        session_id,
        seq,
        time_us: row.get(at + 2)?,
        schema,
        caller: Caller {
            principal: row.get(at + 4)?,
            client: Client::from_word(&row.get::<_, String>(at + 5)?),
            trace_id: row.get(at + 6)?,
            request_id: row.get(at + 7)?,
        },
        body,
    })
}
