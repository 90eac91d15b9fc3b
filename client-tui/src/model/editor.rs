//! Owns: text being written: cursor, graphemes, and pastes folded to one mark.
//! Guarantees: moving and deleting go by whole graphemes; a folded paste is sent whole.

use unicode_segmentation::UnicodeSegmentation as _;

/// Pastes of more lines than this are folded.
const FOLD_LINES: usize = 20;
/// The first of the characters that stand for folded pastes: private, so that no text contains them.
const FOLD: u32 = 0x10_0000;
/// Most folds in one text.
const FOLDS: usize = 256;

/// Text with a cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Editor {
    text: String,
    /// In bytes, always between graphemes.
    cursor: usize,
    folds: Vec<String>,
}

impl Editor {
    /// With this text, the cursor at its end.
    pub(crate) fn with(text: impl Into<String>) -> Self {
        let text: String = clean(&text.into());
        Self {
            cursor: text.len(),
            text,
            folds: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// As sent: folded pastes in full.
    pub(crate) fn expanded(&self) -> String {
        self.text
            .chars()
            .map(|c| self.folded(c).map_or_else(|| c.to_string(), str::to_owned))
            .collect()
    }

    /// As shown, split at the cursor: folded pastes as their mark.
    pub(crate) fn shown(&self) -> (String, String) {
        let mark = |part: &str| -> String {
            part.chars()
                .map(|c| match self.folded(c) {
                    Some(text) => format!("[pasted {} lines]", text.lines().count()),
                    None => c.to_string(),
                })
                .collect()
        };
        let (before, after) = self.split();
        (mark(before), mark(after))
    }

    /// The raw text up to the cursor.
    pub(crate) fn before(&self) -> &str {
        self.split().0
    }

    /// The raw text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn insert(&mut self, text: &str) {
        let text = clean(text);
        self.text.insert_str(self.cursor, &text);
        self.cursor += text.len();
    }

    /// Inserts a paste; a long one is folded.
    pub(crate) fn paste(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        if text.lines().count() <= FOLD_LINES || self.folds.len() >= FOLDS {
            return self.insert(&text);
        }
        let mark = u32::try_from(self.folds.len())
            .ok()
            .and_then(|index| char::from_u32(FOLD + index));
        if let Some(mark) = mark {
            self.folds.push(clean(&text));
            self.text.insert(self.cursor, mark);
            self.cursor += mark.len_utf8();
        }
    }

    /// Opens the folded paste that the cursor is at; false when there is none.
    pub(crate) fn unfold(&mut self) -> bool {
        let Some(mark) = self.split().1.chars().next() else {
            return false;
        };
        let Some(text) = self.folded(mark).map(str::to_owned) else {
            return false;
        };
        self.text
            .replace_range(self.cursor..self.cursor + mark.len_utf8(), &text);
        true
    }

    /// Replaces the last `bytes` before the cursor.
    pub(crate) fn replace_before(&mut self, bytes: usize, with: &str) {
        let start = self.cursor.saturating_sub(bytes);
        if self.text.is_char_boundary(start) {
            self.text.replace_range(start..self.cursor, with);
            self.cursor = start + with.len();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn left(&mut self) {
        self.cursor -= last_grapheme(self.split().0);
    }

    pub(crate) fn right(&mut self) {
        self.cursor += first_grapheme(self.split().1);
    }

    pub(crate) fn word_left(&mut self) {
        self.cursor = word_start(self.split().0);
    }

    pub(crate) fn word_right(&mut self) {
        let after = self.split().1;
        let blanks = after.len() - after.trim_start().len();
        let word = after.trim_start().find(char::is_whitespace);
        self.cursor += word.map_or(after.len(), |at| blanks + at);
    }

    pub(crate) fn line_start(&mut self) {
        self.cursor = self.split().0.rfind('\n').map_or(0, |at| at + 1);
    }

    pub(crate) fn line_end(&mut self) {
        let after = self.split().1;
        self.cursor += after.find('\n').unwrap_or(after.len());
    }

    pub(crate) fn delete_left(&mut self) {
        let start = self.cursor - last_grapheme(self.split().0);
        self.remove(start, self.cursor);
    }

    pub(crate) fn delete_right(&mut self) {
        let end = self.cursor + first_grapheme(self.split().1);
        self.remove(self.cursor, end);
    }

    pub(crate) fn delete_word(&mut self) {
        let start = word_start(self.split().0);
        self.remove(start, self.cursor);
    }

    pub(crate) fn delete_to_start(&mut self) {
        let end = self.cursor;
        self.line_start();
        self.remove(self.cursor, end);
    }

    pub(crate) fn delete_to_end(&mut self) {
        let start = self.cursor;
        self.line_end();
        self.remove(start, self.cursor);
    }

    /// One line up; false when this is the first.
    pub(crate) fn up(&mut self) -> bool {
        let before = self.split().0;
        let Some(end) = before.rfind('\n') else {
            return false;
        };
        let column = before.get(end + 1..).unwrap_or_default().graphemes(true).count();
        let start = before
            .get(..end)
            .and_then(|text| text.rfind('\n'))
            .map_or(0, |at| at + 1);
        let line = before.get(start..end).unwrap_or_default();
        self.cursor = start + line.graphemes(true).take(column).map(str::len).sum::<usize>();
        true
    }

    /// One line down; false when this is the last.
    pub(crate) fn down(&mut self) -> bool {
        let (before, after) = self.split();
        let Some(end) = after.find('\n') else { return false };
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or_default().graphemes(true).count();
        let line = after
            .get(end + 1..)
            .and_then(|rest| rest.split('\n').next())
            .unwrap_or_default();
        self.cursor += end + 1 + line.graphemes(true).take(column).map(str::len).sum::<usize>();
        true
    }

    fn split(&self) -> (&str, &str) {
        self.text
            .split_at_checked(self.cursor)
            .unwrap_or((&self.text, ""))
    }

    fn remove(&mut self, start: usize, end: usize) {
        if start < end && self.text.is_char_boundary(start) && self.text.is_char_boundary(end) {
            self.text.replace_range(start..end, "");
        }
        self.cursor = start.min(self.text.len());
    }

    fn folded(&self, c: char) -> Option<&str> {
        let index = u32::from(c).checked_sub(FOLD)?;
        self.folds.get(usize::try_from(index).ok()?).map(String::as_str)
    }
}

/// Without control characters other than layout, and without our marks.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| (!c.is_control() || matches!(c, '\n' | '\t')) && u32::from(*c) < FOLD)
        .collect()
}

fn last_grapheme(text: &str) -> usize {
    text.graphemes(true).next_back().map_or(0, str::len)
}

fn first_grapheme(text: &str) -> usize {
    text.graphemes(true).next().map_or(0, str::len)
}

fn word_start(text: &str) -> usize {
    let trimmed = text.trim_end();
    trimmed.rfind(char::is_whitespace).map_or(0, |at| {
        at + trimmed
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .map_or(1, char::len_utf8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backspace_takes_one_grapheme() {
        let mut editor = Editor::with("日e\u{301}👩\u{200d}👩\u{200d}👧");
        editor.delete_left();
        assert_eq!(editor.text(), "日e\u{301}");
        editor.delete_left();
        assert_eq!(editor.text(), "日");
        editor.delete_left();
        editor.delete_left();
        assert!(editor.is_empty());
    }

    #[test]
    fn a_long_paste_folds_and_is_sent_whole() {
        let long: String = (0..300).map(|n| format!("line {n}\n")).collect();
        let mut editor = Editor::with("see ");
        editor.paste(&long);
        assert_eq!(editor.shown().0, "see [pasted 300 lines]");
        assert_eq!(editor.expanded(), format!("see {long}"));
        assert!(!editor.unfold(), "behind the mark there is nothing to open");
        editor.left();
        assert!(editor.unfold());
        assert_eq!(editor.text(), format!("see {long}"));
        let mut editor = Editor::default();
        editor.paste(&long);
        editor.delete_left();
        assert!(editor.is_empty());
    }

    #[test]
    fn words_lines_and_rows() {
        let mut editor = Editor::with("one two\nthree");
        editor.word_left();
        assert!(editor.up());
        editor.delete_to_end();
        assert_eq!(editor.text(), "\nthree");
        assert!(editor.down());
        editor.line_end();
        editor.delete_word();
        assert_eq!(editor.text(), "\n");
        editor.insert("x\u{1b}[2J");
        assert_eq!(editor.text(), "\nx[2J");
    }
}
