//! Owns: pictures for models: which files are one, and how large they may be.
//! Guarantees: a [`Picture`] is one, of a kind that models take, and not larger than they take.

use base64::Engine as _;
use imagesize::ImageType;
use serde::{Deserialize, Serialize};

/// Most bytes of a picture: with its coding it must fit into one message.
pub const MAX_BYTES: usize = 3 * 512 * 1024;
/// Most pixels a side: what the usual models take.
const MAX_SIDE: usize = 8_000;

/// A picture, checked to be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub media_type: String,
    /// Its bytes, base64.
    pub data: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Picture {
    /// The picture in these bytes, or why they are none that a model takes.
    pub fn of(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.is_empty() {
            return Err("it is empty");
        }
        if bytes.len() > MAX_BYTES {
            return Err("it has more than 1.5 MiB; make it smaller");
        }
        let media_type = match imagesize::image_type(bytes) {
            Ok(ImageType::Png) => "image/png",
            Ok(ImageType::Jpeg) => "image/jpeg",
            Ok(ImageType::Gif) => "image/gif",
            Ok(ImageType::Webp) => "image/webp",
            Ok(_) => return Err("models take PNG, JPEG, GIF and WebP; convert it"),
            Err(_) => return Err("its content is not an image"),
        };
        let Ok(size) = imagesize::blob_size(bytes) else {
            return Err("its content is not a whole image");
        };
        if size.width == 0 || size.height == 0 || size.width > MAX_SIDE || size.height > MAX_SIDE {
            return Err("its sides must have 1 to 8000 pixels; scale it");
        }
        Ok(Self {
            media_type: media_type.to_owned(),
            data: base64::engine::general_purpose::STANDARD.encode(bytes),
            width: u32::try_from(size.width).unwrap_or_default(),
            height: u32::try_from(size.height).unwrap_or_default(),
        })
    }

    /// True when the beginning of a file says that it is a picture, of whatever kind.
    pub fn begins(bytes: &[u8]) -> bool {
        imagesize::image_type(bytes).is_ok()
    }
}
