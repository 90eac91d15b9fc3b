//! Owns: `agentctl attach`: agent-tui on a terminal, else (and with `--plain`) the linear view of a session:
//! labelled lines, no redraw; typed lines are sent.
//! Guarantees: leaving never changes the session; an approval takes a command with its number, and none
//! that was typed before the question could be read.

use std::time::{Duration, Instant};

use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::Update;
use agentd_proto::transcript::{Kind, Touched, Transcript};
use agentd_proto::{escape, id, pb};

use super::run::{Signals, interrupt};
use crate::args::AttachArgs;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::line::Line;
use crate::render::{Look, line};
use crate::stdin;

/// How far back the past is folded.
const PAST_EVENTS: u32 = 1000;
/// How long after it appears a question takes no answer.
const DEAD_TIME: Duration = Duration::from_millis(500);
const HELP: &str =
    "a line is sent as a message · /approve [N] · /session [N] · /deny [N] [REASON] · /interrupt · /quit";

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: AttachArgs) -> Result<u8, Failure> {
    let session = context.target(args.target.as_deref()).await?;
    if !args.plain
        && let Some(program) = super::screen::program(context)
    {
        let mut rest = vec![session.session_id.clone().into()];
        if args.read_only {
            rest.push("--read-only".into());
        }
        super::screen::become_it(context, &program, rest);
    }
    context.warn_outer(&session);
    let writes = !args.read_only && stdin::is_terminal() && !context.global.no_input;
    let mut view = View {
        context,
        state: session.state(),
        session,
        transcript: Transcript::default(),
        open: Vec::new(),
        json: context
            .out
            .is_json()
            .then(|| crate::render::event::Lines::new("", 0)),
    };
    let cursor = view.past(args.tail).await?;
    if writes {
        context.out.note(HELP);
    }
    view.follow(cursor, writes).await
}

struct View<'a> {
    context: &'a Context,
    session: pb::Session,
    state: pb::SessionState,
    transcript: Transcript,
    /// Open questions and when they were shown; their place is their number.
    open: Vec<(pb::Approval, Instant)>,
    json: Option<crate::render::event::Lines>,
}

impl View<'_> {
    /// Shows the end of what happened so far; gives the head.
    async fn past(&mut self, tail: usize) -> Result<u64, Failure> {
        let session = &self.session;
        let title = format!(
            "{} · {} · {}",
            session.name, session.session_id, session.workspace
        );
        self.context
            .out
            .note(&self.context.out.paint_err(Look::Bold, &escape::line(&title)));
        if let Some(lines) = &mut self.json {
            *lines = crate::render::event::Lines::new(&session.session_id, 0);
        }
        let page = self
            .context
            .client
            .list_events(pb::ListEventsRequest {
                session_id: session.session_id.clone(),
                before_seq: session.head + 1,
                page_size: PAST_EVENTS,
                ..Default::default()
            })
            .await?;
        let mut cursor = 0;
        for event in &page.events {
            cursor = event.seq;
            self.transcript.apply(event);
        }
        let items = self.transcript.items();
        for item in items.iter().skip(items.len().saturating_sub(tail)) {
            if self.json.is_none() {
                self.print(&line::stamped(item, line::added(item)))?;
            }
        }
        let open: Vec<pb::Approval> = items
            .iter()
            .filter_map(|item| match &item.kind {
                Kind::Approval(one) if one.decision() == pb::ApprovalDecision::Unspecified => {
                    Some((**one).clone())
                }
                _ => None,
            })
            .collect();
        for approval in open {
            self.ask(approval);
        }
        Ok(cursor)
    }

    async fn follow(&mut self, cursor: u64, writes: bool) -> Result<u8, Failure> {
        let mut signals = Signals::new()?;
        let mut watch = self
            .context
            .client
            .watch_session(pb::WatchSubscription {
                session_id: self.session.session_id.clone(),
                after_seq: cursor,
                previews: false,
                output: true,
                output_tail_bytes: 4096,
                ..Default::default()
            })
            .await?;
        let mut screen = crate::render::progress::Screen::new(&self.context.out, &self.session.session_id);
        let mut typed = if writes { Some(stdin::lines()) } else { None };
        loop {
            tokio::select! {
                update = watch.next() => {
                    let Some(update) = update else { return Ok(exit::OK) };
                    match update? {
                        Update::Item(Item::Event(event)) => self.event(&event)?,
                        Update::Item(Item::Output(chunk)) => match &self.json {
                            Some(lines) => self.context.out.line(&lines.output(&chunk).to_string())?,
                            None => screen.output(&chunk.exec_id, chunk.stream, &chunk.data),
                        },
                        Update::Item(Item::Session(now)) => self.session_is(now),
                        Update::Item(_) => {}
                        Update::Reconnecting { attempt, .. } if attempt > 1 => {
                            self.context.out.note(&format!("? reconnecting · try {attempt}"));
                        }
                        Update::Reconnecting { .. } => {}
                        Update::Back { events } => {
                            let events = agentd_proto::format::count(events, "event");
                            self.context.out.note(&format!("back · caught up {events}"));
                        }
                    }
                }
                text = next(&mut typed) => match text {
                    None => return self.leave(),
                    Some(text) => if self.typed(text.trim()).await? { return self.leave() },
                },
                _ = signals.interrupt.recv() => {
                    if !writes || self.session.turn_id.is_empty() {
                        return self.leave();
                    }
                    self.stop();
                }
                _ = signals.hangup.recv() => return Ok(exit::HANGUP),
                _ = signals.terminate.recv() => return Ok(exit::TERMINATED),
            }
        }
    }

    fn leave(&self) -> Result<u8, Failure> {
        self.context
            .out
            .note(&format!("left; {} goes on as it is", self.session.name));
        Ok(exit::OK)
    }

    fn stop(&self) {
        self.context.out.note("stopping the turn");
        tokio::spawn(interrupt(
            self.context.client.clone(),
            self.session.session_id.clone(),
        ));
    }

    fn session_is(&mut self, now: pb::Session) {
        let state = now.state();
        let asked = |session: &pb::Session| session.waiting.as_ref().map(|wait| wait.line.clone());
        let news = asked(&now).filter(|line| asked(&self.session).as_ref() != Some(line));
        self.session = now;
        if let Some(line) = news {
            self.context.out.note(&format!(
                "! waits for input: {} · agentctl send {} --stdin \"…\"",
                escape::line(&line),
                self.session.session_id
            ));
        }
        if state != self.state {
            self.state = state;
            let text = crate::render::text::state(state);
            self.context
                .out
                .note(&self.context.out.paint_err(Look::Dim, &text));
        }
    }

    fn event(&mut self, event: &pb::Event) -> Result<(), Failure> {
        let touched = self.transcript.apply(event);
        if let Some(lines) = &mut self.json {
            let values = lines.event(event);
            return values
                .iter()
                .try_for_each(|value| self.context.out.line(&value.to_string()));
        }
        let Some(touched) = touched else { return Ok(()) };
        let (Touched::Added(index) | Touched::Changed(index)) = touched;
        let Some(item) = self.transcript.get(index).cloned() else {
            return Ok(());
        };
        let lines = match touched {
            Touched::Added(_) => line::added(&item),
            Touched::Changed(_) => line::ended(&item),
        };
        self.print(&lines)?;
        if let Kind::Approval(approval) = &item.kind {
            if approval.decision() == pb::ApprovalDecision::Unspecified {
                self.ask((**approval).clone());
            } else {
                self.open
                    .retain(|(one, _)| one.approval_id != approval.approval_id);
            }
        }
        Ok(())
    }

    fn ask(&mut self, approval: pb::Approval) {
        self.open.push((approval, Instant::now()));
        let number = self.open.len();
        self.context.out.note(&format!(
            "     {number}) /approve {number} · /deny {number} REASON"
        ));
    }

    fn print(&self, lines: &[Line]) -> Result<(), Failure> {
        let out = &self.context.out;
        lines.iter().try_for_each(|(look, line)| {
            out.line(&look.map_or_else(|| line.clone(), |look| out.paint(look, line)))
        })
    }

    /// Does what was typed; true to leave.
    async fn typed(&mut self, text: &str) -> Result<bool, Failure> {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match word {
            "" => {}
            "/quit" | "/detach" => return Ok(true),
            "/help" => self.context.out.note(HELP),
            "/interrupt" => self.stop(),
            "/approve" => self.decide(rest, pb::ApprovalDecision::ApprovedOnce).await?,
            "/session" => self.decide(rest, pb::ApprovalDecision::ApprovedSession).await?,
            "/deny" => self.decide(rest, pb::ApprovalDecision::Denied).await?,
            _ if word.starts_with('/') && !word.trim_start_matches('/').contains('/') => {
                self.context
                    .out
                    .note(&format!("unknown: {} · {HELP}", escape::line(word)));
            }
            _ => self.send(text).await?,
        }
        Ok(false)
    }

    async fn send(&self, text: &str) -> Result<(), Failure> {
        let part = pb::Part {
            part: Some(pb::part::Part::Text(text.to_owned())),
        };
        let request = pb::PostMessageRequest {
            request_id: id::request_id(),
            session_id: self.session.session_id.clone(),
            parts: vec![part],
            on_approval: pb::OnApproval::Wait.into(),
            environment: Some(self.context.environment()),
            approver_present: true,
            ..Default::default()
        };
        // A refusal (no key, say) is told; the view stays.
        if let Err(error) = self.context.client.post_message(request).await {
            self.context.out.failure(&error.into());
        }
        Ok(())
    }

    /// Decides the question with the number that `rest` starts with, or the only one.
    async fn decide(&mut self, rest: &str, decision: pb::ApprovalDecision) -> Result<(), Failure> {
        let rest = rest.trim();
        let (first, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (number, reason) = match first.parse::<usize>() {
            Ok(number) => (number, tail.trim()),
            Err(_) => (1, rest),
        };
        let Some((approval, shown)) = number.checked_sub(1).and_then(|index| self.open.get(index)) else {
            self.context.out.note("no such question is open");
            return Ok(());
        };
        if first.parse::<usize>().is_err() && self.open.len() > 1 {
            self.context
                .out
                .note("several questions are open: name one by its number");
            return Ok(());
        }
        if shown.elapsed() < DEAD_TIME {
            self.context
                .out
                .note("that was too quick to have been read: type it again");
            return Ok(());
        }
        let request = pb::ResolveApprovalRequest {
            request_id: id::request_id(),
            approval_id: approval.approval_id.clone(),
            decision: decision.into(),
            reason: if decision == pb::ApprovalDecision::Denied {
                reason.to_owned()
            } else {
                String::new()
            },
            expected_head: 0,
            ..Default::default()
        };
        if let Err(error) = self.context.client.resolve_approval(request).await {
            self.context.out.failure(&error.into());
        }
        Ok(())
    }
}

/// The next typed line; for ever pending when nothing is typed here.
async fn next(typed: &mut Option<tokio::sync::mpsc::Receiver<String>>) -> Option<String> {
    match typed {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}
