//! Owns: the terminals of a session as their viewers see them: the screen for who comes late, and how much of the
//! bytes each viewer has drawn.
//! Guarantees: a viewer gets every byte in order, or a screen that stands for those it missed; one that does not draw
//! costs 256 KiB on its way and nothing more; nobody's slowness is another one's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{ExecOutput, Execs, OutputKind};
use crate::domain::event::ExecResult;
use crate::domain::id::ExecId;
use crate::domain::rejection::Rejection;
use crate::session::follow::OutputPiece;
use crate::shell::{PtySize, Screen};

/// Bytes on their way to a viewer and not acknowledged.
const CREDIT: u64 = 256 * 1024;
/// A viewer that lacks more than this gets the screen instead.
const BEHIND: u64 = 1024 * 1024;
/// Bytes sent at a time.
const CHUNK: u64 = 64 * 1024;
/// Bytes the emulator takes at a time.
const FEED: u64 = 1024 * 1024;
/// A screen that is made in this time comes before what else is new.
const AT_ONCE: Duration = Duration::from_millis(30);
/// Viewers of one terminal that are remembered; a forgotten one gets a screen when it comes back.
const MAX_VIEWERS: usize = 64;
/// Sizes not yet given to an emulator; where nobody ever looked, the oldest go first.
const MAX_SIZES: usize = 256;
/// A terminal whose first size is not known, after a restart of the daemon.
const USUAL: PtySize = PtySize { rows: 24, cols: 80 };

/// A terminal as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenPiece {
    /// Which command.
    pub exec_id: ExecId,
    /// The bytes up to here are in it.
    pub offset: u64,
    /// Its size.
    pub size: PtySize,
    /// What draws it.
    pub data: Bytes,
    /// Bytes the viewer did not get because of it.
    pub skipped: u64,
}

/// One thing for a viewer of a terminal.
#[derive(Debug, Clone)]
pub enum Shown {
    /// The screen; bytes go on from its offset.
    Screen(ScreenPiece),
    /// Bytes.
    Bytes(OutputPiece),
}

/// What a viewer is to get next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Screen,
    Bytes(u64),
    Wait,
}

/// The rule of credit: `acked` of `sent` bytes are drawn, `total` are there.
fn next(total: u64, sent: u64, acked: u64) -> Next {
    let way = sent.saturating_sub(acked);
    if way >= CREDIT || total <= sent {
        Next::Wait
    } else if total - sent > BEHIND {
        Next::Screen
    } else {
        Next::Bytes((CREDIT - way).min(CHUNK))
    }
}

/// One terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    state: Mutex<State>,
    /// Made when the first viewer needs a screen, and fed only when one does.
    emulator: Arc<tokio::sync::Mutex<Option<Emulator>>>,
}

#[derive(Debug, Default)]
struct State {
    /// Sizes the emulator has not seen, each from an offset of the output on.
    sizes: VecDeque<(u64, PtySize)>,
    /// The last size that was set, and how often it became another.
    size: Option<PtySize>,
    resizes: u64,
    /// How far each viewer has drawn.
    viewers: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Emulator {
    screen: Screen,
    at: u64,
}

impl Terminal {
    fn new(size: Option<PtySize>) -> Self {
        Self {
            state: Mutex::new(State {
                sizes: size.map(|size| (0, size)).into_iter().collect(),
                size,
                ..State::default()
            }),
            emulator: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers are whole after any panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resized(&self, offset: u64, size: PtySize) {
        let mut state = self.state();
        if state.sizes.len() >= MAX_SIZES {
            state.sizes.pop_front();
        }
        state.sizes.push_back((offset, size));
        if state.size.replace(size) != Some(size) {
            state.resizes = state.resizes.wrapping_add(1);
        }
    }

    fn resizes(&self) -> u64 {
        self.state().resizes
    }

    /// A viewer has drawn up to `offset`, whether it was sent on this stream or came with a screen.
    fn acked(&self, viewer: &str, offset: u64) {
        let mut state = self.state();
        if let Some(known) = state.viewers.get_mut(viewer) {
            *known = offset.max(*known);
            return;
        }
        if state.viewers.len() >= MAX_VIEWERS {
            state.viewers.pop_first();
        }
        state.viewers.insert(viewer.to_owned(), offset);
    }

    fn drawn_by(&self, viewer: &str) -> Option<u64> {
        self.state().viewers.get(viewer).copied()
    }

    /// The screen after `total` bytes.
    async fn screen(&self, output: &ExecOutput, result: Option<&ExecResult>, total: u64) -> Emulated {
        let mut slot = self.emulator.clone().lock_owned().await;
        loop {
            let at = slot.as_ref().map_or(0, |emulator| emulator.at);
            let (first, data) = if at < total {
                let most = FEED.min(total - at);
                match result {
                    Some(result) => output.read_ended(OutputKind::Stdout, result, at, most).await,
                    None => output.read(OutputKind::Stdout, at, most).await,
                }
            } else {
                (at, Bytes::new())
            };
            let done = data.is_empty();
            let end = first.saturating_add(data.len() as u64);
            let mut sizes = VecDeque::new();
            {
                let mut state = self.state();
                while state.sizes.front().is_some_and(|(from, _)| *from <= end) {
                    sizes.extend(state.sizes.pop_front());
                }
            }
            // Megabytes take milliseconds: not on a thread that serves others. The guard goes along, so that a
            // viewer that leaves meanwhile takes no state with it.
            let fed = tokio::task::spawn_blocking(move || {
                let emulator = slot.get_or_insert_with(|| {
                    let size = sizes.front().map_or(USUAL, |(_, size)| *size);
                    Emulator {
                        screen: Screen::new(size),
                        at: 0,
                    }
                });
                emulator.feed(first, &data, sizes);
                let drawn = done.then(|| (emulator.at, emulator.screen.size(), emulator.screen.draw()));
                (slot, drawn)
            });
            match fed.await {
                Ok((guard, None)) => slot = guard,
                Ok((_, Some((at, size, text)))) => {
                    return Emulated {
                        offset: at,
                        size,
                        data: text.into(),
                    };
                }
                Err(error) => {
                    // A fault of the emulator is no reason to show nothing: a blank screen, and bytes go on.
                    tracing::error!(%error, "the screen of a terminal could not be drawn");
                    return Emulated {
                        offset: total,
                        size: USUAL,
                        data: Bytes::new(),
                    };
                }
            }
        }
    }
}

struct Emulated {
    offset: u64,
    size: PtySize,
    data: Bytes,
}

impl Emulator {
    fn feed(&mut self, first: u64, data: &[u8], sizes: VecDeque<(u64, PtySize)>) {
        let mut rest = data;
        self.at = first.max(self.at);
        for (from, size) in sizes {
            let before = usize::try_from(from.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(before.min(rest.len()));
            self.screen.feed(now);
            self.at = self.at.saturating_add(now.len() as u64);
            rest = later;
            if size != self.screen.size() {
                self.screen.resize(size);
            }
        }
        self.screen.feed(rest);
        self.at = self.at.saturating_add(rest.len() as u64);
    }
}

impl Execs {
    /// A terminal opens with a run, or is found with one in a live jail.
    pub(in crate::session) fn open_terminal(&self, exec_id: &ExecId, size: Option<PtySize>) {
        let mut all = self.terminals();
        all.entry(exec_id.clone())
            .or_insert_with(|| Arc::new(Terminal::new(size)));
    }

    pub(in crate::session) fn close_terminal(&self, exec_id: &ExecId) {
        self.terminals().remove(exec_id);
    }

    /// The same, unless its run is known: a call that came to nothing before it ran.
    pub(in crate::session) fn close_unused_terminal(&self, exec_id: &ExecId) {
        if !self.is_running(exec_id) {
            self.close_terminal(exec_id);
        }
    }

    pub(super) fn terminal_resized(&self, exec_id: &ExecId, size: PtySize) {
        let written = self.written(exec_id).unwrap_or(0);
        if let Some(terminal) = self.terminals().get(exec_id) {
            terminal.resized(written, size);
        }
        // Viewers get the screen in its new size.
        self.feed.output();
    }

    /// The terminal of a run that goes on.
    fn terminal(&self, exec_id: &ExecId) -> Option<Arc<Terminal>> {
        self.terminals().get(exec_id).cloned()
    }

    fn terminals(&self) -> MutexGuard<'_, BTreeMap<ExecId, Arc<Terminal>>> {
        // A map of terminals is whole after any panic elsewhere.
        self.terminals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, exec_id: &ExecId) -> Option<u64> {
        Some(self.live().get(exec_id)?.changed.borrow().stdout_bytes)
    }

    /// The screen as it is now.
    pub(in crate::session) async fn screen(&self, exec_id: &ExecId) -> Result<ScreenPiece, Rejection> {
        let Some((terminal, total)) = self.terminal(exec_id).zip(self.written(exec_id)) else {
            self.handle(exec_id)?;
            return Err(Rejection::WrongState(format!("{exec_id} has no terminal")));
        };
        let drawn = terminal.screen(&self.output(exec_id), None, total).await;
        Ok(drawn.piece(exec_id, 0))
    }

    /// A viewer has drawn up to `offset`.
    pub(in crate::session) fn ack(&self, exec_id: &ExecId, viewer: &str, offset: u64) {
        // The run may just have ended: nobody waits for the acknowledgement then.
        if let Some(terminal) = self.terminal(exec_id) {
            terminal.acked(viewer, offset);
            self.feed.output();
        }
    }
}

/// One viewer's way through the output of a terminal.
pub struct Viewing {
    execs: Arc<Execs>,
    exec_id: ExecId,
    terminal: Arc<Terminal>,
    viewer: String,
    /// How far its stream is; `None` at the beginning.
    sent: Option<u64>,
    /// The screen that is being made for it.
    drawing: Option<JoinHandle<Emulated>>,
    /// Which size its last screen had, for a viewer that gets a screen when the terminal becomes larger or smaller.
    resizes: Option<u64>,
}

impl Viewing {
    /// `None` when the run has no terminal or is over. `sent` says where it goes on; without it comes the screen, or
    /// what a viewer that comes back has not drawn. With `mirrors` also whenever the terminal becomes larger or smaller:
    /// bytes for one size are no good in another.
    pub(in crate::session) fn new(
        execs: &Arc<Execs>,
        exec_id: &ExecId,
        viewer: &str,
        sent: Option<u64>,
        mirrors: bool,
    ) -> Option<Self> {
        let terminal = execs.terminal(exec_id)?;
        let resizes = mirrors.then(|| terminal.resizes());
        if let Some(sent) = sent {
            terminal.acked(viewer, sent);
        }
        Some(Self {
            execs: execs.clone(),
            exec_id: exec_id.clone(),
            terminal,
            viewer: viewer.to_owned(),
            sent,
            drawing: None,
            resizes,
        })
    }

    /// What is next, if there is anything now. With `result` the run is over and what is left comes whatever the
    /// credit, so that nobody waits for ever.
    pub async fn next(&mut self, result: Option<&ExecResult>) -> Option<Shown> {
        let total = match result {
            Some(result) => result.stdout_bytes,
            None => self.execs.written(&self.exec_id)?,
        };
        let drawn = self.terminal.drawn_by(&self.viewer);
        let at = match (self.sent, drawn) {
            // It may have got a screen on another way.
            (Some(at), drawn) => Some(at.max(drawn.unwrap_or(0))),
            // It comes back: from where it was.
            (None, Some(drawn)) if total.saturating_sub(drawn) <= BEHIND => Some(drawn),
            (None, _) => None,
        };
        let resized = self.resizes.is_some_and(|seen| seen != self.terminal.resizes());
        let step = match (at, result) {
            _ if self.drawing.is_some() => Next::Screen,
            (None, _) => Next::Screen,
            // Not on top of bytes on their way.
            (Some(at), None) if resized && at.saturating_sub(drawn.unwrap_or(0)) < CREDIT => Next::Screen,
            (Some(at), None) => next(total, at, drawn.unwrap_or(0)),
            (Some(at), Some(_)) if total.saturating_sub(at) > BEHIND => Next::Screen,
            (Some(at), Some(_)) if total > at => Next::Bytes(CHUNK),
            (Some(_), Some(_)) => Next::Wait,
        };
        match step {
            Next::Wait => {
                self.sent = at;
                None
            }
            Next::Screen => self.screen(at, result, total).await,
            Next::Bytes(most) => self.bytes(at.unwrap_or(0), result, most).await,
        }
    }

    /// Making a screen of megabytes takes a moment, in which the session's facts must not wait.
    async fn screen(&mut self, at: Option<u64>, result: Option<&ExecResult>, total: u64) -> Option<Shown> {
        let mut drawing = self.drawing.take().unwrap_or_else(|| {
            let (terminal, execs) = (self.terminal.clone(), self.execs.clone());
            let (output, result) = (execs.output(&self.exec_id), result.cloned());
            self.resizes = self.resizes.map(|_| self.terminal.resizes());
            tokio::spawn(async move {
                let screen = terminal.screen(&output, result.as_ref(), total).await;
                execs.feed.output();
                screen
            })
        });
        let done = if result.is_some() {
            (&mut drawing).await
        } else {
            match tokio::time::timeout(AT_ONCE, &mut drawing).await {
                Ok(done) => done,
                Err(_) => {
                    self.drawing = Some(drawing);
                    return None;
                }
            }
        };
        let screen = done.ok()?;
        if at.is_none() {
            // The first screen is small and must not hold up what follows it.
            self.terminal.acked(&self.viewer, screen.offset);
        }
        // Of an ended run nothing more will come than what the screen could be made of.
        self.sent = Some(result.map_or(screen.offset, |_| total));
        // A screen in a new size stands for the few bytes since, too.
        let skipped = at.map_or(0, |at| screen.offset.saturating_sub(at));
        let skipped = if skipped > BEHIND { skipped } else { 0 };
        Some(Shown::Screen(screen.piece(&self.exec_id, skipped)))
    }

    async fn bytes(&mut self, from: u64, result: Option<&ExecResult>, most: u64) -> Option<Shown> {
        let output = self.execs.output(&self.exec_id);
        let (offset, data) = match result {
            Some(result) => output.read_ended(OutputKind::Stdout, result, from, most).await,
            None => output.read(OutputKind::Stdout, from, most).await,
        };
        if data.is_empty() {
            self.sent = Some(from);
            return None;
        }
        self.sent = Some(offset.saturating_add(data.len() as u64));
        Some(Shown::Bytes(OutputPiece {
            exec_id: self.exec_id.clone(),
            kind: OutputKind::Stdout,
            offset,
            data,
            dropped: offset.saturating_sub(from),
        }))
    }
}

impl Emulated {
    fn piece(self, exec_id: &ExecId, skipped: u64) -> ScreenPiece {
        ScreenPiece {
            exec_id: exec_id.clone(),
            offset: self.offset,
            size: self.size,
            data: self.data,
            skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_stops_a_flood_and_a_screen_stands_for_what_was_missed() {
        assert_eq!(next(0, 0, 0), Next::Wait);
        assert_eq!(next(10, 0, 0), Next::Bytes(CHUNK));
        assert_eq!(next(CREDIT * 2, CREDIT - 10, 0), Next::Bytes(10));
        assert_eq!(next(CREDIT * 2, CREDIT, 0), Next::Wait);
        assert_eq!(
            next(BEHIND * 9, CREDIT, 0),
            Next::Wait,
            "no screen on top of bytes on their way"
        );
        assert_eq!(next(BEHIND * 9, CREDIT, CREDIT / 2), Next::Screen);
        // The screen itself is on its way until it is acknowledged.
        assert_eq!(next(BEHIND * 20, BEHIND * 9, CREDIT / 2), Next::Wait);
        assert_eq!(next(BEHIND * 9 + 5, BEHIND * 9, BEHIND * 9), Next::Bytes(CHUNK));
    }

    #[test]
    fn sizes_take_effect_where_they_were_set() {
        let size = |cols| PtySize { rows: 4, cols };
        let mut emulator = Emulator {
            screen: Screen::new(size(4)),
            at: 0,
        };
        emulator.feed(0, b"abcdefgh", [(0, size(4)), (2, size(8))].into());
        assert_eq!((emulator.at, emulator.screen.size()), (8, size(8)));
        // Bytes that were not kept: the offset jumps, the screen goes on.
        emulator.feed(100, b"x", VecDeque::new());
        assert_eq!(emulator.at, 101);
    }

    #[test]
    fn a_viewer_too_many_is_forgotten_and_none_goes_back() {
        let terminal = Terminal::new(None);
        for n in 0..=MAX_VIEWERS {
            terminal.acked(&format!("{n:03}"), 7);
        }
        assert_eq!(
            (terminal.drawn_by("000"), terminal.drawn_by("064")),
            (None, Some(7))
        );
        terminal.acked("064", 3);
        assert_eq!(terminal.drawn_by("064"), Some(7));
    }
}
