//! Owns: compacting a context: what goes, what stays, and the summary that takes its place.
//! Guarantees: the log keeps everything; a call stays with its results; no fault of a model keeps a context from
//! getting smaller: without an answer the summary is put together from what was said.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;

use super::mailbox::TurnView;
use super::turn::{Gone, TurnJob};
use super::{prompt, step};
use crate::domain::context::{CompactReason, ContextSize, PlanItem, PlanState, tokens_of};
use crate::domain::event::EventBody;
use crate::domain::message::{Message, Part, Role};
use crate::domain::session::clip;
use crate::domain::usage::Usage;
use crate::model::{Environment, Model, ModelError, ModelEvent, ModelRequest, StepReply};
use crate::tools::Registry;

/// Reckoned with where nobody knows the window.
const USUAL_WINDOW: u64 = 32_000;
/// Bytes of text in a token, as [`tokens_of`] reckons.
const BYTES: u64 = 3;
/// Most bytes of a summary, and of the last message that it repeats word for word.
const MOST_SUMMARY: usize = 16 * 1024;
const MOST_WORDS: usize = 8 * 1024;
/// How often a summary is asked for with less text each time.
const TRIES: u32 = 3;

impl TurnJob {
    /// Puts a summary in the place of earlier messages. False: there was nothing to gain.
    pub(super) async fn compact(
        &self,
        view: &mut TurnView,
        tools: &Registry,
        reason: CompactReason,
    ) -> Result<bool, Gone> {
        let window = self.window();
        let room = window.unwrap_or(USUAL_WINDOW).saturating_mul(BYTES);
        let share = if reason == CompactReason::Refused { 8 } else { 4 };
        let Some(from) = cut(&view.history, room / share) else {
            return Ok(false);
        };
        let (gone, kept) = view.history.split_at(from);
        let before = ContextSize {
            tokens: self.expected(view, tools),
            messages: count(view.history.len()),
        };
        let (mut summary, usage) = self.summarise(view, tools, gone, room).await;
        if self.stop.is_cancelled() {
            return Ok(false);
        }
        finish_summary(&mut summary, gone, kept, &view.plan);
        let weight = kept
            .iter()
            .map(|m| m.weight())
            .fold(summary.len() as u64, u64::saturating_add);
        let left = tokens_of(self.base_bytes(view, tools).saturating_add(weight));
        let fact = EventBody::ContextCompacted {
            turn_id: self.turn_id.clone(),
            reason,
            before,
            after: ContextSize {
                tokens: left,
                messages: count(kept.len().saturating_add(1)),
            },
            kept: count(kept.len()),
            summary,
            window,
            usage,
        };
        self.brief.compacted(view.steps, left);
        *view = self.actor.record(&self.turn_id, vec![fact]).await?.ok_or(Gone)?;
        Ok(true)
    }

    async fn summarise(
        &self,
        view: &TurnView,
        tools: &Registry,
        gone: &[Arc<Message>],
        room: u64,
    ) -> (String, Option<Usage>) {
        let own = self.model();
        let small = self.small_model();
        let model = small.clone().unwrap_or_else(|| own.clone());
        if model.is_demo() {
            return (from_what_was_said(gone), None);
        }
        let focus = view.heard.wanted.as_deref().unwrap_or_default();
        let weight = gone.iter().map(|m| m.weight()).fold(0, u64::saturating_add);
        let fits = self.base_bytes(view, tools).saturating_add(weight) < room / 10 * 8;
        let mut budget = usize::try_from(room / 2).unwrap_or(usize::MAX).min(512 * 1024);
        let began = Instant::now();
        let mut last = None;
        for attempt in 0..TRIES {
            // The same beginning as the requests before it: the provider's cache has it.
            let request = if attempt == 0 && fits && small.is_none() {
                let mut messages: Vec<Message> = gone.iter().map(|m| Message::clone(m)).collect();
                messages.push(Message::user(prompt::summary(focus)));
                self.request(view, messages, tools)
            } else {
                let text = format!("{}\n\n{}", prompt::summary(focus), retold(gone, budget));
                budget /= 2;
                ModelRequest {
                    instructions: prompt::SUMMARISER.into(),
                    messages: vec![Message::user(text)].into(),
                    tools: Vec::new().into(),
                    effort: None,
                    session_key: view.session_id.to_string(),
                    approver_present: false,
                }
            };
            if self.purse.open(self, view).await.is_err() {
                return (from_what_was_said(gone), None);
            }
            let answer = tokio::select! {
                () = self.stop.cancelled() => {
                    self.purse.close(self, view).await;
                    return (String::new(), None);
                }
                answer = ask(&model, request) => answer,
            };
            self.purse.close(self, view).await;
            match answer {
                Ok(reply) => {
                    let usage = step::usage(&model, &reply, &self.settings.models());
                    let text = text_of(&reply);
                    if text.trim().is_empty() {
                        return (from_what_was_said(gone), Some(usage));
                    }
                    return (clip(text.trim(), MOST_SUMMARY), Some(usage));
                }
                Err(error @ ModelError::ContextExceeded { .. }) => {
                    if let ModelError::ContextExceeded {
                        limit: Some(limit), ..
                    } = &error
                    {
                        self.settings.models().learn_window(model.name(), *limit);
                        budget =
                            budget.min(usize::try_from(limit.saturating_mul(BYTES) / 2).unwrap_or(budget));
                    }
                    last = Some(error);
                }
                Err(error) => {
                    last = Some(error);
                    break;
                }
            }
        }
        tracing::warn!(error = ?last, turn = %self.turn_id, "no model wrote the summary");
        let usage = step::usage_unknown(&model, began, 0, last.as_ref());
        (from_what_was_said(gone), Some(usage))
    }

    /// The model for titles and summaries, where one is configured and can be had.
    pub(super) fn small_model(&self) -> Option<Arc<dyn Model>> {
        let name = self.settings.small_model.as_ref()?;
        match self.settings.models().resolve(name, &Environment::default()) {
            Ok(model) => Some(model),
            Err(error) => {
                tracing::warn!(%error, "the small model can't be had");
                None
            }
        }
    }
}

/// One request of which only the answer counts.
pub(super) async fn ask(model: &Arc<dyn Model>, request: ModelRequest) -> Result<StepReply, ModelError> {
    let mut stream = model.stream(request);
    while let Some(event) = stream.next().await {
        if let ModelEvent::Finished(reply) = event? {
            return Ok(reply);
        }
    }
    Err(ModelError::CutStream {
        detail: "no end of the answer".into(),
    })
}

/// The words of a reply.
pub(super) fn text_of(reply: &StepReply) -> String {
    Message {
        role: Role::Assistant,
        parts: reply.parts.clone(),
    }
    .text()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Where the part that stays begins: at most about `keep` bytes, at most a third of all, never results without their
/// call. `None` when nothing but a summary would go.
fn cut(history: &[Arc<Message>], keep: u64) -> Option<usize> {
    let all = history.iter().map(|m| m.weight()).fold(0, u64::saturating_add);
    let keep = keep.min(all / 3);
    let mut from = history.len();
    let mut weight = 0u64;
    for (index, message) in history.iter().enumerate().rev() {
        weight = weight.saturating_add(message.weight());
        if weight > keep {
            break;
        }
        if message.role != Role::Tool {
            from = index;
        }
    }
    let gone = history.get(..from).unwrap_or_default();
    // A person's words alone can't be made shorter by a summary of them.
    gone.iter()
        .any(|message| message.role != Role::User)
        .then_some(from)
}

/// The history as text of at most about `most` bytes: the beginning and, more of it, the end.
fn retold(history: &[Arc<Message>], most: usize) -> String {
    const RESULT: usize = 600;
    let mut text = String::new();
    for message in history {
        for part in &message.parts {
            let _infallible = match part {
                Part::Text { text: words } if message.role == Role::User => {
                    writeln!(text, "PERSON: {}", clip(words, 4_000))
                }
                Part::Text { text: words } => writeln!(text, "AGENT: {}", clip(words, 2_000)),
                Part::Attachment { name, text: words } => {
                    writeln!(text, "ATTACHED {name}: {}", clip(words, RESULT))
                }
                Part::Image { name, .. } => writeln!(text, "ATTACHED image {name}"),
                Part::Context(item) => writeln!(text, "GIVEN {}: {}", item.name, clip(&item.text, RESULT)),
                Part::ToolCall(call) => {
                    writeln!(text, "CALL {} {}", call.tool, clip(&call.arguments, RESULT))
                }
                Part::ToolResult(result) => writeln!(text, "RESULT: {}", clip(&result.text, RESULT)),
                Part::Reasoning { .. } => Ok(()),
            };
        }
    }
    if text.len() <= most {
        return text;
    }
    let head: String = text.chars().take(most / 5).collect();
    let skipped = text.chars().count().saturating_sub(most / 5 * 4);
    let tail: String = text.chars().skip(skipped).collect();
    format!("{head}\n[… left out …]\n{tail}")
}

/// A summary without a model: what the person wanted, what was called, what was said last.
fn from_what_was_said(history: &[Arc<Message>]) -> String {
    const CALLS: usize = 30;
    let mut text = String::from("What the person said so far:\n");
    let mut calls = Vec::new();
    let mut said = None;
    for message in history {
        for part in &message.parts {
            match part {
                Part::Text { text: words } if message.role == Role::User => {
                    let _infallible = writeln!(text, "- {}", clip(words.trim(), 600));
                }
                Part::Text { text: words } => said = Some(words),
                Part::Context(item) if item.kind == crate::domain::context::ContextKind::Summary => {
                    let _infallible = writeln!(text, "{}", clip(&item.text, 4_000));
                }
                Part::ToolCall(call) => calls.push(format!("{} {}", call.tool, clip(&call.arguments, 160))),
                _ => {}
            }
        }
    }
    if !calls.is_empty() {
        text.push_str("The last calls:\n");
        for call in calls.iter().skip(calls.len().saturating_sub(CALLS)) {
            let _infallible = writeln!(text, "- {call}");
        }
    }
    if let Some(said) = said {
        let _infallible = writeln!(text, "What you said last:\n{}", clip(said, 2_000));
    }
    clip(text.trim_end(), MOST_SUMMARY)
}

/// Adds what a summary must not lose: the last words of the person when they went, the plan, and where the rest is.
fn finish_summary(summary: &mut String, gone: &[Arc<Message>], kept: &[Arc<Message>], plan: &[PlanItem]) {
    let words = |messages: &[Arc<Message>]| {
        let mut said = messages
            .iter()
            .rev()
            .filter(|m| m.role == Role::User)
            .map(|m| m.text());
        said.find(|text| !text.trim().is_empty())
    };
    if words(kept).is_none()
        && let Some(last) = words(gone)
    {
        let _infallible = write!(
            summary,
            "\n\nThe person's last message, word for word:\n{}",
            clip(&last, MOST_WORDS)
        );
    }
    if !plan.is_empty() {
        summary.push_str("\n\nYour plan:");
        for item in plan {
            let mark = match item.state {
                PlanState::Todo => " ",
                PlanState::Doing => ">",
                PlanState::Done => "x",
            };
            let _infallible = write!(summary, "\n[{mark}] {}", item.text);
        }
    }
    let _infallible = write!(
        summary,
        "\n\n[{} earlier messages were replaced by this. They are in the session's log: search with log: true finds \
         what they said. What you had read of files may be out of date: read again before you edit.]",
        gone.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::CallId;
    use crate::domain::message::{ToolCall, ToolResult};

    fn call(id: &str) -> Arc<Message> {
        Arc::new(Message {
            role: Role::Assistant,
            parts: vec![Part::ToolCall(ToolCall {
                call_id: CallId(id.into()),
                tool: "exec".into(),
                arguments: "{\"command\":\"make\"}".into(),
            })],
        })
    }

    fn result(id: &str, bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            role: Role::Tool,
            parts: vec![Part::ToolResult(ToolResult {
                call_id: CallId(id.into()),
                text: "r".repeat(bytes),
                ok: true,
            })],
        })
    }

    fn person(text: &str) -> Arc<Message> {
        Arc::new(Message::user(text))
    }

    #[test]
    fn what_stays_begins_with_a_call_not_with_a_result() {
        let history = [
            person("do it"),
            call("a"),
            result("a", 5_000),
            call("b"),
            result("b", 400),
            result("c", 400),
        ];
        assert_eq!(cut(&history, 1_000), Some(3));
        assert_eq!(cut(&history, 450), Some(6), "a result alone does not stay");
        assert_eq!(cut(&history[..1], 0), None, "a person's words alone");
        assert_eq!(cut(&[], 0), None);
    }

    #[test]
    fn a_summary_without_a_model_has_wishes_calls_and_last_words() {
        let said = Arc::new(Message {
            role: Role::Assistant,
            parts: vec![Part::Text {
                text: "half done".into(),
            }],
        });
        let history = [person("mend the parser"), call("a"), result("a", 9), said];
        let mut text = from_what_was_said(&history);
        assert!(text.contains("- mend the parser") && text.contains("exec {\"command\":\"make\"}"));
        assert!(text.contains("half done"));
        let plan = [PlanItem {
            text: "test it".into(),
            state: PlanState::Doing,
        }];
        finish_summary(&mut text, &history, &[], &plan);
        assert!(text.contains("word for word:\nmend the parser") && text.contains("[>] test it"));
        assert!(text.contains("4 earlier messages"));
    }

    #[test]
    fn retelling_is_bounded_and_keeps_both_ends() {
        let mut history = vec![person("the wish")];
        for n in 0..200 {
            history.push(call(&n.to_string()));
            history.push(result(&n.to_string(), 500));
        }
        history.push(person("the end"));
        let text = retold(&history, 4_000);
        assert!(text.len() < 4_100 && text.contains("the wish") && text.contains("the end"));
        assert!(text.contains("left out"));
    }
}
