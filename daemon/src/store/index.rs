//! Owns: the tables that make lists and look-ups cheap: sessions, approvals, execs.
//! Guarantees: written in the transaction of the log they are folded from; never the only copy of a fact.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::log::Append;
use super::{ExecRow, StoreError};
use crate::domain::approval::{Answer, Approval, Verdict};
use crate::domain::event::{Event, EventBody};
use crate::domain::id::{ExecId, SessionId};
use crate::domain::persona::Persona;
use crate::domain::session::{State, Summary};

/// In which order sessions are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionOrder {
    /// Needing-you first, then by last event, newest first.
    #[default]
    Activity,
    /// By name.
    Name,
    /// Newest first.
    Created,
    /// Dearest first.
    Cost,
}

impl SessionOrder {
    fn sql(self) -> &'static str {
        match self {
            Self::Activity => "state <> 'needs_you', updated_us DESC",
            Self::Name => "name COLLATE NOCASE, session_id",
            Self::Created => "created_us DESC, session_id",
            Self::Cost => "cost_micro_usd DESC, updated_us DESC",
        }
    }
}

/// Which sessions a list shows.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Only these; empty: all but archived and deleted.
    pub states: Vec<State>,
    /// Only on this workspace.
    pub workspace: Option<String>,
    /// In which order.
    pub order: SessionOrder,
    /// Skip so many.
    pub offset: u32,
    /// At most so many.
    pub limit: u32,
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Io(std::io::Error::other(e)))
}

fn unjson<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Io(std::io::Error::other(e)))
}

pub(super) fn id_of(text: &str) -> Result<SessionId, StoreError> {
    text.parse()
        .map_err(|e: crate::domain::id::IdError| StoreError::Io(std::io::Error::other(e)))
}

/// The number of the next change of any session's row.
pub(super) fn next_rev(connection: &Connection) -> Result<u64, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 + max(coalesce((SELECT max(rev) FROM sessions), 0),
                            coalesce((SELECT max(rev) FROM tombstones), 0))",
        )?
        .query_row([], |row| row.get(0))?)
}

/// An id that no session has, and none had: ids are short, so that among ten thousand two would be the same now and then.
pub(super) fn free_session_id(connection: &Connection) -> Result<SessionId, StoreError> {
    free(connection, std::iter::repeat_with(SessionId::random))
}

pub(super) fn free(
    connection: &Connection,
    candidates: impl Iterator<Item = SessionId>,
) -> Result<SessionId, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM sessions WHERE session_id = ?1)
             OR EXISTS (SELECT 1 FROM tombstones WHERE session_id = ?1)",
    )?;
    for id in candidates {
        if !statement.query_row([id.as_str()], |row| row.get::<_, bool>(0))? {
            return Ok(id);
        }
    }
    Err(StoreError::Io(std::io::Error::other("no session id is free")))
}

/// Makes or moves a session's row; refuses when the head is not the expected one.
pub(super) fn put_session(connection: &Connection, append: &Append) -> Result<(), StoreError> {
    let summary = &append.summary;
    let open_work = summary.turn_id.is_some() || summary.open_execs > 0 || !summary.approval_ids.is_empty();
    let rev = next_rev(connection)?;
    let text = json(summary)?;
    let workspace = summary.spec.workspace.root.to_string_lossy();
    let result = if append.expected_head == 0 || append.begins_with.is_some() {
        connection
            .prepare_cached(
                "INSERT INTO sessions (session_id, name, principal, workspace, state, head, updated_us, rev, open_work, summary,
                    created_us, cost_micro_usd, purge_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                summary.session_id.as_str(),
                summary.name,
                summary.spec.principal,
                workspace,
                summary.state.word(),
                summary.head,
                summary.updated_us,
                rev,
                open_work,
                text,
                summary.created_us,
                summary.spent.micro_usd,
                summary.standing.purge_us
            ])
    } else {
        move_session(connection, append, rev, open_work, &text)
    };
    match result {
        Ok(1) => Ok(()),
        Ok(_) => Err(StoreError::HeadMoved {
            expected: append.expected_head,
        }),
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
                && error.to_string().contains("sessions.name") =>
        {
            Err(StoreError::NameTaken(summary.name.clone()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Moves a session's row on. Most facts change neither name nor state: then the indexes over these stay as they are.
fn move_session(
    connection: &Connection,
    append: &Append,
    rev: u64,
    open_work: bool,
    text: &str,
) -> rusqlite::Result<usize> {
    let summary = &append.summary;
    let values = params![
        summary.session_id.as_str(),
        append.expected_head,
        summary.head,
        summary.updated_us,
        rev,
        text,
        summary.name,
        summary.state.word(),
        open_work,
        summary.spent.micro_usd,
        summary.standing.purge_us
    ];
    let moved = connection
        .prepare_cached(
            "UPDATE sessions SET head = ?3, updated_us = ?4, rev = ?5, summary = ?6
             WHERE session_id = ?1 AND head = ?2 AND name = ?7 AND state = ?8 AND open_work = ?9
               AND cost_micro_usd = ?10 AND purge_us IS ?11",
        )?
        .execute(values)?;
    if moved > 0 {
        return Ok(moved);
    }
    connection
        .prepare_cached(
            "UPDATE sessions SET head = ?3, updated_us = ?4, rev = ?5, summary = ?6, name = ?7, state = ?8, open_work = ?9,
                cost_micro_usd = ?10, purge_us = ?11
             WHERE session_id = ?1 AND head = ?2",
        )?
        .execute(values)
}

/// Writes what a session is doing anew; the log stands where it stood. Nothing when it moved on meanwhile.
pub(super) fn restate(connection: &Connection, summary: &Summary) -> Result<(), StoreError> {
    let rev = next_rev(connection)?;
    connection
        .prepare_cached(
            "UPDATE sessions SET state = ?2, rev = ?3, summary = ?4 WHERE session_id = ?1 AND head = ?5",
        )?
        .execute(params![
            summary.session_id.as_str(),
            summary.state.word(),
            rev,
            json(summary)?,
            summary.head
        ])?;
    Ok(())
}

/// Takes what an event says about approvals and execs into their tables.
pub(super) fn note(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    match &event.body {
        EventBody::ApprovalRequested { approval } => {
            connection
                .prepare_cached(
                    "INSERT INTO approvals (approval_id, session_id, asked_us, open, approval) VALUES (?1, ?2, ?3, 1, ?4)",
                )?
                .execute(params![
                    approval.approval_id.as_str(),
                    event.session_id.as_str(),
                    approval.asked_us,
                    json(approval)?
                ])?;
        }
        EventBody::ApprovalResolved {
            approval_id,
            verdict,
            reason,
            rules,
            rules_until_us,
            ..
        } => {
            let text: Option<String> = connection
                .prepare_cached("SELECT approval FROM approvals WHERE approval_id = ?1")?
                .query_row([approval_id.as_str()], |row| row.get(0))
                .optional()?;
            if let Some(text) = text {
                let mut approval: Approval = unjson(&text)?;
                approval.answer = Some(Answer {
                    verdict: *verdict,
                    by: event.caller.signature(),
                    at_us: event.time_us,
                    reason: reason.clone(),
                    rules: rules.clone(),
                    rules_until_us: *rules_until_us,
                });
                connection
                    .prepare_cached("UPDATE approvals SET open = 0, approval = ?2 WHERE approval_id = ?1")?
                    .execute(params![approval_id.as_str(), json(&approval)?])?;
            }
            if let (Verdict::ApprovedProject, Some(until_us)) = (verdict, rules_until_us) {
                super::grants::put(connection, event, approval_id, rules, *until_us)?;
            }
        }
        EventBody::ExecStarted { exec_id, .. } => {
            connection
                .prepare_cached("INSERT INTO execs (session_id, exec_id, started_seq) VALUES (?1, ?2, ?3)")?
                .execute(params![event.session_id.as_str(), exec_id.as_str(), event.seq])?;
        }
        EventBody::ExecFinished { exec_id, result } => {
            connection
                .prepare_cached(
                    "UPDATE execs SET finished_seq = ?3, result = ?4 WHERE session_id = ?1 AND exec_id = ?2",
                )?
                .execute(params![
                    event.session_id.as_str(),
                    exec_id.as_str(),
                    event.seq,
                    json(result)?
                ])?;
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn session(connection: &Connection, id: &SessionId) -> Result<Option<Summary>, StoreError> {
    let text: Option<String> = connection
        .prepare_cached("SELECT summary FROM sessions WHERE session_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    text.as_deref().map(summary).transpose()
}

fn summary(text: &str) -> Result<Summary, StoreError> {
    let mut summary: Summary = unjson(text)?;
    if summary.in_force.persona.is_empty() {
        // A row written before there were personas to choose.
        summary.in_force = Persona::usual().in_force(summary.spec.policy_generation);
    }
    Ok(summary)
}

fn summaries(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Summary>, StoreError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(summary(&row.get::<_, String>(0)?)?);
    }
    Ok(found)
}

pub(super) fn sessions(connection: &Connection, filter: &SessionFilter) -> Result<Vec<Summary>, StoreError> {
    // States are words of ours, never text of a caller.
    let states = if filter.states.is_empty() {
        "state NOT IN ('archived', 'deleted')".to_owned()
    } else {
        let words: Vec<String> = filter.states.iter().map(|s| format!("'{}'", s.word())).collect();
        format!("state IN ({})", words.join(","))
    };
    let sql = format!(
        "SELECT summary FROM sessions WHERE {states} AND (?1 IS NULL OR workspace = ?1)
         ORDER BY {} LIMIT ?2 OFFSET ?3",
        filter.order.sql()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    summaries(statement.query(params![filter.workspace, filter.limit, filter.offset])?)
}

/// A change of the list of sessions.
#[derive(Debug, Clone)]
pub enum RowChange {
    /// A session's row as it is now.
    Row(Box<Summary>),
    /// The session was purged.
    Purged(SessionId),
}

pub(super) fn changed(connection: &Connection, rev: u64) -> Result<(Vec<RowChange>, u64), StoreError> {
    // Whoever begins has never heard of what is purged.
    let mut statement = connection.prepare_cached(
        "SELECT summary, NULL, rev FROM sessions WHERE rev > ?1
         UNION ALL SELECT NULL, session_id, rev FROM tombstones WHERE rev > ?1 AND ?1 > 0
         ORDER BY 3 LIMIT 1000",
    )?;
    let mut rows = statement.query([rev])?;
    let (mut found, mut newest) = (Vec::new(), rev);
    while let Some(row) = rows.next()? {
        found.push(match row.get::<_, Option<String>>(0)? {
            Some(text) => RowChange::Row(Box::new(summary(&text)?)),
            None => RowChange::Purged(id_of(&row.get::<_, String>(1)?)?),
        });
        newest = row.get(2)?;
    }
    Ok((found, newest))
}

pub(super) fn find(connection: &Connection, text: &str, principal: &str) -> Result<Vec<Summary>, StoreError> {
    // Exact id first, then exact name, then prefix of an id: a name can't shadow an id.
    let mut exact = connection.prepare_cached("SELECT summary FROM sessions WHERE session_id = ?1")?;
    let found = summaries(exact.query([text])?)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let mut named = connection.prepare_cached(
        "SELECT summary FROM sessions WHERE name = ?1 AND principal = ?2 AND state NOT IN ('archived', 'deleted')",
    )?;
    let found = summaries(named.query([text, principal])?)?;
    if !found.is_empty() {
        return Ok(found);
    }
    if !text.starts_with("s-") {
        // Hidden ones last: their names may be another's by now.
        let mut hidden = connection.prepare_cached(
            "SELECT summary FROM sessions WHERE name = ?1 AND principal = ?2 AND state IN ('archived', 'deleted')
             ORDER BY updated_us DESC LIMIT 4",
        )?;
        return summaries(hidden.query([text, principal])?);
    }
    let mut prefixed = connection
        .prepare_cached("SELECT summary FROM sessions WHERE session_id >= ?1 AND session_id < ?2 LIMIT 4")?;
    summaries(prefixed.query(params![text, past(text)])?)
}

pub(super) fn open_work(connection: &Connection) -> Result<Vec<SessionId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT session_id FROM sessions WHERE open_work = 1")?;
    let mut rows = statement.query([])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(id_of(&row.get::<_, String>(0)?)?);
    }
    Ok(ids)
}

/// What the ended commands of a session took together, microseconds.
pub(super) fn exec_time(connection: &Connection, session_id: &SessionId) -> Result<u64, StoreError> {
    let total: i64 = connection
        .prepare_cached(
            "SELECT COALESCE(SUM(json_extract(result, '$.duration_us')), 0) FROM execs WHERE session_id = ?1",
        )?
        .query_row(params![session_id.as_str()], |row| row.get(0))?;
    Ok(u64::try_from(total).unwrap_or(0))
}

pub(super) fn exec(
    connection: &Connection,
    session_id: &SessionId,
    exec_id: &ExecId,
) -> Result<Option<ExecRow>, StoreError> {
    let row = connection
        .prepare_cached("SELECT started_seq, result FROM execs WHERE session_id = ?1 AND exec_id = ?2")?
        .query_row(params![session_id.as_str(), exec_id.as_str()], |row| {
            Ok((row.get(0)?, row.get::<_, Option<String>>(1)?))
        })
        .optional()?;
    let Some((started_seq, result)) = row else {
        return Ok(None);
    };
    Ok(Some(ExecRow {
        started_seq,
        result: result.as_deref().map(unjson).transpose()?,
    }))
}

fn approval(row: &Row<'_>) -> Result<(SessionId, Approval), StoreError> {
    Ok((
        id_of(&row.get::<_, String>(0)?)?,
        unjson(&row.get::<_, String>(1)?)?,
    ))
}

pub(super) fn approvals(
    connection: &Connection,
    session_id: Option<&SessionId>,
    decided: bool,
    limit: u32,
) -> Result<Vec<(SessionId, Approval)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT session_id, approval FROM approvals
         WHERE (?1 IS NULL OR session_id = ?1) AND (open = 1 OR ?2)
         ORDER BY open DESC, CASE WHEN open THEN asked_us ELSE -asked_us END LIMIT ?3",
    )?;
    let mut rows = statement.query(params![session_id.map(SessionId::as_str), decided, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(approval(row)?);
    }
    Ok(found)
}

pub(super) fn find_approvals(
    connection: &Connection,
    prefix: &str,
) -> Result<Vec<(SessionId, Approval)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT session_id, approval FROM approvals WHERE approval_id >= ?1 AND approval_id < ?2 ORDER BY approval_id = ?1 DESC LIMIT 3",
    )?;
    let mut rows = statement.query(params![prefix, past(prefix)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(approval(row)?);
    }
    Ok(found)
}

pub(super) fn counts(connection: &Connection) -> Result<(u32, u32, u32), StoreError> {
    let one = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
    Ok((
        one("SELECT count(*) FROM sessions WHERE state NOT IN ('archived', 'deleted')")?,
        one("SELECT count(*) FROM sessions WHERE open_work = 1 AND state = 'working'")?,
        one("SELECT count(*) FROM approvals WHERE open = 1")?,
    ))
}

/// The first text after all that begin with `prefix` (ids are lower-case ASCII).
fn past(prefix: &str) -> String {
    format!("{prefix}~")
}
