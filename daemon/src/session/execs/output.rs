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

/// Looks at a turning ring before its reader is sent away.
const TRIES: usize = 5;

/// How a live stream stands.
struct Now {
    total: u64,
    dropped: u64,
    open: bool,
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
        // While a stream past its cap is written, its ring turns under the reader: what was overwritten
        // meanwhile is read again from where the ring is now.
        for _ in 0..TRIES {
            let before = self.now(kind);
            if before.as_ref().is_some_and(|now| now.total <= offset) {
                return (offset, Bytes::new());
            }
            let open = before.as_ref().filter(|now| now.open);
            // A full disk made the file a ring over what fitted.
            let cap = match open {
                Some(now) => std::fs::metadata(self.file(kind)).map_or(self.cap, |file| {
                    if file.len() < now.total {
                        self.cap.min(file.len())
                    } else {
                        self.cap
                    }
                }),
                None => self.cap,
            };
            let ring = open.filter(|now| now.total > cap).map(|now| now.total);
            let dropped = before.as_ref().map_or(0, |now| now.dropped);
            let file = self.file(kind);
            let joined =
                tokio::task::spawn_blocking(move || read_at(&file, cap, ring, dropped, offset, max)).await;
            let (first, data) = joined.ok().and_then(Result::ok).unwrap_or((offset, Bytes::new()));
            let Some(total) = ring else { return (first, data) };
            let moved = self.now(kind).is_none_or(|now| !now.open || now.total != total);
            if !moved || first.saturating_add(data.len() as u64) <= cap / 2 {
                return (first, data);
            }
        }
        // A writer faster than every look: the reader comes back once it pauses or ends.
        (offset, Bytes::new())
    }

    /// True while the run is known to a jail.
    pub(in crate::session) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    fn file(&self, kind: OutputKind) -> PathBuf {
        let [out, err] = &self.files;
        match kind {
            OutputKind::Stdout => out.clone(),
            OutputKind::Stderr => err.clone(),
        }
    }

    /// How a live stream stands; `None` for a run that is no longer live.
    fn now(&self, kind: OutputKind) -> Option<Now> {
        let handle = self.live.as_ref()?;
        let progress = *handle.changed.borrow();
        let result = handle.result();
        let (total, dropped) = match kind {
            OutputKind::Stdout => (progress.stdout_bytes, result.map_or(0, |r| r.stdout_dropped)),
            OutputKind::Stderr => (progress.stderr_bytes, result.map_or(0, |r| r.stderr_dropped)),
        };
        Some(Now {
            total,
            dropped,
            open: progress.state < RunState::Finished,
        })
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

/// `ring`: the total so far of a stream that has outgrown its file while it is still written.
fn read_at(
    file: &Path,
    cap: u64,
    ring: Option<u64>,
    dropped: u64,
    offset: u64,
    max: u64,
) -> std::io::Result<(u64, Bytes)> {
    let file = std::fs::File::open(file)?;
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
