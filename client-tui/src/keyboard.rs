//! Owns: what comes from the person's terminal: its events, and that it is gone.
//! Guarantees: a terminal that goes away is noticed at once, without a signal and without writing to it;
//! the program never waits for a read of it.

use std::io;

use crossterm::event::{Event, EventStream};
use futures::StreamExt as _;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::background::Late;

/// Events that wait to be taken in.
const QUEUE: usize = 64;

/// The events of the terminal.
///
/// They are read in a task of their own: crossterm reads a terminal that is gone for ever, and whoever waits
/// for it with it.
pub(crate) struct Keyboard {
    events: mpsc::Receiver<Event>,
    reader: JoinHandle<()>,
}

impl Keyboard {
    /// Begins to read; what the terminal has yet to answer is passed over.
    pub(crate) fn open(mut late: Late) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let reader = tokio::spawn(async move {
            let mut stream = EventStream::new();
            while let Some(Ok(event)) = stream.next().await {
                if late.swallows(&event) {
                    continue;
                }
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        Self { events, reader }
    }

    /// The next event; `None` when the terminal cannot be read any more.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Reads no more: the keys are another program's.
    pub(crate) async fn close(self) {
        self.reader.abort();
        // How it ended does not matter: it was told to.
        drop(self.reader.await);
    }
}

/// Is told once, when the terminal is gone.
pub(crate) fn gone() -> io::Result<oneshot::Receiver<()>> {
    let terminal = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0)?;
    let (tell, told) = oneshot::channel();
    // It ends with the program.
    std::thread::Builder::new()
        .name("hangup".to_owned())
        .spawn(move || {
            // Nothing is asked for: what is always told, hangup and failure, is all that wakes it.
            let mut watched = [PollFd::new(&terminal, PollFlags::empty())];
            while poll(&mut watched, None).is_err_and(|error| error == rustix::io::Errno::INTR) {}
            // The loop is gone only when the program ends.
            let _ = tell.send(());
        })?;
    Ok(told)
}
