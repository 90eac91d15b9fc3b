//! Owns: how deep a command text is nested, before it is parsed.
//! Guarantees: pure, one pass; rather too deep than too shallow.

/// How deep a text may be nested, read roughly and rather too deep than too shallow: quotes are not looked at.
pub(super) fn depth(text: &str) -> usize {
    let (mut now, mut deepest) = (0usize, 0usize);
    let mut letters = 0usize;
    let bytes = text.as_bytes();
    let mut word_start = 0;
    let mut count = |opens: bool| {
        now = if opens {
            now.saturating_add(1)
        } else {
            now.saturating_sub(1)
        };
        deepest = deepest.max(now);
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
                    count(true);
                }
                Some(b"fi" | b"esac" | b"done") => count(false),
                _ => {}
            }
            letters = 0;
        }
        match byte {
            b'(' | b'{' => count(true),
            b')' | b'}' => count(false),
            _ => {}
        }
    }
    deepest
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
