//! Owns: select mode: the transcript's text stands still and bare, and the mouse is the terminal's.

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
