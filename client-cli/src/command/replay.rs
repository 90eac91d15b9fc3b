//! Owns: `agentctl replay`: a session played again: the model's answers come from a cassette, the tools are real.
//! Guarantees: nothing of the recorded session is changed; where a tool call ends otherwise than it did is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agentd_proto::{escape, format, id, pb};
use serde_json::{Value, json};

use super::run::Signals;
use super::turn::{Approvals, Mode, Turn};
use crate::args::ReplayArgs;
use crate::context::{Context, Wanted};
use crate::exit::{self, Failure};

/// What stands in a cassette, as far as it matters here.
struct Cassette {
    prompts: Vec<Vec<pb::Part>>,
    steps: usize,
    /// How the calls ended.
    results: BTreeMap<String, (bool, String)>,
}

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: ReplayArgs) -> Result<u8, Failure> {
    let file = Path::new(&args.target);
    if let Some(to) = &args.save {
        let data = record(context, &args.target).await?;
        std::fs::File::create_new(to)
            .and_then(|mut out| std::io::Write::write_all(&mut out, &data))
            .map_err(|error| {
                Failure::usage(format!("{}: {error}", to.display())).next("name another file")
            })?;
        let cassette = read(&String::from_utf8_lossy(&data))?;
        context.out.note(&format!(
            "wrote {}: {}, {}; look through it before you give it away",
            to.display(),
            format::count(cassette.prompts.len() as u64, "prompt"),
            format::count(cassette.steps as u64, "step")
        ));
        return Ok(exit::OK);
    }
    if file.is_file() {
        let path = std::path::absolute(file)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        return play(context, path).await;
    }
    let data = record(context, &args.target).await?;
    // The daemon reads it: a place that both know, for as long as this takes.
    let path = std::env::temp_dir().join(format!("agentctl-{}.cassette", id::request_id()));
    let done = match write_private(&path, &data) {
        Ok(()) => play(context, path.clone()).await,
        Err(error) => Err(Failure::new(
            exit::FAILED,
            "write_failed",
            format!("{}: {error}", path.display()),
        )),
    };
    // Never made, or gone already: as wanted.
    let _gone = std::fs::remove_file(&path);
    done
}

fn write_private(path: &Path, data: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, data)
}

async fn record(context: &Context, session: &str) -> Result<Vec<u8>, Failure> {
    let session = context.session(session).await?;
    let request = pb::GetCassetteRequest {
        session_id: session.session_id,
    };
    Ok(context.client.get_cassette(request).await?.data)
}

async fn play(context: &Context, path: PathBuf) -> Result<u8, Failure> {
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let cassette = read(&text)?;
    let model = format!("cassette:{}", path.display());
    let wanted = Wanted {
        new: true,
        origin: pb::SessionOrigin::Agent,
        model: Some(model.clone()),
        ..Wanted::default()
    };
    let session = context.session_for(wanted).await?;
    let mut codes = Vec::new();
    for parts in cassette.prompts.iter().filter(|parts| !parts.is_empty()) {
        let posted = context
            .client
            .post_message(pb::PostMessageRequest {
                request_id: id::request_id(),
                session_id: session.session_id.clone(),
                parts: parts.clone(),
                model: model.clone(),
                on_approval: pb::OnApproval::Wait.into(),
                ..Default::default()
            })
            .await?;
        let mode = match context.out.is_json() {
            true => Mode::Quiet,
            false if context.out.out_tty => Mode::Stream,
            false => Mode::Final,
        };
        let approvals = if context.can_ask() {
            Approvals::Ask
        } else {
            Approvals::Exit
        };
        let mut turn = Turn::new(context, session.clone(), &posted, mode, approvals);
        match turn.follow(Signals::new()?).await {
            Ok(code) => codes.push(code),
            // Recorded failures are played as well; what a person or question stops, stops here.
            Err(failure) if matches!(failure.exit, exit::INTERRUPTED | exit::APPROVAL) => {
                return Err(failure);
            }
            Err(failure) => codes.push(failure.exit),
        }
    }
    let now = read(&String::from_utf8_lossy(
        &record(context, &session.session_id).await?,
    ))?;
    let differing: Vec<Value> = cassette
        .results
        .iter()
        .filter_map(|(call, (ok, text))| {
            let after = now.results.get(call);
            let same = after.is_some_and(|(now, _)| now == ok);
            (!same).then(|| {
                json!({"call": call, "recorded": word(Some(*ok)), "now": word(after.map(|(ok, _)| *ok)),
                    "recorded_text": text, "text": after.map(|(_, text)| text)})
            })
        })
        .collect();
    report(context, &session, &cassette, &codes, &differing)
}

fn word(ok: Option<bool>) -> &'static str {
    match ok {
        Some(true) => "succeeded",
        Some(false) => "failed",
        None => "not made",
    }
}

fn report(
    context: &Context,
    session: &pb::Session,
    cassette: &Cassette,
    codes: &[u8],
    differing: &[Value],
) -> Result<u8, Failure> {
    if context.out.is_json() {
        context
            .out
            .json(&json!({"v": 1, "session": session.session_id, "turns": codes.len(),
            "steps": cassette.steps, "calls": cassette.results.len(), "exits": codes, "differing": differing}))?;
    } else {
        context.out.note(&format!(
            "played {} with {} into {}; {} of {} ended as recorded",
            format::count(codes.len() as u64, "turn"),
            format::count(cassette.steps as u64, "step"),
            session.session_id,
            cassette.results.len().saturating_sub(differing.len()),
            format::count(cassette.results.len() as u64, "call"),
        ));
    }
    if differing.is_empty() {
        return Ok(exit::OK);
    }
    let mut failure = Failure::new(
        exit::FAILED,
        "replay_differs",
        "some tool calls ended otherwise than they did when this was recorded",
    );
    for one in differing.iter().take(3) {
        let text = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
        failure = failure.note(format!(
            "{}: {} then, {} now",
            escape::line(text("call")),
            text("recorded"),
            text("now")
        ));
    }
    Err(failure.next(format!("agentctl logs {}", session.session_id)))
}

/// Reads what matters here; the daemon reads it all, and says what is wrong with it.
fn read(text: &str) -> Result<Cassette, Failure> {
    let mut cassette = Cassette {
        prompts: Vec::new(),
        steps: 0,
        results: BTreeMap::new(),
    };
    let mut begun = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        begun |= value.get("cassette").is_some();
        if let Some(prompt) = value.get("prompt") {
            let parts = prompt.get("parts").and_then(Value::as_array);
            cassette
                .prompts
                .push(parts.into_iter().flatten().filter_map(part).collect());
        }
        cassette.steps += usize::from(value.get("step").is_some());
        if let Some(result) = value.get("result") {
            let text = |name: &str| {
                result
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let ok = result.get("ok").and_then(Value::as_bool).unwrap_or_default();
            cassette.results.insert(text("call_id"), (ok, text("text")));
        }
    }
    if !begun {
        return Err(Failure::usage("this file is no cassette")
            .next("agentctl replay SESSION --save FILE   (makes one)"));
    }
    Ok(cassette)
}

fn part(value: &Value) -> Option<pb::Part> {
    let text = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let part = match value.get("type").and_then(Value::as_str)? {
        "text" => pb::part::Part::Text(text("text")),
        "attachment" => pb::part::Part::Attachment(pb::Attachment {
            name: text("name"),
            text: text("text"),
        }),
        _ => return None,
    };
    Some(pb::Part { part: Some(part) })
}
