//! Owns: what goes on while no daemon runs, and what the next one makes of it: a crash, an upgrade, a reboot, a stop.
//! Guarantees: every watcher gets every byte once and the exit code; nothing runs twice; nothing depends on how long the
//! daemon was away (`AGENTD_TEST_LONG=1` leaves it away for 15 minutes).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail in any way it likes; the absence of a daemon is a matter of time"
)]

mod model_server;
mod support;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentd_proto::pb::{self, event::Body, read_output_response::Item as OutputItem, watch_item::Item};
use agentd_proto::resume::Update;
use sha2::{Digest, Sha256};
use support::{TestDaemon, until};

fn long() -> bool {
    std::env::var_os("AGENTD_TEST_LONG").is_some()
}

/// The programs of another release: other files, of other names in the process list.
fn other_release(home: &TestDaemon) -> PathBuf {
    let dir = home.path().join("next");
    std::fs::create_dir(&dir).unwrap();
    for program in ["agentd", "agent-jinit", "agentctl"] {
        std::fs::copy(home.bin().join(program), dir.join(program)).unwrap();
    }
    dir
}

/// Lines of 40 bytes, numbered: any byte that is missing or seen twice changes the sum.
fn expected(lines: u64) -> [u8; 32] {
    let mut sum = Sha256::new();
    let mut text = String::with_capacity(40 * 1024);
    for line in 1..=lines {
        use std::fmt::Write as _;
        writeln!(text, "{line:039}").unwrap();
        if text.len() >= 40_000 || line == lines {
            sum.update(&text);
            text.clear();
        }
    }
    sum.finalize().into()
}

/// What a watcher has so far.
#[derive(Default)]
struct Seen {
    bytes: AtomicU64,
    sum: Mutex<Sha256>,
}

impl Seen {
    fn add(&self, data: &[u8]) {
        self.sum.lock().unwrap().update(data);
        self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
    }

    fn sum(&self) -> [u8; 32] {
        self.sum.lock().unwrap().clone().finalize().into()
    }
}

fn wait_for_bytes(what: &str, seen: &Seen, bytes: u64) {
    let end = Instant::now()
        + if long() {
            10 * support::LIMIT
        } else {
            support::LIMIT
        };
    while seen.bytes.load(Ordering::Relaxed) < bytes {
        let so_far = seen.bytes.load(Ordering::Relaxed);
        assert!(Instant::now() < end, "in vain: {what}: {so_far} of {bytes}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Follows a session as the terminal UI and the page do; gives the exit code of its command.
async fn watch(client: agentd_proto::Client, session: String, seen: Arc<Seen>) -> i32 {
    let subscription = pb::WatchSubscription {
        session_id: session,
        output: true,
        ..Default::default()
    };
    let mut watch = client.watch_session(subscription).await.unwrap();
    let mut next = 0;
    loop {
        match watch.next().await.unwrap().unwrap() {
            Update::Item(Item::Output(chunk)) => {
                assert_eq!(
                    (chunk.offset, chunk.dropped_bytes),
                    (next, 0),
                    "in order, without a gap"
                );
                next += chunk.data.len() as u64;
                seen.add(&chunk.data);
            }
            Update::Item(Item::Event(event)) => {
                if let Some(Body::ExecFinished(end)) = event.body {
                    return end.result.unwrap().exit_code;
                }
            }
            _ => {}
        }
    }
}

/// Reads a command's output, as scripts do.
async fn read(client: agentd_proto::Client, session: String, exec: String, seen: Arc<Seen>) -> i32 {
    let request = pb::ReadOutputRequest {
        session_id: session,
        exec_id: exec,
        follow: true,
        ..Default::default()
    };
    let mut output = client.read_output(request).await.unwrap();
    loop {
        match output.next().await.unwrap().unwrap() {
            Update::Item(OutputItem::Chunk(chunk)) => seen.add(&chunk.data),
            Update::Item(OutputItem::Result(result)) => return result.exit_code,
            _ => {}
        }
    }
}

#[test]
fn every_watcher_gets_every_byte_once_through_kills_and_an_upgrade() {
    // Half of the lines, of 40 bytes each.
    let half: u64 = if long() { 2_500_000 } else { 150_000 };
    let mut home = TestDaemon::home();
    home.config("[shell]\nmax_output = \"512MiB\"\n");
    home.spawn();
    let project = home.project();
    // Half of it now, half while there is no daemon; then it ends by itself.
    let script = format!(
        "seq -f %039.0f 1 {half}; touch half; while ! [ -e go ]; do sleep 0.02; done; \
         seq -f %039.0f {} {}; touch over; exit_code() {{ return 77; }}; exit_code",
        half + 1,
        half * 2
    );
    let total = half * 80;
    let mut command = home.agentctl(["--no-autostart", "exec", "--name", "big", "--", &script]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut exec = command.spawn().unwrap();
    until("half of it is there", || {
        project.join("half").exists().then_some(())
    });
    let show = home
        .ctl(["sessions", "show", "big", "-o", "json"])
        .exits(0)
        .json();
    let session = show["session_id"]
        .as_str()
        .or(show["id"].as_str())
        .unwrap()
        .to_owned();
    let mut command = home.agentctl(["--no-autostart", "logs", "-f", "--shell", "big"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(home.path().join("logs.err")).unwrap());
    let mut logs = command.spawn().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let log = runtime.block_on(home.client().list_events(pb::ListEventsRequest {
        session_id: session.clone(),
        ..Default::default()
    }));
    let exec_id = log
        .unwrap()
        .events
        .iter()
        .find_map(|event| match &event.body {
            Some(Body::ExecStarted(exec)) => Some(exec.exec_id.clone()),
            _ => None,
        })
        .unwrap();
    let [by_exec, by_logs, by_watch, by_read] = std::array::from_fn(|_| Arc::new(Seen::default()));
    let watching = runtime.spawn(watch(home.client(), session.clone(), by_watch.clone()));
    let reading = runtime.spawn(read(home.client(), session, exec_id, by_read.clone()));
    let pump = |mut from: Box<dyn std::io::Read + Send>, seen: Arc<Seen>| {
        std::thread::spawn(move || {
            let mut block = vec![0; 256 * 1024];
            loop {
                match from.read(&mut block).unwrap() {
                    0 => return,
                    n => seen.add(&block[..n]),
                }
            }
        })
    };
    let pumping = pump(Box::new(exec.stdout.take().unwrap()), by_exec.clone());
    let logging = pump(Box::new(logs.stdout.take().unwrap()), by_logs.clone());
    // A crash in the middle of reading.
    wait_for_bytes("some of it is read", &by_watch, total / 10);
    home.kill9();
    home.restart();
    wait_for_bytes("more of it is read", &by_watch, total / 3);
    wait_for_bytes("more of it is read", &by_read, total / 3);
    // Away, while the command goes on and ends; then another release comes up.
    home.kill9();
    std::fs::write(project.join("go"), "").unwrap();
    until("the command went on without a daemon", || {
        project.join("over").exists().then_some(())
    });
    if long() {
        std::thread::sleep(Duration::from_secs(15 * 60));
    }
    let next = other_release(&home);
    home.spawn_from(&next);
    let sum = expected(2 * half);
    let codes = runtime.block_on(async { (watching.await.unwrap(), reading.await.unwrap()) });
    assert_eq!(codes, (77, 77));
    let code = until("exec ends", || exec.try_wait().unwrap()).code();
    assert_eq!(
        code,
        Some(77),
        "exec has the command's exit code, no code of its own"
    );
    pumping.join().unwrap();
    for (who, seen) in [("watch", &by_watch), ("read", &by_read), ("exec", &by_exec)] {
        assert_eq!(seen.bytes.load(Ordering::Relaxed), total, "{who}");
        assert_eq!(seen.sum(), sum, "{who}: every byte once and in order");
    }
    // Besides the bytes it shows the command and, in brackets, its end.
    let most = total;
    if let Some(status) = logs.try_wait().unwrap() {
        panic!(
            "logs ended: {status}\n{}",
            std::fs::read_to_string(home.path().join("logs.err")).unwrap()
        );
    }
    wait_for_bytes("logs -f has it all", &by_logs, most + 10);
    assert!(
        by_logs.bytes.load(Ordering::Relaxed) < most + 1000,
        "logs -f shows nothing twice"
    );
    support::signal(&logs, rustix::process::Signal::INT);
    until("logs ends", || logs.try_wait().unwrap());
    logging.join().unwrap();
}

#[test]
fn the_model_gets_the_result_of_a_command_that_outlived_the_daemon() {
    use model_server::{call, serve, stop, text, whole};
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let arguments = serde_json::json!({"command": "touch begun; while ! [ -e go ]; do sleep 0.01; done; echo ran >>ran; echo last-words; (exit 4)"});
    let server = runtime.block_on(serve(vec![
        whole(&[call(0.into(), "c1", "exec", &arguments.to_string()), stop()]),
        whole(&[text("understood"), stop()]),
    ]));
    let mut home = TestDaemon::home();
    home.config(&format!(
        "[providers.p]\nbase_url = \"{}\"\napi = \"chat\"\nauth = \"none\"\n[models.\"p/m\"]\ncontext_tokens = 128000\n",
        server.base
    ));
    home.spawn();
    let project = home.project();
    home.ctl(["run", "-d", "--name", "m", "--model", "p/m", "build it"])
        .exits(0);
    until("the build runs", || project.join("begun").exists().then_some(()));
    home.kill9();
    let next = other_release(&home);
    home.spawn_from(&next);
    std::fs::write(project.join("go"), "").unwrap();
    home.ctl(["wait", "m", "--timeout", "30s"]);
    until("its end is in the log", || {
        let log = home.ctl(["logs", "m", "--events"]).exits(0).out();
        log.contains("last-words")
            .then_some(())
            .or_else(|| log.contains("exit 4").then_some(()))
    });
    assert_eq!(
        server.script.lock().unwrap().1.len(),
        1,
        "no turn begins by itself"
    );
    let ran = home.ctl(["run", "-s", "m", "--model", "p/m", "and?"]).exits(0);
    assert!(ran.out().contains("understood"), "{ran}");
    let requests = std::mem::take(&mut server.script.lock().unwrap().1);
    let second = requests[1].1["messages"].to_string();
    assert!(
        second.contains("last-words") && second.contains("exit code 4"),
        "{second}"
    );
    assert_eq!(
        std::fs::read_to_string(project.join("ran")).unwrap(),
        "ran\n",
        "once"
    );
}

#[test]
fn after_a_reboot_the_state_is_back_and_what_was_lost_is_said() {
    let mut home = TestDaemon::start();
    std::fs::create_dir(home.project().join("docs")).unwrap();
    home.ctl([
        "exec",
        "--name",
        "n",
        "--",
        "cd docs; export V='kept too'; sleep 1000 >/dev/null 2>&1 &",
    ])
    .exits(0);
    // It starts no daemon of its own before ours.
    let mut command = home.agentctl([
        "--no-autostart",
        "exec",
        "--name",
        "n",
        "--",
        "echo ran >>ran; touch begun; sleep 1000",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut waiting = command.spawn().unwrap();
    until("it runs", || {
        home.project().join("docs/begun").exists().then_some(())
    });
    // The machine goes down: no process and no runtime directory outlives that.
    home.kill9();
    for pid in home.processes() {
        if pid != waiting.id()
            && let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed())
        {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
    std::fs::remove_dir_all(home.state().join("run")).unwrap();
    home.restart();
    // The client that waited is told, rather than left waiting.
    let code = until("exec ends", || waiting.try_wait().unwrap()).code().unwrap();
    assert!(code != 0, "its outcome is unknown: {code}");
    let log = home.ctl(["logs", "n", "--events"]).exits(0).out();
    assert!(log.contains("unknown"), "{log}");
    let ran = home
        .ctl([
            "exec",
            "-s",
            "n",
            "--",
            "basename $PWD; echo $V; sh -c 'echo $V'; jobs",
        ])
        .exits(0);
    assert_eq!(ran.out(), "docs\nkept too\nkept too\n", "{ran}");
    assert!(
        ran.err().contains("background"),
        "background jobs are reported lost: {ran}"
    );
    assert_eq!(
        std::fs::read_to_string(home.project().join("docs/ran")).unwrap(),
        "ran\n",
        "nothing runs again"
    );
}

#[test]
fn a_stop_leaves_no_process_after_two_seconds() {
    let mut home = TestDaemon::start();
    for (name, script) in [
        (
            "deaf",
            "trap '' INT TERM HUP; touch deaf; while :; do sleep 1; done",
        ),
        (
            "tree",
            "setsid sh -c 'trap \"\" TERM; sleep 1000' & setsid sleep 1000 & touch tree; wait",
        ),
        ("pipe", "yes | while read x; do :; done & touch pipe; wait"),
    ] {
        let mut command = home.agentctl(["exec", "--name", name, "--", script]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        until("it runs", || home.project().join(name).exists().then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // A daemon that found them rather than made them.
    home.kill9();
    home.restart();
    let begun = Instant::now();
    home.ctl(["daemon", "stop"]).exits(0);
    home.forget_daemon();
    let left: Vec<String> = home.processes().iter().map(|pid| command_line(*pid)).collect();
    assert_eq!(left, Vec::<String>::new());
    let took = begun.elapsed();
    // The allowance is for a machine that does much else.
    assert!(
        took < Duration::from_secs(if cfg!(debug_assertions) { 4 } else { 2 }),
        "{took:?}"
    );
}

fn command_line(pid: u32) -> String {
    let path = Path::new("/proc").join(pid.to_string()).join("cmdline");
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .replace('\0', " ")
}
