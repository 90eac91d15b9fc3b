//! Owns: what many followers, many sessions and very many files cost.

use std::time::Instant;

use agentd_proto::pb::watch_item::Item;
use agentd_proto::{Client, pb};
use bytes::Buf as _;
use prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder};

use super::figures::Size;
use super::model::Instantly;
use super::report::{Report, Times, mb, ms};
use super::rig;
use super::support::TestDaemon;

/// Tool turns with nobody and with a crowd looking on.
pub async fn followers(size: &Size, report: &mut Report) {
    report.part(
        "A crowd",
        format!(
            "Tool turns as above, with {} followers of the session that read everything: facts, previews and output.",
            size.followers
        ),
    );
    let model = Instantly::listen().await;
    let mut home = TestDaemon::home();
    rig::configure(&home, &model.base);
    home.spawn();
    let client = home.client();
    let turn = |home: &TestDaemon, name: &str| {
        model.will_call(size.turns.max(4));
        tokio::task::block_in_place(|| home.ctl(["run", "--name", name, "--last", "Do it."]).exits(0));
        let asked = model.take();
        let gaps = asked.windows(2).skip(1);
        gaps.map(|pair| pair[1].begun.saturating_duration_since(pair[0].answered))
            .collect::<Vec<_>>()
    };
    // In turns, since a machine is now quicker, now slower; in sessions of their own, since a long one has more to send.
    let (mut alone, mut crowded, mut grown) = (Vec::new(), Vec::new(), 0);
    for round in 0..size.rounds.div_ceil(100) {
        let name = format!("crowd{round}");
        turn(&home, &name);
        alone.extend(turn(&home, &name));
        let before = rig::resident(home.pid());
        let mut readers = crowd(&home, &client, &name, size.followers).await;
        crowded.extend(turn(&home, &name));
        grown = rig::resident(home.pid()).saturating_sub(before).max(grown);
        readers.shutdown().await;
    }
    let (alone, crowded) = (Times::of(alone).median(), Times::of(crowded).median());
    let added = crowded.as_secs_f64() / alone.as_secs_f64().max(1e-9) * 100.0 - 100.0;
    report.row("per tool turn, nobody looks on", ms(alone), "");
    report.row("per tool turn, all look on", ms(crowded), "");
    report.row("added by the followers", format!("{added:.0} %"), "≤ 20 %");
    report.row(
        "memory of the daemon for each",
        mb(grown / size.followers as u64),
        "",
    );
}

/// So many followers of the session that read on and on.
async fn crowd(home: &TestDaemon, client: &Client, name: &str, followers: usize) -> tokio::task::JoinSet<()> {
    let request = pb::GetSessionRequest {
        session_id: name.to_owned(),
    };
    let session = client.get_session(request).await.unwrap().session.unwrap();
    let channel = rig::channel(home).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..followers {
        let subscription = pb::WatchSubscription {
            session_id: session.session_id.clone(),
            after_seq: session.head,
            previews: true,
            output: true,
            ..Default::default()
        };
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let request = tonic::Request::new(pb::WatchSessionRequest {
            subscription: Some(subscription),
        });
        let path = http::uri::PathAndQuery::from_static("/agentd.v1.SessionService/WatchSession");
        let mut watch = grpc
            .server_streaming(request, path, Reading)
            .await
            .unwrap()
            .into_inner();
        while !watch.message().await.unwrap().unwrap() {}
        readers.spawn(async move { while let Ok(Some(_)) = watch.message().await {} });
    }
    readers
}

/// How a follower reads: all that comes. It looks into it only until it has caught up, since that is a client's work, which
/// shares the processors here and nowhere else.
struct Reading;

struct Look {
    caught_up: bool,
}

type Prost = tonic_prost::ProstCodec<pb::WatchSessionRequest, pb::WatchSessionResponse>;

impl Codec for Reading {
    type Encode = pb::WatchSessionRequest;
    type Decode = bool;
    type Encoder = <Prost as Codec>::Encoder;
    type Decoder = Look;

    fn encoder(&mut self) -> Self::Encoder {
        Prost::default().encoder()
    }

    fn decoder(&mut self) -> Look {
        Look { caught_up: false }
    }
}

impl Decoder for Look {
    type Item = bool;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<bool>, tonic::Status> {
        if self.caught_up {
            from.advance(from.remaining());
        } else {
            let answer = pb::WatchSessionResponse::decode(&mut *from).unwrap();
            let item = answer.item.and_then(|item| item.item);
            self.caught_up = matches!(item, Some(Item::CaughtUp(_)));
        }
        Ok(Some(self.caught_up))
    }
}

/// Lists and searches over many sessions.
pub async fn list(size: &Size, report: &mut Report) {
    report.part(
        "Very many sessions",
        format!("{} sessions in one database, most at rest.", size.listed),
    );
    let home = TestDaemon::start();
    let client = home.client();
    let (home_ref, client_ref) = (&home, &client);
    let mut made = 0;
    while made < size.listed {
        let some = (size.listed - made).min(16);
        let all = (made..made + some)
            .map(|number| async move { rig::session(home_ref, client_ref, &format!("n{number}")).await });
        futures::future::join_all(all).await;
        made += some;
    }
    rig::exec(&client, "n0", "echo needle").await;
    let rounds = size.rounds.clamp(10, 50);
    let listing = timed(rounds, || async {
        let page = client_ref
            .list_sessions(pb::ListSessionsRequest::default())
            .await
            .unwrap();
        assert!(!page.sessions.is_empty());
    })
    .await;
    report.row("list, the first page", listing.shown(), "≤ 20 ms");
    let searching = timed(rounds, || async {
        let request = pb::SearchSessionsRequest {
            text: "needle".into(),
            ..Default::default()
        };
        assert!(!client_ref.search_sessions(request).await.unwrap().hits.is_empty());
    })
    .await;
    report.row("search", searching.shown(), "≤ 50 ms");
    report.row("memory of the daemon", mb(rig::resident(home.pid())), "");
}

async fn timed<F: Future<Output = ()>>(rounds: usize, mut call: impl FnMut() -> F) -> Times {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        call().await;
        times.push(begun.elapsed());
    }
    Times::of(times)
}

/// A repository with very many files.
pub async fn repository(size: &Size, report: &mut Report) {
    report.part(
        "A very large repository",
        format!("{} files in directories of 1,000, not ignored.", size.files),
    );
    let home = TestDaemon::start();
    let client = home.client();
    let root = home.project().join("large");
    for dir in 0..size.files.div_ceil(1000) {
        let dir = root.join(format!("d{dir}"));
        std::fs::create_dir_all(&dir).unwrap();
        for file in 0..size.files.min(1000) {
            std::fs::File::create(dir.join(format!("f{file}"))).unwrap();
        }
    }
    let begun = Instant::now();
    let session = rig::session(&home, &client, "large").await;
    rig::exec(&client, &session, "true").await;
    report.row(
        "making a session, its jail and a first command",
        ms(begun.elapsed()),
        "",
    );
    let times = timed(size.rounds.clamp(5, 30), || async {
        rig::exec(&client, &session, "cd . && echo x >d0/changed").await;
    })
    .await;
    report.row("a command that writes", times.shown(), "");
    let listing = timed(10, || async {
        let request = pb::ListFilesRequest {
            session_id: session.clone(),
            ..Default::default()
        };
        client.list_files(request).await.unwrap();
    })
    .await;
    report.row("files ls of its root", listing.shown(), "");
    report.row("memory of the daemon", mb(rig::resident(home.pid())), "");
}
