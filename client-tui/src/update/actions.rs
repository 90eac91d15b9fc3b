//! Owns: what each action of the key table does.

use agentd_proto::pb;

use super::select as select_mode;
use super::usage;
use super::{again, board, composer, decide, lifecycle, open, overlay, panel, queue, scroll};
use crate::keys::Action;
use crate::layout;
use crate::model::editor::Editor;
use crate::model::output::Output;
use crate::model::overlay::{Ask, Overlay};
use crate::model::session::Scroll;
use crate::model::shell::RawShell;
use crate::model::{Focus, Model, Screen};
use crate::msg::{Cmd, ToLink};

/// How long a second Ctrl-C counts as such.
const TWICE: std::time::Duration = std::time::Duration::from_secs(2);
/// States that the filter goes through.
const STATES: [pb::SessionState; 7] = [
    pb::SessionState::NeedsYou,
    pb::SessionState::Working,
    pb::SessionState::Ready,
    pb::SessionState::Paused,
    pb::SessionState::Failed,
    pb::SessionState::Archived,
    pb::SessionState::Deleted,
];

/// Does it.
pub(crate) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    use Action as A;
    if model.overlay.is_some() {
        return overlay::act(model, action, cmds);
    }
    // Keys of the composer are typing, too: they keep approvals closed for a moment.
    if matches!(action, A::Send | A::Steer | A::Newline | A::Complete) || is_edit(action) {
        model.gate.typed(model.now);
    }
    match action {
        A::Help => {
            model.overlay = Some(Overlay::Help {
                search: Editor::default(),
                scroll: 0,
            })
        }
        A::Palette => {
            model.overlay = Some(Overlay::Palette {
                search: Editor::default(),
                selected: 0,
            })
        }
        A::Notices => {
            model.unread = 0;
            model.overlay = Some(Overlay::Notices { scroll: 0 });
        }
        A::HistorySearch => {
            model.overlay = Some(Overlay::History {
                search: Editor::default(),
                selected: 0,
                here: true,
            });
        }
        A::Redraw => cmds.push(Cmd::Redraw),
        A::Quit => cmds.push(Cmd::Quit),
        A::Suspend => cmds.push(Cmd::Suspend),
        A::Theme => {
            let at = crate::theme::NAMES
                .iter()
                .position(|name| *name == model.theme.name)
                .unwrap_or(0);
            let next = crate::theme::NAMES.get(at + 1).or(crate::theme::NAMES.first());
            if let Some(theme) = next.and_then(|name| crate::theme::by_name(name)) {
                model.theme = theme;
                model.toast(format!("theme {}", theme.name));
            }
        }
        A::Select => select_mode::toggle(model, cmds),
        A::CopyItem if model.selecting.is_some() => select_mode::copy(model, cmds),
        A::Mouse => {
            model.mouse = !model.mouse;
            model.toast(if model.mouse {
                "mouse on"
            } else {
                "mouse off: the terminal selects text"
            });
            cmds.push(Cmd::Mouse(model.mouse));
        }
        A::Retry => again::act(model, cmds),
        A::Sessions | A::Back => back(model),
        A::Approvals => {
            model.screen = Screen::Inbox;
            model.deciding = false;
            cmds.push(Cmd::Link(ToLink::Approvals));
        }
        A::Usage => {
            model.screen = Screen::Usage;
            model.deciding = false;
            usage::load(model, cmds);
        }
        A::Board => board::show(model, cmds),
        A::Pause | A::Archive | A::Delete | A::Fork | A::Export | A::SearchAll => {
            lifecycle::act(model, action, cmds);
        }
        A::TaskAdd
        | A::TaskEdit
        | A::TaskPriority
        | A::TaskOwner
        | A::TaskNote
        | A::TaskForward
        | A::TaskBackward
        | A::TaskClaim
        | A::TaskStart
        | A::TaskRun
        | A::TaskDone
        | A::TaskSync
        | A::ColumnLeft
        | A::ColumnRight
        | A::OtherBoard => board::act(model, action, cmds),
        A::UsageShorter | A::UsageLonger | A::UsageBy | A::UsageMetric | A::UsageTable | A::UsageExport => {
            usage::act(model, action, cmds)
        }
        A::New => prompt(model, Ask::NewName, ""),
        A::Filter => {
            let text = model.filter_mut().clone();
            prompt(model, Ask::Filter, &text);
        }
        A::Rename => rename(model),
        A::Interrupt => interrupt(model, cmds),
        A::Open => enter(model, cmds),
        A::NextState => next_state(model),
        A::Cancel => {
            model.rows.filter.clear();
            model.rows.state = None;
        }
        A::Up | A::Down | A::Top | A::Bottom | A::PageUp | A::PageDown | A::HalfUp | A::HalfDown => {
            move_by(model, action);
        }
        A::Stop => stop(model, cmds),
        A::Clear => clear(model, cmds),
        A::NextPane => next_pane(model),
        A::SidePane => model.side = !model.side,
        A::Expand => expand(model, cmds),
        A::ErrorsOnly => {
            if let Some(open) = &mut model.open {
                open.errors_only = !open.errors_only;
            }
        }
        A::Shell => shell(model, cmds),
        A::Decide => decide::begin(model, cmds),
        A::ApproveOnce | A::ApproveSession | A::ApproveRule | A::Deny | A::DenyBecause => {
            decide::decide(model, action, cmds);
        }
        A::Queue => queue::show(model),
        A::Answer
        | A::About
        | A::Context
        | A::Compact
        | A::Jobs
        | A::Network
        | A::Models
        | A::Audit
        | A::Daemon
        | A::Project
        | A::Personas
        | A::Policies
        | A::Grants
        | A::Budgets
        | A::TryCommand
        | A::NextPolicy => {
            panel::act(model, action, cmds);
        }
        A::Leave => model.deciding = false,
        A::CopyItem | A::CopyCode => select_mode::copy_item(model, action == A::CopyCode, cmds),
        _ => composer::act(model, action, cmds),
    }
}

fn is_edit(action: Action) -> bool {
    use Action as A;
    matches!(
        action,
        A::CharLeft
            | A::CharRight
            | A::WordLeft
            | A::WordRight
            | A::LineStart
            | A::LineEnd
            | A::DeleteLeft
            | A::DeleteRight
            | A::DeleteWord
            | A::DeleteToStart
            | A::DeleteToEnd
    )
}

pub(super) fn prompt(model: &mut Model, ask: Ask, text: &str) {
    model.overlay = Some(Overlay::Prompt {
        ask,
        text: Editor::with(text),
    });
}

fn back(model: &mut Model) {
    model.screen = Screen::Dashboard;
    model.deciding = false;
    model.popup = None;
}

pub(super) fn target(model: &Model) -> Option<String> {
    match model.screen {
        Screen::Session => model.open.as_ref().map(|open| open.id.clone()),
        _ => model
            .rows
            .shown()
            .get(model.rows.place())
            .map(|row| row.session_id.clone()),
    }
}

fn rename(model: &mut Model) {
    if let Some(session_id) = target(model) {
        let name = model
            .rows
            .get(&session_id)
            .map(|row| row.name.clone())
            .unwrap_or_default();
        prompt(model, Ask::Rename { session_id }, &name);
    }
}

fn interrupt(model: &mut Model, cmds: &mut Vec<Cmd>) {
    if model.read_only {
        return model.toast("read-only");
    }
    let Some(session_id) = target(model) else { return };
    if model
        .rows
        .get(&session_id)
        .is_some_and(|row| row.turn_id.is_empty())
    {
        return model.toast("no turn is open");
    }
    model.toast("stopping the turn");
    cmds.push(Cmd::Link(ToLink::Interrupt { session_id }));
}

fn enter(model: &mut Model, cmds: &mut Vec<Cmd>) {
    match model.screen {
        Screen::Dashboard => {
            let id = model
                .rows
                .shown()
                .get(model.rows.place())
                .map(|row| row.session_id.clone());
            match id {
                Some(id) => open(model, &id, cmds),
                None => prompt(model, Ask::NewName, ""),
            }
        }
        Screen::Inbox => {
            if let Some(id) = model.question().map(|one| one.session_id.clone()) {
                open(model, &id, cmds);
            }
        }
        Screen::Board => board::open_task(model, cmds),
        Screen::Session | Screen::Usage => {}
    }
}

fn next_state(model: &mut Model) {
    let now = model.rows.state;
    model.rows.state = match now {
        None => STATES.first().copied(),
        Some(state) => {
            let at = STATES
                .iter()
                .position(|one| *one == state)
                .unwrap_or(STATES.len());
            STATES.get(at + 1).copied()
        }
    };
}

fn move_by(model: &mut Model, action: Action) {
    use Action as A;
    let frame = layout::frame(model);
    let mut page = i64::from(frame.body.height.max(2)) - 1;
    if model.deciding
        && let Some(question) = layout::question(model, model.size.0)
    {
        let shown = question.shown(frame.question.height, 0).len();
        page = i64::try_from(shown.max(2)).unwrap_or(2) - 1;
    }
    let delta = match action {
        A::Up => -1,
        A::Down => 1,
        A::PageUp => -page,
        A::PageDown => page,
        A::HalfUp => -page / 2,
        A::HalfDown => page / 2,
        A::Top => i64::MIN / 2,
        _ => i64::MAX / 2,
    };
    if model.deciding {
        let up = usize::try_from(delta.unsigned_abs().min(10_000)).unwrap_or(0);
        let rows = layout::question(model, model.size.0).map_or(0, |one| one.body.len());
        model.question_scroll = match delta < 0 {
            true => model.question_scroll.saturating_sub(up),
            false => (model.question_scroll + up).min(rows.saturating_sub(1)),
        };
        return;
    }
    match (model.screen, action) {
        (Screen::Session, A::Bottom) => {
            if let Some(open) = &mut model.open {
                open.scroll = Scroll::Follow;
                open.unseen = 0;
                open.selected = None;
                if model.focus == Focus::Transcript {
                    open.selected = layout::select_by(open, 0);
                }
            }
        }
        (Screen::Session, A::Top) => {
            let first = model.open.as_ref().map(|open| layout::block_id(open, 0));
            if let (Some(open), Some(block)) = (&mut model.open, first) {
                open.scroll = Scroll::At { block, line: 0 };
                open.selected = Some(block);
            }
        }
        (Screen::Session, A::Up | A::Down) if model.focus == Focus::Transcript => select_item(model, delta),
        (Screen::Session, _) => scroll(model, delta),
        _ => select(model, delta),
    }
}

/// Moves the selection of a list.
pub(crate) fn select(model: &mut Model, delta: i64) {
    let place = |now: usize, count: usize| {
        let now = i64::try_from(now).unwrap_or(0);
        let last = i64::try_from(count).unwrap_or(0) - 1;
        usize::try_from(now.saturating_add(delta).clamp(0, last.max(0))).unwrap_or(0)
    };
    if model.screen == Screen::Usage {
        model.usage.scroll = model.usage.scroll.saturating_add(delta);
        return;
    }
    if model.screen == Screen::Board {
        let shown = model.board.column(model.board.column);
        let next = shown.get(place(model.board.place(), shown.len()));
        model.board.selected = next.map(|task| task.task_id.clone());
        return;
    }
    if model.screen == Screen::Inbox {
        let now = model.question().map(|one| one.approval_id.clone());
        let at = model
            .approvals
            .iter()
            .position(|one| Some(&one.approval_id) == now.as_ref())
            .unwrap_or(0);
        let next = model.approvals.get(place(at, model.approvals.len()));
        model.inbox_selected = next.map(|one| one.approval_id.clone());
        return;
    }
    let shown = model.rows.shown();
    let next = shown
        .get(place(model.rows.place(), shown.len()))
        .map(|row| row.session_id.clone());
    model.rows.selected = next;
}

/// Selects another item and keeps it on the screen.
fn select_item(model: &mut Model, delta: i64) {
    let frame = layout::frame(model);
    let Some(open) = &model.open else { return };
    let Some(id) = layout::select_by(open, delta) else {
        return;
    };
    let (width, height) = (frame.body.width, frame.body.height);
    let rows = layout::visible(model, open, width, height);
    let index = layout::block_index(open, id);
    let first = rows.first().map_or(0, |(id, _, line)| {
        layout::block_index(open, *id) + usize::from(*line > 0)
    });
    let last = rows.last().map_or(0, |(id, _, _)| layout::block_index(open, *id));
    let lines = i64::try_from(layout::block(model, open, index, width).len()).unwrap_or(1);
    if let Some(open) = &mut model.open {
        open.selected = Some(id);
        if index < first {
            open.scroll = Scroll::At { block: id, line: 0 };
        }
    }
    if index >= last && delta > 0 {
        scroll(model, lines.min(i64::from(height)));
    }
}

fn next_pane(model: &mut Model) {
    let wide = layout::frame(model).divider.width > 0;
    model.focus = match model.focus {
        Focus::Composer => Focus::Transcript,
        // Beside the transcript the pane is seen anyway; alone it is a tab.
        Focus::Transcript if !wide => Focus::Side,
        _ => Focus::Composer,
    };
    if let Some(open) = &mut model.open {
        open.selected = match model.focus {
            Focus::Transcript => layout::select_by(open, 0),
            _ => None,
        };
    }
}

/// Opens or folds the selected item, or else the last one that folds.
fn expand(model: &mut Model, cmds: &mut Vec<Cmd>) {
    use agentd_proto::transcript::Kind;
    let Some(open) = &mut model.open else { return };
    let folds = |kind: &Kind| matches!(kind, Kind::Tool { .. } | Kind::Exec { .. } | Kind::You { .. });
    let chosen = match open.selected {
        Some(id) => open.transcript.get(layout::block_index(open, id)),
        None => open
            .transcript
            .items()
            .iter()
            .rev()
            .find(|item| matches!(item.kind, Kind::Tool { .. } | Kind::Exec { .. })),
    };
    let Some(item) = chosen.filter(|item| folds(&item.kind)) else {
        return;
    };
    let seq = item.seq;
    let exec = match &item.kind {
        Kind::Tool {
            exec_id,
            end: Some(_),
            ..
        }
        | Kind::Exec {
            exec_id,
            result: Some(_),
            ..
        } => exec_id.clone(),
        _ => String::new(),
    };
    if !open.expanded.remove(&seq) {
        open.expanded.insert(seq);
        // What was written before this client came is fetched when it is looked at.
        let whole = open.outputs.get(&exec).is_some_and(Output::is_whole);
        if !exec.is_empty() && !whole && open.fetched.insert(exec.clone()) {
            // A tail that is held gives way: it is in what is read.
            open.outputs.remove(&exec);
            let session_id = open.id.clone();
            cmds.push(Cmd::Link(ToLink::ReadOutput {
                session_id,
                exec_id: exec,
            }));
        }
    }
}

fn shell(model: &mut Model, cmds: &mut Vec<Cmd>) {
    if model.shell_focus {
        model.shell_focus = false;
        return;
    }
    if model.read_only {
        return model.toast("read-only");
    }
    let Some(open) = &model.open else { return };
    let session_id = open.id.clone();
    model.shell_focus = true;
    model.deciding = false;
    let usable = model
        .shell
        .as_ref()
        .is_some_and(|shell| shell.session_id == session_id && !shell.ended);
    if !usable {
        let size = layout::frame(model).shell_size();
        model.shell = Some(RawShell::new(&session_id, size));
        open_shell(model, cmds);
    }
}

/// Opens the shell that was asked for, once the log has told whether one is open already.
pub(super) fn open_shell(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let resize = model.other_input().is_none();
    let Some(open) = model.open.as_ref().filter(|open| open.loaded) else {
        return;
    };
    let Some(shell) = model.shell.as_mut().filter(|shell| !shell.asked) else {
        return;
    };
    shell.asked = true;
    cmds.push(Cmd::Link(ToLink::OpenShell {
        session_id: open.id.clone(),
        existing: open.pty.clone(),
        size: shell.size,
        resize,
    }));
}

/// Esc: closes what is open, else stops the turn.
fn stop(model: &mut Model, cmds: &mut Vec<Cmd>) {
    if model.popup.take().is_some() || queue::end(model) {
        return;
    }
    if model.focus != Focus::Composer {
        model.focus = Focus::Composer;
        if let Some(open) = &mut model.open {
            open.selected = None;
        }
        return;
    }
    if model.is_working() {
        return interrupt(model, cmds);
    }
    // A second Esc takes the last message up again, to say it better.
    let empty = model.draft().is_none_or(Editor::is_empty);
    if !empty || model.read_only {
        return;
    }
    if model.again.is_some_and(|at| at + TWICE > model.now) {
        model.again = None;
        if let (Some(last), Some(draft)) = (composer::history(model).pop(), model.draft_mut()) {
            *draft = Editor::with(last);
        }
    } else {
        model.again = Some(model.now);
    }
}

/// Ctrl-C: the draft, then the turn, then this client.
fn clear(model: &mut Model, cmds: &mut Vec<Cmd>) {
    model.popup = None;
    if queue::end(model) {
        return;
    }
    let dirty = model.draft().is_some_and(|draft| !draft.is_empty());
    if dirty {
        if let Some(draft) = model.draft_mut() {
            draft.clear();
        }
        return;
    }
    if model.is_working() {
        return interrupt(model, cmds);
    }
    if model.leaving.is_some_and(|at| at + TWICE > model.now) {
        return cmds.push(Cmd::Quit);
    }
    model.leaving = Some(model.now);
    model.toast("press it once more to leave; the session goes on");
}
