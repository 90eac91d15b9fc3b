//! Owns: the row of key hints: which actions are worth a hint now; the keys come from the table.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::put;
use crate::keys::{Action, Context};
use crate::model::overlay::Overlay;
use crate::model::panel::{Deed, Hand, Panel};
use crate::model::{Focus, Model, Screen};
use crate::text;

/// Draws the row.
pub(crate) fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let theme = &model.theme;
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (context, action, words) in hints(model) {
        let Some(key) = model.keymap.shown(context, action) else {
            continue;
        };
        let before = if spans.is_empty() { " " } else { "   " };
        used += text::width(before) + text::width(&key) + 1 + text::width(words);
        // Half a key is no hint; the first is cut where even that has no room.
        if used > usize::from(area.width) && !spans.is_empty() {
            break;
        }
        spans.push(Span::raw(before));
        spans.push(Span::styled(key, theme.key));
        spans.push(Span::styled(format!(" {words}"), theme.dim));
    }
    put(
        buffer,
        area,
        0,
        &Line::from(text::clip(spans, usize::from(area.width))),
    );
}

/// At most six, the most useful first.
pub(crate) fn hints(model: &Model) -> Vec<(Context, Action, &'static str)> {
    use Action as A;
    use Context as C;
    if model.shell_focus {
        return vec![(C::Shell, A::Shell, "back to the session (the shell goes on)")];
    }
    if matches!(model.overlay, Some(Overlay::Queue { .. })) {
        return vec![
            (C::Overlay, A::Accept, "change"),
            (C::Queue, A::QueueSteer, "steer"),
            (C::Queue, A::QueueRemove, "take back"),
            (C::Overlay, A::Cancel, "close"),
        ];
    }
    if matches!(model.overlay, Some(Overlay::Conflict { .. })) {
        return vec![
            (C::Conflict, A::KeepFile, "keep the file's"),
            (C::Conflict, A::KeepBoard, "keep the board's"),
            (C::Conflict, A::KeepOther, "write it anew"),
            (C::Overlay, A::Cancel, "later"),
        ];
    }
    if let Some(Overlay::Panel(view)) = &model.overlay {
        let edits = matches!(view.what, Panel::Personas | Panel::Policies);
        let tries = matches!(view.what, Panel::Policies | Panel::Trial);
        // Only what some row of it can do.
        let can = |hand: Hand| {
            let deeds = view.rows.iter().flatten().flat_map(|row| &row.deeds);
            deeds.map(Deed::hand).any(|one| one == hand)
        };
        let all = [
            (can(Hand::Take) || can(Hand::Try)).then_some((C::Overlay, A::Accept, "take")),
            edits.then_some((C::Panel, A::PanelEdit, "edit or copy")),
            tries.then_some((C::Panel, A::PanelTry, "try a command")),
            can(Hand::End).then_some((C::Panel, A::PanelEnd, "end or close")),
            Some((C::Panel, A::PanelReload, "look again")),
            Some((C::Overlay, A::Cancel, "close")),
        ];
        return all.into_iter().flatten().collect();
    }
    if matches!(model.overlay, Some(Overlay::Grant(_))) {
        return vec![
            (C::Grant, A::GrantRule, "approve with it"),
            (C::Grant, A::NextTerm, "how long"),
            (C::Grant, A::Down, "next rule"),
            (C::Grant, A::Cancel, "back"),
        ];
    }
    if let Some(Overlay::Prompt { .. }) = &model.overlay {
        return vec![(C::Overlay, A::Accept, "take"), (C::Overlay, A::Cancel, "close")];
    }
    if let Some(Overlay::Help { .. } | Overlay::Notices { .. } | Overlay::Task { .. }) = &model.overlay {
        return vec![
            (C::Overlay, A::Cancel, "close"),
            (C::Overlay, A::Up, "up"),
            (C::Overlay, A::Down, "down"),
            (C::Overlay, A::PageDown, "page down"),
        ];
    }
    if model.overlay.is_some() {
        return vec![
            (C::Overlay, A::Accept, "take"),
            (C::Overlay, A::Cancel, "close"),
            (C::Overlay, A::Up, "up"),
            (C::Overlay, A::Down, "down"),
        ];
    }
    if model.deciding {
        let mut hints = vec![(C::Approval, A::ApproveOnce, "once")];
        if model.question().is_some_and(|one| !one.session_rule.is_empty()) {
            hints.push((C::Approval, A::ApproveSession, "session"));
        }
        hints.extend([
            (C::Approval, A::Deny, "deny"),
            (C::Approval, A::DenyBecause, "deny+say why"),
        ]);
        if model.question().is_some_and(|one| !one.rules.is_empty()) {
            hints.push((C::Approval, A::ApproveRule, "rule…"));
        }
        hints.extend([(C::Approval, A::Leave, "leave undecided")]);
        return hints;
    }
    let asked = model.question().is_some();
    let decide = |context| asked.then_some((context, A::Decide, "decide"));
    let list = match model.screen {
        Screen::Dashboard => vec![
            Some((C::List, A::Open, "open")),
            Some((C::List, A::New, "new")),
            Some((C::List, A::Pause, "pause")),
            Some((C::List, A::Archive, "archive")),
            Some((C::List, A::Palette, "commands")),
            Some((C::List, A::Help, "help")),
        ],
        Screen::Inbox => vec![
            decide(C::Inbox),
            Some((C::Inbox, A::Open, "open the session")),
            Some((C::Inbox, A::Back, "back")),
            Some((C::Inbox, A::Help, "help")),
        ],
        Screen::Board => vec![
            Some((C::Board, A::Open, "open")),
            Some((C::Board, A::TaskForward, "move on")),
            Some((C::Board, A::TaskEdit, "edit")),
            Some((C::Board, A::TaskStart, "session")),
            Some((C::Board, A::TaskAdd, "new")),
            Some((C::Board, A::Help, "help")),
        ],
        Screen::Usage => vec![
            Some((C::Usage, A::UsageLonger, "longer")),
            Some((C::Usage, A::UsageBy, "by")),
            Some((C::Usage, A::UsageMetric, "cost/tokens")),
            Some((C::Usage, A::UsageTable, "table")),
            Some((C::Usage, A::Budgets, "budgets")),
            Some((C::Usage, A::Back, "back")),
        ],
        Screen::Session if model.focus == Focus::Composer => vec![
            model.is_working().then_some((C::Session, A::Stop, "stop")),
            decide(C::Session),
            Some((C::Session, A::Shell, "shell")),
            Some((C::Session, A::NextPane, "panes")),
            Some((C::Everywhere, A::Sessions, "sessions")),
            Some((C::Everywhere, A::Palette, "commands")),
            model
                .draft()
                .is_none_or(crate::model::editor::Editor::is_empty)
                .then_some((C::ComposerEmpty, A::Help, "help")),
        ],
        Screen::Session => vec![
            Some((C::Transcript, A::Expand, "open/fold")),
            Some((C::Transcript, A::CopyItem, "copy")),
            Some((C::Transcript, A::Bottom, "follow")),
            decide(C::Session),
            Some((C::Transcript, A::Back, "sessions")),
            Some((C::Session, A::NextPane, "panes")),
            Some((C::Transcript, A::Help, "help")),
        ],
    };
    list.into_iter().flatten().take(6).collect()
}
