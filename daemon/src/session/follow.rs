//! Owns: one attached reader with a cursor: replay and live are one code path.
//! Guarantees: every fact once and in order; output of a command before the fact of its end; a slow reader
//! costs nothing but its own time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Fault;
use super::execs::{Execs, OutputKind, ScreenPiece, Shown, Viewing};
use super::feed::{Feed, PreviewCursor, PreviewDelta, Tick};
use super::presence::{Attached, Seat};
use crate::domain::event::{Event, EventBody, ExecResult};
use crate::domain::id::{ExecId, Seq, SessionId};
use crate::domain::session::Summary;
use crate::store::Store;

/// Events read at a time: bounds a reader's memory.
const BATCH: u32 = 256;
/// Bytes of output sent at a time.
const CHUNK: u64 = 64 * 1024;
/// Chunks of one stream before another gets its turn.
const ROUND: usize = 16;

/// Readers up to this many are told of everything at once.
const CROWD: usize = 10;
/// How long a reader in a larger crowd has to itself.
const SLOT: Duration = Duration::from_millis(1);
/// Longest time between two looks, however large the crowd.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// What to send along with the facts.
#[derive(Debug, Clone, Default)]
pub struct FollowOptions {
    /// The cursor: the last seq the reader has seen.
    pub after_seq: Seq,
    /// Send previews.
    pub previews: bool,
    /// Send output of commands that run during the watch.
    pub output: bool,
    /// At most so much of what a command had written before; 0: all.
    pub output_tail: u64,
    /// Send who else follows.
    pub clients: bool,
    /// The reader comes back: what it has of the commands it saw begin and not end.
    pub resume: Option<BTreeMap<ExecId, [u64; 2]>>,
    /// Who draws the terminals: their bytes come with credit, screens where too much was missed. Empty: as other
    /// output.
    pub viewer: String,
}

/// One thing for the reader.
#[derive(Debug, Clone)]
pub enum FollowItem {
    /// A fact.
    Event(Arc<Event>),
    /// Everything up to here was sent; live from now on.
    CaughtUp(Seq),
    /// More of the answer being made.
    Preview(PreviewDelta),
    /// Bytes of a command.
    Output(OutputPiece),
    /// What a terminal shows.
    Screen(ScreenPiece),
    /// The session after the facts sent so far.
    Summary(Box<Summary>),
    /// Who follows, and which of them is this reader.
    Clients(Arc<[Attached]>, u64),
}

/// Bytes of a command.
#[derive(Debug, Clone)]
pub struct OutputPiece {
    /// Which command.
    pub exec_id: ExecId,
    /// Which stream.
    pub kind: OutputKind,
    /// Offset of the first byte.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// Bytes just before `offset` that were not kept.
    pub dropped: u64,
}

/// An attached reader.
pub struct Follower {
    session_id: SessionId,
    store: Store,
    feed: Arc<Feed>,
    execs: Arc<Execs>,
    published: watch::Receiver<Summary>,
    seat: Seat,
    bell: watch::Receiver<Tick>,
    options: FollowOptions,
    cursor: Seq,
    caught_up: bool,
    /// From when on the slots of a crowd are counted, by everybody.
    begun: Instant,
    preview: PreviewCursor,
    running: BTreeMap<ExecId, [u64; 2]>,
    /// Terminals, for a reader that draws them.
    terminals: BTreeMap<ExecId, Viewing>,
    ready: VecDeque<FollowItem>,
    /// Events read and not yet handed out: the end of a command waits for the rest of its output.
    held: VecDeque<Arc<Event>>,
}

impl Follower {
    pub(super) fn new(
        session_id: SessionId,
        store: Store,
        feed: Arc<Feed>,
        execs: Arc<Execs>,
        published: watch::Receiver<Summary>,
        mut seat: Seat,
        options: FollowOptions,
    ) -> Self {
        seat.look_anew();
        let (bell, feed_begun) = (feed.listen(), feed.begun());
        let running = options.resume.clone().unwrap_or_default();
        Self {
            session_id,
            store,
            feed,
            execs,
            published,
            seat,
            bell,
            cursor: options.after_seq,
            options,
            caught_up: false,
            begun: feed_begun,
            preview: PreviewCursor::default(),
            running,
            terminals: BTreeMap::new(),
            ready: VecDeque::new(),
            held: VecDeque::new(),
        }
    }

    /// The session it follows.
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// The next thing; waits for it. `None` when the session is gone (shutdown).
    pub async fn next(&mut self) -> Result<Option<FollowItem>, Fault> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let tick = *self.bell.borrow_and_update();
            if self.options.output && self.caught_up {
                self.read_output().await;
            }
            if tick.head > self.cursor || !self.caught_up || !self.held.is_empty() {
                self.read_events(tick).await?;
            } else if self.ready.is_empty() && self.options.previews {
                let delta = self.feed.preview_since(&mut self.preview);
                self.ready.extend(delta.map(FollowItem::Preview));
            }
            if self.ready.is_empty() && self.caught_up {
                self.read_summary();
            }
            if self.options.clients && self.caught_up {
                let number = self.seat.number();
                let news = self.seat.news();
                self.ready
                    .extend(news.map(|all| FollowItem::Clients(all, number)));
            }
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                rung = self.bell.changed() => if rung.is_err() {
                    return Ok(None);
                },
                () = self.seat.changed(), if self.options.clients => {}
                // Gone with the bell.
                Ok(()) = self.published.changed() => self.published.mark_changed(),
            }
            self.take_turns().await;
        }
    }

    /// In a crowd each reader looks in a slot of its own, and takes what came meanwhile together: a hundred that all wake
    /// at every word would hold up the one who speaks.
    async fn take_turns(&self) {
        let Some((place, crowd)) = self.seat.place().filter(|(_, crowd)| *crowd > CROWD) else {
            return;
        };
        let many = |n: usize| {
            SLOT.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX))
                .as_micros()
        };
        let round = many(crowd).min(LONGEST_WAIT.as_micros());
        let wait = (many(place) % round + round - self.begun.elapsed().as_micros() % round) % round;
        tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
    }

    async fn read_events(&mut self, tick: Tick) -> Result<(), Fault> {
        if self.held.is_empty() {
            self.held = match self.feed.facts_after(self.cursor) {
                Some(facts) => facts.into(),
                None => {
                    let store = &self.store;
                    let page = store.events_after(&self.session_id, self.cursor, BATCH).await?;
                    page.into_iter().map(Arc::new).collect()
                }
            };
        }
        let any = !self.held.is_empty();
        while let Some(event) = self.held.pop_front() {
            if self.sends_output() && !self.around(&event).await {
                self.held.push_front(event);
                return Ok(());
            }
            self.cursor = event.seq;
            self.ready.push_back(FollowItem::Event(event));
        }
        if self.cursor < tick.head {
            return Ok(());
        }
        if any || !self.caught_up {
            let summary = Box::new(self.published.borrow_and_update().clone());
            if !self.caught_up {
                self.caught_up = true;
                self.join_running().await;
                self.ready.push_back(FollowItem::CaughtUp(self.cursor));
            }
            self.ready.push_back(FollowItem::Summary(summary));
        }
        Ok(())
    }

    /// The session anew, where it changed without a fact.
    fn read_summary(&mut self) {
        if self.published.has_changed().unwrap_or(false) {
            let summary = self.published.borrow_and_update().clone();
            // One that belongs to facts still to be sent comes with them.
            if summary.head <= self.cursor {
                self.ready.push_back(FollowItem::Summary(Box::new(summary)));
            }
        }
    }

    /// A reader that begins gets the past as facts only; one that comes back gets all that it missed.
    fn sends_output(&self) -> bool {
        self.options.output && (self.caught_up || self.options.resume.is_some())
    }

    /// Keeps the set of running commands. False while there is more output to send before this event.
    async fn around(&mut self, event: &Event) -> bool {
        match &event.body {
            EventBody::ExecStarted { exec_id, .. } => match self.drawn(exec_id, Some(0)) {
                Some(viewing) => {
                    self.terminals.insert(exec_id.clone(), viewing);
                }
                None => {
                    self.running.insert(exec_id.clone(), [0, 0]);
                }
            },
            EventBody::ExecFinished { exec_id, result } if self.terminals.contains_key(exec_id) => {
                if self.read_terminal(exec_id.clone(), Some(result)).await {
                    return false;
                }
                self.terminals.remove(exec_id);
            }
            EventBody::ExecFinished { exec_id, result }
                if self.running.contains_key(exec_id) || !self.caught_up =>
            {
                // It ran when the reader was lost, and had written nothing that came through.
                self.running.entry(exec_id.clone()).or_default();
                if self.read_exec(exec_id.clone(), Some(result)).await {
                    return false;
                }
                self.running.remove(exec_id);
            }
            _ => {}
        }
        true
    }

    /// Commands that run when the reader has caught up: from their beginning, or from a tail of it.
    async fn join_running(&mut self) {
        if !self.options.output {
            return;
        }
        for (exec_id, lengths) in self.execs.running() {
            if let Some(viewing) = self.drawn(&exec_id, None) {
                self.running.remove(&exec_id);
                self.terminals.insert(exec_id, viewing);
                continue;
            }
            if self.options.resume.is_some() && self.running.contains_key(&exec_id) {
                continue;
            }
            let tail = self.options.output_tail;
            let from = lengths.map(|length| if tail == 0 { 0 } else { length.saturating_sub(tail) });
            self.running.insert(exec_id, from);
        }
        self.read_output().await;
    }

    async fn read_output(&mut self) {
        let ids: Vec<ExecId> = self.running.keys().cloned().collect();
        for exec_id in ids {
            self.read_exec(exec_id, None).await;
        }
        let ids: Vec<ExecId> = self.terminals.keys().cloned().collect();
        for exec_id in ids {
            self.read_terminal(exec_id, None).await;
        }
    }

    /// The terminal of a run, when the reader draws terminals.
    fn drawn(&self, exec_id: &ExecId, sent: Option<u64>) -> Option<Viewing> {
        let viewer = Some(self.options.viewer.as_str()).filter(|viewer| !viewer.is_empty())?;
        Viewing::new(&self.execs, exec_id, viewer, sent, true)
    }

    /// What is next for the viewer of a terminal; true when there may be more.
    async fn read_terminal(&mut self, exec_id: ExecId, result: Option<&ExecResult>) -> bool {
        let Some(viewing) = self.terminals.get_mut(&exec_id) else {
            return false;
        };
        let shown = viewing.next(result).await;
        let more = shown.is_some();
        self.ready.extend(shown.map(|shown| match shown {
            Shown::Screen(screen) => FollowItem::Screen(screen),
            Shown::Bytes(piece) => FollowItem::Output(piece),
        }));
        more
    }

    /// Reads what is new of one command; true when there may be more.
    async fn read_exec(&mut self, exec_id: ExecId, ended: Option<&ExecResult>) -> bool {
        let output = self.execs.output(&exec_id);
        // What is no longer live has its counts in the log.
        let ended = ended.filter(|_| !output.is_live());
        let mut more = false;
        for (index, kind) in [OutputKind::Stdout, OutputKind::Stderr].into_iter().enumerate() {
            for _ in 0..ROUND {
                let Some(from) = self.running.get(&exec_id).and_then(|o| o.get(index)).copied() else {
                    break;
                };
                let (offset, data) = match ended {
                    Some(result) => output.read_ended(kind, result, from, CHUNK).await,
                    None => output.read(kind, from, CHUNK).await,
                };
                if data.is_empty() {
                    break;
                }
                more = true;
                let end = offset.saturating_add(data.len() as u64);
                if let Some(slot) = self.running.get_mut(&exec_id).and_then(|o| o.get_mut(index)) {
                    *slot = end;
                }
                self.ready.push_back(FollowItem::Output(OutputPiece {
                    exec_id: exec_id.clone(),
                    kind,
                    offset,
                    data,
                    dropped: offset.saturating_sub(from),
                }));
            }
        }
        more
    }
}
