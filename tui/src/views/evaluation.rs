//! How the model does on held-out data: groups against evaluations.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use serde_json::Value;
use telemetry::Scalar;
use telemetry::event::Evaluation;
use telemetry::metric::{Better, MetricKey};

use super::csv::Csv;
use super::{charts, headline, notice};
use crate::app::App;
use crate::format;
use crate::keymap::Screen;
use crate::store::metrics::Metric;
use crate::text::{clean, wrap};
use crate::theme::Theme;
use crate::verdict::Verdict;
use crate::widgets::panel::Panel;
use crate::widgets::table::{Column, Table};

/// One group: its values at the evaluations that are shown, the first of them the baseline.
struct Row {
    group: String,
    count: Option<u64>,
    values: Vec<Option<f64>>,
    /// The latest evaluation's other metrics.
    others: Vec<Option<f64>>,
}

/// What is shown of a run's evaluations.
struct Shown<'a> {
    metric: String,
    /// Baseline first, then the latest ones, oldest first.
    evaluations: Vec<&'a Evaluation>,
    others: Vec<String>,
    rows: Vec<Row>,
}

const ORDERS: [&str; 4] = ["as logged", "value", "change", "name"];

/// Evaluations beside the baseline.
const MAX_SHOWN: usize = 6;

fn shown(app: &App) -> Option<Shown<'_>> {
    let (store, _) = app.shown();
    let latest = store.evaluation()?;
    let preferred = headline::of(store.stage()).held_out;
    let has = |name: &&&str| latest.fields.scalar(name).is_some();
    let first = || latest.fields.scalars().next().map(|(name, _)| name);
    let metric = preferred
        .iter()
        .find(has)
        .copied()
        .or_else(first)?
        .to_owned();
    let same = store.evaluations.iter().filter(|e| e.name == latest.name);
    let mut evaluations: Vec<&Evaluation> = same.collect();
    let surplus = evaluations.len().saturating_sub(MAX_SHOWN);
    evaluations.drain(..surplus);
    if let Some(baseline) = store.baselines.get(&clean(&latest.name))
        && evaluations.iter().all(|e| e.step != baseline.step)
    {
        evaluations.insert(0, baseline);
    }
    let mut others: Vec<String> = Vec::new();
    let fields = std::iter::once(&latest.fields).chain(latest.table.iter().map(|row| &row.metrics));
    for (name, _) in fields.flat_map(|fields| fields.scalars()) {
        if name != metric && others.iter().all(|known| known != name) && others.len() < 8 {
            others.push(name.to_owned());
        }
    }
    let all = Row {
        group: "all".to_owned(),
        count: Some(latest.table.iter().map(|row| row.count).sum()).filter(|count| *count > 0),
        values: evaluations
            .iter()
            .map(|e| e.fields.scalar(&metric))
            .collect(),
        others: others
            .iter()
            .map(|name| latest.fields.scalar(name))
            .collect(),
    };
    let of_group = |row: &telemetry::event::EvaluationRow| Row {
        group: clean(&row.group),
        count: Some(row.count),
        values: evaluations
            .iter()
            .map(|e| {
                let row = e.table.iter().find(|other| other.group == row.group)?;
                row.metrics.scalar(&metric)
            })
            .collect(),
        others: others.iter().map(|name| row.metrics.scalar(name)).collect(),
    };
    let mut rows: Vec<Row> = latest.table.iter().map(of_group).collect();
    rows.retain(|row| app.passes_filter(&row.group));
    sort(
        &mut rows,
        ORDERS[app.order(Screen::Evaluation) % ORDERS.len()],
        &metric,
    );
    rows.insert(0, all);
    Some(Shown {
        metric,
        evaluations,
        others,
        rows,
    })
}

/// The worst first, since that is what one looks for.
fn sort(rows: &mut [Row], order: &str, metric: &str) {
    let better = MetricKey::lookup(metric).map_or(Better::Higher, |key| key.better);
    let sign = if better == Better::Lower { -1.0 } else { 1.0 };
    let value = |row: &Row| {
        sign * row
            .values
            .last()
            .copied()
            .flatten()
            .unwrap_or(f64::INFINITY)
    };
    let change = |row: &Row| sign * change(row).unwrap_or(f64::INFINITY);
    match order {
        "value" => rows.sort_by(|a, b| value(a).total_cmp(&value(b))),
        "change" => rows.sort_by(|a, b| change(a).total_cmp(&change(b))),
        "name" => rows.sort_by(|a, b| a.group.cmp(&b.group)),
        _ => {}
    }
}

/// From the baseline to the latest.
fn change(row: &Row) -> Option<f64> {
    match &row.values[..] {
        [Some(first), .., Some(last)] => Some(last - first),
        _ => None,
    }
}

/// Rows of the table.
pub fn num_rows(app: &App) -> usize {
    shown(app).map_or(0, |shown| shown.rows.len())
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let (Some(shown), Some(latest)) = (shown(app), store.evaluation()) else {
        let text = "no evaluation yet: a run with `eval_data` makes one before its first step, every \
                    `eval_steps` and at its end; V asks for one now";
        return notice(app, "evaluation", text, area, buffer);
    };
    let texts = samples(latest, usize::from(area.width).saturating_sub(4), app.theme);
    let table_rows = shown.rows.len() as u16 + 3;
    let heights = match texts.is_empty() {
        true => [Constraint::Fill(1), Constraint::Length(0)],
        false => [
            Constraint::Length(table_rows.min(area.height * 3 / 5).max(6)),
            Constraint::Fill(1),
        ],
    };
    let [top, bottom] = Layout::vertical(heights).areas(area);
    let order = ORDERS[app.order(Screen::Evaluation) % ORDERS.len()];
    let title = format!("{}: {}", clean(&latest.name), shown.metric);
    let table = table(app, &shown);
    // The course of the whole beside it, where there is room.
    let curves: Vec<&Metric> = store.held_out.iter().collect();
    let beside = usize::from(top.width).saturating_sub(table.width() + 4);
    let num_charts = (beside / 34).min(curves.len()).min(4);
    let widths = match num_charts {
        0 => [Constraint::Fill(1), Constraint::Length(0)],
        _ => [
            Constraint::Length(table.width() as u16 + 4),
            Constraint::Fill(1),
        ],
    };
    let [left, right] = Layout::horizontal(widths).areas(top);
    let inside = Panel::new(title)
        .value(vec![Span::raw(format!("by step, rows {order}"))])
        .draw(left, buffer);
    table.draw(inside, buffer);
    if num_charts > 0 {
        charts::row(app, &curves[..num_charts], 0, right, buffer);
    }
    if bottom.height >= 3 {
        let inside = Panel::new("answers of the latest evaluation").draw(bottom, buffer);
        for (row, line) in inside.rows().zip(texts) {
            buffer.set_line(row.x + 1, row.y, &line, inside.width.saturating_sub(2));
        }
    }
}

fn table(app: &App, shown: &Shown) -> Table<'static> {
    let theme = app.theme;
    let key = MetricKey::lookup(&shown.metric);
    let value = |value: Option<f64>, key| match value {
        Some(value) => format::value(value, key),
        None => "–".to_owned(),
    };
    let mut columns = vec![
        Column::left("group", 32),
        Column::right("latest"),
        Column::right("change"),
    ];
    let earlier = shown.evaluations.len().saturating_sub(1);
    for evaluation in shown.evaluations.iter().take(earlier).rev() {
        columns.push(Column::right(format::count(evaluation.step)));
    }
    columns.extend(shown.others.iter().map(|name| Column::right(clean(name))));
    columns.push(Column::right("count"));
    let row = |row: &Row| {
        let latest = row.values.last().copied().flatten();
        let (text, style) = changed(change(row), key, theme);
        let mut cells = vec![
            Span::raw(row.group.clone()),
            Span::styled(value(latest, key), theme.title()),
            Span::styled(text, style),
        ];
        for earlier in row.values.iter().take(earlier).rev() {
            cells.push(Span::raw(value(*earlier, key)));
        }
        for (name, other) in shown.others.iter().zip(&row.others) {
            cells.push(Span::styled(
                value(*other, MetricKey::lookup(name)),
                theme.dim(),
            ));
        }
        cells.push(Span::styled(
            row.count.map_or(String::new(), format::count),
            theme.dim(),
        ));
        cells
    };
    Table {
        columns,
        rows: shown.rows.iter().map(row).collect(),
        selected: Some(app.selected(Screen::Evaluation).min(shown.rows.len() - 1)),
        theme,
    }
}

/// A change and a sign for what it means.
pub fn changed(change: Option<f64>, key: Option<&MetricKey>, theme: Theme) -> (String, Style) {
    let Some(change) = change else {
        return (String::new(), Style::new());
    };
    let verdict = Verdict::of(change, key);
    let (glyph, style) = match verdict {
        Verdict::Better => (verdict.glyph(), theme.ok()),
        Verdict::Worse => (verdict.glyph(), theme.warn()),
        Verdict::Same => (verdict.glyph(), theme.dim()),
        Verdict::Neutral => (" ", Style::new()),
    };
    (format!("{} {glyph}", format::change(change, key)), style)
}

/// What the model wrote at an evaluation.
fn samples(evaluation: &Evaluation, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    const LABEL: usize = 12;
    let samples = evaluation.fields.get("samples").and_then(Value::as_array);
    let mut lines = Vec::new();
    for sample in samples.into_iter().flatten() {
        let text = |name: &str| sample.get(name).and_then(Value::as_str).map(clean);
        let reward = sample.get("reward").and_then(Scalar::from_value);
        let head = format!(
            "── {} {}",
            text("group").unwrap_or_default(),
            reward.map_or(String::new(), |reward| format!(
                " reward {} ",
                format::number(reward.0)
            )),
        );
        let rule = "─".repeat(columns.saturating_sub(crate::text::width(&head)));
        lines.push(Line::from(vec![
            Span::styled(head, theme.title()),
            Span::styled(rule, theme.dim()),
        ]));
        for (label, name) in [
            ("prompt", "prompt"),
            ("answer", "completion"),
            ("reference", "reference"),
        ] {
            let Some(text) = text(name) else { continue };
            for (at, part) in wrap(&text, columns.saturating_sub(LABEL), 2)
                .into_iter()
                .enumerate()
            {
                let label = if at == 0 { label } else { "" };
                lines.push(Line::from(vec![
                    Span::styled(crate::text::left(label, LABEL), theme.dim()),
                    Span::raw(part),
                ]));
            }
        }
    }
    lines
}

/// The table for other programs: every evaluation that is known, long form.
pub fn export(app: &App) -> Option<String> {
    let (store, _) = app.shown();
    store.evaluation()?;
    let mut csv = Csv::new(&["step", "suite", "group", "metric", "value"]);
    for evaluation in &store.evaluations {
        let all = std::iter::once(("all", &evaluation.fields));
        let groups = evaluation
            .table
            .iter()
            .map(|row| (row.group.as_str(), &row.metrics));
        for (group, fields) in all.chain(groups) {
            for (metric, value) in fields.scalars() {
                csv.row(&[
                    evaluation.step.to_string(),
                    evaluation.name.clone(),
                    group.to_owned(),
                    metric.to_owned(),
                    value.to_string(),
                ]);
            }
        }
    }
    Some(csv.text())
}
