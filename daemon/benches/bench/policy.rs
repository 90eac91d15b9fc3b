//! Owns: how long the doorman takes for one call, command and all.

use std::time::{Duration, Instant};

use agentd::domain::policy::{CallFacts, Policy, judge};
use agentd::domain::tool::Effect;

use super::figures::Size;
use super::report::Report;

/// What an agent runs on an ordinary day.
const ORDINARY: &str = include_str!("../../src/domain/policy/ordinary.txt");

/// Judges every ordinary command again and again, from text to decision.
pub fn decisions(size: &Size, report: &mut Report) {
    let policy = Policy::built_in("ask").unwrap();
    let calls: Vec<CallFacts> = ORDINARY
        .lines()
        .map(|line| CallFacts {
            tool: "exec".into(),
            effects: vec![Effect::Reads, Effect::Writes, Effect::Executes],
            command: Some(line.replace("\\n", "\n")),
            ..CallFacts::default()
        })
        .collect();
    let mut best = vec![Duration::MAX; calls.len()];
    for _ in 0..size.rounds {
        for (call, best) in calls.iter().zip(&mut best) {
            let begun = Instant::now();
            std::hint::black_box(judge(&policy, &[], call));
            *best = (*best).min(begun.elapsed());
        }
    }
    best.sort();
    let us = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    report.part(
        "A policy decision",
        format!(
            "{} ordinary commands, read as shell and judged; the best of {} rounds each",
            calls.len(),
            size.rounds
        ),
    );
    report.row("median command", us(best[best.len() / 2]), "20 µs");
    report.row("slowest of 100", us(best[best.len() * 99 / 100]), "");
}
