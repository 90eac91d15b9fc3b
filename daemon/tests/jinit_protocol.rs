//! Owns: the promise that a daemon takes over the jails of an earlier release, and puts an end to those it can't speak to.
//! Guarantees: the frames of each released protocol are fixtures, written by hand from its definition and never changed;
//! a jail that speaks only them is played here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail in any way it likes"
)]

mod shell_support;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use agent_jinit::wire::{FromJail, OLDEST, ToJail, VERSION};
use agentd::domain::id::ExecId;
use agentd::domain::workspace::ShellKind::Sh;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use shell_support::Rig;

/// The frames of a protocol, by direction and name.
fn frames(version: u16) -> BTreeMap<(String, String), Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/jinit-{version}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let frame = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let hex = words[2];
        let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
        ((words[0].to_owned(), words[1].to_owned()), bytes.collect())
    };
    text.lines().map(frame).collect()
}

#[test]
fn the_frames_of_every_protocol_still_mean_what_they_meant() {
    for version in OLDEST..=VERSION {
        for ((direction, name), bytes) in frames(version) {
            if direction == "from" {
                let frame = FromJail::decode(&bytes).unwrap();
                assert_eq!(frame.encode(), bytes, "{version} {name}: {frame:?}");
            } else {
                // What we say must be what that release understood.
                let frame = ToJail::decode(&bytes).unwrap();
                assert_eq!(frame.encode(), bytes, "{version} {name}: {frame:?}");
            }
        }
    }
}

/// PID 1 of another release, as far as a daemon can tell.
struct Played {
    listener: OwnedFd,
    process: std::process::Child,
    exec: ExecId,
}

/// Makes it look as if a daemon before us had started a jail for the rig's session.
fn play(rig: &Rig) -> Played {
    let dir = rig.dir.path().join("r").join(rig.spec.session.as_str());
    std::fs::create_dir_all(dir.join("j")).unwrap();
    std::fs::create_dir_all(rig.host.spool_dir(&rig.spec.session)).unwrap();
    let flags = SocketFlags::CLOEXEC;
    let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(dir.join("ctl")).unwrap()).unwrap();
    rustix::net::listen(&listener, 4).unwrap();
    let process = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let started: u64 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let record = serde_json::json!({
        "session": rig.spec.session.as_str(),
        "workspace": rig.root(),
        "kind": "bwrap",
        "policy_generation": 1,
        "pid": process.id(),
        "started": started,
    });
    std::fs::write(dir.join("jail.json"), record.to_string()).unwrap();
    Played {
        listener,
        process,
        exec: "x-abcdefghjk".parse().unwrap(),
    }
}

fn heard(link: &OwnedFd) -> Option<ToJail> {
    let mut bytes = [0; 64 * 1024];
    let (_, n) = rustix::net::recv(link, &mut bytes[..], RecvFlags::empty()).ok()?;
    (n > 0).then(|| ToJail::decode(&bytes[..n]).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_in_a_jail_of_the_first_protocol_is_taken_over_and_its_end_heard() {
    let rig = Rig::new(Sh);
    let mut jail = play(&rig);
    let spool = rig.host.spool_dir(&rig.spec.session);
    std::fs::write(spool.join(format!("{}.out", jail.exec)), "before\nafter\n").unwrap();
    std::fs::write(spool.join(format!("{}.err", jail.exec)), "").unwrap();
    let first = frames(1);
    let said = move |name: &str| first[&("from".to_owned(), name.to_owned())].clone();
    let listener = jail.listener.try_clone().unwrap();
    let talk = std::thread::spawn(move || {
        let link = rustix::net::accept(&listener).unwrap();
        let say = |name: &str| {
            rustix::net::send(&link, &said(name), SendFlags::NOSIGNAL).unwrap();
        };
        for name in ["hello", "running", "ready", "progress", "finished", "closed"] {
            say(name);
        }
        let mut heard_all = Vec::new();
        while let Some(frame) = heard(&link) {
            heard_all.push(frame.clone());
            if matches!(frame, ToJail::Ack { .. }) {
                break;
            }
        }
        heard_all
    });
    let shell = rig.next_daemon();
    let handle = shell.adopt().await.into_iter().next().expect("its run is found");
    assert_eq!(handle.exec_id, jail.exec);
    let result = handle.finished().await;
    assert_eq!((result.exit_code, result.stdout_bytes), (7, 13));
    assert_eq!(result.cwd, Path::new("/docs"));
    shell.acknowledge(&jail.exec);
    let ack = ToJail::Ack {
        exec: jail.exec.to_string(),
    };
    assert!(talk.join().unwrap().contains(&ack));
    jail.process.kill().unwrap();
    jail.process.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jail_of_an_unknown_protocol_ends_before_another_takes_its_place() {
    let rig = Rig::new(Sh);
    let mut jail = play(&rig);
    let listener = jail.listener.try_clone().unwrap();
    let talk = std::thread::spawn(move || {
        let hello = FromJail::Hello {
            version: VERSION + 1,
            shell: 1,
            outer: false,
        };
        // First it is looked at, then told to end; words it does not know it would not obey.
        for _ in 0..2 {
            let link = rustix::net::accept(&listener).unwrap();
            // Whoever came only to tell it to end does not wait for its greeting.
            let _gone = rustix::net::send(&link, &hello.encode(), SendFlags::NOSIGNAL);
            while let Some(frame) = heard(&link) {
                if frame == ToJail::End {
                    return;
                }
            }
        }
        panic!("it was not told to end");
    });
    let shell = rig.next_daemon();
    let run = shell
        .run(agentd::shell::RunRequest::new(ExecId::random(), "echo new"))
        .unwrap();
    // Deaf: after a second it is killed.
    let reaper = std::thread::spawn(move || jail.process.wait().unwrap());
    let result = run.finished().await;
    assert_eq!(result.exit_code, 0, "{result:?}");
    assert_eq!(std::fs::read(&run.spool.stdout).unwrap(), b"new\n");
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(reaper.join().unwrap().signal(), Some(9));
    talk.join().unwrap();
    shell.end().await.unwrap();
}
