//! Owns: the person's terminal: its modes, and what is written to it.
//! Guarantees: whatever ends the program, the terminal is as it was before; a frame that looks the same
//! writes nothing; nothing is ever queued for a slow terminal.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue};
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget as _;

use crate::clusters::{self, Clusters};

/// Modes are set: they have to be taken back.
static CHANGED: AtomicBool = AtomicBool::new(false);
/// The mouse is ours.
static MOUSE: AtomicBool = AtomicBool::new(false);
/// Rows taken in inline mode; 0: the whole screen was.
static FOOTER: AtomicU16 = AtomicU16::new(0);

/// The terminal and what it shows.
pub(crate) struct Terminal {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    shown: Option<Buffer>,
    cursor: Option<Position>,
    clusters: Clusters,
    /// Rows of the footer in inline mode; 0 takes the whole screen.
    footer: u16,
}

impl Terminal {
    /// Takes the whole screen.
    ///
    /// With a `footer` of some rows only these are taken, below the terminal's own scrollback.
    pub(crate) fn open(mouse: bool, footer: u16) -> io::Result<Self> {
        let mut terminal = Self {
            backend: CrosstermBackend::new(BufWriter::with_capacity(64 * 1024, io::stdout())),
            shown: None,
            cursor: None,
            clusters: Clusters::default(),
            footer,
        };
        // The wheel is how the scrollback is read.
        MOUSE.store(mouse && footer == 0, Ordering::Relaxed);
        FOOTER.store(footer, Ordering::Relaxed);
        terminal.enter()?;
        terminal.clusters = Clusters::measure();
        Ok(terminal)
    }

    /// Sets the modes.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        CHANGED.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        if self.footer == 0 {
            execute!(io::stdout(), EnterAlternateScreen)?;
        } else {
            // Room for the footer: what is above moves up.
            write!(io::stdout(), "{}", "\r\n".repeat(usize::from(self.footer)))?;
        }
        execute!(
            io::stdout(),
            EnableBracketedPaste,
            EnableFocusChange,
            cursor::Hide
        )?;
        if MOUSE.load(Ordering::Relaxed) {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        self.forget();
        Ok(())
    }

    /// Takes the mouse, or leaves it to the terminal.
    pub(crate) fn mouse(&mut self, on: bool) -> io::Result<()> {
        MOUSE.store(on, Ordering::Relaxed);
        if on {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        }
    }

    /// The next frame is drawn in full.
    pub(crate) fn forget(&mut self) {
        self.shown = None;
        self.cursor = None;
    }

    /// The row where frames begin.
    fn top(&self) -> u16 {
        if self.footer == 0 {
            return 0;
        }
        crossterm::terminal::size().map_or(0, |(_, height)| height.saturating_sub(self.footer))
    }

    /// Inline mode: puts lines above the footer, where they stay.
    pub(crate) fn print(&mut self, lines: Vec<Line<'static>>, width: u16) -> io::Result<()> {
        let top = self.top();
        queue!(
            self.backend,
            cursor::MoveTo(0, top),
            Clear(ClearType::FromCursorDown)
        )?;
        let last = crossterm::terminal::size().map_or(top, |(_, height)| height.saturating_sub(1));
        let mut at = top;
        for line in lines {
            let mut row = Buffer::empty(Rect::new(0, 0, width, 1));
            (&line).render(row.area, &mut row);
            simplify(&mut row, self.clusters);
            // Drawn as cells, so that nothing but cells is ever written.
            let cells: Vec<_> = row
                .content
                .iter()
                .zip(0..)
                .map(|(cell, x)| (x, at, cell))
                .filter(|(_, _, cell)| cell.symbol() != " ")
                .collect();
            draw(&mut self.backend, &cells)?;
            queue!(self.backend, cursor::MoveTo(0, at))?;
            write!(self.backend, "\r\n")?;
            // At the bottom the terminal scrolls instead.
            at = (at + 1).min(last);
        }
        write!(self.backend, "{}", "\r\n".repeat(usize::from(self.footer)))?;
        self.forget();
        Ok(())
    }

    /// Shows a frame; true when anything had to be written.
    pub(crate) fn show(&mut self, mut next: Buffer, at: Option<Position>) -> io::Result<bool> {
        simplify(&mut next, self.clusters);
        let top = self.top();
        let before = match self.shown.take() {
            Some(mut before) if before.area == next.area => {
                doubt(&mut before, &next);
                before
            }
            _ => {
                queue!(self.backend, cursor::Hide)?;
                if self.footer == 0 {
                    self.backend.clear()?;
                } else {
                    queue!(
                        self.backend,
                        cursor::MoveTo(0, top),
                        Clear(ClearType::FromCursorDown)
                    )?;
                }
                self.cursor = None;
                Buffer::empty(next.area)
            }
        };
        let changes = before.diff(&next);
        let wrote = !changes.is_empty() || at != self.cursor;
        if wrote {
            if self.clusters.frames {
                queue!(self.backend, BeginSynchronizedUpdate)?;
            }
            if self.cursor.is_some() && !changes.is_empty() {
                self.backend.hide_cursor()?;
            }
            if !changes.is_empty() {
                let changes: Vec<_> = changes
                    .into_iter()
                    .map(|(x, y, cell)| (x, y + top, cell))
                    .collect();
                draw(&mut self.backend, &changes)?;
            }
            if let Some(at) = at {
                self.backend
                    .set_cursor_position(Position::new(at.x, at.y + top))?;
                self.backend.show_cursor()?;
            } else if self.cursor.is_some() {
                self.backend.hide_cursor()?;
            }
            if self.clusters.frames {
                queue!(self.backend, EndSynchronizedUpdate)?;
            }
            ratatui::backend::Backend::flush(&mut self.backend)?;
        }
        self.cursor = at;
        self.shown = Some(next);
        Ok(wrote)
    }

    /// Tells the terminal's window system (OSC 9). The words hold nothing that steers a terminal.
    pub(crate) fn notify(&mut self, words: &str) -> io::Result<()> {
        let words: String = words.chars().filter(|c| !c.is_control()).take(200).collect();
        write!(self.backend, "\x1b]9;{words}\x07")?;
        ratatui::backend::Backend::flush(&mut self.backend)
    }

    /// Puts a text into the terminal's clipboard (OSC 52).
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        write!(self.backend, "\x1b]52;c;{}\x07", base64(text.as_bytes()))?;
        ratatui::backend::Backend::flush(&mut self.backend)
    }
}

/// Puts a simpler form in the place of what the terminal does not draw as one.
fn simplify(buffer: &mut Buffer, clusters: Clusters) {
    for cell in &mut buffer.content {
        // Only wrapping knows the difference.
        if cell.symbol() == "\u{a0}" {
            cell.set_symbol(" ");
        }
        // Most are one character, and no cluster in question is shorter than this.
        if cell.symbol().len() < 5 {
            continue;
        }
        if let Some(simpler) = clusters.simpler(cell.symbol()) {
            cell.set_symbol(&simpler);
        }
    }
}

/// Where the terminal may have given something another width than it has here, the rest of the row is not known:
/// when the row changes, it is written anew.
fn doubt(before: &mut Buffer, next: &Buffer) {
    let mut unknown = Cell::new("?");
    unknown.modifier = ratatui::style::Modifier::all();
    let width = usize::from(next.area.width).max(1);
    let rows = before.content.chunks_mut(width).zip(next.content.chunks(width));
    for (before, next) in rows {
        let doubtful = |row: &[Cell]| row.iter().position(|cell| clusters::is_doubtful(cell.symbol()));
        let from = [doubtful(before), doubtful(next)].into_iter().flatten().min();
        if let Some(from) = from
            && *before != *next
        {
            for cell in before.iter_mut().skip(from) {
                *cell = unknown.clone();
            }
        }
    }
}

/// Writes cells. What is doubtful gets blank cells to stand on, what follows it is told its place, and nothing of it wraps
/// into the next row.
fn draw(backend: &mut CrosstermBackend<BufWriter<Stdout>>, cells: &[(u16, u16, &Cell)]) -> io::Result<()> {
    let doubtful = |cell: &Cell| clusters::is_doubtful(cell.symbol());
    let any = cells.iter().any(|(_, _, cell)| doubtful(cell));
    if any {
        queue!(backend, DisableLineWrap)?;
    }
    for piece in cells.chunk_by(|(_, _, one), (_, _, next)| !doubtful(one) && !doubtful(next)) {
        if let [(x, y, cell)] = piece
            && doubtful(cell)
        {
            let mut blank = (*cell).clone();
            blank.set_symbol(" ");
            let columns = (*x..).take(crate::text::width(cell.symbol()).max(1));
            backend.draw(columns.map(|column| (column, *y, &blank)))?;
        }
        backend.draw(piece.iter().copied())?;
    }
    if any {
        queue!(backend, EnableLineWrap)?;
    }
    Ok(())
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
        DisableBracketedPaste
    ));
    let footer = FOOTER.load(Ordering::Relaxed);
    if footer == 0 {
        drop(execute!(out, LeaveAlternateScreen));
    } else if let Ok((_, height)) = crossterm::terminal::size() {
        let top = height.saturating_sub(footer);
        drop(execute!(
            out,
            cursor::MoveTo(0, top),
            Clear(ClearType::FromCursorDown)
        ));
    }
    drop(execute!(out, cursor::Show));
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
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = usize::try_from(word >> (18 - 6 * place) & 63).unwrap_or(0);
            let letter = LETTERS.get(index).copied().unwrap_or(b'A');
            out.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }

    #[test]
    fn a_row_of_doubtful_width_is_written_anew_when_it_changes() {
        let style = ratatui::style::Style::default();
        let mut before = Buffer::empty(Rect::new(0, 0, 6, 2));
        before.set_string(0, 0, "ab🇩🇪日", style);
        before.set_string(0, 1, "e\u{301}x", style);
        let mut next = before.clone();
        next.set_string(2, 0, "    ", style);
        doubt(&mut before, &next);
        let written: Vec<_> = before.diff(&next).iter().map(|(x, y, _)| (*x, *y)).collect();
        assert_eq!(written, [(2, 0), (3, 0), (4, 0), (5, 0)]);
    }

    /// What `a_panic_leaves_the_terminal_as_it_was` runs in a terminal; elsewhere it does nothing.
    #[test]
    fn takes_the_screen_and_panics() {
        if std::env::var_os("AGENT_TUI_TEST_PANIC").is_some() {
            restore_on_panic();
            let mut terminal = Terminal::open(true, 0).unwrap();
            let area = Rect::new(0, 0, 20, 2);
            terminal
                .show(Buffer::filled(area, ratatui::buffer::Cell::new("x")), None)
                .unwrap();
            panic!("the words of the panic");
        }
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let tmux = |args: &[&str]| {
            let mut command = std::process::Command::new("tmux");
            command.arg("-S").arg(dir.path().join("tmux")).args(args);
            let output = command
                .env("TERM", "xterm-256color")
                .output()
                .expect("tmux is needed");
            String::from_utf8(output.stdout).unwrap()
        };
        let me = std::env::current_exe().unwrap();
        let line = format!(
            "AGENT_TUI_TEST_PANIC=1 {} --exact terminal::tests::takes_the_screen_and_panics --nocapture; echo over; exec cat",
            me.display()
        );
        tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "200",
            "-y",
            "50",
            &line,
        ]);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let seen = loop {
            let now = tmux(&["capture-pane", "-p"]);
            if now.contains("over") || std::time::Instant::now() > end {
                break now;
            }
            std::thread::yield_now();
        };
        let modes = tmux(&[
            "display",
            "-p",
            "#{alternate_on} #{cursor_flag} #{mouse_any_flag}",
        ]);
        tmux(&["kill-server"]);
        assert!(seen.contains("the words of the panic"), "{seen}");
        assert_eq!(modes.trim(), "0 1 0", "{seen}");
    }
}
