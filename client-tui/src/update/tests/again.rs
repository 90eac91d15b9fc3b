//! Going on after a restart or a budget, files and pictures that go with a message, and how long the model thinks.

use agentd_proto::pb;
use agentd_proto::pb::event::Body;
use agentd_proto::pb::part::Part;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::fixture::{Desk, began, said};
use crate::msg::{Cmd, FromLink, Msg, ToLink};

fn ended(outcome: pb::TurnOutcome, reason: &str, hints: &[&str]) -> Body {
    Body::TurnFinished(pb::TurnFinished {
        turn_id: "t-1".into(),
        outcome: outcome.into(),
        error_reason: reason.into(),
        error_message: "agentd went down during the turn".into(),
        hints: hints.iter().map(|hint| (*hint).to_owned()).collect(),
        ..Default::default()
    })
}

fn posts(desk: &Desk) -> Vec<(String, usize, String)> {
    let posts = desk.cmds.iter().filter_map(|cmd| match cmd {
        Cmd::Link(ToLink::Post {
            text, files, effort, ..
        }) => Some((text.clone(), files.len(), effort.clone())),
        _ => None,
    });
    posts.collect()
}

fn screen(desk: &Desk) -> String {
    let (width, height) = desk.model.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    crate::view::draw(&desk.model, &mut buffer);
    let rows = buffer.content.chunks(usize::from(width));
    let rows: Vec<String> = rows
        .map(|cells| cells.iter().map(ratatui::buffer::Cell::symbol).collect())
        .collect();
    rows.join("\n")
}

#[test]
fn a_turn_that_a_restart_interrupted_is_said_and_one_key_goes_on() {
    let end = ended(pb::TurnOutcome::Interrupted, "restart", &[]);
    let mut desk = Desk::session(80, 24, vec![said("build it"), began(), end]);
    assert!(
        screen(&desk).contains("turn interrupted by a restart · Ctrl-X r goes on"),
        "{}",
        screen(&desk)
    );
    desk.press("ctrl-x r");
    assert_eq!(posts(&desk), [("go on".to_owned(), 0, String::new())]);
    assert!(!screen(&desk).contains("interrupted by a restart"));
    // What a person stopped is no trouble.
    let end = ended(pb::TurnOutcome::Interrupted, "", &[]);
    let desk = Desk::session(80, 24, vec![said("build it"), began(), end]);
    assert!(!screen(&desk).contains("goes on"));
}

#[test]
fn a_budget_is_raised_by_one_key_and_the_agent_goes_on() {
    let hints = [
        "agentctl usage budget raise b-1 '$8.00'",
        "agentctl run -s s-7k2f \"go on\"",
    ];
    let end = ended(pb::TurnOutcome::OverBudget, "", &hints);
    let mut desk = Desk::session(80, 24, vec![said("build it"), began(), end]);
    assert!(
        screen(&desk).contains("nothing lost · Ctrl-X r raises it to $8.00 and goes on"),
        "{}",
        screen(&desk)
    );
    desk.press("ctrl-x r");
    assert_eq!(posts(&desk), []);
    let raise = ToLink::Raise {
        session_id: "s-7k2f".into(),
        budget_id: "b-1".into(),
        limit: "$8.00".into(),
    };
    assert!(desk.cmds.contains(&Cmd::Link(raise)));
    desk.news(FromLink::Raised {
        session_id: "s-7k2f".into(),
        line: "$8.00 per day".into(),
    });
    assert_eq!(posts(&desk).len(), 1);
}

fn picture() -> pb::Part {
    pb::Part {
        part: Some(Part::Image(pb::Image {
            name: "shot.png".into(),
            data: vec![1; 2048],
            ..Default::default()
        })),
    }
}

#[test]
fn what_is_attached_stays_with_the_message_that_is_being_written() {
    let end = ended(pb::TurnOutcome::Interrupted, "restart", &[]);
    let mut desk = Desk::session(80, 24, vec![said("build it"), began(), end]);
    desk.news(FromLink::Attached {
        session_id: "s-7k2f".into(),
        result: Ok(picture()),
        pasted: None,
    });
    desk.press("ctrl-x r");
    assert_eq!(posts(&desk), [("go on".to_owned(), 0, String::new())]);
    assert_eq!(desk.model.attached().len(), 1);
}

#[test]
fn a_picture_goes_with_the_next_message_and_stays_when_it_is_refused() {
    let mut desk = Desk::session(80, 24, vec![said("hello")]);
    desk.type_in("/attach shot.png\n");
    let asked = ToLink::Attach {
        session_id: "s-7k2f".into(),
        path: "shot.png".into(),
        pasted: None,
    };
    assert!(desk.cmds.contains(&Cmd::Link(asked)), "{:?}", desk.cmds);
    desk.news(FromLink::Attached {
        session_id: "s-7k2f".into(),
        result: Ok(picture()),
        pasted: None,
    });
    assert!(
        screen(&desk).contains("with it: shot.png (2.00 KiB picture)"),
        "{}",
        screen(&desk)
    );
    desk.type_in("what is wrong here?\n");
    assert_eq!(
        posts(&desk),
        [("what is wrong here?".to_owned(), 1, String::new())]
    );
    assert!(!screen(&desk).contains("with it:"));
    desk.news(FromLink::Posted {
        key: 0,
        result: Err(agentd_proto::ClientError::other(
            "invalid_argument",
            "image 'shot.png': its content is not an image",
        )),
    });
    assert!(screen(&desk).contains("with it: shot.png"));
    desk.press("ctrl-c");
    desk.type_in("/attach\n");
    assert!(!screen(&desk).contains("with it:"));
}

#[test]
fn a_pasted_path_of_a_picture_attaches_it_or_is_text() {
    let mut desk = Desk::session(80, 24, vec![said("hello")]);
    desk.msg(Msg::Paste("'/home/ana/my shot.png'".into()));
    let path = desk.cmds.iter().find_map(|cmd| match cmd {
        Cmd::Link(ToLink::Attach { path, .. }) => Some(path.clone()),
        _ => None,
    });
    assert_eq!(path.as_deref(), Some("/home/ana/my shot.png"));
    desk.news(FromLink::Attached {
        session_id: "s-7k2f".into(),
        result: Err("no such file".into()),
        pasted: Some("'/home/ana/my shot.png'".into()),
    });
    assert_eq!(desk.draft(), "'/home/ana/my shot.png'");
}

#[test]
fn effort_is_chosen_for_the_session_and_shown() {
    let mut desk = Desk::session(120, 24, vec![said("hello")]);
    desk.type_in("/effort low\n");
    assert!(screen(&desk).contains("effort low"));
    desk.type_in("think\n");
    desk.type_in("again\n");
    let efforts: Vec<String> = posts(&desk).into_iter().map(|(_, _, effort)| effort).collect();
    assert_eq!(efforts, ["low", "low"]);
    desk.type_in("/effort usual\n");
    desk.type_in("as ever\n");
    assert_eq!(posts(&desk).last().unwrap().2, "");
}

#[test]
fn budgets_are_made_raised_and_taken_away() {
    use crate::model::panel::{Data, Deed, Panel};
    let mut desk = Desk::session(100, 30, vec![said("hello")]);
    let deeds = |desk: &Desk| -> Vec<Option<Deed>> {
        let panels = desk.cmds.iter().filter_map(|cmd| match cmd {
            Cmd::Link(ToLink::Panel {
                what: Panel::Budgets,
                deed,
                ..
            }) => Some(deed.clone()),
            _ => None,
        });
        panels.collect()
    };
    desk.type_in("/budget ten\n");
    assert_eq!(deeds(&desk), []);
    desk.type_in("/budget 500k tokens per session\n");
    let made = Deed::Budget("500k tokens per session".into());
    assert_eq!(deeds(&desk), [Some(made)]);
    let standing = pb::BudgetStanding {
        budget: Some(pb::Budget {
            budget_id: "b-1".into(),
            unit: pb::BudgetUnit::Tokens.into(),
            window: pb::BudgetWindow::Session.into(),
            limit: 500_000,
            ..Default::default()
        }),
        line: "500k tokens per session".into(),
        spent: 400_000,
        percent: 80,
        ..Default::default()
    };
    let alert = pb::Alert {
        alert_id: "al-1".into(),
        message: "80 % of the budget of 500k tokens per session are spent: 400k tokens".into(),
        ..Default::default()
    };
    desk.news(FromLink::Panel {
        session_id: "s-7k2f".into(),
        data: Data::Budgets {
            budgets: vec![standing],
            alerts: vec![alert],
        },
    });
    let shown = screen(&desk);
    for words in [
        "500k tokens per session",
        "400k tokens spent · 80 % · pauses",
        "80 % of the budget",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    desk.press("enter d");
    let (raised, dropped) = (Deed::Raise("b-1".into()), Deed::DropBudget("b-1".into()));
    assert_eq!(deeds(&desk)[1..], [Some(raised), Some(dropped)]);
}
