//! Owns: the wall seen from inside, and the life of a jail seen from outside.
//! Guarantees: each canary is checked from outside; nothing of ours stays behind; a missing bwrap fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shell_support;

use agentd::domain::id::ExecId;
use agentd::domain::workspace::{Layout, ShellKind};
use agentd::jail::{JailHost, MountJournal};
use agentd::shell::{RunRequest, RunState, Shell};
use shell_support::{Rig, config};

#[tokio::test]
async fn both_layouts_keep_the_machine_out() {
    for layout in [Layout::Root, Layout::Host] {
        let rig = Rig::with(ShellKind::Sh, Some(layout), |root| {
            std::fs::create_dir_all(root.join(".git/hooks")).unwrap();
            std::fs::write(root.join(".git/config"), "[core]\n").unwrap();
        });
        // What must fail, whatever it prints.
        for script in [
            "cat /etc/shadow",
            "ls /home/* /root /var /mnt",
            "cp /usr/bin/id s && chmod u+s s",
            "mkdir d && chmod g+s d",
            "unshare -Ur true",
            "mount -t tmpfs none /tmp",
            "mknod n c 1 3",
            "rm /run/j/d",
            "mkfifo /run/j/new",
            "mv /run/j/d /run/j/e",
            "cat /proc/1/environ",
            "readlink /proc/1/fd/0",
            "head -c 1 /proc/1/mem",
            "ls /proc/1/root/",
            "ls /sys",
            "ls /dev/kvm",
            "echo x >/etc/passwd",
            "touch /usr/x",
            "touch /dev/x",
            "mv .git .git2",
            "touch .git/hooks/post-commit",
            "echo x >>.git/config",
            "rm -rf .git/hooks",
            "env | grep -i -e agent_canary -e cargo -e ssh_auth",
            "test -w /proc/sys/kernel/hostname && test -w /proc/sys/vm/swappiness",
        ] {
            let ran = rig.run(format!("( {script} ) >/dev/null 2>&1")).await;
            assert_ne!(ran.code, 0, "{layout:?} {script} {ran:?}");
        }
        let sockets = r#"/usr/bin/python3 - <<'E'
import socket, errno, ctypes, os
def refused(family, kind=socket.SOCK_STREAM, proto=0):
    try: socket.socket(family, kind, proto); return "open"
    except OSError as e: return errno.errorcode[e.errno]
print(refused(40), refused(38, 5), refused(17, 3), refused(16, 3, 2), refused(16, 3, 0), refused(2))
libc = ctypes.CDLL(None, use_errno=True)
def call(*a):
    libc.syscall(*a); return errno.errorcode.get(ctypes.get_errno(), "ok")
if os.uname().machine == "x86_64":
    print(call(250, 0, 0, 0, 0), call(425, 1, 0), call(323, 0), call(321, 0, 0, 0), call(435, 0, 0), call(437, 0, 0, 0, 0))
import fcntl
try: fcntl.ioctl(0, 0x5412, b"x")
except OSError as e: print(errno.errorcode[e.errno])
E"#;
        let ran = rig.run(sockets).await;
        let families = "EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT open open\n";
        let calls = if cfg!(target_arch = "x86_64") {
            "EPERM EPERM EPERM EPERM ENOSYS ENOSYS\n"
        } else {
            ""
        };
        assert_eq!(ran.out, format!("{families}{calls}EPERM\n"), "{ran:?}");
        let root = rig.root().to_owned();
        let kept = std::fs::read_to_string(root.join(".git/config")).unwrap();
        assert_eq!(kept, "[core]\n");
        rig.end().await;
    }
}

#[tokio::test]
async fn the_host_layout_has_host_paths() {
    let rig = Rig::with(ShellKind::Sh, Some(Layout::Host), |_| {});
    let root = rig.root().display().to_string();
    assert_eq!(rig.run("pwd; touch made").await.out, format!("{root}\n"));
    assert!(rig.root().join("made").exists());
    rig.end().await;
}

#[tokio::test]
async fn a_project_with_its_own_lib_keeps_it() {
    let rig = Rig::with(ShellKind::Sh, Some(Layout::Root), |root| {
        std::fs::create_dir(root.join("lib")).unwrap();
        std::fs::write(root.join("lib/mine"), "").unwrap();
    });
    let ran = rig.run("ls /lib; /usr/bin/python3 -c 'import ssl; print(1)'; perl -e 'print 2'; git --version | cut -c1-3").await;
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("mine\n1\n2git\n", ""));
    rig.end().await;
}

#[tokio::test]
async fn nothing_is_left_and_nothing_lives() {
    let rig = Rig::new(ShellKind::Sh);
    rig.run("sleep 1000 & setsid sleep 1000 &").await;
    assert!(rig.root().join("usr").is_dir());
    rig.shell.end().await.unwrap();
    assert_eq!(std::fs::read_dir(rig.root()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(rig.dir.path().join("r")).unwrap().count(), 0);
    assert!(rig.journal.workspaces().is_empty() && rig.host.live().is_empty());
}

#[tokio::test]
async fn the_next_daemon_finds_the_running_command() {
    let rig = Rig::new(ShellKind::Sh);
    rig.run("A=kept").await;
    std::process::Command::new("mkfifo")
        .arg(rig.root().join("p"))
        .status()
        .unwrap();
    let handle = rig
        .shell
        .run(RunRequest::new(ExecId::random(), "echo one; read x <p; echo $x"))
        .unwrap();
    handle
        .changed
        .clone()
        .wait_for(|p| p.stdout_bytes > 0)
        .await
        .unwrap();
    let (dir, spec, journal, exec) = (rig.dir, rig.spec, rig.journal, handle.exec_id.clone());
    // A second host on the same directories, as after kill -9 of the first: the newest controller wins.
    let host = JailHost::new(config(dir.path()), journal.clone()).unwrap();
    assert_eq!(host.live(), std::slice::from_ref(&spec.session));
    let shell = Shell::open(host.clone(), spec.clone(), None);
    let open = shell.adopt().await;
    assert_eq!(open.iter().map(|h| &h.exec_id).collect::<Vec<_>>(), [&exec]);
    let found = open.into_iter().next().unwrap();
    tokio::task::spawn_blocking({
        let path = spec.workspace.root.join("p");
        move || std::fs::write(path, "two\n").unwrap()
    })
    .await
    .unwrap();
    let result = found.finished().await;
    assert_eq!(result.exit_code, 0, "{result:?}");
    assert_eq!(std::fs::read(&found.spool.stdout).unwrap(), b"one\ntwo\n");
    let after = shell.run(RunRequest::new(ExecId::random(), "echo $A")).unwrap();
    assert_eq!(after.finished().await.exit_code, 0);
    assert_eq!(std::fs::read(&after.spool.stdout).unwrap(), b"kept\n");
    shell.end().await.unwrap();
    drop((rig.host, rig.shell));
}

#[tokio::test]
async fn cleaning_the_project_on_the_host_restarts_the_jail() {
    let rig = Rig::new(ShellKind::Sh);
    rig.run("A=kept; mkdir docs; cd docs").await;
    for name in ["usr", "bin", "etc", "tmp"] {
        std::fs::remove_dir(rig.root().join(name)).unwrap();
    }
    let ran = rig.run("echo $A; pwd; ls /usr | grep -c bin").await;
    assert!(ran.result.jail_restarted, "{ran:?}");
    assert!(ran.out.starts_with("kept\n/docs\n"), "{ran:?}");
    rig.end().await;
}

#[tokio::test]
async fn a_new_host_clears_what_a_dead_one_left() {
    let rig = Rig::new(ShellKind::Sh);
    let handle = rig.shell.run(RunRequest::new(ExecId::random(), "true")).unwrap();
    handle
        .changed
        .clone()
        .wait_for(|p| p.state == RunState::Closed)
        .await
        .unwrap();
    rig.shell.end().await.unwrap();
    std::fs::create_dir(rig.root().join("usr")).unwrap();
    rig.journal.record(rig.root(), &rig.root().join("usr")).unwrap();
    let _next = JailHost::new(config(rig.dir.path()), rig.journal.clone()).unwrap();
    assert!(!rig.root().join("usr").exists());
}

#[tokio::test]
async fn a_reboot_is_survived_by_the_state() {
    for kind in [ShellKind::Sh, ShellKind::Bash] {
        let rig = Rig::new(kind);
        rig.run("mkdir docs; cd docs; A='x y'; (exit 3)").await;
        let saved = serde_json::to_string(&rig.shell.settled().await.unwrap()).unwrap();
        rig.shell.end().await.unwrap();
        let shell = Shell::open(
            rig.host.clone(),
            rig.spec.clone(),
            serde_json::from_str(&saved).unwrap(),
        );
        let run = shell
            .run(RunRequest::new(ExecId::random(), "echo $? $A; pwd"))
            .unwrap();
        assert!(run.finished().await.jail_restarted);
        assert_eq!(std::fs::read(&run.spool.stdout).unwrap(), b"3 x y\n/docs\n");
        shell.end().await.unwrap();
    }
}

#[tokio::test]
async fn without_a_jail_of_ours_the_shell_is_the_same() {
    let mut rig = Rig::with(ShellKind::Sh, Some(Layout::Host), |_| {});
    rig.spec.kind = agentd::domain::workspace::JailKind::Outer;
    rig.shell = Shell::open(rig.host.clone(), rig.spec.clone(), None);
    let root = rig.root().display().to_string();
    assert_eq!(rig.run("pwd; A=1; sleep 1000 & :").await.out, format!("{root}\n"));
    assert_eq!(rig.run("echo $A; kill -0 $!; echo $?").await.out, "1\n0\n");
    let mut request = RunRequest::new(ExecId::random(), "setsid sleep 100 & sleep 100");
    request.timeout = Some(std::time::Duration::from_millis(200));
    let ran = rig.request(request).await;
    assert!(ran.code == 124 && !ran.result.background, "{ran:?}");
    rig.end().await;
}
