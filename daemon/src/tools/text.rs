//! Owns: a text file while it is edited: its byte-order mark, line ends and final newline.
//! Guarantees: edits are made on plain `\n` text; every byte outside the edited ranges comes back unchanged.

use std::ops::Range;

use super::ToolError;

const BOM: &str = "\u{feff}";

/// A piece of the plain text and what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice {
    /// Bytes of the plain text.
    pub(super) range: Range<usize>,
    /// Plain text.
    pub(super) with: String,
}

/// A text file.
#[derive(Debug, Clone)]
pub(super) struct Text {
    has_bom: bool,
    /// As it is on disk, without the mark.
    original: String,
    /// With every `\r\n` as `\n`, and ending in one.
    plain: String,
    /// Where in `plain` the line ends are that had a `\r`; ascending.
    carriage_returns: Vec<usize>,
    /// `plain` ends in a newline the file does not have.
    lacks_final_newline: bool,
}

impl Text {
    /// Text from a file's bytes, or why it is not text that can be edited.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ToolError> {
        let refuse = |what: &str| {
            Err(ToolError::Refused(format!(
                "is {what}. Edit it with a program through exec, or replace it whole with `write`."
            )))
        };
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return refuse("UTF-16 text, which this tool does not edit");
        }
        if bytes.contains(&0) {
            return refuse("a binary file");
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return refuse("not valid UTF-8");
        };
        let (has_bom, original) = match text.strip_prefix(BOM) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut plain = String::with_capacity(original.len() + 1);
        let mut carriage_returns = Vec::new();
        for line in original.split_inclusive('\n') {
            match line.strip_suffix("\r\n") {
                Some(content) => {
                    plain.push_str(content);
                    carriage_returns.push(plain.len());
                    plain.push('\n');
                }
                None => plain.push_str(line),
            }
        }
        let lacks_final_newline = !plain.is_empty() && !plain.ends_with('\n');
        if lacks_final_newline {
            plain.push('\n');
        }
        Ok(Self {
            has_bom,
            original: original.to_owned(),
            plain,
            carriage_returns,
            lacks_final_newline,
        })
    }

    /// The text to search and edit.
    pub(super) fn plain(&self) -> &str {
        &self.plain
    }

    /// The file with the splices made; they must be in order and not overlap.
    pub(super) fn apply(&self, splices: &[Splice]) -> Result<String, ToolError> {
        let broken = || ToolError::Failed("The edit could not be placed; nothing was written.".to_owned());
        let newlines = self.plain.bytes().filter(|byte| *byte == b'\n').count();
        // New lines end as most lines do.
        let crlf = self.carriage_returns.len() * 2 > newlines;
        let mut result = String::with_capacity(self.original.len());
        if self.has_bom {
            result.push_str(BOM);
        }
        let mut done = 0;
        let mut reached_end = false;
        for splice in splices {
            let (start, end) = (self.on_disk(splice.range.start), self.on_disk(splice.range.end));
            result.push_str(self.original.get(done..start).ok_or_else(broken)?);
            let mut with = splice.with.replace("\r\n", "\n");
            // Lines added below a last line without a newline: that one gets its own.
            let below = self.lacks_final_newline && splice.range.start == self.plain.len();
            if below && !with.is_empty() && !result.ends_with('\n') && !result.is_empty() {
                with.insert(0, '\n');
            }
            result.push_str(&if crlf { with.replace('\n', "\r\n") } else { with });
            done = end;
            reached_end |= splice.range.end == self.plain.len();
        }
        result.push_str(self.original.get(done..).ok_or_else(broken)?);
        if self.lacks_final_newline && reached_end && result.ends_with('\n') {
            result.pop();
            if result.ends_with('\r') {
                result.pop();
            }
        }
        Ok(result)
    }

    fn on_disk(&self, at: usize) -> usize {
        let before = self.carriage_returns.partition_point(|position| *position < at);
        (at + before).min(self.original.len())
    }
}

/// Where each line of a plain text lies, its newline left out.
pub(super) fn line_ranges(plain: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in plain.split_inclusive('\n') {
        let end = start + line.len();
        ranges.push(start..end - usize::from(line.ends_with('\n')));
        start = end;
    }
    ranges
}

/// The number of the line a position lies in, from 1.
pub(super) fn line_number(plain: &str, at: usize) -> usize {
    plain.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// A file may hold escape sequences; the model should see that they are there, and terminals not obey them.
pub(super) fn printable(line: &str) -> String {
    if line.chars().all(|c| !c.is_control() || c == '\t') {
        return line.to_owned();
    }
    line.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                format!("\\x{:02x}", u32::from(c))
            } else {
                c.to_string()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splice(text: &Text, find: &str, with: &str) -> String {
        let start = text.plain().find(find).unwrap();
        text.apply(&[Splice {
            range: start..start + find.len(),
            with: with.into(),
        }])
        .unwrap()
    }

    #[test]
    fn what_is_not_edited_comes_back_byte_for_byte() {
        for file in [
            "",
            "a",
            "a\n",
            "a\r\nb\r\n",
            "a\r\nb\nc",
            "\u{feff}x\r\n",
            "\r",
            "a\rb\n",
            "\n\n\n",
        ] {
            let text = Text::parse(file.as_bytes()).unwrap();
            assert_eq!(text.apply(&[]).unwrap(), file, "{file:?}");
        }
    }

    #[test]
    fn new_lines_end_like_the_others() {
        let text = Text::parse("\u{feff}one\r\ntwo\r\nthree".as_bytes()).unwrap();
        assert_eq!(
            splice(&text, "two\n", "2\nand\n"),
            "\u{feff}one\r\n2\r\nand\r\nthree"
        );
        assert_eq!(splice(&text, "one\ntwo", "x"), "\u{feff}x\r\nthree");
        let mixed = Text::parse(b"one\r\ntwo\nthree\n").unwrap();
        assert_eq!(splice(&mixed, "two", "2\nb"), "one\r\n2\nb\nthree\n");
    }

    #[test]
    fn a_missing_final_newline_stays_missing_unless_asked_for() {
        let text = Text::parse(b"a\nb").unwrap();
        assert_eq!(splice(&text, "b\n", "c\n"), "a\nc");
        assert_eq!(splice(&text, "b", "c"), "a\nc");
        assert_eq!(splice(&text, "b", "b\n"), "a\nb\n");
        assert_eq!(splice(&text, "a", "x"), "x\nb");
    }

    #[test]
    fn what_is_not_text_is_refused() {
        for bytes in [&b"\xff\xfea\0"[..], b"a\0b", b"caf\xe9"] {
            assert!(Text::parse(bytes).is_err());
        }
    }

    proptest::proptest! {
        #![proptest_config(super::super::testing::property(300))]

        #[test]
        fn any_text_survives_and_any_splice_lands(parts in proptest::collection::vec("[ab\r\n\u{feff}\u{e9}]{0,4}", 0..12)) {
            let file: String = parts.concat();
            let text = Text::parse(file.as_bytes()).unwrap();
            proptest::prop_assert_eq!(text.apply(&[]).unwrap(), file.as_str());
            // Putting every line back in its place changes nothing where line ends are of one kind.
            let splices: Vec<Splice> = line_ranges(text.plain())
                .into_iter()
                .map(|range| Splice { with: text.plain()[range.clone()].to_owned(), range })
                .collect();
            proptest::prop_assert_eq!(text.apply(&splices).unwrap(), file.as_str());
        }
    }
}
