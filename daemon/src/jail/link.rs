//! Owns: the daemon's end of a Jail's control socket.
//! Guarantees: frames come out in the order jinit sent them; the stream of frames ends when the Jail does.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use agent_jinit::wire::{FromJail, MAX_FRAME, ToJail};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::durable::Point;

/// Longest socket path the kernel takes, without the closing zero.
pub const MAX_SOCKET_PATH: usize = 107;

/// The sending half.
#[derive(Debug, Clone)]
pub struct Link {
    fd: Arc<AsyncFd<OwnedFd>>,
}

/// The control socket, bound and listening, for jinit to inherit.
pub(super) fn listen(path: &Path) -> std::io::Result<OwnedFd> {
    let fd = socket()?;
    rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&fd, 4)?;
    Ok(fd)
}

/// Tells the Jail at `path` to end and waits until it has, or `limit` is over. False when none was there.
pub(super) fn end_and_wait(path: &Path, limit: std::time::Duration) -> bool {
    let Ok(address) = SocketAddrUnix::new(path) else {
        return false;
    };
    let Ok(fd) = socket() else { return false };
    if rustix::net::connect(&fd, &address).is_err() {
        return false;
    }
    let _passing = Point::SendEnd.pass();
    let _dying = rustix::net::send(&fd, &ToJail::End.encode(), SendFlags::NOSIGNAL);
    let until = std::time::Instant::now() + limit;
    let mut frame = [0; 1024];
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let wait = rustix::event::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut polled = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&wait)) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return true,
        }
        // Its Hello may come first; nothing at all is its end.
        match rustix::net::recv(&fd, &mut frame[..], RecvFlags::empty()) {
            Ok((_, 0)) => return true,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return true,
        }
    }
}

/// A descriptor in the runtime's care.
#[expect(
    deprecated,
    reason = "the replacement is unsafe; the reason for it does not touch an OwnedFd, which can't lie"
)]
pub(super) fn watched(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

fn socket() -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

impl Link {
    /// Connects; the receiver yields every frame until the Jail is gone or another daemon took over.
    pub(super) fn connect(path: &Path) -> std::io::Result<(Self, mpsc::UnboundedReceiver<FromJail>)> {
        let fd = socket()?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)?;
        let fd = Arc::new(watched(fd)?);
        #[expect(
            clippy::disallowed_methods,
            reason = "frames are few and small; a bounded queue could make jinit wait for us"
        )]
        let (tx, rx) = mpsc::unbounded_channel();
        tokio::spawn(read_all(Arc::clone(&fd), tx));
        Ok((Self { fd }, rx))
    }

    /// Sends one frame with descriptors.
    ///
    /// # Errors
    /// When the Jail is gone.
    pub async fn send(&self, frame: &ToJail, fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
        let _passing = point_of(frame).pass();
        let bytes = frame.encode();
        loop {
            let mut guard = self.fd.writable().await?;
            let sent = guard.try_io(|fd| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !fds.is_empty() {
                    control.push(SendAncillaryMessage::ScmRights(fds));
                }
                let parts = [IoSlice::new(&bytes)];
                Ok(rustix::net::sendmsg(
                    fd.as_fd(),
                    &parts,
                    &mut control,
                    SendFlags::NOSIGNAL,
                )?)
            });
            match sent {
                Ok(result) => return result.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}

/// Where a frame to a Jail leaves us.
fn point_of(frame: &ToJail) -> Point {
    match frame {
        ToJail::Run(_) => Point::SendRun,
        ToJail::Input { .. } | ToJail::Write { .. } => Point::SendInput,
        ToJail::Resize { .. } => Point::SendResize,
        ToJail::Interrupt { .. } => Point::SendInterrupt,
        ToJail::Spawn { .. } => Point::SendSpawn,
        ToJail::Ack { .. } => Point::SendAck,
        ToJail::End => Point::SendEnd,
        ToJail::Retire => Point::SendRetire,
        ToJail::Heal => Point::SendHeal,
        ToJail::Rest => Point::SendRest,
        ToJail::Freeze => Point::SendFreeze,
        ToJail::Thaw => Point::SendThaw,
        ToJail::Jobs | ToJail::EndJob { .. } => Point::SendJobs,
    }
}

/// Where a frame of a Jail is acted upon.
pub(crate) fn hearing_of(frame: &FromJail) -> Point {
    match frame {
        FromJail::Hello { .. } => Point::HearHello,
        FromJail::Ready => Point::HearReady,
        FromJail::Running { .. } => Point::HearRunning,
        // News of a run that is under way.
        FromJail::Progress { .. } | FromJail::Limit { .. } => Point::HearProgress,
        FromJail::Finished { .. } => Point::HearFinished,
        FromJail::Closed { .. } => Point::HearClosed,
        FromJail::Refused { .. } => Point::HearRefused,
        FromJail::ShellGone { .. } => Point::HearShellGone,
        FromJail::Busy => Point::HearBusy,
        FromJail::Resting { .. } => Point::HearResting,
        FromJail::Written { .. } => Point::HearWritten,
        FromJail::Waiting { .. } => Point::HearWaiting,
        FromJail::Jobs { .. } => Point::HearJobs,
    }
}

async fn read_all(fd: Arc<AsyncFd<OwnedFd>>, tx: mpsc::UnboundedSender<FromJail>) {
    let mut buf = vec![0; MAX_FRAME];
    loop {
        let ready = tokio::select! {
            ready = fd.readable() => ready,
            // Nobody listens any more: let the socket go.
            () = tx.closed() => return,
        };
        let Ok(mut guard) = ready else { return };
        let got = guard.try_io(|fd| {
            let mut none = RecvAncillaryBuffer::default();
            let mut parts = [IoSliceMut::new(&mut buf)];
            match rustix::net::recvmsg(fd.as_fd(), &mut parts, &mut none, RecvFlags::empty()) {
                Err(Errno::INTR) => Ok(None),
                Err(error) => Err(error.into()),
                Ok(message) => Ok(Some(message.bytes)),
            }
        });
        match got {
            Ok(Ok(None)) | Err(_) => {}
            Ok(Ok(Some(0)) | Err(_)) => return,
            Ok(Ok(Some(n))) => match FromJail::decode(buf.get(..n).unwrap_or_default()) {
                Ok(frame) => {
                    if tx.send(frame).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "dropping the control connection of a jail");
                    return;
                }
            },
        }
    }
}
