//! Owns: the usage screen: tiles, seven charts with their numbers, or the same as tables.
//! Guarantees: a bar is its share of the whole and stands beside its number; series differ by pattern; an
//! unknown price is `—`.

use agentd_proto::{escape, format, pb};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::put_all;
use crate::model::Model;
use crate::model::usage::{UsageData, UsageView};
use crate::text;

/// Patterns of the series, and their ASCII forms.
const PATTERNS: [[char; 5]; 2] = [['█', '▓', '▒', '░', '·'], ['#', '%', '+', '-', '.']];
/// Cells of a column of a table.
const COLUMN: usize = 10;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the screen.
pub(crate) fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    let lines = lines(model, usize::from(area.width));
    let rows = super::overlay::window(area, lines.len());
    let from = first(&lines, &model.usage, usize::from(rows.height));
    put_all(buffer, rows, lines.iter().skip(from).map(|(_, line)| line));
    super::overlay::more(model, area, from, lines.len(), buffer);
}

/// The first line shown: that of the chart in focus, or further by what was scrolled.
fn first(lines: &[(usize, Line<'static>)], view: &UsageView, height: usize) -> usize {
    let begin = match view.focus {
        0 => 0,
        focus => lines
            .iter()
            .position(|(chart, _)| *chart == focus + 1)
            .unwrap_or_default(),
    };
    let wanted = i64::try_from(begin)
        .unwrap_or_default()
        .saturating_add(view.scroll)
        .max(0);
    usize::try_from(wanted)
        .unwrap_or_default()
        .min(lines.len().saturating_sub(height))
}

/// All lines, each with the number of its chart (0: none).
fn lines(model: &Model, width: usize) -> Vec<(usize, Line<'static>)> {
    let view = &model.usage;
    let mut page = Page {
        model,
        width,
        chart: 0,
        lines: Vec::new(),
    };
    page.say(
        format!(
            " Usage  range {}  by {}  {}  {}",
            view.range(),
            view.by().0,
            if view.tokens { "tokens" } else { "cost, USD" },
            if view.table { "as tables" } else { "" }
        ),
        model.theme.strong,
    );
    let Some(data) = &view.data else {
        page.say(" counting…".into(), model.theme.dim);
        return page.lines;
    };
    page.tiles(data);
    if data.main.total.unwrap_or_default().requests == 0 {
        page.say(String::new(), model.theme.text);
        page.say(" Nothing was used in this range.".into(), model.theme.text);
        page.say(
            " Try a longer range with ], or: agentctl run --model demo \"hello\"".into(),
            model.theme.dim,
        );
        return page.lines;
    }
    page.by_bucket(data);
    page.by_kind(data);
    page.month(data);
    page.top(data);
    page.recent(data);
    page.tools(data);
    page.heat(data);
    page.lines
}

struct Page<'a> {
    model: &'a Model,
    width: usize,
    chart: usize,
    lines: Vec<(usize, Line<'static>)>,
}

impl Page<'_> {
    fn say(&mut self, words: String, style: Style) {
        let words = text::cut(&escape::line(&words), self.width);
        self.lines.push((self.chart, text::line(words, style)));
    }

    fn title(&mut self, words: &str, total: &str) {
        self.chart += 1;
        let focused = self.model.usage.focus + 1 == self.chart;
        let mark = match (focused, self.model.theme.ascii) {
            (true, false) => "▸",
            (true, true) => ">",
            _ => " ",
        };
        self.lines.push((self.chart, Line::default()));
        let words = text::cut(&format!("{mark}{} {words}", self.chart), self.width);
        let style = if focused {
            self.model.theme.strong
        } else {
            self.model.theme.text
        };
        let room = self.width.saturating_sub(text::width(&words) + 3);
        let spans = vec![
            Span::styled(words, style),
            Span::styled(format!("   {}", text::cut(total, room)), self.model.theme.dim),
        ];
        self.lines
            .push((self.chart, Line::from(text::clip(spans, self.width))));
    }

    fn pattern(&self, index: usize) -> char {
        let set = usize::from(self.model.theme.ascii);
        PATTERNS
            .get(set)
            .and_then(|set| set.get(index.min(4)))
            .copied()
            .unwrap_or('#')
    }

    /// A row: its name, its number, and a bar of its parts as shares of `whole`.
    fn bar(&mut self, name: &str, number: &str, parts: &[u64], whole: u64) {
        let label = text::pad(&text::cut(&escape::line(name), 18), 18);
        let number = format!("{number:>9}");
        let room = self.width.saturating_sub(32).min(60);
        let mut bar = String::new();
        if self.model.usage.table {
            // The twin of the bar: what each series has in it.
            let tokens = self.model.usage.tokens || self.chart == 2;
            let cell = |part: &u64| {
                if tokens {
                    format::tokens(*part)
                } else {
                    format::money(Some(*part))
                }
            };
            if parts.len() > 1 {
                bar = parts
                    .iter()
                    .map(|part| format!("{:>COLUMN$}", cell(part)))
                    .collect();
            }
        } else {
            for (index, part) in parts.iter().enumerate() {
                let cells = (u128::from(*part) * room as u128)
                    .checked_div(u128::from(whole))
                    .unwrap_or(0);
                let cells = usize::try_from(cells).unwrap_or(room).max(usize::from(*part > 0));
                bar.extend(std::iter::repeat_n(self.pattern(index), cells));
            }
        }
        self.say(
            format!("   {label} {number} {}", text::cut(&bar, room)),
            self.model.theme.text,
        );
    }

    /// The head of a table: what stands in which column.
    fn head(&mut self, first: &str, names: &[String]) {
        if !self.model.usage.table {
            return;
        }
        let mut words = format!("   {first:<18} {:>9} ", "all");
        if names.len() > 1 {
            let all = names.iter().map(|name| {
                let name = text::cut(&escape::line(named(name)), COLUMN - 1);
                format!("{}{name}", " ".repeat(COLUMN - text::width(&name)))
            });
            words.extend(all);
        }
        self.say(words, self.model.theme.dim);
    }

    fn legend(&mut self, names: &[String]) {
        if self.model.usage.table {
            if names.iter().any(|name| text::width(name) >= COLUMN) {
                let all: Vec<&str> = names.iter().map(|name| named(name)).collect();
                self.say(format!("   columns: {}", all.join(", ")), self.model.theme.dim);
            }
        } else if names.len() > 1 {
            let all: Vec<String> = names
                .iter()
                .enumerate()
                .map(|(index, name)| format!("{} {}", self.pattern(index), named(name)))
                .collect();
            self.say(format!("   {}", all.join("  ")), self.model.theme.dim);
        }
    }

    fn tiles(&mut self, data: &UsageData) {
        let limit = |window| {
            data.budgets
                .iter()
                .filter(|one| {
                    one.budget.as_ref().is_some_and(|b| {
                        b.window() == window && b.unit() == pb::BudgetUnit::MicroUsd && b.only.is_none()
                    })
                })
                .min_by_key(|one| one.budget.as_ref().map(|b| b.limit))
        };
        let against = |standing: Option<&pb::BudgetStanding>| {
            standing.map_or_else(String::new, |one| {
                let limit = one.budget.as_ref().map(|b| b.limit);
                format!(" of {} ({}%)", format::money(limit), one.percent)
            })
        };
        let total = data.main.total.unwrap_or_default();
        self.say(
            format!(
                " today {}{} · 7 d {} · month {}{}",
                format::money(data.today.cost_micro_usd),
                against(limit(pb::BudgetWindow::Day)),
                format::money(data.week.cost_micro_usd),
                format::money(data.month.cost_micro_usd),
                against(limit(pb::BudgetWindow::Month))
            ),
            self.model.theme.text,
        );
        self.say(
            format!(
                " tokens in {} out {} · cached {} · {} · errors {}",
                format::tokens(total.input_tokens),
                format::tokens(total.output_tokens),
                share(total.cached_tokens, total.input_tokens),
                format::count(total.requests, "request"),
                share(total.errors, total.requests)
            ),
            self.model.theme.text,
        );
        if total.unpriced_requests > 0 {
            let models = format::count(data.main.unpriced_models.len() as u64, "model");
            let tokens = format::tokens(total.unpriced_tokens);
            self.say(
                format!(" price unknown for {models}: {tokens} tokens not in cost"),
                self.model.theme.dim,
            );
        }
        for alert in &data.alerts {
            self.say(format!(" ! {}", alert.message), self.model.theme.needs);
        }
        self.say(
            format!(" time zone {}", data.main.time_zone),
            self.model.theme.dim,
        );
    }

    fn measure(&self, sums: &pb::UsageSums) -> u64 {
        if self.model.usage.tokens {
            sums.input_tokens.saturating_add(sums.output_tokens)
        } else {
            sums.cost_micro_usd.unwrap_or_default()
        }
    }

    fn shown(&self, sums: &pb::UsageSums) -> String {
        if self.model.usage.tokens {
            format::tokens(self.measure(sums))
        } else {
            format::money(sums.cost_micro_usd)
        }
    }

    fn number(&self, value: u64) -> String {
        if self.model.usage.tokens {
            format::tokens(value)
        } else {
            format::money(Some(value))
        }
    }

    fn unit(&self) -> &'static str {
        if self.model.usage.tokens { "tokens" } else { "USD" }
    }

    fn per(&self) -> &'static str {
        if self.model.usage.range() == "24h" {
            "hour"
        } else {
            "day"
        }
    }

    fn by_bucket(&mut self, data: &UsageData) {
        let total = data.main.total.unwrap_or_default();
        let by = self.model.usage.by().0;
        let title = format!("Per {} by {by}, {}", self.per(), self.unit());
        let whole = self.measure(&total);
        self.title(&title, &format!("total {}", self.shown(&total)));
        let names: Vec<String> = data.main.groups.iter().map(|g| g.label.clone()).collect();
        self.head(self.per(), &names);
        for point in &data.main.points {
            let parts: Vec<u64> = point.groups.iter().map(|s| self.measure(s)).collect();
            let sums = point.sums.unwrap_or_default();
            self.bar(start(&point.local), &self.shown(&sums), &parts, whole);
        }
        self.legend(&names);
    }

    fn by_kind(&mut self, data: &UsageData) {
        let kinds = |s: &pb::UsageSums| {
            [
                s.input_tokens.saturating_sub(s.cached_tokens),
                s.cached_tokens,
                s.output_tokens.saturating_sub(s.reasoning_tokens),
                s.reasoning_tokens,
            ]
        };
        let whole: u64 = kinds(&data.main.total.unwrap_or_default()).iter().sum();
        let title = format!("Tokens per {} by kind", self.per());
        self.title(&title, &format!("total {}", format::tokens(whole)));
        let names = ["input", "cached", "output", "reasoning"].map(str::to_owned);
        self.head(self.per(), &names);
        for point in &data.main.points {
            let parts = kinds(&point.sums.unwrap_or_default());
            let number = format::tokens(parts.iter().sum());
            self.bar(start(&point.local), &number, &parts, whole);
        }
        self.legend(&names);
    }

    fn month(&mut self, data: &UsageData) {
        let f = &data.forecast;
        let to = f
            .projected_micro_usd
            .map_or_else(String::new, |p| format!(" → {}", format::money(Some(p))));
        let budget = f
            .budget_micro_usd
            .map_or_else(String::new, |b| format!(" of {} budget", format::money(Some(b))));
        let total = format!("{}{to}{budget}", format::money(Some(f.spent_micro_usd)));
        self.title("Month so far and to come, USD", &total);
        let names = ["spent", "projected"].map(str::to_owned);
        self.head("day", &names);
        let last = f.days.last().map(|day| day.cost_micro_usd).unwrap_or_default();
        let most = last.max(f.budget_micro_usd.unwrap_or_default());
        for day in f.days.iter().filter(|day| day.cost_micro_usd > 0) {
            let parts = if day.projected {
                [0, day.cost_micro_usd]
            } else {
                [day.cost_micro_usd, 0]
            };
            self.bar(&day.date, &format::money(Some(day.cost_micro_usd)), &parts, most);
        }
        self.legend(&names);
        self.say(format!("   {}", f.method), self.model.theme.dim);
    }

    fn top(&mut self, data: &UsageData) {
        let by = self.model.usage.by().0;
        let name = if by == "model" { "session" } else { by };
        let total = data.top.total.unwrap_or_default();
        let whole = self.measure(&total);
        self.title(
            &format!("Top {name}s, {}", self.unit()),
            &format!("total {}", self.shown(&total)),
        );
        for group in &data.top.groups {
            let sums = group.sums.unwrap_or_default();
            let label = named(&group.label);
            let own = self.measure(&sums);
            self.bar(
                label,
                &format!("{} {}", self.shown(&sums), share(own, whole)),
                &[own],
                whole,
            );
        }
    }

    fn recent(&mut self, data: &UsageData) {
        self.title("Sessions, tokens per hour in the last 24 h", "");
        for (index, group) in data.recent.groups.iter().enumerate() {
            let of_group = |point: &pb::UsagePoint| {
                let sums = point.groups.get(index)?;
                Some(sums.input_tokens.saturating_add(sums.output_tokens))
            };
            let values: Vec<u64> = data.recent.points.iter().filter_map(of_group).collect();
            let all = values.iter().copied().fold(0, u64::saturating_add);
            let label = text::pad(&text::cut(&escape::line(&group.label), 18), 18);
            let words = if self.model.usage.table {
                let used = data.recent.points.iter().filter_map(|point| {
                    let tokens = of_group(point).filter(|tokens| *tokens > 0)?;
                    let hour = point.local.get(11..16).unwrap_or(&point.local);
                    Some(format!("{hour} {}", format::tokens(tokens)))
                });
                used.collect::<Vec<_>>().join(" · ")
            } else {
                sparkline(&values)
            };
            self.say(
                format!("   {label} {:>9} {words}", format::tokens(all)),
                self.model.theme.text,
            );
        }
    }

    fn tools(&mut self, data: &UsageData) {
        let total = data.tools.total.unwrap_or_default();
        self.title("Tool calls", &format!("total {}", total.tool_calls));
        let time = |t: Option<prost_types::Duration>| {
            t.map_or_else(
                || format::UNKNOWN.to_owned(),
                |t| format::duration(format::from_proto(Some(t))),
            )
        };
        for group in data.tools.groups.iter().filter(|g| !g.value.is_empty()) {
            let sums = group.sums.unwrap_or_default();
            let latency = group.latency.unwrap_or_default();
            let name = format!(
                "{} {}/{}",
                group.label,
                time(latency.total_p50),
                time(latency.total_p95)
            );
            let number = format!(
                "{} ✗{}",
                sums.tool_calls,
                share(sums.tool_failures, sums.tool_calls)
            );
            self.bar(&name, &number, &[sums.tool_calls], total.tool_calls);
        }
        self.say("   name, median/p95 · calls, failed".into(), self.model.theme.dim);
    }

    fn heat(&mut self, data: &UsageData) {
        let mut hours = [0u64; 24];
        for point in &data.hours.points {
            let hour = point.local.get(11..13).and_then(|h| h.parse::<usize>().ok());
            if let Some(sum) = hour.and_then(|h| hours.get_mut(h)) {
                *sum = sum.saturating_add(self.measure(&point.sums.unwrap_or_default()));
            }
        }
        let total = data.hours.total.unwrap_or_default();
        self.title(
            &format!("Hour of the day, {}", self.unit()),
            &format!("total {}", self.shown(&total)),
        );
        if self.model.usage.table {
            for (hour, value) in hours.iter().enumerate().filter(|(_, value)| **value > 0) {
                let number = self.number(*value);
                self.say(format!("   {hour:02}:00 {number:>9}"), self.model.theme.text);
            }
            return;
        }
        let head = "   0 1 2 3 4 5 6 7 8 9 10  12  14  16  18  20  22";
        self.say(head.into(), self.model.theme.dim);
        let row: String = sparkline(&hours).chars().flat_map(|c| [c, ' ']).collect();
        self.say(format!("   {row}"), self.model.theme.text);
        if let Some((hour, value)) = hours.iter().enumerate().max_by_key(|(_, value)| **value) {
            let number = self.number(*value);
            self.say(format!("   most at {hour}:00: {number}"), self.model.theme.dim);
        }
    }
}

/// What has no name is told from what has none to show.
fn named(name: &str) -> &str {
    if name.is_empty() { "(none)" } else { name }
}

fn share(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        Some(percent) => format!("{percent}%"),
        None => format::UNKNOWN.to_owned(),
    }
}

fn sparkline(values: &[u64]) -> String {
    let most = values.iter().copied().max().unwrap_or_default();
    values
        .iter()
        .map(|value| {
            let at = (u128::from(*value) * 7)
                .checked_div(u128::from(most))
                .unwrap_or(0);
            LEVELS
                .get(usize::try_from(at).unwrap_or(7))
                .copied()
                .unwrap_or('▁')
        })
        .collect()
}

/// A bucket's beginning: its date, or its hour.
fn start(local: &str) -> &str {
    let short = local.get(5..16).unwrap_or(local);
    short.strip_suffix("T00:00").unwrap_or(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Screen;

    fn sums(micro_usd: u64) -> pb::UsageSums {
        pb::UsageSums {
            requests: 2,
            cost_micro_usd: Some(micro_usd),
            input_tokens: 1_000,
            cached_tokens: 710,
            output_tokens: 300,
            ..Default::default()
        }
    }

    fn model() -> Model {
        let theme = crate::theme::by_name("dark").unwrap();
        let mut model = Model::new(
            crate::keys::Keymap::default(),
            theme,
            (80, 24),
            std::time::Instant::now(),
        );
        model.screen = Screen::Usage;
        model
    }

    fn words(model: &Model, width: usize) -> String {
        let all: Vec<String> = lines(model, width)
            .iter()
            .map(|(_, line)| line.to_string())
            .collect();
        assert!(all.iter().all(|line| text::width(line) <= width), "{all:#?}");
        all.join("\n")
    }

    #[test]
    fn charts_have_numbers_units_totals_and_a_table() {
        let mut model = model();
        assert!(words(&model, 40).contains("counting"));
        let point = |local: &str, cost| pb::UsagePoint {
            local: local.into(),
            sums: Some(sums(cost)),
            groups: vec![sums(cost)],
            ..Default::default()
        };
        let group = |name: &str, cost| pb::UsageGroup {
            value: name.into(),
            label: name.into(),
            sums: Some(sums(cost)),
            ..Default::default()
        };
        let main = pb::QueryUsageResponse {
            total: Some(sums(4_000_000)),
            points: vec![
                point("2026-11-21T00:00+01:00", 1_000_000),
                point("2026-11-22T00:00+01:00", 3_000_000),
            ],
            groups: vec![group("openai/gpt-x", 4_000_000)],
            time_zone: "Europe/Berlin".into(),
            ..Default::default()
        };
        model.usage.data = Some(Box::new(UsageData {
            top: main.clone(),
            tools: main.clone(),
            hours: main.clone(),
            recent: main.clone(),
            main,
            today: sums(3_000_000),
            ..UsageData::default()
        }));
        let shown = words(&model, 80);
        for part in [
            "today $3.00",
            "Per day by model, USD",
            "total $4.00",
            "11-22",
            "$3.00",
            "cached 71%",
            "Europe/Berlin",
        ] {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
        for number in 1..=7 {
            assert!(shown.contains(&format!("{number} ")), "chart {number}");
        }
        // Three quarters of the whole: three quarters of the room.
        let long = shown.lines().find(|line| line.contains("11-22")).unwrap();
        assert_eq!(long.matches('█').count(), 36, "{long}");
        model.usage.table = true;
        assert!(!words(&model, 80).contains('█'));
        words(&model, 30);
    }
}
