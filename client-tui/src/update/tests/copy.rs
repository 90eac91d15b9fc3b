//! What a key copies, and what the palette finds.

use agentd_proto::pb;
use agentd_proto::pb::event::Body;

use crate::fixture::{Desk, answered, began, said};
use crate::keys::Action;
use crate::model::overlay::Choice;
use crate::msg::Cmd;
use crate::update::entries;

#[test]
fn on_the_end_of_a_turn_its_answer_is_copied() {
    let ended = Body::TurnFinished(pb::TurnFinished {
        turn_id: "t-1".into(),
        outcome: pb::TurnOutcome::Done.into(),
        ..Default::default()
    });
    let mut desk = Desk::session(80, 24, vec![said("go"), began(), answered("the answer"), ended]);
    desk.press("f6 y");
    assert!(desk.cmds.contains(&Cmd::Copy("the answer".into())));
}

#[test]
fn the_palette_finds_an_action_by_its_name_too() {
    let desk = Desk::session(80, 24, vec![]);
    for (search, wanted) in [
        ("quit", Action::Quit),
        ("interrupt", Action::Interrupt),
        ("retry", Action::Retry),
        ("leave", Action::Quit),
    ] {
        let first = entries(&desk.model, search).into_iter().next().unwrap();
        assert_eq!(first.what, Choice::Action(wanted), "{search}");
    }
}
