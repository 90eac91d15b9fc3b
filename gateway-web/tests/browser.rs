//! The page in a real browser against a real daemon. A missing Chromium or Node fails: see daemon/tests/setup.sh.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may fail in any way it likes"
)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Home, programs};

/// The Node of the test setup.
fn node() -> String {
    std::env::var("AGENTD_TEST_NODE").unwrap_or_else(|_| "node".into())
}

fn ui() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/ui"))
}

fn drive(script: &str) {
    let home = Home::new();
    let modules = ui().join("node_modules/playwright-core");
    assert!(
        modules.is_dir(),
        "the drivers are not installed: (cd gateway-web/ui && npm ci)"
    );
    let work = home.dir.path().join("work");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/demo/project");
    assert!(
        Command::new("cp")
            .arg("-r")
            .arg(from.join("."))
            .arg(&work)
            .status()
            .unwrap()
            .success()
    );
    let mut command = Command::new(node());
    home.environment(&mut command);
    let output = command
        .arg(ui().join("tests").join(script))
        .env("AGENTCTL", programs().join("agentctl"))
        .env("WORKSPACE", &work)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{out}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{out}");
}

#[test]
fn the_main_path_works_in_a_browser() {
    drive("journey.mjs");
}

#[test]
fn every_page_is_accessible_in_every_theme_and_width() {
    drive("pages.mjs");
}

#[test]
fn a_sessions_whole_life_is_in_the_browser() {
    drive("life.mjs");
}

#[test]
fn files_input_jobs_limits_and_context_are_in_the_browser() {
    drive("works.mjs");
}

#[test]
fn the_input_of_a_terminal_has_one_holder_in_browsers_too() {
    drive("input.mjs");
}

#[test]
fn rules_grants_and_personas_are_in_the_browser() {
    drive("rules.mjs");
}

#[test]
fn charts_the_terminal_and_the_export_agree_to_the_cent() {
    drive("money.mjs");
}

#[test]
fn moves_on_the_board_reach_the_file() {
    drive("tasks.mjs");
}

#[test]
fn the_page_works_over_lines_that_are_not_loopback() {
    drive("lines.mjs");
}

#[test]
fn a_session_of_a_hundred_thousand_events_stays_small() {
    drive("long.mjs");
}
