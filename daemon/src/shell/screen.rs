//! Owns: what a terminal shows: an emulator that is fed a command's bytes and tells how to draw its screen elsewhere.
//! Guarantees: bytes may be cut anywhere, also inside a character or an escape sequence; hostile bytes change the
//! emulator's cells and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::PtySize;

/// Lines above the screen that are kept and drawn too.
const ABOVE: usize = 200;
/// Modes of input that the emulator does not keep: mouse, focus, bracketed paste.
const INPUT_MODES: [u16; 9] = [9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 2004];
/// A longer escape sequence changes no mode of ours.
const LONGEST: usize = 64;

/// A terminal's cells and modes.
pub struct Screen {
    cells: avt::Terminal,
    /// The begun part of a character.
    begun: Vec<u8>,
    modes: Modes,
}

impl Screen {
    /// A blank screen.
    pub fn new(size: PtySize) -> Self {
        let (cols, rows) = (usize::from(size.cols.max(1)), usize::from(size.rows.max(1)));
        #[expect(clippy::expect_used, reason = "both sizes are at least 1")]
        let cells = avt::Terminal::with_scrollback(cols, rows, Some(ABOVE)).expect("a size");
        Self {
            cells,
            begun: Vec::new(),
            modes: Modes::default(),
        }
    }

    /// Takes what the command wrote.
    pub fn feed(&mut self, bytes: &[u8]) {
        let joined;
        let bytes = if self.begun.is_empty() {
            bytes
        } else {
            joined = [self.begun.as_slice(), bytes].concat();
            self.begun.clear();
            &joined
        };
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.text(chunk.valid());
            let wrong = chunk.invalid();
            if chunks.peek().is_none() && may_go_on(wrong) {
                self.begun = wrong.to_vec();
            } else if !wrong.is_empty() {
                self.text("\u{fffd}");
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.modes.see(text);
        self.cells.feed(text);
    }

    /// Takes another size; lines are wrapped anew.
    pub fn resize(&mut self, size: PtySize) {
        self.cells
            .resize(usize::from(size.cols.max(1)), usize::from(size.rows.max(1)));
    }

    /// Its size.
    pub fn size(&self) -> PtySize {
        let (cols, rows) = self.cells.size();
        let cell = |n| u16::try_from(n).unwrap_or(u16::MAX);
        PtySize {
            rows: cell(rows),
            cols: cell(cols),
        }
    }

    /// What draws it on a terminal of the same size that was just reset.
    pub fn draw(&self) -> String {
        let (_, rows) = self.cells.size();
        let primary = self.cells.primary_screen();
        let visible = primary.visible_lines().len();
        let all: Vec<_> = primary.all_lines().collect();
        let above = all.len().saturating_sub(visible);
        let mut out = String::new();
        for line in all.iter().take(above) {
            row(line, &mut out);
            out.push_str("\r\n");
        }
        if above > 0 {
            // Out of sight: as many line feeds at the bottom as lines are still seen.
            let seen = above.min(rows.saturating_sub(1));
            let _written = write!(out, "\x1b[{rows};1H{}\x1b[H", "\n".repeat(seen));
        }
        out.push_str(&self.cells.dump());
        self.modes.draw(&mut out);
        out
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("size", &self.size()).finish()
    }
}

/// A line's text in its colours, without the blanks at its end that have none.
fn row(line: &avt::Line, out: &mut String) {
    let plain = avt::Pen::default();
    let drawn = |cell: &&avt::Cell| cell.char() != ' ' || cell.pen() != &plain;
    let blanks = line.cells().iter().rev().take_while(|cell| !drawn(cell)).count();
    let mut pen = plain;
    // The second half of a wide character has no width of its own.
    for cell in line
        .cells()
        .iter()
        .take(line.len().saturating_sub(blanks))
        .filter(|c| c.width() > 0)
    {
        if *cell.pen() != pen {
            pen = *cell.pen();
            colours(&pen, out);
        }
        out.push(cell.char());
    }
    if pen != plain {
        out.push_str("\x1b[m");
    }
}

/// The escape sequence after which text looks like this.
fn colours(pen: &avt::Pen, out: &mut String) {
    out.push_str("\x1b[0");
    let attributes = [
        (pen.is_bold(), 1),
        (pen.is_faint(), 2),
        (pen.is_italic(), 3),
        (pen.is_underline(), 4),
        (pen.is_blink(), 5),
        (pen.is_inverse(), 7),
        (pen.is_strikethrough(), 9),
    ];
    for (_, code) in attributes.iter().filter(|(on, _)| *on) {
        let _written = write!(out, ";{code}");
    }
    for (layer, colour) in [(38, pen.foreground()), (48, pen.background())] {
        let _written = match colour {
            Some(avt::Color::Indexed(n)) => write!(out, ";{layer};5;{n}"),
            Some(avt::Color::RGB(c)) => write!(out, ";{layer};2;{};{};{}", c.r, c.g, c.b),
            None => Ok(()),
        };
    }
    out.push('m');
}

/// True for the beginning of a character, to be completed by the next bytes.
fn may_go_on(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}

/// The modes of input, read from the text as it goes by.
#[derive(Debug, Default)]
struct Modes {
    on: BTreeSet<u16>,
    keypad: bool,
    /// An escape sequence so far.
    sequence: String,
}

impl Modes {
    fn see(&mut self, text: &str) {
        let mut rest = text;
        loop {
            if self.sequence.is_empty() {
                let Some((_, after)) = rest.split_once('\x1b') else {
                    return;
                };
                self.sequence.push('\x1b');
                rest = after;
            }
            let mut letters = rest.chars();
            let Some(letter) = letters.next() else { return };
            rest = letters.as_str();
            self.letter(letter);
        }
    }

    fn letter(&mut self, letter: char) {
        match (self.sequence.as_str(), letter) {
            (_, '\x1b') => {
                self.sequence.clear();
                self.sequence.push(letter);
                return;
            }
            ("\x1b", 'c') => {
                self.on.clear();
                self.keypad = false;
            }
            ("\x1b", '=') => self.keypad = true,
            ("\x1b", '>') => self.keypad = false,
            ("\x1b", '[') | ("\x1b[", '?') => {
                self.sequence.push(letter);
                return;
            }
            (begun, '0'..='9' | ';') if begun.starts_with("\x1b[?") && begun.len() < LONGEST => {
                self.sequence.push(letter);
                return;
            }
            (begun, 'h' | 'l') => {
                let numbers = begun.strip_prefix("\x1b[?").unwrap_or_default().split(';');
                for mode in numbers
                    .filter_map(|n| n.parse().ok())
                    .filter(|n| INPUT_MODES.contains(n))
                {
                    if letter == 'h' {
                        self.on.insert(mode);
                    } else {
                        self.on.remove(&mode);
                    }
                }
            }
            _ => {}
        }
        self.sequence.clear();
    }

    fn draw(&self, out: &mut String) {
        for mode in &self.on {
            let _written = write!(out, "\x1b[?{mode}h");
        }
        if self.keypad {
            out.push_str("\x1b=");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PtySize = PtySize { rows: 6, cols: 20 };

    fn shown(screen: &Screen) -> Vec<String> {
        let lines = screen.cells.screen().visible_lines();
        lines
            .map(|line| line.chars().collect::<String>().trim_end().to_owned())
            .collect()
    }

    /// A screen drawn on another one is the same screen, and goes on as the first does.
    fn same_elsewhere(bytes: &[u8], then: &[u8]) -> Vec<String> {
        let mut one = Screen::new(SIZE);
        one.feed(bytes);
        let mut other = Screen::new(SIZE);
        other.feed(one.draw().as_bytes());
        assert_eq!(shown(&one), shown(&other));
        assert_eq!(one.cells.cursor().row, other.cells.cursor().row);
        assert_eq!(one.modes.on, other.modes.on);
        one.feed(then);
        other.feed(then);
        assert_eq!(shown(&one), shown(&other));
        shown(&one)
    }

    #[test]
    fn a_screen_drawn_elsewhere_goes_on_the_same() {
        same_elsewhere(b"one\r\n\x1b[31mtwo\x1b[0m\r\nthree", b"\r\nfour\x1b[A!");
        same_elsewhere("\u{6f22}\u{5b57} wide".as_bytes(), "\u{d55c}".as_bytes());
        // Scrolled: what is above stays above.
        let many: String = (1..=40).map(|n| format!("line {n}\r\n")).collect();
        same_elsewhere(many.as_bytes(), b"end");
        let mut screen = Screen::new(SIZE);
        screen.feed(many.as_bytes());
        let mut other = Screen::new(SIZE);
        other.feed(screen.draw().as_bytes());
        assert_eq!(screen.cells.screen().text(), other.cells.screen().text());
        assert!(other.cells.screen().text().contains(&"line 1".to_owned()));
    }

    #[test]
    fn what_is_above_keeps_its_colours() {
        let mut screen = Screen::new(SIZE);
        screen.feed(b"\x1b[1;31mred\x1b[0m and \x1b[38;2;1;2;3;48;5;200;4mmore\x1b[0m\r\n");
        screen.feed("\x1b[7m\u{6f22}\x1b[0m plain  \x1b[44m  \x1b[0m\r\n".as_bytes());
        screen.feed("below\r\n".repeat(10).as_bytes());
        let mut other = Screen::new(SIZE);
        other.feed(screen.draw().as_bytes());
        let cells = |screen: &Screen| -> Vec<Vec<avt::Cell>> {
            let lines = screen.cells.primary_screen();
            lines
                .all_lines()
                .take(2)
                .map(|line| line.cells().to_vec())
                .collect()
        };
        assert_eq!(cells(&screen), cells(&other));
        let first = cells(&other)[0][0];
        assert!(first.pen().is_bold() && first.pen().foreground() == Some(avt::Color::Indexed(1)));
    }

    #[test]
    fn a_full_screen_program_leaves_the_screen_below_as_it_was() {
        let after = same_elsewhere(
            b"$ vim\r\n\x1b[?1049h\x1b[2J\x1b[3;4Hinside\x1b[2;5r\x1b[?1000;1006h\x1b[?2004h",
            b"\x1b[?1049l\x1b[?1000l",
        );
        assert_eq!(after.first().map(String::as_str), Some("$ vim"));
        let mut screen = Screen::new(SIZE);
        screen.feed(b"\x1b[?1000;1006h\x1b=");
        assert!(screen.draw().contains("\x1b[?1006h") && screen.draw().ends_with("\x1b="));
        screen.feed(b"\x1b[?1000l\x1bc");
        assert!(!screen.draw().contains("\x1b[?1006h"), "a full reset resets");
    }

    #[test]
    fn bytes_may_be_cut_anywhere() {
        let bytes = "a\u{e4}\u{1f600}\x1b[?2004h\x1b[1mb\u{6f22}".as_bytes();
        let mut whole = Screen::new(SIZE);
        whole.feed(bytes);
        let mut pieces = Screen::new(SIZE);
        for byte in bytes {
            pieces.feed(std::slice::from_ref(byte));
        }
        assert_eq!(whole.draw(), pieces.draw());
        // Not text at all: shown as such, and no harm.
        pieces.feed(&[0xff, 0xfe, b'x', 0xc3]);
        pieces.feed(b"y");
        assert!(
            shown(&pieces)
                .first()
                .is_some_and(|l| l.contains("\u{fffd}x\u{fffd}y"))
        );
    }

    #[test]
    fn another_size_wraps_anew_and_none_is_too_small() {
        let mut screen = Screen::new(PtySize { rows: 0, cols: 0 });
        screen.feed(b"abc");
        screen.resize(SIZE);
        assert_eq!(screen.size(), SIZE);
        screen.feed(b"\x1b[2J\x1b[Hwide enough for it");
        screen.resize(PtySize { rows: 6, cols: 10 });
        assert!(shown(&screen).contains(&"h for it".to_owned()));
        assert!(
            screen
                .cells
                .screen()
                .text()
                .contains(&"wide enough for it".to_owned())
        );
    }
}
