//! Owns: the question what commands that have ended left running, and the word that they wait for input.
//! Guarantees: asked of the Jail each time, never remembered; where no Jail lives nothing runs.

use agent_jinit::wire::{self, ToJail};
use tokio::sync::oneshot;

use super::actor::Actor;
use super::{LastWords, RunState};
use crate::domain::id::ExecId;

/// A process of a background job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProcess {
    /// The command that left it.
    pub exec_id: ExecId,
    /// Its number inside; 0 where the Jail is of a release that does not tell.
    pub pid: u32,
    /// Its command line. Untrusted bytes.
    pub command: Vec<u8>,
}

impl Actor {
    pub(super) async fn ask_for_jobs(&mut self, answer: oneshot::Sender<Vec<JobProcess>>) {
        match &self.jail {
            None => {
                let _gone = answer.send(Vec::new());
            }
            Some(jail) if jail.answers() => {
                self.job_askers.push_back(answer);
                self.tell(&ToJail::Jobs).await;
            }
            Some(_) => {
                let open = self.jobs.values().filter(|job| job.finished);
                let rows = open.map(|job| JobProcess {
                    exec_id: job.exec.clone(),
                    pid: 0,
                    command: Vec::new(),
                });
                let _gone = answer.send(rows.collect());
            }
        }
    }

    pub(super) async fn end_job(&mut self, exec: &ExecId) {
        if self.jail.as_ref().is_some_and(crate::jail::Jail::answers) {
            let exec = exec.as_str().to_owned();
            self.tell(&ToJail::EndJob { exec }).await;
        }
    }

    /// jinit answers the oldest question.
    pub(super) fn told_jobs(&mut self, processes: Vec<wire::JobProcess>) {
        let Some(answer) = self.job_askers.pop_front() else {
            return;
        };
        let rows = processes.into_iter().filter_map(|one| {
            Some(JobProcess {
                exec_id: one.exec.parse().ok()?,
                pid: one.pid,
                command: one.command,
            })
        });
        let _gone = answer.send(rows.collect());
    }

    /// A run waits for input, or does so no longer.
    pub(super) fn told_waiting(&self, exec: &str, waits: bool, error: bool) {
        let Some(job) = self.jobs.get(exec) else { return };
        let words = match (waits, error) {
            (false, _) => None,
            (true, false) => Some(LastWords::Stdout),
            (true, true) => Some(LastWords::Stderr),
        };
        job.side.progress.send_if_modified(|progress| {
            let words = words.filter(|_| progress.state < RunState::Finished);
            std::mem::replace(&mut progress.waits, words) != words
        });
    }
}
