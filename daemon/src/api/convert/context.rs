//! Owns: pieces of context, plans and pictures between wire and domain.
//! Guarantees: a picture that comes in is one, of a kind that models take, and not larger than they take.

use agentd_proto::pb;

use super::super::status::invalid;
use crate::domain::context::{ContextItem, ContextKind, PlanItem, PlanState};
use crate::domain::message::Part;
use crate::domain::picture::Picture;
use crate::domain::rejection::Rejection;
use crate::session::Context;

/// A picture, checked to be one.
pub(super) fn image(image: pb::Image) -> Result<Part, Rejection> {
    let shown: String = image.name.chars().filter(|c| !c.is_control()).take(80).collect();
    let Picture {
        media_type,
        data,
        width,
        height,
    } = Picture::of(&image.data).map_err(|why| invalid(format!("image '{shown}': {why}")))?;
    Ok(Part::Image {
        name: image.name,
        media_type,
        data,
        width,
        height,
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
            (&vec![0; crate::domain::picture::MAX_BYTES + 1], "1.5 MiB"),
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
