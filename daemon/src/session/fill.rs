//! Owns: what fills a session's context, by kind, and the handle's way to ask for that and for a compaction.
//! Guarantees: pure but for the asking; figures are estimates from sizes, the total is the server's where it counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mailbox::{Standing, Wish};
use super::{Fault, SessionHandle, prompt};
use crate::domain::command::{Command, Reply};
use crate::domain::context::{ContextKind, IMAGE_TOKENS, PlanItem, tokens_of};
use crate::domain::id::{Seq, TurnId};
use crate::domain::message::{Message, Part, Role};
use crate::domain::principal::Caller;
use crate::domain::session::clip;
use crate::model::dialect_of;
use crate::store::RequestKey;
use crate::tools::Registry;

/// How many of the largest pieces are named.
const LARGEST: usize = 10;

/// What fills a context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Tokens the next request sends at least.
    pub tokens: u64,
    /// Size of the window, where known.
    pub window: Option<u64>,
    /// Where that is known from: `configured`, `learned`, `catalog`, or empty.
    pub window_source: &'static str,
    /// By kind, largest first.
    pub shares: Vec<Share>,
    /// The largest pieces, largest first.
    pub largest: Vec<Piece>,
    /// Tokens at which it is compacted by itself.
    pub compact_at: Option<u64>,
    /// Times it was compacted.
    pub compactions: u32,
    /// Messages in it.
    pub messages: u32,
    /// The agent's plan.
    pub plan: Vec<PlanItem>,
    /// Instruction files in it.
    pub instruction_files: Vec<String>,
}

/// A share of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Stable word.
    pub kind: &'static str,
    /// Pieces.
    pub count: u32,
    /// Tokens.
    pub tokens: u64,
}

/// One of its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Stable word.
    pub kind: &'static str,
    /// A path, a command, a first line.
    pub name: String,
    /// Tokens.
    pub tokens: u64,
}

impl SessionHandle {
    /// What fills its context.
    pub async fn context(&self) -> Result<Context, Fault> {
        let Standing { session, history } = self.actor.context().await?;
        let name = session.model.as_ref().map(|m| m.name.clone()).unwrap_or_default();
        let settings = self.execs.settings();
        let (window, window_source) = settings
            .models()
            .window(&name, session.model.as_ref().and_then(|m| m.context_tokens));
        let dialect = dialect_of(&name);
        let specs = Registry::for_dialect(dialect).specs_of(&session.persona);
        let system = prompt::instructions(&session.spec, &session.persona, dialect);
        let tools: usize = specs.iter().map(spec_bytes).sum();
        let mut found = vec![
            piece("system", "system text", system.len() as u64),
            piece("tools", "tools", tools as u64),
        ];
        for message in &history {
            found.extend(pieces(message));
        }
        let messages = u32::try_from(history.len()).unwrap_or(u32::MAX);
        let estimated = found.iter().map(|p| p.tokens).fold(0, u64::saturating_add);
        let (shares, largest) = summed(found);
        Ok(Context {
            tokens: match session.spent.context_tokens {
                0 => estimated,
                counted => counted.saturating_add(tokens_of(session.heard.fresh_bytes)),
            },
            window,
            window_source,
            shares,
            largest,
            compact_at: settings.compact_at(window),
            compactions: session.heard.compactions,
            messages,
            plan: session.plan.to_vec(),
            instruction_files: session.heard.instructed.keys().cloned().collect(),
        })
    }

    /// Replaces earlier messages by a summary, now or before the open turn's next step.
    pub async fn compact(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        focus: String,
    ) -> Result<Seq, Fault> {
        let wish = Wish {
            command: Command::Compact {
                focus,
                turn_id: TurnId::random(),
            },
            caller,
            request,
            model: None,
            launch: None,
        };
        match self.actor.wish(wish).await? {
            Reply::Done { seq } => Ok(seq),
            _ => Ok(self.summary().head),
        }
    }
}

/// About how many bytes a tool's description is in a request.
pub(super) fn spec_bytes(spec: &crate::domain::tool::ToolSpec) -> usize {
    // The wire's own words around it.
    const AROUND: usize = 60;
    spec.name.len() + spec.description.len() + spec.parameters.to_string().len() + AROUND
}

fn piece(kind: &'static str, name: &str, bytes: u64) -> Piece {
    Piece {
        kind,
        name: clip(
            name.lines()
                .map(str::trim)
                .find(|l| !l.is_empty())
                .unwrap_or_default(),
            80,
        ),
        tokens: tokens_of(bytes),
    }
}

fn pieces(message: &Arc<Message>) -> Vec<Piece> {
    let of = |part: &Part| match part {
        Part::Text { text } if message.role == Role::User => piece("you", text, part.weight()),
        Part::Text { text } => piece("agent", text, part.weight()),
        Part::Attachment { name, .. } => piece("attachments", name, part.weight()),
        Part::Image { name, .. } => Piece {
            tokens: IMAGE_TOKENS,
            ..piece("images", name, 0)
        },
        Part::Context(item) => {
            let kind = match item.kind {
                ContextKind::Environment => "environment",
                ContextKind::Instructions => "instructions",
                ContextKind::Mention => "mentions",
                ContextKind::Summary => "summary",
                ContextKind::Schema | ContextKind::Note => "notes",
            };
            piece(kind, &item.name, part.weight())
        }
        Part::Reasoning { text, .. } => piece("reasoning", text, part.weight()),
        Part::ToolCall(call) => piece(
            "tool_calls",
            &format!("{} {}", call.tool, call.arguments),
            part.weight(),
        ),
        Part::ToolResult(result) => piece("tool_results", &result.text, part.weight()),
    };
    message.parts.iter().map(of).collect()
}

fn summed(mut found: Vec<Piece>) -> (Vec<Share>, Vec<Piece>) {
    let mut sums: BTreeMap<&'static str, (u32, u64)> = BTreeMap::new();
    for piece in &found {
        let sum = sums.entry(piece.kind).or_default();
        sum.0 = sum.0.saturating_add(1);
        sum.1 = sum.1.saturating_add(piece.tokens);
    }
    let mut shares: Vec<Share> = sums
        .into_iter()
        .map(|(kind, (count, tokens))| Share { kind, count, tokens })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.tokens));
    found.sort_by_key(|piece| std::cmp::Reverse(piece.tokens));
    found.truncate(LARGEST);
    (shares, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_summed_by_kind_largest_first() {
        let said = Arc::new(Message {
            role: Role::User,
            parts: vec![
                Part::Text {
                    text: "\n look at this".into(),
                },
                Part::Attachment {
                    name: "big.log".into(),
                    text: "x".repeat(7_000),
                },
            ],
        });
        let (shares, largest) = summed(pieces(&said));
        let kinds: Vec<_> = shares.iter().map(|s| (s.kind, s.count)).collect();
        assert_eq!(kinds, [("attachments", 1), ("you", 1)]);
        assert_eq!(largest.first().map(|p| p.name.as_str()), Some("big.log"));
        assert!((2_000..2_020).contains(&shares[0].tokens), "{shares:?}");
        assert_eq!(largest[1].name, "look at this");
    }
}
