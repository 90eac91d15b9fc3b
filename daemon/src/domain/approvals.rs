//! Owns: what commands about approvals and personas lead to.
//! Guarantees: pure; a question is asked and answered once; a rule is added only when it was offered or is no broader than what
//! was asked; the same persona chosen again leaves no trace.

use std::sync::Arc;

use super::approval::{Approval, Verdict};
use super::event::{EventBody, ModelRef};
use super::id::ApprovalId;
use super::persona::Persona;
use super::policy::{self, Rule};
use super::rejection::Rejection;
use super::session::Session;

/// Asks whether the shell may begin with a project's text; once at a time.
pub(super) fn ask_init(session: &Session, approval: &Approval) -> Vec<EventBody> {
    if session.approvals.iter().any(|open| open.init == approval.init) {
        return Vec::new();
    }
    vec![EventBody::ApprovalRequested {
        approval: approval.clone(),
    }]
}

/// An answer to an open question.
pub(super) fn resolve(
    approval: &Approval,
    verdict: Verdict,
    reason: &str,
    wanted: &[String],
    until_us: Option<i64>,
    now_us: i64,
) -> Result<Vec<EventBody>, Rejection> {
    if matches!(verdict, Verdict::Withdrawn | Verdict::Expired) {
        return Err(Rejection::InvalidArgument(
            "an approval is approved or denied".into(),
        ));
    }
    if approval.expires_us.is_some_and(|expires| expires <= now_us) {
        return Ok(vec![closed(approval, Verdict::Expired, "its time was over")]);
    }
    let stands = matches!(verdict, Verdict::ApprovedSession | Verdict::ApprovedProject);
    let rules = if stands {
        granted(approval, wanted)?
    } else if wanted.is_empty() {
        Vec::new()
    } else {
        return Err(Rejection::InvalidArgument(
            "a rule is added for the session or for the project only".into(),
        ));
    };
    let until_us = match (verdict, until_us) {
        (Verdict::ApprovedProject, Some(until)) if until > now_us => Some(until),
        (Verdict::ApprovedProject, _) => {
            return Err(Rejection::InvalidArgument(
                "a rule for the project needs an end".into(),
            ));
        }
        (_, None) => None,
        (_, Some(_)) => {
            return Err(Rejection::InvalidArgument(
                "only a rule for the project has an end".into(),
            ));
        }
    };
    Ok(vec![EventBody::ApprovalResolved {
        approval_id: approval.approval_id.clone(),
        call_id: approval.call_id.clone(),
        verdict,
        reason: reason.to_owned(),
        rule: (!rules.is_empty()).then(|| rules.join("; ")),
        rules,
        rules_until_us: until_us,
    }])
}

/// The rules an answer adds, as text.
fn granted(approval: &Approval, wanted: &[String]) -> Result<Vec<String>, Rejection> {
    let offered = approval.offered();
    if wanted.is_empty() {
        return if offered.is_empty() {
            let why = if approval.no_rule_why.is_empty() {
                "no exact rule would match only it"
            } else {
                &approval.no_rule_why
            };
            Err(Rejection::InvalidArgument(format!(
                "this one can be approved once, not for the session or project: {why}"
            )))
        } else {
            Ok(offered)
        };
    }
    let rules: Vec<Rule> = offered.iter().filter_map(|text| text.parse().ok()).collect();
    let command = approval.holds_a_call().then_some(approval.detail.as_str());
    let rules = policy::check_rules(&rules, command, wanted).map_err(|refused| match &refused {
        policy::Refused::Unreadable { .. } => Rejection::RuleInvalid(refused.to_string()),
        policy::Refused::Broad { .. } => Rejection::RuleTooBroad {
            message: refused.to_string(),
            hints: offered
                .iter()
                .map(|rule| {
                    format!(
                        "agentctl approve {} --session --rule {}",
                        approval.approval_id,
                        policy::quoted(rule)
                    )
                })
                .chain([format!(
                    "agentctl approve {}   (only this once)",
                    approval.approval_id
                )])
                .collect(),
        },
    })?;
    Ok(rules.iter().map(ToString::to_string).collect())
}

/// The end of a question whose time is over; nothing when it has an answer or time left.
pub(super) fn expire(session: &Session, id: &ApprovalId, now_us: i64) -> Result<Vec<EventBody>, Rejection> {
    let over = session
        .approvals
        .iter()
        .find(|open| &open.approval_id == id && open.expires_us.is_some_and(|expires| expires <= now_us));
    Ok(over
        .map(|approval| closed(approval, Verdict::Expired, "nobody answered in time"))
        .into_iter()
        .collect())
}

/// The answer that nobody gave.
pub(super) fn closed(approval: &Approval, verdict: Verdict, reason: &str) -> EventBody {
    EventBody::ApprovalResolved {
        approval_id: approval.approval_id.clone(),
        call_id: approval.call_id.clone(),
        verdict,
        reason: reason.to_owned(),
        rule: None,
        rules: Vec::new(),
        rules_until_us: None,
    }
}

/// Another persona: the next generation.
pub(super) fn choose_persona(
    session: &Session,
    persona: &Arc<Persona>,
    model: Option<&ModelRef>,
) -> Result<Vec<EventBody>, Rejection> {
    if session.persona == *persona {
        return Ok(Vec::new());
    }
    persona.check_wall(session.spec.jail)?;
    if session.persona.policy.read_only != persona.policy.read_only
        && (!session.execs.is_empty() || session.turn.as_ref().is_some_and(|turn| !turn.calls.is_empty()))
    {
        return Err(Rejection::NotNow {
            message: format!(
                "'{}' makes the workspace {}, and commands run in session '{}'",
                persona.name,
                if persona.policy.read_only {
                    "read-only"
                } else {
                    "writable"
                },
                session.name
            ),
            hints: vec![
                format!("agentctl wait {}", session.session_id),
                format!("agentctl interrupt {}", session.session_id),
            ],
        });
    }
    let model = model.filter(|model| session.model.as_ref() != Some(model));
    let chosen = EventBody::PersonaChosen {
        persona: persona.clone(),
        generation: session.generation.saturating_add(1),
    };
    Ok(std::iter::once(chosen)
        .chain(model.map(|model| EventBody::ModelChosen { model: model.clone() }))
        .collect())
}
