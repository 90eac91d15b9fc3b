//! Owns: the status bar and the title of a session.

use agentd_proto::{escape, format, pb};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::put;
use crate::layout;
use crate::model::{Level, Link, Model, Screen};
use crate::text;

/// `name s-7k2f · ● working 12s · workspace`.
pub(crate) fn session_title(model: &Model, session: &pb::Session) -> Vec<Span<'static>> {
    let theme = &model.theme;
    let state = session.state();
    let look = state_look(model, state);
    let elapsed = model
        .open
        .as_ref()
        .and_then(|open| open.turn_began)
        .map(|began| std::time::Duration::from_secs(u64::try_from(model.wall - began).unwrap_or(0)))
        .map(|time| {
            if time.as_secs() == 0 {
                " 0s".to_owned()
            } else {
                format!(" {}", format::duration(time))
            }
        })
        .unwrap_or_default();
    let mut spans = vec![
        Span::styled(format!(" {}", escape::line(&session.name)), theme.strong),
        Span::styled(format!(" {}", session.session_id), theme.dim),
        Span::styled(" · ", theme.dim),
        Span::styled(format!("{}{elapsed}", layout::state(state, theme)), look),
    ];
    if session.waiting.is_some() {
        spans.push(Span::styled(" · waiting for input", theme.needs));
    }
    if !session.title.is_empty() {
        let title = format!(" · {}", escape::line(&session.title));
        spans.push(Span::styled(title, theme.text));
    }
    let workspace = format!(" · {}", escape::line(&session.workspace));
    spans.push(Span::styled(workspace, theme.dim));
    spans
}

/// Who else follows the open session, and who has the input of its terminal.
pub(crate) fn others(model: &Model) -> Option<String> {
    let open = model.open.as_ref().filter(|_| model.screen == Screen::Session)?;
    let me = open.clients.iter().find(|one| one.you)?;
    if open.clients.len() < 2 {
        return None;
    }
    let name = |one: &pb::AttachedClient| {
        let who = if one.you {
            "you".to_owned()
        } else if one.principal == me.principal {
            escape::line(&one.client)
        } else {
            escape::line(&format!("{} {}", one.client, one.principal))
        };
        let input = if one.input { "(input)" } else { "" };
        format!("{who}{input}")
    };
    let words: Vec<String> = std::iter::once(me)
        .chain(open.clients.iter().filter(|one| !one.you))
        .map(name)
        .collect();
    let whole = format!("{}  ", words.join(" · "));
    // The name of the session is worth more than a long list.
    if text::width(&whole) > usize::from(model.size.0) / 3 {
        let input = if me.input { ", you have the input" } else { "" };
        return Some(format!("{} clients{input}  ", words.len()));
    }
    Some(whole)
}

/// How a state looks.
pub(crate) fn state_look(model: &Model, state: pb::SessionState) -> ratatui::style::Style {
    let theme = &model.theme;
    match state {
        pb::SessionState::NeedsYou => theme.needs,
        pb::SessionState::Working => theme.working,
        pb::SessionState::Failed => theme.bad,
        _ => theme.text,
    }
}

/// Draws the bar: a fresh notice, a broken line, or the figures.
pub(crate) fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let theme = &model.theme;
    let width = usize::from(area.width);
    let link = link(model);
    let left = match (&model.toast, &model.link) {
        (Some((notice, _)), _) => {
            let look = if notice.level == Level::Problem {
                theme.bad
            } else {
                theme.accent
            };
            let room = width.saturating_sub(text::width(&link.content) + 2);
            let whole = rest(model, area.width).is_none() || model.size.1 < 24 || model.size.0 < 80;
            let words = if whole {
                notice.text.clone()
            } else {
                let lines = text::wrap_text(&notice.text, look, room);
                lines.first().map(ToString::to_string).unwrap_or_default()
            };
            vec![Span::styled(format!(" {words}"), look)]
        }
        (None, Link::Down(words)) => vec![Span::styled(format!(" {words}"), theme.bad)],
        _ => figures(model, width.saturating_sub(text::width(&link.content) + 1)),
    };
    put(buffer, area, 0, &text::between(left, vec![link], width));
}

/// What of a problem has no room in the bar: it ends with what can be done about it.
pub(crate) fn rest(model: &Model, width: u16) -> Option<Line<'static>> {
    let (notice, _) = model.toast.as_ref()?;
    let width = usize::from(width);
    let room = width.saturating_sub(text::width(&link(model).content) + 1);
    if notice.level != Level::Problem || text::width(&notice.text) < room {
        return None;
    }
    let lines = text::wrap_text(&notice.text, model.theme.bad, room.saturating_sub(1));
    let rest: Vec<String> = lines.iter().skip(1).map(ToString::to_string).collect();
    let words = format!(" {}", rest.concat());
    Some(text::line(text::cut(&words, width), model.theme.bad))
}

fn link(model: &Model) -> Span<'static> {
    let theme = &model.theme;
    let narrow = model.size.0 < 60;
    // That all is well is worth less than the figures.
    let quiet = model.size.0 < 100 && model.screen == Screen::Session;
    match &model.link {
        Link::Connecting => Span::styled("? connecting ".to_owned(), theme.needs),
        Link::Up if narrow || quiet => Span::styled(String::new(), theme.dim),
        Link::Up => Span::styled("connected ".to_owned(), theme.dim),
        Link::Reconnecting { attempt, until } => {
            let wait = until
                .saturating_duration_since(model.now)
                .as_millis()
                .div_ceil(1000);
            use crate::keys::{Action, Context};
            let key = model
                .keymap
                .shown(Context::Everywhere, Action::Retry)
                .unwrap_or_default();
            let words = if narrow {
                "? reconnecting ".to_owned()
            } else {
                format!("? reconnecting · try {attempt} in {wait}s · {key} now ")
            };
            Span::styled(words, theme.needs)
        }
        Link::Down(_) => Span::styled("? down ".to_owned(), theme.bad),
    }
}

/// The figures that fit, the most needed first.
fn figures(model: &Model, width: usize) -> Vec<Span<'static>> {
    let theme = &model.theme;
    let mut parts: Vec<(u8, String)> = super::shell::label(model)
        .into_iter()
        .map(|words| (0, words))
        .collect();
    match (model.screen, model.session()) {
        (Screen::Session, Some(session)) => session_figures(model, session, &mut parts),
        _ => {
            if let Some(status) = &model.status {
                let default = match status.default_model.as_str() {
                    "" => "no model set up".to_owned(),
                    name => format!("model {}", escape::line(name)),
                };
                parts.push((2, default));
                parts.push((1, format::count(model.rows.all().len() as u64, "session")));
                parts.push((3, format!("daemon {} pid {}", status.version, status.pid)));
                parts.push((4, format!("jail {}", escape::line(&status.jail))));
            }
            if !model.today.is_empty() {
                parts.push((1, model.today.clone()));
            }
            let cost: u64 = model.rows.all().iter().map(|row| row.cost_micro_usd).sum();
            if cost > 0 {
                parts.push((1, format::money(Some(cost))));
            }
        }
    }
    if model.unread > 0 {
        let key = model.keymap.all(crate::keys::Action::Notices);
        parts.push((
            5,
            format!("{} {key}", format::count(model.unread as u64, "notice")),
        ));
    }
    // What is least needed goes first, until the rest fits.
    let length = |parts: &[(u8, String)]| parts.iter().map(|(_, part)| text::width(part) + 3).sum::<usize>();
    while length(&parts) > width + 2 {
        let Some(at) = parts
            .iter()
            .enumerate()
            .max_by_key(|(_, (rank, _))| *rank)
            .map(|(at, _)| at)
        else {
            break;
        };
        if parts.len() == 1 {
            break;
        }
        parts.remove(at);
    }
    let words: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    vec![Span::styled(format!(" {}", words.join(" · ")), theme.text)]
}

fn session_figures(model: &Model, session: &pb::Session, parts: &mut Vec<(u8, String)>) {
    let chosen = model
        .next_model
        .as_ref()
        .filter(|(id, _)| *id == session.session_id);
    let name = match chosen {
        Some((_, name)) => format!("{} (next)", escape::line(name)),
        None if session.model.is_empty() => "no model".to_owned(),
        // Where there is little room the provider's name goes.
        None if model.size.0 < 100 => {
            let name = session
                .model
                .split_once('/')
                .map_or(session.model.as_str(), |(_, name)| name);
            escape::line(name)
        }
        None => escape::line(&session.model),
    };
    let name = match model.efforts.get(&session.session_id) {
        Some(effort) => format!("{name}, effort {}", escape::line(effort)),
        None => name,
    };
    parts.push((1, name));
    let (used, window) = (session.context_tokens, session.context_window_tokens);
    let bar = layout::context_bar(session, model.theme.ascii);
    parts.push((0, format!("ctx {bar}")));
    if used > 0 {
        let window = if window > 0 {
            format::tokens(window)
        } else {
            format::UNKNOWN.to_owned()
        };
        parts.push((4, format!("{}/{window}", format::tokens(used))));
    }
    let usage = model.open.as_ref().and_then(|open| open.usage.as_ref());
    if let Some(tokens) = usage.and_then(|usage| usage.tokens) {
        let share = (tokens.cached_input * 100).checked_div(tokens.input);
        let cached = share
            .map(|percent| format!(" cache {percent}%"))
            .unwrap_or_default();
        let (input, output) = (format::tokens(tokens.input), format::tokens(tokens.output));
        parts.push((7, format!("in {input} out {output}{cached}")));
    }
    parts.push((5, format!("{} tok", format::tokens(session.total_tokens))));
    let cost = if session.cost_known {
        format::money(Some(session.cost_micro_usd))
    } else if session.cost_micro_usd > 0 {
        format!("≥{}", format::money(Some(session.cost_micro_usd)))
    } else {
        format::money(None)
    };
    let limit = model
        .session_limit
        .map(|limit| format!("/{}", format::money(Some(limit))));
    parts.push((0, format!("{cost}{}", limit.unwrap_or_default())));
    // An older daemon names the persona alone.
    let policy = match session.policy.as_str() {
        "" => &session.persona,
        policy => policy,
    };
    parts.push((3, format!("policy {}", escape::line(policy))));
    let jail = match session.jail() {
        pb::JailKind::Outer => "jail none (outer)",
        _ => "jail bwrap",
    };
    // No wall is worth more room than anything else.
    parts.push((
        if session.jail() == pb::JailKind::Outer {
            0
        } else {
            2
        },
        jail.to_owned(),
    ));
    if session.queued_messages > 0 {
        parts.push((1, format!("{} queued", session.queued_messages)));
    }
    if model.read_only {
        parts.push((1, "read-only".to_owned()));
    }
}

/// The line for terminals that are too small for a view.
pub(crate) fn tiny(model: &Model) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let mut lines = Vec::new();
    match model.session().filter(|_| model.screen == Screen::Session) {
        Some(session) => lines.push(Line::from(session_title(model, session))),
        None => {
            for row in model.rows.shown() {
                let state = layout::state(row.state(), theme);
                lines.push(text::line(
                    format!(" {state} {}", escape::line(&row.name)),
                    state_look(model, row.state()),
                ));
            }
        }
    }
    lines.push(text::line(" needs 40x12 for the full view", theme.dim));
    lines
}
