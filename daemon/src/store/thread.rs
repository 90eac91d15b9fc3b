//! Owns: the one thread that writes, group commit, and when the write-ahead log goes into the database.
//! Guarantees: jobs run in the order they were sent; a job's answer comes after the commit that holds it;
//! a failed job leaves nothing behind and does not harm its neighbours; nobody waits for a checkpoint of another's pages
//! unless the log has outgrown all measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use crate::durable::Point;

/// How many jobs may share one commit. Bounds the delay of the first one in it.
const GROUP: usize = 64;
/// How many jobs may wait. Beyond that, senders wait: back-pressure instead of memory.
const WAITING: usize = 1024;
/// Pages of the write-ahead log that are put into the database while nobody waits; and beyond which somebody must.
const CHECKPOINT: u32 = 1000;
const CHECKPOINT_AT_ONCE: u32 = 8000;

/// Runs inside the transaction (or is told that there is none); gives what to do once the commit's fate is known.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Done + Send>;
/// Told whether the commit went through.
type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

enum Order {
    Run(Job),
    Pulse(oneshot::Sender<()>),
    Scrub(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// Handle to the writing thread.
#[derive(Clone)]
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
}

impl Writer {
    pub(super) fn start(mut connection: Connection) -> Result<Self, StoreError> {
        let (orders, inbox) = mpsc::channel(WAITING);
        let pages = Arc::new(AtomicU32::new(0));
        let told = pages.clone();
        // In the place of SQLite's own, which checkpoints before a commit is answered.
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            told.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(connection, inbox, &pages))?;
        Ok(Self { orders })
    }

    /// Runs `work` in the next commit and answers after it.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        self.orders
            .send(Order::Run(job(work, answer)))
            .await
            .map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)?
    }

    /// The same as [`Self::write`], holding up the calling thread.
    pub(super) fn write_blocking<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        // Callers sit on runtime threads as often as not, where blocking on a channel is forbidden: a thread
        // of its own may. Mount points are made once per jail, so its cost does not count.
        let (answer, wait) = oneshot::channel();
        let job = job(work, answer);
        let orders = &self.orders;
        std::thread::scope(|scope| {
            let asked = scope.spawn(move || {
                orders
                    .blocking_send(Order::Run(job))
                    .map_err(|_| StoreError::Closed)?;
                wait.blocking_recv().map_err(|_| StoreError::Closed)?
            });
            asked.join().unwrap_or(Err(StoreError::Closed))
        })
    }

    /// Comes back once everything asked for before is done; writes nothing.
    pub(super) async fn pulse(&self) -> bool {
        let (answer, wait) = oneshot::channel();
        self.orders.send(Order::Pulse(answer)).await.is_ok() && wait.await.is_ok()
    }

    /// Writes the database anew, without what was overwritten or deleted in it, and empties the write-ahead log.
    pub(super) async fn scrub(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.orders
            .send(Order::Scrub(done))
            .await
            .map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)
    }

    pub(super) async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        if self.orders.send(Order::Close(closed)).await.is_ok() {
            // An error means that the thread is gone already: closed all the same.
            let _gone = wait.await;
        }
    }
}

fn job<T, F>(work: F, answer: oneshot::Sender<Result<T, StoreError>>) -> Job
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
{
    Box::new(move |connection| {
        let result = connection.and_then(|connection| in_savepoint(connection, work));
        Box::new(move |committed| {
            // A caller that no longer waits has lost interest in the answer, not in the write.
            let _unheard = answer.send(match (committed, result) {
                // Its own error says more than that of its group.
                (_, Err(own)) => Err(own),
                (committed, Ok(value)) => committed.map(|()| value),
            });
        })
    })
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("SAVEPOINT job")?;
    match work(connection) {
        Ok(value) => {
            connection.execute_batch("RELEASE job")?;
            Ok(value)
        }
        Err(error) => {
            // Where SQLite rolled the whole transaction back by itself there is no savepoint left to go to.
            let _gone = connection.execute_batch("ROLLBACK TO job; RELEASE job");
            Err(error)
        }
    }
}

/// What the thread took up and has not done yet.
#[derive(Default)]
struct Work {
    jobs: Vec<Job>,
    pulses: Vec<oneshot::Sender<()>>,
    scrub: Option<oneshot::Sender<()>>,
    close: Option<oneshot::Sender<()>>,
}

impl Work {
    fn take(&mut self, order: Order) {
        match order {
            Order::Run(job) => self.jobs.push(job),
            Order::Pulse(answer) => self.pulses.push(answer),
            Order::Scrub(done) => self.scrub = Some(done),
            Order::Close(closed) => self.close = Some(closed),
        }
    }

    fn ends(&self) -> bool {
        self.scrub.is_some() || self.close.is_some()
    }

    fn is_full(&self) -> bool {
        self.jobs.len() >= GROUP || self.ends()
    }
}

fn run(connection: Connection, mut inbox: mpsc::Receiver<Order>, pages: &AtomicU32) {
    let mut work = Work::default();
    loop {
        let order = match inbox.try_recv() {
            Ok(order) => Some(order),
            Err(_) => {
                // Nobody waits: now it costs nobody anything.
                checkpoint(&connection, pages, CHECKPOINT);
                inbox.blocking_recv()
            }
        };
        let Some(order) = order else { return };
        work.take(order);
        while !work.is_full()
            && let Ok(order) = inbox.try_recv()
        {
            work.take(order);
        }
        let jobs = std::mem::take(&mut work.jobs);
        if !jobs.is_empty() {
            commit(&connection, jobs);
        }
        for answer in work.pulses.drain(..) {
            let _unheard = answer.send(());
        }
        if let Some(done) = work.scrub.take() {
            rewrite(&connection);
            let _unheard = done.send(());
        }
        if let Some(closed) = work.close.take() {
            return finish(connection, closed);
        }
        checkpoint(&connection, pages, CHECKPOINT_AT_ONCE);
    }
}

/// Puts the write-ahead log into the database once it has so many pages; the next write then begins it anew.
fn checkpoint(connection: &Connection, pages: &AtomicU32, most: u32) {
    if pages.load(Ordering::Relaxed) < most {
        return;
    }
    // The next commit says anew how many there are: all of them again where a reader held a part.
    pages.store(0, Ordering::Relaxed);
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::debug!(%error, "store: the write-ahead log stays");
    }
}

fn commit(connection: &Connection, jobs: Vec<Job>) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(Trouble::from);
    if let Err(trouble) = &begun {
        tracing::error!(error = %trouble.error(), "store: no transaction could be started");
    }
    let mut lost = begun.err();
    let mut done: Vec<Done> = Vec::with_capacity(jobs.len());
    for job in jobs {
        if let Some(trouble) = &lost {
            done.push(job(Err(trouble.error())));
            continue;
        }
        done.push(job(Ok(connection)));
        // A full disk makes SQLite roll back everything of the group; the rest must not run outside of it.
        if connection.is_autocommit() {
            lost = Some(Trouble::Full);
        }
    }
    if lost.is_none()
        && let Err(error) = Point::StoreCommit.through(|| connection.execute_batch("COMMIT"))
    {
        lost = Some(Trouble::from(error));
        // After a failed COMMIT the transaction may still be open; the next BEGIN would fail on it.
        let _already_gone = connection.execute_batch("ROLLBACK");
    }
    for answer in done {
        answer(lost.as_ref().map_or(Ok(()), |trouble| Err(trouble.error())));
    }
}

/// Why a group was not committed; told to each of its jobs.
enum Trouble {
    Full,
    Locked,
    Other(String),
}

impl Trouble {
    fn error(&self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Locked => StoreError::Locked,
            Self::Other(text) => StoreError::Io(std::io::Error::other(text.clone())),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match StoreError::from(error) {
            StoreError::Full => Self::Full,
            StoreError::Locked => Self::Locked,
            other => Self::Other(other.to_string()),
        }
    }
}

fn rewrite(connection: &Connection) {
    if let Err(error) = connection.execute_batch("VACUUM") {
        tracing::error!(%error, "store: what was taken out can still be in unused parts of the database");
    }
    truncate(connection);
}

fn truncate(connection: &Connection) {
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::debug!(%error, "store: the write-ahead log stays");
    }
}

fn finish(connection: Connection, closed: oneshot::Sender<()>) {
    // One whole file at rest: copies and backups need no `-wal` beside it.
    truncate(&connection);
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "store: closing the database");
    }
    let _unheard = closed.send(());
}
