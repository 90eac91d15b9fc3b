//! Owns: the end of a command's output, as lines a person reads.
//! Guarantees: bounded; nothing of it can steer the terminal; a character cut between two chunks stays one; bytes that
//! come once more, after a break or when it is read from its beginning, are not counted twice.

use std::collections::{HashMap, VecDeque};

use agentd_proto::{escape, pb};

/// Lines kept of one command.
pub(crate) const KEPT_LINES: usize = 2_000;
/// Bytes of one line that are kept.
const LINE_BYTES: usize = 4_096;

/// Output of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Output {
    lines: VecDeque<String>,
    partial: Vec<u8>,
    /// Lines that were there in all.
    count: u64,
    /// Bytes taken in.
    pub(crate) bytes: u64,
    /// The daemon kept only the ends.
    pub(crate) dropped: u64,
    /// How far each of its streams was read.
    read: HashMap<i32, u64>,
    /// Something is missing that the daemon may have.
    torn: bool,
}

impl Output {
    /// Takes in what follows of a piece.
    pub(crate) fn chunk(&mut self, chunk: &pb::OutputChunk) {
        let read = self.read.entry(chunk.stream).or_default();
        let seen = read.saturating_sub(chunk.offset);
        let end = chunk.offset + chunk.data.len() as u64;
        self.torn |= chunk.offset > *read;
        *read = end.max(*read);
        let fresh = usize::try_from(seen).ok().and_then(|seen| chunk.data.get(seen..));
        let Some(fresh) = fresh.filter(|fresh| !fresh.is_empty()) else {
            return;
        };
        self.dropped += chunk.dropped_bytes;
        self.feed(fresh);
    }

    /// True when every byte from the first on was taken in.
    pub(crate) fn is_whole(&self) -> bool {
        !self.read.is_empty() && !self.torn
    }

    /// Takes in the next bytes.
    fn feed(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES.saturating_sub(self.partial.len());
            let ends = piece.last() == Some(&b'\n');
            let body = piece.strip_suffix(b"\n").unwrap_or(piece);
            // A progress bar that only ever returns to the start of its line: what counts is its end.
            if body.len() > room && body.contains(&b'\r') {
                self.partial.clear();
                let start = body
                    .iter()
                    .rposition(|byte| *byte == b'\r')
                    .map_or(0, |at| at + 1);
                self.partial.extend(body.iter().skip(start).take(LINE_BYTES));
            } else {
                self.partial.extend(body.iter().take(room));
            }
            if ends {
                let line = readable(&self.partial);
                self.partial.clear();
                self.lines.push_back(line);
                self.count += 1;
                if self.lines.len() > KEPT_LINES {
                    self.lines.pop_front();
                }
            }
        }
    }

    /// Lines there were, the unfinished one included.
    pub(crate) fn count(&self) -> u64 {
        self.count + u64::from(!self.partial.is_empty())
    }

    /// The last `most` lines that look like failures, and how many of those held do.
    pub(crate) fn failures(&self, most: usize) -> (Vec<String>, usize) {
        let mut all = self.tail(KEPT_LINES + 1);
        all.retain(|line| is_failure(line));
        let count = all.len();
        (all.split_off(count.saturating_sub(most)), count)
    }

    /// The last `most` lines.
    pub(crate) fn tail(&self, most: usize) -> Vec<String> {
        let open = (!self.partial.is_empty()).then(|| readable(&self.partial));
        let mut tail: Vec<String> = open.into_iter().collect();
        for line in self.lines.iter().rev() {
            if tail.len() >= most {
                break;
            }
            tail.push(line.clone());
        }
        tail.truncate(most);
        tail.reverse();
        tail
    }
}

/// Words that compilers, test runners and shells use when something went wrong.
fn is_failure(line: &str) -> bool {
    const WORDS: [&str; 8] = [
        "error",
        "fail",
        "panic",
        "fatal",
        "exception",
        "traceback",
        "not found",
        "denied",
    ];
    let line = line.to_lowercase();
    // What counts failures and finds none is none.
    WORDS.iter().any(|word| line.contains(word)) && !line.contains("0 failed") && !line.contains("0 errors")
}

/// One line as the terminal would have left it, without anything that steers one.
fn readable(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let start = bytes
        .iter()
        .rposition(|byte| *byte == b'\r')
        .map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default());
    escape::output(&text).replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept_and_all_is_counted() {
        let mut output = Output::default();
        for n in 0..5_000 {
            output.feed(format!("line {n}\n").as_bytes());
        }
        output.feed(b"open");
        assert_eq!(output.count(), 5_001);
        assert_eq!(output.tail(2), ["line 4999", "open"]);
        assert_eq!(output.tail(9_999).len(), KEPT_LINES + 1);
    }

    #[test]
    fn failures_are_found_and_successes_are_not() {
        let mut output = Output::default();
        output.feed(b"test a ... ok\ntest b ... FAILED\nerror[E0308]: mismatched\n318 passed, 0 failed\n");
        output.feed(b"sh: foo: not found");
        let (lines, count) = output.failures(2);
        assert_eq!(lines, ["error[E0308]: mismatched", "sh: foo: not found"]);
        assert_eq!(count, 3);
    }

    #[test]
    fn progress_colour_and_cut_characters() {
        let mut output = Output::default();
        output.feed("10%\r50%\r\u{1b}[32m100%\u{1b}[0m\r\n".as_bytes());
        let bytes = "日本".as_bytes();
        output.feed(&bytes[..2]);
        output.feed(&bytes[2..]);
        assert_eq!(output.tail(9), ["100%", "日本"]);
        output.feed(b"\x1b[2J\n");
        assert_eq!(output.tail(1), ["日本"]);
    }
}
