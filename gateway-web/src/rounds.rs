//! Owns: streams for browsers behind a proxy that holds responses back until they end: the stream is cut into
//! short rounds, and the page asks for the next one from its cursor.
//! Guarantees: a round ends on a whole chunk with a proper grpc-web trailer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep};
use tonic::body::Body;

/// Asks for rounds.
pub(crate) const POLL: &str = "x-agentd-poll";
/// Longest silence of a round: below the time-outs of common proxies.
const LONGEST: Duration = Duration::from_secs(20);
/// After the first data: what follows at once comes along.
const LINGER: Duration = Duration::from_millis(60);
/// `grpc-status: 0` as a grpc-web trailer frame.
const TRAILER: &[u8] = b"\x80\0\0\0\x0fgrpc-status:0\r\n";

/// A body that ends soon after its first data.
pub(crate) struct Rounds {
    body: Body,
    end: Pin<Box<Sleep>>,
    seen: bool,
    ended: bool,
}

impl Rounds {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            end: Box::pin(tokio::time::sleep(LONGEST)),
            seen: false,
            ended: false,
        }
    }
}

impl http_body::Body for Rounds {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if !self.seen && matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    self.seen = true;
                    self.end.as_mut().reset(Instant::now() + LINGER);
                }
                Poll::Ready(frame)
            }
            Poll::Pending if self.end.as_mut().poll(cx).is_ready() => {
                self.ended = true;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(TRAILER)))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
