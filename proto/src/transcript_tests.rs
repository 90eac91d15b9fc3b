//! Owns: what the transcript promises, shown on short logs.
//! Guarantees: nothing of its own; only tests are here.

use super::*;

fn event(seq: u64, body: Body) -> pb::Event {
    pb::Event {
        seq,
        principal: "ana".into(),
        client: "web".into(),
        body: Some(body),
        ..Default::default()
    }
}

fn text(text: &str) -> pb::Part {
    pb::Part {
        part: Some(pb::part::Part::Text(text.into())),
    }
}

#[test]
fn a_tool_call_is_one_item_from_start_to_end() {
    let mut transcript = Transcript::default();
    let call = pb::ToolCall {
        call_id: "c1".into(),
        tool: "exec".into(),
        arguments_json: "{}".into(),
    };
    let started = pb::ToolCallStarted {
        call: Some(call),
        summary: "cargo test".into(),
        ..Default::default()
    };
    let finished = pb::ToolCallFinished {
        call_id: "c1".into(),
        outcome: 1,
        ..Default::default()
    };
    assert_eq!(
        transcript.apply(&event(1, Body::ToolCallStarted(started))),
        Some(Touched::Added(0))
    );
    assert_eq!(
        transcript.apply(&event(2, Body::ToolCallFinished(finished))),
        Some(Touched::Changed(0))
    );
    assert!(
        matches!(&transcript.items()[0].kind, Kind::Tool { end: Some(end), .. } if tool_word(end.outcome) == "ok")
    );
}

#[test]
fn a_denied_call_shows_what_was_asked_and_who_said_no() {
    let mut transcript = Transcript::default();
    let approval = pb::Approval {
        approval_id: "a-1".into(),
        call_id: "c1".into(),
        tool: "exec".into(),
        summary: "npm publish".into(),
        ..Default::default()
    };
    let requested = pb::ApprovalRequested {
        approval: Some(approval),
    };
    let resolved = pb::ApprovalResolved {
        approval_id: "a-1".into(),
        decision: 3,
        reason: "no".into(),
        ..Default::default()
    };
    let finished = pb::ToolCallFinished {
        call_id: "c1".into(),
        outcome: 3,
        ..Default::default()
    };
    transcript.apply(&event(1, Body::ApprovalRequested(requested)));
    transcript.apply(&event(2, Body::ApprovalResolved(resolved)));
    transcript.apply(&event(3, Body::ToolCallFinished(finished)));
    assert!(matches!(&transcript.items()[0].kind, Kind::Approval(a) if a.decided_by == "ana via web"));
    assert!(matches!(&transcript.items()[1].kind, Kind::Tool { summary, .. } if summary == "npm publish"));
}

#[test]
fn a_message_that_waits_is_changed_taken_up_or_removed_in_place() {
    let mut transcript = Transcript::default();
    let posted = |id: &str, queued| {
        Body::MessagePosted(pb::MessagePosted {
            message_id: id.into(),
            parts: vec![text(id)],
            queued,
            steer: false,
        })
    };
    let started = |ids: &[&str]| {
        Body::TurnStarted(pb::TurnStarted {
            message_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Default::default()
        })
    };
    let stage = |transcript: &Transcript, index: usize| match &transcript.items()[index].kind {
        Kind::You { text, stage, .. } => (text.clone(), *stage),
        other => panic!("{other:?}"),
    };
    transcript.apply(&event(1, posted("m-1", false)));
    assert_eq!(transcript.apply(&event(2, started(&["m-1"]))), None);
    transcript.apply(&event(3, posted("m-2", true)));
    transcript.apply(&event(4, posted("m-3", true)));
    let edited = pb::MessageEdited {
        message_id: "m-2".into(),
        parts: vec![text("better")],
        steer: true,
    };
    let touched = transcript.apply(&event(5, Body::MessageEdited(edited)));
    assert_eq!(touched, Some(Touched::Changed(1)));
    assert_eq!(stage(&transcript, 1), ("better".into(), Stage::Steering));
    let removed = pb::MessageRemoved {
        message_id: "m-3".into(),
    };
    transcript.apply(&event(6, Body::MessageRemoved(removed)));
    assert_eq!(stage(&transcript, 2).1, Stage::Removed);
    let steered = pb::TurnSteered {
        turn_id: "t-1".into(),
        message_ids: vec!["m-2".into()],
    };
    let touched = transcript.apply(&event(7, Body::TurnSteered(steered)));
    assert_eq!(touched, Some(Touched::Changed(1)));
    assert_eq!(stage(&transcript, 1).1, Stage::TakenUp);
}

#[test]
fn what_is_unknown_or_empty_adds_nothing() {
    let mut transcript = Transcript::default();
    assert_eq!(
        transcript.apply(&pb::Event {
            seq: 1,
            ..Default::default()
        }),
        None
    );
    let step = pb::StepFinished {
        parts: vec![text(" ")],
        ..Default::default()
    };
    assert_eq!(transcript.apply(&event(2, Body::StepFinished(step))), None);
    let step = pb::StepFinished {
        parts: vec![text("a"), text("b")],
        ..Default::default()
    };
    transcript.apply(&event(3, Body::StepFinished(step)));
    assert_eq!(transcript.items()[0].kind, Kind::Agent { text: "a\nb".into() });
}

#[test]
fn a_call_refused_before_it_started_has_its_name() {
    let mut transcript = Transcript::default();
    let call = pb::ToolCall {
        call_id: "k-1".into(),
        tool: "write".into(),
        ..Default::default()
    };
    let step = pb::StepFinished {
        parts: vec![pb::Part {
            part: Some(pb::part::Part::ToolCall(call)),
        }],
        ..Default::default()
    };
    transcript.apply(&event(1, Body::StepFinished(step)));
    let finished = pb::ToolCallFinished {
        call_id: "k-1".into(),
        ..Default::default()
    };
    transcript.apply(&event(2, Body::ToolCallFinished(finished)));
    let named = matches!(&transcript.items()[0].kind, Kind::Tool { tool, .. } if tool == "write");
    assert!(named, "{:?}", transcript.items());
}
