//! Owns: the daemon killed just before and just after everything that makes something durable or speaks to a jail.
//! Guarantees: every point there is is reached by a scenario and survived; `AGENTD_TEST_LONG=1` kills at every pass of
//! every point, and again at each point of the recovery.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail in any way it likes"
)]

mod crash_support;
mod model_server;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use agentd::durable::Point;
use crash_support::{SCENARIOS, Scenario, World};

fn long() -> bool {
    std::env::var_os("AGENTD_TEST_LONG").is_some()
}

/// Three at a time: a kill is mostly waiting, for starts and for ends.
fn in_parallel<T: Sync>(jobs: &[T], work: impl Fn(&T) + Sync) {
    let next = Mutex::new(jobs.iter());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let job = next.lock().unwrap().next();
                    let Some(job) = job else { return };
                    work(job);
                }
            });
        }
    });
}

#[test]
fn every_point_belongs_to_a_scenario() {
    for point in Point::ALL {
        let owners = SCENARIOS.iter().filter(|s| s.own.contains(point)).count();
        assert_eq!(owners, 1, "{} is killed at in {owners} scenarios", point.name());
    }
}

fn survives(name: &str) {
    let scenario = SCENARIOS.iter().find(|s| s.name == name).unwrap();
    let mut undisturbed = World::prepare(scenario);
    undisturbed.play(scenario, None);
    let trace = undisturbed.trace();
    let mut counts = BTreeMap::<&str, u32>::new();
    for moment in &trace {
        *counts.entry(moment).or_default() += 1;
    }
    for point in scenario.own {
        for moment in ["before", "after"] {
            let name = format!("{}:{moment}", point.name());
            assert!(counts.contains_key(&*name), "{name} is not reached: {counts:?}");
        }
    }
    undisturbed.verify(&format!("{name}, undisturbed"));
    let jobs = if long() {
        all_passes(&counts)
    } else {
        first_and_last(scenario, &counts)
    };
    eprintln!("{name}: {} kills", jobs.len());
    let missed = Mutex::new(Vec::new());
    in_parallel(&jobs, |at| {
        let mut world = World::prepare(scenario);
        if !world.play(scenario, Some(at)) {
            assert!(!at.ends_with(":1"), "{name}: {at} was not reached");
            missed.lock().unwrap().push(at.clone());
        }
        world.verify(&format!("{name}, killed at {at}"));
    });
    let missed = missed.into_inner().unwrap();
    assert!(
        missed.len() * 10 <= jobs.len(),
        "{name}: {missed:?} were not reached"
    );
}

/// The first pass of each own point; of commits also one in the middle, since they carry everything.
fn first_and_last(scenario: &Scenario, counts: &BTreeMap<&str, u32>) -> Vec<String> {
    let mut jobs = Vec::new();
    for (moment, count) in counts {
        let own = |point: &&Point| {
            moment
                .strip_prefix(point.name())
                .is_some_and(|rest| rest.starts_with(':'))
        };
        let Some(point) = scenario.own.iter().find(own) else {
            continue;
        };
        jobs.push(format!("{moment}:1"));
        if matches!(point, Point::StoreCommit | Point::HearFinished | Point::SendRun) {
            jobs.extend([format!("{moment}:{}", count / 2 + 1)]);
        }
    }
    jobs
}

fn all_passes(counts: &BTreeMap<&str, u32>) -> Vec<String> {
    counts
        .iter()
        // Progress is a doorbell: how often it rings depends on the moment.
        .filter(|(moment, _)| !moment.starts_with("hear-progress"))
        .flat_map(|(moment, count)| (1..=*count).map(move |pass| format!("{moment}:{pass}")))
        .collect()
}

#[test]
fn a_turn_survives_a_kill_at_every_point() {
    survives("turn");
}

#[test]
fn a_terminal_survives_a_kill_at_every_point() {
    survives("terminal");
}

#[test]
fn a_rest_survives_a_kill_at_every_point() {
    survives("rest");
}

#[test]
fn jobs_and_waiting_survive_a_kill_at_every_point() {
    survives("jobs");
}

#[test]
fn keys_devices_and_files_survive_a_kill_at_every_point() {
    survives("frame");
}

#[test]
fn an_adoption_survives_a_kill_at_every_point() {
    survives("adopt");
}

/// Recovery is killed too: at each of its points in the long form, else at a few.
#[test]
fn recovery_survives_a_kill_at_its_own_points() {
    let scenario = &SCENARIOS[0];
    let first = [
        "hear-finished:before:1",
        "store-commit:after:9",
        "file-sync:after:1",
        "jail-record:before:1",
    ];
    let mut jobs = Vec::new();
    for at in first {
        let mut world = World::prepare(scenario);
        assert!(world.play(scenario, Some(at)), "{at} was not reached");
        let points: BTreeSet<String> = world.recovery_points();
        assert!(
            points.iter().any(|p| p.starts_with("store-commit")) || at.starts_with("jail"),
            "{at}: {points:?}"
        );
        let wanted = if long() { usize::MAX } else { 2 };
        // From the end: what comes late has more to lose.
        jobs.extend(
            points
                .into_iter()
                .rev()
                .take(wanted)
                .map(|then| (at, format!("{then}:1"))),
        );
        world.verify(&format!("killed at {at} and once more by hand"));
    }
    in_parallel(&jobs, |(at, then)| {
        let mut world = World::prepare(scenario);
        assert!(world.play(scenario, Some(at)), "{at} was not reached");
        world.recover_and_die(then);
        world.verify(&format!("killed at {at}, then at {then}"));
    });
}

#[test]
fn the_network_and_its_doors_survive_a_kill_at_every_point() {
    survives("network");
}
