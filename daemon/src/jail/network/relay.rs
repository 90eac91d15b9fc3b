//! Owns: moving bytes between two sockets, both ways, counted.
//! Guarantees: the bytes never come into our memory; an end in one direction is passed on and the other goes on; nobody
//! waits for a peer that is gone.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// Bytes on their way in one direction. Pipes count against the user's quota, so not more.
const PIPE: usize = 256 * 1024;

/// What went which way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// From the first socket to the second.
    pub(super) sent: AtomicU64,
    /// From the second to the first.
    pub(super) received: AtomicU64,
}

/// Moves bytes until both sides are through or one fails. `early` was read from `inner` before.
pub(super) async fn relay(
    mut inner: TcpStream,
    mut outer: TcpStream,
    early: &[u8],
    counts: &Counts,
) -> io::Result<()> {
    if !early.is_empty() {
        outer.write_all(early).await?;
        counts.sent.fetch_add(early.len() as u64, Ordering::Relaxed);
    }
    let (inner, outer) = (&mut inner, &mut outer);
    tokio::try_join!(
        one_way(inner, outer, &counts.sent),
        one_way(outer, inner, &counts.received)
    )?;
    Ok(())
}

async fn one_way(from: &TcpStream, to: &TcpStream, count: &AtomicU64) -> io::Result<()> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let _smaller = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        let take = || {
            Ok(rustix::pipe::splice(
                from.as_fd(),
                None,
                &write,
                None,
                PIPE,
                flags,
            )?)
        };
        let mut left = from.async_io(Interest::READABLE, take).await?;
        if left == 0 {
            // A peer that is gone hears no end.
            let _gone = rustix::net::shutdown(to.as_fd(), Shutdown::Write);
            return Ok(());
        }
        while left > 0 {
            let give = || Ok(rustix::pipe::splice(&read, None, to.as_fd(), None, left, flags)?);
            let gone = to.async_io(Interest::WRITABLE, give).await?;
            if gone == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            count.fetch_add(gone as u64, Ordering::Relaxed);
            left = left.saturating_sub(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (dialled, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_and_ends_go_both_ways_and_are_counted() {
        let ((mut program, inner), (outer, mut server)) = (pair().await, pair().await);
        let moving = tokio::spawn(async move {
            let counts = Counts::default();
            relay(inner, outer, b"he", &counts).await.unwrap();
            (counts.sent.into_inner(), counts.received.into_inner())
        });
        program.write_all(b"llo").await.unwrap();
        program.shutdown().await.unwrap();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"hello");
        // The other direction outlives the end of the first.
        let long = vec![7; 3_000_000];
        let (wrote, read) = tokio::join!(
            async {
                server.write_all(&long).await.unwrap();
                server.shutdown().await.unwrap();
            },
            async {
                let mut back = Vec::new();
                program.read_to_end(&mut back).await.unwrap();
                back
            }
        );
        let () = wrote;
        assert_eq!(read, long);
        assert_eq!(moving.await.unwrap(), (5, 3_000_000));
    }
}
