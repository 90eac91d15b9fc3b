//! Owns: files as parts of a message: pictures by their name's ending, else text.
//! Guarantees: nothing is read that the daemon would refuse for its size; what is not text is said so.

use std::path::{Path, PathBuf};

use crate::pb;

/// Most bytes of an attached text.
pub const MAX_TEXT: u64 = 1 << 20;
/// Most bytes of a picture.
pub const MAX_IMAGE: u64 = 3 << 19;

/// Why a file can't be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It can't be read.
    #[error("cannot read '{}': {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::Error),
    /// It is longer than a message takes.
    #[error("'{}' is longer than {}, the most a file may be", .0.display(), .1)]
    TooLong(PathBuf, &'static str),
    /// It is neither a picture by its name nor text.
    #[error("'{}' is not text", .0.display())]
    NotText(PathBuf),
}

/// True for the name of a picture of a kind that models take.
pub fn is_picture(file: &Path) -> bool {
    let ending = file.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    matches!(ending.as_deref(), Some("png" | "jpg" | "jpeg" | "gif" | "webp"))
}

/// A file as a part.
pub fn read(file: &Path) -> Result<pb::Part, AttachError> {
    let unreadable = |error| AttachError::Unreadable(file.to_owned(), error);
    let picture = is_picture(file);
    let (limit, shown) = if picture {
        (MAX_IMAGE, "1.5 MiB")
    } else {
        (MAX_TEXT, "1 MiB")
    };
    let about = std::fs::metadata(file).map_err(unreadable)?;
    // A pipe or device would be waited for, or never end.
    if !about.is_file() {
        let error = std::io::Error::other("it is not a regular file");
        return Err(unreadable(error));
    }
    if about.len() > limit {
        return Err(AttachError::TooLong(file.to_owned(), shown));
    }
    let data = std::fs::read(file).map_err(unreadable)?;
    if picture {
        let name = file.file_name().unwrap_or_default();
        return Ok(pb::Part {
            part: Some(pb::part::Part::Image(pb::Image {
                name: name.to_string_lossy().into_owned(),
                data,
                ..Default::default()
            })),
        });
    }
    if data.contains(&0) {
        return Err(AttachError::NotText(file.to_owned()));
    }
    let text = String::from_utf8(data)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(text_part(&file.to_string_lossy(), text))
}

/// A text with a name as a part.
pub fn text_part(name: &str, text: String) -> pb::Part {
    pb::Part {
        part: Some(pb::part::Part::Attachment(pb::Attachment {
            name: name.to_owned(),
            text,
        })),
    }
}
