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
    Board "tasks" "task board";
    TaskAdd "task_add" "new task";
    TaskEdit "task_edit" "edit the task";
    TaskPriority "task_priority" "priority of the task";
    TaskOwner "task_owner" "owner of the task";
    TaskNote "task_note" "note on the task";
    TaskForward "task_forward" "move the task to the next column";
    TaskBackward "task_backward" "move the task to the column before";
    TaskClaim "task_claim" "claim the task, or give it back";
    TaskStart "task_start" "session for the task";
    TaskRun "task_run" "let the agent work on the task in the background";
    TaskDone "task_done" "task is done (with a commit or address)";
    TaskSync "task_sync" "read TASKS.md now; bring a deleted one back";
    ColumnLeft "column_left" "column to the left";
    ColumnRight "column_right" "column to the right";
    OtherBoard "other_board" "board of another workspace";
    KeepFile "keep_file" "keep what the file says";
    KeepBoard "keep_board" "keep what the board says";
    KeepOther "keep_other" "write it anew";
    Usage "usage" "usage and cost";
    UsageShorter "usage_shorter" "shorter range";
    UsageLonger "usage_longer" "longer range";
    UsageBy "usage_by" "group by another";
    UsageMetric "usage_metric" "cost or tokens";
    UsageTable "usage_table" "charts or tables";
    UsageExport "usage_export" "export the rows as CSV";
    Budgets "budgets" "budgets: make, raise, take away; what was told of them";
    Approvals "approvals" "approvals of all sessions";
    Retry "retry_link" "reconnect now; or let a turn go on that was stopped";
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
    Pause "pause" "pause, or let it go on";
    Archive "archive" "archive, or bring back";
    Delete "delete" "delete (into the trash)";
    Fork "fork" "new session from here on (fork)";
    Export "export" "export the session as a bundle";
    SearchAll "search_all" "search in all sessions, commands and outputs";
    Filter "filter" "filter";
    NextState "next_state" "show only one state";
    Back "back" "back to the sessions";
    Send "send" "send (queues while working)";
    Steer "steer" "send into the open turn, for its next step";
    Queue "queue" "messages that wait: change, steer, take back";
    QueueSteer "queue_steer" "steer the open turn, or no more";
    QueueRemove "queue_remove" "take back";
    Answer "answer" "answer the command that waits for input";
    About "about" "about the session: title, plan, log level, limits";
    Context "context" "context: what fills it";
    Compact "compact" "compact the context now";
    Jobs "jobs" "background jobs";
    Network "network" "network: mode, hosts, ports, connections";
    Models "models" "models: choose one for the next message";
    Audit "audit" "audit: what it ran, changed and reached";
    Daemon "daemon" "daemon: how it is, and its checks (doctor)";
    Project "project" "project in the jail: which tools work there";
    Personas "personas" "personas: give one to the session, edit, copy, remove";
    Policies "policies" "policies: rules and checks; what is in force here";
    Grants "grants" "what was granted to projects: take it back";
    TryCommand "try_command" "try a command: which rule decides? Nothing runs";
    NextPolicy "next_policy" "next policy of the session: plan, ask, auto";
    PanelEnd "panel_end" "end, close or remove it";
    PanelEdit "panel_edit" "edit or copy it";
    PanelTry "panel_try" "try a command by it";
    PanelReload "panel_reload" "look again";
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
    ErrorsOnly "errors_only" "only lines that look like failures, or all";
    Shell "shell" "raw shell in the jail";
    Decide "decide" "decide the approval (then a letter)";
    ApproveOnce "approve_once" "once";
    ApproveSession "approve_session" "session";
    Deny "deny" "deny";
    DenyBecause "deny_because" "deny+say why";
    ApproveRule "approve_rule" "rule…";
    Leave "leave" "leave undecided";
    GrantRule "grant_rule" "approve with these rules";
    NextTerm "next_term" "longer: session, then project";
    PreviousTerm "previous_term" "shorter";
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
        matches!(
            self,
            Self::Theme
                | Self::Suspend
                | Self::Mouse
                | Self::Compact
                | Self::Audit
                | Self::Daemon
                | Self::Project
        )
    }

    /// Actions of the palette: all but those that only mean something where the cursor is: moving, editing,
    /// what popups do, and the letters of a decision.
    pub(crate) fn in_palette(self) -> bool {
        use Action as A;
        !matches!(
            self,
            A::Palette
                | A::Up
                | A::Down
                | A::PageUp
                | A::PageDown
                | A::HalfUp
                | A::HalfDown
                | A::Open
                | A::Cancel
                | A::Accept
                | A::Send
                | A::Newline
                | A::Complete
                | A::HistoryPrevious
                | A::HistoryNext
                | A::QueueSteer
                | A::QueueRemove
                | A::PanelEnd
                | A::PanelEdit
                | A::PanelTry
                | A::PanelReload
                | A::ApproveOnce
                | A::ApproveSession
                | A::ApproveRule
                | A::GrantRule
                | A::NextTerm
                | A::PreviousTerm
                | A::Deny
                | A::DenyBecause
                | A::Leave
                | A::KeepFile
                | A::KeepBoard
                | A::KeepOther
                | A::CharLeft
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

    /// The action of that name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
}
