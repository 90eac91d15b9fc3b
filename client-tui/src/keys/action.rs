//! Owns: the list of everything a key can do, with the words for help and palette.

/// Declares the actions once: variant, name in `keys.toml`, words for people.
macro_rules! actions {
    ($($variant:ident $name:literal $words:literal;)*) => {
        /// Something a person can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Action {
            $(#[doc = $words] $variant,)*
        }

        impl Action {
            /// All of them.
            pub(crate) const ALL: &'static [Action] = &[$(Action::$variant,)*];

            /// The name in `keys.toml`.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            /// What it does.
            pub(crate) fn words(self) -> &'static str {
                match self { $(Action::$variant => $words,)* }
            }
        }
    };
}

actions! {
    Help "help" "help: all keys";
    Palette "palette" "commands";
    Notices "notices" "notices";
    Redraw "redraw" "draw everything anew";
    Quit "quit" "leave (sessions go on)";
    Suspend "suspend" "stop this program for a moment";
    Sessions "sessions" "all sessions";
    Usage "usage" "usage and cost";
    UsageShorter "usage_shorter" "shorter range";
    UsageLonger "usage_longer" "longer range";
    UsageBy "usage_by" "group by another";
    UsageMetric "usage_metric" "cost or tokens";
    UsageTable "usage_table" "charts or tables";
    UsageExport "usage_export" "export the rows as CSV";
    Approvals "approvals" "approvals of all sessions";
    Retry "retry_link" "reconnect now";
    Theme "theme" "next theme";
    Up "up" "up";
    Down "down" "down";
    Top "top" "first";
    Bottom "bottom" "last, and follow";
    PageUp "page_up" "page up";
    PageDown "page_down" "page down";
    HalfUp "half_up" "half a page up";
    HalfDown "half_down" "half a page down";
    Open "open" "open";
    New "new" "new session";
    Rename "rename" "rename";
    Interrupt "interrupt" "stop the turn";
    Filter "filter" "filter";
    NextState "next_state" "show only one state";
    Back "back" "back to the sessions";
    Send "send" "send (queues while working)";
    Steer "steer" "send into the open turn, for its next step";
    Queue "queue" "messages that wait: change, steer, take back";
    QueueSteer "queue_steer" "steer the open turn, or no more";
    QueueRemove "queue_remove" "take back";
    Newline "newline" "new line";
    Stop "stop" "close, else stop the turn";
    Clear "clear" "clear the draft; empty: stop; twice: leave";
    Complete "complete" "complete; else send (queues while working)";
    HistoryPrevious "history_previous" "older message";
    HistoryNext "history_next" "newer message";
    HistorySearch "history_search" "search messages";
    Editor "editor" "write in your editor";
    NextPane "next_pane" "next pane";
    SidePane "side_pane" "side pane on or off";
    Expand "expand" "open or fold";
    Shell "shell" "raw shell in the jail";
    Decide "decide" "decide the approval (then a letter)";
    ApproveOnce "approve_once" "once";
    ApproveSession "approve_session" "session";
    Deny "deny" "deny";
    DenyBecause "deny_because" "deny+say why";
    Leave "leave" "leave undecided";
    CopyItem "copy" "copy";
    CopyCode "copy_code" "copy the code";
    Select "select" "select mode: plain text for the mouse, on or off";
    Mouse "mouse" "mouse on or off (off: select text)";
    Accept "accept" "take";
    Cancel "cancel" "close";
    CharLeft "char_left" "left";
    CharRight "char_right" "right";
    WordLeft "word_left" "word left";
    WordRight "word_right" "word right";
    LineStart "line_start" "start of line";
    LineEnd "line_end" "end of line";
    DeleteLeft "delete_left" "delete left";
    DeleteRight "delete_right" "delete right";
    DeleteWord "delete_word" "delete word";
    DeleteToStart "delete_to_start" "delete to the start";
    DeleteToEnd "delete_to_end" "delete to the end";
}

impl Action {
    /// Actions that only the palette offers by default.
    #[cfg(test)]
    pub(crate) fn palette_only(self) -> bool {
        matches!(self, Self::Theme | Self::Suspend | Self::Mouse)
    }

    /// Actions of the palette: what makes sense without knowing where the cursor is.
    pub(crate) fn in_palette(self) -> bool {
        matches!(
            self,
            Self::Help
                | Self::Notices
                | Self::Redraw
                | Self::Quit
                | Self::Suspend
                | Self::Sessions
                | Self::Approvals
                | Self::Usage
                | Self::Retry
                | Self::Theme
                | Self::New
                | Self::Rename
                | Self::Interrupt
                | Self::Queue
                | Self::Steer
                | Self::Editor
                | Self::NextPane
                | Self::SidePane
                | Self::Expand
                | Self::Shell
                | Self::Decide
                | Self::HistorySearch
                | Self::CopyItem
                | Self::CopyCode
                | Self::Filter
                | Self::Mouse
                | Self::Select
                | Self::Bottom
                | Self::Top
        )
    }

    /// The action of that name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
}
