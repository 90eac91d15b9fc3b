//! Owns: cassettes: what a model said, step by step, in a file; and the model that says it again.
//! Guarantees: offline and deterministic: the same history gives the same next step, so a turn can be resumed and
//! tested; a history that is not the recorded one gives a clear error, never another step.
//!
//! A cassette is one JSON object a line: first `{"cassette": …}`, then `{"prompt": …}` for what a person said,
//! `{"step": …}` for what the model answered, and `{"result": …}` for how a tool call ended, in their order.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};

use super::error::ModelError;
use super::{Finish, Model, ModelEvent, ModelRequest, StepReply};
use crate::domain::id::CallId;
use crate::domain::message::{Message, Part, Role};
use crate::domain::tool::EditDialect;
use crate::domain::usage::Tokens;

/// How a model reference to a cassette begins; the file's path follows.
pub const PREFIX: &str = "cassette:";
/// Version of the format.
pub const FORMAT: u32 = 1;
/// Largest file.
pub const LARGEST: u64 = 60 * 1024 * 1024;

/// A line of a cassette.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first one.
    Cassette(Head),
    /// What a person said, as one message.
    Prompt {
        /// Its pieces.
        parts: Vec<Part>,
    },
    /// What the model answered.
    Step(Step),
    /// How a tool call ended. Not played: what tools do is done again.
    Result {
        /// Which call.
        call_id: CallId,
        /// True when it succeeded.
        ok: bool,
        /// What the model read; cut when long.
        text: String,
    },
}

/// What a cassette is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Version of the format.
    pub format: u32,
    /// The model that spoke.
    pub model: String,
    /// The edit tool it was offered.
    pub dialect: EditDialect,
    /// The release that wrote it.
    #[serde(default)]
    pub agentd: String,
}

/// One answer of the model, or its failure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it said.
    pub parts: Vec<Part>,
    /// Why it stopped.
    #[serde(default)]
    pub finish: String,
    /// What it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// The request failed, with these words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A step, and how much had been said before it.
#[derive(Debug)]
struct Placed {
    prompts: usize,
    answers: usize,
    step: Step,
}

/// The model of a cassette.
#[derive(Debug)]
pub struct CassetteModel {
    name: String,
    head: Head,
    steps: Arc<[Placed]>,
}

impl CassetteModel {
    /// Reads the file of a reference `cassette:FILE`; the path is absolute.
    pub fn open(reference: &str) -> Result<Self, ModelError> {
        let path = PathBuf::from(reference.strip_prefix(PREFIX).unwrap_or(reference));
        let lines = read(&path).map_err(|why| ModelError::UnknownModel {
            name: reference.to_owned(),
            why,
            suggestions: Vec::new(),
        })?;
        Ok(Self::of(reference, lines))
    }

    fn of(reference: &str, (head, lines): (Head, Vec<Line>)) -> Self {
        let (mut prompts, mut answers, mut steps) = (0, 0, Vec::new());
        for line in lines {
            match line {
                Line::Prompt { .. } => prompts += 1,
                Line::Step(step) => {
                    let said = !step.parts.is_empty();
                    steps.push(Placed {
                        prompts,
                        answers,
                        step,
                    });
                    answers += usize::from(said);
                }
                Line::Cassette(_) | Line::Result { .. } => {}
            }
        }
        Self {
            name: reference.to_owned(),
            head,
            steps: steps.into(),
        }
    }

    /// The step that follows this history.
    fn next(&self, messages: &[Message]) -> Result<&Step, ModelError> {
        // What the daemon puts beside the words is nobody's message.
        let spoken = |message: &&Message| !message.is_beside();
        let count = |role: Role| {
            messages
                .iter()
                .filter(spoken)
                .filter(|message| message.role == role)
                .count()
        };
        let (prompts, answers) = (count(Role::User), count(Role::Assistant));
        let exact = |placed: &&Placed| placed.prompts == prompts && placed.answers == answers;
        let last = messages.iter().rfind(|message| message.role == Role::Assistant);
        // Where the history was made shorter, or a message came earlier or later than it did, what the model said
        // last tells where it stands.
        let found = self.steps.iter().find(exact).or_else(|| {
            let said = &last?.parts;
            let at = self.steps.iter().rposition(|placed| &placed.step.parts == said)?;
            self.steps.get(at.saturating_add(1))
        });
        found.map(|placed| &placed.step).ok_or_else(|| {
            ModelError::Config(format!(
                "the cassette has {} steps and none that follows {answers} answers to {prompts} messages",
                self.steps.len()
            ))
        })
    }

    fn events(&self, request: &ModelRequest) -> Vec<Result<ModelEvent, ModelError>> {
        let step = match self.next(&request.messages) {
            Ok(step) => step,
            Err(error) => return vec![Err(error)],
        };
        if let Some(message) = &step.error {
            return vec![Err(ModelError::Server {
                status: None,
                message: message.clone(),
                retry_after: None,
            })];
        }
        let mut events = Vec::new();
        let mut calls = 0;
        for part in &step.parts {
            match part {
                Part::Text { text } => events.push(Ok(ModelEvent::TextDelta(text.clone()))),
                Part::Reasoning { text, .. } => events.push(Ok(ModelEvent::ReasoningDelta(text.clone()))),
                Part::ToolCall(call) => {
                    events.push(Ok(ModelEvent::ToolCallDelta {
                        index: calls,
                        call_id: Some(call.call_id.clone()),
                        tool: Some(call.tool.clone()),
                        arguments: call.arguments.clone(),
                    }));
                    calls += 1;
                }
                _ => {}
            }
        }
        events.push(Ok(ModelEvent::Finished(StepReply {
            parts: step.parts.clone(),
            finish: match step.finish.as_str() {
                "" if calls > 0 => Finish::ToolCalls,
                "" | "stop" => Finish::Stop,
                "tool_calls" => Finish::ToolCalls,
                "length" => Finish::Length,
                "content_filter" => Finish::ContentFilter,
                other => Finish::Other(other.to_owned()),
            },
            tokens: step.tokens,
            // Played again it costs nothing.
            reported_cost_micro_usd: Some(0),
            first_token: Some(Duration::ZERO),
            total: Duration::ZERO,
            retries: 0,
        })));
        events
    }
}

impl Model for CassetteModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn dialect(&self) -> EditDialect {
        self.head.dialect
    }

    fn is_demo(&self) -> bool {
        false
    }

    fn context_tokens(&self) -> Option<u64> {
        None
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        stream::iter(self.events(&request)).boxed()
    }
}

/// Reads a cassette. The error is a sentence that names the line.
fn read(path: &Path) -> Result<(Head, Vec<Line>), String> {
    if !path.is_absolute() {
        return Err("a cassette is named by an absolute path".into());
    }
    // A FIFO would be waited for.
    let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !meta.is_file() || meta.len() > LARGEST {
        return Err("it is no file of at most 60 MiB".into());
    }
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    parse(&text)
}

fn parse(text: &str) -> Result<(Head, Vec<Line>), String> {
    let mut head = None;
    let mut lines = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        // What is wrong with a line is said without quoting it: the file may be any.
        let line: Line = serde_json::from_str(line).map_err(|error| {
            format!(
                "line {} is not of a cassette (column {})",
                number + 1,
                error.column()
            )
        })?;
        match line {
            Line::Cassette(found) if head.is_none() && number == 0 => head = Some(found),
            Line::Cassette(_) => return Err(format!("line {} is a second beginning", number + 1)),
            line => lines.push(line),
        }
    }
    let head = head.ok_or("it does not begin as a cassette does")?;
    if head.format != FORMAT {
        return Err(format!(
            "its format is {}, and this agentd knows {FORMAT}",
            head.format
        ));
    }
    Ok((head, lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::ToolCall;

    const HEAD: &str = r#"{"cassette":{"format":1,"model":"openai/gpt-5","dialect":"apply_patch"}}"#;

    fn text(role: Role, text: &str) -> Message {
        Message {
            role,
            parts: vec![Part::Text { text: text.into() }],
        }
    }

    fn model(lines: &str) -> CassetteModel {
        CassetteModel::of("cassette:/x", parse(&format!("{HEAD}\n{lines}")).unwrap())
    }

    #[test]
    fn each_history_has_its_next_step_and_a_foreign_one_has_none() {
        let call = r#"{"type":"tool_call","call_id":"c1","tool":"read","arguments":"{}"}"#;
        let model = model(&format!(
            r#"{{"prompt":{{"parts":[{{"type":"text","text":"a"}}]}}}}
{{"step":{{"parts":[{call}]}}}}
{{"step":{{"parts":[{{"type":"text","text":"one"}}]}}}}
{{"prompt":{{"parts":[]}}}}
{{"step":{{"parts":[],"error":"503"}}}}
{{"prompt":{{"parts":[]}}}}
{{"step":{{"parts":[{{"type":"text","text":"two"}}]}}}}"#
        ));
        assert_eq!(model.dialect(), EditDialect::ApplyPatch);
        let user = || text(Role::User, "x");
        let called = Message {
            role: Role::Assistant,
            parts: vec![Part::ToolCall(ToolCall {
                call_id: CallId("c1".into()),
                tool: "read".into(),
                arguments: "{}".into(),
            })],
        };
        let one = text(Role::Assistant, "one");
        let said = |messages: &[Message]| model.next(messages).map(|step| step.parts.clone());
        assert_eq!(said(&[user()]).unwrap(), called.parts);
        assert_eq!(said(&[user(), called.clone()]).unwrap(), one.parts);
        let second = [user(), called.clone(), one.clone(), user()];
        assert!(model.next(&second).unwrap().error.is_some());
        let third = [user(), called.clone(), one.clone(), user(), user()];
        assert_eq!(said(&third).unwrap(), text(Role::Assistant, "two").parts);
        // A steering message more than was recorded, and a history that was made shorter.
        assert_eq!(said(&[user(), user(), called.clone()]).unwrap(), one.parts);
        let end = [&third[..], &[text(Role::Assistant, "two")]].concat();
        assert!(said(&end).is_err());
        assert!(said(&[user(), text(Role::Assistant, "foreign"), user(), user()]).is_err());
    }

    #[test]
    fn what_is_no_cassette_is_refused_without_quoting_it() {
        for (lines, why) in [
            ("", "does not begin"),
            ("AWS_SECRET=abc", "line 1"),
            (&HEAD.replace(":1,", ":9,"), "format is 9"),
            (&format!("{HEAD}\n{HEAD}"), "second beginning"),
        ] {
            let error = parse(lines).unwrap_err();
            assert!(error.contains(why) && !error.contains("abc"), "{error}");
        }
        assert!(CassetteModel::open("cassette:relative").is_err());
        assert!(CassetteModel::open("cassette:/dev/null").is_err());
    }
}
