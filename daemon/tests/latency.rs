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

/// What any process costs at this moment: on a machine that does much else everything takes longer.
fn process() -> Duration {
    let begun = Instant::now();
    let ended = std::process::Command::new("sh").args(["-c", "true"]).status();
    assert!(ended.unwrap().success());
    begun.elapsed()
}

#[tokio::test]
async fn a_command_that_does_nothing_takes_no_time() {
    let rounds = if cfg!(debug_assertions) { 100 } else { 1000 };
    for kind in [ShellKind::Sh, ShellKind::Bash] {
        let (mut starts, mut processes) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            processes.push(process());
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
        for round in 0..rounds {
            if round % 10 == 0 {
                processes.push(process());
            }
            let begun = Instant::now();
            let run = rig.shell.run(RunRequest::new(ExecId::random(), "true")).unwrap();
            run.finished().await;
            queued.push(begun.elapsed());
        }
        let (start, alone, queued) = (median(starts), median(alone), median(queued));
        let process = median(processes);
        println!(
            "{kind:?}: start {start:?}, alone {alone:?}, one after another {queued:?}, a process {process:?}"
        );
        // On a quiet machine a process takes about a millisecond and the first of each pair is what counts.
        assert!(start < (300 * process).max(Duration::from_secs(2)), "{start:?}");
        assert!(
            queued < (20 * process).max(Duration::from_millis(50)),
            "{queued:?}"
        );
        rig.end().await;
    }
}
