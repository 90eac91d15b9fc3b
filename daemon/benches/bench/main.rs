//! Owns: `make bench`: every figure that is promised, measured in one run on the built programs.
//! Guarantees: nothing is asserted about time; a part that can't be measured fails the run instead of leaving a gap.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers: whatever goes wrong ends it with its place"
)]

#[path = "../../tests/sites/mod.rs"]
mod sites;
#[path = "../../tests/support/mod.rs"]
mod support;

mod crowd;
mod exec;
mod figures;
mod ledger;
mod model;
mod network;
mod policy;
mod report;
mod rig;
mod scale;
mod turns;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let mut size = figures::Size::FULL;
    if args.iter().any(|arg| arg == "--quick") {
        size = figures::Size::QUICK;
    }
    if let Some(seconds) = value("--idle").and_then(|text| text.parse().ok()) {
        size.idle_seconds = seconds;
    }
    let only = value("--only");
    let report = figures::measure(&size, only.as_deref());
    println!("{report}");
    if let Some(file) = value("--write") {
        std::fs::write(&file, report.to_string()).unwrap();
    }
}
