//! Owns: looking at a board's file: is it the one that was read, and if not, can it be trusted.
//! Guarantees: an unchanged file is never read; a file that is no good leaves what was read before in place.

use std::path::PathBuf;

use super::document::Document;
use super::state::FileState;
use crate::domain::task::Problem;
use crate::workspace::{Guard, GuardError};

/// No board kept by hand comes near it.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What a look at a file found.
pub(super) enum Look {
    /// As before.
    Same,
    /// It can not be used as it is, or can again.
    Troubled,
    /// Other text.
    New(String, Document),
}

/// Reads a file where it is not the one that was read last.
pub(super) fn look(guard: &Guard, file: &mut FileState) -> Look {
    let trouble = |file: &mut FileState, line: u32, code: &str, message: String| {
        let problem = Problem {
            path: file.path.clone(),
            line,
            code: code.to_owned(),
            message,
        };
        if file.broken.as_ref() == Some(&problem) {
            return Look::Same;
        }
        file.broken = Some(problem);
        Look::Troubled
    };
    let path = PathBuf::from(&file.path);
    let now = guard.stamp(&path);
    if let (Ok(now), Some(before)) = (&now, &file.stamp)
        && before.same_metadata(now)
    {
        return Look::Same;
    }
    let read = guard.read(&path, MAX_BYTES);
    let content = match read {
        Ok(content) => content,
        Err(GuardError::NotFound(_)) if file.content.is_none() => {
            file.stamp = None;
            let was = file.broken.take().is_some();
            return if was { Look::Troubled } else { Look::Same };
        }
        Err(error) => {
            file.stamp = None;
            let (code, message) = match error {
                GuardError::NotFound(_) | GuardError::Dangling(_) => (
                    "missing",
                    "the file is gone; the board shows its last state".to_owned(),
                ),
                other => ("unreadable", other.to_string()),
            };
            return trouble(file, 0, code, message);
        }
    };
    file.stamp = Some(content.stamp.clone());
    if !content.is_whole() {
        return trouble(file, 0, "too_large", "the file is larger than 8 MiB".into());
    }
    let text = match String::from_utf8(content.bytes) {
        Ok(text) => text,
        Err(error) => {
            let upto = error.utf8_error().valid_up_to();
            let lines = error
                .as_bytes()
                .iter()
                .take(upto)
                .filter(|byte| **byte == b'\n')
                .count();
            let line = u32::try_from(lines + 1).unwrap_or(u32::MAX);
            return trouble(
                file,
                line,
                "not_utf8",
                "the file is not UTF-8 from here on".into(),
            );
        }
    };
    if file.content.as_deref() == Some(text.as_str()) {
        return if file.broken.take().is_some() {
            Look::Troubled
        } else {
            Look::Same
        };
    }
    let document = Document::read(&file.path, &text);
    if let Some(problem) = document.broken().cloned() {
        return trouble(file, problem.line, &problem.code.clone(), problem.message);
    }
    file.broken = None;
    Look::New(text, document)
}
