//! Owns: what many sessions, a long log and a killed daemon cost.

use std::time::{Duration, Instant};

use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::Update;
use agentd_proto::{Client, pb};

use super::exec::Log;
use super::figures::Size;
use super::report::{Report, Times, mb, ms};
use super::rig;
use super::support::TestDaemon;

/// Makes sessions until there are `wanted`, each with a live jail; a few at a time.
async fn fill(home: &TestDaemon, client: &Client, all: &mut Vec<String>, wanted: usize) {
    while all.len() < wanted {
        let some = (wanted - all.len()).min(4);
        let first = all.len();
        let made = futures::future::join_all((first..first + some).map(|number| async move {
            let session = rig::session(home, client, &format!("s{number}")).await;
            rig::exec(client, &session, "cd / && export N=1").await;
            session
        }))
        .await;
        all.extend(made);
    }
}

/// Every one of `busy` sessions runs commands one after another.
async fn at_once(client: &Client, busy: &[String], rounds: usize) -> Times {
    let times = futures::future::join_all(busy.iter().map(|session| async move {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let begun = Instant::now();
            rig::exec(client, session, "true").await;
            times.push(begun.elapsed());
        }
        times
    }))
    .await;
    Times::of(times.concat())
}

/// Many live jails.
pub async fn sessions(size: &Size, report: &mut Report) {
    report.part(
        "Many sessions",
        format!(
            "Each with a live jail of its own. Then up to {} of them run `true` without a pause, all at once.",
            size.busy
        ),
    );
    let home = TestDaemon::start();
    let client = home.client();
    let mut all = Vec::new();
    for wanted in size.sessions {
        let (from, begun) = (all.len(), Instant::now());
        fill(&home, &client, &mut all, *wanted).await;
        let each = begun.elapsed() / u32::try_from((all.len() - from).max(1)).unwrap();
        let busy = &all[..size.busy.min(all.len())];
        let rounds = (size.rounds / busy.len() / 2).max(5);
        let times = at_once(&client, busy, rounds).await;
        let goal = if *wanted == 200 { "p99 ≤ 50 ms" } else { "" };
        report.row(
            format!("{wanted} live, {} at work: `exec true`", busy.len()),
            format!("{}, p99 {}", times.shown(), ms(times.p99())),
            goal,
        );
        report.row(format!("{wanted} live: making one more"), ms(each), "");
        report.row(
            format!("{wanted} live: memory of the daemon"),
            mb(rig::resident(home.pid())),
            "",
        );
        let family: Vec<u32> = rig::jails(&home)
            .iter()
            .flat_map(|pid| rig::family(*pid))
            .collect();
        let jails = family.iter().copied().map(rig::share).sum::<u64>();
        report.row(
            format!("{wanted} live: memory of the jails, {} processes", family.len()),
            mb(jails),
            "",
        );
    }
    let begun = Instant::now();
    tokio::task::block_in_place(|| home.ctl(["daemon", "stop"]).exits(0));
    report.row(
        format!("stopping with {} live", all.len()),
        ms(begun.elapsed()),
        "",
    );
}

/// A session with a very long log.
pub async fn attach(size: &Size, report: &mut Report) {
    report.part(
        "A long log",
        format!(
            "A session of {} events; the first screen is its last 500. The first deed in it (a new name) after a start needs \
             the session itself: folded from all of its log once, from there on from the fold that was kept.",
            size.events
        ),
    );
    let mut home = TestDaemon::start();
    let client = home.client();
    let session = rig::session(&home, &client, "long").await;
    tokio::task::block_in_place(|| home.ctl(["daemon", "stop"]).exits(0));
    home.forget_daemon();
    let mut log = Log::of(&home.state().join("agentd.db"), &session).await;
    let mut left = usize::try_from(size.events).unwrap();
    while left > 0 {
        let some = left.min(1000);
        log.append(some).await;
        left -= some;
    }
    log.close().await;
    let begun = Instant::now();
    home.spawn();
    let client = home.client();
    client.get_status(pb::GetStatusRequest {}).await.unwrap();
    report.row(
        "daemon start over it, to the first answer",
        ms(begun.elapsed()),
        "",
    );
    let mut screens = Vec::new();
    for _ in 0..size.starts.max(2) {
        screens.push(screen(&client, &session).await);
    }
    report.row("first screen, the first time", ms(screens[0]), "≤ 50 ms");
    report.row(
        "first screen, later",
        Times::of(screens[1..].to_vec()).shown(),
        "≤ 50 ms",
    );
    report.row(
        "memory of the daemon afterwards",
        mb(rig::resident(home.pid())),
        "",
    );
    report.row(
        "first deed, no fold kept",
        ms(rename(&client, &session).await),
        "",
    );
    let mut deeds = Vec::new();
    for _ in 0..size.starts.max(2) {
        tokio::task::block_in_place(|| home.ctl(["daemon", "stop"]).exits(0));
        home.forget_daemon();
        home.spawn();
        let client = home.client();
        client.get_status(pb::GetStatusRequest {}).await.unwrap();
        deeds.push(rename(&client, &session).await);
    }
    report.row("first deed after a start", Times::of(deeds).shown(), "");
}

/// Gives a session another name.
async fn rename(client: &Client, session: &str) -> Duration {
    let request = pb::RenameSessionRequest {
        request_id: agentd_proto::id::request_id(),
        session_id: session.to_owned(),
        name: format!("n{}", &agentd_proto::id::request_id()[..8]),
    };
    let begun = Instant::now();
    client.rename_session(request).await.unwrap();
    begun.elapsed()
}

/// What an attaching client does until it shows something: the session, its last page, the watch up to `CaughtUp`.
async fn screen(client: &Client, session: &str) -> Duration {
    let begun = Instant::now();
    let request = pb::GetSessionRequest {
        session_id: session.to_owned(),
    };
    let head = client.get_session(request).await.unwrap().session.unwrap().head;
    let page = client
        .list_events(pb::ListEventsRequest {
            session_id: session.to_owned(),
            before_seq: head + 1,
            page_size: 500,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(page.events.len(), 500);
    let mut watch = client
        .watch_session(pb::WatchSubscription {
            session_id: session.to_owned(),
            after_seq: head,
            previews: true,
            output: true,
            ..Default::default()
        })
        .await
        .unwrap();
    while let Some(update) = watch.next().await {
        if let Update::Item(item) = update.unwrap()
            && matches!(item, Item::CaughtUp(_))
        {
            break;
        }
    }
    begun.elapsed()
}

/// After a kill.
pub async fn recovery(size: &Size, report: &mut Report) {
    report.part(
        "After kill -9",
        "From the start of the next daemon to its first answer, with every session restored.",
    );
    let mut home = TestDaemon::start();
    let client = home.client();
    let mut live = Vec::new();
    // Some with live jails, most at rest, as after a day's work.
    fill(&home, &client, &mut live, (size.recover / 50).max(1)).await;
    for number in live.len()..size.recover {
        rig::session(&home, &client, &format!("r{number}")).await;
    }
    let mut times = Vec::new();
    for _ in 0..3 {
        home.kill9();
        let begun = Instant::now();
        home.restart();
        let client = home.client();
        let status = client.get_status(pb::GetStatusRequest {}).await.unwrap();
        times.push(begun.elapsed());
        assert_eq!(status.sessions as usize, size.recover);
        // The shells are the ones from before.
        let kept = rig::exec(&client, &live[0], "echo $N").await;
        assert_eq!(kept.stdout, b"1\n");
    }
    report.row(
        format!("{} sessions, {} live jails", size.recover, live.len()),
        Times::of(times).shown(),
        "≤ 1 s",
    );
}
