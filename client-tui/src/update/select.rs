//! Owns: copying: an item, or in select mode, where the transcript stands still and bare, and the mouse is the terminal's.

use crate::layout;
use crate::model::{Model, Screen};
use crate::msg::Cmd;

/// Goes in or out.
pub(super) fn toggle(model: &mut Model, cmds: &mut Vec<Cmd>) {
    if model.selecting.take().is_some() {
        return cmds.push(Cmd::Mouse(model.mouse));
    }
    let Some(open) = model.open.as_ref().filter(|_| model.screen == Screen::Session) else {
        return model.toast("select mode is for the text of a session: open one first");
    };
    let (width, height) = model.size;
    let rows = layout::visible(model, open, width.min(layout::MEASURE), height.saturating_sub(1));
    let lines = rows
        .iter()
        .filter_map(|(_, lines, at)| lines.get(*at))
        .map(|line| {
            bare(
                &line
                    .spans
                    .iter()
                    .map(|span| span.content.as_ref())
                    .collect::<String>(),
            )
        })
        .collect();
    model.selecting = Some(lines);
    cmds.push(Cmd::Mouse(false));
}

/// Copies all that is shown.
pub(super) fn copy(model: &mut Model, cmds: &mut Vec<Cmd>) {
    let Some(lines) = &model.selecting else { return };
    let (text, count) = (lines.join("\n"), lines.len() as u64);
    model.toast(format!(
        "copied {} (OSC 52)",
        agentd_proto::format::count(count, "line")
    ));
    cmds.push(Cmd::Copy(text));
}

/// A line without its gutter.
fn bare(line: &str) -> String {
    let inner = [" │ ", " | "].iter().find_map(|gutter| line.strip_prefix(gutter));
    let text = inner.or_else(|| line.strip_prefix(' ')).unwrap_or(line);
    text.trim_end().to_owned()
}

/// The chosen item, or else the last answer; its last block of code.
pub(super) fn copy_item(model: &mut Model, code: bool, cmds: &mut Vec<Cmd>) {
    use agentd_proto::transcript::Kind;
    let Some(open) = &model.open else { return };
    let items = open.transcript.items();
    let place = open.selected.map(|id| layout::block_index(open, id));
    // The end of a turn that went well has no words of its own: its answer is meant.
    let chosen = place
        .and_then(|place| items.get(place))
        .filter(|item| !matches!(&item.kind, Kind::TurnEnd(end) if end.error_message.is_empty()));
    let chosen = chosen.or_else(|| {
        let above = items.iter().take(place.unwrap_or(items.len()));
        above.rev().find(|item| matches!(item.kind, Kind::Agent { .. }))
    });
    let text = chosen.map(|item| match &item.kind {
        Kind::You { text, .. } | Kind::Agent { text } => text.clone(),
        Kind::Tool {
            summary,
            exec_id,
            end,
            ..
        } => match (open.outputs.get(exec_id), end) {
            (Some(output), _) => output.tail(usize::MAX).join("\n"),
            (None, Some(end)) => end.result.clone(),
            _ => summary.clone(),
        },
        Kind::Exec { exec_id, script, .. } => open
            .outputs
            .get(exec_id)
            .map_or_else(|| script.clone(), |output| output.tail(usize::MAX).join("\n")),
        Kind::Approval(approval) => approval.detail.clone(),
        Kind::Change(change) => change.path.clone(),
        Kind::Notice(text) => text.clone(),
        Kind::TurnEnd(end) => end.error_message.clone(),
    });
    let text = match (text, code) {
        (Some(text), true) => last_code(&text),
        (text, _) => text,
    };
    match text.filter(|text| !text.is_empty()) {
        Some(text) => {
            model.toast(format!(
                "copied {}",
                agentd_proto::format::count(text.lines().count() as u64, "line")
            ));
            cmds.push(Cmd::Copy(agentd_proto::escape::controls(&text)));
        }
        None => model.toast("nothing to copy here"),
    }
}

/// The last fenced block of a text.
fn last_code(text: &str) -> Option<String> {
    let mut last = None;
    let mut open: Option<Vec<&str>> = None;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            match open.take() {
                Some(lines) => last = Some(lines.join("\n")),
                None => open = Some(Vec::new()),
            }
        } else if let Some(lines) = &mut open {
            lines.push(line);
        }
    }
    open.map(|lines| lines.join("\n")).or(last)
}
