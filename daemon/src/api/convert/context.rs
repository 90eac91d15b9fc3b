//! Owns: pieces of context, plans and pictures between wire and domain.
//! Guarantees: a picture that comes in is one, of a kind that models take, and not larger than they take.

use agentd_proto::pb;
use base64::Engine as _;
use imagesize::ImageType;

use super::super::status::invalid;
use crate::domain::context::{ContextItem, ContextKind, PlanItem, PlanState};
use crate::domain::message::Part;
use crate::domain::rejection::Rejection;
use crate::session::Context;

/// Most bytes of a picture: with its coding it must fit into one message.
const MAX_IMAGE_BYTES: usize = 3 * 512 * 1024;
/// Most pixels a side: what the usual models take.
const MAX_SIDE: usize = 8_000;

/// A picture, checked to be one.
pub(super) fn image(image: pb::Image) -> Result<Part, Rejection> {
    let shown: String = image.name.chars().filter(|c| !c.is_control()).take(80).collect();
    let no = |why: &str| Err(invalid(format!("image '{shown}': {why}")));
    if image.data.is_empty() {
        return no("it is empty");
    }
    if image.data.len() > MAX_IMAGE_BYTES {
        return no("it has more than 1.5 MiB; make it smaller");
    }
    let media_type = match imagesize::image_type(&image.data) {
        Ok(ImageType::Png) => "image/png",
        Ok(ImageType::Jpeg) => "image/jpeg",
        Ok(ImageType::Gif) => "image/gif",
        Ok(ImageType::Webp) => "image/webp",
        Ok(_) => return no("models take PNG, JPEG, GIF and WebP; convert it"),
        Err(_) => return no("its content is not an image"),
    };
    let Ok(size) = imagesize::blob_size(&image.data) else {
        return no("its content is not a whole image");
    };
    if size.width == 0 || size.height == 0 || size.width > MAX_SIDE || size.height > MAX_SIDE {
        return no("its sides must have 1 to 8000 pixels; scale it");
    }
    Ok(Part::Image {
        name: image.name,
        media_type: media_type.to_owned(),
        data: base64::engine::general_purpose::STANDARD.encode(&image.data),
        width: u32::try_from(size.width).unwrap_or_default(),
        height: u32::try_from(size.height).unwrap_or_default(),
    })
}

impl From<ContextItem> for pb::ContextItem {
    fn from(item: ContextItem) -> Self {
        Self {
            kind: match item.kind {
                ContextKind::Environment => pb::ContextKind::Environment,
                ContextKind::Instructions => pb::ContextKind::Instructions,
                ContextKind::Mention => pb::ContextKind::Mention,
                ContextKind::Schema => pb::ContextKind::Schema,
                ContextKind::Summary => pb::ContextKind::Summary,
                ContextKind::Note => pb::ContextKind::Note,
            }
            .into(),
            name: item.name,
            text: item.text,
            total_bytes: item.total_bytes,
            hidden_characters: item.hidden,
        }
    }
}

/// A plan.
pub(in crate::api) fn plan(items: &[PlanItem]) -> Vec<pb::PlanItem> {
    items
        .iter()
        .map(|item| pb::PlanItem {
            text: item.text.clone(),
            state: match item.state {
                PlanState::Todo => pb::PlanState::Todo,
                PlanState::Doing => pb::PlanState::Doing,
                PlanState::Done => pb::PlanState::Done,
            }
            .into(),
        })
        .collect()
}

/// What fills a context.
pub(in crate::api) fn context(context: Context) -> pb::GetContextResponse {
    pb::GetContextResponse {
        tokens: context.tokens,
        window_tokens: context.window.unwrap_or(0),
        window_source: context.window_source.to_owned(),
        shares: context
            .shares
            .into_iter()
            .map(|share| pb::ContextShare {
                kind: share.kind.to_owned(),
                count: share.count,
                tokens: share.tokens,
            })
            .collect(),
        largest: context
            .largest
            .into_iter()
            .map(|piece| pb::ContextPiece {
                kind: piece.kind.to_owned(),
                name: piece.name,
                tokens: piece.tokens,
            })
            .collect(),
        compact_at_tokens: context.compact_at.unwrap_or(0),
        compactions: context.compactions,
        messages: context.messages,
        plan: plan(&context.plan),
        instruction_files: context.instruction_files,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(name: &str, data: &[u8]) -> Result<Part, Rejection> {
        image(pb::Image {
            name: name.into(),
            data: data.to_vec(),
            ..Default::default()
        })
    }

    /// The head of a PNG of this size.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        data.extend(width.to_be_bytes());
        data.extend(height.to_be_bytes());
        data.extend([8, 6, 0, 0, 0]);
        data
    }

    #[test]
    fn a_picture_says_what_it_is_and_what_is_none_is_refused() {
        let Ok(Part::Image {
            media_type,
            width,
            height,
            ..
        }) = posted("a.png", &png(3, 7))
        else {
            panic!("a PNG is a picture");
        };
        assert_eq!((media_type.as_str(), width, height), ("image/png", 3, 7));
        for (data, why) in [
            (&b"#!/bin/sh\necho no picture"[..], "not an image"),
            (&b""[..], "empty"),
            (&png(0, 7), "1 to 8000"),
            (&png(9_000, 7), "1 to 8000"),
            (&png(3, 7)[..18], "not a whole image"),
            (&vec![0; MAX_IMAGE_BYTES + 1], "1.5 MiB"),
            (
                &b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x03\0\0\0\x07\0\0\0"[..],
                "PNG, JPEG",
            ),
        ] {
            let no = posted("x.png", data).unwrap_err().to_string();
            assert!(no.contains("x.png") && no.contains(why), "{no}");
        }
    }
}
