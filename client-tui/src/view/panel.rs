//! Owns: drawing a panel: its title with what keys do to the selected row, and its rows, the selected one whole.

use agentd_proto::escape;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::overlay::choice;
use crate::keys::{Action, Context};
use crate::model::Model;
use crate::model::panel::{Hand, Row, Tone, View};
use crate::text;

/// `context of fix-login · Enter compacts it`.
pub(super) fn title(model: &Model, view: &View) -> String {
    let mut title = view.what.title().to_owned();
    let row = model.rows.get(&view.session_id);
    let name = row.map_or(view.session_id.as_str(), |row| row.name.as_str());
    if !name.is_empty() && view.what.is_about_one() {
        title.push_str(&format!(" of {}", escape::line(name)));
    }
    let rows = view.rows.as_deref().unwrap_or_default();
    let deeds = rows.get(view.selected).map(|row| row.deeds.as_slice());
    for hand in Hand::ALL {
        let deed = deeds.unwrap_or_default().iter().find(|deed| deed.hand() == hand);
        if let Some(deed) = deed {
            let (context, action) = match hand {
                Hand::Take => (Context::Overlay, Action::Accept),
                Hand::Edit => (Context::Panel, Action::PanelEdit),
                Hand::Try => (Context::Panel, Action::PanelTry),
                Hand::End => (Context::Panel, Action::PanelEnd),
            };
            let key = model.keymap.shown(context, action).unwrap_or_default();
            title.push_str(&format!(" · {key} {}", deed.words()));
        }
    }
    title
}

/// The rows as lines, and the last line of the selected one.
pub(super) fn lines(model: &Model, view: &View, width: u16) -> (Vec<Line<'static>>, usize) {
    let Some(rows) = &view.rows else {
        return (vec![text::line("   asking the daemon…", model.theme.dim)], 0);
    };
    let mut lines = Vec::new();
    let mut last = 0;
    for (index, row) in rows.iter().enumerate() {
        let selected = index == view.selected;
        match whole(model, row, width).filter(|_| selected) {
            Some(all) => lines.extend(all),
            None => {
                let right = text::cut(&row.right, usize::from(width / 2));
                let right = vec![Span::styled(format!(" {right} "), model.theme.dim)];
                let left = vec![Span::styled(row.left.clone(), look(model, row.tone))];
                lines.push(choice(model, selected, left, right, width));
            }
        }
        if selected {
            last = lines.len().saturating_sub(1);
        }
    }
    (lines, last)
}

/// A row that is too long for one line, as several.
fn whole(model: &Model, row: &Row, width: u16) -> Option<Vec<Line<'static>>> {
    let cells = usize::from(width);
    let right = text::width(&row.right);
    let both = text::width(&row.left) + right + 6;
    if both <= cells || cells < 12 {
        return None;
    }
    let theme = &model.theme;
    let mark = if theme.ascii { " > " } else { " ▸ " };
    let left = [Span::styled(
        row.left.clone(),
        theme.strong.patch(look(model, row.tone)),
    )];
    let below = [Span::raw("     ")];
    let mut lines = text::wrap(&left, cells, &[Span::styled(mark, theme.accent)], &below);
    if right > 0 {
        let words = [Span::styled(row.right.clone(), theme.dim)];
        lines.extend(text::wrap(&words, cells, &below, &below));
    }
    Some(lines)
}

fn look(model: &Model, tone: Tone) -> Style {
    match tone {
        Tone::Heading => model.theme.heading,
        Tone::Plain => model.theme.text,
        Tone::Dim => model.theme.dim,
        Tone::Bad => model.theme.bad,
    }
}
