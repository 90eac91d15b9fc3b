//! Owns: `doctor --project`: the tools of this directory inside a jail and outside, side by side.
//! Guarantees: what is asked outside is asked here, by the person's own program in the person's own environment; a tool
//! that hangs is given up.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use agentd_proto::{escape, pb, surroundings};

use super::doctor::finding;
use crate::context::Context;
use crate::exit::Failure;
use crate::render::json;

/// No tool takes longer to say what it is, unless it is about to download itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A line per tool that is there on either side, then what the jail shows and what bounds it.
pub(super) async fn findings(context: &Context) -> Result<Vec<pb::Finding>, Failure> {
    let workspace = context.workspace()?;
    let request = pb::CheckProjectRequest {
        workspace: workspace.root.clone(),
        start_dir: workspace.start_dir.clone(),
        search_path: surroundings::search_path(),
        layout: pb::Layout::Unspecified.into(),
    };
    let inside = context.client.check_project(request).await?;
    let here = Path::new(&workspace.root).join(&workspace.start_dir);
    let mut findings: Vec<_> = inside.init.iter().map(init).collect();
    for tool in &inside.tools {
        let outside = version(&tool.tool, &here).await;
        findings.extend(compare(tool, outside.as_deref(), &inside));
    }
    let list = |lines: &[String], none: &str| {
        if lines.is_empty() {
            none.to_owned()
        } else {
            lines.iter().map(|line| format!("\n{line}")).collect()
        }
    };
    let ok = |check: &str, message: String| finding(check, pb::FindingLevel::Ok, &message, "");
    findings.push(ok(
        "toolchains",
        format!("shown read-only: {}", list(&inside.toolchains, "none")),
    ));
    if !inside.masked.is_empty() {
        findings.push(ok(
            "masked",
            format!("hidden in them: {}", list(&inside.masked, "none")),
        ));
    }
    if !inside.left_out.is_empty() {
        findings.push(finding(
            "path",
            pb::FindingLevel::Warning,
            &format!("on your PATH, not in the jail: {}", list(&inside.left_out, "none")),
            "agentctl config set jail.read_only '[\"DIR\"]'   (shows DIR, read-only; then: agentctl daemon restart)",
        ));
    }
    findings.extend(inside.limits.iter().map(limit));
    Ok(findings)
}

/// Whether the tools were asked as the project wants its shells to begin.
fn init(init: &pb::ProjectInit) -> pb::Finding {
    let note = escape::line(&init.note);
    let (level, message, fix) = match (init.ran, note.as_str()) {
        (true, "") => (
            pb::FindingLevel::Ok,
            "the project's own ran first, as agreed to".to_owned(),
            "",
        ),
        (true, why) => (pb::FindingLevel::Warning, why.to_owned(), ""),
        (false, why) => (
            pb::FindingLevel::Warning,
            format!("the project's own did not run: {why}\nthe tools were asked without it"),
            "agentctl exec -- true   (asks about it; then: agentctl approve A --project)",
        ),
    };
    finding("shell init", level, &message, fix)
}

/// The difference, where the tool exists at all.
fn compare(
    inside: &pb::ToolVersion,
    outside: Option<&str>,
    project: &pb::CheckProjectResponse,
) -> Option<pb::Finding> {
    let there = (!inside.program.is_empty()).then_some(inside.version.as_str());
    let (level, message, fix) = match (there, outside) {
        (None, None) => return None,
        (Some(there), Some(here)) if there == here => (
            pb::FindingLevel::Ok,
            format!("{there}, inside as outside ({})", inside.program),
            String::new(),
        ),
        (Some(there), Some(here)) => (
            pb::FindingLevel::Warning,
            format!("differs\ninside:  {there} ({})\noutside: {here}", inside.program),
            "agentctl config set shell.init '…'   (shell text that makes the choice, such as: . ~/.nvm/nvm.sh)".to_owned(),
        ),
        (None, Some(here)) => {
            let has = |dir: &&String| Path::new(dir).join(&inside.tool).exists();
            let found = project.left_out.iter().find(has).or(project.left_out.first());
            let dir = found.map_or("DIR", String::as_str);
            (
                pb::FindingLevel::Warning,
                format!("only outside: {here}"),
                format!("agentctl config set jail.read_only '[\"{dir}\"]'"),
            )
        }
        (Some(there), None) => (
            pb::FindingLevel::Ok,
            format!("only inside: {there} ({})", inside.program),
            String::new(),
        ),
    };
    Some(finding(&inside.tool, level, &message, &fix))
}

fn limit(limit: &pb::SessionLimit) -> pb::Finding {
    let kept = match limit.keeper() {
        pb::LimitKeeper::Unspecified => String::new(),
        keeper => format!(", kept by the {} ({})", json::keeper(keeper), limit.note),
    };
    let check = format!("limit {}", limit.limit.replace('_', " "));
    finding(&check, pb::FindingLevel::Ok, &format!("{}{kept}", limit.text), "")
}

/// The first line the tool prints of itself here; `None` when there is none.
async fn version(tool: &str, dir: &Path) -> Option<String> {
    let argument = match tool {
        "go" => "version",
        "java" => "-version",
        _ => "--version",
    };
    let output = tokio::process::Command::new(tool)
        .arg(argument)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.ok()?.ok()?;
    // As `2>&1` would have it: what came on one of the two, errors first where both did.
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    Some(escape::line(&line.chars().take(200).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_that_did_not_run_is_named() {
        let told = |ran, note: &str| {
            let note = note.to_owned();
            let found = init(&pb::ProjectInit { ran, note });
            (found.level(), found.message)
        };
        assert_eq!(told(true, "").0, pb::FindingLevel::Ok);
        let (level, message) = told(false, "nobody agreed\u{1b}[2K");
        assert!(level == pb::FindingLevel::Warning && message.contains("did not run: nobody agreed\\x1b[2K"));
        assert_eq!(told(true, "it ended with 3").0, pb::FindingLevel::Warning);
    }

    #[test]
    fn a_difference_is_told_with_both_sides() {
        let project = pb::CheckProjectResponse {
            left_out: vec!["/home/u/.local/bin".into()],
            ..Default::default()
        };
        let tool = |version: &str, program: &str| pb::ToolVersion {
            tool: "node".into(),
            program: program.into(),
            version: version.into(),
        };
        let level = |inside: &pb::ToolVersion, outside| {
            compare(inside, outside, &project).map(|found| (found.level(), found.message, found.fix))
        };
        assert_eq!(level(&tool("", ""), None), None);
        let (found, message, _) = level(&tool("v20", "/n"), Some("v20")).unwrap();
        assert!(found == pb::FindingLevel::Ok && message.contains("inside as outside"));
        let (found, message, _) = level(&tool("v18", "/n"), Some("v20")).unwrap();
        assert!(found == pb::FindingLevel::Warning && message.contains("v18") && message.contains("v20"));
        let (found, _, fix) = level(&tool("", ""), Some("v20")).unwrap();
        assert!(found == pb::FindingLevel::Warning && fix.contains(".local/bin"));
        // The directory that has the tool is the one to show.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("node"), "").unwrap();
        let shown = dir.path().display().to_string();
        let project = pb::CheckProjectResponse {
            left_out: vec!["/home/u/.local/bin".into(), shown.clone()],
            ..Default::default()
        };
        let found = compare(&tool("", ""), Some("v20"), &project).unwrap();
        assert!(found.fix.contains(&shown), "{}", found.fix);
    }
}
