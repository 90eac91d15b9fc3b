//! Owns: the proof that `make bench` works: its quick form, on whatever build there is.
//! Guarantees: no time is judged here; a part that can't be measured fails.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

mod sites;
mod support;

#[path = "../benches/bench/crowd.rs"]
mod crowd;
#[path = "../benches/bench/exec.rs"]
mod exec;
#[path = "../benches/bench/figures.rs"]
mod figures;
#[path = "../benches/bench/ledger.rs"]
mod ledger;
#[path = "../benches/bench/model.rs"]
mod model;
#[path = "../benches/bench/network.rs"]
mod network;
#[path = "../benches/bench/policy.rs"]
mod policy;
#[path = "../benches/bench/report.rs"]
mod report;
#[path = "../benches/bench/rig.rs"]
mod rig;
#[path = "../benches/bench/scale.rs"]
mod scale;
#[path = "../benches/bench/turns.rs"]
mod turns;

#[test]
fn every_figure_can_be_measured() {
    let report = figures::measure(&figures::Size::QUICK, None);
    let text = report.to_string();
    assert!(report.figures() >= 40, "{text}");
    for part in [
        "does nothing",
        "burst",
        "tool turn",
        "Starts",
        "Memory",
        "Many",
        "long log",
        "kill -9",
        "The ledger",
        "A long board",
        "added by the proxy",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    // One connection, the same beginning, two commits: these are counted, not timed.
    assert!(
        text.contains("| connections to the model's server | 1 |"),
        "{text}"
    );
    assert!(text.contains("exactly the one before | 3 of 3 |"), "{text}");
}
