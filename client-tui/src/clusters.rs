//! Owns: which clusters of characters (flags, families, skin tones …) the terminal draws as one of the usual width, and
//! whether it shows a frame at once.
//! Guarantees: what is written takes the cells that the layout gave it: a kind that the terminal draws otherwise, or
//! says nothing about, is written in a simpler form of the same width.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

/// Kinds of clusters about which terminals differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Joined,
    Keycap,
    Toned,
    Presented,
}

/// One of each kind, all two cells wide.
const SAMPLES: [(Kind, &str); 5] = [
    (Kind::Flag, "🇩🇪"),
    (Kind::Joined, "👩\u{200d}💻"),
    (Kind::Keycap, "1\u{fe0f}\u{20e3}"),
    (Kind::Toned, "👍\u{1f3fd}"),
    (Kind::Presented, "❤\u{fe0f}"),
];

/// What the terminal draws as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Clusters {
    whole: [bool; SAMPLES.len()],
    /// It knows mode 2026: what is written in it is shown at once.
    pub(crate) frames: bool,
}

impl Clusters {
    /// Asks the terminal, which is in raw mode: each sample is written, and then where the cursor stands.
    pub(crate) fn measure() -> Self {
        let mut question = String::new();
        for (_, sample) in SAMPLES {
            question.push_str(&format!("\r{sample}\x1b[6n"));
        }
        // Nothing of it stays; the last question is one that every terminal answers.
        question.push_str("\x1b[?2026$p\r\x1b[K\x1b[c");
        let answer = crate::background::ask(&question).unwrap_or_default();
        Self::from_answer(&answer.text)
    }

    fn from_answer(answer: &str) -> Self {
        // Set or reset, not unknown nor fixed.
        let frames = ["\x1b[?2026;1$y", "\x1b[?2026;2$y"]
            .iter()
            .any(|one| answer.contains(one));
        let mut clusters = Self {
            frames,
            ..Self::default()
        };
        let columns = answer.split("\x1b[").filter_map(|piece| {
            let (_, column) = piece.split_once('R')?.0.split_once(';')?;
            column.parse::<usize>().ok()
        });
        for ((whole, (_, sample)), column) in clusters.whole.iter_mut().zip(SAMPLES).zip(columns) {
            *whole = column == sample.width() + 1;
        }
        clusters
    }

    /// What is written for a symbol, where that is another text.
    pub(crate) fn simpler(self, symbol: &str) -> Option<Cow<'static, str>> {
        let kind = kind(symbol)?;
        let whole = SAMPLES
            .iter()
            .zip(self.whole)
            .any(|((one, _), whole)| *one == kind && whole);
        if whole {
            return None;
        }
        let mut text: String = match kind {
            Kind::Flag => symbol.chars().filter_map(letter).collect(),
            _ => symbol.chars().take(1).collect(),
        };
        let missing = symbol.width().saturating_sub(text.width());
        text.extend(std::iter::repeat_n(' ', missing));
        // Rather nothing than more than there is room for.
        let fits = text.width() <= symbol.width();
        Some(if fits {
            text.into()
        } else {
            " ".repeat(symbol.width()).into()
        })
    }
}

/// True when a terminal may give the symbol another width than the table here does.
pub(crate) fn is_doubtful(symbol: &str) -> bool {
    let mut chars = symbol.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => !matches!(c,
            ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{24f}' | 'Ͱ'..='\u{3ff}' | 'А'..='\u{482}' | 'Ҋ'..='ԯ'
            | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{20a0}'..='\u{20bf}' | '\u{2190}'..='\u{22ff}'
            | '\u{2500}'..='\u{25fc}' | '✓' | '✗' | '⠀'..='⣿' | '\u{3000}'..='\u{3029}' | '\u{3041}'..='\u{3096}'
            | '\u{309b}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{ff01}'..='\u{ff60}'),
        (Some(_), Some(_)) => true,
        (None, _) => false,
    }
}

fn kind(symbol: &str) -> Option<Kind> {
    let mut chars = symbol.chars();
    let first = chars.next()?;
    if letter(first).is_some() {
        return Some(Kind::Flag);
    }
    let has = |wanted: fn(char) -> bool| symbol.chars().skip(1).any(wanted);
    if has(|c| c == '\u{200d}') && !first.is_alphabetic() {
        Some(Kind::Joined)
    } else if has(|c| c == '\u{20e3}') {
        Some(Kind::Keycap)
    } else if has(|c| matches!(c, '\u{1f3fb}'..='\u{1f3ff}')) {
        Some(Kind::Toned)
    } else if has(|c| c == '\u{fe0f}') {
        Some(Kind::Presented)
    } else {
        None
    }
}

/// The letter of a regional indicator.
fn letter(c: char) -> Option<char> {
    let place = u32::from(c).checked_sub(0x1f1e6).filter(|place| *place < 26)?;
    char::from_u32(u32::from('A') + place)
}

#[cfg(test)]
mod tests {
    use unicode_segmentation::UnicodeSegmentation as _;

    use super::*;

    const TEXT: &str = "日e\u{301}🇩🇪👨\u{200d}👩\u{200d}👧\u{200d}👦🏳\u{fe0f}\u{200d}🌈👍🏽❤\u{fe0f}1\u{fe0f}\u{20e3}क्\u{200d}ष🇩x⚠\u{fe0f}";

    #[test]
    fn what_is_everywhere_the_same_is_not_doubted() {
        let sure = "aZ~é─│▓▸●○‖✗✓…−·←→日本、。カな한글Яω⠋¥€";
        assert!(sure.graphemes(true).all(|one| !is_doubtful(one)), "{sure}");
        for doubtful in [
            "e\u{301}",
            "🇩🇪",
            "👩",
            "\u{605}",
            "\u{ad}",
            "ש",
            "क",
            "\u{1f1e9}",
            "⚠",
            "ᄒ",
            "\u{a0}",
        ] {
            assert!(is_doubtful(doubtful), "{doubtful:?}");
        }
    }

    #[test]
    fn a_terminal_that_knows_them_gets_them_as_they_are() {
        let all = "\x1b[5;3R".repeat(SAMPLES.len());
        let clusters = Clusters::from_answer(&format!("{all}\x1b[?62;22c"));
        for symbol in TEXT.graphemes(true) {
            assert_eq!(clusters.simpler(symbol), None, "{symbol}");
        }
    }

    #[test]
    fn others_get_a_simpler_form_of_the_same_width() {
        // tmux 3.3a: flags are two characters of one cell each, hearts have one cell.
        let clusters = Clusters::from_answer("\x1b[1;5R\x1b[1;3R\x1b[1;3R\x1b[1;3R\x1b[1;2R\x1b[?1;2c");
        let shown: Vec<_> = ["🇩🇪", "👍🏽", "❤\u{fe0f}", "日"]
            .iter()
            .map(|symbol| clusters.simpler(symbol))
            .collect();
        assert_eq!(shown, [Some("DE".into()), None, Some("❤ ".into()), None]);
        assert!(!clusters.frames && Clusters::from_answer("\x1b[1;2R\x1b[?2026;2$y\x1b[?1;2c").frames);
        let silent = Clusters::from_answer("");
        for symbol in TEXT.graphemes(true) {
            if let Some(simpler) = silent.simpler(symbol) {
                assert_eq!(simpler.width(), symbol.width(), "{symbol:?} {simpler:?}");
                assert!(
                    simpler.graphemes(true).all(|one| kind(one).is_none()),
                    "{simpler:?}"
                );
            }
        }
        assert_eq!(silent.simpler("👨\u{200d}👩").as_deref(), Some("👨"));
    }
}
