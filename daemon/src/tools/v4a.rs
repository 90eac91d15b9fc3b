//! Owns: the V4A patch language: parsing a patch and placing its hunks in a text. Pure.
//! Guarantees: a patch that is cut off or unclear is an error, never half understood; a hunk that fits several places is
//! an error unless its `@@` line tells them apart.

use super::matching::{Rung, find_lines, lines_at, reindent};
use super::text::{Splice, Text, line_ranges};

/// What a patch does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FilePatch {
    /// A new file with this content.
    Add { path: String, content: String },
    /// The file goes.
    Delete { path: String },
    /// Hunks, and maybe a new name.
    Update {
        path: String,
        move_to: Option<String>,
        hunks: Vec<Hunk>,
    },
}

/// A piece of an update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Lines above it that narrow down where it is, outermost first.
    pub(super) anchors: Vec<String>,
    /// Its lines.
    pub(super) lines: Vec<Line>,
    /// It ends where the file ends.
    pub(super) at_end: bool,
    /// Quite empty lines at its end. They are kept empty lines if more follows (models drop the leading space), and
    /// layout between two hunks or files if not.
    held: usize,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Is there and stays.
    Keep(String),
    /// Is there and goes.
    Remove(String),
    /// Comes.
    Add(String),
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File:";
const DELETE: &str = "*** Delete File:";
const UPDATE: &str = "*** Update File:";
const MOVE: &str = "*** Move to:";
const END_OF_FILE: &str = "*** End of File";

/// Parses a patch. Errors name the line of the patch.
pub(super) fn parse(patch: &str) -> Result<Vec<FilePatch>, String> {
    let patch = patch.replace("\r\n", "\n");
    let all: Vec<&str> = patch.lines().collect();
    // Text around it (a code fence, a here-document) is no part of it.
    let first = all
        .iter()
        .position(|line| line.trim() == BEGIN)
        .ok_or_else(|| format!("The patch must start with `{BEGIN}`."))?;
    let last = all
        .iter()
        .rposition(|line| line.trim() == END)
        .filter(|last| *last > first)
        .ok_or_else(|| format!("The patch has no `{END}` line; it may have been cut off. Send it whole."))?;
    let mut files: Vec<FilePatch> = Vec::new();
    for (index, line) in all.iter().enumerate().take(last).skip(first + 1) {
        let at = |text: &str| format!("Line {} of the patch: {text}", index + 1);
        if let Some(header) = file_header(line) {
            files.push(header.map_err(|text| at(&text))?);
            continue;
        }
        match files.last_mut() {
            None if line.trim().is_empty() => {}
            None => {
                return Err(at(&format!(
                    "expected `{ADD} path`, `{UPDATE} path` or `{DELETE} path`, got `{line}`."
                )));
            }
            Some(FilePatch::Delete { .. }) if line.trim().is_empty() => {}
            Some(FilePatch::Delete { .. }) => return Err(at("a deleted file takes no lines.")),
            Some(FilePatch::Add { content, .. }) => match line.strip_prefix('+') {
                Some(text) => {
                    content.push_str(text);
                    content.push('\n');
                }
                None if line.trim().is_empty() || line.trim() == END_OF_FILE => {}
                None => return Err(at("every line of an added file must start with `+`.")),
            },
            Some(FilePatch::Update { move_to, hunks, .. }) => {
                update_line(line, move_to, hunks).map_err(|text| at(&text))?;
            }
        }
    }
    if files.is_empty() {
        return Err("The patch changes no file.".to_owned());
    }
    for file in &mut files {
        if let FilePatch::Update { path, move_to, hunks } = file {
            hunks.retain(|hunk| !hunk.lines.is_empty());
            if hunks.is_empty() && move_to.is_none() {
                return Err(format!("The update of {path} has no lines."));
            }
        }
    }
    Ok(files)
}

fn file_header(line: &str) -> Option<Result<FilePatch, String>> {
    let trimmed = line.trim_end();
    let path = |rest: &str| match rest.trim() {
        "" => Err("the path is missing.".to_owned()),
        path => Ok(path.to_owned()),
    };
    if let Some(rest) = trimmed.strip_prefix(ADD) {
        return Some(path(rest).map(|path| FilePatch::Add {
            path,
            content: String::new(),
        }));
    }
    if let Some(rest) = trimmed.strip_prefix(DELETE) {
        return Some(path(rest).map(|path| FilePatch::Delete { path }));
    }
    let rest = trimmed.strip_prefix(UPDATE)?;
    Some(path(rest).map(|path| FilePatch::Update {
        path,
        move_to: None,
        hunks: Vec::new(),
    }))
}

fn update_line(line: &str, move_to: &mut Option<String>, hunks: &mut Vec<Hunk>) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix(MOVE) {
        if rest.trim().is_empty() || move_to.is_some() || !hunks.is_empty() {
            return Err(format!("`{MOVE} path` belongs directly below `{UPDATE}`, once."));
        }
        *move_to = Some(rest.trim().to_owned());
        return Ok(());
    }
    if line.trim_end() == END_OF_FILE {
        if let Some(hunk) = hunks.last_mut() {
            hunk.at_end = true;
        }
        return Ok(());
    }
    if let Some(rest) = line.strip_prefix("@@") {
        // Several `@@` lines in a row narrow down one place.
        let fresh = hunks
            .last()
            .is_none_or(|hunk| !hunk.lines.is_empty() || hunk.at_end);
        if fresh {
            hunks.push(Hunk::default());
        }
        if let (Some(anchor), Some(hunk)) = (anchor(rest), hunks.last_mut()) {
            hunk.anchors.push(anchor);
        }
        return Ok(());
    }
    let parsed = match line.chars().next() {
        None => {
            if let Some(hunk) = hunks.last_mut() {
                hunk.held += 1;
            }
            return Ok(());
        }
        Some(' ') => Line::Keep(line.get(1..).unwrap_or_default().to_owned()),
        Some('-') => Line::Remove(line.get(1..).unwrap_or_default().to_owned()),
        Some('+') => Line::Add(line.get(1..).unwrap_or_default().to_owned()),
        Some('\\') if line.starts_with("\\ No newline") => return Ok(()),
        Some(_) => {
            return Err(format!(
                "a line of an update must start with a space, `-`, `+` or `@@`, got `{line}`."
            ));
        }
    };
    if hunks.last().is_none_or(|hunk| hunk.at_end) {
        hunks.push(Hunk::default());
    }
    if let Some(hunk) = hunks.last_mut() {
        let held = std::mem::take(&mut hunk.held);
        hunk.lines
            .extend(std::iter::repeat_n(Line::Keep(String::new()), held));
        hunk.lines.push(parsed);
    }
    Ok(())
}

/// The text of an `@@` line. Line numbers of other diff formats say nothing here.
fn anchor(rest: &str) -> Option<String> {
    let mut text = rest.trim();
    if text.starts_with('-')
        && let Some((_, after)) = text.split_once("@@")
    {
        text = after.trim();
    }
    let text = text.strip_suffix("@@").unwrap_or(text).trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Where and how hunks were placed: first line (from 1) and what was forgiven.
pub(super) type Placement = (usize, Rung);

/// A text with the hunks applied, and where each went. Errors say what to change.
pub(super) fn apply(
    text: &Text,
    hunks: &[Hunk],
    lowest: Rung,
) -> Result<(Vec<Splice>, Vec<Placement>), HunkError> {
    let plain = text.plain();
    let ranges = line_ranges(plain);
    let file = lines_at(plain, &ranges);
    let start_of = |line: usize| ranges.get(line).map_or(plain.len(), |range| range.start);
    let mut splices: Vec<Splice> = Vec::new();
    let mut placed = Vec::new();
    let mut cursor = 0;
    for (number, hunk) in hunks.iter().enumerate() {
        let old: Vec<&str> = hunk.lines.iter().filter_map(Line::old).collect();
        let (at, rung) = place(&file, hunk, &old, cursor, lowest).map_err(|problem| HunkError {
            number: number + 1,
            of: hunks.len(),
            problem,
            old: own(&old),
        })?;
        let have = file.get(at..at + old.len()).unwrap_or_default();
        placed.push((at + 1, rung));
        let mut line = at;
        let mut run_start = at;
        let mut added: Vec<&str> = Vec::new();
        let flush = |from: usize, to: usize, added: &mut Vec<&str>, splices: &mut Vec<Splice>| {
            if from == to && added.is_empty() {
                return;
            }
            let mut with = reindent(&added.join("\n"), &old, have);
            if !added.is_empty() {
                with.push('\n');
            }
            splices.push(Splice {
                range: start_of(from)..start_of(to),
                with,
            });
            added.clear();
        };
        for piece in &hunk.lines {
            match piece {
                Line::Keep(_) => {
                    flush(run_start, line, &mut added, &mut splices);
                    line += 1;
                    run_start = line;
                }
                Line::Remove(_) => line += 1,
                Line::Add(text) => added.push(text),
            }
        }
        flush(run_start, line, &mut added, &mut splices);
        cursor = line;
    }
    Ok((splices, placed))
}

fn own(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

impl Line {
    fn old(&self) -> Option<&str> {
        match self {
            Self::Keep(text) | Self::Remove(text) => Some(text),
            Self::Add(_) => None,
        }
    }
}

/// A hunk that could not be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HunkError {
    /// Which, from 1.
    pub(super) number: usize,
    /// Of how many.
    pub(super) of: usize,
    /// Why.
    pub(super) problem: Problem,
    /// The lines it expects.
    pub(super) old: Vec<String>,
}

/// Why a hunk could not be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// Its lines are nowhere below the hunk before it.
    NotFound,
    /// Its lines are only above the hunk before it.
    OutOfOrder(usize),
    /// Its lines are in several places; lines from 1.
    Ambiguous(Vec<usize>),
    /// It only adds lines, and the `@@` line that says where is not there.
    NoAnchor(String),
}

fn place(
    file: &[&str],
    hunk: &Hunk,
    old: &[&str],
    cursor: usize,
    lowest: Rung,
) -> Result<(usize, Rung), Problem> {
    if old.is_empty() {
        return match anchored(file, &hunk.anchors, cursor) {
            Anchored::At(line) => Ok((line, Rung::Exact)),
            // Nothing says where: at the end.
            Anchored::None if hunk.anchors.is_empty() => Ok((file.len(), Rung::Exact)),
            Anchored::None => Err(Problem::NoAnchor(hunk.anchors.join(" / "))),
            Anchored::Several(lines) => Err(Problem::Ambiguous(lines)),
        };
    }
    let matches = find_lines(file, old, cursor, lowest);
    if hunk.at_end
        && let Some(end) = file.len().checked_sub(old.len())
        && matches.at.contains(&end)
    {
        return Ok((end, matches.rung));
    }
    match matches.at.as_slice() {
        [] => match find_lines(file, old, 0, Rung::Punctuation).at.first() {
            Some(above) => Err(Problem::OutOfOrder(above + 1)),
            None => Err(Problem::NotFound),
        },
        [only] => Ok((*only, matches.rung)),
        several => {
            let numbers = || Problem::Ambiguous(several.iter().map(|line| line + 1).collect());
            if hunk.anchors.is_empty() || matches.rung == Rung::Similar {
                return Err(numbers());
            }
            match anchored(file, &hunk.anchors, cursor) {
                // The anchor itself may be repeated as the hunk's first line.
                Anchored::At(line) => {
                    let after = several.iter().find(|at| **at + 1 >= line);
                    after.map(|at| (*at, matches.rung)).ok_or_else(numbers)
                }
                Anchored::None | Anchored::Several(_) => Err(numbers()),
            }
        }
    }
}

enum Anchored {
    /// The line below the last anchor.
    At(usize),
    None,
    /// The first anchor fits several lines (from 1).
    Several(Vec<usize>),
}

/// The first anchor must be one line's; those that follow are looked for below it.
fn anchored(file: &[&str], anchors: &[String], cursor: usize) -> Anchored {
    let mut from = cursor;
    for (depth, anchor) in anchors.iter().enumerate() {
        let mut found = find_lines(file, &[anchor], from, Rung::Punctuation).at;
        if found.is_empty() {
            // Often only a part of the line is quoted.
            let lines = file.iter().enumerate().skip(from);
            found = lines
                .filter(|(_, line)| line.contains(anchor.as_str()))
                .map(|(at, _)| at)
                .collect();
        }
        match found.as_slice() {
            [] => return Anchored::None,
            [first, _, ..] if depth == 0 => {
                let _ = first;
                return Anchored::Several(found.iter().map(|line| line + 1).collect());
            }
            [first, ..] => from = first + 1,
        }
    }
    if anchors.is_empty() {
        Anchored::None
    } else {
        Anchored::At(from)
    }
}
