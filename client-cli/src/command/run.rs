//! Owns: `agentctl run`: one turn of the agent, from the prompt to an exit code.
//! Guarantees: the turn does not depend on this process; exit code 0 means that there was an answer.

use agentd_proto::{Client, id, pb};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::prompt;
use super::turn::{Approvals, Mode, Turn};
use crate::args::{Format, OnApproval, RunArgs};
use crate::context::{Context, Wanted};
use crate::exit::{self, Failure};

/// The signals a turn reacts to.
pub(crate) struct Signals {
    pub(crate) interrupt: Signal,
    pub(crate) hangup: Signal,
    pub(crate) terminate: Signal,
}

impl Signals {
    /// From now on these signals are this program's business.
    pub(crate) fn new() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(exit::FAILED, "signals", error.to_string());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            hangup: signal(SignalKind::hangup()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }
}

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: RunArgs) -> Result<u8, Failure> {
    let parts = prompt::parts(context, &args.prompt, &args.file).await?;
    let approvals = approvals(context, &args)?;
    let mut signals = Signals::new()?;
    let posting = post(context, &args, parts, approvals);
    let (session, posted) = tokio::select! {
        posted = posting => posted?,
        _ = signals.interrupt.recv() => return Err(Failure::silent(exit::INTERRUPTED)),
        _ = signals.terminate.recv() => return Err(Failure::silent(exit::TERMINATED)),
    };
    context.warn_outer(&session);
    if args.detach {
        context.out.note(&format!(
            "posted to {} · agentctl attach {}",
            session.name, session.session_id
        ));
        context.out.line(&session.session_id)?;
        context.warn_leaving().await;
        return Ok(exit::OK);
    }
    if posted.queued {
        let name = &session.name;
        // What it was as the message came to it.
        context.out.note(&match session.approval_ids.first() {
            Some(approval) => format!("queued: {name} waits for an answer · agentctl approve {approval}"),
            None => format!("queued: {name} is at work on an earlier message"),
        });
    }
    let mode = match context.out.format {
        Format::Jsonl => Mode::Lines,
        Format::Json => Mode::Document,
        _ if args.last || !context.out.out_tty => Mode::Final,
        _ => Mode::Stream,
    };
    let mut turn = Turn::new(context, session, &posted, mode, approvals);
    turn.follow(signals).await
}

/// What to do about approvals: as asked for; else ask where somebody can answer, and leave where nobody can.
fn approvals(context: &Context, args: &RunArgs) -> Result<Approvals, Failure> {
    match args.on_approval {
        Some(OnApproval::Ask) if !context.can_ask() => {
            Err(Failure::usage("--on-approval ask needs a terminal")
                .next("agentctl run --on-approval wait …"))
        }
        Some(OnApproval::Ask) => Ok(Approvals::Ask),
        Some(OnApproval::Wait) => Ok(Approvals::Wait),
        Some(OnApproval::Deny) => Ok(Approvals::Deny),
        Some(OnApproval::Exit) => Ok(Approvals::Exit),
        None if context.can_ask() && !context.out.is_json() => Ok(Approvals::Ask),
        None => Ok(Approvals::Exit),
    }
}

/// The schema that the answer must match; empty: any answer.
fn schema(args: &RunArgs) -> Result<String, Failure> {
    let Some(file) = &args.json_schema else {
        return Ok(String::new());
    };
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read '{shown}': {error}")))?;
    if text.trim().is_empty() {
        return Err(Failure::usage(format!("'{shown}' holds no schema")));
    }
    Ok(text)
}

async fn post(
    context: &Context,
    args: &RunArgs,
    parts: Vec<pb::Part>,
    approvals: Approvals,
) -> Result<(pb::Session, pb::PostMessageResponse), Failure> {
    let wanted = Wanted {
        name: args.name.clone(),
        new: args.new,
        origin: pb::SessionOrigin::Agent,
        layout: args.layout,
        jail: args.jail,
        network: super::network::mode(args.net),
        model: args.model.clone(),
        flags: args.flags.clone(),
        log: args.log,
        persona: args.persona.clone(),
        policy: args.policy.clone(),
        ..Wanted::default()
    };
    let mut session = context.session_for(wanted).await?;
    let chosen = |wish: &str, has: &str| wish.is_empty() || wish == has;
    if !chosen(&args.persona, &session.persona) || !chosen(&args.policy, &session.policy) {
        // It was there before, and works as another.
        session = super::policies::choose(context, &session, &args.persona, &args.policy).await?;
    }
    super::network::host_ports(context, &session, &args.host_port, approvals).await?;
    let on_approval = if approvals == Approvals::Deny {
        pb::OnApproval::Deny
    } else {
        pb::OnApproval::Wait
    };
    let request = pb::PostMessageRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        parts,
        model: args.model.clone().unwrap_or_default(),
        on_approval: on_approval.into(),
        environment: Some(context.environment()),
        expected_head: 0,
        // Off a terminal nobody answers, unless the caller said how it is to be.
        approver_present: args.on_approval.is_some() || approvals == Approvals::Ask,
        max_steps: args.max_turns.unwrap_or_default(),
        steer: false,
        budget_micro_usd: args.budget.unwrap_or_default(),
        effort: args.effort.clone().unwrap_or_default(),
        json_schema: schema(args)?,
    };
    let posted = context.client.post_message(request).await?;
    Ok((session, posted))
}

/// Tells the daemon to stop the turn; that it has ended meanwhile is as good.
pub(crate) async fn interrupt(client: Client, session_id: String) {
    let request = pb::InterruptTurnRequest {
        request_id: id::request_id(),
        session_id,
    };
    drop(client.without_autostart().interrupt_turn(request).await);
}
