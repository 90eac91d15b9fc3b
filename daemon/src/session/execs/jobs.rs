//! Owns: the background jobs of a session: what commands that have ended left running, with their commands.
//! Guarantees: asked of the jail each time; a job is named by the command that left it, whose output it may still write.

use std::collections::BTreeMap;

use super::Execs;
use crate::domain::event::EventBody;
use crate::domain::id::ExecId;
use crate::domain::rejection::Rejection;
use crate::domain::session::clip;
use crate::session::Fault;
use crate::shell::RunState;

/// Most jobs of one answer, and most processes of one job.
const MOST: usize = 100;
/// Longest command line, characters.
const MAX_COMMAND: usize = 200;

/// What a command left running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The command.
    pub exec_id: ExecId,
    /// Its shell text, as the log has it.
    pub script: String,
    /// When the command began, microseconds since the epoch.
    pub started_us: i64,
    /// What runs of it.
    pub processes: Vec<JobProcess>,
    /// Something can still write to its output.
    pub output_open: bool,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProcess {
    /// Its number inside.
    pub pid: u32,
    /// Its command line. Untrusted.
    pub command: String,
}

impl Execs {
    /// What commands that have ended left running, by the start of the commands.
    pub(in crate::session) async fn jobs(&self) -> Result<Vec<Job>, Fault> {
        let mut by_exec: BTreeMap<ExecId, Vec<JobProcess>> = BTreeMap::new();
        for process in self.shell().jobs().await {
            let processes = by_exec.entry(process.exec_id).or_default();
            if process.pid > 0 && processes.len() < MOST {
                processes.push(JobProcess {
                    pid: process.pid,
                    command: clip(&String::from_utf8_lossy(&process.command), MAX_COMMAND),
                });
            }
        }
        let mut jobs = Vec::new();
        for (exec_id, processes) in by_exec.into_iter().take(MOST) {
            let (script, started_us) = self.begun(&exec_id).await?;
            let live = self
                .live()
                .get(&exec_id)
                .map(|handle| handle.changed.borrow().state);
            jobs.push(Job {
                script,
                started_us,
                processes,
                output_open: live == Some(RunState::Finished),
                exec_id,
            });
        }
        jobs.sort_by_key(|job| job.started_us);
        Ok(jobs)
    }

    /// Ends what a command left running.
    pub(in crate::session) async fn end_job(&self, exec_id: &ExecId) -> Result<(), Fault> {
        if self
            .shell()
            .jobs()
            .await
            .iter()
            .all(|process| process.exec_id != *exec_id)
        {
            return Err(Rejection::ExecNotFound(format!("{exec_id} runs nothing in the background")).into());
        }
        self.shell().end_job(exec_id);
        Ok(())
    }

    /// The text and the start of a command, from the log.
    async fn begun(&self, exec_id: &ExecId) -> Result<(String, i64), Fault> {
        let Some(row) = self.store.exec(&self.session_id, exec_id).await? else {
            return Ok((String::new(), 0));
        };
        let before = row.started_seq.saturating_sub(1);
        let events = self.store.events_after(&self.session_id, before, 1).await?;
        Ok(match events.into_iter().next() {
            Some(event) => match event.body {
                EventBody::ExecStarted { script, .. } => (script, event.time_us),
                _ => (String::new(), event.time_us),
            },
            None => (String::new(), 0),
        })
    }
}
