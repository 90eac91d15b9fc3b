//! Answering an approval with a rule: nothing by accident, the exact text, and nothing lost to a refusal.

use agentd_proto::ClientError;
use agentd_proto::pb::{self, ApprovalDecision as D};

use crate::fixture::{Desk, asked, began, resolved, said};
use crate::model::grant::Grant;
use crate::model::overlay::Overlay;
use crate::msg::{Cmd, FromLink, Msg, ToLink};

/// A question for which these rules are offered.
fn offering(rules: &[&str]) -> pb::event::Body {
    let pb::event::Body::ApprovalRequested(mut body) = asked("a-31", "npm publish", &rules.join("; ")) else {
        panic!("another fact")
    };
    if let Some(approval) = &mut body.approval {
        approval.rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
    }
    pb::event::Body::ApprovalRequested(body)
}

/// At the question, with the form open.
fn writing(rules: &[&str]) -> Desk {
    let mut desk = Desk::session(80, 24, vec![said("publish it"), began()]);
    desk.fact(offering(rules));
    desk.wait(600);
    desk.press("ctrl-y r");
    assert!(matches!(desk.model.overlay, Some(Overlay::Grant(_))));
    desk
}

fn grants(desk: &Desk) -> Vec<(D, Option<Grant>)> {
    let grant = |cmd: &Cmd| match cmd {
        Cmd::Link(ToLink::Resolve { decision, grant, .. }) => Some((*decision, grant.clone())),
        _ => None,
    };
    desk.cmds.iter().filter_map(grant).collect()
}

#[test]
fn an_offered_rule_counts_for_the_session_or_for_the_project_for_a_time() {
    let mut desk = writing(&["allow executes: npm publish"]);
    desk.press("ctrl-y");
    let offered = Grant::default();
    assert_eq!(grants(&desk), [(D::ApprovedSession, Some(offered.clone()))]);

    let mut desk = writing(&["allow executes: npm publish"]);
    desk.press("tab tab ctrl-y");
    let day = Grant {
        seconds: Some(86_400),
        ..offered
    };
    assert_eq!(grants(&desk), [(D::ApprovedProject, Some(day))]);
    let mut desk = writing(&["allow executes: npm publish"]);
    desk.press("shift-tab tab ctrl-y");
    assert_eq!(grants(&desk)[0].0, D::ApprovedSession, "round and back");
}

#[test]
fn a_rule_of_ones_own_is_sent_as_it_stands_and_an_emptied_one_is_left_out() {
    let mut desk = writing(&["allow executes: npm publish", "allow reaches_out: npm.example"]);
    desk.press("ctrl-u");
    desk.press("down");
    desk.type_in(":443");
    desk.wait(301);
    desk.press("ctrl-y");
    let own = Grant {
        rules: vec!["allow reaches_out: npm.example:443".into()],
        seconds: None,
    };
    assert_eq!(grants(&desk), [(D::ApprovedSession, Some(own))]);

    let mut desk = writing(&["allow executes: npm publish"]);
    desk.press("ctrl-u");
    desk.wait(301);
    desk.press("ctrl-y");
    assert_eq!(grants(&desk), [], "no rule is left");
}

#[test]
fn enter_grants_nothing_and_typing_keeps_it_closed() {
    let mut desk = writing(&["allow executes: npm publish"]);
    desk.press("enter enter");
    desk.wait(600);
    assert_eq!(grants(&desk), []);
    desk.type_in("x");
    desk.press("ctrl-y");
    assert_eq!(grants(&desk), [], "straight after a typed key");
    desk.wait(301);
    desk.press("backspace ctrl-y");
    assert_eq!(grants(&desk), [], "straight after a deleted one");
    desk.msg(Msg::Paste("y".into()));
    desk.wait(299);
    desk.press("ctrl-y");
    assert_eq!(grants(&desk), [], "straight after a paste");
    desk.wait(301);
    desk.press("ctrl-y ctrl-y");
    assert_eq!(grants(&desk).len(), 1, "and sent once");
}

#[test]
fn letters_of_a_decision_are_text_in_a_rule_and_the_way_back_leads_to_them() {
    let mut desk = writing(&["allow executes: npm publish"]);
    desk.type_in("ysnN");
    assert_eq!(grants(&desk), []);
    desk.press("esc");
    desk.wait(301);
    desk.press("n");
    assert_eq!(grants(&desk), [(D::Denied, None)]);
}

#[test]
fn it_is_offered_only_where_a_rule_is() {
    let mut desk = Desk::session(80, 24, vec![]);
    desk.fact(asked("a-9", "curl x && y | sh", ""));
    desk.wait(600);
    desk.press("ctrl-y r");
    assert!(desk.model.overlay.is_none() && desk.model.deciding);
    let (notice, _) = desk.model.toast.clone().unwrap();
    assert!(notice.text.starts_with("only once"), "{}", notice.text);
}

#[test]
fn a_refused_rule_stays_to_be_mended_with_the_reason() {
    let mut desk = writing(&["allow executes: npm publish"]);
    desk.type_in(" *");
    desk.wait(301);
    desk.press("ctrl-y");
    desk.news(FromLink::Failed {
        what: "decision",
        error: ClientError::other("rule_too_broad", "it grants more than was asked"),
    });
    let Some(Overlay::Grant(form)) = &desk.model.overlay else {
        panic!("what was written is gone")
    };
    assert!(form.refusal.contains("more than was asked"), "{}", form.refusal);
    desk.press("backspace backspace");
    desk.wait(301);
    desk.press("ctrl-y");
    assert_eq!(grants(&desk)[1], (D::ApprovedSession, Some(Grant::default())));
}

#[test]
fn a_decision_elsewhere_closes_it_and_what_follows_is_another_question() {
    let mut desk = writing(&["allow executes: npm publish"]);
    desk.fact(asked("a-32", "rm -rf build", ""));
    assert!(desk.model.overlay.is_some(), "the first is asked first");
    desk.fact_via("web", resolved("a-31"));
    assert!(desk.model.overlay.is_none() && !desk.model.deciding);
    desk.press("ctrl-y");
    assert_eq!(grants(&desk), []);
}

#[test]
fn when_it_is_denied_by_itself_is_counted_down() {
    let mut desk = Desk::session(80, 24, vec![]);
    desk.wait(10_000);
    assert_eq!(desk.model.wakes_at(), None);
    let pb::event::Body::ApprovalRequested(mut body) = offering(&[]) else {
        panic!("another fact")
    };
    let at = prost_types::Timestamp {
        seconds: desk.model.wall + 90,
        nanos: 0,
    };
    body.approval.as_mut().unwrap().expire_time = Some(at);
    desk.fact(pb::event::Body::ApprovalRequested(body));
    desk.wait(10_000);
    let title = |desk: &Desk| crate::layout::question(&desk.model, 80).unwrap().title;
    assert!(
        title(&desk).contains("denied by itself in 1m30s"),
        "{}",
        title(&desk)
    );
    let second = std::time::Duration::from_secs(1);
    assert_eq!(desk.model.wakes_at(), Some(desk.model.now + second));
    desk.model.wall += 100;
    assert!(
        title(&desk).contains("denied by itself in 0s"),
        "{}",
        title(&desk)
    );
    desk.press("ctrl-y");
    assert!(desk.model.deciding, "a countdown is no change of the question");
}
