//! Owns: what a session keeps and says at its edges: a terminal that is left, a full disk, an idle jail, an adopted run.
//! Guarantees: nothing of ours is ever seen by the person; nothing is lost without a word.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod shell_support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use agentd::domain::id::ExecId;
use agentd::domain::workspace::Layout;
use agentd::domain::workspace::ShellKind::{self, Bash, Sh};
use agentd::shell::{PtySize, RunHandle, RunRequest, RunState, Stdin, Terminal};
use shell_support::Rig;

const SIZE: PtySize = PtySize { rows: 30, cols: 100 };

#[tokio::test]
async fn leaving_a_terminal_shows_nothing_of_ours() {
    for kind in [Sh, Bash] {
        for leave in ["exit 4\n", "\u{4}", "exec sh -c 'exit 4'\n"] {
            let rig = Rig::new(kind);
            rig.run("A=before").await;
            let handle = rig.shell.open_pty(ExecId::random(), Terminal::of(SIZE)).unwrap();
            let mut changed = handle.changed.clone();
            changed.wait_for(|p| p.stdout_bytes > 0).await.unwrap();
            handle
                .write_input(
                    (String::new(), 0),
                    bytes::Bytes::from_static(leave.as_bytes()),
                    false,
                )
                .await
                .unwrap();
            let result = handle.finished().await;
            changed.wait_for(|p| p.state == RunState::Closed).await.unwrap();
            let second = (result.stderr_bytes, changed.borrow().stderr_bytes);
            assert_eq!(second, (0, 0), "{kind:?} {leave:?}");
            let mut text = std::fs::read_to_string(&handle.spool.stdout).unwrap();
            text += &std::fs::read_to_string(&handle.spool.stderr).unwrap();
            for ours in ["HOME=", "export ", "declare ", "run/j", "trap", "set "] {
                assert!(!text.contains(ours), "{kind:?} {leave:?} shows {ours}: {text}");
            }
            let left = std::fs::read_dir(rig.host.spool_dir(&rig.spec.session)).unwrap();
            let left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
            assert!(
                !left.iter().any(|n| n.to_string_lossy().ends_with(".state")),
                "{left:?}"
            );
            rig.end().await;
        }
    }
}

#[tokio::test]
async fn what_commands_make_has_the_persons_umask() {
    agentd::paths::private_umask();
    for (umask, file, dir) in [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775)] {
        let rig = Rig::made(Sh, None, |_| {}, |_, spec| spec.limits.umask = Some(umask));
        rig.run("touch file; mkdir dir").await;
        let mode = |name| {
            std::fs::metadata(rig.root().join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode("file"), mode("dir")), (file, dir));
        let handle = rig.shell.open_pty(ExecId::random(), Terminal::of(SIZE)).unwrap();
        handle
            .write_input(
                (String::new(), 0),
                bytes::Bytes::from_static(b"touch typed; exit\n"),
                false,
            )
            .await
            .unwrap();
        handle.finished().await;
        assert_eq!(mode("typed"), file);
        rig.end().await;
    }
}

fn restless(kind: ShellKind, after: u64) -> Rig {
    Rig::made(
        kind,
        None,
        |_| {},
        move |_, spec| spec.idle_timeout = Some(Duration::from_millis(after)),
    )
}

async fn rests(rig: &Rig) {
    let gone = async {
        while !rig.host.live().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .expect("the jail rests");
}

#[tokio::test]
async fn an_idle_jail_rests_and_the_next_command_finds_its_state() {
    for kind in [Sh, Bash] {
        let rig = restless(kind, 30);
        rig.run("mkdir docs; cd docs; A='x y'; export B=b; umask 027; (exit 3)")
            .await;
        rests(&rig).await;
        // Nothing of ours stays, not even while nobody looks.
        assert_eq!(std::fs::read_dir(rig.root()).unwrap().count(), 1);
        let ran = rig.run("echo $? $A; sh -c 'echo $B'; pwd; umask").await;
        assert_eq!(ran.out, "3 x y\nb\n/docs\n0027\n", "{kind:?} {ran:?}");
        assert!(
            !ran.result.jail_restarted && !ran.result.shell_restarted,
            "{ran:?}"
        );
        assert_eq!(ran.result.message, None);
        rig.run("touch /tmp/mine").await;
        rests(&rig).await;
        let ran = rig.run("ls /tmp/mine").await;
        assert!(
            ran.result
                .message
                .as_ref()
                .is_some_and(|m| m.contains("/tmp is empty")),
            "{ran:?}"
        );
        rig.end().await;
    }
}

#[tokio::test]
async fn whatever_lives_in_a_jail_keeps_it_awake() {
    let (sh, background, running, typing) = (
        restless(Sh, 30),
        restless(Sh, 30),
        restless(Sh, 30),
        restless(Sh, 30),
    );
    sh.run("f() { echo kept; }").await;
    background.run("sleep 1000 >/dev/null 2>&1 & A=1").await;
    let run = running
        .shell
        .run(RunRequest::new(ExecId::random(), "read x <p; echo $x"));
    let run = run.unwrap();
    std::process::Command::new("mkfifo")
        .arg(running.root().join("p"))
        .status()
        .unwrap();
    let pty = typing
        .shell
        .open_pty(ExecId::random(), Terminal::of(SIZE))
        .unwrap();
    pty.changed
        .clone()
        .wait_for(|p| p.stdout_bytes > 0)
        .await
        .unwrap();
    // Ten times as long as it takes to fall asleep.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for rig in [&sh, &background, &running, &typing] {
        assert_eq!(rig.host.live(), std::slice::from_ref(&rig.spec.session));
    }
    assert_eq!(sh.run("f").await.out, "kept\n");
    assert_eq!(background.run("kill $! && echo $A").await.out, "1\n");
    drop(run);
    for rig in [sh, background, running, typing] {
        rig.end().await;
    }
}

#[tokio::test]
async fn a_function_named_dot_is_removed_and_said() {
    let rig = Rig::new(Bash);
    rig.run("A=kept; mkdir docs; cd docs").await;
    rig.run(".() { echo mine; }").await;
    let next = rig.run("echo $A; pwd").await;
    assert_eq!(next.out, "kept\n/docs\n", "{next:?}");
    assert!(
        next.result
            .message
            .is_some_and(|m| m.contains("function named ."))
    );
    // Other functions in the way of the state leave the one before in place.
    rig.run("declare() { :; }; B=2").await;
    assert_eq!(rig.run("echo $B").await.out, "2\n");
    assert_eq!(rig.run("exit 1").await.code, 1);
    assert_eq!(rig.run("echo $A").await.out, "kept\n");
    rig.end().await;
}

#[tokio::test]
async fn the_last_words_of_a_shell_are_heard() {
    for kind in [Sh, Bash] {
        let rig = Rig::new(kind);
        let ran = rig.run("trap 'echo bye' EXIT; echo hi; exit 5").await;
        assert_eq!((ran.code, ran.out.as_str()), (5, "hi\nbye\n"), "{kind:?} {ran:?}");
        rig.run("trap - EXIT").await;
        assert_eq!(rig.run("echo next").await.out, "next\n");
        rig.end().await;
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_never_filled_with_zeros() {
    let rig = Rig::new(Sh);
    rig.run("A=kept").await;
    let request = RunRequest::new(ExecId::random(), "echo lost; echo also >&2; A=new");
    let dir = rig.host.spool_dir(&rig.spec.session);
    std::os::unix::fs::symlink("/dev/full", dir.join(format!("{}.out", request.exec_id))).unwrap();
    let run = rig.shell.run(request).unwrap();
    let result = run.finished().await;
    assert_eq!(std::fs::read(&run.spool.stderr).unwrap(), b"also\n");
    assert_eq!(
        (
            result.stdout_bytes,
            result.stdout_dropped,
            result.stderr_dropped,
            result.truncated
        ),
        (5, 5, 0, true)
    );
    let message = result.message.as_deref().unwrap_or_default();
    assert!(
        message.contains("full") && message.contains("5 bytes"),
        "{message}"
    );
    // The shell's state needs no disk.
    rig.run("exit 0").await;
    assert_eq!(rig.run("echo $A").await.out, "new\n");
    rig.end().await;
}

#[tokio::test]
async fn what_is_mounted_for_the_session_is_there() {
    let tools = tempfile::tempdir().unwrap();
    std::fs::write(tools.path().join("tool"), "#!/bin/sh\necho from-outside\n").unwrap();
    std::fs::set_permissions(tools.path().join("tool"), PermissionsExt::from_mode(0o755)).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let (tool, cache) = (tools.path().to_owned(), cache.path().join("new/one"));
    let rig = Rig::made(
        Sh,
        Some(Layout::Host),
        |_| {},
        |_, spec| {
            spec.read_only = vec![tool.clone()];
            spec.cache_dir = Some(cache.clone());
        },
    );
    let at = tool.display();
    let ran = rig
        .run(format!("{at}/tool; touch {at}/x 2>/dev/null || echo refused"))
        .await;
    assert_eq!(ran.out, "from-outside\nrefused\n", "{ran:?}");
    let ran = rig
        .run("mkdir -p \"$PIP_CACHE_DIR\" \"$npm_config_cache\" \"$CARGO_HOME\" && echo x >\"$PIP_CACHE_DIR/x\"")
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    rig.end().await;
    assert_eq!(std::fs::read(cache.join("pip/x")).unwrap(), b"x\n");
    assert_eq!(
        std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[tokio::test]
async fn an_adopted_run_keeps_its_limit_and_takes_input() {
    let rig = Rig::new(Sh);
    let mut request = RunRequest::new(ExecId::random(), "read x; echo one; cat; seq 1 100000");
    request.stdin = Stdin::Open;
    request.max_output = 100;
    let handle = rig.shell.run(request).unwrap();
    handle
        .write_input((String::new(), 0), bytes::Bytes::from_static(b"typed\n"), false)
        .await
        .unwrap();
    handle
        .changed
        .clone()
        .wait_for(|p| p.stdout_bytes > 0)
        .await
        .unwrap();
    let shell = rig.next_daemon();
    let found = shell.adopt().await.into_iter().next().unwrap();
    assert_eq!(found.exec_id, handle.exec_id);
    // Sent again, as after a reconnect, with something new.
    found
        .write_input(
            (String::new(), 0),
            bytes::Bytes::from_static(b"typed\ntwo\n"),
            true,
        )
        .await
        .unwrap();
    let result = found.finished().await;
    let text = std::fs::read_to_string(&found.spool.stdout).unwrap();
    assert_eq!(
        (
            text.len(),
            result.stdout_bytes,
            result.stdout_dropped,
            result.truncated
        ),
        (100, 588_903, 588_803, true),
        "{result:?}"
    );
    assert!(
        text.starts_with("one\ntwo\n1\n") && text.ends_with("\n100000\n"),
        "{text}"
    );
    shell.end().await.unwrap();
}

#[tokio::test]
async fn an_adopted_terminal_still_hands_its_state_over() {
    let rig = Rig::new(Sh);
    rig.run("A=1").await;
    let handle = rig.shell.open_pty(ExecId::random(), Terminal::of(SIZE)).unwrap();
    handle
        .changed
        .clone()
        .wait_for(|p| p.stdout_bytes > 0)
        .await
        .unwrap();
    let shell = rig.next_daemon();
    let found = shell.adopt().await.into_iter().next().unwrap();
    found
        .write_input(
            (String::new(), 0),
            bytes::Bytes::from_static(b"A=2; exit\n"),
            false,
        )
        .await
        .unwrap();
    assert_eq!(found.finished().await.stderr_bytes, 0);
    let run = shell.run(RunRequest::new(ExecId::random(), "echo $A")).unwrap();
    run.finished().await;
    assert_eq!(std::fs::read(&run.spool.stdout).unwrap(), b"2\n");
    shell.end().await.unwrap();
}

#[tokio::test]
async fn a_terminal_overtakes_the_question_of_a_new_daemon() {
    let rig = Rig::new(Sh);
    rig.run("A=1; P=$$; mkfifo go").await;
    let handle = rig.shell.open_pty(ExecId::random(), Terminal::of(SIZE)).unwrap();
    let type_in = async |handle: &RunHandle, writer: &str, text: &'static [u8]| {
        let text = bytes::Bytes::from_static(text);
        handle
            .write_input((writer.to_owned(), 0), text, false)
            .await
            .unwrap();
    };
    // The shell that a new daemon asks for its state answers only when the terminal is over.
    type_in(
        &handle,
        "one",
        b"trap '' HUP; (read x <go; kill -CONT $P) & kill -STOP $P; echo $((40+2)).\n",
    )
    .await;
    let out = handle.spool.stdout.clone();
    let text = || std::fs::read_to_string(&out).unwrap();
    let mut changed = handle.changed.clone();
    changed.wait_for(|_| text().contains("42.")).await.unwrap();
    let shell = rig.next_daemon();
    let found = shell.adopt().await.into_iter().next().unwrap();
    type_in(&found, "two", b"A=2; exit\n").await;
    let message = found.finished().await.message.unwrap();
    assert_eq!(message, "the session continues where the terminal left off");
    std::fs::write(rig.root().join("go"), "on\n").unwrap();
    let run = shell.run(RunRequest::new(ExecId::random(), "echo $A")).unwrap();
    run.finished().await;
    assert_eq!(std::fs::read(&run.spool.stdout).unwrap(), b"2\n");
    shell.end().await.unwrap();
}

#[tokio::test]
async fn an_end_is_told_again_until_somebody_keeps_it() {
    let rig = Rig::new(Sh);
    let handle = rig
        .shell
        .run(RunRequest::new(ExecId::random(), "echo out; (exit 7)"))
        .unwrap();
    assert_eq!(handle.finished().await.exit_code, 7);
    // The daemon heard the end and died before it was written.
    let second = rig.next_daemon();
    let found = second.adopt().await.into_iter().next().expect("still known");
    assert_eq!(
        (found.exec_id.clone(), found.finished().await.exit_code),
        (handle.exec_id, 7)
    );
    assert_eq!(std::fs::read(&found.spool.stdout).unwrap(), b"out\n");
    second.acknowledge(&found.exec_id);
    // Wishes are heard in order: a later command shows that the word has arrived.
    let after = second.run(RunRequest::new(ExecId::random(), "true")).unwrap();
    after.finished().await;
    let third = rig.next_daemon();
    let known = third.adopt().await;
    assert!(known.iter().all(|run| run.exec_id != found.exec_id), "{known:?}");
    third.end().await.unwrap();
}

#[tokio::test]
async fn a_terminal_is_of_the_kind_that_was_asked_for() {
    let rig = Rig::new(Sh);
    let term = "screen-256color".to_owned();
    let handle = rig
        .shell
        .open_pty(ExecId::random(), Terminal { size: SIZE, term })
        .unwrap();
    handle
        .write_input(
            (String::new(), 0),
            bytes::Bytes::from_static(b"sh -c 'echo is:$TERM'; exit\n"),
            false,
        )
        .await
        .unwrap();
    handle.finished().await;
    let text = std::fs::read_to_string(&handle.spool.stdout).unwrap();
    assert!(text.contains("is:screen-256color"), "{text}");
    rig.end().await;
}
