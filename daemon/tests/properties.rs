//! Owns: the laws of the log, on generated histories.
//! Guarantees: folding any prefix of a log and then its rest is folding the whole; what decide lets through,
//! apply takes; encode then decode is identity.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use agentd::domain::approval::{Approval, Verdict};
use agentd::domain::command::Command;
use agentd::domain::decide::{decide, recover};
use agentd::domain::event::{
    CallOutcome, Event, EventBody, ExecResult, ModelRef, Origin, SCHEMA, SessionSpec, TurnOptions,
    TurnOutcome, TurnTotals,
};
use agentd::domain::id::{ApprovalId, CallId, ExecId, MessageId, SessionId, TurnId};
use agentd::domain::message::{Part, ToolCall};
use agentd::domain::principal::Caller;
use agentd::domain::session::{CallStage, Session};
use agentd::domain::usage::Usage;
use agentd::domain::workspace::{JailKind, Layout, ShellKind, Workspace};
use proptest::prelude::*;

/// What may be wished next; what it means depends on where the session stands.
#[derive(Debug, Clone)]
enum Wish {
    Post(String, bool),
    Edit(Option<String>, Option<bool>),
    Remove,
    Step { calls: u8, text: String },
    Ask,
    Answer(bool),
    Start,
    End(bool),
    Finish(u8),
    Exec,
    ExecEnds(i32),
    Rename(String),
    Crash,
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        3 => ("[a-z ]{1,12}", any::<bool>()).prop_map(|(text, steer)| Wish::Post(text, steer)),
        1 => (prop::option::of("[a-z]{1,8}"), any::<Option<bool>>()).prop_map(|(text, steer)| Wish::Edit(text, steer)),
        1 => Just(Wish::Remove),
        4 => (0..3u8, "[a-zé\u{202e}\"\\\\ ]{0,12}").prop_map(|(calls, text)| Wish::Step { calls, text }),
        1 => Just(Wish::Ask),
        2 => any::<bool>().prop_map(Wish::Answer),
        3 => Just(Wish::Start),
        3 => any::<bool>().prop_map(Wish::End),
        1 => (0..6u8).prop_map(Wish::Finish),
        1 => Just(Wish::Exec),
        1 => (-1..256i32).prop_map(Wish::ExecEnds),
        1 => "[a-z]{1,8}".prop_map(Wish::Rename),
        1 => Just(Wish::Crash),
    ]
}

fn begin() -> Event {
    let spec = SessionSpec {
        name: "shop".into(),
        principal: "ana".into(),
        workspace: Workspace {
            root: "/work/shop".into(),
            start_dir: "".into(),
            layout: Layout::Host,
            layout_reason: "an agent's session".into(),
        },
        shell: ShellKind::Sh,
        jail: JailKind::Bwrap,
        origin: Origin::Agent,
        model: Some(model()),
        persona: "default".into(),
        policy_generation: 1,
        task: None,
        network: agentd::domain::network::NetworkMode::Off,
        limits: agentd::domain::limits::LimitsWish::default(),
        added_dirs: Vec::new(),
        search_path: String::new(),
        log: agentd::domain::redaction::LogLevel::default(),
    };
    event(&SessionId::random(), 1, EventBody::SessionCreated(spec))
}

fn model() -> ModelRef {
    ModelRef {
        name: "demo/demo".into(),
        demo: true,
        context_tokens: None,
    }
}

fn event(session_id: &SessionId, seq: u64, body: EventBody) -> Event {
    Event {
        session_id: session_id.clone(),
        seq,
        time_us: 1000 * seq as i64,
        schema: SCHEMA,
        caller: Caller::daemon("t"),
        body,
    }
}

fn usage() -> Usage {
    Usage {
        model: "demo/demo".into(),
        tokens: None,
        cost: None,
        first_token_ms: None,
        total_ms: 1,
        retries: 0,
        error: None,
    }
}

/// The events a wish leads to, as the actor would get them.
fn events_of(session: &Session, wish: &Wish, n: usize) -> Vec<EventBody> {
    let turn = session.turn.as_ref();
    let record = |facts: Vec<EventBody>| {
        let turn_id = turn.map(|t| t.turn_id.clone()).unwrap_or_else(TurnId::random);
        Command::RecordTurn {
            turn_id,
            facts,
            next_turn_id: TurnId::random(),
        }
    };
    let front = turn.and_then(|t| t.calls.front().cloned());
    let command = match wish {
        Wish::Crash => return recover(session, &|_| n.is_multiple_of(2)),
        Wish::Edit(text, steer) => match session.queue.front() {
            Some(waiting) => Command::EditMessage {
                message_id: waiting.message_id.clone(),
                parts: text.clone().map(|text| vec![Part::Text { text }]),
                steer: *steer,
            },
            None => return Vec::new(),
        },
        Wish::Remove => match session.queue.back() {
            Some(waiting) => Command::RemoveMessage {
                message_id: waiting.message_id.clone(),
            },
            None => return Vec::new(),
        },
        Wish::Post(text, steer) => Command::PostMessage {
            message_id: MessageId::random(),
            parts: vec![Part::Text { text: text.clone() }],
            model: None,
            options: TurnOptions::default(),
            steer: *steer,
            turn_id: TurnId::random(),
            expected_head: None,
        },
        Wish::Rename(name) => Command::Rename { name: name.clone() },
        Wish::Step { calls, text } => {
            let Some(turn) = turn.filter(|t| t.calls.is_empty()) else {
                return Vec::new();
            };
            let mut parts = vec![Part::Text { text: text.clone() }];
            parts.extend((0..*calls).map(|i| {
                Part::ToolCall(ToolCall {
                    call_id: CallId(format!("c{n}-{i}")),
                    tool: "exec".into(),
                    arguments: "{}".into(),
                })
            }));
            record(vec![EventBody::StepFinished {
                turn_id: turn.turn_id.clone(),
                step: turn.steps + 1,
                parts,
                finish: "stop".into(),
                usage: usage(),
            }])
        }
        Wish::Ask => match &front {
            Some(open) if open.stage == CallStage::Planned => record(vec![EventBody::ApprovalRequested {
                approval: Approval {
                    approval_id: ApprovalId::random(),
                    call_id: open.call.call_id.clone(),
                    tool: "exec".into(),
                    summary: "x".into(),
                    detail: "x".into(),
                    effects: Vec::new(),
                    why: "asked".into(),
                    deciding_rule: String::new(),
                    rules: Vec::new(),
                    no_rule_why: String::new(),
                    session_grant: None,
                    hosts: Vec::new(),
                    init: None,
                    expires_us: None,
                    asked_us: 1,
                    answer: None,
                },
            }]),
            _ => return Vec::new(),
        },
        Wish::Answer(yes) => match session.approvals.first() {
            Some(approval) => Command::ResolveApproval {
                approval_id: approval.approval_id.clone(),
                verdict: if *yes {
                    Verdict::ApprovedOnce
                } else {
                    Verdict::Denied
                },
                reason: "because".into(),
                rules: Vec::new(),
                rules_until_us: None,
                expected_head: None,
            },
            None => return Vec::new(),
        },
        Wish::Start => match (turn, &front) {
            (Some(turn), Some(open)) if matches!(open.stage, CallStage::Planned | CallStage::Approved) => {
                record(vec![EventBody::ToolCallStarted {
                    turn_id: turn.turn_id.clone(),
                    call: open.call.clone(),
                    summary: "x".into(),
                    effects: Vec::new(),
                    exec_id: None,
                }])
            }
            _ => return Vec::new(),
        },
        Wish::End(ok) => match (turn, &front) {
            (Some(turn), Some(open)) => record(vec![EventBody::ToolCallFinished {
                turn_id: turn.turn_id.clone(),
                call_id: open.call.call_id.clone(),
                outcome: if *ok {
                    CallOutcome::Succeeded
                } else {
                    CallOutcome::Failed
                },
                result: "r".into(),
                duration_ms: 1,
            }]),
            _ => return Vec::new(),
        },
        Wish::Finish(kind) => {
            let reason = || "r".to_owned();
            let outcome = match kind {
                0 => TurnOutcome::Done,
                1 => TurnOutcome::GoalNotMet,
                2 => TurnOutcome::Interrupted { reason: reason() },
                3 => TurnOutcome::OverBudget {
                    reason: reason(),
                    hints: vec![reason()],
                },
                4 => TurnOutcome::Denied { reason: reason() },
                _ => TurnOutcome::Failed {
                    reason: reason(),
                    message: reason(),
                    hints: Vec::new(),
                },
            };
            let turn_id = turn.map(|t| t.turn_id.clone()).unwrap_or_else(TurnId::random);
            record(vec![EventBody::TurnFinished {
                turn_id,
                outcome,
                totals: TurnTotals::default(),
            }])
        }
        Wish::Exec => Command::StartExec {
            exec_id: ExecId::random(),
            script: "true".into(),
            script_truncated: false,
            pty: false,
            timeout_ms: None,
        },
        Wish::ExecEnds(code) => match session.execs.keys().next() {
            Some(exec_id) => Command::FinishExec {
                exec_id: exec_id.clone(),
                result: ExecResult {
                    exit_code: *code,
                    ..ExecResult::default()
                },
                late: None,
            },
            None => return Vec::new(),
        },
    };
    // A rejection writes nothing.
    decide(session, &command, 1000 * n as i64).unwrap_or_default()
}

fn history(wishes: &[Wish]) -> Vec<Event> {
    let first = begin();
    let mut live = Session::begin(&first).unwrap();
    let mut log = vec![first];
    for (n, wish) in wishes.iter().enumerate() {
        for body in events_of(&live, wish, n) {
            let next = event(&live.session_id, live.head + 1, body);
            live.apply(&next);
            log.push(next);
        }
    }
    log
}

fn fold(log: &[Event]) -> Session {
    let mut session = Session::begin(&log[0]).unwrap();
    log[1..].iter().for_each(|event| session.apply(event));
    session
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_prefix_and_then_the_rest_is_the_whole(wishes in prop::collection::vec(wish(), 0..60), cut in any::<prop::sample::Index>()) {
        let log = history(&wishes);
        let whole = fold(&log);
        let at = cut.index(log.len()).max(1);
        let mut resumed = fold(&log[..at]);
        // A replay that overlaps is harmless.
        log[at.saturating_sub(3)..].iter().for_each(|event| resumed.apply(event));
        prop_assert_eq!(whole.head, log.len() as u64);
        prop_assert_eq!(format!("{whole:?}"), format!("{resumed:?}"));
    }

    #[test]
    fn a_fold_that_was_kept_goes_on_as_if_it_had_stayed(wishes in prop::collection::vec(wish(), 0..60), cut in any::<prop::sample::Index>()) {
        let log = history(&wishes);
        let whole = fold(&log);
        let at = cut.index(log.len()).max(1);
        let text = serde_json::to_string(&fold(&log[..at])).unwrap();
        let mut kept: Session = serde_json::from_str(&text).unwrap();
        log[at..].iter().for_each(|event| kept.apply(event));
        prop_assert_eq!(format!("{whole:?}"), format!("{kept:?}"));
    }

    #[test]
    fn after_a_crash_only_what_waits_for_a_person_is_open(wishes in prop::collection::vec(wish(), 0..60)) {
        let mut session = fold(&history(&wishes));
        for body in recover(&session, &|_| false) {
            let next = event(&session.session_id, session.head + 1, body);
            session.apply(&next);
        }
        prop_assert!(session.execs.is_empty());
        prop_assert!(session.late_calls.is_empty());
        prop_assert_eq!(session.turn.is_some(), !session.approvals.is_empty());
        prop_assert!(recover(&session, &|_| false).is_empty(), "recovering twice adds nothing");
    }

    #[test]
    fn every_message_is_read_once_or_taken_back_or_waits(wishes in prop::collection::vec(wish(), 0..80)) {
        let log = history(&wishes);
        let mut posted = Vec::new();
        let mut gone = Vec::new();
        for event in &log {
            match &event.body {
                EventBody::MessagePosted { message_id, .. } => posted.push(message_id.clone()),
                EventBody::MessageRemoved { message_id } => gone.push(message_id.clone()),
                EventBody::TurnStarted { message_ids, .. } | EventBody::TurnSteered { message_ids, .. } => {
                    gone.extend(message_ids.clone());
                }
                _ => {}
            }
        }
        gone.extend(fold(&log).queue.into_iter().map(|waiting| waiting.message_id));
        posted.sort();
        gone.sort();
        prop_assert_eq!(posted, gone);
    }

    #[test]
    fn every_body_reads_back_as_it_was_written(wishes in prop::collection::vec(wish(), 0..60)) {
        for event in history(&wishes) {
            let text = serde_json::to_string(&event.body).unwrap();
            prop_assert_eq!(serde_json::from_str::<EventBody>(&text).unwrap(), event.body);
        }
    }
}
