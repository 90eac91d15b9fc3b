//! Terminals on the wire: who comes late gets the right screen in one message; who does not draw is not flooded; who
//! lacks too much gets the screen instead; a restart of the daemon loses none of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use agentd_proto::resume::Update;
use agentd_proto::terminal::Drawn;
use agentd_proto::{Client, id, pb};
use support::TestDaemon;

const CREDIT: u64 = 256 * 1024;

struct Desk {
    client: Client,
    session: String,
    shell: String,
}

impl Desk {
    async fn new(daemon: &TestDaemon) -> Self {
        let client = daemon.client();
        let session = client
            .create_session(pb::CreateSessionRequest {
                request_id: id::request_id(),
                workspace: daemon.project().display().to_string(),
                origin: pb::SessionOrigin::Shell.into(),
                ..Default::default()
            })
            .await
            .unwrap();
        let session = session.session.unwrap().session_id;
        let shell = client
            .open_shell(pb::OpenShellRequest {
                request_id: id::request_id(),
                session_id: session.clone(),
                size: Some(pb::PtySize { columns: 60, rows: 8 }),
                term: String::new(),
            })
            .await
            .unwrap();
        Self {
            client,
            session,
            shell: shell.exec_id,
        }
    }

    async fn type_in(&self, writer: &str, offset: u64, text: &str) -> u64 {
        let request = pb::WriteInputRequest {
            session_id: self.session.clone(),
            exec_id: self.shell.clone(),
            writer: writer.to_owned(),
            offset,
            data: text.as_bytes().to_vec().into(),
            ..Default::default()
        };
        self.client.write_input(request).await.unwrap().next_offset
    }

    async fn write(
        &self,
        client: &Client,
        writer: &str,
        text: &str,
        unless_held: bool,
    ) -> Result<u64, agentd_proto::ClientError> {
        let ask = |offset, data| pb::WriteInputRequest {
            session_id: self.session.clone(),
            exec_id: self.shell.clone(),
            writer: writer.to_owned(),
            offset,
            data,
            eof: false,
            unless_held,
        };
        // Where this writer stands.
        let offset = client.write_input(ask(0, Vec::new().into())).await?.next_offset;
        let data = text.as_bytes().to_vec().into();
        Ok(client.write_input(ask(offset, data)).await?.next_offset)
    }

    /// The screen, once it says `wanted`.
    async fn screen(&self, wanted: &str) -> pb::TerminalScreen {
        for _ in 0..600 {
            let request = pb::GetScreenRequest {
                session_id: self.session.clone(),
                exec_id: self.shell.clone(),
            };
            let screen = self.client.get_screen(request).await.unwrap().screen.unwrap();
            if String::from_utf8_lossy(&screen.data).contains(wanted) {
                return screen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never on the screen: {wanted}");
    }

    /// Until the session is in that state, as lists show it.
    async fn is(&self, wanted: pb::SessionState) {
        for _ in 0..600 {
            let request = pb::GetSessionRequest {
                session_id: self.session.clone(),
            };
            let session = self.client.get_session(request).await.unwrap().session.unwrap();
            if session.state() == wanted {
                assert!(session.waiting.is_none(), "{session:?}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never {wanted:?}");
    }

    /// The stream of a viewer that acknowledges by itself.
    async fn watch(&self, viewer: &str) -> agentd_proto::output::Output {
        let request = pb::ReadOutputRequest {
            session_id: self.session.clone(),
            exec_id: self.shell.clone(),
            follow: true,
            viewer: viewer.to_owned(),
            screen: true,
            ..Default::default()
        };
        self.client.read_output(request).await.unwrap()
    }

    async fn ack(&self, viewer: &str, offset: u64) {
        let request = pb::AckOutputRequest {
            session_id: self.session.clone(),
            exec_id: self.shell.clone(),
            viewer: viewer.to_owned(),
            offset,
        };
        self.client.ack_output(request).await.unwrap();
    }
}

fn text(screen: &pb::TerminalScreen) -> String {
    String::from_utf8_lossy(&screen.data).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_at_its_prompt_is_no_work_and_asks_for_nobody() {
    let daemon = TestDaemon::start();
    let desk = Desk::new(&daemon).await;
    desk.is(pb::SessionState::Ready).await;
    // Longer than a look takes to be due again and again.
    let typed = desk
        .type_in("a", 0, "until [ -e go ]; do sleep 0.05; done\n")
        .await;
    desk.is(pb::SessionState::Working).await;
    std::fs::write(daemon.project().join("go"), "").unwrap();
    desk.is(pb::SessionState::Ready).await;
    // A program that waits for the person at this very terminal is not news for others.
    let typed = desk.type_in("a", typed, "read name\n").await;
    desk.screen("read name").await;
    desk.is(pb::SessionState::Ready).await;
    desk.type_in("a", typed, "x\nexit\n").await;
    desk.is(pb::SessionState::Ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_on_gets_the_screen_in_each_new_size() {
    let daemon = TestDaemon::start();
    let desk = Desk::new(&daemon).await;
    desk.type_in("a", 0, "echo lo''oked\n").await;
    desk.screen("looked").await;
    let mut looks = desk.watch("looks").await;
    for (columns, rows) in [(60, 8), (90, 20), (40, 10)] {
        let request = pb::ResizePtyRequest {
            session_id: desk.session.clone(),
            exec_id: desk.shell.clone(),
            size: Some(pb::PtySize { columns, rows }),
        };
        desk.client.resize_pty(request).await.unwrap();
        let screen = loop {
            match looks.next().await.unwrap().unwrap() {
                Update::Item(pb::read_output_response::Item::Screen(screen))
                    if (screen.columns, screen.rows) == (columns, rows) =>
                {
                    break screen;
                }
                _ => {}
            }
        };
        assert!(text(&screen).contains("looked"), "{}", text(&screen));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_gets_the_screen_and_goes_on_with_it() {
    let daemon = TestDaemon::start();
    let desk = Desk::new(&daemon).await;
    let at = desk
        .type_in(
            "a",
            0,
            "printf '\\033[?1049h\\033[2J\\033[3;5Hin%s' side; read x\n",
        )
        .await;
    desk.screen("inside").await;
    // Joined: first the screen, on the alternate buffer, then what is written from then on, and no byte twice.
    let mut late = desk
        .client
        .terminal(&desk.session, &desk.shell, true)
        .await
        .unwrap();
    let Some(Ok(Update::Item(Drawn::Screen(screen)))) = late.next().await else {
        panic!("no screen at first");
    };
    assert_eq!((screen.columns, screen.rows), (60, 8));
    assert!(
        text(&screen).contains("\x1b[?1047h") || text(&screen).contains("\x1b[?1049h"),
        "{:?}",
        text(&screen)
    );
    assert!(
        screen.data.len() < 4096,
        "{} bytes for one screen",
        screen.data.len()
    );
    desk.type_in("a", at, "\nprintf '\\033[?1049l'; echo out%s side\n")
        .await;
    let mut after = Vec::new();
    while !String::from_utf8_lossy(&after).contains("out%s side") {
        match late.next().await {
            Some(Ok(Update::Item(Drawn::Bytes(bytes)))) => after.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    // A command without a terminal has none, one that never was is not found.
    let none = pb::GetScreenRequest {
        session_id: desk.session.clone(),
        exec_id: "x-00000000".into(),
    };
    let refused = desk.client.get_screen(none).await.unwrap_err();
    assert!(refused.is(pb::ErrorReason::ExecNotFound), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_stops_at_the_credit_and_ends_with_the_screen_of_now() {
    let daemon = TestDaemon::start();
    let desk = Desk::new(&daemon).await;
    let mut idle = desk.watch("idle").await;
    desk.type_in(
        "a",
        0,
        "yes 0123456789abcdef | head -c 20M; echo the-$((1+0))-end\n",
    )
    .await;
    let end = desk.screen("the-1-end").await;
    assert!(end.offset > 20 * 1024 * 1024);
    assert!(
        text(&end).matches("0123456789abcdef").count() >= 6,
        "{:?}",
        text(&end)
    );
    // It never acknowledged: what is on its way to it is the credit, whatever was written meanwhile. A screen may be
    // among it, if the flood was ahead of it by more than it would catch up.
    let (mut got, mut at, mut skipped) = (0, 0, 0);
    let mut seen = String::new();
    let quiet = Duration::from_millis(300);
    while let Ok(Some(Ok(update))) = tokio::time::timeout(quiet, idle.next()).await {
        match update {
            Update::Item(pb::read_output_response::Item::Chunk(chunk)) => {
                got += chunk.data.len() as u64;
                at = chunk.offset + chunk.data.len() as u64;
            }
            Update::Item(pb::read_output_response::Item::Screen(screen)) => {
                (at, skipped) = (screen.offset, skipped + screen.skipped_bytes);
                seen = text(&screen);
            }
            _ => {}
        }
    }
    assert!(got <= CREDIT, "{got} bytes without an acknowledgement");
    // Acknowledging brings the rest: a screen for all that it lacks, not the bytes.
    while at < end.offset {
        desk.ack("idle", at).await;
        match idle.next().await {
            Some(Ok(Update::Item(pb::read_output_response::Item::Screen(screen)))) => {
                (at, skipped) = (screen.offset, skipped + screen.skipped_bytes);
                seen = text(&screen);
            }
            Some(Ok(Update::Item(pb::read_output_response::Item::Chunk(chunk)))) => {
                got += chunk.data.len() as u64;
                at = chunk.offset + chunk.data.len() as u64;
                seen.clear();
            }
            other => panic!("nothing for one that is behind: {other:?}"),
        }
    }
    assert_eq!(at, end.offset);
    assert!(seen.is_empty() || seen == text(&end), "{seen:?}");
    assert!(skipped > 17 * 1024 * 1024, "{skipped} skipped, {got} sent");
    desk.ack("idle", at).await;
    desk.type_in("b", 0, "echo and-$((2+0))-on\n").await;
    let mut after = Vec::new();
    while !String::from_utf8_lossy(&after).contains("and-2-on") {
        let Some(Ok(Update::Item(pb::read_output_response::Item::Chunk(chunk)))) = idle.next().await else {
            panic!("no bytes after the screen");
        };
        assert!(chunk.offset >= end.offset);
        after.extend_from_slice(&chunk.data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_with_a_viewer_holds_up_no_fact_and_comes_back_where_it_was() {
    use pb::watch_item::Item;
    let daemon = TestDaemon::start();
    let desk = Desk::new(&daemon).await;
    let subscription = || pb::WatchSubscription {
        session_id: desk.session.clone(),
        output: true,
        viewer: "page".into(),
        ..Default::default()
    };
    let mut watch = desk.client.watch_session(subscription()).await.unwrap();
    let at = desk.type_in("a", 0, "echo first-$((1+0))\n").await;
    let mut seen = 0;
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains("first-1") {
        match watch.next().await.unwrap().unwrap() {
            Update::Item(Item::Screen(screen)) => {
                seen = screen.offset;
                all.extend_from_slice(&screen.data);
            }
            Update::Item(Item::Output(chunk)) => {
                seen = chunk.offset + chunk.data.len() as u64;
                all.extend_from_slice(&chunk.data);
            }
            _ => {}
        }
    }
    desk.ack("page", seen).await;
    drop(watch);
    // It comes back: bytes from where it was, no screen.
    let mut watch = desk.client.watch_session(subscription()).await.unwrap();
    let at = desk.type_in("a", at, "echo second-$((1+0))\n").await;
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains("second-1") {
        match watch.next().await.unwrap().unwrap() {
            Update::Item(Item::Screen(_)) => panic!("a screen for one that lacks nothing"),
            Update::Item(Item::Output(chunk)) => {
                assert!(chunk.offset >= seen);
                all.extend_from_slice(&chunk.data);
            }
            _ => {}
        }
    }
    // It acknowledges nothing any more, and yet hears of the end: facts wait for nobody's drawing.
    desk.type_in("a", at, "yes | head -c 3M; exit 7\n").await;
    loop {
        if let Update::Item(Item::Event(event)) = watch.next().await.unwrap().unwrap()
            && let Some(pb::event::Body::ExecFinished(end)) = event.body
        {
            assert_eq!(end.result.unwrap().exit_code, 7);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_outlives_the_daemon() {
    let mut daemon = TestDaemon::start();
    let desk = Desk::new(&daemon).await;
    desk.type_in("a", 0, "echo before-$((1+0))-it\n").await;
    desk.screen("before-1-it").await;
    daemon.kill9();
    daemon.spawn();
    let desk = Desk {
        client: daemon.client(),
        ..desk
    };
    desk.screen("before-1-it").await;
    desk.type_in("b", 0, "echo after-$((1+0))-it\n").await;
    desk.screen("after-1-it").await;
}

#[tokio::test]
async fn the_input_has_one_holder_and_is_taken_on_purpose() {
    use pb::watch_item::Item;
    let daemon = TestDaemon::start();
    let desk = Desk::new(&daemon).await;
    let other = daemon.client();
    let subscription = |writer: &str| pb::WatchSubscription {
        session_id: desk.session.clone(),
        writer: writer.to_owned(),
        clients: true,
        ..Default::default()
    };
    let mut ana = desk.client.watch_session(subscription("ana")).await.unwrap();
    let mut ben = other.watch_session(subscription("ben")).await.unwrap();
    // Who has the input, as a watch tells it: nobody, oneself, or another.
    async fn told(watch: &mut agentd_proto::watch::Watch, wanted: Option<bool>) {
        loop {
            if let Update::Item(Item::Clients(list)) = watch.next().await.unwrap().unwrap()
                && list.clients.len() == 2
                && list.clients.iter().find(|one| one.input).map(|one| one.you) == wanted
            {
                return;
            }
        }
    }
    told(&mut ana, None).await;
    desk.write(&desk.client, "ana", "echo an''a\r", true)
        .await
        .unwrap();
    told(&mut ana, Some(true)).await;
    told(&mut ben, Some(false)).await;
    let refused = desk.write(&other, "ben", "echo be''n\r", true).await.unwrap_err();
    assert!(refused.is(pb::ErrorReason::InputHeld), "{refused:?}");
    assert!(
        refused.message.contains(" via ") && refused.message.ends_with("has the input"),
        "{refused:?}"
    );
    let screen = desk.screen("ana").await;
    assert!(
        !String::from_utf8_lossy(&screen.data).contains("be''n"),
        "a refused key was typed"
    );
    // On purpose: both are told, and now the first is refused.
    desk.write(&other, "ben", "echo be''n\r", false).await.unwrap();
    told(&mut ben, Some(true)).await;
    told(&mut ana, Some(false)).await;
    desk.screen("ben").await;
    assert!(
        desk.write(&desk.client, "ana", "x", true)
            .await
            .unwrap_err()
            .is(pb::ErrorReason::InputHeld)
    );
    // Who goes leaves it free.
    drop(ben);
    loop {
        if let Update::Item(Item::Clients(list)) = ana.next().await.unwrap().unwrap()
            && list.clients.len() == 1
        {
            break;
        }
    }
    desk.write(&desk.client, "ana", "echo ag''ain\r", true)
        .await
        .unwrap();
    desk.screen("again").await;
}
