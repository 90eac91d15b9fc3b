//! Owns: which key does what: the table from which input, hints, help and palette are made.
//! Guarantees: no two actions share a key where both could be meant; a bad `keys.toml` is refused with the
//! number of the line.

mod action;
mod file;
mod key;
mod presets;

pub(crate) use action::Action;
pub(crate) use file::load;
pub(crate) use key::Key;

/// Where a key is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Context {
    /// Every view that does not take text for itself.
    Everywhere,
    /// The dashboard.
    List,
    /// The inbox of approvals.
    Inbox,
    /// The task board.
    Board,
    /// What file and board both changed.
    Conflict,
    /// The usage screen.
    Usage,
    /// A session, whatever has the focus in it.
    Session,
    /// The line where messages are written.
    Composer,
    /// The composer while nothing is written.
    ComposerEmpty,
    /// The transcript or the side pane.
    Transcript,
    /// A decision about an approval, after it was asked for.
    Approval,
    /// An approval's answer with a rule, while it is written.
    Grant,
    /// Moving and deleting in any text.
    Edit,
    /// A one-line question, a popup or a list over the view.
    Overlay,
    /// The list of messages that wait.
    Queue,
    /// A panel about a session.
    Panel,
    /// Select mode.
    Select,
    /// The raw shell.
    Shell,
}

impl Context {
    /// The heading in help.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::List => "sessions",
            Self::Inbox => "approvals",
            Self::Board => "tasks",
            Self::Conflict => "a task in conflict (Enter on it)",
            Self::Usage => "usage (1-7: that chart)",
            Self::Session => "session",
            Self::Composer => "composer",
            Self::ComposerEmpty => "composer, while empty",
            Self::Transcript => "transcript (F6)",
            Self::Approval => "deciding (after Ctrl-Y)",
            Self::Grant => "approving with a rule (r)",
            Self::Edit => "text",
            Self::Overlay => "popups",
            Self::Queue => "waiting messages (Ctrl-X q)",
            Self::Panel => "panels",
            Self::Select => "select mode (v)",
            Self::Shell => "raw shell",
        }
    }
}

/// The contexts that can be active together: first wins, and within one row no key may be given twice.
pub(crate) const CHAINS: &[&[Context]] = &[
    &[Context::List, Context::Everywhere],
    &[Context::Inbox, Context::Everywhere],
    &[Context::Board, Context::Everywhere],
    &[Context::Usage, Context::Everywhere],
    &[
        Context::ComposerEmpty,
        Context::Composer,
        Context::Edit,
        Context::Session,
        Context::Everywhere,
    ],
    &[Context::Transcript, Context::Session, Context::Everywhere],
    &[Context::Approval, Context::Everywhere],
    &[Context::Grant, Context::Edit],
    &[Context::Overlay, Context::Edit],
    &[Context::Queue, Context::Overlay],
    &[Context::Conflict, Context::Overlay],
    &[Context::Panel, Context::Overlay],
    &[Context::Select],
    &[Context::Shell],
];

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) context: Context,
    pub(crate) action: Action,
    /// One key, or two pressed one after the other.
    pub(crate) keys: Vec<Key>,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keymap {
    pub(crate) bindings: Vec<Binding>,
}

/// What a key means at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This.
    Action(Action),
    /// The first of two keys.
    Prefix,
    /// Nothing here.
    None,
}

impl Default for Keymap {
    fn default() -> Self {
        presets::default()
    }
}

impl Keymap {
    /// What `key` means after `prefix` in the first of the contexts that knows it.
    pub(crate) fn meaning(&self, contexts: &[Context], prefix: Option<Key>, key: Key) -> Meaning {
        let pressed: Vec<Key> = prefix.into_iter().chain([key]).collect();
        let mut found = Meaning::None;
        for context in contexts {
            for binding in self.bindings.iter().filter(|one| one.context == *context) {
                if binding.keys == pressed {
                    return Meaning::Action(binding.action);
                }
                if found == Meaning::None
                    && binding.keys.len() > pressed.len()
                    && binding.keys.starts_with(&pressed)
                {
                    found = Meaning::Prefix;
                }
            }
        }
        found
    }

    /// The first key of an action in a context, as people write it.
    pub(crate) fn shown(&self, context: Context, action: Action) -> Option<String> {
        self.bindings
            .iter()
            .find(|one| one.context == context && one.action == action)
            .map(Binding::shown)
    }

    /// All keys of an action.
    pub(crate) fn all(&self, action: Action) -> String {
        let mut shown: Vec<String> = Vec::new();
        for binding in self.bindings.iter().filter(|one| one.action == action) {
            let key = binding.shown();
            if !shown.contains(&key) {
                shown.push(key);
            }
        }
        shown.join(", ")
    }

    /// The whole table, for documents.
    pub(crate) fn markdown(&self) -> String {
        let mut out = "| Where | Keys | What | Name in keys.toml |\n|---|---|---|---|\n".to_owned();
        let mut done: Vec<(Context, Action)> = Vec::new();
        for one in &self.bindings {
            if done.contains(&(one.context, one.action)) {
                continue;
            }
            done.push((one.context, one.action));
            let same = |other: &&Binding| other.context == one.context && other.action == one.action;
            let keys: Vec<String> = self
                .bindings
                .iter()
                .filter(same)
                .map(|other| format!("`{}`", other.shown()))
                .collect();
            let (place, words) = (one.context.title(), one.action.words());
            out.push_str(&format!(
                "| {place} | {} | {words} | `{}` |\n",
                keys.join(", "),
                one.action.name()
            ));
        }
        out
    }

    /// Two bindings that clash, if any do.
    pub(crate) fn conflict(&self) -> Option<(&Binding, &Binding)> {
        for (at, one) in self.bindings.iter().enumerate() {
            for other in self.bindings.iter().skip(at + 1) {
                let together = CHAINS
                    .iter()
                    .any(|chain| chain.contains(&one.context) && chain.contains(&other.context));
                let clash = one.keys.starts_with(&other.keys) || other.keys.starts_with(&one.keys);
                if together && clash && one.action != other.action && !one.may_shadow(other) {
                    return Some((one, other));
                }
            }
        }
        None
    }
}

impl Binding {
    /// The key as people write it.
    pub(crate) fn shown(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        keys.join(" ")
    }

    /// An empty composer may give a key another meaning: there is no text it could change.
    fn may_shadow(&self, other: &Self) -> bool {
        (self.context == Context::ComposerEmpty) != (other.context == Context::ComposerEmpty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_have_no_conflicts() {
        for name in presets::NAMES {
            let keymap = presets::by_name(name).unwrap();
            assert_eq!(keymap.conflict(), None, "{name}");
        }
    }

    #[test]
    fn every_action_has_a_key_and_words() {
        let keymap = Keymap::default();
        for action in Action::ALL {
            assert!(!action.words().is_empty());
            assert!(
                !keymap.all(*action).is_empty() || action.palette_only(),
                "{action:?}"
            );
        }
    }

    #[test]
    fn no_default_takes_the_keys_of_multiplexers_and_flow_control() {
        for binding in Keymap::default().bindings {
            for key in &binding.keys {
                let text = key.to_string();
                assert!(
                    !["Ctrl-B", "Ctrl-A", "Ctrl-S", "Ctrl-Q", "Ctrl-Z"].contains(&text.as_str()),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn the_document_has_the_same_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/TUI.md");
        let document = std::fs::read_to_string(path).unwrap();
        let table = Keymap::default().markdown();
        if std::env::var_os("AGENTD_BLESS").is_some() {
            let start = document.find("| Where | Keys |").unwrap();
            std::fs::write(path, document[..start].to_owned() + &table).unwrap();
            return;
        }
        assert!(
            document.ends_with(&table),
            "docs/TUI.md: AGENTD_BLESS=1 cargo test -p agent-tui the_document"
        );
    }

    #[test]
    fn two_keys_make_a_sequence() {
        let keymap = Keymap::default();
        let (first, second) = (Key::parse("ctrl-x").unwrap(), Key::parse("d").unwrap());
        let chain = CHAINS[3];
        assert_eq!(keymap.meaning(chain, None, first), Meaning::Prefix);
        assert_eq!(
            keymap.meaning(chain, Some(first), second),
            Meaning::Action(Action::Quit)
        );
    }
}
