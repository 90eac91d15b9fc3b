//! Owns: what JAIL and machine do to a daemon beyond kills: power loss, a locked database, readers that do not read, leaks.
//! Guarantees: an answered write is in every image of the files taken afterwards; memory and descriptors do not grow with
//! readers or turns. `AGENTD_TEST_LONG=1` does more of each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail in any way it likes; another process is polled"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use agentd::store::Store;
use agentd::store::redact::Redactor;
use agentd_proto::resume::Update;
use agentd_proto::{Client, pb};
use pb::watch_item::Item;
use support::{TestDaemon, until};

fn times(short: u32, long: u32) -> u32 {
    if std::env::var_os("AGENTD_TEST_LONG").is_some() {
        long
    } else {
        short
    }
}

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn create(client: &Client, home: &TestDaemon, name: &str) -> String {
    let request = pb::CreateSessionRequest {
        request_id: id(),
        name: name.into(),
        workspace: home.project().display().to_string(),
        ..Default::default()
    };
    client
        .create_session(request)
        .await
        .unwrap()
        .session
        .unwrap()
        .session_id
}

async fn rename(client: &Client, session: &str, name: String) -> u64 {
    let request = pb::RenameSessionRequest {
        request_id: id(),
        session_id: session.into(),
        name,
    };
    client.rename_session(request).await.unwrap().seq
}

async fn exec(client: &Client, session: &str, script: &str) -> pb::ExecResponse {
    let request = pb::ExecRequest {
        request_id: id(),
        session_id: session.into(),
        command: Some(pb::ExecCommand {
            script: script.as_bytes().to_vec(),
            ..Default::default()
        }),
        ..Default::default()
    };
    client.exec(request).await.unwrap()
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// How far the log of a session goes in an image of the files; it must be whole and without a hole.
fn head_in(image: &Path, session: &str) -> u64 {
    // The daemon's own way first: checks, migrations and all.
    Store::open(&image.join("agentd.db"), Arc::new(Redactor::new())).unwrap();
    let database = rusqlite::Connection::open(image.join("agentd.db")).unwrap();
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let (count, head): (u64, u64) = database
        .query_row(
            "SELECT count(*), coalesce(max(seq), 0) FROM events WHERE session_id = ?1",
            [session],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(count, head, "no hole");
    head
}

#[test]
fn after_a_power_loss_every_answered_write_is_there() {
    let home = TestDaemon::start();
    let runtime = runtime();
    let client = home.client();
    let session = runtime.block_on(create(&client, &home, "power"));
    let (answered, synced, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let wal = home.state().join("agentd.db-wal");
    let length = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    let mut random = fastrand::Rng::with_seed(11);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            // Fewer pages than a checkpoint takes: the write-ahead log only grows, so that its length tells time.
            while !over.load(Ordering::Acquire) && length(&wal) < 3_500_000 {
                n += 1;
                let seq = runtime.block_on(rename(&client, &session, format!("name-{n}")));
                synced.store(length(&wal), Ordering::Release);
                answered.store(seq, Ordering::Release);
            }
        });
        for round in 0..times(12, 100) {
            std::thread::sleep(Duration::from_micros(random.u64(0..20_000)));
            // What was answered and synced by now must be in the image.
            let (told, least) = (answered.load(Ordering::Acquire), synced.load(Ordering::Acquire));
            signal(home.pid(), rustix::process::Signal::STOP);
            let image = tempfile::tempdir().unwrap();
            for file in ["agentd.db", "agentd.db-wal"] {
                fs::copy(home.state().join(file), image.path().join(file)).unwrap();
            }
            signal(home.pid(), rustix::process::Signal::CONT);
            let copy = image.path().join("agentd.db-wal");
            let whole = length(&copy);
            // The power takes what was not synced: nothing, all, some, or some with a torn page at its end.
            let cut = match round % 4 {
                0 => whole,
                1 => least,
                _ => random.u64(least..=whole),
            };
            let file = fs::File::options().write(true).open(&copy).unwrap();
            file.set_len(cut).unwrap();
            if round % 4 == 3 && cut > least {
                use std::os::unix::fs::FileExt as _;
                let torn = random.u64(1..=(cut - least).min(512));
                file.write_all_at(&vec![0x5a; torn as usize], cut - torn).unwrap();
            }
            drop(file);
            let head = head_in(image.path(), &session);
            assert!(
                head >= told,
                "round {round}: {told} was answered, {head} is there ({least} {cut} {whole})"
            );
            // Older than that it may be, but never broken.
            let file = fs::File::options().write(true).open(&copy);
            if let Ok(file) = file {
                file.set_len(random.u64(0..=least)).unwrap();
                drop(file);
                fs::copy(home.state().join("agentd.db"), image.path().join("agentd.db")).ok();
            }
        }
        over.store(true, Ordering::Release);
    });
    assert!(answered.load(Ordering::Acquire) > 10);
}

#[test]
fn a_database_locked_by_another_program_is_waited_for() {
    let home = TestDaemon::start();
    let runtime = runtime();
    let client = home.client();
    let session = runtime.block_on(create(&client, &home, "locked"));
    let other = rusqlite::Connection::open(home.state().join("agentd.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let renamed = runtime.spawn({
        let (client, session) = (client.clone(), session.clone());
        async move { rename(&client, &session, "later".into()).await }
    });
    // Reads go on meanwhile.
    let read = runtime.block_on(client.get_session(pb::GetSessionRequest {
        session_id: session.clone(),
    }));
    assert_eq!(read.unwrap().session.unwrap().name, "locked");
    assert!(!renamed.is_finished(), "nobody is told of what is not written");
    other.execute_batch("ROLLBACK").unwrap();
    runtime.block_on(renamed).unwrap();
    let read = runtime.block_on(client.get_session(pb::GetSessionRequest { session_id: session }));
    assert_eq!(read.unwrap().session.unwrap().name, "later");
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Bytes of memory that are the daemon's own.
fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn turns_and_commands_leave_no_descriptor_open() {
    let home = TestDaemon::start();
    let runtime = runtime();
    let client = home.client();
    let session = runtime.block_on(create(&client, &home, "many"));
    let turn = |n: u32| {
        home.ctl([
            "run",
            "-s",
            "many",
            "--model",
            "demo",
            &format!("demo: run echo {n}\nwrite f {n}\nsay {n}"),
        ])
        .exits(0);
        runtime.block_on(exec(&client, &session, "echo x; echo y >&2; true"));
        runtime.block_on(exec(&client, &session, "(exit 3)"));
    };
    for n in 0..3 {
        turn(n);
    }
    let settled = || {
        // Connections and readers of the last client close in a moment.
        let mut last = (descriptors(home.pid()), 0);
        until("descriptors settle", || {
            let now = descriptors(home.pid());
            last = if now == last.0 {
                (now, last.1 + 1)
            } else {
                (now, 0)
            };
            (last.1 > 20).then_some(now)
        })
    };
    let (before, memory_before) = (settled(), memory(home.pid()));
    for n in 0..times(12, 2000) {
        turn(n);
    }
    let after = settled();
    assert!(after <= before + 2, "{before} descriptors became {after}");
    let grown = memory(home.pid()).saturating_sub(memory_before);
    assert!(grown < 24 * 1024 * 1024, "{grown} bytes of memory were added");
}

#[test]
fn readers_that_do_not_read_cost_little_and_hold_nobody_up() {
    let home = TestDaemon::start();
    let runtime = runtime();
    let session = runtime.block_on(create(&home.client(), &home, "slow"));
    let subscription = pb::WatchSubscription {
        session_id: session.clone(),
        output: true,
        ..Default::default()
    };
    // Each on a connection of its own, so that it fills a window of its own.
    let mut readers: Vec<_> = (0..10)
        .map(|_| {
            runtime
                .block_on(home.client().watch_session(subscription.clone()))
                .unwrap()
        })
        .collect();
    let client = home.client();
    runtime.block_on(exec(&client, &session, "true"));
    let (before, open) = (memory(home.pid()), descriptors(home.pid()));
    // More than all windows and queues together take.
    let done = runtime.block_on(exec(
        &client,
        &session,
        "head -c 60000000 /dev/zero; echo end >&2",
    ));
    assert_eq!(done.result.unwrap().stdout_bytes, 60_000_000);
    let grown = memory(home.pid()).saturating_sub(before);
    assert!(
        grown < 160 * 1024 * 1024,
        "{grown} bytes for ten readers of 60 MB each"
    );
    // One of them lags and comes round: it has everything, in order.
    let mut reader = readers.pop().unwrap();
    let bytes = runtime.block_on(async {
        let mut bytes = 0;
        loop {
            match reader.next().await.unwrap().unwrap() {
                Update::Item(Item::Output(chunk)) if chunk.stream() == pb::OutputStream::Stdout => {
                    assert_eq!((chunk.offset, chunk.dropped_bytes), (bytes, 0));
                    bytes += chunk.data.len() as u64;
                }
                Update::Item(Item::Event(event)) => {
                    if let Some(pb::event::Body::ExecFinished(end)) = event.body
                        && end.result.unwrap().stdout_bytes > 0
                    {
                        return bytes;
                    }
                }
                _ => {}
            }
        }
    });
    assert_eq!(bytes, 60_000_000);
    // The others vanish: so do their connections.
    drop(readers);
    drop(reader);
    until("their connections are closed", || {
        (descriptors(home.pid()) < open).then_some(())
    });
    runtime.block_on(exec(&client, &session, "true"));
}
