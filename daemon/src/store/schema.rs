//! Owns: opening the database and bringing its schema forward.
//! Guarantees: each migration is one transaction; a newer database is refused untouched; a damaged one too, where it
//! is small enough to be read whole at every start.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use crate::durable::Point;

/// Forward steps: entry n takes schema n to n+1. Never edited after a release.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/v1.sql"),
    include_str!("migrations/v2.sql"),
    include_str!("migrations/v3.sql"),
    include_str!("migrations/v4.sql"),
    include_str!("migrations/v5.sql"),
    include_str!("migrations/v6.sql"),
    include_str!("migrations/v7.sql"),
    include_str!("migrations/v8.sql"),
    include_str!("migrations/v9.sql"),
    include_str!("migrations/v10.sql"),
];
/// The step that begins the search index; what was there before is taken in with it.
const SEARCH_STEP: usize = 3;

/// The step that brought sums over the ledger: those of the rows that are there already are made with it.
const LEDGER_SUMS: usize = 2;

/// Statements that a connection keeps compiled: more than there are, since compiling one takes longer than running it.
const STATEMENTS: usize = 256;

/// A database up to this size, bytes, is checked whole before anything is done with it (some 0.2 s). Of a larger one only
/// what every list reads is, and the rest beside the work: a start must not take longer with every day of use.
const CHECKED_FIRST: u64 = 64 * 1024 * 1024;

/// The schema this build writes.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Opens the writing connection.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path).map_err(|e| damage(path, e))?;
    let version: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|e| damage(path, e))?;
    if version > known() {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found: version,
            known: known(),
        });
    }
    if version > 0 {
        let large = std::fs::metadata(path).is_ok_and(|file| file.len() > CHECKED_FIRST);
        if large {
            verdict(&connection, path, "PRAGMA quick_check(sessions)")?;
            check_beside(path)?;
        } else {
            verdict(&connection, path, "PRAGMA quick_check(1)")?;
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: an intent must be on disk before the tool runs; NORMAL could lose the last commits in a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if version > 0 && version < known() {
        back_up(&connection, path, version)?;
    }
    migrate(&mut connection, version)?;
    Ok(connection)
}

fn verdict(connection: &Connection, path: &Path, check: &str) -> Result<(), StoreError> {
    let verdict: String = connection
        .query_row(check, [], |row| row.get(0))
        .map_err(|e| damage(path, e))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        path: path.to_owned(),
        detail: verdict,
    })
}

/// Reads all of a database and says whether it is whole.
pub fn check(path: &Path) -> Result<(), StoreError> {
    verdict(&open_reader(path)?, path, "PRAGMA quick_check(1)")
}

/// Checks a large database while the work has begun. Nothing waits for it: it ends with the process.
fn check_beside(path: &Path) -> Result<(), StoreError> {
    let path = path.to_owned();
    let work = move || {
        if let Err(error) = check(&path) {
            tracing::error!(%error, "store: the database is damaged; see: agentctl doctor");
        }
    };
    let thread = std::thread::Builder::new().name("store-check".into());
    thread.spawn(work).map(drop).map_err(StoreError::Io)
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn migrate(connection: &mut Connection, from: u32) -> Result<(), StoreError> {
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(from as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        if index == LEDGER_SUMS {
            super::ledger::rebuild(&transaction)?;
        }
        if index == SEARCH_STEP {
            super::search::index_all(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", u32::try_from(index + 1).unwrap_or(u32::MAX))?;
        Point::StoreMigration.through(|| transaction.commit())?;
    }
    Ok(())
}

/// A copy of the database as it was, beside it, before its schema changes.
fn back_up(connection: &Connection, path: &Path, version: u32) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".schema-{version}"));
    let copy = Path::new(&name);
    if !copy.exists() {
        connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    }
    Ok(())
}

fn damage(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            StoreError::Corrupt {
                path: path.to_owned(),
                detail: error.to_string(),
            }
        }
        _ => error.into(),
    }
}
