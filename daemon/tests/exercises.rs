//! The proof without a key: a model that knows the solutions writes them through our tools, in both edit dialects, and
//! the tests pass in the jail. All of them: any failure is ours.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

mod exercise;
mod support;

use exercise::{all, ours};
use support::{LIMIT, Ran, TestDaemon, run_within};

/// Compilers share the machine with other tests.
fn patiently(home: &TestDaemon, words: &[&str]) -> Ran {
    run_within(home.agentctl(words), b"", 4 * LIMIT)
}

/// Each exercise is solved once in each dialect; before that its tests fail, or they would prove nothing.
fn solve_all(language: &str, config: &str) {
    let mut home = TestDaemon::home();
    home.config(config);
    home.spawn();
    for exercise in all(&ours(), language) {
        let mut is_stub = true;
        for dialect in ["search_replace", "apply_patch"] {
            let name = format!("{}-{dialect}", exercise.slug);
            let dir = home.path().join(&name);
            exercise.put(&dir);
            let place = dir.to_str().unwrap().to_owned();
            if std::mem::take(&mut is_stub) {
                let ran = patiently(&home, &["exec", "-C", &place, "--", &exercise.command()]);
                assert_ne!(ran.code, 0, "{name}: the stub passes its tests");
            }
            let cassette = home.path().join(format!("{name}.jsonl"));
            std::fs::write(&cassette, exercise.cassette(dialect)).unwrap();
            let model = format!("cassette:{}", cassette.display());
            let prompt = exercise.prompt();
            patiently(
                &home,
                &["run", "-C", &place, "--name", &name, "-m", &model, &prompt],
            )
            .exits(0);
            let audit = home.ctl(["audit", &name, "-o", "json"]).exits(0).json();
            let done = audit.as_array().unwrap();
            let of = |kind: &str| done.iter().rfind(|one| one["kind"] == kind).unwrap();
            assert_eq!(of("file")["change"], "modified", "{name}: {audit}");
            let tests = of("command");
            assert_eq!(tests["script"], exercise.command(), "{name}: {audit}");
            assert_eq!(tests["exit_code"], 0, "{name}: {audit}");
        }
    }
}

#[test]
fn python() {
    solve_all("python", "");
}

#[test]
fn javascript() {
    solve_all("javascript", "");
}

#[test]
fn cpp() {
    solve_all("cpp", "");
}

#[test]
fn rust() {
    solve_all("rust", &exercise::config());
}
