//! Owns: full-text search over sessions, commands and outputs.
//! Guarantees: a fact is found as soon as it is committed, though it is indexed later, together with others: no commit
//! waits for that, and who searches waits for what is left; indexing costs what the facts have, not what the log has;
//! what was redacted or purged is not found. The index for finding in one session is brought up along with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError, blocks, codec};
use crate::domain::event::{Event, EventBody};
use crate::domain::id::{Seq, SessionId};
use crate::domain::message::Part;
use crate::domain::session::Summary;

/// Bytes of one text that are indexed: half from its head, half from its tail.
const INDEXED_BYTES: usize = 64 * 1024;
/// How long facts wait for others to be indexed with.
const TOGETHER: Duration = Duration::from_secs(1);
/// Bytes of bodies that are indexed in one go: other writes wait no longer than that takes.
const AT_ONCE: usize = 512 * 1024;
/// Most words of a query.
const MAX_WORDS: usize = 16;
/// Characters around a hit that a person is shown.
const AROUND: usize = 60;

/// Something found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The session it is in, as it is now.
    pub session: Summary,
    /// Which event has it.
    pub event: Event,
    /// The words around it, one line.
    pub snippet: String,
}

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct SearchWish {
    /// Words, as a person types them.
    pub text: String,
    /// Only in this session.
    pub session_id: Option<SessionId>,
    /// Also in archived sessions.
    pub archived: bool,
    /// At most so many.
    pub limit: u32,
}

/// Whether the index is behind the log.
#[derive(Clone)]
pub(super) struct Lag {
    /// It may be: true until somebody looked.
    behind: Arc<AtomicBool>,
    /// Somebody will look.
    awaited: Arc<AtomicBool>,
    /// Held while it is brought up: who comes meanwhile waits, or would find less than is committed.
    bringing_up: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            // What the last process left.
            behind: Arc::new(AtomicBool::new(true)),
            awaited: Arc::default(),
            bringing_up: Arc::default(),
        }
    }
}

impl Store {
    /// What has all the words, newest first. Sessions in the trash are not looked at.
    pub async fn search(&self, wish: SearchWish) -> Result<Vec<Found>, StoreError> {
        self.catch_up(false).await?;
        self.readers.read(move |c| search(c, &wish)).await
    }

    /// Sees to it that what was just committed is indexed before long.
    pub(super) fn index_soon(&self) {
        self.lag.behind.store(true, Ordering::SeqCst);
        if self.lag.awaited.swap(true, Ordering::SeqCst) {
            return;
        }
        let me = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(TOGETHER).await;
            me.lag.awaited.store(false, Ordering::SeqCst);
            match me.catch_up(true).await {
                // The next process goes on with it.
                Ok(()) | Err(StoreError::Closed) => {}
                Err(error) => tracing::warn!(%error, "store: new facts can't be searched for yet"),
            }
        });
    }

    /// Until all words are indexed; and all blocks, where nobody waits.
    pub(super) async fn catch_up(&self, whole: bool) -> Result<(), StoreError> {
        loop {
            let left = self.step().await?;
            if left == Left::Nothing || (left == Left::Blocks && !whole) {
                return Ok(());
            }
        }
    }

    async fn step(&self) -> Result<Left, StoreError> {
        let _turn = self.lag.bringing_up.lock().await;
        // Before the look: what is committed during it wants another.
        if !self.lag.behind.swap(false, Ordering::SeqCst) {
            return Ok(Left::Nothing);
        }
        let left = self.writer.write(step).await;
        if !matches!(left, Ok(Left::Nothing)) {
            self.lag.behind.store(true, Ordering::SeqCst);
        }
        left
    }
}

/// What is not indexed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// What a search needs.
    Words,
    /// What makes finding quick.
    Blocks,
    Nothing,
}

fn step(connection: &Connection) -> Result<Left, StoreError> {
    Ok(if catch_up(connection)? {
        Left::Words
    } else if blocks::catch_up(connection)? {
        Left::Blocks
    } else {
        Left::Nothing
    })
}

/// What of a fact can be searched for.
fn text_of(body: &EventBody) -> Option<String> {
    match body {
        EventBody::SessionCreated(spec) => Some(format!("{}\n{}", spec.name, spec.workspace.root.display())),
        EventBody::SessionRenamed { name } => Some(name.clone()),
        EventBody::MessagePosted { parts, .. } | EventBody::StepFinished { parts, .. } => {
            let mut text = String::new();
            for part in parts {
                match part {
                    Part::Text { text: words } => text.push_str(words),
                    Part::Attachment { name, text: words } => {
                        text.push_str(name);
                        text.push('\n');
                        text.push_str(words);
                    }
                    Part::Image { name, .. } => text.push_str(name),
                    _ => continue,
                }
                text.push('\n');
            }
            Some(text)
        }
        EventBody::ContextCompacted { summary, .. } => Some(summary.clone()),
        EventBody::TitleChosen { title, .. } => Some(title.clone()),
        EventBody::ToolCallStarted { call, summary, .. } => Some(format!("{summary}\n{}", call.arguments)),
        EventBody::ToolCallFinished { result, .. } => Some(result.clone()),
        // A tool's command is in its call already.
        EventBody::ExecStarted {
            script,
            call_id: None,
            ..
        } => Some(script.clone()),
        EventBody::ChangeRecorded { path, .. } => Some(path.display().to_string()),
        EventBody::TurnFinished {
            outcome: crate::domain::event::TurnOutcome::Failed { message, .. },
            ..
        } => Some(message.clone()),
        EventBody::NoticeRecorded { message, .. } => Some(message.clone()),
        _ => None,
    }
    .filter(|text| !text.trim().is_empty())
}

/// Remembers that the facts of a session after `seq` are not indexed.
pub(super) fn fall_behind(
    connection: &Connection,
    session_id: &SessionId,
    seq: Seq,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO search_behind (session_id, seq) VALUES (?1, ?2)")?
        .execute(params![session_id.as_str(), seq])?;
    Ok(())
}

/// Indexes some of what is not yet; true when there is more.
fn catch_up(connection: &Connection) -> Result<bool, StoreError> {
    let mut room = AT_ONCE;
    while let Some((session_id, seq)) = connection
        .prepare_cached("SELECT session_id, seq FROM search_behind LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
        .optional()?
    {
        if !index_after(connection, &session_id, seq, &mut room)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Indexes all that a session's log has and the index has not.
pub(super) fn catch_up_with(connection: &Connection, session_id: &SessionId) -> Result<(), StoreError> {
    let seq: Option<Seq> = connection
        .prepare_cached("SELECT seq FROM search_behind WHERE session_id = ?1")?
        .query_row([session_id.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(seq) = seq {
        let mut room = usize::MAX;
        index_after(connection, session_id.as_str(), seq, &mut room)?;
    }
    Ok(())
}

/// Indexes a session's facts after `seq`, as far as there is room; true when none is left.
fn index_after(
    connection: &Connection,
    session_id: &str,
    seq: Seq,
    room: &mut usize,
) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT {} FROM events WHERE session_id = ?1 AND seq > ?2 ORDER BY seq",
        codec::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![session_id, seq])?;
    let mut done = seq;
    while let Some(row) = rows.next()? {
        if *room == 0 {
            connection
                .prepare_cached("UPDATE search_behind SET seq = ?2 WHERE session_id = ?1")?
                .execute(params![session_id, done])?;
            return Ok(false);
        }
        *room = room.saturating_sub(codec::body_len(row)?.max(1));
        let event = codec::decode(row)?;
        done = event.seq;
        note(connection, &event)?;
    }
    connection
        .prepare_cached("DELETE FROM search_behind WHERE session_id = ?1")?
        .execute([session_id])?;
    Ok(true)
}

/// Takes a fact into the index.
pub(super) fn note(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    match text_of(&event.body) {
        Some(text) => put(connection, &event.session_id, event.seq, &ends(&text)),
        None => Ok(()),
    }
}

fn put(connection: &Connection, session_id: &SessionId, seq: Seq, text: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO search_rows (session_id, seq) VALUES (?1, ?2)")?
        .execute(params![session_id.as_str(), seq])?;
    let row = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO search (rowid, text) VALUES (?1, ?2)")?
        .execute(params![row, spaced(text)])?;
    Ok(())
}

/// Takes events out of the index; all of a session's without `seqs`. What was taken out is overwritten where
/// `for_good`.
pub(super) fn forget(
    connection: &Connection,
    session_id: &SessionId,
    seqs: Option<&[Seq]>,
    for_good: bool,
) -> Result<(), StoreError> {
    let mut rows: Vec<(i64, Seq)> = Vec::new();
    {
        let mut statement =
            connection.prepare_cached("SELECT row, seq FROM search_rows WHERE session_id = ?1")?;
        let mut found = statement.query([session_id.as_str()])?;
        while let Some(row) = found.next()? {
            rows.push((row.get(0)?, row.get(1)?));
        }
    }
    for (row, seq) in rows {
        if seqs.is_none_or(|seqs| seqs.contains(&seq)) {
            connection
                .prepare_cached("DELETE FROM search WHERE rowid = ?1")?
                .execute([row])?;
            connection
                .prepare_cached("DELETE FROM search_rows WHERE row = ?1")?
                .execute([row])?;
        }
    }
    if for_good {
        // Deleted rows leave their words in the index until its segments are merged.
        connection.execute("INSERT INTO search (search) VALUES ('optimize')", [])?;
    }
    Ok(())
}

/// Indexes all logs: for databases from before there was an index.
pub(super) fn index_all(connection: &Connection) -> Result<(), StoreError> {
    let sql = format!("SELECT {} FROM events ORDER BY session_id, seq", codec::COLUMNS);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        note(connection, &codec::decode(row)?)?;
    }
    Ok(())
}

fn search(connection: &Connection, wish: &SearchWish) -> Result<Vec<Found>, StoreError> {
    let Some(query) = query_of(&wish.text) else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT s.summary, {} FROM search
         JOIN search_rows AS r ON r.row = search.rowid
         JOIN sessions AS s ON s.session_id = r.session_id
         JOIN events AS e ON e.session_id = r.session_id AND e.seq = r.seq
         WHERE search MATCH ?1 AND (?2 IS NULL OR r.session_id = ?2)
           AND s.state <> 'deleted' AND (?3 OR s.state <> 'archived')
         ORDER BY search.rowid DESC LIMIT ?4",
        codec::COLUMNS
            .split(", ")
            .map(|column| format!("e.{column}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        query,
        wish.session_id.as_ref().map(SessionId::as_str),
        wish.archived,
        wish.limit
    ])?;
    let words: Vec<String> = wish.text.split_whitespace().map(str::to_lowercase).collect();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let summary: String = row.get(0)?;
        let session: Summary =
            serde_json::from_str(&summary).map_err(|e| StoreError::Io(std::io::Error::other(e)))?;
        let event = codec::decode_from(row, 1)?;
        let snippet = snippet(&text_of(&event.body).unwrap_or_default(), &words);
        found.push(Found {
            session,
            event,
            snippet,
        });
    }
    Ok(found)
}

/// Words as an FTS5 query: all of them, each as typed, the last one also as a beginning. `None`: no words.
fn query_of(text: &str) -> Option<String> {
    let mut words: Vec<String> = text
        .split_whitespace()
        .take(MAX_WORDS)
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(|word| format!("\"{}\"", spaced(word).replace('"', "\"\"")))
        .collect();
    words.last_mut()?.push('*');
    Some(words.join(" AND "))
}

/// Chinese, Japanese and Korean write without blanks: each of their characters is a word here, and a word a phrase.
fn spaced(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len().saturating_mul(2));
    for c in text.chars() {
        let alone = matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7a3
            | 0xf900..=0xfaff | 0x20000..=0x3134f);
        if alone {
            out.push(' ');
            out.push(c);
            out.push(' ');
        } else {
            out.push(c);
        }
    }
    out
}

/// The head and the tail of a long text.
fn ends(text: &str) -> String {
    if text.len() <= INDEXED_BYTES {
        return text.to_owned();
    }
    let half = INDEXED_BYTES / 2;
    let cut = |from: usize| (from..text.len()).find(|at| text.is_char_boundary(*at));
    let head = cut(half).unwrap_or(0);
    let tail = cut(text.len().saturating_sub(half)).unwrap_or(text.len());
    format!(
        "{}\n{}",
        text.get(..head).unwrap_or_default(),
        text.get(tail..).unwrap_or_default()
    )
}

/// The line with the first word found, cut to what can be taken in at a glance.
fn snippet(text: &str, words: &[String]) -> String {
    let line = text
        .lines()
        .find(|line| {
            let lower = line.to_lowercase();
            words.iter().any(|word| lower.contains(word.as_str()))
        })
        .or_else(|| text.lines().find(|line| !line.trim().is_empty()))
        .unwrap_or_default()
        .trim();
    let lower = line.to_lowercase();
    let at = words.iter().filter_map(|word| lower.find(word.as_str())).min();
    let at = at.map_or(0, |at| lower.get(..at).map_or(0, |before| before.chars().count()));
    let from = at.saturating_sub(AROUND / 2);
    let mut out = String::new();
    if from > 0 {
        out.push('…');
    }
    out.extend(line.chars().skip(from).take(2 * AROUND));
    if line.chars().count() > from.saturating_add(2 * AROUND) {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_data_never_syntax() {
        assert_eq!(query_of("  "), None);
        assert_eq!(query_of("\" - ("), None);
        assert_eq!(query_of("a OR b\"c").unwrap(), "\"a\" AND \"OR\" AND \"b\"\"c\"*");
        assert_eq!(query_of("日本").unwrap(), "\" 日  本 \"*");
    }

    #[test]
    fn a_snippet_is_the_line_around_the_word() {
        let text = "first\n  the long way to the needle and on\nlast";
        assert_eq!(
            snippet(text, &["needle".into()]),
            "the long way to the needle and on"
        );
        let long = format!("{} needle {}", "x".repeat(500), "y".repeat(500));
        let cut = snippet(&long, &["needle".into()]);
        assert!(
            cut.starts_with('…') && cut.ends_with('…') && cut.contains("needle"),
            "{cut}"
        );
        assert_eq!(snippet("", &[]), "");
    }

    #[test]
    fn the_head_and_tail_of_a_long_text_count() {
        let long = format!("head{}tail", "日".repeat(100_000));
        let kept = ends(&long);
        assert!(kept.len() <= INDEXED_BYTES + 16 && kept.starts_with("head") && kept.ends_with("tail"));
    }
}
