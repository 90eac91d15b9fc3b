//! Owns: moving bytes between two sockets, both ways, counted.
//! Guarantees: the bytes never come into our memory, but for those that we encrypt ourselves; an end in one direction is passed on and the other goes on; nobody
//! waits for a peer that is gone.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::upstream::Outer;

/// Bytes on their way in one direction. Pipes count against the user's quota, so not more.
const PIPE: usize = 256 * 1024;
/// Bytes that are copied at a time, where they have to be.
const COPIED: usize = 64 * 1024;

/// What went which way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// From the first socket to the second.
    pub(super) sent: AtomicU64,
    /// From the second to the first.
    pub(super) received: AtomicU64,
}

/// Moves bytes until both sides are through or one fails. `early` was read from `inner` before.
pub(super) async fn relay(inner: TcpStream, outer: Outer, early: &[u8], counts: &Counts) -> io::Result<()> {
    match outer {
        Either::Left(outer) => spliced(inner, outer, early, counts).await,
        Either::Right(outer) => copied(inner, outer, early, counts).await,
    }
}

async fn spliced(inner: TcpStream, mut outer: TcpStream, early: &[u8], counts: &Counts) -> io::Result<()> {
    for stream in [&inner, &outer] {
        // What comes in small pieces waits for no answer to the piece before. A socket that refuses is only slower.
        let _slower = stream.set_nodelay(true);
    }
    if !early.is_empty() {
        outer.write_all(early).await?;
        counts.sent.fetch_add(early.len() as u64, Ordering::Relaxed);
    }
    let (inner, outer) = (&inner, &outer);
    tokio::try_join!(
        one_way(inner, outer, &counts.sent),
        one_way(outer, inner, &counts.received)
    )?;
    Ok(())
}

/// The same where one side is encrypted by us, so that its bytes have to come by here.
async fn copied<S>(inner: TcpStream, mut outer: S, early: &[u8], counts: &Counts) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _slower = inner.set_nodelay(true);
    if !early.is_empty() {
        outer.write_all(early).await?;
        outer.flush().await?;
        counts.sent.fetch_add(early.len() as u64, Ordering::Relaxed);
    }
    let ((from_inner, to_inner), (from_outer, to_outer)) = (inner.into_split(), tokio::io::split(outer));
    tokio::try_join!(
        copy(from_inner, to_outer, &counts.sent),
        copy(from_outer, to_inner, &counts.received)
    )?;
    Ok(())
}

async fn copy<R, W>(mut from: R, mut to: W, count: &AtomicU64) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut piece = vec![0; COPIED];
    loop {
        let n = from.read(&mut piece).await?;
        if n == 0 {
            // A peer that is gone hears no end.
            let _gone = to.shutdown().await;
            return Ok(());
        }
        to.write_all(piece.get(..n).unwrap_or_default()).await?;
        to.flush().await?;
        count.fetch_add(n as u64, Ordering::Relaxed);
    }
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
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (dialled, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_and_ends_go_both_ways_and_are_counted() {
        for splices in [true, false] {
            both_ways(splices).await;
        }
    }

    async fn both_ways(splices: bool) {
        let ((mut program, inner), (outer, mut server)) = (pair().await, pair().await);
        let moving = tokio::spawn(async move {
            let counts = Counts::default();
            if splices {
                spliced(inner, outer, b"he", &counts).await.unwrap();
            } else {
                copied(inner, outer, b"he", &counts).await.unwrap();
            }
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
