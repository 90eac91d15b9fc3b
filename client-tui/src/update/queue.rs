//! Owns: messages that wait: showing them, changing them in the composer, steering, taking them back.
//! Guarantees: what was being written when a change began is there again when it ends.

use agentd_proto::pb;

use crate::keys::Action;
use crate::model::editor::Editor;
use crate::model::overlay::Overlay;
use crate::model::{Focus, Link, Model};
use crate::msg::{Cmd, ToLink};

/// Opens the list.
pub(super) fn show(model: &mut Model) {
    let Some(open) = &model.open else {
        return model.toast("open a session first");
    };
    if open.queue.is_empty() {
        return model.toast("no message waits");
    }
    model.overlay = Some(Overlay::Queue { selected: 0 });
}

/// What the list can do with the selected message.
pub(super) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    let Some(Overlay::Queue { selected }) = model.overlay else {
        return;
    };
    let Some(open) = &model.open else { return };
    let Some(chosen) = open.queue.get(selected).cloned() else {
        model.overlay = None;
        return;
    };
    if model.read_only {
        return model.toast("read-only");
    }
    if model.link != Link::Up {
        return model.toast("not connected: it can be changed when the daemon is back");
    }
    let (session_id, message_id) = (open.id.clone(), chosen.message_id.clone());
    match action {
        Action::QueueRemove => {
            if open.queue.len() == 1 {
                model.overlay = None;
            }
            cmds.push(Cmd::Link(ToLink::RemoveQueued {
                session_id,
                message_id,
            }));
        }
        Action::QueueSteer => cmds.push(Cmd::Link(ToLink::EditQueued {
            session_id,
            message_id,
            parts: Vec::new(),
            steer: Some(!chosen.steer),
        })),
        Action::Accept => begin(model, &chosen),
        _ => {}
    }
}

/// The message goes into the composer; what was there waits.
fn begin(model: &mut Model, chosen: &pb::QueuedMessage) {
    model.overlay = None;
    end(model);
    let text = agentd_proto::transcript::text_of(&chosen.parts);
    let aside = model.draft().cloned().unwrap_or_default();
    if let Some(draft) = model.draft_mut() {
        *draft = Editor::with(text);
    }
    if let Some(open) = &mut model.open {
        open.editing = Some((chosen.message_id.clone(), aside));
    }
    model.focus = Focus::Composer;
}

/// Ends a change without doing it; false when none was being made.
pub(super) fn end(model: &mut Model) -> bool {
    let Some((_, aside)) = model.open.as_mut().and_then(|open| open.editing.take()) else {
        return false;
    };
    if let Some(draft) = model.draft_mut() {
        *draft = aside;
    }
    true
}

/// Sends the changed text; false when no change was being made.
pub(super) fn send(model: &mut Model, text: &str, cmds: &mut Vec<Cmd>) -> bool {
    let Some(open) = &model.open else { return false };
    let Some((message_id, _)) = &open.editing else {
        return false;
    };
    if model.link != Link::Up {
        model.toast("not connected: Enter again when the daemon is back");
        return true;
    }
    let part = pb::Part {
        part: Some(pb::part::Part::Text(text.to_owned())),
    };
    // What is attached to it stays so.
    let attached = open
        .queue
        .iter()
        .find(|one| &one.message_id == message_id)
        .into_iter()
        .flat_map(|one| &one.parts)
        .filter(|part| {
            use pb::part::Part;
            matches!(part.part, Some(Part::Attachment(_) | Part::Image(_)))
        });
    let parts = std::iter::once(part).chain(attached.cloned()).collect();
    cmds.push(Cmd::Link(ToLink::EditQueued {
        session_id: open.id.clone(),
        message_id: message_id.clone(),
        parts,
        steer: None,
    }));
    end(model);
    true
}

/// The list from the daemon. A message that went to the agent while it was being changed becomes a draft.
pub(super) fn news(model: &mut Model, session_id: &str, messages: Vec<pb::QueuedMessage>) {
    let Some(open) = model.open.as_mut().filter(|open| open.id == session_id) else {
        return;
    };
    open.queue = messages;
    let count = open.queue.len();
    let gone = open
        .editing
        .as_ref()
        .is_some_and(|(id, _)| open.queue.iter().all(|one| one.message_id != *id));
    if gone {
        open.editing = None;
        model.toast("the agent has that message already; your text stays here");
    }
    if let Some(Overlay::Queue { selected }) = &mut model.overlay {
        *selected = (*selected).min(count.saturating_sub(1));
        if count == 0 {
            model.overlay = None;
        }
    }
}
