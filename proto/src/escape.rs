//! Owns: making text that somebody else wrote harmless to show on a terminal.
//! Guarantees: no control, escape, bidi or invisible character comes through; what is hidden is shown as
//! an escape, so that nobody approves what they cannot see.

mod lookalikes;

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

/// What somebody is asked to approve, of several lines: a `block` in which also what looks like something else is
/// shown as an escape.
pub fn asked(text: &str) -> String {
    let pretended = lookalikes::of(text);
    escape(text, |c| {
        !is_layout(c) && (is_unsafe(c) || is_invisible(c) || pretended.has(c))
    })
}

/// Program output for a person: complete colour and cursor sequences are dropped, the rest is a `block` that keeps what
/// emoji are joined with.
pub fn output(text: &str) -> String {
    let mut before = '\0';
    escape(&without_sequences(text), |c| {
        let joins = joins_emoji(before, c);
        before = c;
        !is_layout(c) && !joins && (is_unsafe(c) || is_invisible(c))
    })
}

/// True for a joiner or variation selector behind a symbol.
fn joins_emoji(before: char, c: char) -> bool {
    match c {
        '\u{fe0e}' | '\u{fe0f}' => matches!(before, '#' | '*' | '0'..='9') || is_symbol(before),
        '\u{200d}' => before == '\u{fe0f}' || is_symbol(before),
        _ => false,
    }
}

fn is_symbol(c: char) -> bool {
    matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}'..='\u{2bff}' | '\u{3030}' | '\u{303d}'
        | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

/// True when the text has characters that a person does not see: worth a flag beside an approval.
pub fn is_suspicious(text: &str) -> bool {
    text.chars()
        .any(|c| !is_layout(c) && (is_unsafe(c) || is_invisible(c)))
}

/// True when the text has characters that look like others: worth a flag beside an approval.
pub fn has_lookalikes(text: &str) -> bool {
    let pretended = lookalikes::of(text);
    text.chars().any(|c| pretended.has(c))
}

fn escape(text: &str, mut hide: impl FnMut(char) -> bool) -> String {
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
            | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}'
            // They take the character behind them into their own cell.
            | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{110bd}' | '\u{110cd}')
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
    fn what_is_asked_shows_what_it_pretends_to_be() {
        // In the word "cat" the second letter is Cyrillic.
        assert_eq!(asked("c\u{430}t /etc/hosts"), "c\\u{430}t /etc/hosts");
        assert_eq!(
            asked("\u{441}\u{430}\u{442} /etc\u{2215}hosts"),
            "\u{441}\u{430}\u{442} /etc\\u{2215}hosts"
        );
        assert_eq!(
            asked("\u{440}\u{430}\u{443}\u{440}\u{430}l"),
            "\\u{440}\\u{430}\\u{443}\\u{440}\\u{430}l"
        );
        assert_eq!(asked("rm\u{a0}-rf x"), "rm\\u{a0}-rf x");
        assert_eq!(
            asked("echo привет мир, Ελλάδα, 日本"),
            "echo привет мир, Ελλάδα, 日本"
        );
        assert!(has_lookalikes("gіt push") && !has_lookalikes("git push"));
        assert!(!has_lookalikes("сор: это русский текст"));
        // All of it could be Latin.
        assert!(has_lookalikes("\u{441}\u{43e}\u{440}"));
    }

    #[test]
    fn emoji_of_output_stay_whole() {
        let text = "👩\u{200d}💻 ⚠\u{fe0f} 🏳\u{fe0f}\u{200d}🌈 1\u{fe0f}\u{20e3}";
        assert_eq!(output(text), text);
        assert_eq!(output("a\u{200d}b \u{fe0f}"), "a\\u{200d}b \\u{fe0f}");
        assert_eq!(output("⚠\u{200b}\u{605}1"), "⚠\\u{200b}\\u{605}1");
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
            for shown in [line(&text), block(&text), prose(&text), output(&text), controls(&text), asked(&text)] {
                prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            }
            prop_assert!(!is_suspicious(&line(&text)));
        }
    }
}
