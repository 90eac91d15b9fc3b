//! Owns: everything the screen is made from, as plain data.
//! Guarantees: changed only by `update`; two equal models look the same.

pub(crate) mod board;
pub(crate) mod editor;
pub(crate) mod gate;
pub(crate) mod grant;
pub(crate) mod output;
pub(crate) mod overlay;
pub(crate) mod panel;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod stopped;
pub(crate) mod usage;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use agentd_proto::pb;

use self::board::BoardView;
use self::editor::Editor;
use self::gate::Gate;
use self::overlay::{Overlay, Popup};
use self::panel::Draft;
use self::session::OpenSession;
use self::shell::RawShell;
use self::stopped::Stopped;
use self::usage::UsageView;
use crate::keys::{Context, Key, Keymap};
use crate::theme::Theme;

/// Notices that are kept.
const NOTICES: usize = 200;
/// How long a notice stays in the status bar.
const TOAST: Duration = Duration::from_secs(6);

/// Which view is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Dashboard,
    Inbox,
    Board,
    Usage,
    Session,
}

/// What takes the keys in the session view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    Composer,
    Transcript,
    Side,
}

/// The line to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Connecting,
    Up,
    Reconnecting {
        attempt: u32,
        until: Instant,
    },
    /// It will not be tried again by itself.
    Down(String),
}

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Problem,
}

/// Something a person should know, kept under F2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) level: Level,
    pub(crate) text: String,
    /// Seconds of wall time.
    pub(crate) time: i64,
}

/// A message on its way to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) key: u64,
    pub(crate) session_id: String,
    pub(crate) text: String,
    pub(crate) files: Vec<pb::Part>,
    /// Into the open turn, at its next step.
    pub(crate) steer: bool,
    /// The line broke: it is sent when the line is back.
    pub(crate) waiting: bool,
}

/// The rows of the dashboard.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    all: HashMap<String, pb::Session>,
    pub(crate) selected: Option<String>,
    pub(crate) filter: String,
    pub(crate) state: Option<pb::SessionState>,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) size: (u16, u16),
    pub(crate) now: Instant,
    /// Seconds of wall time.
    pub(crate) wall: i64,
    pub(crate) zone: jiff::tz::TimeZone,
    pub(crate) user: String,
    pub(crate) workspace: String,
    pub(crate) screen: Screen,
    pub(crate) focus: Focus,
    /// Keys go to the question on the screen.
    pub(crate) deciding: bool,
    pub(crate) question_scroll: usize,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) popup: Option<Popup>,
    pub(crate) rows: Rows,
    pub(crate) open: Option<OpenSession>,
    pub(crate) drafts: HashMap<String, Editor>,
    pub(crate) history: Vec<String>,
    /// Place in the history while walking it, and what was being written before.
    pub(crate) walking: Option<(usize, Editor)>,
    pub(crate) approvals: Vec<pb::Approval>,
    pub(crate) inbox_selected: Option<String>,
    pub(crate) gate: Gate,
    pub(crate) link: Link,
    pub(crate) status: Option<pb::GetStatusResponse>,
    pub(crate) models: Vec<pb::Model>,
    pub(crate) files: Option<(String, Vec<String>)>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) unread: usize,
    pub(crate) toast: Option<(Notice, Instant)>,
    pub(crate) outbox: Vec<Outgoing>,
    /// Session and model that its next message names.
    pub(crate) next_model: Option<(String, String)>,
    /// How long models think in a session from its next message on, by its id.
    pub(crate) efforts: HashMap<String, String>,
    /// What goes with a session's next message, by its id.
    pub(crate) attached: HashMap<String, Vec<pb::Part>>,
    pub(crate) next_key: u64,
    pub(crate) shell: Option<RawShell>,
    pub(crate) shell_focus: bool,
    /// Select mode: what stands on the screen, without anything that is not its text.
    pub(crate) selecting: Option<Vec<String>>,
    pub(crate) side: bool,
    pub(crate) mouse: bool,
    pub(crate) read_only: bool,
    /// Only the footer is drawn; finished items go to the terminal's own scrollback.
    pub(crate) inline: bool,
    /// Inline: the last item that is in the scrollback.
    pub(crate) printed: u64,
    pub(crate) prefix: Option<Key>,
    pub(crate) keymap: Keymap,
    pub(crate) theme: Theme,
    pub(crate) recent: Vec<crate::keys::Action>,
    /// Ctrl-C on nothing: once more leaves.
    pub(crate) leaving: Option<Instant>,
    /// Esc on nothing: once more takes the last message up again.
    pub(crate) again: Option<Instant>,
    pub(crate) focused: bool,
    pub(crate) usage: UsageView,
    pub(crate) board: BoardView,
    /// Today's cost against its budget, as words.
    pub(crate) today: String,
    /// What a session may cost, micro-USD.
    pub(crate) session_limit: Option<u64>,
    /// Tell the terminal when a session needs a person.
    pub(crate) notify: bool,
    /// The file that the person's editor is open on; otherwise it is a message.
    pub(crate) file: Option<Draft>,
    /// A file that the daemon has not taken: it is gone on with, never lost.
    pub(crate) unsaved: Option<Draft>,
}

impl Model {
    pub(crate) fn new(keymap: Keymap, theme: Theme, size: (u16, u16), now: Instant) -> Self {
        Self {
            size,
            now,
            wall: 0,
            zone: jiff::tz::TimeZone::UTC,
            user: String::new(),
            workspace: String::new(),
            screen: Screen::Dashboard,
            focus: Focus::Composer,
            deciding: false,
            question_scroll: 0,
            overlay: None,
            popup: None,
            rows: Rows::default(),
            open: None,
            drafts: HashMap::new(),
            history: Vec::new(),
            walking: None,
            approvals: Vec::new(),
            inbox_selected: None,
            gate: Gate::default(),
            link: Link::Connecting,
            status: None,
            models: Vec::new(),
            files: None,
            notices: VecDeque::new(),
            unread: 0,
            toast: None,
            outbox: Vec::new(),
            next_model: None,
            efforts: HashMap::new(),
            attached: HashMap::new(),
            next_key: 0,
            shell: None,
            shell_focus: false,
            selecting: None,
            side: true,
            mouse: true,
            read_only: false,
            inline: false,
            printed: 0,
            prefix: None,
            keymap,
            theme,
            recent: Vec::new(),
            leaving: None,
            again: None,
            focused: true,
            usage: UsageView {
                range: 1,
                ..UsageView::default()
            },
            board: BoardView {
                column: 1,
                ..BoardView::default()
            },
            today: String::new(),
            session_limit: None,
            notify: false,
            file: None,
            unsaved: None,
        }
    }

    /// What the list on the screen is filtered by.
    pub(crate) fn filter_mut(&mut self) -> &mut String {
        match self.screen {
            Screen::Board => &mut self.board.filter,
            _ => &mut self.rows.filter,
        }
    }

    /// The row of the open session.
    pub(crate) fn session(&self) -> Option<&pb::Session> {
        self.rows.get(&self.open.as_ref()?.id)
    }

    /// What is being written in the open session.
    pub(crate) fn draft(&self) -> Option<&Editor> {
        self.drafts.get(&self.open.as_ref()?.id)
    }

    /// The same, to change it.
    pub(crate) fn draft_mut(&mut self) -> Option<&mut Editor> {
        let id = self.open.as_ref()?.id.clone();
        Some(self.drafts.entry(id).or_default())
    }

    /// The question that is on the screen.
    pub(crate) fn question(&self) -> Option<&pb::Approval> {
        match self.screen {
            Screen::Session => self.open.as_ref()?.open_approvals().next(),
            Screen::Inbox => {
                let chosen = self
                    .approvals
                    .iter()
                    .find(|one| Some(&one.approval_id) == self.inbox_selected.as_ref());
                chosen.or_else(|| self.approvals.first())
            }
            Screen::Dashboard | Screen::Board | Screen::Usage => None,
        }
    }

    /// The contexts in which a key is looked up now, best first.
    pub(crate) fn contexts(&self) -> &'static [Context] {
        use Context as C;
        if self.selecting.is_some() {
            return &[C::Select];
        }
        if self.shell_focus {
            return &[C::Shell];
        }
        if matches!(self.overlay, Some(Overlay::Queue { .. })) {
            return &[C::Queue, C::Overlay];
        }
        if matches!(self.overlay, Some(Overlay::Panel(_))) {
            return &[C::Panel, C::Overlay];
        }
        if matches!(self.overlay, Some(Overlay::Conflict { .. })) {
            return &[C::Conflict, C::Overlay];
        }
        if matches!(self.overlay, Some(Overlay::Grant(_))) {
            return &[C::Grant, C::Edit];
        }
        if self.overlay.is_some() {
            return &[C::Overlay, C::Edit];
        }
        if self.deciding {
            return &[C::Approval, C::Everywhere];
        }
        match (self.screen, self.focus) {
            (Screen::Dashboard, _) => &[C::List, C::Everywhere],
            (Screen::Inbox, _) => &[C::Inbox, C::Everywhere],
            (Screen::Board, _) => &[C::Board, C::Everywhere],
            (Screen::Usage, _) => &[C::Usage, C::Everywhere],
            (Screen::Session, Focus::Composer) if self.draft().is_none_or(Editor::is_empty) => {
                &[C::ComposerEmpty, C::Composer, C::Edit, C::Session, C::Everywhere]
            }
            (Screen::Session, Focus::Composer) => &[C::Composer, C::Edit, C::Session, C::Everywhere],
            (Screen::Session, _) => &[C::Transcript, C::Session, C::Everywhere],
        }
    }

    /// Tells a person, now and under F2.
    pub(crate) fn notice(&mut self, level: Level, text: impl Into<String>) {
        let notice = Notice {
            level,
            text: text.into(),
            time: self.wall,
        };
        self.notices.push_back(notice.clone());
        if self.notices.len() > NOTICES {
            self.notices.pop_front();
        }
        self.unread += 1;
        self.toast = Some((notice, self.now + TOAST));
    }

    /// Tells a person now; not worth keeping.
    pub(crate) fn toast(&mut self, text: impl Into<String>) {
        let notice = Notice {
            level: Level::Info,
            text: text.into(),
            time: self.wall,
        };
        self.toast = Some((notice, self.now + TOAST));
    }

    /// Another client that types into the open session's terminal, and so says how large it is.
    pub(crate) fn other_input(&self) -> Option<&pb::AttachedClient> {
        let taking = self.shell.as_ref().is_some_and(|shell| shell.taking);
        let clients = &self.open.as_ref()?.clients;
        clients.iter().find(|one| one.input && !one.you && !taking)
    }

    /// What goes with the open session's next message.
    pub(crate) fn attached(&self) -> &[pb::Part] {
        let id = self.open.as_ref().map(|open| open.id.as_str());
        id.and_then(|id| self.attached.get(id)).map_or(&[], Vec::as_slice)
    }

    /// What stopped the open session's last turn, if one key lets it go on.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        let open = self.open.as_ref()?;
        let sends = self.outbox.iter().any(|one| one.session_id == open.id);
        let goes_on = sends || self.read_only || self.is_working() || !open.queue.is_empty();
        (!goes_on).then(|| stopped::of(&open.transcript)).flatten()
    }

    /// True when the open session works.
    pub(crate) fn is_working(&self) -> bool {
        self.session().is_some_and(|session| !session.turn_id.is_empty())
    }

    /// True while a time on the screen grows.
    fn is_timed(&self) -> bool {
        let at_work = self.session().is_some_and(|row| {
            matches!(
                row.state(),
                pb::SessionState::Working | pb::SessionState::NeedsYou
            )
        });
        self.open
            .as_ref()
            .is_some_and(|open| open.turn_began.is_some() || at_work && open.runs_something())
    }

    /// When something on the screen changes by time alone.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        let second = Duration::from_secs(1);
        let toast = self.toast.as_ref().map(|(_, until)| *until);
        let clock = match self.screen {
            Screen::Session if self.is_timed() => Some(self.now + second),
            _ => None,
        };
        let link = match &self.link {
            Link::Reconnecting { until, .. } if *until > self.now => Some((self.now + second).min(*until)),
            _ => None,
        };
        // When the question is denied by itself is counted down.
        let expiry = self.question().and_then(|one| one.expire_time);
        let expiry = expiry.map(|_| self.now + second);
        let gate = self.gate.opens_at().filter(|at| *at > self.now);
        let shell = self
            .shell
            .as_ref()
            .filter(|_| self.shell_focus)
            .and_then(RawShell::look_at);
        [toast, clock, link, expiry, gate, shell]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Rows {
    pub(crate) fn get(&self, id: &str) -> Option<&pb::Session> {
        self.all.get(id)
    }

    pub(crate) fn set(&mut self, session: pb::Session) {
        self.all.insert(session.session_id.clone(), session);
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.all.remove(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All that are neither archived nor in the trash, needing-you first, then by last event.
    pub(crate) fn all(&self) -> Vec<&pb::Session> {
        self.sorted(|state| !matches!(state, pb::SessionState::Archived | pb::SessionState::Deleted))
    }

    fn sorted(&self, wanted: impl Fn(pb::SessionState) -> bool) -> Vec<&pb::Session> {
        let mut rows: Vec<&pb::Session> = self.all.values().filter(|row| wanted(row.state())).collect();
        let order = |row: &pb::Session| {
            let time = row.update_time.map_or((0, 0), |time| (time.seconds, time.nanos));
            (
                row.state() != pb::SessionState::NeedsYou,
                row.state() != pb::SessionState::Working,
                std::cmp::Reverse(time),
            )
        };
        rows.sort_by(|a, b| {
            order(a)
                .cmp(&order(b))
                .then_with(|| a.session_id.cmp(&b.session_id))
        });
        rows
    }

    /// Those that the filter lets through.
    pub(crate) fn shown(&self) -> Vec<&pb::Session> {
        let needle = self.filter.to_lowercase();
        let fits = |row: &&pb::Session| {
            needle.is_empty()
                || [
                    &row.name,
                    &row.session_id,
                    &row.workspace,
                    &row.last_line,
                    &row.task_id,
                ]
                .iter()
                .any(|text| text.to_lowercase().contains(&needle))
        };
        // What is hidden or in the trash is seen where it is asked for.
        let rows = match self.state {
            Some(wanted) => self.sorted(|state| state == wanted),
            None => self.all(),
        };
        rows.into_iter().filter(fits).collect()
    }

    /// Place of the selected row among those shown.
    pub(crate) fn place(&self) -> usize {
        let selected = self.selected.as_deref();
        self.shown()
            .iter()
            .position(|row| Some(row.session_id.as_str()) == selected)
            .unwrap_or(0)
    }

    /// How many are in a state.
    pub(crate) fn count(&self, state: pb::SessionState) -> usize {
        self.all.values().filter(|row| row.state() == state).count()
    }
}
