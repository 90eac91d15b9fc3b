//! Owns: files and pictures that go with a message, and how long the model thinks about it.

use std::path::Path;

use agentd_proto::pb;
use agentd_proto::pb::part::Part;
use agentd_proto::{attach, escape, format};

use super::composer;
use crate::model::Model;
use crate::msg::{Cmd, ToLink};

/// Words for how long a model thinks; the first takes another one back.
pub(crate) const EFFORTS: [&str; 5] = ["usual", "minimal", "low", "medium", "high"];

/// What a part is called.
pub(crate) fn name_of(part: &pb::Part) -> String {
    match &part.part {
        Some(Part::Image(image)) => {
            let size = format::bytes(image.data.len() as u64);
            format!("{} ({size} picture)", escape::line(&image.name))
        }
        Some(Part::Attachment(text)) => {
            let size = format::bytes(text.text.len() as u64);
            format!("{} ({size})", escape::line(&text.name))
        }
        _ => String::new(),
    }
}

/// `/attach PATH`; without a path, what is attached is taken off.
pub(super) fn command(model: &mut Model, path: &str, cmds: &mut Vec<Cmd>) {
    let Some(session_id) = model.open.as_ref().map(|open| open.id.clone()) else {
        return;
    };
    if !path.is_empty() {
        return read(session_id, path, None, cmds);
    }
    let had = model.attached.remove(&session_id).unwrap_or_default();
    model.toast(match had.len() {
        0 => "nothing is attached: /attach PATH".to_owned(),
        count => format!("{} taken off", format::count(count as u64, "file")),
    });
}

fn read(session_id: String, path: &str, pasted: Option<String>, cmds: &mut Vec<Cmd>) {
    cmds.push(Cmd::Link(ToLink::Attach {
        session_id,
        path: path.to_owned(),
        pasted,
    }));
}

/// True when what was pasted is the path of a picture, as terminals paste a file that is dropped on them: it is
/// attached, if it is there.
pub(super) fn pasted(model: &Model, text: &str, cmds: &mut Vec<Cmd>) -> bool {
    let bare = text.trim().trim_matches(['\'', '"']);
    let bare = bare.strip_prefix("file://").unwrap_or(bare).replace("\\ ", " ");
    let is_path = bare.starts_with('/') && !bare.contains('\n') && attach::is_picture(Path::new(&bare));
    let Some(open) = model.open.as_ref().filter(|_| is_path) else {
        return false;
    };
    read(open.id.clone(), &bare, Some(text.to_owned()), cmds);
    true
}

/// A file was read, or not.
pub(super) fn attached(
    model: &mut Model,
    session_id: String,
    result: Result<pb::Part, String>,
    pasted: Option<String>,
) {
    match (result, pasted) {
        (Ok(part), _) => model.attached.entry(session_id).or_default().push(part),
        // No file: it was meant as words.
        (Err(_), Some(text)) => {
            let draft = model.drafts.entry(session_id).or_default();
            draft.paste(&text);
        }
        (Err(why), None) => model.notice(crate::model::Level::Problem, escape::line(&why)),
    }
}

/// `/effort WORD`.
pub(super) fn effort(model: &mut Model, word: &str, cmds: &mut Vec<Cmd>) {
    let Some(session_id) = model.open.as_ref().map(|open| open.id.clone()) else {
        return;
    };
    match EFFORTS.iter().position(|known| *known == word) {
        Some(0) => {
            model.efforts.remove(&session_id);
            model.toast("models think as long as usual");
        }
        Some(_) => {
            model.efforts.insert(session_id, word.to_owned());
            model.toast(format!("effort {word} from the next message on"));
        }
        None => {
            composer::restore(model, "/effort ");
            composer::suggest(model, cmds);
        }
    }
}
