//! Owns: keys while something lies over the view.

use super::{actions, board, decide, lifecycle, panel, queue};
use crate::keys::Action;
use crate::model::Model;
use crate::model::editor::Editor;
use crate::model::overlay::{Ask, Choice, Entry, Overlay, fits, palette};
use crate::model::panel::{Hand, Trial, View};
use crate::msg::{Cmd, Life, ToLink};

/// Recent actions that come first in the palette.
const RECENT: usize = 5;

/// The rows of the palette at this moment.
pub(crate) fn entries(model: &Model, search: &str) -> Vec<Entry> {
    let sessions: Vec<(String, String)> = model
        .rows
        .all()
        .into_iter()
        .map(|row| (row.session_id.clone(), agentd_proto::escape::line(&row.name)))
        .collect();
    let models: Vec<String> = model
        .models
        .iter()
        .filter(|one| one.status == "ready" || one.status == "found")
        .map(|one| one.name.clone())
        .collect();
    palette(&model.keymap, &model.recent, &sessions, &models, search)
}

/// Messages that fit what is searched, newest first.
pub(crate) fn found(model: &Model, search: &str, here: bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |text: &String| {
        if !text.trim().is_empty() && fits(text, search) && !all.contains(text) {
            all.push(text.clone());
        }
    };
    super::composer::history(model).iter().rev().for_each(&mut add);
    if !here {
        model.history.iter().rev().for_each(&mut add);
    }
    all
}

/// A character typed into the overlay.
pub(crate) fn typed(model: &mut Model, c: char, cmds: &mut Vec<Cmd>) {
    edit(model, |editor| editor.insert(&c.to_string()));
    lifecycle::search(model, cmds);
}

pub(crate) fn paste(model: &mut Model, text: &str, cmds: &mut Vec<Cmd>) {
    let line = text.split(['\r', '\n']).next().unwrap_or_default().to_owned();
    edit(model, |editor| editor.insert(&line));
    lifecycle::search(model, cmds);
}

fn edit(model: &mut Model, change: impl FnOnce(&mut Editor)) {
    match &mut model.overlay {
        Some(Overlay::Help { search, scroll }) => {
            change(search);
            *scroll = 0;
        }
        Some(
            Overlay::Palette { search, selected }
            | Overlay::History { search, selected, .. }
            | Overlay::Search { search, selected, .. },
        ) => {
            change(search);
            *selected = 0;
        }
        Some(Overlay::Prompt { text, ask }) => {
            change(text);
            if *ask == Ask::Filter {
                let filter = text.expanded();
                *model.filter_mut() = filter;
            }
        }
        Some(Overlay::Grant(form)) => decide::edit(form, change),
        Some(
            Overlay::Notices { .. }
            | Overlay::Queue { .. }
            | Overlay::Panel(_)
            | Overlay::Task { .. }
            | Overlay::Conflict { .. }
            | Overlay::Boards { .. },
        )
        | None => {}
    }
}

/// An action while an overlay is there.
pub(crate) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    use Action as A;
    let page = i64::from(model.size.1 / 2).max(1);
    match action {
        _ if matches!(model.overlay, Some(Overlay::Grant(_))) => decide::form(model, action, cmds),
        A::Cancel => {
            if matches!(&model.overlay, Some(Overlay::Prompt { ask: Ask::Filter, .. })) {
                model.filter_mut().clear();
            }
            model.overlay = None;
        }
        A::KeepFile | A::KeepBoard | A::KeepOther => board::keep(model, action, cmds),
        A::Accept | A::QueueSteer | A::QueueRemove
            if matches!(model.overlay, Some(Overlay::Queue { .. })) =>
        {
            queue::act(model, action, cmds);
        }
        A::Accept if matches!(model.overlay, Some(Overlay::Panel(_))) => {
            panel::chosen(model, Hand::Take, cmds);
        }
        A::PanelEnd => panel::chosen(model, Hand::End, cmds),
        A::PanelEdit => panel::chosen(model, Hand::Edit, cmds),
        A::PanelTry => panel::chosen(model, Hand::Try, cmds),
        A::PanelReload => panel::reload(model, cmds),
        A::Accept => accept(model, cmds),
        A::Up => step(model, -1),
        A::Down => step(model, 1),
        A::PageUp => step(model, -page),
        A::PageDown => step(model, page),
        A::NextState => {
            if let Some(Overlay::History { here, selected, .. } | Overlay::Search { here, selected, .. }) =
                &mut model.overlay
            {
                *here = !*here;
                *selected = 0;
            }
            lifecycle::search(model, cmds);
        }
        A::DeleteLeft | A::DeleteRight | A::DeleteWord | A::DeleteToStart | A::DeleteToEnd => {
            change(model, action);
            lifecycle::search(model, cmds);
        }
        action => change(model, action),
    }
}

/// Moves or deletes in the text that the overlay has.
pub(super) fn change(model: &mut Model, action: Action) {
    use Action as A;
    match action {
        A::DeleteLeft => edit(model, Editor::delete_left),
        A::DeleteRight => edit(model, Editor::delete_right),
        A::DeleteWord => edit(model, Editor::delete_word),
        A::DeleteToStart => edit(model, Editor::delete_to_start),
        A::DeleteToEnd => edit(model, Editor::delete_to_end),
        A::CharLeft => edit(model, Editor::left),
        A::CharRight => edit(model, Editor::right),
        A::WordLeft => edit(model, Editor::word_left),
        A::WordRight => edit(model, Editor::word_right),
        A::LineStart => edit(model, Editor::line_start),
        A::LineEnd => edit(model, Editor::line_end),
        _ => {}
    }
}

fn step(model: &mut Model, delta: i64) {
    let count = match &model.overlay {
        Some(Overlay::Palette { search, .. }) => entries(model, search.text()).len(),
        Some(Overlay::History { search, here, .. }) => found(model, search.text(), *here).len(),
        Some(Overlay::Notices { .. }) => model.notices.len(),
        Some(Overlay::Queue { .. }) => model.open.as_ref().map_or(0, |open| open.queue.len()),
        Some(Overlay::Help { .. }) => crate::view::help_lines(model).len(),
        Some(Overlay::Search { hits, .. }) => hits.len(),
        Some(Overlay::Boards { .. }) => model.board.known.len(),
        Some(Overlay::Panel(view)) => view.rows.as_ref().map_or(0, Vec::len),
        Some(Overlay::Task { .. }) => crate::view::task_lines(model, model.size.0).len(),
        Some(Overlay::Conflict { task_id, .. }) => {
            model.board.get(task_id).map_or(0, |task| task.conflicts.len())
        }
        _ => 0,
    };
    let last = i64::try_from(count).unwrap_or(0) - 1;
    if let Some(
        Overlay::Palette { selected: place, .. }
        | Overlay::History { selected: place, .. }
        | Overlay::Queue { selected: place }
        | Overlay::Search { selected: place, .. }
        | Overlay::Boards { selected: place }
        | Overlay::Panel(View { selected: place, .. })
        | Overlay::Task { scroll: place }
        | Overlay::Conflict { field: place, .. }
        | Overlay::Notices { scroll: place }
        | Overlay::Help { scroll: place, .. },
    ) = &mut model.overlay
    {
        let now = i64::try_from(*place).unwrap_or(0);
        *place = usize::try_from((now + delta).clamp(0, last.max(0))).unwrap_or(0);
    }
}

fn accept(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let Some(overlay) = model.overlay.take() else {
        return;
    };
    match overlay {
        Overlay::Palette { search, selected } => {
            let entry = entries(model, search.text()).into_iter().nth(selected);
            if let Some(entry) = entry {
                choose(model, entry.what, cmds);
            }
        }
        Overlay::History {
            search,
            selected,
            here,
        } => {
            if let Some(text) = found(model, search.text(), here).into_iter().nth(selected)
                && let Some(draft) = model.draft_mut()
            {
                *draft = Editor::with(text);
            }
        }
        // Blanks may belong to what a command is to read.
        Overlay::Prompt {
            ask:
                Ask::Input {
                    session_id,
                    exec_id,
                    pty,
                    ..
                },
            text,
        } => panel::answer(model, session_id, exec_id, pty, &text.expanded(), cmds),
        Overlay::Prompt { ask, text } => answer(model, ask, text.expanded().trim(), cmds),
        Overlay::Search { hits, selected, .. } => {
            if let Some(hit) = hits.get(selected) {
                lifecycle::go(model, hit, cmds);
            }
        }
        Overlay::Boards { selected } => board::choose(model, selected, cmds),
        Overlay::Help { .. }
        | Overlay::Notices { .. }
        | Overlay::Queue { .. }
        | Overlay::Panel(_)
        | Overlay::Grant(_)
        | Overlay::Task { .. }
        | Overlay::Conflict { .. } => {}
    }
}

fn choose(model: &mut Model, what: Choice, cmds: &mut Vec<Cmd>) {
    match what {
        Choice::Action(action) => {
            model.recent.retain(|one| *one != action);
            model.recent.insert(0, action);
            model.recent.truncate(RECENT);
            actions::act(model, action, cmds);
        }
        Choice::Session(id) => super::open(model, &id, cmds),
        Choice::Model(name) => super::composer::choose_model(model, &name),
        Choice::Theme(name) => {
            if let Some(theme) = crate::theme::by_name(name) {
                model.theme = theme;
            }
        }
    }
}

fn answer(model: &mut Model, ask: Ask, text: &str, cmds: &mut Vec<Cmd>) {
    match ask {
        Ask::Filter => *model.filter_mut() = text.to_owned(),
        Ask::Delete { session_id, name, .. } => {
            lifecycle::confirmed(model, session_id, &name, text, cmds);
        }
        Ask::Fork { session_id, seq } => {
            let name = text.to_owned();
            let fork = Life::Fork {
                session_id,
                seq,
                name,
            };
            cmds.push(Cmd::Link(ToLink::Life(fork)));
        }
        Ask::Task { task_id, what } => board::answer(model, task_id, what, text, cmds),
        Ask::NewName => cmds.push(Cmd::Link(ToLink::Create {
            name: text.to_owned(),
        })),
        Ask::Rename { session_id } if !text.is_empty() => {
            cmds.push(Cmd::Link(ToLink::Rename {
                session_id,
                name: text.to_owned(),
            }));
        }
        Ask::Rename { .. } | Ask::Input { .. } => {}
        Ask::Forward { .. } => panel::forward(model, text, cmds),
        Ask::HostPort { .. } => panel::host_port(model, text, cmds),
        Ask::Budget => panel::budget(model, text, cmds),
        Ask::Copy(draft) => panel::copied(model, draft, text, cmds),
        Ask::Remove(what, name) => panel::removed(model, what, &name, text, cmds),
        Ask::Try(trial) => {
            let command = text.to_owned();
            panel::tried(model, Trial { command, ..trial }, cmds);
        }
        Ask::Rule(trial) => {
            let rule = text.to_owned();
            panel::tried(model, Trial { rule, ..trial }, cmds);
        }
        Ask::DenyBecause { approval_id } => decide::deny(model, approval_id, text, cmds),
    }
}
