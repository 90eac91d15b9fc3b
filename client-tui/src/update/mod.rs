//! Owns: what every message does to the model, and what the model then wants.
//! Guarantees: pure: no clock, no terminal, no daemon; the same model and message give the same result.

mod actions;
mod again;
mod attach;
mod board;
mod composer;
mod decide;
mod lifecycle;
mod news;
mod overlay;
mod panel;
mod queue;
mod select;
mod usage;

#[cfg(test)]
pub(crate) use actions::act;
pub(crate) use attach::name_of;
pub(crate) use overlay::{entries, found};

#[cfg(test)]
mod tests;

use std::time::Instant;

use crossterm::event::{KeyEvent, KeyEventKind};

use crate::keys::{Action, Key, Meaning};
use crate::layout;
use crate::model::session::Scroll;
use crate::model::{Focus, Level, Model, Screen};
use crate::msg::{Cmd, Msg, ToLink};

/// From this line on older pages are fetched.
const FETCH_WITHIN: usize = 40;

/// Takes in what happened at `now`.
pub(crate) fn update(model: &mut Model, msg: Msg, now: Instant) -> Vec<Cmd> {
    model.now = now;
    if model.toast.as_ref().is_some_and(|(_, until)| *until <= now) {
        model.toast = None;
    }
    let mut cmds = Vec::new();
    match msg {
        Msg::Key(event) if event.kind != KeyEventKind::Release => key(model, event, &mut cmds),
        Msg::Key(_) | Msg::Tick => {}
        Msg::Paste(text) => paste(model, &text, &mut cmds),
        Msg::Resize(width, height) => model.size = (width, height),
        Msg::Wheel(lines) => wheel(model, lines),
        Msg::Click(column, row) => click(model, column, row, &mut cmds),
        Msg::Focus(focused) => model.focused = focused,
        Msg::Edited(text) if model.file.is_some() => panel::edited(model, text, &mut cmds),
        Msg::Edited(text) => composer::edited(model, text),
        Msg::Link(news) => news::news(model, news, &mut cmds),
    }
    settle(model, &mut cmds);
    cmds
}

/// What follows from any change.
fn settle(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let question = model.question().map(|one| {
        let text = format!(
            "{}\0{}\0{}\0{}\0{}",
            one.summary,
            one.detail,
            one.why,
            one.session_rule,
            one.rules.join("\0")
        );
        (one.approval_id.clone(), text)
    });
    let now = model.now;
    if model.gate.show(
        question.as_ref().map(|(id, text)| (id.as_str(), text.clone())),
        now,
    ) {
        // The keys go back to where they were: the letters were meant for another question.
        decide::changed(model, question.as_ref().map(|(id, _)| id.as_str()));
    }
    older(model, cmds);
    resize_shell(model, cmds);
}

/// Asks for the page before when the reader comes near the first line held.
fn older(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let Some(open) = &model.open else { return };
    if !open.loaded
        || open.loading_older
        || !open.has_older()
        || open.is_full()
        || open.scroll == Scroll::Follow
    {
        return;
    }
    let Scroll::At { block, line } = open.scroll else {
        return;
    };
    if layout::block_index(open, block) + line / 8 > FETCH_WITHIN {
        return;
    }
    let (session_id, before) = (open.id.clone(), open.first_seq());
    if let Some(open) = &mut model.open {
        open.loading_older = true;
    }
    cmds.push(Cmd::Link(ToLink::Older { session_id, before }));
}

/// The terminal follows the size of whoever types into it; the others look at it in that size.
fn resize_shell(model: &mut Model, cmds: &mut Vec<Cmd>) {
    if !model.shell_focus {
        return;
    }
    let size = layout::frame(model).shell_size();
    let theirs = model.other_input().is_some();
    let now = model.now;
    let Some(shell) = model.shell.as_mut() else { return };
    let (session_id, exec_id) = (shell.session_id.clone(), shell.exec_id.clone());
    if theirs {
        if !exec_id.is_empty()
            && shell
                .looked
                .is_none_or(|_| shell.look_at().is_some_and(|at| at <= now))
        {
            shell.looked = Some(now);
            shell.stale = false;
            cmds.push(Cmd::Link(ToLink::ShellSize { session_id, exec_id }));
        }
        return;
    }
    shell.looked = None;
    if shell.resize(size) && !exec_id.is_empty() {
        cmds.push(Cmd::Link(ToLink::ShellResize {
            session_id,
            exec_id,
            size,
        }));
    }
}

/// Something was typed into the terminal: from now on it has this program's size.
fn take_input(model: &mut Model, cmds: &mut Vec<Cmd>) {
    if model.other_input().is_some()
        && let Some(shell) = model.shell.as_mut()
    {
        shell.taking = true;
        resize_shell(model, cmds);
    }
}

fn key(model: &mut Model, event: KeyEvent, cmds: &mut Vec<Cmd>) {
    let key = Key::of(event);
    let contexts = model.contexts();
    let prefix = model.prefix.take();
    match model.keymap.meaning(contexts, prefix, key) {
        Meaning::Prefix => model.prefix = Some(key),
        Meaning::Action(action) => {
            // Whoever goes on has seen what went wrong; the notices keep it.
            model.toast.take_if(|(notice, _)| notice.level == Level::Problem);
            actions::act(model, action, cmds);
        }
        Meaning::None if prefix.is_some() => {}
        Meaning::None => unbound(model, event, key, cmds),
    }
}

/// A key that means nothing by itself: it is typed, where something is being written.
fn unbound(model: &mut Model, event: KeyEvent, key: Key, cmds: &mut Vec<Cmd>) {
    if model.selecting.is_some() {
        return;
    }
    if model.shell_focus {
        take_input(model, cmds);
        if let Some(shell) = model.shell.as_mut().filter(|shell| !shell.ended) {
            let data = shell.bytes(event);
            cmds.extend(shell.input(data));
        } else if model.shell.as_ref().is_none_or(|shell| shell.ended) {
            actions::act(model, Action::Shell, cmds);
        }
        return;
    }
    // Whatever is typed keeps approvals closed for a moment.
    model.gate.typed(model.now);
    let Some(typed) = key.typed() else { return };
    if model.screen == Screen::Usage && model.overlay.is_none() {
        usage::focus(model, typed);
    } else if model.overlay.is_some() {
        overlay::typed(model, typed, cmds);
    } else if model.deciding {
        // Letters without a meaning are not for the composer: the person is looking at the question.
    } else if model.screen == Screen::Session {
        if model.focus != Focus::Composer {
            model.focus = Focus::Composer;
        }
        composer::typed(model, typed, cmds);
    }
}

fn paste(model: &mut Model, text: &str, cmds: &mut Vec<Cmd>) {
    if model.selecting.is_some() {
        return;
    }
    if model.shell_focus {
        take_input(model, cmds);
        if let Some(shell) = model.shell.as_mut().filter(|shell| !shell.ended) {
            let data = shell.paste(text);
            cmds.extend(shell.input(data));
        }
        return;
    }
    model.gate.typed(model.now);
    if model.overlay.is_some() {
        overlay::paste(model, text, cmds);
    } else if model.screen == Screen::Session && !model.deciding && !model.read_only {
        model.focus = Focus::Composer;
        if attach::pasted(model, text, cmds) {
            return;
        }
        if let Some(draft) = model.draft_mut() {
            draft.paste(text);
        }
        composer::suggest(model, cmds);
    }
}

fn wheel(model: &mut Model, lines: i64) {
    if model.overlay.is_some() || model.shell_focus || model.selecting.is_some() {
        return;
    }
    match model.screen {
        Screen::Session => scroll(model, lines),
        Screen::Dashboard | Screen::Inbox | Screen::Usage | Screen::Board => {
            actions::select(model, lines.signum())
        }
    }
}

fn click(model: &mut Model, column: u16, row: u16, cmds: &mut Vec<Cmd>) {
    let place = ratatui::layout::Position::new(column, row);
    let frame = layout::frame(model);
    if model.overlay.is_some() || model.shell_focus {
        return;
    }
    if model.screen == Screen::Dashboard && frame.body.contains(place) {
        let wanted = crate::view::dashboard_row(model, frame.body, row);
        if let Some(id) = wanted {
            let again = model.rows.selected.as_ref() == Some(&id);
            model.rows.selected = Some(id);
            if again {
                actions::act(model, Action::Open, cmds);
            }
        }
    } else if frame.composer.contains(place) {
        model.focus = Focus::Composer;
    } else if model.screen == Screen::Session && frame.body.contains(place) {
        let id = model.open.as_ref().and_then(|open| {
            let rows = layout::visible(model, open, frame.body.width, frame.body.height);
            let empty = usize::from(frame.body.height).saturating_sub(rows.len());
            let at = usize::from(row - frame.body.y).checked_sub(empty)?;
            rows.get(at).map(|(id, _, _)| *id)
        });
        if let (Some(id), Some(open)) = (id, &mut model.open) {
            let again = open.selected == Some(id) && model.focus == Focus::Transcript;
            open.selected = Some(id);
            model.focus = Focus::Transcript;
            if again {
                actions::act(model, Action::Expand, cmds);
            }
        }
    }
}

/// Looks `lines` further down in the transcript.
fn scroll(model: &mut Model, lines: i64) {
    let frame = layout::frame(model);
    let Some(open) = &model.open else { return };
    let to = layout::scroll_by(model, open, frame.body.width, frame.body.height, lines);
    if let Some(open) = &mut model.open {
        open.scroll = to;
        if to == Scroll::Follow {
            open.unseen = 0;
        }
    }
}

/// Begins with a session.
pub(crate) fn begin(model: &mut Model, session: agentd_proto::pb::Session, cmds: &mut Vec<Cmd>) {
    let id = session.session_id.clone();
    model.rows.set(session);
    open(model, &id, cmds);
}

/// Opens a session and goes there.
fn open(model: &mut Model, id: &str, cmds: &mut Vec<Cmd>) {
    model.screen = Screen::Session;
    model.focus = Focus::Composer;
    model.deciding = false;
    model.popup = None;
    model.walking = None;
    model.rows.selected = Some(id.to_owned());
    if model.open.as_ref().is_some_and(|open| open.id == id) {
        return;
    }
    model.open = Some(crate::model::session::OpenSession::new(id));
    model.shell = None;
    cmds.push(Cmd::Link(ToLink::Open(id.to_owned())));
}
