//! Owns: the raw shell: a terminal inside the terminal, and what keys mean to it.
//! Guarantees: its bytes reach only the emulator, never the person's terminal.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::msg::{Cmd, ToLink};

/// Between two looks at the size that another client gave the terminal.
const LOOK: Duration = Duration::from_secs(1);
/// Rows of its own history.
const SCROLLBACK: usize = 1_000;

/// An interactive shell in the jail of a session.
pub(crate) struct RawShell {
    pub(crate) session_id: String,
    /// Empty until the daemon has opened it.
    pub(crate) exec_id: String,
    pub(crate) ended: bool,
    /// Columns and rows it was told.
    pub(crate) size: (u16, u16),
    /// The daemon was asked for it.
    pub(crate) asked: bool,
    /// This program just typed: that it has the input now will be told in a moment.
    pub(crate) taking: bool,
    /// When the size that another client gave it was last asked for, and whether it may be another by now.
    pub(crate) looked: Option<Instant>,
    pub(crate) stale: bool,
    /// What was typed before the daemon had opened it.
    pub(crate) early: Vec<u8>,
    parser: vt100::Parser,
}

impl std::fmt::Debug for RawShell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawShell")
            .field("exec_id", &self.exec_id)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl RawShell {
    pub(crate) fn new(session_id: &str, size: (u16, u16)) -> Self {
        let one = NonZeroU16::MIN;
        let (columns, rows) = size;
        Self {
            session_id: session_id.to_owned(),
            exec_id: String::new(),
            ended: false,
            size,
            asked: false,
            taking: false,
            looked: None,
            stale: false,
            early: Vec::new(),
            parser: vt100::Parser::new(
                NonZeroU16::new(rows).unwrap_or(one),
                NonZeroU16::new(columns).unwrap_or(one),
                SCROLLBACK,
            ),
        }
    }

    /// Bytes for the shell: now, or as soon as it is open.
    pub(crate) fn input(&mut self, data: Vec<u8>) -> Option<Cmd> {
        if self.exec_id.is_empty() {
            self.early.extend(data);
            return None;
        }
        Some(Cmd::Link(ToLink::ShellInput {
            session_id: self.session_id.clone(),
            exec_id: self.exec_id.clone(),
            data,
        }))
    }

    /// Takes in bytes the shell wrote; gives what a terminal would answer.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.parser.process(bytes);
        let mut answer = Vec::new();
        // Programs that ask who we are wait for the answer before they draw.
        if contains(bytes, b"\x1b[c") || contains(bytes, b"\x1b[0c") {
            answer.extend_from_slice(b"\x1b[?62;22c");
        }
        if contains(bytes, b"\x1b[6n") {
            let (row, column) = self.screen().cursor_position();
            answer.extend_from_slice(format!("\x1b[{};{}R", row + 1, column + 1).as_bytes());
        }
        answer
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// When its size is to be asked for, where another client gives it.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        let looked = self.looked.map(|at| at + LOOK);
        self.stale.then_some(looked).flatten()
    }

    /// Takes another size; false when it has it.
    pub(crate) fn resize(&mut self, size: (u16, u16)) -> bool {
        let (Some(columns), Some(rows)) = (NonZeroU16::new(size.0), NonZeroU16::new(size.1)) else {
            return false;
        };
        if self.size == size {
            return false;
        }
        self.size = size;
        self.parser.screen_mut().set_size(rows, columns);
        true
    }

    /// The bytes a terminal sends for a key.
    pub(crate) fn bytes(&self, event: KeyEvent) -> Vec<u8> {
        encode(event, self.screen().application_cursor())
    }

    /// The bytes of a paste.
    pub(crate) fn paste(&self, text: &str) -> Vec<u8> {
        let text = text.replace('\n', "\r");
        if self.screen().bracketed_paste() {
            // The end mark inside a paste would let the rest be taken for keys.
            let text = text.replace("\x1b[201~", "");
            format!("\x1b[200~{text}\x1b[201~").into_bytes()
        } else {
            text.into_bytes()
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What xterm sends.
fn encode(event: KeyEvent, application: bool) -> Vec<u8> {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    let alt = event.modifiers.contains(KeyModifiers::ALT);
    let mut bytes = Vec::new();
    if alt && matches!(event.code, KeyCode::Char(_) | KeyCode::Enter | KeyCode::Backspace) {
        bytes.push(0x1b);
    }
    let modifier = 1
        + u8::from(event.modifiers.contains(KeyModifiers::SHIFT))
        + 2 * u8::from(alt)
        + 4 * u8::from(control);
    let mut cursor = |letter: char| {
        let text = match (modifier, application) {
            (1, true) => format!("\x1bO{letter}"),
            (1, false) => format!("\x1b[{letter}"),
            (n, _) => format!("\x1b[1;{n}{letter}"),
        };
        bytes.extend_from_slice(text.as_bytes());
    };
    let tilde = |number: u8| match modifier {
        1 => format!("\x1b[{number}~").into_bytes(),
        n => format!("\x1b[{number};{n}~").into_bytes(),
    };
    match event.code {
        KeyCode::Up => cursor('A'),
        KeyCode::Down => cursor('B'),
        KeyCode::Right => cursor('C'),
        KeyCode::Left => cursor('D'),
        KeyCode::Home => cursor('H'),
        KeyCode::End => cursor('F'),
        KeyCode::Insert => bytes.extend(tilde(2)),
        KeyCode::Delete => bytes.extend(tilde(3)),
        KeyCode::PageUp => bytes.extend(tilde(5)),
        KeyCode::PageDown => bytes.extend(tilde(6)),
        KeyCode::F(n @ 1..=4) => bytes.extend([0x1b, b'O', b'O' + n]),
        KeyCode::F(5) => bytes.extend(tilde(15)),
        KeyCode::F(n @ 6..=10) => bytes.extend(tilde(n + 11)),
        KeyCode::F(n @ 11..=12) => bytes.extend(tilde(n + 12)),
        KeyCode::Enter => bytes.push(b'\r'),
        KeyCode::Tab => bytes.push(b'\t'),
        KeyCode::BackTab => bytes.extend_from_slice(b"\x1b[Z"),
        KeyCode::Backspace => bytes.push(0x7f),
        KeyCode::Esc => bytes.push(0x1b),
        KeyCode::Char(c) if control => bytes.extend(control_byte(c)),
        KeyCode::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        _ => {}
    }
    bytes
}

fn control_byte(c: char) -> Option<u8> {
    match c.to_ascii_uppercase() {
        c @ '@'..='_' => u8::try_from(c).ok().map(|byte| byte & 0x1f),
        ' ' | '2' => Some(0),
        // How crossterm names the bytes 0x1c to 0x1f.
        c @ '4'..='7' => u8::try_from(c).ok().map(|byte| byte - b'4' + 0x1c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(code: KeyCode, modifiers: KeyModifiers) -> Vec<u8> {
        RawShell::new("s-1", (80, 24)).bytes(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_become_the_bytes_of_xterm() {
        assert_eq!(sent(KeyCode::Char('c'), KeyModifiers::CONTROL), [3]);
        assert_eq!(sent(KeyCode::Char('z'), KeyModifiers::CONTROL), [26]);
        assert_eq!(sent(KeyCode::Up, KeyModifiers::NONE), b"\x1b[A");
        assert_eq!(sent(KeyCode::F(5), KeyModifiers::NONE), b"\x1b[15~");
        assert_eq!(sent(KeyCode::F(2), KeyModifiers::NONE), b"\x1bOQ");
        assert_eq!(sent(KeyCode::Char('x'), KeyModifiers::ALT), b"\x1bx");
        assert_eq!(sent(KeyCode::Char('é'), KeyModifiers::NONE), "é".as_bytes());
    }

    #[test]
    fn it_is_emulated_and_answers() {
        let mut shell = RawShell::new("s-1", (20, 4));
        shell.feed(b"\x1b[?1h");
        assert_eq!(
            shell.bytes(KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)),
            b"\x1bOA"
        );
        assert_eq!(shell.feed(b"ab\x1b[6n"), b"\x1b[1;3R");
        assert!(shell.resize((40, 8)));
        assert_eq!(shell.screen().size().1.get(), 40);
    }
}
