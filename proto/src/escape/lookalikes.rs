//! Owns: characters that look like others: letters of one script within a word of another, blanks and signs that a
//! shell does not take for what they look like.
//! Guarantees: words that are plainly of their own script are no lookalikes.

/// Letters that look like Latin ones: Cyrillic, then Greek and Armenian.
const CYRILLIC: &str = "\
    \u{430}\u{435}\u{43e}\u{440}\u{441}\u{443}\u{445}\u{455}\u{456}\u{458}\u{4bb}\u{501}\u{51b}\u{51d}\
    \u{410}\u{412}\u{415}\u{41a}\u{41c}\u{41d}\u{41e}\u{420}\u{421}\u{422}\u{423}\u{425}\u{405}\u{406}\u{408}\u{4c0}\u{4cf}";
const OTHERS: &str = "\
    \u{3b1}\u{3bd}\u{3bf}\u{3c1}\u{3c5}\u{3f2}\u{3f3}\u{391}\u{392}\u{395}\u{396}\u{397}\u{399}\u{39a}\u{39c}\u{39d}\u{39f}\
    \u{3a1}\u{3a4}\u{3a5}\u{3a7}\u{578}\u{57d}\u{585}\u{561}\u{570}\u{566}\u{581}";
/// Blanks that are none for a shell, and signs that look like `- / : ; .` and quotes.
const SIGNS: &str = "\
    \u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{202f}\u{205f}\u{3000}\
    \u{2010}\u{2011}\u{2043}\u{2044}\u{2215}\u{29f8}\u{2236}\u{a789}\u{37e}\u{387}\u{2024}\u{2223}\u{ff0f}\u{ff1b}\u{ff5c}";

/// What is pretended in one text.
pub(super) struct Pretended {
    letters: String,
}

impl Pretended {
    pub(super) fn has(&self, c: char) -> bool {
        !c.is_ascii() && (SIGNS.contains(c) || self.letters.contains(c))
    }
}

/// Looks through a text: letters count where they stand in one word with Latin ones, or where no other letter of their
/// script shows that the text is of it.
pub(super) fn of(text: &str) -> Pretended {
    let mut letters = String::new();
    if text.is_ascii() {
        return Pretended { letters };
    }
    for script in [CYRILLIC, OTHERS] {
        let own = |c: char| same_script(script, c);
        let plainly = text.chars().any(|c| own(c) && !script.contains(c));
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            let mixed = word.chars().any(|c| c.is_ascii_alphabetic());
            if mixed || !plainly {
                letters.extend(word.chars().filter(|c| script.contains(*c)));
            }
        }
    }
    Pretended { letters }
}

fn same_script(script: &str, c: char) -> bool {
    if script == CYRILLIC {
        matches!(c, '\u{400}'..='\u{52f}')
    } else {
        matches!(c, '\u{370}'..='\u{3ff}' | '\u{531}'..='\u{58f}')
    }
}
