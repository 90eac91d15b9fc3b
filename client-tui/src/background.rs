//! Owns: finding out whether the terminal's background is light.
//! Guarantees: takes at most 100 ms, and swallows only the terminal's own answer.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(100);

/// Asks the terminal (OSC 11), with a question that every terminal answers behind it.
pub(crate) fn is_light() -> bool {
    if enable_raw_mode().is_err() {
        return false;
    }
    let answer = ask().unwrap_or_default();
    drop(disable_raw_mode());
    brightness(&answer).is_some_and(|bright| bright > 50)
}

fn ask() -> std::io::Result<String> {
    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(b"\x1b]11;?\x07\x1b[c")?;
    let until = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    // The answer to the second question comes last and ends with `c`.
    while !answer.ends_with(b"c") {
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
        if count == 0 || answer.len() > 512 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
    }
}
