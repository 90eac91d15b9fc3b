//! Owns: `agentctl approvals`, `approve` and `deny`.
//! Guarantees: a question that was decided before is a conflict (exit 6) that names who decided.

use agentd_proto::{escape, format, id, pb};

use crate::args::{ApprovalsVerb, ApproveArgs, DenyArgs};
use crate::context::{Context, empty_answer};
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::render::{json, line, text};
use crate::time;

const COLUMNS: &[Column] = &[
    fixed("ID", 9),
    flexible("SESSION", 7, 10),
    fixed("TOOL", 4),
    flexible("WHAT", 8, 20),
    fixed("AGE", 5),
    flexible("DECISION", 6, 8),
    flexible("WHY", 1, 12),
];

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: ApprovalsVerb) -> Result<u8, Failure> {
    match verb {
        ApprovalsVerb::List { all } => list(context, all).await,
        ApprovalsVerb::Show { approval } => {
            let approval = get(context, &approval).await?;
            text::document(
                &context.out,
                &text::approval_fields(&approval),
                &json::approval(&approval),
            )?;
            if !context.out.is_json() && context.out.format == crate::args::Format::Table {
                for (look, line) in line::approval_lines(&approval).iter().skip(1) {
                    let line = look.map_or_else(|| line.clone(), |look| context.out.paint(look, line));
                    context.out.line(&line)?;
                }
            }
            Ok(exit::OK)
        }
    }
}

async fn list(context: &Context, all: bool) -> Result<u8, Failure> {
    let session_id = match &context.global.session {
        Some(name) => context.session(name).await?.session_id,
        None => String::new(),
    };
    let request = pb::ListApprovalsRequest {
        session_id,
        include_decided: all,
        page_size: 1000,
    };
    let approvals = context.client.list_approvals(request).await?.approvals;
    if context.out.is_json() {
        context
            .out
            .json_list(approvals.iter().map(json::approval).collect())?;
        return Ok(exit::OK);
    }
    if approvals.is_empty() && context.out.out_tty {
        context.out.note("nothing waits for you");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = approvals
        .iter()
        .map(|one| {
            vec![
                one.approval_id.clone(),
                one.session_name.clone(),
                one.tool.clone(),
                one.summary.clone(),
                format::age(time::age(one.create_time)),
                text::decision(one),
                one.why.clone(),
            ]
        })
        .collect();
    table::print(&context.out, COLUMNS, &rows)?;
    Ok(exit::OK)
}

async fn get(context: &Context, approval: &str) -> Result<pb::Approval, Failure> {
    let request = pb::GetApprovalRequest {
        approval_id: approval.to_owned(),
    };
    match context.client.get_approval(request).await {
        Ok(answer) => answer.approval.ok_or_else(empty_answer),
        Err(error) => Err(hinted(error.into())),
    }
}

/// `approve`.
pub(crate) async fn approve(context: &Context, args: ApproveArgs) -> Result<u8, Failure> {
    let decision = if args.project {
        pb::ApprovalDecision::ApprovedProject
    } else if args.for_session {
        pb::ApprovalDecision::ApprovedSession
    } else if args.rule.is_empty() {
        pb::ApprovalDecision::ApprovedOnce
    } else {
        return Err(
            Failure::usage("a rule is added for the session or for the project")
                .next("agentctl approve A --session --rule RULE"),
        );
    };
    let answer = pb::ResolveApprovalRequest {
        decision: decision.into(),
        rules: args.rule,
        expires_in: args.expires.map(|span| prost_types::Duration {
            seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            nanos: 0,
        }),
        ..Default::default()
    };
    resolve(context, &args.approvals, answer).await
}

/// `deny`.
pub(crate) async fn deny(context: &Context, args: DenyArgs) -> Result<u8, Failure> {
    let answer = pb::ResolveApprovalRequest {
        decision: pb::ApprovalDecision::Denied.into(),
        reason: args.reason,
        ..Default::default()
    };
    resolve(context, &args.approvals, answer).await
}

async fn resolve(
    context: &Context,
    approvals: &[String],
    answer: pb::ResolveApprovalRequest,
) -> Result<u8, Failure> {
    let mut decided = Vec::new();
    let mut failed = None;
    for approval in approvals {
        let request = pb::ResolveApprovalRequest {
            request_id: id::request_id(),
            approval_id: approval.clone(),
            ..answer.clone()
        };
        // One refusal must not keep the others from being answered.
        match context.client.resolve_approval(request).await {
            Ok(answer) => decided.extend(answer.approval),
            Err(error) => {
                let failure = hinted(Failure::from(error));
                if failed.is_some() {
                    context.out.failure(&failure);
                } else {
                    failed = Some(failure);
                }
            }
        }
    }
    if context.out.is_json() {
        context
            .out
            .json_list(decided.iter().map(json::approval).collect())?;
    } else {
        for one in &decided {
            let word = agentd_proto::transcript::decision_word(one.decision());
            context.out.note(&format!(
                "{} {word}: {}",
                one.approval_id,
                line::tool_line(&one.tool, &one.summary)
            ));
            for rule in &one.granted_rules {
                let until = match one.grant_expire_time {
                    Some(_) => format!("until {}", time::date_and_clock(one.grant_expire_time)),
                    None => "until the session ends".to_owned(),
                };
                context
                    .out
                    .note(&format!("  rule {until}: {}", escape::line(rule)));
            }
        }
    }
    failed.map_or(Ok(exit::OK), Err)
}

fn hinted(mut failure: Failure) -> Failure {
    if failure.next.is_empty() {
        failure.next.push("agentctl approvals list".to_owned());
    }
    failure
}
