//! Owns: the person's terminal: its modes, and what is written to it.
//! Guarantees: whatever ends the program, the terminal is as it was before; a frame that looks the same
//! writes nothing; nothing is ever queued for a slow terminal.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture,
};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute, queue};
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Position;

/// Modes are set: they have to be taken back.
static CHANGED: AtomicBool = AtomicBool::new(false);
/// The mouse is ours.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// The terminal and what it shows.
pub(crate) struct Terminal {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    shown: Option<Buffer>,
    cursor: Option<Position>,
}

impl Terminal {
    /// Takes the whole screen.
    pub(crate) fn open(mouse: bool) -> io::Result<Self> {
        let mut terminal = Self {
            backend: CrosstermBackend::new(BufWriter::with_capacity(64 * 1024, io::stdout())),
            shown: None,
            cursor: None,
        };
        MOUSE.store(mouse, Ordering::Relaxed);
        terminal.enter()?;
        Ok(terminal)
    }

    /// Sets the modes.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        CHANGED.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange, cursor::Hide)?;
        if MOUSE.load(Ordering::Relaxed) {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        self.forget();
        Ok(())
    }

    /// Takes the mouse, or leaves it to the terminal.
    pub(crate) fn mouse(&mut self, on: bool) -> io::Result<()> {
        MOUSE.store(on, Ordering::Relaxed);
        if on { execute!(io::stdout(), EnableMouseCapture) } else { execute!(io::stdout(), DisableMouseCapture) }
    }

    /// The next frame is drawn in full.
    pub(crate) fn forget(&mut self) {
        self.shown = None;
        self.cursor = None;
    }

    /// Shows a frame; true when anything had to be written.
    pub(crate) fn show(&mut self, next: Buffer, at: Option<Position>) -> io::Result<bool> {
        let before = match self.shown.take() {
            Some(before) if before.area == next.area => before,
            _ => {
                queue!(self.backend, cursor::Hide)?;
                self.backend.clear()?;
                self.cursor = None;
                Buffer::empty(next.area)
            }
        };
        let changes = before.diff(&next);
        let wrote = !changes.is_empty() || at != self.cursor;
        if wrote {
            if self.cursor.is_some() && !changes.is_empty() {
                self.backend.hide_cursor()?;
            }
            if !changes.is_empty() {
                self.backend.draw(changes.into_iter())?;
            }
            if let Some(at) = at {
                self.backend.set_cursor_position(at)?;
                self.backend.show_cursor()?;
            } else if self.cursor.is_some() {
                self.backend.hide_cursor()?;
            }
            ratatui::backend::Backend::flush(&mut self.backend)?;
        }
        self.cursor = at;
        self.shown = Some(next);
        Ok(wrote)
    }

    /// Puts a text into the terminal's clipboard (OSC 52).
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        write!(self.backend, "\x1b]52;c;{}\x07", base64(text.as_bytes()))?;
        ratatui::backend::Backend::flush(&mut self.backend)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Takes back every mode that was set. Harmless when none was, or when the terminal is gone.
pub(crate) fn restore() {
    if !CHANGED.swap(false, Ordering::Relaxed) {
        return;
    }
    let mut out = io::stdout();
    drop(execute!(
        out,
        DisableMouseCapture,
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    ));
    drop(disable_raw_mode());
}

/// A panic must not leave the terminal unusable, nor its own message unreadable.
pub(crate) fn restore_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        usual(info);
    }));
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = usize::try_from(word >> (18 - 6 * place) & 63).unwrap_or(0);
            let letter = LETTERS.get(index).copied().unwrap_or(b'A');
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }
}
