//! Owns: following a stream for ever: cursor, reconnect with backoff, no gap, no duplicate.
//! Guarantees: what comes out is what an unbroken stream would have given, with marks where the line was
//! down; `next` can be cancelled without losing anything.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Streaming;

use crate::client::Client;
use crate::error::{Cause, ClientError};
use crate::pb::ErrorReason;

/// First and longest wait between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// From this attempt on a daemon that is not there is started: the first misses are a restart.
const AUTOSTART_FROM: u32 = 2;
/// Items that may wait for a slow reader; the daemon holds the rest.
const QUEUE: usize = 256;

/// One thing a follower learns.
#[derive(Debug, Clone, PartialEq)]
pub enum Update<T> {
    /// Something new.
    Item(T),
    /// The line is down; this attempt is made after `wait`.
    Reconnecting {
        /// Number of the coming attempt, from 1.
        attempt: u32,
        /// How long until then.
        wait: Duration,
    },
    /// The line is up again and nothing was missed.
    Back {
        /// New items that were caught up.
        events: u64,
    },
}

/// What a message of the stream means to the cursor.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    /// New: pass it on.
    New(T),
    /// New, and everything before the present moment has now been seen.
    CaughtUp(T),
    /// Seen before the line broke.
    Seen,
    /// Something between the cursor and this message is missing: ask again from the cursor.
    Gap,
    /// New, and the stream ends here for good.
    Last(T),
}

/// A stream that can be opened again where it broke.
pub(crate) trait Resume: Send + 'static {
    type Message: Send + 'static;
    type Item: Send + 'static;
    /// Opens the stream from the cursor on.
    fn open(
        &mut self,
        client: &Client,
        autostart: bool,
    ) -> impl Future<Output = Result<Streaming<Self::Message>, ClientError>> + Send;
    /// Moves the cursor.
    fn take(&mut self, message: Self::Message) -> Taken<Self::Item>;
    /// True when the daemon may end the stream by itself.
    fn may_end(&self) -> bool {
        false
    }
}

/// A follower. Dropping it ends the following.
#[derive(Debug)]
pub struct Follow<T> {
    updates: mpsc::Receiver<Result<Update<T>, ClientError>>,
}

impl<T> Follow<T> {
    /// The next update; `None` at the end of something that ends; an error when the daemon refuses.
    pub async fn next(&mut self) -> Option<Result<Update<T>, ClientError>> {
        self.updates.recv().await
    }
}

/// Opens the stream, so that a refusal is told at once, and then follows it. A daemon that never answered is not waited for;
/// one that went away since may be restarting.
pub(crate) async fn follow<R: Resume>(client: Client, mut source: R) -> Result<Follow<R::Item>, ClientError> {
    let stream = match source.open(&client, true).await {
        Err(error) if !(error.is_transient() && client.was_connected().await) => return Err(error),
        opened => opened,
    };
    let (sender, updates) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let gone = sender.clone();
        tokio::select! {
            () = run(client, source, stream, sender) => {}
            () = gone.closed() => {}
        }
    });
    Ok(Follow { updates })
}

type Sender<T> = mpsc::Sender<Result<Update<T>, ClientError>>;

async fn run<R: Resume>(
    client: Client,
    mut source: R,
    mut opened: Result<Streaming<R::Message>, ClientError>,
    sender: Sender<R::Item>,
) {
    let mut attempt = 0_u32;
    let mut gaps = 0_u32;
    let mut caught_up = 0_u64;
    loop {
        let broken = loop {
            let stream = match &mut opened {
                Ok(stream) => stream,
                Err(error) => break error.clone(),
            };
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) if source.may_end() => return,
                Ok(None) => break lost("the daemon ended the stream"),
                Err(status) => break ClientError::from(status),
            };
            let (item, mark, last) = match source.take(message) {
                Taken::Seen => continue,
                Taken::Gap => {
                    gaps += 1;
                    break lost("the daemon skipped an event");
                }
                Taken::New(item) => (item, false, false),
                Taken::CaughtUp(item) => (item, true, false),
                Taken::Last(item) => (item, true, true),
            };
            if attempt > 0 && mark {
                if sender.send(Ok(Update::Back { events: caught_up })).await.is_err() {
                    return;
                }
                attempt = 0;
            }
            caught_up += 1;
            if sender.send(Ok(Update::Item(item))).await.is_err() || last {
                return;
            }
        };
        // A log with a hole is not a matter of patience.
        if !broken.is_transient() || gaps > 3 {
            drop(sender.send(Err(broken)).await);
            return;
        }
        client.reset().await;
        // Somebody stopped that daemon on purpose: wait for them to start it, do not undo it.
        let stopped = broken.is(ErrorReason::ShuttingDown);
        caught_up = 0;
        opened = loop {
            attempt += 1;
            let wait = backoff(attempt);
            if sender
                .send(Ok(Update::Reconnecting { attempt, wait }))
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(wait).await;
            match source.open(&client, !stopped && attempt >= AUTOSTART_FROM).await {
                Ok(stream) => break Ok(stream),
                Err(error) if error.is_transient() => client.reset().await,
                Err(error) => {
                    drop(sender.send(Err(error)).await);
                    return;
                }
            }
        };
    }
}

fn lost(message: &str) -> ClientError {
    ClientError {
        cause: Cause::Lost,
        code: "connection_lost".to_owned(),
        message: message.to_owned(),
        hints: vec!["agentctl daemon status".to_owned()],
    }
}

fn backoff(attempt: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
    BACKOFF.0.saturating_mul(factor).min(BACKOFF.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_quarter_second_to_five() {
        let waits: Vec<u128> = (1..=7).map(|n| backoff(n).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(backoff(u32::MAX), BACKOFF.1);
    }
}
