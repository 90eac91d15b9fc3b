//! Owns: the head of a list item that is a task: `- [~] **T-12**: [P] title (High) @ana`.
//! Guarantees: pure; ranges are of the whole text; an item without a box is no task.

use std::ops::Range;

use super::document::at;
use crate::domain::task::TaskState;

/// The pieces of an item's head.
#[derive(Debug, Clone)]
pub struct ItemHead {
    /// Bullet, box and text, without what follows the last word.
    pub all: Range<usize>,
    /// The character in the box.
    pub mark: Range<usize>,
    /// What it says.
    pub state: TaskState,
    /// The id alone.
    pub id: Option<Range<usize>>,
    /// The id has no colon behind it and could be a word.
    pub weak_id: bool,
    /// Where title text began before the id was taken off.
    whole_title: usize,
    /// What stands in brackets between id and title, without the brackets.
    pub tags: Vec<Range<usize>>,
    /// The title.
    pub title: Range<usize>,
    /// Inner text, and all with brackets and the space before.
    pub priority: Option<(Range<usize>, Range<usize>)>,
    /// The name without `@`, and all with it and the space before.
    pub owner: Option<(Range<usize>, Range<usize>)>,
    /// The two `~~` around the text.
    pub strike: Option<(Range<usize>, Range<usize>)>,
    /// Columns from the bullet to the box: where sub-points begin.
    pub bullet_width: usize,
}

impl ItemHead {
    /// What looked like an id is the title's first word.
    pub(super) fn forget_id(&mut self) {
        self.id = None;
        self.weak_id = false;
        self.tags.clear();
        self.title.start = self.whole_title;
    }
}

/// What a mark in a box says; `None`: it is no box.
pub(super) fn state_of(mark: char) -> Option<TaskState> {
    Some(match mark {
        ' ' | '>' => TaskState::Todo,
        '~' | '/' => TaskState::InProgress,
        '!' => TaskState::Blocked,
        '?' | 'r' | 'R' => TaskState::Review,
        'x' | 'X' | '-' | '✓' | '✔' => TaskState::Done,
        _ => return None,
    })
}

/// The mark of a state.
pub(super) fn mark_of(state: TaskState) -> char {
    match state {
        TaskState::Todo => ' ',
        TaskState::InProgress => '~',
        TaskState::Blocked => '!',
        TaskState::Review => '?',
        TaskState::Done => 'x',
    }
}

/// Reads the head in `range`, from the bullet to the end of the first paragraph.
pub(super) fn head(text: &str, range: Range<usize>) -> Option<ItemHead> {
    let source = at(text, range.clone());
    let bullet = source.len() - source.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let behind = source.get(bullet..)?;
    let signs: &[char] = if bullet == 0 {
        &['-', '*', '+']
    } else {
        &['.', ')']
    };
    let after = behind.strip_prefix(signs)?;
    let box_at = source.len() - after.trim_start_matches([' ', '\t']).len();
    let inside = source.get(box_at..)?.strip_prefix('[')?;
    let mark = inside.chars().next()?;
    let mut state = state_of(mark)?;
    let rest = inside.get(mark.len_utf8()..)?.strip_prefix(']')?;
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let mark_at = range.start + box_at + 1;
    let mut title = trimmed(text, mark_at + mark.len_utf8() + 1..range.end);
    let all = range.start..title.end.max(mark_at + mark.len_utf8() + 1);
    let strike = strike(text, &title);
    if let Some((open, close)) = &strike {
        title = trimmed(text, open.end..close.start);
        // Struck out by hand: dropped.
        if state == TaskState::Todo {
            state = TaskState::Done;
        }
    }
    let (priority, owner) = tail(text, &mut title);
    let whole_title = title.start;
    let (id, weak_id) = match id(text, &title) {
        Some((id, end, weak)) => {
            title.start = end;
            title = trimmed(text, title);
            (Some(id), weak)
        }
        None => (None, false),
    };
    let tags = if id.is_some() {
        tags(text, &mut title)
    } else {
        Vec::new()
    };
    Some(ItemHead {
        all,
        mark: mark_at..mark_at + mark.len_utf8(),
        state,
        id,
        weak_id,
        whole_title,
        tags,
        title,
        priority,
        owner,
        strike,
        bullet_width: box_at,
    })
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let source = at(text, range.clone());
    let start = range.start + (source.len() - source.trim_start().len());
    let end = (range.start + source.trim_end().len()).max(start);
    start..end
}

fn strike(text: &str, title: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let source = at(text, title.clone());
    let inner = source.strip_prefix("~~")?.strip_suffix("~~")?;
    (!inner.is_empty() && !inner.contains("~~"))
        .then(|| (title.start..title.start + 2, title.end - 2..title.end))
}

type Token = Option<(Range<usize>, Range<usize>)>;

/// Takes `(High)`, `[P1]` and `@ana` off the end of the title.
fn tail(text: &str, title: &mut Range<usize>) -> (Token, Token) {
    let (mut priority, mut owner): (Token, Token) = (None, None);
    loop {
        let source = at(text, title.clone());
        let Some(space) = source.rfind(char::is_whitespace) else {
            break;
        };
        let word_at = title.start
            + space
            + source
                .get(space..)
                .and_then(|s| s.chars().next())
                .map_or(1, char::len_utf8);
        let word = at(text, word_at..title.end);
        let before = trimmed(text, title.start..word_at);
        let whole = before.end..title.end;
        if owner.is_none()
            && let Some(name) = word.strip_prefix('@')
            && !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        {
            owner = Some((word_at + 1..title.end, whole));
        } else if priority.is_none() && is_priority(word) {
            priority = Some((word_at + 1..title.end - 1, whole));
        } else {
            break;
        }
        title.end = before.end;
    }
    (priority, owner)
}

fn is_priority(word: &str) -> bool {
    let inner = word
        .strip_prefix('(')
        .and_then(|w| w.strip_suffix(')'))
        .or_else(|| word.strip_prefix('[').and_then(|w| w.strip_suffix(']')));
    inner.is_some_and(priority_word)
}

/// True for what can stand as a priority in an item.
pub(super) fn priority_word(word: &str) -> bool {
    matches!(
        word.to_ascii_lowercase().as_str(),
        "p0" | "p1" | "p2" | "p3" | "p4" | "critical" | "urgent" | "high" | "medium" | "low"
    )
}

/// The id at the beginning: its range, where the title goes on, and whether it could be a word.
fn id(text: &str, title: &Range<usize>) -> Option<(Range<usize>, usize, bool)> {
    let source = at(text, title.clone());
    let bare = source.trim_start_matches(['*', '`', '_', '[']);
    let lead = source.len() - bare.len();
    let end = bare
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '#')))
        .unwrap_or(bare.len());
    let token = bare.get(..end)?;
    let word = token.trim_end_matches('.');
    let strong = looks_like_id(word, token.len() > word.len())?;
    let after = bare.get(end..)?;
    let closed = after.trim_start_matches(['*', '`', '_', ']']);
    // Opening marks must close behind the id, or emphasis would be torn apart.
    if lead > 0 && after.len() - closed.len() < lead {
        return None;
    }
    let colon = closed.strip_prefix([':', ')']);
    let rest = colon.unwrap_or(closed);
    let dashed = ["- ", "– ", "— "]
        .iter()
        .find_map(|dash| rest.trim_start().strip_prefix(dash));
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    // An item that is nothing but a word has it for a title.
    let remaining = dashed.unwrap_or(rest).trim_start();
    if remaining.is_empty() {
        return None;
    }
    let start = title.start + lead;
    let weak = !strong && colon.is_none() && dashed.is_none();
    let id = start..start + word.len();
    Some((id, title.end - remaining.len(), weak))
}

/// `Some(true)`: nobody writes such words; `Some(false)`: it may be one.
fn looks_like_id(word: &str, dotted: bool) -> Option<bool> {
    if let Some(number) = word.strip_prefix('#') {
        return (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(true);
    }
    let letters = word.len() - word.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (prefix, number) = word.split_at(letters);
    if prefix.is_empty() {
        // 1. or 1.2: a plan's numbers; a bare 3 is part of a sentence.
        let digits = number
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        return (digits && (dotted || number.contains('.'))).then_some(true);
    }
    let hyphen = number.starts_with('-');
    let digits = number.trim_start_matches('-');
    let plain = !digits.is_empty()
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    let upper = prefix.bytes().all(|b| b.is_ascii_uppercase());
    let nested = word.contains('-')
        && word
            .rsplit('-')
            .next()
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if !upper || prefix.len() > 10 || !(plain || nested) {
        return None;
    }
    if !hyphen && !digits.contains('.') && prefix == "P" && digits.len() == 1 {
        return None; // P1 is a priority.
    }
    if prefix == "T" || prefix == "TASK" || (prefix.len() == 1 && digits.contains('.')) {
        return Some(true);
    }
    Some(false)
}

/// Takes `[P] [US1]` off the beginning of the title.
fn tags(text: &str, title: &mut Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    loop {
        let source = at(text, title.clone());
        let Some(inner) = source.strip_prefix('[') else {
            break;
        };
        let Some(end) = inner.find(']') else { break };
        let tag = inner.get(..end).unwrap_or_default();
        let behind = inner.get(end + 1..).unwrap_or_default();
        let short =
            !tag.is_empty() && tag.len() <= 12 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !short || !behind.starts_with(' ') {
            break;
        }
        found.push(title.start + 1..title.start + 1 + end);
        *title = trimmed(text, title.start + end + 2..title.end);
    }
    found
}

/// A title that was wrapped, as one line.
pub(super) fn one_line(title: &str) -> String {
    if !title.contains('\n') {
        return title.to_owned();
    }
    title.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A sub-point's or paragraph's words.
pub(super) fn note(source: &str) -> String {
    let text = source.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let bare = text
        .strip_prefix("- ")
        .or_else(|| text.strip_prefix("* "))
        .or_else(|| text.strip_prefix("+ "))
        .or_else(|| text.get(digits..).filter(|_| digits > 0)?.strip_prefix(". "))
        .unwrap_or(text);
    one_line(bare.trim())
}

/// Where the line that holds `offset` ends, its line end not included.
pub(super) fn line_end(text: &str, offset: usize) -> usize {
    let rest = at(text, offset..text.len());
    let line = rest.split('\n').next().unwrap_or_default();
    offset + line.trim_end_matches('\r').len()
}
