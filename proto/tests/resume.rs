//! The shared client against a server that breaks lines on purpose: nothing is lost, nothing comes twice.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentd_proto::pb::event::Body;
use agentd_proto::pb::session_service_server::{SessionService, SessionServiceServer};
use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::Update;
use agentd_proto::{Cause, Client, Options, pb};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// How many events the session has.
const HEAD: u64 = 12;

/// How a line breaks.
#[derive(Clone, Copy)]
enum Cut {
    Error,
    End,
    Gap,
    Duplicates,
}

/// A server whose every watch breaks after a few events.
#[derive(Clone)]
struct Flaky {
    cut: Cut,
    per_line: u64,
    opened: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Flaky {
    fn new(cut: Cut, per_line: u64) -> Self {
        Self {
            cut,
            per_line,
            opened: Arc::default(),
            requests: Arc::default(),
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn refused<T>(code: tonic::Code, reason: &str, message: &str) -> Result<T, Status> {
    let details = ErrorDetails::with_error_info(reason, "agentd", HashMap::new());
    Err(Status::with_error_details(code, message, details))
}

fn absent<T>() -> Result<T, Status> {
    Err(Status::unimplemented("an older daemon"))
}

fn event(seq: u64) -> Item {
    let body = Body::NoticeRecorded(pb::NoticeRecorded {
        code: "n".into(),
        message: seq.to_string(),
    });
    Item::Event(pb::Event {
        seq,
        body: Some(body),
        ..Default::default()
    })
}

fn output(offset: u64, data: &'static str) -> Item {
    Item::Output(pb::OutputChunk {
        exec_id: "x-1".into(),
        stream: 1,
        offset,
        data: bytes::Bytes::from_static(data.as_bytes()),
        dropped_bytes: 0,
    })
}

#[tonic::async_trait]
impl SessionService for Flaky {
    type WatchSessionStream = Answers<pb::WatchSessionResponse>;
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch_session(
        &self,
        request: Request<pb::WatchSessionRequest>,
    ) -> Result<Response<Self::WatchSessionStream>, Status> {
        assert_eq!(request.metadata().get("x-agentd-client").unwrap(), "cli");
        let subscription = request.into_inner().subscription.unwrap();
        if subscription.session_id == "s-gone" {
            return refused(
                tonic::Code::NotFound,
                "SESSION_NOT_FOUND",
                "no session matches 's-gone'",
            );
        }
        self.opened.fetch_add(1, Ordering::SeqCst);
        let after = subscription.after_seq;
        let last = (after + self.per_line).min(HEAD);
        let mut items: Vec<Item> = match self.cut {
            Cut::Duplicates => (after.saturating_sub(2).max(1)..=last).map(event).collect(),
            Cut::Gap if after + 2 < HEAD => [after + 1, after + 3].map(event).to_vec(),
            _ => (after + 1..=last).map(event).collect(),
        };
        // Output is sent from its start each time, as after a real break.
        items.push(output(0, "hello "));
        if after > 0 {
            items.push(output(6, "world"));
        }
        items.push(Item::CaughtUp(pb::CaughtUp { head: last }));
        let stream = tokio_stream::iter(items.into_iter().map(|item| {
            let item = pb::WatchItem {
                session_id: "s-1".into(),
                item: Some(item),
            };
            Ok(pb::WatchSessionResponse { item: Some(item) })
        }));
        let tail: Answers<pb::WatchSessionResponse> = match self.cut {
            _ if last == HEAD => Box::pin(tokio_stream::pending()),
            Cut::Error => Box::pin(tokio_stream::once(Err(Status::unavailable("broken")))),
            _ => Box::pin(tokio_stream::empty()),
        };
        Ok(Response::new(Box::pin(stream.chain(tail))))
    }

    async fn watch(&self, _: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        absent()
    }

    /// Takes the request and then loses the answer, once.
    async fn create_session(
        &self,
        request: Request<pb::CreateSessionRequest>,
    ) -> Result<Response<pb::CreateSessionResponse>, Status> {
        let mut requests = self.requests.lock().unwrap();
        requests.push(request.into_inner().request_id);
        if requests.len() == 1 {
            return Err(Status::unavailable("the answer got lost"));
        }
        Ok(Response::new(pb::CreateSessionResponse {
            session: Some(pb::Session::default()),
            created: true,
        }))
    }

    async fn get_session(
        &self,
        _: Request<pb::GetSessionRequest>,
    ) -> Result<Response<pb::GetSessionResponse>, Status> {
        refused(tonic::Code::Unavailable, "JAIL_FAILED", "the jail died")
    }

    async fn list_sessions(
        &self,
        _: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        Ok(Response::new(pb::ListSessionsResponse::default()))
    }

    async fn rename_session(
        &self,
        _: Request<pb::RenameSessionRequest>,
    ) -> Result<Response<pb::RenameSessionResponse>, Status> {
        absent()
    }

    async fn post_message(
        &self,
        _: Request<pb::PostMessageRequest>,
    ) -> Result<Response<pb::PostMessageResponse>, Status> {
        absent()
    }

    async fn list_queued_messages(
        &self,
        _: Request<pb::ListQueuedMessagesRequest>,
    ) -> Result<Response<pb::ListQueuedMessagesResponse>, Status> {
        absent()
    }

    async fn edit_message(
        &self,
        _: Request<pb::EditMessageRequest>,
    ) -> Result<Response<pb::EditMessageResponse>, Status> {
        absent()
    }

    async fn remove_message(
        &self,
        _: Request<pb::RemoveMessageRequest>,
    ) -> Result<Response<pb::RemoveMessageResponse>, Status> {
        absent()
    }

    async fn list_clients(
        &self,
        _: Request<pb::ListClientsRequest>,
    ) -> Result<Response<pb::ListClientsResponse>, Status> {
        absent()
    }

    async fn interrupt_turn(
        &self,
        _: Request<pb::InterruptTurnRequest>,
    ) -> Result<Response<pb::InterruptTurnResponse>, Status> {
        absent()
    }

    async fn list_events(
        &self,
        _: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        absent()
    }

    async fn find_in_session(
        &self,
        _: Request<pb::FindInSessionRequest>,
    ) -> Result<Response<pb::FindInSessionResponse>, Status> {
        absent()
    }
    async fn compact_session(
        &self,
        _: Request<pb::CompactSessionRequest>,
    ) -> Result<Response<pb::CompactSessionResponse>, Status> {
        absent()
    }
    async fn get_context(
        &self,
        _: Request<pb::GetContextRequest>,
    ) -> Result<Response<pb::GetContextResponse>, Status> {
        absent()
    }
}

/// A server on a socket of its own.
struct Served {
    dir: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Served {
    fn start(flaky: &Flaky) -> Self {
        let mut served = Self {
            dir: tempfile::tempdir().unwrap(),
            runtime: None,
        };
        served.restart(flaky);
        served
    }

    /// A runtime of its own: dropping it closes every connection, as a killed process does.
    fn restart(&mut self, flaky: &Flaky) {
        self.kill();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let path = self.socket();
        drop(std::fs::remove_file(&path));
        let guard = runtime.enter();
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let service = SessionServiceServer::new(flaky.clone());
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        drop(guard);
        self.runtime = Some(runtime);
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("test.sock")
    }

    fn client(&self) -> Client {
        Client::new(Options {
            socket: Some(self.socket()),
            autostart: false,
            client: "cli",
        })
        .unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

fn subscription(session: &str) -> pb::WatchSubscription {
    pb::WatchSubscription {
        session_id: session.into(),
        output: true,
        ..Default::default()
    }
}

/// Everything a follower sees until the head: the events' seqs, the output, the marks.
async fn follow(client: &Client) -> (Vec<u64>, String, usize) {
    let mut watch = client.watch_session(subscription("s-1")).await.unwrap();
    let (mut seqs, mut text, mut backs) = (Vec::new(), String::new(), 0);
    loop {
        match watch.next().await.unwrap().unwrap() {
            Update::Item(Item::Event(event)) => seqs.push(event.seq),
            Update::Item(Item::Output(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk.data)),
            Update::Item(Item::CaughtUp(mark)) if mark.head == HEAD => return (seqs, text, backs),
            Update::Item(_) => {}
            Update::Reconnecting { attempt, .. } => assert!(attempt >= 1),
            Update::Back { .. } => backs += 1,
        }
    }
}

#[tokio::test]
async fn a_watch_cut_anywhere_yields_the_whole_log_once() {
    let cases = [
        (Cut::Error, 5),
        (Cut::End, 4),
        (Cut::Duplicates, 6),
        (Cut::Error, HEAD),
    ];
    let runs = cases.map(|(cut, per_line)| async move {
        let flaky = Flaky::new(cut, per_line);
        let served = Served::start(&flaky);
        let (seqs, text, backs) = follow(&served.client()).await;
        assert_eq!(seqs, (1..=HEAD).collect::<Vec<_>>());
        assert!(text == "hello world" || per_line == HEAD, "{text}");
        assert_eq!(backs + 1, flaky.opened.load(Ordering::SeqCst));
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn a_hole_in_the_log_is_asked_for_again_and_then_told() {
    let flaky = Flaky::new(Cut::Gap, 1);
    let served = Served::start(&flaky);
    let mut watch = served.client().watch_session(subscription("s-1")).await.unwrap();
    let mut seqs = Vec::new();
    let error = loop {
        match watch.next().await.unwrap() {
            Ok(Update::Item(Item::Event(event))) => seqs.push(event.seq),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert_eq!(error.cause, Cause::Lost);
}

#[tokio::test]
async fn a_refusal_is_told_at_once() {
    let served = Served::start(&Flaky::new(Cut::End, 1));
    let error = served
        .client()
        .watch_session(subscription("s-gone"))
        .await
        .unwrap_err();
    assert!(error.is(pb::ErrorReason::SessionNotFound));
    let error = served
        .client()
        .get_session(pb::GetSessionRequest::default())
        .await
        .unwrap_err();
    assert!(error.is(pb::ErrorReason::JailFailed));
    let error = served
        .client()
        .rename_session(pb::RenameSessionRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.cause, Cause::Version);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_request_id() {
    let flaky = Flaky::new(Cut::End, 1);
    let served = Served::start(&flaky);
    let request_id = agentd_proto::id::request_id();
    let request = pb::CreateSessionRequest {
        request_id: request_id.clone(),
        ..Default::default()
    };
    assert!(served.client().create_session(request).await.unwrap().created);
    assert_eq!(*flaky.requests.lock().unwrap(), [request_id.clone(), request_id]);
}

#[tokio::test]
async fn a_killed_daemon_that_comes_back_goes_unnoticed() {
    let flaky = Flaky::new(Cut::Error, HEAD);
    let mut served = Served::start(&flaky);
    let client = served.client();
    client
        .list_sessions(pb::ListSessionsRequest::default())
        .await
        .unwrap();
    served.restart(&flaky);
    client
        .list_sessions(pb::ListSessionsRequest::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_killed_daemon_breaks_no_watch() {
    let flaky = Flaky::new(Cut::Error, HEAD);
    let mut served = Served::start(&flaky);
    let client = served.client();
    let mut watch = client.watch_session(subscription("s-1")).await.unwrap();
    let (mut seqs, mut back, mut killed) = (Vec::new(), false, false);
    while !back {
        let update = tokio::time::timeout(Duration::from_secs(10), watch.next())
            .await
            .unwrap();
        match update.unwrap().unwrap() {
            Update::Item(Item::Event(event)) => seqs.push(event.seq),
            Update::Item(Item::CaughtUp(_)) if !killed => {
                killed = true;
                served.restart(&flaky);
            }
            Update::Back { .. } => back = true,
            _ => {}
        }
    }
    assert_eq!(seqs, (1..=HEAD).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_a_daemon_the_answer_is_quick_and_says_where_was_looked() {
    let dir = tempfile::tempdir().unwrap();
    let socket = Some(dir.path().join("none.sock"));
    let client = Client::new(Options {
        socket,
        autostart: false,
        client: "cli",
    })
    .unwrap();
    let begun = Instant::now();
    let error = client.get_status(pb::GetStatusRequest {}).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(error.cause, Cause::Unreachable);
    assert!(error.message.contains("none.sock"), "{}", error.message);
}
