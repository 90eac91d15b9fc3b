//! Owns: what a session's shell runs before its first command: the text of its project, once somebody has agreed to it.
//! Guarantees: asked for when a command is next, never while one runs; it runs as a command of its own, so what goes wrong
//! in it harms no other; what a shell has begun with goes along with its state.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use agent_jinit::names;
use agent_jinit::wire::{End, ToJail};
use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::actor::{Actor, Job};
use super::snapshot::ShellSnapshot;
use super::{Ask, RunHandle, RunRequest, SpoolPaths};
use crate::domain::id::ExecId;
use crate::domain::policy::DIGEST_DIGITS;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of its output that are kept while it runs.
const OUTPUT: u64 = 64 * 1024;
/// The file that remembers, as long as its jail lives, that it was begun.
const MARK: &str = "project";

/// The shell text of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInit {
    /// What names the text.
    pub digest: String,
    /// It.
    pub text: String,
}

impl ProjectInit {
    /// A text, and what names it.
    pub fn new(text: String) -> Self {
        let hash = Sha256::digest(&text);
        let digest: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            digest: digest.chars().take(DIGEST_DIGITS).collect(),
            text,
        }
    }
}

/// What comes before the next command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// To be run.
    pub init: Option<ProjectInit>,
    /// To be said with the next result.
    pub note: Option<String>,
}

/// Who decides whether a shell begins with its project's text.
#[async_trait]
pub trait Beginning: Send + Sync {
    /// What to run before the next command. May wait for a person. `fresh`: nothing has run in this session yet.
    /// `began`: the text it has begun with.
    async fn start(&self, fresh: bool, began: Option<String>) -> Start;
}

/// Where the matter stands.
#[derive(Default)]
pub(super) struct Begin {
    gate: Option<Arc<dyn Beginning>>,
    asked: Asked,
    /// The text that the shell of this moment has begun with.
    with: Option<String>,
    /// It ended the shell: it is not tried again.
    broken: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Asked {
    #[default]
    No,
    /// The answer is awaited.
    Now,
    Yes,
}

impl Begin {
    pub(super) fn gate(&mut self, gate: Arc<dyn Beginning>) {
        self.gate = Some(gate);
    }

    /// The text that the shell of this moment has begun with.
    pub(super) fn with(&self) -> Option<&String> {
        self.with.as_ref()
    }

    /// A new shell, from a state or from nothing.
    pub(super) fn shell_is_new(&mut self, saved: Option<&ShellSnapshot>) {
        if !self.broken {
            self.with = saved.and_then(|saved| saved.began_with.clone());
        }
    }

    /// It is to be asked again before the next command.
    pub(super) fn again(&mut self) {
        if self.asked == Asked::Yes {
            self.asked = Asked::No;
        }
    }
}

impl Actor {
    /// True when the next command may be handed over; asks, where that is to be asked first.
    pub(super) async fn has_begun(&mut self) -> bool {
        let Some(gate) = self.begin.gate.clone() else {
            return true;
        };
        if self.begin.asked != Asked::No || self.queue.is_empty() {
            return self.begin.asked != Asked::Now;
        }
        self.begin.asked = Asked::Now;
        self.adopt().await;
        let saved = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if self.begin.with.is_none() {
            self.begin.with = saved.as_ref().and_then(|saved| saved.began_with.clone());
        }
        let fresh = saved.is_none() && self.begin.with.is_none();
        drop(saved);
        let (asks, began) = (self.asks.clone(), self.begin.with.clone());
        tokio::spawn(async move {
            let start = gate.start(fresh, began).await;
            if let Some(asks) = asks.upgrade() {
                // A shell that was ended begins nothing.
                let _ended = asks.send(Ask::Begin(start));
            }
        });
        false
    }

    /// The answer: what is to run goes before everything that waits.
    pub(super) fn told_to_begin(&mut self, start: Start) {
        self.begin.asked = Asked::Yes;
        if start.note.is_some() {
            self.note = start.note;
        }
        let Some((init, asks)) = start.init.zip(self.asks.upgrade()) else {
            return;
        };
        let exec = ExecId::random();
        let spool = SpoolPaths::new(&self.host.spool_dir(&self.spec.session), &exec);
        let (_nobody, side) = RunHandle::new(exec.clone(), spool, asks);
        let mut request = RunRequest::new(exec.clone(), init.text);
        request.timeout = Some(PATIENCE);
        let mut job = self.job(exec, side, Some(request), None, OUTPUT);
        job.init = Some(init.digest);
        self.queue.push_front(job);
    }

    /// It is about to be handed over: should nobody hear of its end, the next daemon knows that it began.
    pub(super) fn mark_begun(&self, job: &Job) -> std::io::Result<()> {
        match (&self.jail, &job.init) {
            (Some(jail), Some(digest)) => {
                std::fs::write(names::of(jail.exchange(), MARK, names::RESTORE), digest)
            }
            _ => Ok(()),
        }
    }

    /// What a jail that was found alive has begun with.
    pub(super) fn find_mark(&mut self) {
        let mark = self
            .jail
            .as_ref()
            .map(|jail| names::of(jail.exchange(), MARK, names::RESTORE));
        self.begin.with = mark.and_then(|mark| std::fs::read_to_string(mark).ok());
    }

    /// It has ended: nobody's command, so nobody is told but with the next result, where something went wrong.
    pub(super) async fn begun(&mut self, job: &Job, end: End) {
        let id = job.exec.as_str().to_owned();
        self.tell(&ToJail::Ack { exec: id }).await;
        self.begin.with.clone_from(&job.init);
        self.begin.broken = end.shell_died;
        let how = if end.timed_out {
            format!("was stopped after {} s", PATIENCE.as_secs())
        } else if end.shell_died || end.not_run {
            "ended the shell; the session goes on without it".to_owned()
        } else if end.status != 0 {
            format!("ended with {}", end.status)
        } else {
            return;
        };
        let said = std::fs::read(&job.spool.stderr).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let last: String = last.unwrap_or_default().chars().take(200).collect();
        let colon = if last.is_empty() { "" } else { ": " };
        self.note = Some(format!("the project's shell init {how}{colon}{last}"));
    }
}

/// Its output was nobody's.
pub(super) fn forget(job: &Job) {
    for file in [&job.spool.stdout, &job.spool.stderr] {
        let _never_made = std::fs::remove_file(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_one_that_a_rule_can_name() {
        let init = ProjectInit::new("export A=1\n".into());
        let rule = crate::domain::policy::Rule::init(&init.digest);
        assert_eq!(rule.to_string().parse(), Ok(rule));
        assert_ne!(init.digest, ProjectInit::new("export A=1".into()).digest);
    }
}
