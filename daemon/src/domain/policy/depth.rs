//! Owns: how deep a command text is nested, before it is parsed.
//! Guarantees: pure, one pass. Quotes and here-documents are not looked at, so that a text may be made to look less deep than it is:
//! how much can open in it is told too, and that is never too little.

/// How a text is nested.
pub(super) struct Nesting {
    /// How deep it seems to be.
    pub(super) depth: usize,
    /// How much opens in it: it is no deeper than that.
    pub(super) opens: usize,
}

/// Looks at a text. Parentheses, braces and words are counted apart: the `)` of a `case` closes none of the words.
pub(super) fn nesting(text: &str) -> Nesting {
    let (mut words, mut parentheses, mut braces) = (0usize, 0usize, 0usize);
    let (mut deepest, mut opens) = (0usize, 0usize);
    let mut letters = 0usize;
    let bytes = text.as_bytes();
    let mut word_start = 0;
    let mut count = |kind: Kind, more: bool| {
        let own = match kind {
            Kind::Word => &mut words,
            Kind::Parenthesis => &mut parentheses,
            Kind::Brace => &mut braces,
        };
        *own = if more {
            own.saturating_add(1)
        } else {
            own.saturating_sub(1)
        };
        opens = opens.saturating_add(usize::from(more));
        deepest = deepest.max(words.saturating_add(parentheses).saturating_add(braces));
    };
    for (at, byte) in bytes.iter().chain(b" ").enumerate() {
        if byte.is_ascii_alphabetic() {
            if letters == 0 {
                word_start = at;
            }
            letters += 1;
            continue;
        }
        if letters > 0 {
            match bytes.get(word_start..at) {
                Some(b"if" | b"case" | b"while" | b"until" | b"for" | b"select")
                    if begins(bytes, word_start) =>
                {
                    count(Kind::Word, true);
                }
                Some(b"fi" | b"esac" | b"done") => count(Kind::Word, false),
                _ => {}
            }
            letters = 0;
        }
        match byte {
            b'(' => count(Kind::Parenthesis, true),
            b')' => count(Kind::Parenthesis, false),
            b'{' => count(Kind::Brace, true),
            b'}' => count(Kind::Brace, false),
            _ => {}
        }
    }
    Nesting {
        depth: deepest,
        opens,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Word,
    Parenthesis,
    Brace,
}

/// True where a command can begin.
fn begins(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    let trimmed = before.trim_ascii_end();
    let line = before.len() == trimmed.len()
        || before
            .get(trimmed.len()..)
            .is_some_and(|gap| gap.contains(&b'\n'));
    match trimmed.last() {
        None => true,
        Some(b';' | b'&' | b'|' | b'(' | b'{' | b'`' | b'!' | b')') => true,
        Some(_) => {
            line || [
                &b"do"[..],
                b"then",
                b"else",
                b"if",
                b"while",
                b"until",
                b"elif",
                b"in",
            ]
            .iter()
            .any(|word| trimmed.ends_with(word))
        }
    }
}
