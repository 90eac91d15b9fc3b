//! Owns: how long the shell takes beside the command's own work.
//! Guarantees: prints the figures; fails only where something is wrong by an order of magnitude, on any machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod shell_support;

use std::time::{Duration, Instant};

use agentd::domain::id::ExecId;
use agentd::domain::workspace::ShellKind;
use agentd::shell::RunRequest;
use shell_support::Rig;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_command_that_does_nothing_takes_no_time() {
    let rounds = if cfg!(debug_assertions) { 100 } else { 1000 };
    for kind in [ShellKind::Sh, ShellKind::Bash] {
        let mut starts = Vec::new();
        for _ in 0..10 {
            let rig = Rig::new(kind);
            let begun = Instant::now();
            rig.run("true").await;
            starts.push(begun.elapsed());
            rig.end().await;
        }
        let rig = Rig::new(kind);
        rig.run("true").await;
        let (mut alone, mut queued) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            // The state of the one before is taken off the way of the answer; here nothing is in the way.
            rig.shell.settled().await;
            let begun = Instant::now();
            let run = rig.shell.run(RunRequest::new(ExecId::random(), "true")).unwrap();
            run.finished().await;
            alone.push(begun.elapsed());
        }
        for _ in 0..rounds {
            let begun = Instant::now();
            let run = rig.shell.run(RunRequest::new(ExecId::random(), "true")).unwrap();
            run.finished().await;
            queued.push(begun.elapsed());
        }
        let (start, alone, queued) = (median(starts), median(alone), median(queued));
        println!("{kind:?}: start {start:?}, alone {alone:?}, one after another {queued:?}");
        assert!(start < Duration::from_secs(2) && queued < Duration::from_millis(50));
        rig.end().await;
    }
}
