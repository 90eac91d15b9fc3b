//! Owns: drawing a panel about a session: its title with what a key does to the selected row, and its rows.

use agentd_proto::escape;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::overlay::choice;
use crate::keys::{Action, Context};
use crate::model::Model;
use crate::model::panel::{Row, Tone, View};
use crate::text;

/// `context of fix-login · Enter compacts it`.
pub(super) fn title(model: &Model, view: &View) -> String {
    let row = model.rows.get(&view.session_id);
    let name = row.map_or(view.session_id.as_str(), |row| row.name.as_str());
    let mut title = format!("{} of {}", view.what.title(), escape::line(name));
    let rows = view.rows.as_deref().unwrap_or_default();
    if let Some(deed) = rows.get(view.selected).and_then(|row| row.deed.as_ref()) {
        let (context, action) = match deed.ends() {
            true => (Context::Panel, Action::PanelEnd),
            false => (Context::Overlay, Action::Accept),
        };
        let key = model.keymap.shown(context, action).unwrap_or_default();
        title.push_str(&format!(" · {key} {}", deed.words()));
    }
    title
}

/// The rows.
pub(super) fn lines(model: &Model, view: &View, width: u16) -> Vec<Line<'static>> {
    let Some(rows) = &view.rows else {
        return vec![text::line("   asking the daemon…", model.theme.dim)];
    };
    let line = |(index, row): (usize, &Row)| {
        let right = text::cut(&row.right, usize::from(width / 2));
        let right = vec![Span::styled(format!(" {right} "), model.theme.dim)];
        let left = vec![Span::styled(row.left.clone(), look(model, row.tone))];
        choice(model, index == view.selected, left, right, width)
    };
    rows.iter().enumerate().map(line).collect()
}

fn look(model: &Model, tone: Tone) -> Style {
    match tone {
        Tone::Heading => model.theme.heading,
        Tone::Plain => model.theme.text,
        Tone::Dim => model.theme.dim,
        Tone::Bad => model.theme.bad,
    }
}
