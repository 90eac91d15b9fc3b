//! Owns: what keys do on the usage screen.

use crate::keys::Action;
use crate::model::Model;
use crate::model::usage::{BY, CHARTS, RANGES};
use crate::msg::{Cmd, ToLink};

/// Asks for what the screen shows.
pub(super) fn load(model: &Model, cmds: &mut Vec<Cmd>) {
    cmds.push(Cmd::Link(ToLink::Usage {
        range: model.usage.range(),
        by: model.usage.by().1,
    }));
}

/// Does what a key means here.
pub(super) fn act(model: &mut Model, action: Action, cmds: &mut Vec<Cmd>) {
    let view = &mut model.usage;
    match action {
        Action::UsageShorter => view.range = view.range.saturating_sub(1),
        Action::UsageLonger => view.range = (view.range + 1).min(RANGES.len() - 1),
        Action::UsageBy => view.by = (view.by + 1) % BY.len(),
        Action::UsageMetric => {
            view.tokens = !view.tokens;
            return;
        }
        Action::UsageTable => {
            view.table = !view.table;
            return;
        }
        Action::UsageExport => {
            let range = view.range();
            cmds.push(Cmd::Link(ToLink::ExportUsage { range }));
            return;
        }
        _ => return,
    }
    load(model, cmds);
}

/// `1` to `7`: that chart.
pub(super) fn focus(model: &mut Model, typed: char) {
    let chart = typed.to_digit(10).and_then(|n| usize::try_from(n).ok());
    if let Some(chart) = chart.and_then(|n| n.checked_sub(1)).filter(|n| *n < CHARTS) {
        model.usage.focus = chart;
        model.usage.scroll = 0;
    }
}
