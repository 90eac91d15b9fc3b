//! Owns: following one turn from its message to its end, in each form of output.
//! Guarantees: off a terminal only the final answer reaches standard output; a lost connection loses
//! nothing; the exit code says how the turn ended.

use std::time::{Duration, Instant};

use agentd_proto::pb::event::Body;
use agentd_proto::pb::watch_item::Item;
use agentd_proto::resume::Update;
use agentd_proto::transcript::{Kind, Touched, Transcript, text_of};
use agentd_proto::{escape, pb};
use serde_json::json;

use super::ask::Asker;
use super::run::{Signals, interrupt};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::event::{self, Lines};
use crate::render::progress::Screen;
use crate::render::{Look, line};

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The answer as it comes.
    Stream,
    /// The final answer alone, at the end.
    Final,
    /// One JSON object per event.
    Lines,
    /// One JSON document at the end.
    Document,
    /// Nothing on standard output: the caller has words of its own.
    Quiet,
}

/// What to do about approvals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approvals {
    /// Ask on the terminal.
    Ask,
    /// Wait for somebody elsewhere.
    Wait,
    /// The daemon denies them.
    Deny,
    /// Leave with exit 10.
    Exit,
}

/// One followed turn.
pub(crate) struct Turn<'a> {
    context: &'a Context,
    session: pb::Session,
    mode: Mode,
    approvals: Approvals,
    cursor: u64,
    message_id: String,
    turn_id: String,
    begun: bool,
    interrupted: bool,
    timed_out: bool,
    screen: Screen,
    lines: Lines,
    transcript: Transcript,
    asker: Asker,
    /// The step being shown, and what of it was shown.
    shown: (u32, String),
    answer: String,
    demo: bool,
    changes: Vec<pb::ChangeRecorded>,
    foreign: Vec<String>,
}

impl<'a> Turn<'a> {
    /// The turn that takes up a posted message.
    pub(crate) fn new(
        context: &'a Context,
        session: pb::Session,
        posted: &pb::PostMessageResponse,
        mode: Mode,
        approvals: Approvals,
    ) -> Self {
        let cursor = posted.seq.saturating_sub(1);
        Self {
            screen: Screen::new(&context.out, &session.session_id),
            lines: Lines::new(&session.session_id, cursor),
            context,
            session,
            mode,
            approvals,
            cursor,
            message_id: posted.message_id.clone(),
            turn_id: String::new(),
            begun: false,
            interrupted: false,
            timed_out: false,
            transcript: Transcript::default(),
            asker: Asker::default(),
            shown: (0, String::new()),
            answer: String::new(),
            demo: false,
            changes: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// The last answer of the model so far.
    pub(crate) fn answer(&self) -> &str {
        &self.answer
    }

    /// The files that tools changed.
    pub(crate) fn changed(&self) -> Vec<&str> {
        self.changes.iter().map(|change| change.path.as_str()).collect()
    }

    /// True when the demo model was at work.
    pub(crate) fn is_demo(&self) -> bool {
        self.demo
    }

    /// Follows it to its end; gives the exit code.
    pub(crate) async fn follow(&mut self, mut signals: Signals) -> Result<u8, Failure> {
        if self.mode == Mode::Lines {
            let started = self.lines.line(
                "session.started",
                self.session.update_time,
                crate::render::json::session(&self.session),
            );
            self.context.out.line(&started.to_string())?;
        }
        let subscription = pb::WatchSubscription {
            session_id: self.session.session_id.clone(),
            after_seq: self.cursor,
            previews: matches!(self.mode, Mode::Stream | Mode::Lines),
            output: self.mode == Mode::Lines || self.context.out.err_tty,
            output_tail_bytes: 0,
            ..Default::default()
        };
        let mut watch = self.context.client.watch_session(subscription).await?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let deadline = self
            .context
            .global
            .timeout
            .map(|time| tokio::time::Instant::now() + time);
        let mut interrupted_at: Option<Instant> = None;
        loop {
            tokio::select! {
                update = watch.next() => {
                    let update = update.ok_or_else(|| Failure::silent(exit::FAILED))??;
                    if let Some(end) = self.update(update)? {
                        return self.end(&end);
                    }
                }
                text = self.asker.typed(&mut self.screen) => {
                    self.asker.answer(self.context, &text, &mut self.screen).await?;
                }
                _ = tick.tick() => self.tick(),
                _ = signals.interrupt.recv() => {
                    if interrupted_at.is_some() || !self.begun {
                        self.screen.clear_status();
                        if !self.begun {
                            self.context.out.note("left; the message stays queued");
                        }
                        return Err(Failure::silent(exit::INTERRUPTED));
                    }
                    interrupted_at = Some(Instant::now());
                    self.stop("stopping (Ctrl-C again leaves at once)");
                }
                _ = signals.hangup.recv() => return Ok(exit::HANGUP),
                _ = signals.terminate.recv() => return Ok(exit::TERMINATED),
                () = sleep_until(deadline), if !self.timed_out => {
                    self.timed_out = true;
                    self.stop("time is over");
                }
            }
        }
    }

    /// Says once when a command of the turn waits for input.
    fn session_is(&mut self, now: pb::Session) {
        let news = now.waiting.as_ref().filter(|wait| {
            let known = self.session.waiting.as_ref();
            known.is_none_or(|known| (&known.exec_id, &known.line) != (&wait.exec_id, &wait.line))
        });
        if let Some(wait) = news
            && matches!(self.mode, Mode::Stream | Mode::Final)
        {
            let line = format!(
                "! waits for input: {} · agentctl send {} --stdin \"…\"",
                escape::line(&wait.line),
                now.session_id
            );
            self.screen.lines(&[(Some(Look::Yellow), line)]);
        }
        self.session = now;
    }

    fn stop(&mut self, why: &str) {
        self.interrupted = true;
        self.screen.lines(&[(Some(Look::Yellow), why.to_owned())]);
        tokio::spawn(interrupt(
            self.context.client.clone(),
            self.session.session_id.clone(),
        ));
    }

    fn tick(&mut self) {
        if self.asker.is_asking() || !matches!(self.mode, Mode::Stream | Mode::Final | Mode::Quiet) {
            return;
        }
        let state = if self.interrupted {
            "stopping"
        } else if self.begun {
            "working"
        } else {
            "queued"
        };
        self.screen.tick(state);
    }

    fn update(&mut self, update: Update<Item>) -> Result<Option<pb::TurnFinished>, Failure> {
        match update {
            Update::Item(Item::Event(event)) => return self.event(&event),
            Update::Item(Item::Preview(preview)) if self.is_ours(&preview.turn_id) => {
                self.preview(&preview)?
            }
            Update::Item(Item::Output(chunk)) if self.begun && !self.foreign.contains(&chunk.exec_id) => {
                if self.mode == Mode::Lines {
                    self.context.out.line(&self.lines.output(&chunk).to_string())?;
                } else {
                    self.screen.output(&chunk.exec_id, chunk.stream, &chunk.data);
                }
            }
            Update::Item(Item::Session(session)) => self.session_is(session),
            Update::Item(_) => {}
            // The first miss is usually a restart that is over before anybody could read about it.
            Update::Reconnecting { attempt, wait } if attempt > 1 => {
                let wait = agentd_proto::format::duration(wait);
                self.screen.lines(&[(
                    Some(Look::Yellow),
                    format!("? reconnecting · try {attempt} in {wait}"),
                )]);
            }
            Update::Reconnecting { .. } => {}
            Update::Back { events } => {
                let caught = agentd_proto::format::count(events, "event");
                self.screen
                    .lines(&[(Some(Look::Dim), format!("back · caught up {caught}"))]);
            }
        }
        Ok(None)
    }

    fn is_ours(&self, turn_id: &str) -> bool {
        self.begun && self.turn_id == turn_id
    }

    fn event(&mut self, event: &pb::Event) -> Result<Option<pb::TurnFinished>, Failure> {
        if let Some(Body::TurnStarted(started)) = &event.body
            && started.message_ids.contains(&self.message_id)
        {
            self.begun = true;
            self.turn_id.clone_from(&started.turn_id);
            self.demo = started.demo;
            if started.demo && self.mode != Mode::Lines {
                self.screen
                    .lines(&[(Some(Look::Dim), "demo model: scripted, offline, $0".to_owned())]);
            }
        }
        // A call of an earlier turn may end only now; it is not part of this one.
        if !self.begun || turn_of(event).is_some_and(|turn| turn != self.turn_id) {
            return Ok(None);
        }
        if let Some(Body::ExecStarted(started)) = &event.body
            && started.call_id.is_empty()
        {
            self.foreign.push(started.exec_id.clone());
        }
        let touched = self.transcript.apply(event);
        if self.mode == Mode::Lines {
            for value in self.lines.event(event) {
                self.context.out.line(&value.to_string())?;
            }
        } else {
            self.show(event, touched)?;
        }
        self.note(event)
    }

    /// What the fold of this turn keeps.
    fn note(&mut self, event: &pb::Event) -> Result<Option<pb::TurnFinished>, Failure> {
        match &event.body {
            Some(Body::StepFinished(step)) => {
                self.answer = text_of(&step.parts);
                let usage = step.usage.clone().unwrap_or_default();
                let tokens = usage.tokens.unwrap_or_default();
                self.screen
                    .spent(tokens.input + tokens.output, usage.cost_micro_usd);
            }
            Some(Body::ToolCallStarted(started)) => self.screen.doing(&started.summary),
            Some(Body::ToolCallFinished(_)) => self.screen.doing("model"),
            Some(Body::ChangeRecorded(change)) => self.changes.push(change.clone()),
            Some(Body::ApprovalRequested(requested)) => {
                self.approval(requested.approval.clone().unwrap_or_default())?;
            }
            Some(Body::ApprovalResolved(resolved)) => {
                self.asker.remove(&resolved.approval_id, &mut self.screen);
            }
            Some(Body::TurnFinished(end)) if end.turn_id == self.turn_id => return Ok(Some(end.clone())),
            _ => {}
        }
        Ok(None)
    }

    fn approval(&mut self, approval: pb::Approval) -> Result<(), Failure> {
        match self.approvals {
            Approvals::Ask => self.asker.add(approval, &mut self.screen),
            Approvals::Deny => {}
            Approvals::Wait => {
                let mut lines = line::approval_lines(&approval);
                lines.push((
                    None,
                    format!("     waits for: agentctl approve {}", approval.approval_id),
                ));
                self.screen.say(&lines);
            }
            Approvals::Exit => {
                self.screen.clear_status();
                let (id, what) = (
                    &approval.approval_id,
                    line::tool_line(&approval.tool, &approval.summary),
                );
                return Err(Failure::new(
                    exit::APPROVAL,
                    "approval_needed",
                    format!("'{id}' needs an answer: {what}"),
                )
                .note("the turn waits; nothing was lost")
                .next(format!("agentctl approve {id}"))
                .next(format!("agentctl deny {id} --reason \"…\""))
                .next(format!("agentctl attach {}", self.session.session_id)));
            }
        }
        Ok(())
    }

    /// A fact, for a person.
    fn show(&mut self, event: &pb::Event, touched: Option<Touched>) -> Result<(), Failure> {
        if let Some(Body::StepFinished(step)) = &event.body {
            if self.mode == Mode::Stream {
                self.stream(step.step, &text_of(&step.parts), true)?;
                self.screen.end_answer()?;
                self.shown = (0, String::new());
            }
            return Ok(());
        }
        if let Some(Body::ExecFinished(finished)) = &event.body {
            self.screen.output_end(&finished.exec_id);
        }
        let Some(touched) = touched else { return Ok(()) };
        let (Touched::Added(index) | Touched::Changed(index)) = touched;
        let Some(item) = self.transcript.get(index) else {
            return Ok(());
        };
        let mut lines = match (touched, &item.kind) {
            // These have their own way to the screen.
            (_, Kind::You { .. } | Kind::TurnEnd(_)) | (Touched::Added(_), Kind::Approval(_)) => {
                return Ok(());
            }
            (Touched::Added(_), _) => line::added(item),
            (Touched::Changed(_), _) => line::ended(item),
        };
        // What a command wrote stands in the gutter already.
        if let Kind::Tool {
            exec_id,
            end: Some(_),
            ..
        } = &item.kind
            && self.context.out.err_tty
            && !exec_id.is_empty()
        {
            lines.truncate(1);
        }
        self.screen.lines(&lines);
        Ok(())
    }

    fn preview(&mut self, preview: &pb::Preview) -> Result<(), Failure> {
        if self.mode == Mode::Lines {
            if let Some(value) = self.lines.preview(preview) {
                self.context.out.line(&value.to_string())?;
            }
            return Ok(());
        }
        if self.mode == Mode::Quiet {
            return Ok(());
        }
        self.stream(preview.step, &preview.text, preview.restart)
    }

    /// Shows what is new of a step's text; `whole` says that `text` is all of it so far.
    fn stream(&mut self, step: u32, text: &str, whole: bool) -> Result<(), Failure> {
        if self.shown.0 != step {
            self.screen.end_answer()?;
            self.shown = (step, String::new());
        }
        if !whole {
            self.shown.1.push_str(text);
            return self.screen.answer(text);
        }
        match text.strip_prefix(self.shown.1.as_str()) {
            Some("") => {}
            Some(rest) => self.screen.answer(rest)?,
            // The provider began anew: what was shown is void.
            None => {
                self.screen.end_answer()?;
                self.screen.answer(text)?;
            }
        }
        text.clone_into(&mut self.shown.1);
        Ok(())
    }

    /// The last words, and the exit code.
    fn end(&mut self, end: &pb::TurnFinished) -> Result<u8, Failure> {
        self.screen.end_answer()?;
        self.screen.clear_status();
        let answer = self.answer.trim_end().to_owned();
        let failure = self.failure(end, &answer);
        let code = failure.as_ref().map_or(exit::OK, |failure| failure.exit);
        match self.mode {
            Mode::Final if !answer.is_empty() && matches!(code, exit::OK | exit::GOAL | exit::BUDGET) => {
                self.screen.answer(&format!("{answer}\n"))?;
                self.screen.end_answer()?;
            }
            Mode::Document => self.context.out.json(&self.document(end, code))?,
            _ => {}
        }
        if matches!(self.mode, Mode::Stream | Mode::Final) {
            self.screen
                .lines(&line::turn_lines(end).into_iter().take(1).collect::<Vec<_>>());
        }
        failure.map_or(Ok(exit::OK), Err)
    }

    fn failure(&self, end: &pb::TurnFinished, answer: &str) -> Option<Failure> {
        if self.timed_out {
            return Some(
                Failure::new(
                    exit::TIMEOUT,
                    "timeout",
                    "the turn was stopped because its time was over",
                )
                .next(format!("agentctl run -s {} \"go on\"", self.session.session_id)),
            );
        }
        let code = exit::of_turn(end.outcome(), &end.error_reason);
        let word = agentd_proto::format::outcome_word(end.outcome());
        let code_word = if end.error_reason.is_empty() {
            word
        } else {
            &end.error_reason
        };
        let message = if end.error_message.is_empty() {
            format!("the turn ended: {}", word.replace('_', " "))
        } else {
            escape::line(&end.error_message)
        };
        let session = &self.session.session_id;
        match code {
            exit::OK if answer.is_empty() => Some(
                Failure::new(
                    exit::FAILED,
                    "no_answer",
                    "the model ended the turn without an answer",
                )
                .next(format!("agentctl run -s {session} \"go on\"")),
            ),
            exit::OK => None,
            // What Ctrl-C did is said by the line above.
            exit::INTERRUPTED if self.interrupted => Some(Failure::silent(code)),
            code => {
                let mut failure = Failure::new(code, code_word, message);
                failure.next.clone_from(&end.hints);
                if failure.next.is_empty() && code != exit::CREDENTIAL {
                    failure.next.push(format!("agentctl run -s {session} \"go on\""));
                    failure.next.push(format!("agentctl logs {session}"));
                }
                Some(failure.with_ways_to_a_key())
            }
        }
    }

    fn document(&self, end: &pb::TurnFinished, code: u8) -> serde_json::Value {
        let changes: Vec<_> = self
            .changes
            .iter()
            .map(|change| {
                json!({"change": change.change_id, "path": change.path, "kind": event::kind(change.kind()),
                "added_lines": change.added_lines, "removed_lines": change.removed_lines})
            })
            .collect();
        let mut document = json!({"v": 1, "session": self.session.session_id, "session_name": self.session.name,
            "answer": self.answer, "exit": code, "demo": self.demo, "changes": changes});
        if let (Some(map), serde_json::Value::Object(turn)) = (document.as_object_mut(), event::turn(end)) {
            map.extend(turn);
            if self.session.jail() == pb::JailKind::Outer {
                map.insert(
                    "jail".to_owned(),
                    json!(crate::render::json::jail(pb::JailKind::Outer)),
                );
            }
        }
        document
    }
}

/// The turn an event belongs to, where it names one.
fn turn_of(event: &pb::Event) -> Option<&str> {
    match event.body.as_ref()? {
        Body::StepFinished(step) => Some(&step.turn_id),
        Body::StepRetried(retry) => Some(&retry.turn_id),
        Body::ToolCallStarted(started) => Some(&started.turn_id),
        Body::ToolCallFinished(finished) => Some(&finished.turn_id),
        Body::TurnFinished(end) => Some(&end.turn_id),
        _ => None,
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
