//! Owns: input on its way to a run: handed to jinit in pieces that fit, answered when jinit has them.
//! Guarantees: a writer is answered once what it wrote is out of this process's hands, so no end of the daemon loses it;
//! what a run that had to be begun again did not get is sent again.

use std::collections::{HashMap, VecDeque};

use agent_jinit::wire::{MAX_INPUT, Taken, ToJail};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::ShellError;
use super::actor::Actor;

/// What one writer sends at once.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(super) exec: String,
    pub(super) writer: String,
    /// Of all that this writer ever sent.
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    pub(super) eof: bool,
}

/// Where the writer waits for the offset of its next byte.
pub(crate) type Answer = oneshot::Sender<Result<u64, ShellError>>;

/// A piece that jinit has not answered yet.
#[derive(Debug)]
pub(super) struct Owed {
    piece: Piece,
    answer: Answer,
    /// Answers to come: one for each frame.
    left: usize,
    again: bool,
}

/// Pieces on their way, by run and writer, and what is known of writers to a jail of the first release.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    owed: HashMap<(String, String), VecDeque<Owed>>,
    old: HashMap<(String, String), u64>,
}

impl Inputs {
    /// The run is over: nobody is answered any more.
    pub(super) fn forget(&mut self, exec: &str) {
        self.owed.retain(|(of, _), _| of != exec);
        self.old.retain(|(of, _), _| of != exec);
    }
}

impl Piece {
    fn frames(&self) -> Vec<ToJail> {
        let mut rest = self.bytes.clone();
        let mut offset = self.offset;
        let mut frames = Vec::new();
        loop {
            let data = rest.split_to(rest.len().min(MAX_INPUT));
            frames.push(ToJail::Write {
                exec: self.exec.clone(),
                writer: self.writer.clone(),
                offset,
                data: data.to_vec(),
                eof: self.eof && rest.is_empty(),
            });
            offset = offset.saturating_add(data.len() as u64);
            if rest.is_empty() {
                return frames;
            }
        }
    }
}

impl Actor {
    /// Takes input for a run: kept while the run waits for its turn.
    pub(super) async fn input(&mut self, piece: Piece, answer: Answer) {
        if let Some(job) = self.queue.iter_mut().find(|job| job.exec.as_str() == piece.exec) {
            job.early.push((piece, answer));
        } else if self.jobs.get(&piece.exec).is_some_and(|job| !job.finished) {
            self.hand_over(piece, answer, false).await;
        } else {
            let _gone = answer.send(Err(ShellError::NoSuchRun));
        }
    }

    async fn hand_over(&mut self, piece: Piece, answer: Answer, again: bool) {
        let Some(jail) = &self.jail else { return };
        if !jail.answers() {
            return self.hand_to_old(piece, answer).await;
        }
        let frames = piece.frames();
        let owed = Owed {
            left: frames.len(),
            answer,
            again,
            piece,
        };
        let writer = (owed.piece.exec.clone(), owed.piece.writer.clone());
        self.inputs.owed.entry(writer).or_default().push_back(owed);
        for frame in frames {
            self.tell(&frame).await;
        }
    }

    /// A jail of the first release counts nothing and answers nothing; the first offset that comes is believed.
    async fn hand_to_old(&mut self, piece: Piece, answer: Answer) {
        let writer = (piece.exec.clone(), piece.writer.clone());
        let next = *self.inputs.old.entry(writer.clone()).or_insert(piece.offset);
        if piece.offset <= next {
            let seen = usize::try_from(next - piece.offset).unwrap_or(usize::MAX);
            let fresh = piece.bytes.slice(seen.min(piece.bytes.len())..);
            self.inputs.old.insert(writer, next + fresh.len() as u64);
            let mut chunks = fresh.chunks(MAX_INPUT).peekable();
            let mut more = !fresh.is_empty() || piece.eof;
            while more {
                let data = chunks.next().unwrap_or_default().to_vec();
                more = chunks.peek().is_some();
                let frame = ToJail::Input {
                    exec: piece.exec.clone(),
                    // After whatever was written before.
                    offset: u64::MAX,
                    data,
                    eof: piece.eof && !more,
                };
                self.tell(&frame).await;
            }
        }
        let end = piece.offset.saturating_add(piece.bytes.len() as u64);
        let _gone = answer.send(Ok(if piece.offset <= next { end.max(next) } else { next }));
    }

    /// What came before a run's turn.
    pub(super) async fn hand_over_early(&mut self, early: Vec<(Piece, Answer)>) {
        for (piece, answer) in early {
            self.hand_over(piece, answer, false).await;
        }
    }

    /// jinit answers one frame.
    pub(super) async fn written(&mut self, exec: String, writer: String, taken: Taken) {
        let key = (exec, writer);
        let Some(waiting) = self.inputs.owed.get_mut(&key) else {
            return;
        };
        let Some(first) = waiting.front_mut() else { return };
        first.left = first.left.saturating_sub(1);
        if first.left > 0 {
            return;
        }
        let Some(owed) = waiting.pop_front() else { return };
        if waiting.is_empty() {
            self.inputs.owed.remove(&key);
        }
        let (exec, _) = key;
        match taken {
            Taken::Next(next) => {
                if let Some(job) = self.jobs.get_mut(&exec) {
                    job.fed = true;
                }
                let _gone = owed.answer.send(Ok(next));
            }
            // The run was refused, and begins again.
            Taken::Closed if !owed.again && self.begins_again(&exec) => {
                if let Some(job) = self.queue.iter_mut().find(|job| job.exec.as_str() == exec) {
                    job.early.push((owed.piece, owed.answer));
                } else {
                    self.hand_over(owed.piece, owed.answer, true).await;
                }
            }
            Taken::Closed => {
                let _gone = owed.answer.send(Err(ShellError::InputClosed));
            }
        }
    }

    fn begins_again(&self, exec: &str) -> bool {
        let queued = self.queue.iter().any(|job| job.exec.as_str() == exec);
        queued
            || self
                .jobs
                .get(exec)
                .is_some_and(|job| job.retried && !job.finished)
    }
}
