//! Owns: text on its way to one command: several writers, one pipe or terminal.
//! Guarantees: each writer's bytes are taken once and in order, however often they are sent; a writer is answered when there
//! is room for more, so a command that does not read holds its writers up and costs no more than what they had sent.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use agent_jinit::wire::Taken;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// With less than this on its way there is room for more.
const ROOM: usize = 256 * 1024;
/// What writers that do not wait for their answers may heap up.
const MAX_WAITING: usize = 64 * 1024 * 1024;
/// Each costs some memory until the run ends.
const MAX_WRITERS: usize = 1000;
/// On a terminal the end of input is a keystroke.
const END_OF_INPUT: u8 = 4;

/// Text on its way to a command.
pub(crate) struct Input {
    /// Absent until the command has opened its end.
    pub(crate) pipe: Option<OwnedFd>,
    path: Option<PathBuf>,
    waiting: VecDeque<u8>,
    /// Bytes taken of each writer.
    writers: BTreeMap<String, u64>,
    /// Writers that wait for an answer, in order.
    owed: Vec<String>,
    /// Bytes taken in all.
    pub(crate) taken: u64,
    eof: bool,
    pub(crate) done: bool,
}

impl Input {
    /// Through a FIFO that the command opens in its time.
    pub(crate) fn pipe(path: PathBuf) -> Self {
        Self::new(None, Some(path))
    }

    /// Through a terminal.
    pub(crate) fn terminal(master: OwnedFd) -> Self {
        Self::new(Some(master), None)
    }

    fn new(pipe: Option<OwnedFd>, path: Option<PathBuf>) -> Self {
        Self {
            pipe,
            path,
            waiting: VecDeque::new(),
            writers: BTreeMap::new(),
            owed: Vec::new(),
            taken: 0,
            eof: false,
            done: false,
        }
    }

    /// True while there is something that the command has not taken from us.
    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes what is new in a write, and gives it. Its answer is the last of [`Input::answers`].
    pub(crate) fn write<'a>(&mut self, writer: &str, offset: u64, data: &'a [u8], eof: bool) -> &'a [u8] {
        self.owed.push(writer.to_owned());
        if !self.writers.contains_key(writer) {
            if self.writers.len() >= MAX_WRITERS {
                return &[];
            }
            self.writers.insert(writer.to_owned(), 0);
        }
        let Some(known) = self.writers.get_mut(writer).filter(|known| offset <= **known) else {
            return &[];
        };
        let seen = usize::try_from(*known - offset).unwrap_or(usize::MAX);
        let fresh = data.get(seen..).unwrap_or_default();
        if self.done || (!fresh.is_empty() && self.waiting.len() >= MAX_WAITING) {
            return &[];
        }
        self.waiting.extend(fresh);
        *known += fresh.len() as u64;
        self.taken += fresh.len() as u64;
        if eof && !self.eof {
            self.eof = true;
            if self.path.is_none() {
                self.waiting.push_back(END_OF_INPUT);
            }
        }
        self.flush();
        fresh
    }

    /// Answers that are due: all that is owed, once there is room or no more to come.
    pub(crate) fn answers(&mut self) -> Vec<(String, Taken)> {
        if !self.done && self.waiting.len() > ROOM {
            return Vec::new();
        }
        let owed = std::mem::take(&mut self.owed);
        owed.into_iter()
            .map(|writer| {
                let taken = match self.writers.get(&writer) {
                    // What was taken stays taken; only more is refused.
                    Some(next) if !self.done || self.eof => Taken::Next(*next),
                    _ => Taken::Closed,
                };
                (writer, taken)
            })
            .collect()
    }

    /// Nothing more will be read.
    pub(crate) fn close(&mut self) {
        self.waiting.clear();
        self.pipe = None;
        self.done = true;
    }

    /// Opens, writes, closes: as far as it goes now.
    pub(crate) fn flush(&mut self) {
        if self.done {
            return;
        }
        if self.pipe.is_none() {
            let Some(path) = &self.path else { return };
            // Refused (ENXIO) until the shell is opening the other end.
            match rustix::fs::open(
                path,
                OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
                Mode::empty(),
            ) {
                Ok(fd) => self.pipe = Some(fd),
                Err(_) => return,
            }
        }
        let Some(pipe) = &self.pipe else { return };
        while !self.waiting.is_empty() {
            let (chunk, _) = self.waiting.as_slices();
            match rustix::io::write(pipe, chunk) {
                Ok(n) => drop(self.waiting.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.close(),
            }
        }
        if self.eof && self.path.is_some() {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, Input) {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        (read, Input::terminal(write))
    }

    fn read(from: &OwnedFd) -> Vec<u8> {
        let mut all = Vec::new();
        let mut piece = vec![0; 1 << 20];
        while let Ok(n) = rustix::io::read(from, &mut *piece) {
            all.extend_from_slice(&piece[..n]);
            if n == 0 {
                break;
            }
        }
        all
    }

    #[test]
    fn what_a_writer_sends_twice_is_taken_once_and_others_are_not_confused() {
        let (out, mut input) = pipe();
        input.write("a", 0, b"one ", false);
        input.write("b", 0, b"two ", false);
        input.write("a", 0, b"one three ", false);
        assert_eq!(read(&out), b"one two three ");
        let next = input.answers();
        assert_eq!(next.last(), Some(&("a".to_owned(), Taken::Next(10))));
        // A gap is answered with where the writer stands.
        input.write("b", 9, b"lost", false);
        assert_eq!(input.answers(), [("b".to_owned(), Taken::Next(4))]);
        assert_eq!(read(&out), b"");
    }

    #[test]
    fn a_command_that_does_not_read_holds_its_writer_up() {
        let (out, mut input) = pipe();
        let block = vec![7; 600 * 1024];
        input.write("a", 0, &block, false);
        assert_eq!(input.answers(), []);
        let mut got = read(&out);
        input.flush();
        got.extend(read(&out));
        while input.is_behind() {
            input.flush();
            got.extend(read(&out));
        }
        assert_eq!(got, block);
        assert_eq!(input.answers(), [("a".to_owned(), Taken::Next(600 * 1024))]);
        drop(out);
        input.write("a", 600 * 1024, b"more", false);
        assert_eq!(input.answers(), [("a".to_owned(), Taken::Closed)]);
    }
}
