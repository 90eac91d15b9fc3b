//! Owns: `agentctl review`: a change out of git, read by a model, as findings by file and line.
//! Guarantees: findings are checked against the files they name before anybody sees them; an answer that is not
//! usable gets one more try and is never shown as a review; git runs nothing that the repository names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use agentd_proto::{escape, format, id, pb};
use serde::Deserialize;
use serde_json::json;

use super::run::Signals;
use super::turn::{Approvals, Mode, Turn};
use crate::args::ReviewArgs;
use crate::context::{Context, Wanted};
use crate::exit::{self, Failure};
use crate::workspace::Workspace;

/// Longest diff: the most an attachment may be.
const LIMIT: usize = 1 << 20;

const PROMPT: &str = "\
Review this change. The attachment holds it as a diff. Read the code around it where you need to, and run the \
project's checks if they are quick. Do not change any file.

Report what is wrong: bugs, broken promises, missing checks of input, races, security holes, tests that prove \
nothing. No praise, no style unless it misleads. Each finding stands at one line of the new version.

Answer with one JSON object and nothing else:
{\"summary\": \"one or two sentences\", \"findings\": [{\"file\": \"path from the root of the repository\", \"line\": 1, \
\"severity\": \"error, warning or note\", \"title\": \"one line\", \"detail\": \"why, and what to do\"}]}
Without findings the list is empty.";

/// The model's answer.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    summary: String,
    findings: Vec<Finding>,
}

/// One finding.
#[derive(Debug, Clone, Deserialize)]
struct Finding {
    file: String,
    line: u64,
    severity: String,
    title: String,
    #[serde(default)]
    detail: String,
}

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: ReviewArgs) -> Result<u8, Failure> {
    let workspace = context.workspace()?;
    let diff = diff(Path::new(&workspace.root), args.range.as_deref())?;
    if diff.trim().is_empty() {
        context.out.note("nothing to review: the diff is empty");
        if context.out.is_json() {
            context
                .out
                .json(&json!({"v": 1, "range": args.range, "summary": "", "findings": []}))?;
        }
        return Ok(exit::OK);
    }
    let wanted = Wanted {
        new: true,
        origin: pb::SessionOrigin::Agent,
        model: args.model.clone(),
        ..Wanted::default()
    };
    let session = context.session_for(wanted).await?;
    context.warn_outer(&session);
    let mut parts = vec![text(PROMPT.to_owned())];
    parts.push(pb::Part {
        part: Some(pb::part::Part::Attachment(pb::Attachment {
            name: "change.diff".to_owned(),
            text: diff,
        })),
    });
    let (mut reply, demo) = ask(context, &args, &session, parts).await?;
    let mut answer = checked(&reply, Path::new(&workspace.root));
    if let Err(faults) = &answer {
        let again = format!(
            "That answer cannot be used: {}. Answer again with the JSON object alone.",
            faults.join("; ")
        );
        reply = ask(context, &args, &session, vec![text(again)]).await?.0;
        answer = checked(&reply, Path::new(&workspace.root));
    }
    let answer = answer.map_err(|faults| {
        let mut failure = Failure::new(
            exit::FAILED,
            "review_unusable",
            "the model's answer is no review, also after a second try",
        );
        for fault in faults.iter().take(3) {
            failure = failure.note(escape::line(fault));
        }
        failure.next(format!("agentctl logs {}", session.session_id))
    })?;
    let tasks = if args.task {
        file_tasks(context, &workspace, &answer.findings).await?
    } else {
        Vec::new()
    };
    show(context, &args, &session, &answer, &tasks, demo)?;
    Ok(if args.exit_code && !answer.findings.is_empty() {
        exit::FAILED
    } else {
        exit::OK
    })
}

fn text(text: String) -> pb::Part {
    pb::Part {
        part: Some(pb::part::Part::Text(text)),
    }
}

/// One turn: its answer, and whether the demo model gave it.
async fn ask(
    context: &Context,
    args: &ReviewArgs,
    session: &pb::Session,
    parts: Vec<pb::Part>,
) -> Result<(String, bool), Failure> {
    let request = pb::PostMessageRequest {
        request_id: id::request_id(),
        session_id: session.session_id.clone(),
        parts,
        model: args.model.clone().unwrap_or_default(),
        // A review needs nothing that would have to be asked for.
        on_approval: pb::OnApproval::Deny.into(),
        environment: Some(context.environment()),
        max_steps: args.max_turns.unwrap_or_default(),
        budget_micro_usd: args.budget.unwrap_or_default(),
        ..Default::default()
    };
    let posted = context.client.post_message(request).await?;
    let mut turn = Turn::new(context, session.clone(), &posted, Mode::Quiet, Approvals::Deny);
    let code = turn.follow(Signals::new()?).await?;
    if code != exit::OK {
        return Err(Failure::silent(code));
    }
    for path in turn.changed() {
        context.out.warning(&format!(
            "the review changed {}, which it was told not to",
            escape::line(path)
        ));
    }
    Ok((turn.answer().to_owned(), turn.is_demo()))
}

/// What git says, without running anything that the repository names.
fn diff(root: &Path, range: Option<&str>) -> Result<String, Failure> {
    let refused = |message: String| {
        Failure::usage(message)
            .next("agentctl review main...HEAD")
            .next("git status")
    };
    let given = range.is_some();
    let range = range.unwrap_or("HEAD");
    if range.starts_with('-') {
        return Err(refused(format!("'{}' is no range of git", escape::line(range))));
    }
    let git = |arguments: &[&str]| {
        Command::new("git")
            .args(["-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null"])
            .args(arguments)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .current_dir(root)
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|error| refused(format!("git cannot be run: {error}")))
    };
    let is_there = |name: &[&str]| git(name).is_ok_and(|output| output.status.success());
    if !given && is_there(&["rev-parse", "--git-dir"]) && !is_there(&["rev-parse", "--verify", "-q", "HEAD"])
    {
        let message = "the repository has no commit yet: there is nothing to compare with";
        return Err(Failure::usage(message).next("git commit"));
    }
    let output = git(&[
        "diff",
        "--no-ext-diff",
        "--no-textconv",
        "--no-color",
        "--relative",
        range,
        "--",
    ])?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().next().unwrap_or("git diff failed");
        return Err(refused(escape::line(line)));
    }
    if output.stdout.len() > LIMIT {
        return Err(refused(format!(
            "the diff is {}, and at most {} can be reviewed at once",
            format::bytes(output.stdout.len() as u64),
            format::bytes(LIMIT as u64)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The answer, if it is one; else what is wrong with it.
fn checked(reply: &str, root: &Path) -> Result<Answer, Vec<String>> {
    let object = object_in(reply).ok_or_else(|| vec!["there is no JSON object in it".to_owned()])?;
    let mut answer: Answer =
        serde_json::from_str(object).map_err(|error| vec![format!("the JSON does not fit: {error}")])?;
    let mut lengths: BTreeMap<String, Option<u64>> = BTreeMap::new();
    let mut faults = Vec::new();
    for finding in &mut answer.findings {
        let file = finding.file.trim_start_matches("./").to_owned();
        let inside = !file.starts_with('/') && !file.split('/').any(|part| part == "..");
        let length = *lengths
            .entry(file.clone())
            .or_insert_with(|| inside.then(|| lines_of(&root.join(&file))).flatten());
        match length {
            None => faults.push(format!("there is no file '{file}'")),
            Some(length) if finding.line == 0 || finding.line > length.max(1) => {
                faults.push(format!(
                    "'{file}' has {length} lines, and no line {}",
                    finding.line
                ));
            }
            Some(_) => {}
        }
        if !matches!(finding.severity.as_str(), "error" | "warning" | "note") {
            faults.push(format!("'{}' is no severity", finding.severity));
        }
        if finding.title.trim().is_empty() {
            faults.push(format!("the finding at {file}:{} has no title", finding.line));
        }
        finding.file = file;
    }
    if faults.is_empty() {
        Ok(answer)
    } else {
        Err(faults)
    }
}

fn lines_of(file: &Path) -> Option<u64> {
    // A FIFO would be waited for.
    let kind = file.symlink_metadata().ok()?;
    let data = kind.is_file().then(|| std::fs::read(file).ok()).flatten()?;
    Some(String::from_utf8_lossy(&data).lines().count() as u64)
}

/// Models put their JSON into fences and sentences.
fn object_in(reply: &str) -> Option<&str> {
    let (from, to) = (reply.find('{')?, reply.rfind('}')?);
    reply.get(from..=to)
}

/// Puts each finding on the board, unless it is there; gives the tasks in the order of the findings.
async fn file_tasks(
    context: &Context,
    workspace: &Workspace,
    findings: &[Finding],
) -> Result<Vec<String>, Failure> {
    let board = context
        .client
        .list_tasks(pb::ListTasksRequest {
            workspace: workspace.root.clone(),
            ..Default::default()
        })
        .await?;
    let mut tasks = Vec::new();
    for finding in findings {
        let title = format!("{}:{} {}", finding.file, finding.line, one_line(&finding.title));
        let known = board.tasks.iter().find(|task| task.title == title);
        if let Some(task) = known {
            tasks.push(task.task_id.clone());
            continue;
        }
        let request = pb::AddTaskRequest {
            request_id: id::request_id(),
            workspace: workspace.root.clone(),
            title,
            notes: one_line(&finding.detail),
            ..Default::default()
        };
        let added = context.client.add_task(request).await?;
        tasks.push(added.task.unwrap_or_default().task_id);
    }
    Ok(tasks)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn show(
    context: &Context,
    args: &ReviewArgs,
    session: &pb::Session,
    answer: &Answer,
    tasks: &[String],
    demo: bool,
) -> Result<(), Failure> {
    if context.out.is_json() {
        let findings: Vec<_> = answer
            .findings
            .iter()
            .enumerate()
            .map(|(index, finding)| {
                json!({"file": finding.file, "line": finding.line, "severity": finding.severity,
                    "title": finding.title, "detail": finding.detail, "task": tasks.get(index)})
            })
            .collect();
        return context.out.json(
            &json!({"v": 1, "session": session.session_id, "range": args.range, "demo": demo,
                "summary": answer.summary, "findings": findings}),
        );
    }
    for (index, finding) in answer.findings.iter().enumerate() {
        let task = tasks
            .get(index)
            .map(|task| format!(" ({task})"))
            .unwrap_or_default();
        // As compilers write it: editors jump there.
        context.out.line(&escape::line(&format!(
            "{}:{}: {}: {}{task}",
            finding.file,
            finding.line,
            finding.severity,
            one_line(&finding.title)
        )))?;
        let detail = one_line(&finding.detail);
        if !detail.is_empty() {
            context.out.line(&format!("    {}", escape::line(&detail)))?;
        }
    }
    let count = format::count(answer.findings.len() as u64, "finding");
    context
        .out
        .note(&format!("{count}. {}", escape::line(&one_line(&answer.summary))));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_findings_at_lines_that_exist_are_a_review() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.c"), "1\n2\n").unwrap();
        let answer = |file: &str, line: u64, severity: &str| {
            format!(
                "Here:\n```json\n{{\"findings\":[{{\"file\":\"{file}\",\"line\":{line},\"severity\":\"{severity}\",\"title\":\"t\"}}]}}\n```"
            )
        };
        let good = checked(&answer("./a.c", 2, "error"), dir.path()).unwrap();
        assert_eq!(good.findings[0].file, "a.c");
        for (reply, why) in [
            (answer("a.c", 3, "error"), "no line 3"),
            (answer("a.c", 0, "error"), "no line 0"),
            (answer("b.c", 1, "error"), "no file"),
            (answer("../a.c", 1, "error"), "no file"),
            (answer("a.c", 1, "terrible"), "no severity"),
            ("all is well".to_owned(), "no JSON"),
            ("{\"findings\": 3}".to_owned(), "does not fit"),
        ] {
            let faults = checked(&reply, dir.path()).unwrap_err();
            assert!(faults[0].contains(why), "{faults:?}");
        }
        assert!(
            checked("{\"findings\":[]}", dir.path())
                .unwrap()
                .findings
                .is_empty()
        );
    }
}
