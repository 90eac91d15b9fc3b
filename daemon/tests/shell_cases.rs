//! Owns: the shell's cases, each pinned to its exact result, in sh and in bash, in a real jail.
//! Guarantees: nothing waits for time to pass but the cases about time limits; a missing bwrap fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shell_support;

use std::time::Duration;

use agentd::domain::id::ExecId;
use agentd::domain::workspace::ShellKind::{self, Bash, Sh};
use agentd::shell::{PtySize, RunRequest, RunState, Stdin, Terminal};
use shell_support::Rig;

/// A script, its exit code, its output; `R` in marks = the shell was replaced, `B` = background. Errors: exact, or a part
/// after `~`. A pair where sh and bash differ.
type Step = (
    &'static str,
    (i32, i32),
    (&'static str, &'static str),
    &'static str,
    &'static str,
);

fn ok(script: &'static str, out: &'static str) -> Step {
    (script, (0, 0), (out, out), "", "")
}
fn code(script: &'static str, code: i32, out: &'static str) -> Step {
    (script, (code, code), (out, out), "", "")
}
fn err(script: &'static str, codes: (i32, i32), out: &'static str, err: &'static str) -> Step {
    (script, codes, (out, out), err, "")
}
fn dies(script: &'static str, code: i32) -> Step {
    (script, (code, code), ("", ""), "", "R")
}
fn marked(script: &'static str, out: &'static str, marks: &'static str) -> Step {
    (script, (0, 0), (out, out), "", marks)
}

async fn play(name: &str, steps: &[Step]) {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        std::fs::create_dir(rig.root().join("docs")).unwrap();
        for (script, codes, outs, error, marks) in steps {
            let ran = rig.run(*script).await;
            let what = format!("{name} [{kind:?}] {script:?}\n{ran:?}");
            let (code, out) = if kind == Sh {
                (codes.0, outs.0)
            } else {
                (codes.1, outs.1)
            };
            assert_eq!((ran.code, ran.out.as_str()), (code, out), "{what}");
            match error.strip_prefix('~') {
                Some(part) => assert!(ran.err.contains(part), "{what}"),
                None => assert_eq!(ran.err, *error, "{what}"),
            }
            assert_eq!(ran.result.shell_restarted, marks.contains('R'), "{what}");
            assert_eq!(ran.result.background, marks.contains('B'), "{what}");
            assert!(!ran.result.not_run, "{what}");
        }
        rig.end().await;
    }
}

macro_rules! case {
    ($name:ident, [$($step:expr),+ $(,)?]) => {
        #[tokio::test]
        async fn $name() {
            play(stringify!($name), &[$($step),+]).await;
        }
    };
}

case!(
    the_project_is_the_root,
    [
        ok("pwd", "/\n"),
        ok("ls -d docs", "docs\n"),
        ok("cd docs", ""),
        ok("pwd", "/docs\n"),
        ok("cd ..; cd ..; cd ..; pwd", "/\n"),
    ]
);

case!(
    state_lasts,
    [
        ok(
            "cd docs; A=1; export B='two words'; f() { echo f:$1; }; alias g='echo g'; umask 027",
            ""
        ),
        ok(
            "pwd; echo $A; sh -c 'echo $B:$A'; f x; g y; umask",
            "/docs\n1\ntwo words:\nf:x\ng y\n0027\n"
        ),
        ok("unset A; unset -f f; unalias g; echo [$A]", "[]\n"),
        err("f", (127, 127), "", "~not found"),
    ]
);

case!(
    the_last_status_is_carried,
    [
        code("(exit 7)", 7, ""),
        ok("echo $?", "7\n"),
        code("false", 1, ""),
        ok("true", ""),
        ok("echo $?", "0\n"),
        code("return 5", 5, ""),
        ok("echo $?", "5\n"),
    ]
);

case!(
    streams_are_apart_and_input_is_empty,
    [
        err("echo out; echo err >&2", (0, 0), "out\n", "err\n"),
        ok("cat; echo $?", "0\n"),
        ok("read x; echo $?", "1\n"),
        ok("head -c 5; cat <&0 | wc -c", "0\n"),
        ok("echo after", "after\n"),
    ]
);

case!(
    forged_ends_are_only_text,
    [
        ok(
            "echo '@abc 0@'; echo '_j: @0 0@' >/run/j/d; echo 'x-1 0' >/run/j/d; echo still",
            "@abc 0@\nstill\n"
        ),
        ok("echo next", "next\n"),
    ]
);

#[tokio::test]
async fn broken_text_ends_only_the_command() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        for script in ["echo \"unbalanced", "x=$( {", "if", ")", "for x in", "case a in"] {
            let ran = rig.run(script).await;
            assert_eq!(
                (ran.code, ran.out.as_str()),
                (2, ""),
                "{kind:?} {script:?} {ran:?}"
            );
            assert!(
                !ran.err.is_empty() && !ran.result.shell_restarted,
                "{kind:?} {script:?} {ran:?}"
            );
            assert_eq!(rig.run("echo $?").await.out, "2\n");
        }
        for (script, out) in [
            ("echo ab\\", "ab\\\n"),
            ("", ""),
            ("# only a comment", ""),
            ("\0\0", ""),
            ("echo a\0b", "ab\n"),
        ] {
            let ran = rig.run(script).await;
            assert_eq!(
                (ran.code, ran.out.as_str()),
                (0, out),
                "{kind:?} {script:?} {ran:?}"
            );
        }
        let heredoc = rig.run("cat <<E\nfoo").await;
        assert_eq!((heredoc.code, heredoc.out.trim_end()), (0, "foo"));
        rig.end().await;
    }
}

case!(
    a_background_job_is_known_to_the_next_command,
    [
        marked("sleep 100 &", "", "B"),
        // An interactive shell ignores this signal, and so does its child until it has become the program.
        (
            "until grep -qx sleep /proc/$!/comm; do :; done; kill $!; wait $!",
            (143, 143),
            ("", ""),
            "~",
            "",
        ),
        ok("echo $?", "143\n"),
    ]
);

case!(
    strict_modes,
    [
        ok("set -u", ""),
        err("echo $nope", (2, 1), "", "~nope"),
        ok("set +u; echo [$nope]", "[]\n"),
        ok("set -e", ""),
        dies("false; echo no", 1),
        ok(
            "echo $?; case $- in *e*) echo strict;; esac; set +e",
            "1\nstrict\n"
        ),
        // dash stops executing for good, so it is replaced; bash ignores the option when interactive.
    ]
);

#[tokio::test]
async fn a_shell_that_no_longer_executes_is_replaced() {
    let rig = Rig::new(Sh);
    rig.run("A=kept").await;
    let ran = rig.run("set -n\necho no").await;
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.result.shell_restarted),
        (0, "", true),
        "{ran:?}"
    );
    assert_eq!(rig.run("echo $A").await.out, "kept\n");
    rig.end().await;
    let rig = Rig::new(Bash);
    assert_eq!(rig.run("set -n\necho on").await.out, "on\n");
    rig.end().await;
}

case!(
    a_dead_shell_comes_back_with_its_state,
    [
        ok(
            "cd docs; X=\"it's\"; export Y='a\nb'; umask 077; alias al='echo it'; readonly R=1",
            ""
        ),
        dies("exit 3", 3),
        ok(
            "echo $? $X $R; sh -c 'echo \"$Y\"'; pwd; umask",
            "3 it's 1\na\nb\n/docs\n0077\n"
        ),
        ok("al s", "it s\n"),
        dies("exec sh -c 'exit 7'", 7),
        ok("echo $? $X", "7 it's\n"),
        dies("kill -9 $$", 137),
        ok("echo $? $X", "137 it's\n"),
        ok("kill -9 1; echo $?", "0\n"),
        ("sleep 100 & kill -9 -1; wait $!", (137, 137), ("", ""), "~", ""),
        ok("echo $X", "it's\n"),
        ok("unset HOME", ""),
        dies("exit 1", 1),
        ok("echo [$HOME]", "[]\n"),
    ]
);

case!(
    redirections_stay_in_their_command,
    [
        ok("exec >f; echo hi", ""),
        ok("echo back; cat f", "back\nhi\n"),
        ok("exec 2>&1; echo e >&2", "e\n"),
        err("echo e >&2", (0, 0), "", "e\n"),
        ok("exec 0<&- 1>&- 2>&-", ""),
        ok("echo x", "x\n"),
    ]
);

case!(
    nothing_of_the_protocol_can_be_overridden,
    [
        ok(
            "echo() { :; }; read() { :; }; command() { :; }; printf() { :; }; pwd() { :; }; alias .=false; alias :=false",
            ""
        ),
        ok("/bin/echo ok", "ok\n"),
        ok("IFS=0123456789@; PATH=/nope", ""),
        dies("exit 12", 12),
        ok("/bin/echo still", "still\n"),
        ok("exec 9>&-; unset -f echo; echo k", "k\n"),
        ok("/bin/rm -rf /run/j/* 2>/dev/null; echo k", "k\n"),
    ]
);

async fn timed(rig: &Rig, script: &str) -> shell_support::Ran {
    let mut request = RunRequest::new(ExecId::random(), script);
    request.timeout = Some(Duration::from_millis(250));
    rig.request(request).await
}

#[tokio::test]
async fn a_time_limit_leaves_no_survivor_and_keeps_the_rest() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        rig.run("A=1; sleep 1000 & B=$!").await;
        for script in [
            "sleep 100",
            "while :; do :; done",
            "setsid sh -c 'trap \"\" INT TERM; sleep 200 & sleep 300' & trap '' INT TERM; sleep 400",
            "trap - INT TERM; echo 'sh /race.sh &' >/race.sh; sh /race.sh; sleep 100",
        ] {
            let ran = timed(&rig, script).await;
            assert!(
                ran.code == 124 && ran.result.timed_out && !ran.result.background,
                "{kind:?} {script} {ran:?}"
            );
            // init, the shell, the earlier job.
            let left = rig
                .run("set -- /proc/[0-9]*; echo $#; kill -0 $B && echo $A")
                .await;
            assert_eq!(left.out, "3\n1\n", "{kind:?} {script} {left:?}");
        }
        rig.end().await;
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_command_and_frees_the_queue() {
    let rig = Rig::new(Sh);
    let first = rig
        .shell
        .run(RunRequest::new(ExecId::random(), "echo on; sleep 1000"))
        .unwrap();
    let second = rig
        .shell
        .run(RunRequest::new(ExecId::random(), "echo second"))
        .unwrap();
    first
        .changed
        .clone()
        .wait_for(|p| p.stdout_bytes > 0)
        .await
        .unwrap();
    first.interrupt().unwrap();
    let result = first.finished().await;
    assert!(result.exit_code == 130 && result.interrupted, "{result:?}");
    assert_eq!(second.finished().await.exit_code, 0);
    rig.end().await;
}

#[tokio::test]
async fn output_is_exact_and_past_the_cap_its_ends_are() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        let mut request = RunRequest::new(ExecId::random(), "yes 0123456789abcde | head -c 200000000");
        request.max_output = 300_000_000;
        let handle = rig.shell.run(request).unwrap();
        let result = handle.finished().await;
        assert_eq!((result.stdout_bytes, result.truncated), (200_000_000, false));
        let bytes = std::fs::read(&handle.spool.stdout).unwrap();
        assert!(bytes.len() == 200_000_000 && bytes.chunks(16).all(|c| c == b"0123456789abcde\n"));
        let both = rig
            .run("head -c 3000000 /dev/zero >&2 & head -c 3000000 /dev/zero; wait $!")
            .await;
        assert_eq!(
            (both.out.len(), both.err.len(), both.result.background),
            (3_000_000, 3_000_000, false)
        );
        let mut request = RunRequest::new(ExecId::random(), "seq 1 100000");
        request.max_output = 100;
        let cut = rig.request(request).await;
        assert_eq!(
            (cut.out.len(), cut.result.stdout_bytes, cut.result.stdout_dropped),
            (100, 588_895, 588_795)
        );
        assert!(
            cut.out.starts_with("1\n2\n") && cut.out.ends_with("99999\n100000\n"),
            "{cut:?}"
        );
        rig.end().await;
    }
}

#[tokio::test]
async fn ten_megabytes_of_text_are_a_command_too() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        let ran = rig
            .run(format!("x='{}'; echo ${{#x}}", "a".repeat(10_000_000)))
            .await;
        assert_eq!((ran.code, ran.out.as_str()), (0, "10000000\n"));
        rig.end().await;
    }
}

#[tokio::test]
async fn input_sent_twice_is_typed_once() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        let mut request = RunRequest::new(ExecId::random(), "cat; echo done");
        request.stdin = Stdin::Open;
        let handle = rig.shell.run(request).unwrap();
        handle
            .write_input((String::new(), 0), bytes::Bytes::from_static(b"hello\n"), false)
            .await
            .unwrap();
        handle
            .write_input((String::new(), 0), bytes::Bytes::from_static(b"hello\n"), false)
            .await
            .unwrap();
        handle
            .write_input((String::new(), 6), bytes::Bytes::from_static(b"you\n"), true)
            .await
            .unwrap();
        assert_eq!(handle.finished().await.exit_code, 0);
        assert_eq!(
            std::fs::read(&handle.spool.stdout).unwrap(),
            b"hello\nyou\ndone\n"
        );
        rig.end().await;
    }
}

#[tokio::test]
async fn a_terminal_is_one() {
    let rig = Rig::new(Sh);
    let mut request = RunRequest::new(
        ExecId::random(),
        "test -t 0 && test -t 1 && stty size; read x; echo got $x",
    );
    request.stdin = Stdin::Pty(PtySize { rows: 30, cols: 100 });
    let handle = rig.shell.run(request).unwrap();
    handle
        .write_input((String::new(), 0), bytes::Bytes::from_static(b"typed\n"), false)
        .await
        .unwrap();
    assert_eq!(handle.finished().await.exit_code, 0);
    let text = std::fs::read_to_string(&handle.spool.stdout).unwrap();
    assert!(
        text.contains("30 100\r\n") && text.ends_with("got typed\r\n"),
        "{text:?}"
    );
    rig.end().await;
}

#[tokio::test]
async fn ctrl_c_on_a_terminal_stops_the_command_and_nothing_else() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        rig.run("sleep 1000 >/dev/null 2>&1 & A=kept").await;
        // It is the one that is stopped who says that it is there.
        let script = "sh -c 'echo on; exec sleep 1000'; echo after";
        let mut request = RunRequest::new(ExecId::random(), script);
        request.stdin = Stdin::Pty(PtySize { rows: 30, cols: 100 });
        let handle = rig.shell.run(request).unwrap();
        handle
            .changed
            .clone()
            .wait_for(|p| p.stdout_bytes > 0)
            .await
            .unwrap();
        let key = bytes::Bytes::from_static(b"\x03");
        handle.write_input((String::new(), 0), key, false).await.unwrap();
        handle.finished().await;
        let after = rig.run("echo $A; kill -0 $! && echo lives").await;
        assert_eq!(after.out, "kept\nlives\n", "{kind:?} {after:?}");
        rig.end().await;
    }
}

#[tokio::test]
async fn who_waits_for_input_is_told_apart_from_who_works() {
    use agentd::shell::LastWords;
    let waits = [
        ("printf 'a? '; read x", LastWords::Stdout),
        ("printf 'b? ' >&2; cat >/dev/null", LastWords::Stderr),
        ("sh -c 'printf c; exec cat' | cat >&2; :", LastWords::Stderr),
        (
            "python3 -c 'import select,sys; select.select([sys.stdin],[],[])'",
            LastWords::Stdout,
        ),
        (
            "python3 -c 'import select,sys; p=select.epoll(); p.register(0,1); p.poll()'",
            LastWords::Stdout,
        ),
    ];
    let rig = Rig::new(Bash);
    for pty in [false, true] {
        for (script, words) in waits {
            let mut request = RunRequest::new(ExecId::random(), script);
            request.stdin = if pty {
                Stdin::Pty(PtySize { rows: 30, cols: 100 })
            } else {
                Stdin::Open
            };
            // A terminal has one stream.
            let words = if pty { LastWords::Stdout } else { words };
            let handle = rig.shell.run(request).unwrap();
            let mut changed = handle.changed.clone();
            let seen = changed.wait_for(|p| p.waits.is_some());
            let seen = tokio::time::timeout(std::time::Duration::from_secs(20), seen).await;
            assert_eq!(seen.expect(script).unwrap().waits, Some(words), "{script}");
            let text = bytes::Bytes::from_static(b"x\n");
            handle.write_input((String::new(), 0), text, true).await.unwrap();
            handle.finished().await;
            assert_eq!(handle.changed.borrow().waits, None, "{script}");
        }
    }
    // It works, sleeps, or looks at its input now and then.
    for script in [
        "sleep 1.2",
        "python3 -c 'import select,sys; [select.select([sys.stdin],[],[],0.3) for _ in range(4)]'",
    ] {
        let mut request = RunRequest::new(ExecId::random(), script);
        request.stdin = Stdin::Open;
        let handle = rig.shell.run(request).unwrap();
        let mut changed = handle.changed.clone();
        let ended = changed.wait_for(|p| p.waits.is_some() || p.state >= agentd::shell::RunState::Finished);
        assert_eq!(ended.await.unwrap().waits, None, "{script}");
        handle.finished().await;
    }
    rig.end().await;
}

#[tokio::test]
async fn the_session_goes_on_where_the_terminal_left_off() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        rig.run("A=before").await;
        let handle = rig
            .shell
            .open_pty(ExecId::random(), Terminal::of(PtySize { rows: 30, cols: 100 }))
            .unwrap();
        handle
            .write_input(
                (String::new(), 0),
                bytes::Bytes::from_static(b"cd /usr/lib; export Z=$A; exit 4\n"),
                false,
            )
            .await
            .unwrap();
        let result = handle.finished().await;
        assert_eq!(result.exit_code, 4, "{result:?}");
        let after = rig.run("pwd; sh -c 'echo $Z'; echo $TERM").await;
        assert_eq!(
            after.out, "/usr/lib\nbefore\ndumb\n",
            "{kind:?} {result:?} {after:?}"
        );
        rig.end().await;
    }
}

#[tokio::test]
async fn what_a_run_brings_is_put_back() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        rig.run("FOO=old; (exit 3)").await;
        let mut request = RunRequest::new(ExecId::random(), "echo $? $FOO; sh -c 'echo $FOO $BAR'; pwd");
        request.env = vec![("FOO".into(), "it's".into()), ("BAR".into(), "b".into())];
        request.cwd = Some("/usr".into());
        let ran = rig.request(request).await;
        assert_eq!(ran.out, "3 it's\nit's b\n/usr\n", "{kind:?} {ran:?}");
        assert_eq!(
            rig.run("echo $FOO [$BAR]; set | grep -c _agentd").await.out,
            "old []\n0\n"
        );
        rig.end().await;
    }
}

#[tokio::test]
async fn late_background_output_stays_with_its_command() {
    let rig = Rig::new(ShellKind::Sh);
    let handle = rig
        .shell
        .run(RunRequest::new(
            ExecId::random(),
            "mkfifo p; { read x <p; echo late; } & echo now",
        ))
        .unwrap();
    assert!(handle.finished().await.background);
    assert_eq!(rig.run("echo go >p; wait; echo other").await.out, "other\n");
    handle
        .changed
        .clone()
        .wait_for(|p| p.state == RunState::Closed)
        .await
        .unwrap();
    assert_eq!(std::fs::read(&handle.spool.stdout).unwrap(), b"now\nlate\n");
    rig.end().await;
}

#[tokio::test]
async fn a_command_right_after_the_end_of_its_jail_runs_in_a_new_one() {
    let rig = Rig::new(Sh);
    rig.run("A=kept").await;
    for round in 0..5 {
        rig.shell.settled().await;
        // Beside this runtime, which stands still meanwhile: nothing in it can hear of the end before the command comes.
        std::thread::scope(|beside| {
            let end = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime
                    .unwrap()
                    .block_on(rig.host.end(&rig.spec.session))
                    .unwrap();
            };
            beside.spawn(end).join().unwrap();
        });
        assert_eq!(rig.run("echo $A").await.out, "kept\n", "round {round}");
    }
    rig.end().await;
}

/// The shell is not asked for its state after a plain program (ADR 31); whatever else has the name of one, it is.
#[tokio::test]
async fn what_a_plain_word_did_to_the_shell_comes_back_with_a_killed_jail() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        let killed = async || {
            // The state is taken a moment after the answer.
            rig.shell.settled().await;
            rig.host.end(&rig.spec.session).await.unwrap();
        };
        rig.run("A=1; export B=2").await;
        rig.run("false").await;
        killed().await;
        assert_eq!(
            rig.run("echo $? $A $B").await.out,
            "1 1 2\n",
            "{kind:?}: a program"
        );
        rig.run("alias true='A=alias'").await;
        rig.run("true").await;
        killed().await;
        assert_eq!(rig.run("echo $A").await.out, "alias\n", "{kind:?}: an alias");
        rig.run("unalias true").await;
        rig.run("true() { A=function; }").await;
        rig.run("true").await;
        killed().await;
        assert_eq!(rig.run("echo $A").await.out, "function\n", "{kind:?}: a function");
        rig.run("unset -f true; mkdir d; cd d").await;
        rig.run("mv ../d ../e").await;
        killed().await;
        assert!(
            rig.run("pwd").await.out.ends_with("/e\n"),
            "{kind:?}: its directory was moved"
        );
        rig.end().await;
    }
}
