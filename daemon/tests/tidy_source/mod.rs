//! Owns: looking at Rust source as text: without comments, without strings, without its tests.
//! Guarantees: line numbers stay those of the file; good enough for rules about words, not a parser.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "part of a test, which may fail in any way it likes"
)]

/// A source file.
pub struct Source {
    /// From the root of the workspace.
    pub path: String,
    /// As it is.
    pub text: String,
}

/// Where a reader of source is.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Code,
    LineComment,
    BlockComment(u32),
    Text,
    RawText(usize),
}

impl Source {
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// Whole files of tests.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.contains("/benches/") || self.path.ends_with("/tests.rs")
    }

    /// Without comments and without the file's own tests.
    pub fn code(&self) -> String {
        without_tests(&strip(&self.text, true))
    }

    /// Without comments, strings and the file's own tests.
    pub fn bare(&self) -> String {
        without_tests(&strip(&self.text, false))
    }

    /// The modules at the top of the crate that this file names, with the line.
    pub fn modules_used(&self) -> Vec<(usize, String)> {
        let bare = self.bare();
        let mut found = Vec::new();
        for (at, _) in bare.match_indices("crate::") {
            if at > 0 && bare[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            found.extend(
                heads(&bare[at + 7..])
                    .into_iter()
                    .map(|head| (line_of(&bare, at), head)),
            );
        }
        let ups = "super::".repeat(self.depth());
        for (at, _) in bare.match_indices(&ups) {
            let longer = bare[..at].ends_with("super::") || bare[at + ups.len()..].starts_with("super::");
            if !longer {
                found.extend(
                    heads(&bare[at + ups.len()..])
                        .into_iter()
                        .map(|head| (line_of(&bare, at), head)),
                );
            }
        }
        found
    }

    /// How many `super::` lead from this file's module to the root of the crate.
    fn depth(&self) -> usize {
        let inside = self
            .path
            .split_once("/src/")
            .map_or(self.path.as_str(), |(_, inside)| inside);
        let parts = inside.split('/').count();
        if inside.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        }
    }
}

/// What follows a heading up to the next one (TOML).
pub fn words_after<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(heading)?;
    Some(after.split("\n[").next().unwrap_or(after))
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The first names of a path or of a group of paths: `a::b` → a; `{a::b, c}` → a, c.
fn heads(after: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let Some(group) = after.strip_prefix('{') else {
        return vec![name(after)];
    };
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => {}
        }
        if depth == 0 && c != ',' {
            items.last_mut().unwrap().push(c);
        }
    }
    items
        .iter()
        .map(|item| name(item.trim()))
        .filter(|head| !head.is_empty())
        .collect()
}

/// Cuts modules and items marked `#[cfg(test)]`, keeping the line ends. Text must be without comments.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut depth = 0;
        let mut end = item.len();
        for (position, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => {
                    end = position + 1;
                    break;
                }
                '}' => depth -= 1,
                ';' | ',' if depth == 0 => {
                    end = position + 1;
                    break;
                }
                _ => {}
            }
        }
        kept.push_str(&"\n".repeat(item[..end].matches('\n').count()));
        rest = &item[end..];
    }
    kept + rest
}

/// Blanks comments and, unless wanted, what strings hold.
pub fn strip(text: &str, keep_strings: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut out = String::new();
    let mut inside = Inside::Code;
    let mut index = 0;
    while index < chars.len() {
        let c = at(index);
        let mut step = 1;
        let mut shown = c;
        match inside {
            Inside::Code => match (c, at(index + 1)) {
                ('/', '/') => inside = Inside::LineComment,
                ('/', '*') => (inside, step) = (Inside::BlockComment(1), 2),
                ('"', _) => inside = Inside::Text,
                ('r', '"' | '#') if !at(index.wrapping_sub(1)).is_alphanumeric() => {
                    let hashes = (index + 1..).take_while(|next| at(*next) == '#').count();
                    if at(index + 1 + hashes) == '"' {
                        inside = Inside::RawText(hashes);
                        step = 2 + hashes;
                        shown = '"';
                    }
                }
                // A quote as a character, which opens no string.
                ('\'', '"') if at(index + 2) == '\'' => (step, shown) = (3, ' '),
                ('\'', '\\') => {
                    let close = (index + 3..)
                        .find(|next| matches!(at(*next), '\'' | '\0'))
                        .unwrap_or(index + 3);
                    (step, shown) = (close + 1 - index, ' ');
                }
                ('\'', '{' | '}') if at(index + 2) == '\'' => (step, shown) = (3, ' '),
                _ => {}
            },
            Inside::LineComment if c == '\n' => inside = Inside::Code,
            Inside::BlockComment(depth) => match (c, at(index + 1)) {
                ('/', '*') => (inside, step) = (Inside::BlockComment(depth + 1), 2),
                ('*', '/') => {
                    inside = if depth <= 1 {
                        Inside::Code
                    } else {
                        Inside::BlockComment(depth - 1)
                    };
                    (step, shown) = (2, ' ');
                    index += step;
                    out.push(shown);
                    continue;
                }
                _ => {}
            },
            Inside::Text if c == '\\' => step = 2,
            Inside::Text if c == '"' => {
                inside = Inside::Code;
                out.push('"');
                index += 1;
                continue;
            }
            Inside::RawText(hashes) if c == '"' && (1..=hashes).all(|more| at(index + more) == '#') => {
                inside = Inside::Code;
                out.push('"');
                index += 1 + hashes;
                continue;
            }
            _ => {}
        }
        let quote = shown == '"' && matches!(inside, Inside::Text | Inside::RawText(_));
        let visible = inside == Inside::Code || quote;
        let text_kept = keep_strings && matches!(inside, Inside::Text | Inside::RawText(_));
        let lines = (index..index + step).filter(|each| at(*each) == '\n').count();
        if lines > 0 {
            out.push_str(&"\n".repeat(lines));
        } else if (visible || text_kept) && c != '\n' {
            out.push(shown);
        }
        index += step;
    }
    out
}

#[test]
fn comments_and_strings_are_told_from_code() {
    let text = "a(); // b\n/* c /* d */ e */ f(\"g // \\\" h\", r#\"i \" j\"#, '\"', '\\'', 'k'); l\n";
    let source = Source::new("x.rs", text);
    let bare = source.bare();
    for word in ["a()", "f(", "l\n"] {
        assert!(bare.contains(word), "{word}: {bare}");
    }
    for word in ["b", "c", "d", "e", "g", "h", "i", "j"] {
        assert!(!bare.contains(word), "{word}: {bare}");
    }
    assert!(source.code().contains("g //") && source.code().contains("i \" j"));
    assert_eq!(bare.lines().count(), text.lines().count());
}

#[test]
fn a_files_own_tests_are_cut() {
    let source = Source::new(
        "x.rs",
        "a();\n#[cfg(test)]\nmod tests {\n  fn b() { '{' }\n}\nc();\n#[cfg(test)]\nuse d;\ne();\n",
    );
    let bare = source.bare();
    assert!(bare.contains("a()") && bare.contains("c()") && bare.contains("e()"));
    assert!(!bare.contains("b()") && !bare.contains('d'));
    assert_eq!(bare.lines().count(), 9);
}
