//! Owns: taking texts out of a session for good: out of its log, its index, its questions, its commands' output and
//! its shell's kept state.
//! Guarantees: seqs and order stay, a fact says what was done; only a session at rest is changed.

use super::Supervisor;
use crate::clock::now_us;
use crate::domain::event::EventBody;
use crate::domain::id::{Seq, SessionId};
use crate::domain::principal::Caller;
use crate::domain::redaction::{blank, without};
use crate::domain::rejection::Rejection;
use crate::domain::session::Summary;
use crate::session::Fault;
use crate::store::RequestKey;

/// Events read at a time.
const BATCH: u32 = 1000;
/// Most events of one redaction.
const MAX_EVENTS: usize = 10_000;
/// Shorter texts would be found in everything.
const SHORTEST: usize = 4;

/// What to take out.
#[derive(Debug, Clone)]
pub enum RedactWish {
    /// All texts of these events.
    Range(Seq, Seq),
    /// This text, wherever it stands.
    Text(String),
}

/// What was taken out.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Seq of the fact.
    pub seq: Seq,
    /// Events that were changed.
    pub events: Vec<Seq>,
    /// Output files that were changed.
    pub outputs: u64,
    /// Forks of the session, which hold a copy of what they began with.
    pub also_in: Vec<SessionId>,
}

impl Supervisor {
    /// Takes texts out of a session.
    pub async fn redact(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        session: Summary,
        wish: RedactWish,
        reason: String,
    ) -> Result<Redaction, Fault> {
        if matches!(&wish, RedactWish::Text(text) if text.len() < SHORTEST) {
            return Err(
                Rejection::InvalidArgument(format!("a text of at least {SHORTEST} bytes is needed")).into(),
            );
        }
        let handle = self.handle(&session.session_id).await?;
        let now = handle.summary();
        if now.turn_id.is_some() || now.open_execs > 0 {
            return Err(Rejection::NotNow {
                message: format!("session '{}' is at work", now.name),
                hints: vec![format!("agentctl interrupt {}", now.session_id)],
            }
            .into());
        }
        self.0.store.forget_words(&now.session_id);
        let (rewrites, execs) = self.matching(&now, &wish).await?;
        let outputs = self.redact_outputs(&now.session_id, &wish, &execs);
        let shell = self.redact_snapshot(&now.session_id, &wish).await?;
        if shell {
            // What lives in it knows the text still.
            handle.end_jail().await;
        }
        if rewrites.is_empty() && outputs == 0 && !shell {
            return Err(Rejection::InvalidArgument("nothing in this session has that text".into()).into());
        }
        let events: Vec<Seq> = rewrites.iter().map(|(seq, _)| *seq).collect();
        let seq = handle.redact(caller, request, rewrites, reason).await?;
        self.0.store.scrub().await?;
        Ok(Redaction {
            seq,
            events,
            outputs,
            also_in: self.0.store.forks_of(&now.session_id).await?,
        })
    }

    /// The events to change, as they will be, and the commands whose output goes.
    async fn matching(
        &self,
        session: &Summary,
        wish: &RedactWish,
    ) -> Result<(Vec<(Seq, EventBody)>, Vec<String>), Fault> {
        let (mut rewrites, mut execs) = (Vec::new(), Vec::new());
        let (mut after, last) = match wish {
            RedactWish::Range(from, to) => (from.saturating_sub(1), (*to).min(session.head)),
            RedactWish::Text(_) => (0, session.head),
        };
        while after < last {
            let page = self
                .0
                .store
                .kept_events_after(&session.session_id, after, BATCH)
                .await?;
            let Some(end) = page.last() else { break };
            after = end.seq;
            for event in page.into_iter().filter(|event| event.seq <= last) {
                let new = match wish {
                    RedactWish::Range(..) => {
                        if let EventBody::ExecStarted { exec_id, .. } = &event.body {
                            execs.push(exec_id.to_string());
                        }
                        blank(&event.body)
                    }
                    RedactWish::Text(text) => without(&event.body, text),
                };
                rewrites.extend(new.map(|body| (event.seq, body)));
            }
            if rewrites.len() > MAX_EVENTS {
                return Err(Rejection::InvalidArgument(format!(
                    "more than {MAX_EVENTS} events: take fewer at a time"
                ))
                .into());
            }
        }
        Ok((rewrites, execs))
    }

    /// Stars of the same length stand where the bytes were, so that offsets stay true.
    fn redact_outputs(&self, id: &SessionId, wish: &RedactWish, execs: &[String]) -> u64 {
        let dir = self.0.settings.jails.spool_dir(id);
        let mut changed = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let whole = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| execs.iter().any(|exec| exec == stem));
            let Ok(mut data) = std::fs::read(&path) else {
                continue;
            };
            let hit = match wish {
                RedactWish::Range(..) => whole && !data.is_empty(),
                RedactWish::Text(text) => stars(&mut data, text.as_bytes()),
            };
            if !hit {
                continue;
            }
            if whole {
                data.fill(b'*');
            }
            match std::fs::write(&path, &data) {
                Ok(()) => changed += 1,
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "kept output could not be redacted")
                }
            }
        }
        changed
    }

    async fn redact_snapshot(&self, id: &SessionId, wish: &RedactWish) -> Result<bool, Fault> {
        let RedactWish::Text(text) = wish else {
            return Ok(false);
        };
        let Some(snapshot) = self.0.store.snapshot(id).await? else {
            return Ok(false);
        };
        let escaped = serde_json::to_string(text).unwrap_or_default();
        let escaped = escaped.trim_matches('"');
        if !snapshot.contains(escaped) {
            return Ok(false);
        }
        let clean = snapshot.replace(escaped, crate::domain::redaction::REDACTED);
        self.0.store.put_snapshot(id, now_us(), clean).await?;
        Ok(true)
    }
}

/// True when it was there.
fn stars(data: &mut [u8], needle: &[u8]) -> bool {
    let mut any = false;
    let mut at: usize = 0;
    while let Some(window) = data.get_mut(at..at.saturating_add(needle.len())) {
        if window == needle {
            window.fill(b'*');
            any = true;
            at = at.saturating_add(needle.len());
        } else {
            at = at.saturating_add(1);
        }
    }
    any
}
