//! Owns: drawing a command's terminal: its screen first where one comes late, then its bytes, and the credit for more.
//! Guarantees: what was taken before is acknowledged when the next thing is asked for, so a slow drawer is never
//! flooded; across lost connections and restarts every byte comes once, or a screen that stands for those missed.

use bytes::Bytes;
use tokio::sync::watch;

use crate::client::Client;
use crate::error::ClientError;
use crate::output::Output;
use crate::pb;
use crate::pb::read_output_response::Item;
use crate::resume::Update;

/// Bytes drawn before they are acknowledged; the daemon stops at four times as much.
const OFTEN: u64 = 64 * 1024;

/// What to do with the terminal in hand.
#[derive(Debug, Clone, PartialEq)]
pub enum Drawn {
    /// Reset it, then write these.
    Screen(pb::TerminalScreen),
    /// Write these.
    Bytes(Bytes),
    /// The command has ended; nothing follows.
    Ended(pb::ExecResult),
}

/// A command's terminal as it is drawn. Dropping it leaves the command as it is.
#[derive(Debug)]
pub struct Terminal {
    output: Output,
    /// Offset behind the last thing that was handed out.
    taken: u64,
    acked: u64,
    acks: watch::Sender<u64>,
}

impl Client {
    /// Draws a command's terminal: one that was just opened from its first byte, one that was `joined` from its screen.
    pub async fn terminal(
        &self,
        session_id: &str,
        exec_id: &str,
        joined: bool,
    ) -> Result<Terminal, ClientError> {
        let viewer = crate::id::request_id();
        let request = pb::ReadOutputRequest {
            session_id: session_id.to_owned(),
            exec_id: exec_id.to_owned(),
            follow: true,
            viewer: viewer.clone(),
            screen: joined,
            ..Default::default()
        };
        let output = self.read_output(request).await?;
        let (acks, mut wanted) = watch::channel(0);
        let client = self.clone();
        let mut request = pb::AckOutputRequest {
            session_id: session_id.to_owned(),
            exec_id: exec_id.to_owned(),
            viewer,
            offset: 0,
        };
        // Beside the reading, the newest only: a slow answer holds up nothing, and a lost one is made good by the next
        // or by the stream that is opened anew.
        tokio::spawn(async move {
            while wanted.changed().await.is_ok() {
                request.offset = *wanted.borrow_and_update();
                drop(client.ack_output(request.clone()).await);
            }
        });
        Ok(Terminal {
            output,
            taken: 0,
            acked: 0,
            acks,
        })
    }
}

impl Terminal {
    /// The next thing. What came before counts as drawn. Can be cancelled without losing anything.
    pub async fn next(&mut self) -> Option<Result<Update<Drawn>, ClientError>> {
        loop {
            if let Some(update) = self.update().await? {
                return Some(update);
            }
        }
    }

    /// The same, one message at a time: `Some(None)` says nothing to who draws.
    async fn update(&mut self) -> Option<Option<Result<Update<Drawn>, ClientError>>> {
        if self.taken >= self.acked.saturating_add(OFTEN) {
            self.acked = self.taken;
            self.acks.send_replace(self.taken);
        }
        let update = match self.output.next().await? {
            Ok(update) => update,
            Err(error) => return Some(Some(Err(error))),
        };
        Some(Some(Ok(match update {
            Update::Item(Item::Chunk(chunk)) => {
                self.taken = chunk.offset.saturating_add(chunk.data.len() as u64);
                Update::Item(Drawn::Bytes(chunk.data))
            }
            Update::Item(Item::Screen(screen)) => {
                self.taken = screen.offset;
                Update::Item(Drawn::Screen(screen))
            }
            Update::Item(Item::HeldUp(_)) => return Some(None),
            Update::Item(Item::Result(result)) => Update::Item(Drawn::Ended(result)),
            Update::Reconnecting { attempt, wait } => Update::Reconnecting { attempt, wait },
            Update::Back { events } => Update::Back { events },
        })))
    }
}
