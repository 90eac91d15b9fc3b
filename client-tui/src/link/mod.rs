//! Owns: the line to the daemon: the one watch, every call, and coming back after a break.
//! Guarantees: events reach the model in order, once each, across breaks and restarts; a message is posted
//! once however often it is tried; keys reach a raw shell in the order they were pressed.

mod board;
mod calls;
mod lifecycle;
mod panel;
mod policies;
mod shell;
mod usage;

pub(crate) use calls::Place;

use std::collections::HashMap;
use std::time::Duration;

use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::{Follow, Update};
use agentd_proto::{Client, ClientError, pb, surroundings};
use tokio::sync::mpsc;

use crate::msg::{BoardNews, FromLink, Msg, ToLink};

/// Events of the first page: enough for several screens.
const FIRST_PAGE: u32 = 400;
/// Events of an older page.
const OLDER_PAGE: u32 = 1_000;
/// Bytes of output that a command had written before it was looked at.
const TAIL: u64 = 64 * 1024;
/// Longest wait between two attempts to reach a daemon that never answered.
const LONGEST: Duration = Duration::from_secs(5);

/// The sending half of the model's messages.
pub(crate) type News = mpsc::Sender<Msg>;

/// What the link holds.
pub(crate) struct Link {
    client: Client,
    wishes: mpsc::Receiver<ToLink>,
    news: News,
    /// The followed session and the last seq of it that was passed on.
    followed: Option<(String, u64)>,
    /// Events since the line broke; `None` while it is up.
    caught_up: Option<u64>,
    calls: calls::Calls,
    /// The name under which this program writes into terminals.
    writer: String,
    shells: HashMap<String, mpsc::Sender<shell::Input>>,
    opened: mpsc::Receiver<(String, mpsc::Sender<shell::Input>)>,
    opener: mpsc::Sender<(String, mpsc::Sender<shell::Input>)>,
}

/// What ended a round of following.
enum Round {
    /// Follow something else, or anew.
    Again,
    /// The line is not there.
    Lost(ClientError),
    /// Nobody listens any more.
    End,
}

impl Link {
    pub(crate) fn new(client: Client, workspace: Place, wishes: mpsc::Receiver<ToLink>, news: News) -> Self {
        let (opener, opened) = mpsc::channel(4);
        Self {
            calls: calls::Calls::new(client.clone(), news.clone(), workspace),
            client,
            writer: agentd_proto::id::request_id(),
            wishes,
            news,
            followed: None,
            caught_up: None,
            shells: HashMap::new(),
            opened,
            opener,
        }
    }

    /// Runs until nobody listens any more.
    pub(crate) async fn run(mut self) {
        let mut attempt = 0_u32;
        let mut told_up = false;
        loop {
            let round = match self.follow().await {
                Ok(follow) => {
                    // Another daemon, perhaps: its process, its limits and its models are told anew.
                    if !told_up || attempt > 0 {
                        told_up = true;
                        self.up();
                    }
                    if attempt > 0 {
                        attempt = 0;
                        let events = self.caught_up.take().unwrap_or(0);
                        self.tell(FromLink::Back { events }).await;
                    }
                    self.round(follow).await
                }
                Err(error) => Round::Lost(error),
            };
            match round {
                Round::Again => {}
                Round::End => return,
                Round::Lost(error) if error.is_transient() => {
                    attempt += 1;
                    self.caught_up.get_or_insert(0);
                    let wait = LONGEST.min(Duration::from_millis(250) * 2_u32.saturating_pow(attempt - 1));
                    self.tell(FromLink::Reconnecting { attempt, wait }).await;
                    if !self.wait(Some(wait)).await {
                        return;
                    }
                }
                Round::Lost(error) => {
                    self.tell(FromLink::Down(error)).await;
                    attempt += 1;
                    // A session that is not there any more must not keep the others from being seen.
                    self.followed = None;
                    if !self.wait(None).await {
                        return;
                    }
                }
            }
        }
    }

    async fn tell(&self, news: FromLink) {
        // The app is gone only when the program ends.
        drop(self.news.send(Msg::Link(news)).await);
    }

    /// Tells what the daemon is, beside the watch: looking for models takes a moment.
    fn up(&self) {
        let (client, news) = (self.client.clone(), self.news.clone());
        tokio::spawn(async move {
            let started = client.connect().await.ok().flatten().is_some();
            let Ok(status) = client.get_status(pb::GetStatusRequest {}).await else {
                return;
            };
            let request = pb::ListModelsRequest {
                probe_loopback: true,
                environment: surroundings::provider_variables(),
            };
            let models = client
                .list_models(request)
                .await
                .map(|answer| answer.models)
                .unwrap_or_default();
            let up = FromLink::Up {
                started,
                status: Box::new(status),
                models,
            };
            drop(news.send(Msg::Link(up)).await);
        });
    }

    /// Opens the watch at the cursor; a session that was not read yet begins with its last page.
    async fn follow(&mut self) -> Result<Follow<pb::WatchItem>, ClientError> {
        let mut subscriptions = Vec::new();
        if let Some((id, cursor)) = self.followed.clone() {
            let cursor = if cursor == 0 {
                self.first_page(&id).await?
            } else {
                cursor
            };
            self.followed = Some((id.clone(), cursor));
            subscriptions.push(pb::WatchSubscription {
                session_id: id,
                after_seq: cursor,
                previews: true,
                output: true,
                output_tail_bytes: TAIL,
                writer: self.writer.clone(),
                clients: true,
                // The shared client fills in what it resumes, once it comes back.
                ..Default::default()
            });
        }
        self.client
            .watch(pb::WatchRequest {
                subscriptions,
                sessions: true,
                boards: true,
            })
            .await
    }

    async fn first_page(&self, id: &str) -> Result<u64, ClientError> {
        let request = pb::GetSessionRequest {
            session_id: id.to_owned(),
        };
        let session = self
            .client
            .get_session(request)
            .await?
            .session
            .unwrap_or_default();
        let request = pb::ListEventsRequest {
            session_id: id.to_owned(),
            before_seq: session.head + 1,
            page_size: FIRST_PAGE,
            ..Default::default()
        };
        let events = self.client.list_events(request).await?.events;
        let cursor = events.last().map_or(0, |event| event.seq);
        self.tell(FromLink::Session(Box::new(session))).await;
        self.tell(FromLink::Page {
            session_id: id.to_owned(),
            events,
            older: false,
        })
        .await;
        Ok(cursor)
    }

    /// Passes on what comes until something else is to be followed.
    async fn round(&mut self, mut follow: Follow<pb::WatchItem>) -> Round {
        loop {
            tokio::select! {
                biased;
                wish = self.wishes.recv() => {
                    let Some(wish) = wish else { return Round::End };
                    if self.wish(wish).await {
                        return Round::Again;
                    }
                }
                Some((exec_id, input)) = self.opened.recv() => {
                    self.shells.insert(exec_id, input);
                }
                update = follow.next() => match update {
                    Some(Ok(update)) => self.pass(update).await,
                    Some(Err(error)) => return Round::Lost(error),
                    None => return Round::Again,
                },
            }
        }
    }

    async fn pass(&mut self, update: Update<pb::WatchItem>) {
        match update {
            Update::Reconnecting { attempt, wait } => {
                self.caught_up.get_or_insert(0);
                self.tell(FromLink::Reconnecting { attempt, wait }).await;
            }
            Update::Back { .. } => {
                self.up();
                let events = self.caught_up.take().unwrap_or(0);
                self.tell(FromLink::Back { events }).await;
            }
            Update::Item(pb::WatchItem {
                session_id,
                item: Some(item),
            }) => self.item(session_id, item).await,
            Update::Item(_) => {}
        }
    }

    async fn item(&mut self, session_id: String, item: Item) {
        match item {
            Item::Event(event) => {
                if let Some((id, cursor)) = &mut self.followed
                    && *id == session_id
                {
                    *cursor = event.seq;
                }
                if let Some(count) = &mut self.caught_up {
                    *count += 1;
                }
                self.tell(FromLink::Event(Box::new(event))).await;
            }
            Item::Preview(preview) => self.tell(FromLink::Preview { session_id, preview }).await,
            Item::Output(chunk) => self.tell(FromLink::Output { session_id, chunk }).await,
            Item::Session(session) => self.tell(FromLink::Session(Box::new(session))).await,
            Item::Clients(list) => {
                let clients = list.clients;
                self.tell(FromLink::Clients { session_id, clients }).await;
            }
            Item::Purged(_) => self.tell(FromLink::Purged { session_id }).await,
            Item::Board(mark) => self.tell(FromLink::Board(BoardNews::Changed(mark))).await,
            // A raw shell is drawn from its own stream, not from the watch.
            Item::CaughtUp(_) | Item::Screen(_) => {}
        }
    }

    /// Waits for the next attempt, doing meanwhile what can be done; false at the end of the program.
    async fn wait(&mut self, wait: Option<Duration>) -> bool {
        let until = wait.map(|wait| tokio::time::Instant::now() + wait);
        loop {
            let time = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                wish = self.wishes.recv() => {
                    let Some(wish) = wish else { return false };
                    if self.wish(wish).await {
                        return true;
                    }
                }
                () = time => return true,
            }
        }
    }

    /// Does what was asked; true when the watch has to be opened anew for it.
    async fn wish(&mut self, wish: ToLink) -> bool {
        match wish {
            ToLink::Open(id) => {
                self.followed = Some((id, 0));
                return true;
            }
            ToLink::Retry => return true,
            ToLink::OpenShell {
                session_id,
                existing,
                size,
                resize,
            } => {
                shell::open(
                    self.client.clone(),
                    self.news.clone(),
                    self.opener.clone(),
                    shell::Wanted {
                        session_id,
                        existing,
                        size,
                        resize,
                        writer: self.writer.clone(),
                    },
                );
            }
            ToLink::ShellInput { exec_id, data, .. } => self.shell(&exec_id, shell::Input::Keys(data)).await,
            ToLink::ShellResize { exec_id, size, .. } => self.shell(&exec_id, shell::Input::Size(size)).await,
            ToLink::Older { session_id, before } => self.calls.older(session_id, before, OLDER_PAGE),
            other => self.calls.call(other).await,
        }
        false
    }

    async fn shell(&mut self, exec_id: &str, input: shell::Input) {
        // A shell that ended takes no more keys.
        if let Some(shell) = self.shells.get(exec_id)
            && shell.send(input).await.is_err()
        {
            self.shells.remove(exec_id);
        }
    }
}
