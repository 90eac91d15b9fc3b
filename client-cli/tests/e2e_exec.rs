//! Owns: `agentctl exec` as other programs rely on it: codes, bytes, names, places.
//! Guarantees: every case runs the real programs in a home of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

#[path = "../../daemon/tests/support/mod.rs"]
mod support;

use std::os::unix::fs::MetadataExt as _;

use support::{TestDaemon, run, until};

#[test]
fn the_exit_code_is_the_commands_in_both_forms() {
    let home = TestDaemon::start();
    let cases: &[(&[&str], i32)] = &[
        (&["true"], 0),
        (&["sh", "-c", "exit 42"], 42),
        (&["exit 42"], 42),
        (&["no-such-program"], 127),
        (&["./not-executable"], 126),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&[""], 0),
    ];
    std::fs::write(home.project().join("not-executable"), "x").unwrap();
    for (command, code) in cases {
        let mut words = vec!["exec", "--"];
        words.extend(*command);
        home.ctl(&words).exits(*code);
        let mut words = vec!["exec", "-o", "json", "--"];
        words.extend(*command);
        let ran = home.ctl(&words).exits(*code);
        assert_eq!(ran.json()["exit_code"], *code, "{ran}");
    }
    home.ctl(["exec", "--timeout", "200ms", "--", "sleep 100"])
        .exits(124);
    let ran = home
        .ctl([
            "exec",
            "-o",
            "json",
            "--timeout",
            "200ms",
            "--",
            "echo before; sleep 100",
        ])
        .exits(124);
    assert_eq!(ran.json()["timed_out"], true, "{ran}");
    assert_eq!(ran.json()["stdout"], "before\n", "{ran}");
    // The shell is as it was.
    home.ctl(["exec", "--", "echo ok"]).exits(0);
}

#[test]
fn json_holds_what_programs_rely_on() {
    let home = TestDaemon::start();
    let ran = home
        .ctl([
            "exec",
            "--name",
            "n",
            "-o",
            "json",
            "--",
            "echo out; echo err >&2",
        ])
        .exits(0);
    assert!(ran.stderr.is_empty(), "{ran}");
    let json = ran.json();
    assert_eq!(
        (json["stdout"].as_str(), json["stderr"].as_str()),
        (Some("out\n"), Some("err\n")),
        "{json}"
    );
    for key in ["timed_out", "truncated", "background", "shell_restarted"] {
        assert_eq!(json[key], false, "{json}");
    }
    assert!(
        json["duration_ms"].is_u64() && json["session_id"].as_str().unwrap().starts_with("s-"),
        "{json}"
    );
    let ran = home
        .ctl(["exec", "--name", "n", "-o", "json", "--", "sleep 100 & echo $!"])
        .exits(0);
    assert_eq!(ran.json()["background"], true, "{ran}");
    let pid = ran.json()["stdout"].as_str().unwrap().trim().to_owned();
    home.ctl(["exec", "--name", "n", "--", &format!("kill {pid}")])
        .exits(0);
    let ran = home
        .ctl([
            "exec",
            "--name",
            "n",
            "-o",
            "json",
            "--capture",
            "10",
            "--",
            "seq 1000",
        ])
        .exits(0);
    assert_eq!(ran.json()["truncated"], true, "{ran}");
}

#[test]
fn words_text_and_standard_input_are_scripts() {
    let home = TestDaemon::start();
    let out = |words: &[&str]| home.ctl(words).exits(0).out();
    assert_eq!(out(&["exec", "--", "X='a  b'; echo \"$X\""]), "a  b\n");
    assert_eq!(
        out(&["exec", "--", "printf", "%s|", "a  b", "$X", "c'd", "*"]),
        "a  b|$X|c'd|*|"
    );
    let ran = run(home.agentctl(["exec", "-"]), b"cd /tmp\nY=1\npwd\n").exits(0);
    assert_eq!(ran.out(), "/tmp\n");
    assert_eq!(out(&["exec", "--", "pwd; echo $Y"]), "/tmp\n1\n");
    assert_eq!(
        out(&["exec", "--env", "Z=5", "--cwd", "/usr", "--", "echo $Z; pwd"]),
        "5\n/usr\n"
    );
    // A variable is for one command; a directory stays, like any `cd`.
    assert_eq!(out(&["exec", "--", "echo ${Z-unset}; pwd"]), "unset\n/usr\n");
}

#[test]
fn five_megabytes_of_anything_go_in_and_come_out_unchanged() {
    let home = TestDaemon::start();
    // Every byte value, no period that a block size divides.
    let mut state = 1u32;
    let input: Vec<u8> = (0..5 * 1024 * 1024)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let ran = run(home.agentctl(["exec", "--stdin", "--", "cat"]), &input).exits(0);
    assert_eq!(ran.stdout.len(), input.len(), "{}", ran.err());
    assert!(ran.stdout == input, "bytes differ");
    assert!(ran.stderr.is_empty(), "{}", ran.err());
}

#[test]
fn the_same_name_on_another_directory_is_a_conflict_and_makes_nothing() {
    let home = TestDaemon::start();
    let (a, b) = (home.project().join("a"), home.project().join("b"));
    std::fs::create_dir(&a).unwrap();
    std::fs::create_dir(&b).unwrap();
    let exec = |dir: &std::path::Path, script: &str| {
        home.ctl(["exec", "--name", "N", "-C", dir.to_str().unwrap(), "--", script])
    };
    exec(&a, "echo x > file").exits(0);
    let count = || {
        home.ctl(["sessions", "list", "--all", "-o", "plain", "--no-header"])
            .out()
            .lines()
            .count()
    };
    let before = count();
    let ran = exec(&b, "echo x > file").exits(6);
    assert!(
        ran.err().contains("[name_taken]") && ran.err().contains("next:"),
        "{ran}"
    );
    assert_eq!(count(), before);
    assert!(!b.join("file").exists());
    exec(&a, "cat file").exits(0);
}

#[test]
fn without_a_directory_the_git_root_is_the_workspace_and_the_shell_stands_where_the_caller_did() {
    let home = TestDaemon::start();
    std::fs::create_dir_all(home.project().join("src/deep")).unwrap();
    std::fs::write(home.project().join("top"), "").unwrap();
    home.git_init();
    let mut command = home.agentctl(["exec", "--", "pwd; ls /top"]);
    command.current_dir(home.project().join("src/deep"));
    assert_eq!(run(command, b"").exits(0).out(), "/src/deep\n/top\n");
}

#[test]
fn places_that_are_no_workspace_are_refused_with_the_reason() {
    let home = TestDaemon::start();
    let file = home.project().join("file");
    std::fs::write(&file, "").unwrap();
    let h = home.path().join("h");
    let places = [
        ("/", "whole machine"),
        (h.to_str().unwrap(), "home directory"),
        ("/no/such/place", "no such directory"),
        (file.to_str().unwrap(), "not a directory"),
    ];
    for (place, why) in places {
        for verb in [
            &["exec", "--", "true"][..],
            &["run", "--model", "demo", "hi"],
            &["sessions", "new"],
        ] {
            let mut words = vec!["-C", place];
            words.extend(verb);
            let ran = home.ctl(&words);
            assert_eq!(ran.code, 2, "{place} {verb:?}: {ran}");
            assert!(
                ran.err().contains(why) && ran.err().contains("next:"),
                "{place} {verb:?}: {ran}"
            );
        }
    }
    let list = home
        .ctl(["sessions", "list", "--all", "-o", "plain", "--no-header"])
        .exits(0);
    assert!(list.stdout.is_empty(), "{list}");
}

#[test]
fn twenty_callers_of_one_shell_keep_order_and_each_get_their_own_answer() {
    let home = TestDaemon::start();
    home.ctl(["exec", "--name", "n", "--", "mkdir d && cd d && : >order"])
        .exits(0);
    let home = &home;
    std::thread::scope(|scope| {
        for n in 0..20 {
            scope.spawn(move || {
                let script =
                    format!("echo begin {n} >>order; echo {n} $PWD; echo end {n} >>order; (exit {n})");
                let ran = home.ctl(["exec", "--name", "n", "--", &script]).exits(n);
                assert_eq!(ran.out(), format!("{n} /d\n"));
            });
        }
    });
    let order = std::fs::read_to_string(home.project().join("d/order")).unwrap();
    let lines: Vec<&str> = order.lines().collect();
    assert_eq!(lines.len(), 40, "{order}");
    for pair in lines.chunks(2) {
        assert_eq!(
            pair[0].strip_prefix("begin "),
            pair[1].strip_prefix("end "),
            "{order}"
        );
    }
}

#[test]
fn files_made_inside_have_the_callers_mode_and_nothing_is_littered() {
    let home = TestDaemon::home();
    std::fs::create_dir(home.project().join("src")).unwrap();
    std::fs::write(home.project().join("src/a"), "a\n").unwrap();
    home.git_init();
    // The mask of whoever starts the daemon, not the daemon's own.
    let mut shell = home.command("sh");
    shell.args([
        "-c",
        &format!("umask 022; exec {}/agentctl daemon start", home.bin().display()),
    ]);
    run(shell, b"").exits(0);
    let git = |args: &[&str]| {
        let mut git = home.command("git");
        git.args(args);
        run(git, b"").exits(0).out()
    };
    home.ctl(["exec", "--", "touch made; mkdir dir"]).exits(0);
    // The jail's mount points do not show in git, inside and outside.
    assert_eq!(git(&["status", "--porcelain"]), "?? made\n");
    assert_eq!(
        home.ctl(["exec", "--", "git status --porcelain"]).exits(0).out(),
        "?? made\n"
    );
    assert_eq!(home.ctl(["exec", "--", "umask"]).exits(0).out().trim(), "0022");
    let mode = |name: &str| std::fs::metadata(home.project().join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("made"), mode("dir")), (0o644, 0o755));
    home.ctl(["run", "--model", "demo", "demo: write by-tool text"])
        .exits(0);
    assert_eq!(mode("by-tool"), 0o644);
    home.ctl(["exec", "--", "rm -r made dir by-tool"]).exits(0);
    home.ctl(["daemon", "stop"]).exits(0);
    assert_eq!(git(&["status", "--porcelain", "--ignored"]), "");
    let names = |dir: &std::path::Path| {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&home.project()), [".git", "src"]);
    assert_eq!(names(home.socket().parent().unwrap()), [""; 0]);
    until("no process is left", || home.processes().is_empty().then_some(()));
}

#[test]
fn an_idle_jail_ends_and_its_state_does_not() {
    let mut home = TestDaemon::home();
    home.config("[shell]\nidle_timeout = '300ms'\n");
    home.spawn();
    home.ctl(["exec", "--", "mkdir d; cd d; export V=kept"]).exits(0);
    let daemon = home.pid();
    until("the jail ends", || {
        home.processes().iter().all(|pid| *pid == daemon).then_some(())
    });
    until("its mount points are gone", || {
        (!home.project().join("usr").exists()).then_some(())
    });
    assert_eq!(
        home.ctl(["exec", "--", "echo $V $PWD"]).exits(0).out(),
        "kept /d\n"
    );
    // What runs, in front or behind, is not idle.
    let file = home.project().join("d/ticks");
    home.ctl([
        "exec",
        "--",
        "for i in 1 2 3 4 5 6; do sleep 0.1; echo $i; done >ticks & sleep 0.5",
    ])
    .exits(0);
    until("the job ends by itself", || {
        (std::fs::read_to_string(&file).ok()?.lines().count() == 6).then_some(())
    });
}

#[test]
fn nobody_gets_another_wall_than_he_asked_for() {
    let home = TestDaemon::start();
    let ran = home
        .ctl(["exec", "--name", "bare", "--jail", "outer", "--", "true"])
        .exits(0);
    assert!(ran.err().contains("jail: none (outer)"), "{ran}");
    home.ctl(["exec", "--name", "walled", "--", "true"]).exits(0);
    for args in [
        // Without a word the configured jail is meant.
        &["exec", "--name", "bare", "--", "touch", "ran"][..],
        &["exec", "--name", "bare", "--jail", "bwrap", "--", "touch", "ran"],
        &["exec", "-s", "bare", "--jail", "bwrap", "--", "touch", "ran"],
        &["run", "--name", "bare", "--model", "demo", "demo: run touch ran"],
        &[
            "exec", "--name", "walled", "--jail", "outer", "--", "touch", "ran",
        ],
        &["exec", "-s", "walled", "--jail", "outer", "--", "touch", "ran"],
        &[
            "run",
            "--name",
            "walled",
            "--jail",
            "outer",
            "--model",
            "demo",
            "demo: run touch ran",
        ],
    ] {
        let ran = home.ctl(args).exits(6);
        assert!(ran.err().contains("[jail_differs]"), "{args:?}: {ran}");
        assert!(ran.err().contains("next:"), "{args:?}: {ran}");
    }
    assert!(!home.project().join("ran").exists());
    // Who names what is there gets it.
    home.ctl(["exec", "--name", "bare", "--jail", "outer", "--", "true"])
        .exits(0);
    home.ctl(["exec", "-s", "bare", "--", "true"]).exits(0);
    home.ctl(["exec", "--name", "walled", "--", "true"]).exits(0);
    // The directory's own session for a model, made without a jail, is not taken up unasked.
    home.ctl(["run", "--jail", "outer", "--model", "demo", "demo: say hello"])
        .exits(0);
    let ran = home
        .ctl(["run", "--model", "demo", "demo: run touch ran"])
        .exits(6);
    assert!(ran.err().contains("[jail_differs]"), "{ran}");
    assert!(!home.project().join("ran").exists());
}
