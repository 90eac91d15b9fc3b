//! Owns: the connection to the daemon: frames out in order, frames in with their descriptors.
//! Guarantees: never blocks; a daemon that does not read only loses doorbells, never a result.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use agent_jinit::wire::{FromJail, MAX_FRAME};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// One connection.
pub(crate) struct Link {
    pub(crate) fd: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    /// Where frames are received.
    buf: Vec<u8>,
}

/// What one read brought.
pub(crate) enum Received {
    Frame(Vec<u8>, Vec<OwnedFd>),
    Nothing,
    Gone,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            waiting: VecDeque::new(),
            buf: vec![0; MAX_FRAME],
        }
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends or queues.
    pub(crate) fn send(&mut self, frame: &FromJail) {
        self.hand_over(frame, None);
    }

    /// The same, with a descriptor.
    pub(crate) fn hand_over(&mut self, frame: &FromJail, fd: Option<OwnedFd>) {
        self.waiting.push_back((frame.encode(), fd));
        self.flush();
    }

    /// Sends now or not at all; says whether.
    pub(crate) fn ring(&mut self, frame: &FromJail) -> bool {
        self.waiting.is_empty() && self.push(&frame.encode(), None).is_ok()
    }

    pub(crate) fn flush(&mut self) {
        while let Some((frame, fd)) = self.waiting.pop_front() {
            match self.push(&frame, fd.as_ref()) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.waiting.push_front((frame, fd));
                    return;
                }
                // The reading side will notice that the daemon is gone.
                Err(_) => return,
            }
        }
    }

    fn push(&self, frame: &[u8], fd: Option<&OwnedFd>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fd = fd.map(|fd| [fd.as_fd()]);
        if let Some(fd) = &fd {
            control.push(SendAncillaryMessage::ScmRights(fd));
        }
        loop {
            match sendmsg(
                &self.fd,
                &[IoSlice::new(frame)],
                &mut control,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Err(Errno::INTR) => {}
                other => return other.map(|_| ()),
            }
        }
    }

    pub(crate) fn receive(&mut self) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(
            &self.fd,
            &mut [IoSliceMut::new(&mut self.buf)],
            &mut control,
            flags,
        ) {
            Ok(message) if message.bytes == 0 => Ok(Received::Gone),
            Ok(message) => {
                let mut fds = Vec::new();
                for part in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = part {
                        fds.extend(rights);
                    }
                }
                let frame = self.buf.get(..message.bytes).unwrap_or_default();
                Ok(Received::Frame(frame.to_vec(), fds))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(_) => Ok(Received::Gone),
        }
    }
}
