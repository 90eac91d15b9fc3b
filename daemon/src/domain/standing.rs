//! Owns: where a session stands apart from its turns: paused, archived, in the trash, where it came from; and
//! what changes that.
//! Guarantees: pure; a session that is paused, hidden or in the trash starts nothing; nothing here loses a fact.

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::event::EventBody;
use super::id::{Seq, SessionId};
use super::rejection::Rejection;
use super::session::{Session, State};
use super::summary::clip;

/// Longest reason kept for a pause.
const MAX_REASON_CHARS: usize = 500;

/// Where a session stands apart from its turns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Why it is paused; `None` when it is not.
    pub paused: Option<String>,
    /// Hidden.
    pub archived: bool,
    /// In the trash until then, microseconds since the epoch.
    pub purge_us: Option<i64>,
    /// The session whose log its own begins with, and up to where.
    pub forked_from: Option<(SessionId, Seq)>,
}

impl Standing {
    /// The state it dictates, whatever the turns do.
    pub fn state(&self) -> Option<State> {
        if self.purge_us.is_some() {
            Some(State::Deleted)
        } else if self.archived {
            Some(State::Archived)
        } else {
            self.paused.as_ref().map(|_| State::Paused)
        }
    }

    /// True when nothing may begin.
    pub fn rests(&self) -> bool {
        self.state().is_some()
    }

    /// Folds one event in.
    pub(super) fn apply(&mut self, body: &EventBody) {
        match body {
            EventBody::SessionPaused { reason } => self.paused = Some(reason.clone()),
            EventBody::SessionResumed => self.paused = None,
            EventBody::SessionArchived => self.archived = true,
            EventBody::SessionUnarchived => self.archived = false,
            EventBody::SessionDeleted { purge_us } => self.purge_us = Some(*purge_us),
            EventBody::SessionRestored => self.purge_us = None,
            EventBody::SessionForked { session_id, seq } => {
                // What was true of the original is not true of the copy.
                *self = Self {
                    forked_from: Some((session_id.clone(), *seq)),
                    ..Self::default()
                };
            }
            EventBody::SessionImported { .. } => *self = Self::default(),
            _ => {}
        }
    }
}

/// Refuses to begin anything in a session that is paused, hidden or in the trash.
pub fn check_awake(session: &Session) -> Result<(), Rejection> {
    let name = &session.name;
    let id = &session.session_id;
    let (message, next) = match session.standing.state() {
        None => return Ok(()),
        Some(State::Deleted) => (
            format!("session '{name}' is in the trash"),
            format!("agentctl sessions restore {id}"),
        ),
        Some(State::Archived) => (
            format!("session '{name}' is archived"),
            format!("agentctl sessions unarchive {id}"),
        ),
        Some(_) => {
            let why = session.standing.paused.as_deref().unwrap_or_default();
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(": {why}")
            };
            (
                format!("session '{name}' is paused{why}"),
                format!("agentctl sessions resume {id}"),
            )
        }
    };
    Err(Rejection::NotNow {
        message,
        hints: vec![next],
    })
}

/// Decides the commands that change where a session stands.
pub(super) fn decide(session: &Session, command: &Command) -> Result<Vec<EventBody>, Rejection> {
    let standing = &session.standing;
    let name = &session.name;
    let id = &session.session_id;
    let no = |message: String, next: String| {
        Err(Rejection::NotNow {
            message,
            hints: vec![next],
        })
    };
    if standing.purge_us.is_some() && !matches!(command, Command::Restore) {
        return check_awake(session).map(|()| Vec::new());
    }
    match command {
        Command::Pause { reason } => {
            check_awake(session)?;
            Ok(vec![EventBody::SessionPaused {
                reason: clip(reason, MAX_REASON_CHARS),
            }])
        }
        Command::Resume { turn_id } => {
            if standing.archived {
                check_awake(session)?;
            }
            if session.state() != State::Paused {
                return no(
                    format!("session '{name}' is not paused"),
                    format!("agentctl sessions show {id}"),
                );
            }
            let mut events = vec![EventBody::SessionResumed];
            // What was queued while it stood still goes on; what a person stopped stays stopped.
            if session.turn.is_none() && !session.was_interrupted() {
                events.extend(super::decide::next_turn(session, turn_id));
            }
            Ok(events)
        }
        Command::Archive if standing.archived => no(
            format!("session '{name}' is archived already"),
            "agentctl sessions list --state archived".into(),
        ),
        Command::Archive => {
            if session.turn.is_some() || !session.execs.is_empty() {
                return no(
                    format!("session '{name}' is at work"),
                    format!("agentctl interrupt {id}, or agentctl wait {id}"),
                );
            }
            Ok(vec![EventBody::SessionArchived])
        }
        Command::Unarchive if standing.archived => Ok(vec![EventBody::SessionUnarchived]),
        Command::Unarchive => no(
            format!("session '{name}' is not archived"),
            format!("agentctl sessions show {id}"),
        ),
        Command::Delete { purge_us } => Ok(vec![EventBody::SessionDeleted { purge_us: *purge_us }]),
        Command::Restore if standing.purge_us.is_some() => Ok(vec![EventBody::SessionRestored]),
        _ => no(
            format!("session '{name}' is not in the trash"),
            format!("agentctl sessions show {id}"),
        ),
    }
}
