//! Owns: one output stream of a run: from its FIFO or terminal into the spool file, within the cap.
//! Guarantees: nothing is ever held in memory; up to the cap every byte is kept; past it the first half stays as it
//! is and the second half of the file becomes a ring of the newest bytes; the total is always exact; where the disk is
//! full the cap becomes what fitted, so that the file never holds a byte that was not written.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// Bigger pipes mean fewer turns of the loop; refused quietly where the user's pipe quota is used up.
const PIPE_SIZE: usize = 1024 * 1024;

/// One stream.
pub(crate) struct Stream {
    source: Option<OwnedFd>,
    spool: Option<File>,
    cap: u64,
    pub(crate) total: u64,
    seen_writer: bool,
}

impl Stream {
    pub(crate) fn new(source: OwnedFd, spool: Option<OwnedFd>, cap: u64) -> Self {
        let _refused = rustix::pipe::fcntl_setpipe_size(&source, PIPE_SIZE);
        Self {
            source: Some(source),
            spool: spool.map(File::from),
            cap: cap.max(2),
            total: 0,
            seen_writer: false,
        }
    }

    /// A stream that has ended before it began.
    pub(crate) fn closed() -> Self {
        Self {
            source: None,
            spool: None,
            cap: 2,
            total: 0,
            seen_writer: false,
        }
    }

    pub(crate) fn close(&mut self) {
        self.source = None;
    }

    pub(crate) fn source(&self) -> Option<&OwnedFd> {
        self.source.as_ref()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// Whether anybody ever opened the other end. Asks the pipe, so call it after the command ended.
    pub(crate) fn was_opened(&mut self, reopen: impl Fn() -> Option<OwnedFd>) -> bool {
        let Some(source) = &self.source else { return true };
        if self.seen_writer || hung_up(source) {
            return true;
        }
        // Never opened and "opened, still held" look the same. A writer of our own that comes and goes tells them apart:
        // the pipe hangs up afterwards only if nobody else holds it.
        drop(reopen());
        !hung_up(source)
    }

    /// Moves what is there. `budget` bounds the time away from the loop.
    pub(crate) fn pump(&mut self, buf: &mut [u8], mut budget: usize) {
        while budget > 0 {
            let Some(source) = &self.source else { return };
            match rustix::io::read(source, &mut *buf) {
                Ok(0) => {
                    // Zero also means "no writer yet".
                    if self.seen_writer || hung_up(source) {
                        self.source = None;
                    }
                    return;
                }
                Ok(n) => {
                    self.seen_writer = true;
                    let data = buf.get(..n).unwrap_or_default();
                    self.keep(data);
                    budget = budget.saturating_sub(n);
                }
                Err(Errno::INTR) => {}
                // A terminal whose last user is gone.
                Err(Errno::IO) => {
                    self.source = None;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Takes bytes that came by another way than the source, too: what a shell says while it ends.
    pub(crate) fn keep(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let half = self.cap / 2;
            let ring = self.cap - half;
            let (at, room) = if self.total < self.cap {
                (self.total, self.cap - self.total)
            } else if ring == 0 {
                self.total += data.len() as u64;
                return;
            } else {
                let into = (self.total - half) % ring;
                (half + into, ring - into)
            };
            let n = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let (now, _) = data.split_at(n);
            let written = self.write(now, at);
            if written < n {
                self.disk_full(at + written as u64);
            }
            self.total += written as u64;
            data = data.get(written..).unwrap_or_default();
        }
    }

    /// How many bytes made it to the disk.
    fn write(&self, data: &[u8], at: u64) -> usize {
        let Some(spool) = &self.spool else {
            return data.len();
        };
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|r| !r.is_empty()) {
            match spool.write_at(rest, at + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done
    }

    /// The command goes on; from here on the file is a ring over what it has. Where even that can't be written over
    /// (a file system that copies on write), nothing is kept: better than bytes of another time.
    fn disk_full(&mut self, len: u64) {
        self.cap = if self.total < self.cap && len >= 2 { len } else { 0 };
        if let Some(spool) = &self.spool {
            let _stays_longer = spool.set_len(self.cap);
        }
    }
}

fn hung_up(fd: &OwnedFd) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && polled.iter().any(|p| p.revents().contains(PollFlags::HUP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_cap_the_head_stays_and_the_newest_bytes_go_round() {
        let (_rx, _tx) = rustix::pipe::pipe().unwrap();
        let file = tempfile();
        let mut stream = Stream::new(_rx, Some(file.try_clone().unwrap().into()), 8);
        stream.keep(b"abcdefgh");
        stream.keep(b"ijk");
        let mut all = [0; 8];
        file.read_exact_at(&mut all, 0).unwrap();
        assert_eq!((&all, stream.total), (b"abcdijkh", 11));
    }

    #[test]
    fn a_full_disk_makes_the_file_a_ring_over_what_fitted() {
        let (rx, _tx) = rustix::pipe::pipe().unwrap();
        let fd = rustix::fs::memfd_create("t", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        let file = File::from(fd);
        file.set_len(4096).unwrap();
        rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::GROW).unwrap();
        let mut stream = Stream::new(rx, Some(file.try_clone().unwrap().into()), 1 << 20);
        let text: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
        for piece in text.chunks(1000) {
            stream.keep(piece);
        }
        assert_eq!((stream.total, stream.cap), (10_000, 4096));
        let mut all = vec![0; 4096];
        file.read_exact_at(&mut all, 0).unwrap();
        assert_eq!(all[..2048], text[..2048]);
        let turn = (10_000 - 2048) % 2048;
        all[2048..].rotate_left(turn);
        assert_eq!(all[2048..], text[10_000 - 2048..]);
        // Nothing at all can be written.
        let (rx, _tx) = rustix::pipe::pipe().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut stream = Stream::new(rx, Some(full.into()), 100);
        stream.keep(b"abc");
        assert_eq!((stream.total, stream.cap), (3, 0));
    }

    fn tempfile() -> File {
        File::from(rustix::fs::memfd_create("t", rustix::fs::MemfdFlags::CLOEXEC).unwrap())
    }
}
