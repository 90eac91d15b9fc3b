//! Owns: a session's whole life by keys: pause, archive, trash, fork, bundle; and finding words in all of them.
//! Guarantees: nothing is deleted before it was said what is lost and the session's name was typed.

use agentd_proto::pb::{self, SessionState};

use super::actions::{prompt, target};
use crate::keys::Action;
use crate::model::editor::Editor;
use crate::model::overlay::{Ask, Overlay};
use crate::model::session::Scroll;
use crate::model::{Focus, Link, Model, Screen};
use crate::msg::{Cmd, Life, ToLink};

/// Fewer letters are not searched for.
const SEARCHED: usize = 2;

/// Does it to the open or the selected session.
pub(super) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    if action == Action::SearchAll {
        model.overlay = Some(Overlay::Search {
            search: Editor::default(),
            selected: 0,
            here: false,
            hits: Vec::new(),
        });
        return;
    }
    if model.read_only && action != Action::Export {
        return model.toast("read-only");
    }
    if model.link != Link::Up {
        return model.toast("not connected: this waits for the daemon");
    }
    let row = target(model).and_then(|id| model.rows.get(&id).cloned());
    let Some(row) = row else {
        return model.toast("choose a session first");
    };
    let (state, session_id) = (row.state(), row.session_id.clone());
    let life = match action {
        Action::Pause if state == SessionState::Paused => Life::Resume(session_id),
        Action::Pause => Life::Pause(session_id),
        Action::Archive if state == SessionState::Archived => Life::Unarchive(session_id),
        Action::Archive if state == SessionState::Deleted => Life::Restore(session_id),
        Action::Archive if !row.turn_id.is_empty() => {
            return model.toast("it is at work: stop or pause it first");
        }
        Action::Archive => Life::Archive(session_id),
        Action::Delete if state == SessionState::Deleted => {
            return model.toast("it is in the trash already; agentctl sessions delete --purge ends it");
        }
        Action::Delete => Life::AskDelete(session_id),
        Action::Export => Life::Export {
            session_id,
            name: row.name,
        },
        Action::Fork => {
            let seq = chosen(model);
            return prompt(model, Ask::Fork { session_id, seq }, "");
        }
        _ => return,
    };
    cmds.push(Cmd::Link(ToLink::Life(life)));
}

/// True when the session is where a command would bring it, or further: the key goes back and forth, the word does not.
pub(super) fn is_so(model: &Model, word: &str) -> bool {
    let state = model.session().map(|session| session.state());
    match word {
        "/pause" => state == Some(SessionState::Paused),
        _ => matches!(state, Some(SessionState::Archived | SessionState::Deleted)),
    }
}

/// True when the session is in the state that a command ends.
pub(super) fn rests(model: &Model, word: &str) -> bool {
    let ends = match word {
        "/resume" => SessionState::Paused,
        "/unarchive" => SessionState::Archived,
        _ => SessionState::Deleted,
    };
    model.session().is_some_and(|session| session.state() == ends)
}

/// The event up to which a fork would go: that of the item chosen in the transcript; 0: all.
fn chosen(model: &Model) -> u64 {
    match (model.screen, model.focus, &model.open) {
        (Screen::Session, Focus::Transcript, Some(open)) => open.selected.unwrap_or(0),
        _ => 0,
    }
}

/// What would be lost is known: now the name is asked for.
pub(super) fn confirm(model: &mut Model, answer: &pb::DeleteSessionResponse) {
    let Some(session) = answer.loss.as_ref().and_then(|loss| loss.session.as_ref()) else {
        return;
    };
    let until = answer
        .purge_time
        .and_then(|at| jiff::Timestamp::from_second(at.seconds).ok());
    let until = until.map_or_else(String::new, |at| {
        at.to_zoned(model.zone.clone())
            .strftime("%Y-%m-%d %H:%M")
            .to_string()
    });
    let ask = Ask::Delete {
        session_id: session.session_id.clone(),
        name: session.name.clone(),
        about: agentd_proto::lifecycle::loss(answer, &until),
    };
    prompt(model, ask, "");
}

/// The name was typed, or something else.
pub(super) fn confirmed(model: &mut Model, session_id: String, name: &str, typed: &str, cmds: &mut Vec<Cmd>) {
    if typed == name {
        cmds.push(Cmd::Link(ToLink::Life(Life::Delete(session_id))));
    } else {
        model.toast("that is not its name: nothing was deleted");
    }
}

/// Asks for places of what is typed.
pub(super) fn search(model: &Model, cmds: &mut Vec<Cmd>) {
    let Some(Overlay::Search { search, here, .. }) = &model.overlay else {
        return;
    };
    let text = search.expanded();
    if text.trim().chars().count() >= SEARCHED {
        let session_id = model.open.as_ref().filter(|_| *here).map(|open| open.id.clone());
        cmds.push(Cmd::Link(ToLink::Life(Life::Search {
            session_id: session_id.unwrap_or_default(),
            text,
        })));
    }
}

/// Places came; of what is not searched any more they are none.
pub(super) fn found(model: &mut Model, text: &str, places: Vec<pb::SearchHit>) {
    if let Some(Overlay::Search {
        search,
        selected,
        hits,
        ..
    }) = &mut model.overlay
        && search.expanded() == text
    {
        *hits = places;
        *selected = (*selected).min(hits.len().saturating_sub(1));
    }
}

/// Goes to a place: the session, and the event in it.
pub(super) fn go(model: &mut Model, hit: &pb::SearchHit, cmds: &mut Vec<Cmd>) {
    let Some(session) = hit.session.clone() else {
        return;
    };
    let id = session.session_id.clone();
    model.rows.set(session);
    super::open(model, &id, cmds);
    if let Some(open) = &mut model.open {
        // Older pages are fetched until it is there.
        open.scroll = Scroll::At {
            block: hit.seq,
            line: 0,
        };
        open.selected = Some(hit.seq);
        model.focus = Focus::Transcript;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Desk, row, said};
    use crate::msg::FromLink;

    fn lives(desk: &Desk) -> Vec<Life> {
        let life = |cmd: &Cmd| match cmd {
            Cmd::Link(ToLink::Life(life)) => Some(life.clone()),
            _ => None,
        };
        desk.cmds.iter().filter_map(life).collect()
    }

    /// The dashboard with one session in this state.
    fn desk(state: SessionState) -> Desk {
        let mut desk = Desk::new(80, 24);
        desk.news(FromLink::Session(Box::new(row("s-1", "one", state))));
        desk.model.rows.state = Some(state);
        desk
    }

    #[test]
    fn one_key_there_and_back() {
        for (state, key, wanted) in [
            (SessionState::Ready, "p", Life::Pause("s-1".into())),
            (SessionState::Working, "p", Life::Pause("s-1".into())),
            (SessionState::Paused, "p", Life::Resume("s-1".into())),
            (SessionState::Ready, "a", Life::Archive("s-1".into())),
            (SessionState::Archived, "a", Life::Unarchive("s-1".into())),
            (SessionState::Deleted, "a", Life::Restore("s-1".into())),
            (SessionState::Ready, "D", Life::AskDelete("s-1".into())),
        ] {
            let mut desk = desk(state);
            desk.press(key);
            assert_eq!(lives(&desk), [wanted], "{state:?} {key}");
        }
    }

    #[test]
    fn a_word_goes_one_way() {
        for (state, word) in [
            (SessionState::Archived, "/archive"),
            (SessionState::Deleted, "/archive"),
            (SessionState::Paused, "/pause"),
            (SessionState::Ready, "/unarchive"),
            (SessionState::Ready, "/restore"),
        ] {
            let mut desk = Desk::session(80, 24, Vec::new());
            let id = desk.model.open.as_ref().unwrap().id.clone();
            desk.model.rows.set(row(&id, "one", state));
            desk.type_in(&format!("{word}\n"));
            assert_eq!(lives(&desk), [], "{state:?} {word}");
            assert!(desk.model.toast.is_some(), "{state:?} {word}");
        }
    }

    #[test]
    fn what_can_not_be_is_told_and_not_asked_for() {
        let mut working = desk(SessionState::Working);
        working.press("a");
        let mut gone = desk(SessionState::Deleted);
        gone.press("D");
        let mut reader = desk(SessionState::Ready);
        reader.model.read_only = true;
        reader.press("p a D f");
        let mut away = desk(SessionState::Ready);
        away.model.link = Link::Connecting;
        away.press("p a D f");
        for desk in [working, gone, reader, away] {
            assert_eq!(lives(&desk), []);
            assert!(desk.model.toast.is_some() && desk.model.overlay.is_none());
        }
    }

    #[test]
    fn only_the_name_typed_in_full_deletes() {
        let loss = || {
            FromLink::Loss(Box::new(pb::DeleteSessionResponse {
                loss: Some(pb::DeletionLoss {
                    session: Some(row("s-1", "one", SessionState::Ready)),
                    ..Default::default()
                }),
                ..Default::default()
            }))
        };
        for (typed, deleted) in [("on\n", false), ("\n", false), ("y\n", false), ("one\n", true)] {
            let mut desk = desk(SessionState::Ready);
            desk.press("D");
            desk.news(loss());
            desk.type_in(typed);
            let wanted = Life::Delete("s-1".into());
            assert_eq!(lives(&desk).contains(&wanted), deleted, "{typed:?}");
        }
    }

    #[test]
    fn a_fork_begins_at_the_chosen_event() {
        let mut desk = Desk::session(100, 30, vec![said("one"), said("two"), said("three")]);
        desk.press("f6 k f");
        desk.type_in("other\n");
        let wanted = Life::Fork {
            session_id: "s-7k2f".into(),
            seq: 2,
            name: "other".into(),
        };
        assert_eq!(lives(&desk), [wanted]);
        desk.press("esc");
        desk.type_in("/fork\n\n");
        assert!(matches!(lives(&desk).last(), Some(Life::Fork { seq: 0, .. })));
    }

    #[test]
    fn searching_asks_as_one_types_and_goes_to_the_place() {
        let mut desk = desk(SessionState::Ready);
        desk.press("s");
        desk.type_in("re");
        desk.type_in("d");
        let search = |text: &str| Life::Search {
            session_id: String::new(),
            text: text.into(),
        };
        assert_eq!(lives(&desk), [search("re"), search("red")]);
        let hit = pb::SearchHit {
            session: Some(row("s-2", "two", SessionState::Archived)),
            seq: 7,
            ..Default::default()
        };
        let found = |text: &str| FromLink::Found {
            text: text.into(),
            hits: vec![hit.clone()],
        };
        desk.news(found("re"));
        assert!(matches!(&desk.model.overlay, Some(Overlay::Search { hits, .. }) if hits.is_empty()));
        desk.news(found("red"));
        desk.press("enter");
        let open = desk.model.open.as_ref().unwrap();
        assert_eq!((open.id.as_str(), open.selected), ("s-2", Some(7)));
        assert_eq!(open.scroll, Scroll::At { block: 7, line: 0 });
    }

    #[test]
    fn a_session_that_begins_to_need_somebody_is_told_where_asked_for() {
        let notified = |desk: &Desk| desk.cmds.iter().any(|cmd| matches!(cmd, Cmd::Notify(_)));
        let needs = || FromLink::Session(Box::new(row("s-1", "one\u{1b}", SessionState::NeedsYou)));
        let mut quiet = desk(SessionState::Working);
        quiet.news(needs());
        assert!(!notified(&quiet));
        let mut told = desk(SessionState::Working);
        told.model.notify = true;
        told.news(needs());
        assert!(notified(&told));
        let mut before = desk(SessionState::NeedsYou);
        before.model.notify = true;
        before.news(needs());
        assert!(!notified(&before));
    }

    #[test]
    fn esc_twice_takes_the_last_message_up_again() {
        let mut desk = Desk::session(100, 30, vec![said("one"), said("two")]);
        desk.press("esc");
        desk.wait(3_000);
        desk.press("esc");
        assert_eq!(desk.draft(), "", "too late for a second one");
        desk.press("esc");
        assert_eq!(desk.draft(), "two");
        desk.press("esc esc");
        assert_eq!(desk.draft(), "two", "what is being written stays");
    }

    #[test]
    fn commands_that_bring_back_do_nothing_to_what_is_in_use() {
        let mut desk = Desk::session(100, 30, vec![said("one")]);
        desk.type_in("/resume\n");
        desk.type_in("/restore\n");
        assert_eq!(lives(&desk), []);
        desk.news(FromLink::Session(Box::new(row(
            "s-7k2f",
            "fix-login",
            SessionState::Paused,
        ))));
        desk.type_in("/resume\n");
        assert_eq!(lives(&desk), [Life::Resume("s-7k2f".into())]);
    }
}
