//! Owns: `agentctl sessions`: list, show, clients, new, rename; the rest of a session's life is in `lifecycle.rs`.

use agentd_proto::transcript::{Kind, Transcript};
use agentd_proto::{escape, format, id, pb};

use super::lifecycle::{self, Change};
use super::transfer;
use crate::args::{Order, SessionsList, SessionsNew, SessionsVerb, Shell, State};
use crate::context::{Context, Wanted, empty_answer};
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::render::{Look, json, line, text};
use crate::time;
use serde_json::json;

/// Items of the transcript that `show` ends with.
const LAST_ITEMS: usize = 10;

const COLUMNS: &[Column] = &[
    fixed("ID", 9),
    fixed("STATE", 8),
    flexible("NAME", 7, 12),
    flexible("MODEL", 2, 8),
    fixed("CTX", 3),
    fixed("COST", 5),
    fixed("AGE", 4),
    flexible("LAST", 1, 12),
];

const CLIENTS: &[Column] = &[
    fixed("CLIENT", 6),
    flexible("WHO", 2, 8),
    fixed("TERMINAL", 8),
    fixed("SINCE", 5),
];

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: SessionsVerb) -> Result<u8, Failure> {
    match verb {
        SessionsVerb::List(args) => list(context, args).await,
        SessionsVerb::Show(args) if args.context => {
            let session = context.target(args.target.as_deref()).await?;
            super::fill::show(context, &session).await
        }
        SessionsVerb::Show(args) => show(context, args.target.as_deref()).await,
        SessionsVerb::New(args) => new(context, args).await,
        SessionsVerb::Clients(args) => clients(context, args.target.as_deref()).await,
        SessionsVerb::Pause(args) => lifecycle::pause(context, args).await,
        SessionsVerb::Resume(args) => {
            lifecycle::change(context, args.target.as_deref(), Change::Resume).await
        }
        SessionsVerb::Archive(args) => {
            lifecycle::change(context, args.target.as_deref(), Change::Archive).await
        }
        SessionsVerb::Unarchive(args) => {
            lifecycle::change(context, args.target.as_deref(), Change::Unarchive).await
        }
        SessionsVerb::Restore(args) => {
            lifecycle::change(context, args.target.as_deref(), Change::Restore).await
        }
        SessionsVerb::Fork(args) => transfer::fork(context, args).await,
        SessionsVerb::Export(args) => transfer::export(context, args).await,
        SessionsVerb::Import(args) => transfer::import(context, args).await,
        SessionsVerb::Redact(args) => transfer::redact(context, args).await,
        SessionsVerb::Delete(args) => lifecycle::delete(context, args).await,
        SessionsVerb::Rename { target, name } => {
            let session = context.session(&target).await?;
            let request = pb::RenameSessionRequest {
                request_id: id::request_id(),
                session_id: session.session_id.clone(),
                name: name.clone(),
            };
            context.client.rename_session(request).await?;
            context.out.note(&format!(
                "{} is now called '{}'",
                session.session_id,
                agentd_proto::escape::line(&name)
            ));
            Ok(exit::OK)
        }
    }
}

/// `sessions list`, also as `ls` and `ps`.
pub(crate) async fn list(context: &Context, args: SessionsList) -> Result<u8, Failure> {
    let mut states: Vec<i32> = args.state.iter().map(|state| i32::from(wire(*state))).collect();
    if args.all {
        use pb::SessionState as S;
        states = [
            S::Ready,
            S::Working,
            S::NeedsYou,
            S::Paused,
            S::Failed,
            S::Archived,
        ]
        .map(i32::from)
        .to_vec();
    }
    let workspace = if args.here {
        context.workspace()?.root
    } else {
        String::new()
    };
    let page_size = u32::try_from(args.limit.clamp(1, 1000)).unwrap_or(1000);
    let request = pb::ListSessionsRequest {
        states,
        workspace,
        page_size,
        page_token: String::new(),
        order: order(args.sort).into(),
    };
    if args.watch {
        return watch(context, request, args.limit).await;
    }
    let mut sessions = context.sessions_where(request).await?;
    sessions.truncate(args.limit);
    print(context, &sessions)
}

/// The list, again and again: whenever a session changes.
async fn watch(context: &Context, request: pb::ListSessionsRequest, limit: usize) -> Result<u8, Failure> {
    let everything = pb::WatchRequest {
        subscriptions: Vec::new(),
        sessions: true,
        ..Default::default()
    };
    let mut changes = context.client.watch(everything).await?;
    loop {
        let mut sessions = context.sessions_where(request.clone()).await?;
        sessions.truncate(limit);
        if context.out.out_tty {
            context.out.clear()?;
        }
        print(context, &sessions)?;
        // One change comes seldom alone: what arrives within a breath is shown in one go.
        let _first = changes.next().await;
        let pause = tokio::time::sleep(std::time::Duration::from_millis(200));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                _more = changes.next() => {}
            }
        }
    }
}

fn order(order: Order) -> pb::SessionOrder {
    match order {
        Order::Activity => pb::SessionOrder::Activity,
        Order::Name => pb::SessionOrder::Name,
        Order::Created => pb::SessionOrder::Created,
        Order::Cost => pb::SessionOrder::Cost,
    }
}

fn print(context: &Context, sessions: &[pb::Session]) -> Result<u8, Failure> {
    if context.out.is_json() {
        context
            .out
            .json_list(sessions.iter().map(json::session).collect())?;
        return Ok(exit::OK);
    }
    if sessions.is_empty() && context.out.out_tty {
        context.out.note("no sessions · agentctl run \"…\" makes one");
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    table::print(&context.out, COLUMNS, &rows)?;
    for session in sessions.iter().filter(|one| one.jail() == pb::JailKind::Outer) {
        context
            .out
            .important(&format!("{}: jail: none (outer)", session.session_id));
    }
    Ok(exit::OK)
}

fn row(session: &pb::Session) -> Vec<String> {
    let cost = if session.cost_known {
        Some(session.cost_micro_usd)
    } else {
        None
    };
    vec![
        session.session_id.clone(),
        text::state(session.state()),
        session.name.clone(),
        text::or_unknown(&session.model),
        format::context(session.context_tokens, session.context_window_tokens),
        format::money(cost),
        format::age(time::age(session.update_time)),
        text::or_unknown(&session.last_line),
    ]
}

async fn show(context: &Context, target: Option<&str>) -> Result<u8, Failure> {
    let session = context.target(target).await?;
    let jobs = jobs(context, &session.session_id).await?;
    let mut fields = text::session_fields(&session);
    fields.extend(jobs.iter().map(|job| ("background", text::job(job))));
    let mut value = json::session(&session);
    if let Some(value) = value.as_object_mut() {
        value.insert("background".to_owned(), jobs.iter().map(json::job).collect());
    }
    text::document(&context.out, &fields, &value)?;
    if context.out.is_json() || context.out.format == crate::args::Format::Plain {
        return Ok(exit::OK);
    }
    let page = context
        .client
        .list_events(pb::ListEventsRequest {
            session_id: session.session_id.clone(),
            before_seq: session.head + 1,
            page_size: 100,
            ..Default::default()
        })
        .await?;
    let mut transcript = Transcript::default();
    for event in &page.events {
        transcript.apply(event);
    }
    let items = transcript.items();
    if !items.is_empty() {
        context.out.line("")?;
    }
    for item in items.iter().skip(items.len().saturating_sub(LAST_ITEMS)) {
        for (look, line) in line::stamped(item, line::added(item)).into_iter().take(2) {
            let line = table::cut(&line, context.out.width);
            context
                .out
                .line(&look.map_or_else(|| line.clone(), |look| context.out.paint(look, &line)))?;
        }
    }
    // Who is stopped by a budget needs more room before anything else.
    let stopped = items.iter().rev().find_map(|item| match &item.kind {
        Kind::TurnEnd(end) => Some(end),
        _ => None,
    });
    let over = stopped.filter(|end| {
        end.outcome() == pb::TurnOutcome::OverBudget && session.state() == pb::SessionState::Paused
    });
    let next = match over {
        Some(end) if !end.hints.is_empty() => end.hints.join("   then: "),
        _ => text::session_next(&session),
    };
    let next = format!("next: {}", escape::line(&next));
    context
        .out
        .line(&format!("\n{}", context.out.paint(Look::Bold, &next)))?;
    Ok(exit::OK)
}

/// What commands of a session left running in the background. A daemon of an earlier release can't tell.
pub(crate) async fn jobs(context: &Context, session_id: &str) -> Result<Vec<pb::Job>, Failure> {
    let request = pb::ListJobsRequest {
        session_id: session_id.to_owned(),
    };
    match context.client.list_jobs(request).await {
        Ok(answer) => Ok(answer.jobs),
        Err(error) if error.cause == agentd_proto::Cause::Version => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// `sessions clients`: who follows it.
async fn clients(context: &Context, target: Option<&str>) -> Result<u8, Failure> {
    let session = context.target(target).await?;
    let request = pb::ListClientsRequest {
        session_id: session.session_id.clone(),
    };
    let clients = context.client.list_clients(request).await?.clients;
    if context.out.is_json() {
        let value = |one: &pb::AttachedClient| {
            json!({"client": one.client, "principal": one.principal, "input": one.input,
                "attach_time": time::rfc3339(one.attach_time)})
        };
        context.out.json_list(clients.iter().map(value).collect())?;
        return Ok(exit::OK);
    }
    if clients.is_empty() && context.out.out_tty {
        context.out.note(&format!(
            "nobody follows {}",
            agentd_proto::escape::line(&session.name)
        ));
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = clients
        .iter()
        .map(|one| {
            vec![
                one.client.clone(),
                one.principal.clone(),
                if one.input { "input" } else { "view" }.to_owned(),
                format::age(time::age(one.attach_time)),
            ]
        })
        .collect();
    table::print(&context.out, CLIENTS, &rows)?;
    Ok(exit::OK)
}

async fn new(context: &Context, args: SessionsNew) -> Result<u8, Failure> {
    let workspace = context.workspace()?;
    let wanted = Wanted {
        origin: pb::SessionOrigin::Agent,
        layout: args.layout,
        jail: args.jail,
        network: super::network::mode(args.net),
        flags: args.flags,
        shell: match args.shell {
            None => pb::ShellKind::Unspecified,
            Some(Shell::Sh) => pb::ShellKind::Sh,
            Some(Shell::Bash) => pb::ShellKind::Bash,
        },
        model: args.model,
        log: args.log,
        ..Wanted::default()
    };
    let session = context
        .create(
            &workspace,
            args.name.as_deref().unwrap_or_default(),
            false,
            &wanted,
        )
        .await?;
    if session.session_id.is_empty() {
        return Err(empty_answer());
    }
    context.warn_outer(&session);
    if context.out.is_json() {
        context.out.json(&json::session(&session))?;
    } else {
        context
            .out
            .note(&format!("made {} on {}", session.name, session.workspace));
        context.out.line(&session.session_id)?;
    }
    Ok(exit::OK)
}

fn wire(state: State) -> pb::SessionState {
    match state {
        State::Ready => pb::SessionState::Ready,
        State::Working => pb::SessionState::Working,
        State::NeedsYou => pb::SessionState::NeedsYou,
        State::Paused => pb::SessionState::Paused,
        State::Failed => pb::SessionState::Failed,
        State::Archived => pb::SessionState::Archived,
        State::Deleted => pb::SessionState::Deleted,
    }
}
