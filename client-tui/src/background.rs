//! Owns: asking the terminal about itself before keys are read, first whether its background is light.
//! Guarantees: waits at most 100 ms for an answer to begin; swallows only the terminal's own answer, also one that comes
//! later.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long one that has begun may take: half an answer would leave its other half to be read as keys.
const WHOLE: Duration = Duration::from_millis(900);

/// What a terminal answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// It came to its end in time.
    pub(crate) whole: bool,
}

/// Asks the terminal (OSC 11), with a question that every terminal answers behind it; and what of the answer is
/// still to come.
pub(crate) fn is_light() -> (bool, Late) {
    if enable_raw_mode().is_err() {
        return (false, Late::Nothing);
    }
    let answer = ask("\x1b]11;?\x07\x1b[c");
    drop(disable_raw_mode());
    let Ok(answer) = answer else {
        return (false, Late::Nothing);
    };
    let light = brightness(&answer.text).is_some_and(|bright| bright > 50);
    let late = if answer.whole {
        Late::Nothing
    } else {
        Late::Expected
    };
    (light, late)
}

/// Asks; the terminal is in raw mode, and the question ends with one whose answer ends with `c`.
pub(crate) fn ask(question: &str) -> std::io::Result<Answer> {
    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let begun = Instant::now();
    let mut until = begun + PATIENCE;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        let left = until.saturating_duration_since(Instant::now());
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut ready = [PollFd::new(&terminal, PollFlags::IN)];
        if left.is_zero() || poll(&mut ready, Some(&wait))? == 0 {
            break;
        }
        let mut byte = [0_u8; 64];
        let count = terminal.read(&mut byte)?;
        answer.extend(byte.iter().take(count));
        until = begun + WHOLE;
        if count == 0 || answer.len() > 512 {
            break;
        }
    }
    Ok(Answer {
        whole: is_whole(&answer),
        text: String::from_utf8_lossy(&answer).into_owned(),
    })
}

/// True with the answer to the last question; a colour may have a `c` as well.
fn is_whole(answer: &[u8]) -> bool {
    answer.ends_with(b"c") && answer.windows(3).any(|part| part == b"\x1b[?")
}

/// An answer (OSC 11) that comes when keys are read already, over a slow line: it would be read as keys, of which the
/// last opens the editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    Nothing,
    Expected,
    /// Its beginning has come.
    Coming,
}

impl Late {
    /// True when the event is a piece of the answer.
    pub(crate) fn swallows(&mut self, event: &Event) -> bool {
        let Event::Key(KeyEvent { code, modifiers, .. }) = event else {
            return false;
        };
        let alt = modifiers.contains(KeyModifiers::ALT);
        let control = modifiers.contains(KeyModifiers::CONTROL);
        match (*self, code) {
            (Self::Expected, KeyCode::Char(']')) if alt => *self = Self::Coming,
            (Self::Coming, KeyCode::Char('g')) if control => *self = Self::Nothing,
            (Self::Coming, KeyCode::Char('\\')) if alt => *self = Self::Nothing,
            (Self::Coming, KeyCode::Char(c)) if !alt && !control && "rgb:;/".contains(*c) => {}
            (Self::Coming, KeyCode::Char(c)) if !alt && !control && c.is_ascii_hexdigit() => {}
            (Self::Coming, _) => {
                *self = Self::Nothing;
                return false;
            }
            _ => return false,
        }
        true
    }
}

/// Brightness in percent of `rgb:RRRR/GGGG/BBBB`.
fn brightness(answer: &str) -> Option<u32> {
    let colour = answer.split("rgb:").nth(1)?;
    let mut parts = colour.split('/').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_hexdigit).collect();
        let most = 16_u32
            .checked_pow(u32::try_from(digits.len()).ok()?)?
            .checked_sub(1)?;
        u32::from_str_radix(&digits, 16)
            .ok()?
            .checked_mul(100)?
            .checked_div(most)
    });
    let (red, green, blue) = (parts.next()??, parts.next()??, parts.next()??);
    Some((red * 30 + green * 59 + blue * 11) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        assert_eq!(brightness("\x1b]11;rgb:ffff/ffff/ffff\x07\x1b[?62c"), Some(100));
        assert_eq!(brightness("\x1b]11;rgb:00/00/00\x1b\\"), Some(0));
        assert_eq!(brightness("\x1b[?62;22c"), None);
        assert!(is_whole(b"\x1b]11;rgb:00/00/00\x07\x1b[?62;22c") && !is_whole(b"\x1b]11;rgb:cc"));
    }

    #[test]
    fn an_answer_that_comes_late_is_not_typed() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let plain = |c| key(KeyCode::Char(c), KeyModifiers::NONE);
        for end in [
            key(KeyCode::Char('g'), KeyModifiers::CONTROL),
            key(KeyCode::Char('\\'), KeyModifiers::ALT),
        ] {
            let mut late = Late::Expected;
            assert!(!late.swallows(&plain('r')));
            assert!(late.swallows(&key(KeyCode::Char(']'), KeyModifiers::ALT)));
            assert!("11;rgb:ffff/00aa/1e1e".chars().all(|c| late.swallows(&plain(c))));
            assert!(late.swallows(&end));
            assert!(!late.swallows(&plain('1')));
            assert!(!late.swallows(&end));
        }
        let mut none = Late::Nothing;
        assert!(!none.swallows(&key(KeyCode::Char(']'), KeyModifiers::ALT)));
    }
}
