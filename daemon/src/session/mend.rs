//! Owns: what a model request that failed leads to: a smaller context, no pictures, another model, or the turn's end.
//! Guarantees: every request is in the ledger; another model only where one is configured, and said; bounded tries.

use std::sync::Arc;
use std::sync::PoisonError;

use super::mailbox::TurnView;
use super::turn::{Gone, Next, TurnJob};
use super::{prompt, trace_id};
use crate::domain::command::Command;
use crate::domain::context::CompactReason;
use crate::domain::event::{EventBody, TurnOutcome};
use crate::domain::message::{Message, Part, Role};
use crate::domain::principal::Caller;
use crate::domain::session::clip;
use crate::domain::usage::{Cost, CostSource, Usage};
use crate::model::{Environment, Model, ModelError, ModelRequest};
use crate::tools::Registry;

/// How often one step may be refused as too long before the turn gives up.
const REFUSALS: u32 = 3;

impl TurnJob {
    /// The model at work.
    pub(super) fn model(&self) -> Arc<dyn Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request over these messages.
    pub(super) fn request(
        &self,
        view: &TurnView,
        mut messages: Vec<Message>,
        tools: &Registry,
    ) -> ModelRequest {
        let model = self.model();
        if self.settings.models().refuses_images(model.name()) {
            without_images(&mut messages);
        }
        ModelRequest {
            instructions: prompt::instructions(&view.spec, &view.persona, model.dialect()),
            messages: messages.into(),
            tools: tools.specs_of(&view.persona),
            effort: view
                .options
                .effort
                .clone()
                .or_else(|| self.settings.effort.clone()),
            session_key: view.session_id.to_string(),
            approver_present: view.options.approver_present,
        }
    }

    /// A step's request failed for good.
    pub(super) async fn failed(
        &self,
        view: &mut TurnView,
        tools: &Registry,
        number: u32,
        mut usage: Usage,
        error: ModelError,
    ) -> Result<Next, Gone> {
        let model = self.model();
        let models = self.settings.models();
        let mut facts = Vec::new();
        if let ModelError::ContextExceeded { limit, used, .. } = &error {
            // What a server refuses unread costs nothing.
            usage.cost = usage.cost.or(Some(Cost {
                micro_usd: 0,
                source: CostSource::Catalog,
            }));
            let expected = self.expected(view, tools);
            let learned = limit.unwrap_or_else(|| used.unwrap_or(expected).min(expected.max(1)) / 10 * 9);
            models.learn_window(model.name(), learned);
            let fact = self.step_fact(number, Vec::new(), "failed", usage);
            if self.settings.compacts() && self.brief.refused() < REFUSALS {
                *view = self.actor.record(&self.turn_id, vec![fact]).await?.ok_or(Gone)?;
                if self.compact(view, tools, CompactReason::Refused).await? {
                    return Ok(Next::Go(None));
                }
            } else {
                facts.push(fact);
            }
        } else if says_images(&error) && has_images(view) && models.refuse_images(model.name()) {
            usage.cost = usage.cost.or(Some(Cost {
                micro_usd: 0,
                source: CostSource::Catalog,
            }));
            facts.push(self.step_fact(number, Vec::new(), "failed", usage));
            facts.push(EventBody::NoticeRecorded {
                code: "images_refused".into(),
                message: format!(
                    "{} does not take pictures; it is told their names only. Pick a model that sees to show them",
                    model.name()
                ),
            });
            *view = self.actor.record(&self.turn_id, facts).await?.ok_or(Gone)?;
            return Ok(Next::Go(None));
        } else {
            facts.push(self.step_fact(number, Vec::new(), "failed", usage));
            if let Some(next) = self.next_fallback(&error) {
                facts.push(EventBody::NoticeRecorded {
                    code: "model_fallback".into(),
                    message: format!(
                        "{} can't be had ({error}); this turn goes on with {}",
                        model.name(),
                        next.name()
                    ),
                });
                *self.model.lock().unwrap_or_else(PoisonError::into_inner) = next;
                *view = self.actor.record(&self.turn_id, facts).await?.ok_or(Gone)?;
                return Ok(Next::Go(None));
            }
        }
        let outcome = TurnOutcome::Failed {
            reason: error.reason_code().to_owned(),
            message: error.to_string(),
            hints: error.hints(),
        };
        self.finish(facts, outcome).await?;
        Ok(Next::Over)
    }

    /// The next configured model after this failure, if it is one that another model could be without.
    fn next_fallback(&self, error: &ModelError) -> Option<Arc<dyn Model>> {
        let elsewhere = error.retryable()
            || matches!(
                error,
                ModelError::QuotaExhausted { .. }
                    | ModelError::AuthMissing { .. }
                    | ModelError::AuthRejected { .. }
                    | ModelError::Tls { .. }
            );
        if !elsewhere {
            return None;
        }
        let mut tried = self.fallbacks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(name) = self.settings.fallback.get(*tried) {
            *tried = tried.saturating_add(1);
            if *name == self.model().name() {
                continue;
            }
            match self.settings.models().resolve(name, &Environment::default()) {
                Ok(model) => return Some(model),
                Err(error) => tracing::warn!(%error, model = %name, "a fallback model can't be had"),
            }
        }
        None
    }

    /// Has the small model say in a line what the session is about. Nobody waits for it.
    pub(super) fn choose_title(&self, view: &TurnView) {
        if view.titled {
            return;
        }
        let Some(model) = self.small_model().filter(|model| !model.is_demo()) else {
            return;
        };
        let mut wishes = view
            .history
            .iter()
            .filter(|m| m.role == Role::User)
            .map(|m| m.text());
        let Some(wish) = wishes.find(|text| !text.trim().is_empty()) else {
            return;
        };
        let request = ModelRequest {
            instructions: prompt::TITLER.into(),
            messages: vec![Message::user(clip(&wish, 4_000))].into(),
            tools: Vec::new().into(),
            effort: None,
            session_key: view.session_id.to_string(),
            approver_present: false,
        };
        let (actor, settings) = (self.actor.clone(), self.settings.clone());
        tokio::spawn(async move {
            let reply = match super::compact::ask(&model, request).await {
                Ok(reply) => reply,
                Err(error) => return tracing::warn!(%error, "no model wrote the title"),
            };
            let usage = super::step::usage(&model, &reply, &settings.models());
            let said = super::compact::text_of(&reply);
            let line = said
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .unwrap_or_default();
            let (title, _) = crate::domain::context::reveal(line.trim_matches(['"', '\'', '*', '#', ' ']));
            let command = Command::ChooseTitle {
                title: clip(&title, crate::domain::heard::MAX_TITLE_CHARS),
                usage: Some(usage),
            };
            actor.tell(Caller::daemon(trace_id()), command).await;
        });
    }
}

/// True when a server's "no" is about pictures.
fn says_images(error: &ModelError) -> bool {
    let message = match error {
        ModelError::BadRequest { message, .. } | ModelError::Server { message, .. } => message,
        _ => return false,
    };
    let message = message.to_ascii_lowercase();
    ["image", "vision", "multimodal", "mmproj"]
        .iter()
        .any(|word| message.contains(word))
}

fn has_images(view: &TurnView) -> bool {
    let mut parts = view.history.iter().flat_map(|message| &message.parts);
    parts.any(|part| matches!(part, Part::Image { .. }))
}

fn without_images(messages: &mut [Message]) {
    for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
        if let Part::Image { name, .. } = part {
            *part = Part::Text {
                text: format!("[a picture named {name} was attached; this model can't see pictures]"),
            };
        }
    }
}
