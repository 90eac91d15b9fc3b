//! Owns: making text that somebody else wrote harmless to show on a terminal.
//! Guarantees: no control, escape, bidi or invisible character comes through; what is hidden is shown as
//! an escape, so that nobody approves what they cannot see.

use std::fmt::Write as _;

/// One line: also line feeds and tabs are shown as escapes.
pub fn line(text: &str) -> String {
    escape(text, |c| is_unsafe(c) || is_invisible(c))
}

/// Several lines: line feeds and tabs stay, everything else that is not visible is shown as an escape.
pub fn block(text: &str) -> String {
    escape(text, |c| !is_layout(c) && (is_unsafe(c) || is_invisible(c)))
}

/// Running text of several lines, such as an answer: joiners stay too, which scripts and emoji need.
pub fn prose(text: &str) -> String {
    escape(text, |c| {
        !is_layout(c) && !is_joiner(c) && (is_unsafe(c) || is_invisible(c))
    })
}

/// For a file or pipe: only control characters other than layout are shown as escapes.
pub fn controls(text: &str) -> String {
    escape(text, |c| !is_layout(c) && c.is_control())
}

/// Program output for a person: complete colour and cursor sequences are dropped, the rest is a `block`.
pub fn output(text: &str) -> String {
    block(&without_sequences(text))
}

/// True when `line` would change the text: worth a flag beside an approval.
pub fn is_suspicious(text: &str) -> bool {
    text.chars()
        .any(|c| !is_layout(c) && (is_unsafe(c) || is_invisible(c)))
}

fn escape(text: &str, hide: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !hide(c) {
            out.push(c);
            continue;
        }
        let code = u32::from(c);
        // Writing to a String cannot fail.
        let _ = match c {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            _ if code < 0x80 => write!(out, "\\x{code:02x}"),
            _ => write!(out, "\\u{{{code:x}}}"),
        };
    }
    out
}

fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Characters that steer a terminal or turn the direction of text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// Characters that take no room: they hide differences between two texts.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// Drops CSI and OSC sequences that are complete; broken ones stay and are escaped later.
fn without_sequences(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = sequence_length(from);
        if length == 0 {
            out.push('\u{1b}');
        }
        rest = from.split_at(length.max(1)).1;
    }
    out.push_str(rest);
    // Progress bars return to the start of the line: what they wrote last is what counts.
    out.replace("\r\n", "\n")
}

/// Bytes of the complete sequence that `text` starts with; 0 when there is none.
fn sequence_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '[')) => chars
            .find(|(_, c)| !matches!(c, '\u{20}'..='\u{3f}'))
            .filter(|(_, c)| matches!(c, '\u{40}'..='\u{7e}'))
            .map_or(0, |(at, _)| at + 1),
        Some((_, ']')) => {
            let mut escaped = false;
            for (at, c) in chars {
                match c {
                    '\u{7}' => return at + 1,
                    '\\' if escaped => return at + 1,
                    _ => escaped = c == '\u{1b}',
                }
            }
            0
        }
        Some((at, c @ ('(' | ')'))) => chars
            .next()
            .map_or(at + c.len_utf8(), |(at, c)| at + c.len_utf8()),
        Some((_, '=' | '>' | '7' | '8' | 'M' | 'c')) => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(line("a\u{1b}[31mb"), "a\\x1b[31mb");
        assert_eq!(line("rm \u{202e}fr-\u{200b}"), "rm \\u{202e}fr-\\u{200b}");
        assert_eq!(line("two\nlines\t"), "two\\nlines\\t");
        assert_eq!(block("two\nlines\r"), "two\nlines\\r");
        assert_eq!(line("c1 \u{9b}1m"), "c1 \\u{9b}1m");
        assert_eq!(prose("👨\u{200d}👩 \u{7}"), "👨\u{200d}👩 \\x07");
        assert_eq!(line("日本語 é"), "日本語 é");
    }

    #[test]
    fn colour_is_dropped_and_broken_sequences_are_shown() {
        assert_eq!(output("\u{1b}[1;31mred\u{1b}[0m\r\n"), "red\n");
        assert_eq!(output("\u{1b}]0;title\u{7}x\u{1b}]8;;u\u{1b}\\y"), "xy");
        assert_eq!(output("cut \u{1b}[31"), "cut \\x1b[31");
        assert_eq!(output("\u{1b}(Bok"), "ok");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_survives(text in "\\PC*|(?s).*") {
            for shown in [line(&text), block(&text), prose(&text), output(&text), controls(&text)] {
                prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            }
            prop_assert!(!is_suspicious(&line(&text)));
        }
    }
}
