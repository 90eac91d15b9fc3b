//! Owns: what a session works by, as others ask for it and choose it; the answers to its questions.
//! Guarantees: what is answered is what the next decision goes by.

use std::sync::Arc;

use super::{Fault, SessionHandle};
use crate::domain::approval::Verdict;
use crate::domain::command::Command;
use crate::domain::event::ModelRef;
use crate::domain::id::{ApprovalId, Seq};
use crate::domain::persona::Persona;
use crate::domain::policy::Rule;
use crate::domain::principal::Caller;
use crate::domain::session::clip;
use crate::store::RequestKey;

/// An answer to an approval.
pub struct Resolution {
    /// The answer.
    pub verdict: Verdict,
    /// What the decider says; the model sees it on a denial.
    pub reason: String,
    /// Rules in place of the offered ones; empty: those.
    pub rules: Vec<String>,
    /// For the project: until when they count, microseconds since the epoch.
    pub rules_until_us: Option<i64>,
    /// Refuse unless this is the head.
    pub expected_head: Option<Seq>,
}

impl SessionHandle {
    /// Answers an approval.
    pub async fn resolve(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        approval_id: ApprovalId,
        resolution: Resolution,
    ) -> Result<Seq, Fault> {
        let command = Command::ResolveApproval {
            approval_id,
            verdict: resolution.verdict,
            reason: clip(&resolution.reason, 2000),
            rules: resolution.rules,
            rules_until_us: resolution.rules_until_us,
            expected_head: resolution.expected_head,
        };
        self.order(caller, request, command).await
    }

    /// The persona in force, and the rules that were granted to the session and its project.
    pub async fn in_force(&self) -> Result<(Arc<Persona>, Vec<Rule>), Fault> {
        self.actor.in_force().await
    }

    /// Works as another persona from now on; `model`: the one it brings along.
    pub async fn choose_persona(
        &self,
        caller: Caller,
        request: Option<RequestKey>,
        persona: Persona,
        model: Option<ModelRef>,
    ) -> Result<Seq, Fault> {
        let command = Command::ChoosePersona {
            persona: Arc::new(persona),
            model,
        };
        self.order(caller, request, command).await
    }

    /// Says something in the log that a person should know.
    pub async fn notice(&self, caller: Caller, code: &str, message: &str) {
        self.actor.notice(caller, code, message).await;
    }
}
