//! Owns: the keys as delivered, and the presets `vim` and `emacs` as changes to them.

use super::{Action, Binding, Context, Key, Keymap};

/// Names for `preset = "…"`.
pub(crate) const NAMES: &[&str] = &["default", "vim", "emacs"];

use Action as A;
use Context as C;

/// Keys that lists and the transcript share.
const MOVES: &[(&str, A)] = &[
    ("up", A::Up),
    ("k", A::Up),
    ("down", A::Down),
    ("j", A::Down),
    ("g", A::Top),
    ("home", A::Top),
    ("G", A::Bottom),
    ("end", A::Bottom),
    ("pgup", A::PageUp),
    ("pgdn", A::PageDown),
    ("ctrl-u", A::HalfUp),
    ("ctrl-d", A::HalfDown),
];

const TABLE: &[(C, &str, A)] = &[
    (C::Everywhere, "f1", A::Help),
    (C::Everywhere, "ctrl-p", A::Palette),
    (C::Everywhere, "f2", A::Notices),
    (C::Everywhere, "ctrl-l", A::Redraw),
    (C::Everywhere, "ctrl-x d", A::Quit),
    (C::Everywhere, "ctrl-x s", A::Sessions),
    (C::Everywhere, "ctrl-x a", A::Approvals),
    (C::Everywhere, "ctrl-x t", A::Board),
    (C::Everywhere, "ctrl-x u", A::Usage),
    (C::Everywhere, "ctrl-x f", A::SearchAll),
    (C::Everywhere, "ctrl-x n", A::New),
    (C::Everywhere, "ctrl-x r", A::Retry),
    (C::List, "enter", A::Open),
    (C::List, "n", A::New),
    (C::List, "r", A::Rename),
    (C::List, "i", A::Interrupt),
    (C::List, "/", A::Filter),
    (C::List, "p", A::Pause),
    (C::List, "a", A::Archive),
    (C::List, "D", A::Delete),
    (C::List, "f", A::Fork),
    (C::List, "x", A::Export),
    (C::List, "s", A::SearchAll),
    (C::List, "tab", A::NextState),
    (C::List, "ctrl-y", A::Decide),
    (C::List, "o", A::About),
    (C::List, "2", A::Board),
    (C::List, "3", A::Usage),
    (C::List, "4", A::Approvals),
    (C::List, ":", A::Palette),
    (C::List, "?", A::Help),
    (C::List, "q", A::Quit),
    (C::List, "ctrl-c", A::Quit),
    (C::List, "esc", A::Cancel),
    (C::Inbox, "1", A::Sessions),
    (C::Inbox, "2", A::Board),
    (C::Inbox, "3", A::Usage),
    (C::Inbox, "enter", A::Open),
    (C::Inbox, "ctrl-y", A::Decide),
    (C::Inbox, "esc", A::Back),
    (C::Inbox, "left", A::Back),
    (C::Inbox, ":", A::Palette),
    (C::Inbox, "?", A::Help),
    (C::Inbox, "q", A::Back),
    (C::Inbox, "ctrl-c", A::Quit),
    (C::Board, "1", A::Sessions),
    (C::Board, "3", A::Usage),
    (C::Board, "4", A::Approvals),
    (C::Board, "enter", A::Open),
    (C::Board, "left", A::ColumnLeft),
    (C::Board, "h", A::ColumnLeft),
    (C::Board, "right", A::ColumnRight),
    (C::Board, "l", A::ColumnRight),
    (C::Board, "tab", A::ColumnRight),
    (C::Board, ">", A::TaskForward),
    (C::Board, "<", A::TaskBackward),
    (C::Board, "n", A::TaskAdd),
    (C::Board, "e", A::TaskEdit),
    (C::Board, "p", A::TaskPriority),
    (C::Board, "o", A::TaskOwner),
    (C::Board, "m", A::TaskNote),
    (C::Board, "c", A::TaskClaim),
    (C::Board, "s", A::TaskStart),
    (C::Board, "R", A::TaskRun),
    (C::Board, "D", A::TaskDone),
    (C::Board, "u", A::TaskSync),
    (C::Board, "w", A::OtherBoard),
    (C::Board, "/", A::Filter),
    (C::Board, "esc", A::Back),
    (C::Board, ":", A::Palette),
    (C::Board, "?", A::Help),
    (C::Board, "q", A::Back),
    (C::Board, "ctrl-c", A::Quit),
    (C::Conflict, "f", A::KeepFile),
    (C::Conflict, "b", A::KeepBoard),
    (C::Conflict, "w", A::KeepOther),
    (C::Usage, "[", A::UsageShorter),
    (C::Usage, "]", A::UsageLonger),
    (C::Usage, "b", A::UsageBy),
    (C::Usage, "c", A::UsageMetric),
    (C::Usage, "t", A::UsageTable),
    (C::Usage, "x", A::UsageExport),
    (C::Usage, "r", A::Usage),
    (C::Usage, "esc", A::Back),
    (C::Usage, "left", A::Back),
    (C::Usage, ":", A::Palette),
    (C::Usage, "?", A::Help),
    (C::Usage, "q", A::Back),
    (C::Usage, "ctrl-c", A::Quit),
    (C::Session, "esc", A::Stop),
    (C::Session, "ctrl-c", A::Clear),
    (C::Session, "ctrl-y", A::Decide),
    (C::Session, "ctrl-]", A::Shell),
    (C::Session, "f6", A::NextPane),
    (C::Session, "ctrl-t", A::Expand),
    (C::Session, "ctrl-x b", A::SidePane),
    (C::Session, "ctrl-x q", A::Queue),
    (C::Session, "ctrl-x i", A::Answer),
    (C::Session, "ctrl-x o", A::About),
    (C::Session, "ctrl-x c", A::Context),
    (C::Session, "ctrl-x j", A::Jobs),
    (C::Session, "ctrl-x e", A::Network),
    (C::Session, "ctrl-x m", A::Models),
    (C::Session, "pgup", A::PageUp),
    (C::Session, "pgdn", A::PageDown),
    (C::Composer, "enter", A::Send),
    (C::Composer, "alt-enter", A::Steer),
    (C::Composer, "ctrl-j", A::Newline),
    (C::Composer, "shift-enter", A::Newline),
    (C::Composer, "tab", A::Complete),
    (C::Composer, "up", A::HistoryPrevious),
    (C::Composer, "down", A::HistoryNext),
    (C::Composer, "ctrl-r", A::HistorySearch),
    (C::Composer, "ctrl-g", A::Editor),
    (C::ComposerEmpty, "?", A::Help),
    (C::ComposerEmpty, "left", A::Back),
    (C::ComposerEmpty, "end", A::Bottom),
    (C::Transcript, "enter", A::Expand),
    (C::Transcript, "v", A::Select),
    (C::Transcript, "y", A::CopyItem),
    (C::Transcript, "Y", A::CopyCode),
    (C::Transcript, "f", A::Fork),
    (C::Transcript, "o", A::ErrorsOnly),
    (C::Transcript, "?", A::Help),
    (C::Transcript, ":", A::Palette),
    (C::Transcript, "q", A::Back),
    (C::Transcript, "left", A::Back),
    (C::Transcript, "tab", A::NextPane),
    (C::Approval, "y", A::ApproveOnce),
    (C::Approval, "s", A::ApproveSession),
    (C::Approval, "n", A::Deny),
    (C::Approval, "N", A::DenyBecause),
    (C::Approval, "esc", A::Leave),
    (C::Approval, "ctrl-c", A::Leave),
    (C::Approval, "ctrl-y", A::Decide),
    (C::Approval, "up", A::Up),
    (C::Approval, "down", A::Down),
    (C::Approval, "pgup", A::PageUp),
    (C::Approval, "pgdn", A::PageDown),
    (C::Overlay, "enter", A::Accept),
    (C::Overlay, "esc", A::Cancel),
    (C::Overlay, "ctrl-c", A::Cancel),
    (C::Overlay, "ctrl-r", A::NextState),
    (C::Overlay, "f1", A::Cancel),
    (C::Overlay, "f2", A::Cancel),
    (C::Overlay, "ctrl-p", A::Up),
    (C::Overlay, "ctrl-n", A::Down),
    (C::Overlay, "up", A::Up),
    (C::Overlay, "down", A::Down),
    (C::Overlay, "tab", A::Down),
    (C::Overlay, "shift-tab", A::Up),
    (C::Overlay, "pgup", A::PageUp),
    (C::Overlay, "pgdn", A::PageDown),
    (C::Queue, "j", A::Down),
    (C::Queue, "k", A::Up),
    (C::Queue, "s", A::QueueSteer),
    (C::Queue, "d", A::QueueRemove),
    (C::Queue, "delete", A::QueueRemove),
    (C::Panel, "j", A::Down),
    (C::Panel, "k", A::Up),
    (C::Panel, "d", A::PanelEnd),
    (C::Panel, "delete", A::PanelEnd),
    (C::Panel, "r", A::PanelReload),
    (C::Panel, "q", A::Cancel),
    (C::Edit, "left", A::CharLeft),
    (C::Edit, "right", A::CharRight),
    (C::Edit, "ctrl-left", A::WordLeft),
    (C::Edit, "alt-left", A::WordLeft),
    (C::Edit, "ctrl-right", A::WordRight),
    (C::Edit, "alt-right", A::WordRight),
    (C::Edit, "home", A::LineStart),
    (C::Edit, "end", A::LineEnd),
    (C::Edit, "ctrl-e", A::LineEnd),
    (C::Edit, "backspace", A::DeleteLeft),
    (C::Edit, "delete", A::DeleteRight),
    (C::Edit, "ctrl-w", A::DeleteWord),
    (C::Edit, "ctrl-u", A::DeleteToStart),
    (C::Edit, "ctrl-k", A::DeleteToEnd),
    (C::Select, "y", A::CopyItem),
    (C::Select, "v", A::Select),
    (C::Select, "esc", A::Select),
    (C::Select, "q", A::Select),
    (C::Select, "ctrl-c", A::Select),
    (C::Shell, "ctrl-]", A::Shell),
];

/// `vim`: lists and transcript already speak it; what is left are the ways between them.
const VIM: &[(C, &str, A)] = &[
    (C::Transcript, "i", A::NextPane),
    (C::Transcript, "h", A::Back),
    (C::Transcript, "l", A::Expand),
    (C::List, "l", A::Open),
    (C::Inbox, "l", A::Open),
    (C::Inbox, "h", A::Back),
];

/// `emacs`: moving in text and lists by control keys.
const EMACS: &[(C, &str, A)] = &[
    (C::Edit, "ctrl-f", A::CharRight),
    (C::Edit, "alt-f", A::WordRight),
    (C::Edit, "alt-b", A::WordLeft),
    (C::Edit, "ctrl-d", A::DeleteRight),
    (C::List, "ctrl-n", A::Down),
    (C::Transcript, "ctrl-n", A::Down),
    (C::Transcript, "ctrl-v", A::PageDown),
    (C::Transcript, "alt-v", A::PageUp),
    (C::Overlay, "ctrl-g", A::Cancel),
];

/// The keys as delivered.
pub(crate) fn default() -> Keymap {
    let mut bindings = rows(TABLE);
    for context in [C::List, C::Inbox, C::Board, C::Usage, C::Transcript] {
        let moves: Vec<(C, &str, A)> = MOVES
            .iter()
            // The session's own page keys serve the transcript as well.
            .filter(|(key, _)| !(context == C::Transcript && key.starts_with("pg")))
            .map(|(key, action)| (context, *key, *action))
            .collect();
        bindings.extend(rows(&moves));
    }
    Keymap { bindings }
}

/// A preset by name.
pub(crate) fn by_name(name: &str) -> Option<Keymap> {
    let mut keymap = default();
    match name {
        "default" => {}
        "vim" => keymap.bindings.extend(rows(VIM)),
        "emacs" => keymap.bindings.extend(rows(EMACS)),
        _ => return None,
    }
    Some(keymap)
}

fn rows(table: &[(C, &str, A)]) -> Vec<Binding> {
    table
        .iter()
        .map(|(context, keys, action)| Binding {
            context: *context,
            action: *action,
            keys: keys.split(' ').filter_map(Key::parse).collect(),
        })
        .collect()
}
