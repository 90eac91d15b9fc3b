//! Owns: reading a command's output to its end, whatever happens to the connection meanwhile.
//! Guarantees: every kept byte of each stream once, in order; then how the command ended.

use tonic::Streaming;

use crate::client::Client;
use crate::error::ClientError;
use crate::pb;
use crate::pb::read_output_response::Item;
use crate::resume::{Follow, Resume, Taken, Update, follow};
use crate::watch::Offsets;

/// What following a command yields; the result comes last.
pub type OutputUpdate = Update<Item>;
/// The output of a command.
pub type Output = Follow<Item>;

#[derive(Debug)]
struct OutputFollow {
    request: pb::ReadOutputRequest,
    offsets: Offsets,
}

impl Client {
    /// Reads a command's output from the request's offsets on. With `follow`, until it has ended.
    pub async fn read_output(&self, request: pb::ReadOutputRequest) -> Result<Output, ClientError> {
        follow(
            self.clone(),
            OutputFollow {
                request,
                offsets: Offsets::default(),
            },
        )
        .await
    }
}

impl Resume for OutputFollow {
    type Message = pb::ReadOutputResponse;
    type Item = Item;

    async fn open(
        &mut self,
        client: &Client,
        autostart: bool,
    ) -> Result<Streaming<pb::ReadOutputResponse>, ClientError> {
        client.open_read_output(self.request.clone(), autostart).await
    }

    fn take(&mut self, message: pb::ReadOutputResponse) -> Taken<Item> {
        match message.item {
            Some(Item::Screen(screen)) => {
                self.request.screen = false;
                self.request.stdout_offset = screen.offset;
                self.offsets.skip(&screen);
                Taken::CaughtUp(Item::Screen(screen))
            }
            Some(Item::Chunk(chunk)) => {
                self.request.screen = false;
                let Some(chunk) = self.offsets.fresh(chunk) else {
                    return Taken::Seen;
                };
                let next = chunk.offset + chunk.data.len() as u64;
                if chunk.stream() == pb::OutputStream::Stderr {
                    self.request.stderr_offset = next;
                } else {
                    self.request.stdout_offset = next;
                }
                // Any chunk proves that the line is up again.
                Taken::CaughtUp(Item::Chunk(chunk))
            }
            Some(held_up @ Item::HeldUp(_)) => Taken::CaughtUp(held_up),
            Some(result @ Item::Result(_)) => Taken::Last(result),
            None => Taken::Seen,
        }
    }

    fn may_end(&self) -> bool {
        !self.request.follow
    }
}
