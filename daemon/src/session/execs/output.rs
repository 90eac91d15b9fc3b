//! Owns: reading a run's output by byte offset, while it is written and after.
//! Guarantees: an offset always means the same byte of what the command wrote; bytes that were not kept are
//! skipped and show as a jump of the offset, never as other bytes.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::domain::event::ExecResult;
use crate::domain::id::ExecId;
use crate::shell::{RunHandle, RunState};

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// Standard output, or a terminal's bytes.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The output files of one run.
#[derive(Debug, Clone)]
pub struct ExecOutput {
    files: [PathBuf; 2],
    live: Option<RunHandle>,
    cap: u64,
}

impl ExecOutput {
    pub(super) fn new(dir: &Path, exec_id: &ExecId, live: Option<RunHandle>, cap: u64) -> Self {
        let file = |ending: &str| dir.join(format!("{exec_id}.{ending}"));
        Self {
            files: [file("out"), file("err")],
            live,
            cap,
        }
    }

    /// Up to `max` bytes from `offset` on, and the offset of the first of them (later than asked for where
    /// bytes were not kept). Empty when there is nothing (yet).
    pub async fn read(&self, kind: OutputKind, offset: u64, max: u64) -> (u64, Bytes) {
        let [out, err] = &self.files;
        let file = match kind {
            OutputKind::Stdout => out.clone(),
            OutputKind::Stderr => err.clone(),
        };
        let known = self.live.as_ref().map(|handle| {
            let progress = *handle.changed.borrow();
            let total = match kind {
                OutputKind::Stdout => progress.stdout_bytes,
                OutputKind::Stderr => progress.stderr_bytes,
            };
            (total, progress.state < RunState::Finished, handle.result())
        });
        let total = known.as_ref().map(|(total, ..)| *total);
        if total.is_some_and(|total| total <= offset) {
            return (offset, Bytes::new());
        }
        let growing = match &known {
            Some((total, true, _)) => Some(*total),
            _ => None,
        };
        let dropped = match &known {
            Some((_, _, Some(result))) => match kind {
                OutputKind::Stdout => result.stdout_dropped,
                OutputKind::Stderr => result.stderr_dropped,
            },
            _ => 0,
        };
        let cap = self.cap;
        let joined =
            tokio::task::spawn_blocking(move || read_at(&file, cap, growing, dropped, offset, max)).await;
        joined.ok().and_then(Result::ok).unwrap_or((offset, Bytes::new()))
    }

    /// The same, for a run whose end is known from the log.
    pub async fn read_ended(
        &self,
        kind: OutputKind,
        result: &ExecResult,
        offset: u64,
        max: u64,
    ) -> (u64, Bytes) {
        let [out, err] = &self.files;
        let (file, dropped, total) = match kind {
            OutputKind::Stdout => (out.clone(), result.stdout_dropped, result.stdout_bytes),
            OutputKind::Stderr => (err.clone(), result.stderr_dropped, result.stderr_bytes),
        };
        if offset >= total && !result.background {
            return (offset, Bytes::new());
        }
        let cap = total.saturating_sub(dropped);
        let joined =
            tokio::task::spawn_blocking(move || read_at(&file, cap, None, dropped, offset, max)).await;
        joined.ok().and_then(Result::ok).unwrap_or((offset, Bytes::new()))
    }

    /// Beginning and end of a stream, at most `max` bytes together, each half at most; and whether bytes
    /// between them are missing.
    pub async fn ends(&self, kind: OutputKind, result: &ExecResult, max: u64) -> (Bytes, Bytes, bool) {
        let total = match kind {
            OutputKind::Stdout => result.stdout_bytes,
            OutputKind::Stderr => result.stderr_bytes,
        };
        if total <= max {
            let (head, gap) = self.whole(kind, result, 0, total).await;
            return (head, Bytes::new(), gap);
        }
        let half = max / 2;
        let (head, _) = self.whole(kind, result, 0, half).await;
        let (tail, _) = self
            .whole(kind, result, total.saturating_sub(max - half), total)
            .await;
        (head, tail, true)
    }

    async fn whole(&self, kind: OutputKind, result: &ExecResult, from: u64, to: u64) -> (Bytes, bool) {
        let mut bytes = Vec::new();
        let (mut at, mut gap) = (from, false);
        while at < to {
            let (first, piece) = self.read_ended(kind, result, at, to - at).await;
            if piece.is_empty() {
                break;
            }
            gap |= first > at;
            at = first.saturating_add(piece.len() as u64);
            bytes.extend_from_slice(&piece);
        }
        (bytes.into(), gap)
    }
}

/// `growing`: the total so far of a stream that is still written.
fn read_at(
    file: &Path,
    cap: u64,
    growing: Option<u64>,
    dropped: u64,
    offset: u64,
    max: u64,
) -> std::io::Result<(u64, Bytes)> {
    let file = std::fs::File::open(file)?;
    // A full disk made the file a ring over what fitted.
    let (cap, ring) = match growing {
        Some(total) => {
            let cap = file.metadata()?.len().min(cap);
            (cap, (total > cap).then_some(total))
        }
        None => (cap, None),
    };
    let half = cap / 2;
    let (first, position, room) = if let Some(total) = ring {
        let size = cap.saturating_sub(half).max(1);
        if offset < half {
            (offset, offset, half - offset)
        } else {
            let first = offset.max(total.saturating_sub(size));
            let turn = (first - half) % size;
            (first, half + turn, (size - turn).min(total.saturating_sub(first)))
        }
    } else if dropped > 0 && offset >= half {
        let first = offset.max(half.saturating_add(dropped));
        (first, first - dropped, u64::MAX)
    } else if dropped > 0 {
        (offset, offset, half - offset)
    } else {
        (offset, offset, u64::MAX)
    };
    // A megabyte at a time bounds memory whatever a caller asks for.
    let want = usize::try_from(max.min(room).min(1024 * 1024)).unwrap_or(0);
    let mut buffer = vec![0; want];
    let read = file.read_at(&mut buffer, position)?;
    buffer.truncate(read);
    Ok((first, buffer.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_stream_with_a_gap_keeps_its_offsets() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x");
        // Cap 8, stream a..k: abcd kept, efg dropped, hijk kept.
        std::fs::write(&path, "abcdhijk").expect("write");
        let at = |offset| read_at(&path, 8, None, 3, offset, 100).expect("read");
        assert_eq!(at(0), (0, Bytes::from("abcd")));
        assert_eq!(at(4), (7, Bytes::from("hijk")));
        assert_eq!(at(5), (7, Bytes::from("hijk")));
        assert_eq!(at(9), (9, Bytes::from("jk")));
        assert_eq!(at(11), (11, Bytes::new()));
    }

    #[test]
    fn a_growing_stream_past_its_cap_is_read_from_the_ring() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x");
        // Cap 8, stream a..k so far: head abcd, ring hijk written round as ijkh.
        std::fs::write(&path, "abcdijkh").expect("write");
        let at = |offset| read_at(&path, 8, Some(11), 0, offset, 100).expect("read");
        assert_eq!(at(0), (0, Bytes::from("abcd")));
        assert_eq!(at(4), (7, Bytes::from("h")));
        assert_eq!(at(8), (8, Bytes::from("ijk")));
    }
}
