//! Owns: the table of what was granted to projects.
//! Guarantees: a grant is written in the transaction of the answer that made it; one that is taken back stays listed.

use rusqlite::{Connection, Row, params};

use super::StoreError;
use crate::domain::approval::ProjectGrant;
use crate::domain::event::Event;
use crate::domain::id::{ApprovalId, GrantId};

const COLUMNS: &str =
    "grant_id, workspace, principal, rule, granted_us, expires_us, granted_by, approval_id, revoked_us";

/// Writes the grants of an answer.
pub(super) fn put(
    connection: &Connection,
    event: &Event,
    approval_id: &ApprovalId,
    rules: &[String],
    until_us: i64,
) -> Result<(), StoreError> {
    for rule in rules {
        connection
            .prepare_cached(
                "INSERT INTO project_grants
                     (grant_id, workspace, principal, rule, granted_us, expires_us, granted_by, approval_id)
                 SELECT ?1, workspace, principal, ?2, ?3, ?4, ?5, ?6 FROM sessions WHERE session_id = ?7",
            )?
            .execute(params![
                GrantId::random().as_str(),
                rule,
                event.time_us,
                until_us,
                event.caller.signature(),
                approval_id.as_str(),
                event.session_id.as_str(),
            ])?;
    }
    Ok(())
}

/// All grants, newest first.
pub(super) fn all(connection: &Connection) -> Result<Vec<ProjectGrant>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM project_grants ORDER BY granted_us DESC, grant_id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(grant(row)?);
    }
    Ok(found)
}

/// Takes a grant back; a second time changes nothing.
pub(super) fn revoke(connection: &Connection, grant_id: &GrantId, now_us: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE project_grants SET revoked_us = coalesce(revoked_us, ?2) WHERE grant_id = ?1",
        )?
        .execute(params![grant_id.as_str(), now_us])?;
    Ok(())
}

fn grant(row: &Row<'_>) -> Result<ProjectGrant, StoreError> {
    let id = |text: String| {
        text.parse()
            .map_err(|e: crate::domain::id::IdError| StoreError::Io(std::io::Error::other(e)))
    };
    let approval = |text: String| {
        text.parse()
            .map_err(|e: crate::domain::id::IdError| StoreError::Io(std::io::Error::other(e)))
    };
    Ok(ProjectGrant {
        grant_id: id(row.get(0)?)?,
        workspace: row.get(1)?,
        principal: row.get(2)?,
        rule: row.get(3)?,
        granted_us: row.get(4)?,
        expires_us: row.get(5)?,
        granted_by: row.get(6)?,
        approval_id: approval(row.get(7)?)?,
        revoked_us: row.get(8)?,
    })
}
