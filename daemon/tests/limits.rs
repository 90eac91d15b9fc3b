//! Owns: the bounds that no kernel keeps for us, met in a real jail.
//! Guarantees: what passes a bound is stopped, what ran before goes on, and the person is told which bound it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shell_support;

use std::path::Path;

use agentd::domain::id::ExecId;
use agentd::domain::workspace::{Layout, ShellKind};
use agentd::jail::Limits;
use agentd::shell::{PtySize, Terminal};
use shell_support::{Ran, Rig};

fn rig(limits: Limits) -> Rig {
    Rig::made(
        ShellKind::Sh,
        Some(Layout::Host),
        |_| {},
        |_, spec| {
            spec.limits = limits.clone();
        },
    )
}

#[track_caller]
fn says(ran: &Ran, part: &str) {
    let message = ran.result.message.clone().unwrap_or_default();
    assert!(ran.code != 0 && message.contains(part), "{part}: {ran:?}");
}

#[tokio::test]
async fn memory_goes_to_the_largest_and_the_shell_lives_on() {
    let rig = rig(Limits {
        memory: Some(200 << 20),
        ..Limits::default()
    });
    rig.run("x=kept; sleep 60 & echo $! >job").await;
    // Little by little, so that a busy machine sees it in time.
    let hog =
        "/usr/bin/python3 -c 'import time\nb=[]\nwhile True: b.append(b\"x\"*(4<<20)); time.sleep(0.01)'";
    let ran = rig.run(hog).await;
    says(&ran, "killed: out of memory, limit 200 MiB");
    assert_eq!(ran.code, 137, "{ran:?}");
    let ran = rig.run("echo $x; kill -0 $(cat job) && echo alive").await;
    assert_eq!(ran.out, "kept\nalive\n", "{ran:?}");
    assert_eq!(ran.result.message, None);
    rig.end().await;
}

#[tokio::test]
async fn too_many_processes_are_killed_and_the_session_goes_on() {
    let rig = rig(Limits {
        nproc: Some(64),
        ..Limits::default()
    });
    rig.run("x=kept").await;
    let ran = rig
        .run("i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; wait")
        .await;
    let message = ran.result.message.clone().unwrap_or_default();
    // Where the kernel counts, forks fail; where it does not (root), they are counted and killed.
    let told = message.contains("too many processes, limit 64") || message.contains("limit of processes: 64");
    assert!(told || ran.err.contains("fork"), "{ran:?}");
    assert_eq!(rig.run("echo $x").await.out, "kept\n");
    rig.end().await;
}

#[tokio::test]
async fn a_fork_bomb_ends_and_the_session_goes_on() {
    let rig = rig(Limits {
        nproc: Some(200),
        ..Limits::default()
    });
    rig.run("x=kept").await;
    let group = format!("agentd-jail-{}", rig.spec.session);
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].map(|root| Path::new(root).join(&group));
    if rustix::process::getuid().is_root() && !roots.iter().any(|dir| dir.exists()) {
        // Neither by user nor by group: on such a machine the bomb would be everybody's.
        eprintln!("no control group may be made here: the bomb is not thrown");
        return rig.end().await;
    }
    rig.run("b() { b | b & }; b; wait").await;
    // Its last processes go when no more can be made, or when they are ended with what they came from.
    let left = "set -- /proc/[0-9]*; while [ $# -gt 4 ]; do set -- /proc/[0-9]*; done; echo $x";
    assert_eq!(rig.run(left).await.out, "kept\n");
    rig.end().await;
    assert!(
        !roots.iter().any(|dir| dir.exists()),
        "the group went with its jail"
    );
}

#[tokio::test]
async fn files_in_tmp_and_the_disks_space_are_bounded() {
    let rig = rig(Limits {
        tmp_files: Some(2000),
        disk_growth: Some(48 << 20),
        fsize: Some(1 << 20),
        ..Limits::default()
    });
    let ran = rig
        .run("mkdir /tmp/d; cd /tmp/d; i=0; while :; do : >f$i; i=$((i+1)); done")
        .await;
    says(&ran, "too many files in /tmp, limit 2000");
    rig.run("cd /; rm -rf /tmp/d").await;
    let root = rig.root().display().to_string();
    let fill = "i=0; while :; do head -c 1000000 /dev/urandom >g$i; sync g$i; i=$((i+1)); done";
    let ran = rig.run(format!("cd {root}; {fill}")).await;
    says(&ran, "the workspace's disk lost more than 48 MiB");
    let ran = rig.run("rm -f g*; head -c 2000000 /dev/zero >large").await;
    says(&ran, "a file grew beyond the limit of 1 MiB");
    rig.end().await;
}

#[tokio::test]
async fn a_smaller_share_of_the_processor_is_a_niceness() {
    let rig = rig(Limits {
        cpu_weight: Some(50),
        ..Limits::default()
    });
    assert_eq!(rig.run("nice").await.out, "3\n");
    rig.end().await;
}

#[tokio::test]
async fn who_stops_a_flood_of_processes_comes_before_it() {
    let rig = rig(Limits::default());
    let own = rustix::process::getpriority_process(None).unwrap();
    let root = rustix::process::getuid().is_root();
    let ran = rig.run("cut -d' ' -f19 /proc/1/stat; nice").await;
    let first = if root { -20 } else { own };
    assert_eq!(ran.out, format!("{first}\n{own}\n"));
    let terminal = rig
        .shell
        .open_pty(ExecId::random(), Terminal::of(PtySize { rows: 24, cols: 80 }))
        .unwrap();
    let text = bytes::Bytes::from_static(b"nice >typed; exit\n");
    terminal
        .write_input((String::new(), 0), text, false)
        .await
        .unwrap();
    terminal.finished().await;
    let typed = std::fs::read_to_string(rig.root().join("typed")).unwrap();
    assert_eq!(typed, format!("{own}\n"));
    rig.end().await;
}
