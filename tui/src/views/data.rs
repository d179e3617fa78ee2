//! What the run has read: its sources, what they should be and what they are.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use telemetry::event::DataSource;

use super::csv::Csv;
use super::{charts, notice};
use crate::app::App;
use crate::format;
use crate::keymap::Screen;
use crate::store::Store;
use crate::store::metrics::Metric;
use crate::text::{clean, wrap};
use crate::theme::Theme;
use crate::widgets::panel::Panel;
use crate::widgets::share_bar::bar;
use crate::widgets::table::{Column, Table};

/// What is drawn below the sources: how the model does on each, and how well rows are filled.
const CHARTS: [&str; 8] = [
    "loss/*",
    "supervised_share",
    "packing_fill",
    "truncated_share",
    "frac_reward_zero_std",
    "completions/mean_length",
    "num_tokens",
    "epoch",
];

/// The orders of the rows.
const ORDERS: [&str; 3] = ["recipe", "share", "rejected"];

/// The sources in the order asked for.
fn listed(app: &App) -> Vec<&DataSource> {
    let (store, _) = app.shown();
    let mut sources: Vec<&DataSource> = store.data.iter().flat_map(|data| &data.sources).collect();
    let share = |source: &DataSource| source.share.map_or(f64::NEG_INFINITY, |share| share.0);
    match ORDERS[app.order(Screen::Data) % ORDERS.len()] {
        "share" => sources.sort_by(|a, b| share(b).total_cmp(&share(a))),
        "rejected" => sources.sort_by_key(|source| std::cmp::Reverse(num_rejected(source))),
        _ => {}
    }
    sources
}

/// Sources listed.
pub fn num_rows(app: &App) -> usize {
    listed(app).len()
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let sources = listed(app);
    if sources.is_empty() && store.preflight.is_none() {
        let text = "no data told yet: the trainer does so before its first step";
        return notice(app, "data", text, area, buffer);
    }
    let findings = findings(store, usize::from(area.width).saturating_sub(4), app.theme);
    let below = (findings.len() as u16 + 2).min(area.height / 2);
    let shown: Vec<&Metric> = CHARTS
        .iter()
        .flat_map(|name| store.steps.matching(name))
        .take(usize::from(area.width / 38))
        .collect();
    let table_rows = sources.len().max(1) as u16 + 3;
    let room = area.height.saturating_sub(below);
    let heights = match room.saturating_sub(table_rows) {
        8.. if !shown.is_empty() => [
            Constraint::Length(table_rows.max(room.saturating_sub(14))),
            Constraint::Fill(1),
            Constraint::Length(below),
        ],
        _ => [
            Constraint::Fill(1),
            Constraint::Length(0),
            Constraint::Length(below),
        ],
    };
    let [top, middle, bottom] = Layout::vertical(heights).areas(area);
    if middle.height > 0 {
        charts::row(app, &shown, 0, middle, buffer);
    }
    let order = ORDERS[app.order(Screen::Data) % ORDERS.len()];
    let step = store.data.as_ref().map_or(0, |data| data.step);
    let inside = Panel::new("sources")
        .value(vec![Span::raw(format!(
            "by {order}, at step {}",
            format::count(step)
        ))])
        .draw(top, buffer);
    table(app, &sources).draw(inside, buffer);
    let inside = Panel::new("pre-flight").draw(bottom, buffer);
    for (row, line) in inside.rows().zip(findings) {
        buffer.set_line(row.x + 1, row.y, &line, inside.width.saturating_sub(2));
    }
}

fn table(app: &App, sources: &[&DataSource]) -> Table<'static> {
    let theme = app.theme;
    let drawn: u64 = sources.iter().map(|source| source.records_taken).sum();
    let rows = sources.iter().map(|source| {
        let (target, share) = (source.target_share, source.share);
        let percent = |share: f64| format::value(share, Some(&telemetry::metric::MFU));
        let off = match (target, share) {
            (Some(target), Some(share)) if is_off(drawn, target.0, share.0) => theme.warn(),
            _ => Style::new(),
        };
        let known =
            |share: Option<telemetry::Scalar>| share.map_or("–".to_owned(), |s| percent(s.0));
        let epoch = source.epoch.map(|epoch| epoch.0);
        let worn = epoch.is_some_and(|epoch| epoch > 4.0);
        let rejected = num_rejected(source);
        vec![
            Span::raw(crate::text::cut_start(&clean(&source.name), 44)),
            Span::raw(known(target)),
            Span::styled(known(share), off),
            Span::styled(
                share.map_or(String::new(), |share| bar(share.0, 10)),
                theme.hint(),
            ),
            Span::raw(format::count(source.records_taken)),
            Span::raw(format::count(source.records)),
            Span::styled(
                epoch.map_or("–".to_owned(), format::number),
                if worn { theme.warn() } else { Style::new() },
            ),
            Span::raw(
                source
                    .tokens_taken
                    .map_or("–".to_owned(), |t| format::amount(t as f64)),
            ),
            Span::raw(exhausted_in(app, source)),
            Span::styled(
                format::count(rejected),
                if rejected > 0 {
                    theme.warn()
                } else {
                    theme.dim()
                },
            ),
            Span::styled(reasons(source), theme.dim()),
        ]
    });
    Table {
        columns: vec![
            Column::left("source", 44),
            Column::right("target"),
            Column::right("actual"),
            Column::left("", 10),
            Column::right("taken"),
            Column::right("records"),
            Column::right("epochs"),
            Column::right("tokens"),
            Column::right("epoch ends in"),
            Column::right("rejected"),
            Column::left("why", 60),
        ],
        rows: rows.collect(),
        selected: Some(
            app.selected(Screen::Data)
                .min(sources.len().saturating_sub(1)),
        ),
        theme,
    }
}

/// Whether a share is further from its target than chance explains: three standard deviations of as many
/// draws.
fn is_off(drawn: u64, target: f64, share: f64) -> bool {
    let deviation = (target * (1.0 - target) / (drawn as f64).max(1.0)).sqrt();
    (share - target).abs() > 3.0 * deviation + 1e-9
}

fn num_rejected(source: &DataSource) -> u64 {
    source.rejected.values().sum()
}

fn reasons(source: &DataSource) -> String {
    let mut reasons: Vec<(&String, &u64)> = source.rejected.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reason =
        |(reason, count): &(&String, &u64)| format!("{} {}", format::count(**count), clean(reason));
    reasons.iter().map(reason).collect::<Vec<_>>().join(", ")
}

/// The time until this pass over the source ends, at the pace of the run so far.
fn exhausted_in(app: &App, source: &DataSource) -> String {
    let (store, _) = app.shown();
    let told_at = store.data.as_ref().map_or(0, |data| data.step);
    let steps = source.epoch.and_then(|epoch| steps_left(epoch.0, told_at));
    match (steps, store.pace.ms_per_step()) {
        (Some(steps), Some(ms)) => {
            let since = store.last_step.unwrap_or(told_at).saturating_sub(told_at);
            format::span_ms(((steps - since as f64).max(0.0) * ms) as u64)
        }
        _ => "–".to_owned(),
    }
}

/// Steps until a pass ends that has come to `epoch` after that many steps: what was left out counts as read.
fn steps_left(epoch: f64, steps: u64) -> Option<f64> {
    let per_step = epoch / steps as f64;
    (per_step > 0.0 && per_step.is_finite()).then(|| (1.0 - epoch.fract()) / per_step)
}

/// What the look before the first step found.
fn findings(store: &Store, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(preflight) = &store.preflight else {
        return vec![Line::styled("none was made", theme.dim())];
    };
    let mut lines = vec![Line::raw(format!(
        "{} of {} records looked at, {}",
        format::count(preflight.looked_at),
        format::count(preflight.records),
        match preflight.warnings.len() {
            0 => "nothing seems wrong".to_owned(),
            1 => "1 warning".to_owned(),
            several => format!("{several} warnings"),
        },
    ))];
    for warning in &preflight.warnings {
        let parts = warning.lines().map(clean);
        let wrapped = parts.flat_map(|part| wrap(&part, columns.saturating_sub(2), 3));
        for (at, text) in wrapped.enumerate() {
            let mark = if at == 0 { "▲ " } else { "  " };
            lines.push(Line::from(vec![
                Span::styled(mark, theme.warn()),
                Span::raw(text),
            ]));
        }
    }
    let facts = preflight.fields.scalars();
    let facts: Vec<String> = facts
        .map(|(name, value)| {
            let shown = match name.ends_with("_bytes") {
                true => format::bytes(value),
                false => format::number(value),
            };
            format!("{} {shown}", clean(name))
        })
        .collect();
    for line in wrap(&facts.join("   "), columns, 12) {
        lines.push(Line::styled(line, theme.dim()));
    }
    lines
}

/// The sources as a table for other programs.
pub fn export(app: &App) -> Option<String> {
    let sources = listed(app);
    let mut csv = Csv::new(&[
        "source",
        "records",
        "records_taken",
        "tokens_taken",
        "target_share",
        "share",
        "epoch",
        "rejected",
    ]);
    for source in &sources {
        let number =
            |value: Option<telemetry::Scalar>| value.map(|v| v.0.to_string()).unwrap_or_default();
        csv.row(&[
            source.name.clone(),
            source.records.to_string(),
            source.records_taken.to_string(),
            source
                .tokens_taken
                .map(|t| t.to_string())
                .unwrap_or_default(),
            number(source.target_share),
            number(source.share),
            number(source.epoch),
            num_rejected(source).to_string(),
        ]);
    }
    (!sources.is_empty()).then(|| csv.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_never_read_is_off_and_chance_is_not() {
        assert!(is_off(1_000, 0.3, 0.0));
        assert!(!is_off(1_000, 0.3, 0.28));
        assert!(is_off(100_000, 0.3, 0.28));
        assert!(!is_off(0, 0.3, 0.0));
    }

    #[test]
    fn a_pass_ends_by_what_was_read_not_by_what_was_used() {
        // 400 of 1,000 records were read in 100 steps, whether or not they were used.
        assert_eq!(steps_left(0.4, 100), Some(150.0));
        assert_eq!(steps_left(1.5, 100), Some(0.5 / 0.015));
        assert_eq!(steps_left(0.0, 100), None);
        assert_eq!(steps_left(0.0, 0), None);
    }
}
