//! The lists and tables of the overview.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use telemetry::Fields;
use telemetry::metric::MetricKey;

use super::evaluation::changed;
use super::headline::{self, Row};
use super::log::{entry_line, sign};
use crate::app::App;
use crate::format;
use crate::store::journal::{Entry, Level};
use crate::text::{clean, left, right};
use crate::verdict::Verdict;
use crate::widgets::line_chart::trend;
use crate::widgets::panel::Panel;
use crate::widgets::spark::spark;

/// Metrics, a row each: name, value, course, direction.
pub fn list(app: &App, (title, rows): (&str, &[Row]), area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let inside = Panel::new(title).draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    let spark_columns = match columns {
        ..28 => 0,
        28..40 => 10,
        _ => 16,
    };
    let name_columns = columns.saturating_sub(spark_columns + 10 + usize::from(spark_columns > 0));
    let rows = headline::rows(store, rows);
    if rows.is_empty() {
        buffer.set_stringn(inside.x + 1, inside.y, "–", columns, app.theme.dim());
    }
    for (area, (name, metric)) in inside.rows().zip(&rows) {
        let latest = metric.curve.latest().map_or(f64::NAN, |(_, value)| value);
        let style = if latest.is_finite() {
            Style::new()
        } else {
            app.theme.bad()
        };
        let alert = store.alert_on(&metric.name);
        let alert = alert.map(|alert| sign(alert.level, app.theme));
        let course = || trend(metric, app.theme).unwrap_or((" ", Style::new()));
        let (glyph, glyph_style) = alert.unwrap_or_else(course);
        let line = Line::from(vec![
            Span::raw(left(&clean(name), name_columns)),
            Span::styled(right(&format::value(latest, metric.key), 8), style),
            Span::raw(if spark_columns > 0 { " " } else { "" }),
            Span::styled(
                left(&spark(&metric.curve, spark_columns), spark_columns),
                app.theme.hint(),
            ),
            Span::styled(format!(" {glyph}"), glyph_style),
        ]);
        buffer.set_line(area.x + 1, area.y, &line, columns as u16);
    }
}

/// The latest evaluation, a row each group, against the first.
pub fn evaluation(app: &App, preferred: &[&str], area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let theme = app.theme;
    let Some(evaluation) = store.evaluation() else {
        let inside = Panel::new("held-out").draw(area, buffer);
        let columns = usize::from(inside.width).saturating_sub(2);
        buffer.set_stringn(
            inside.x + 1,
            inside.y,
            "no evaluation yet",
            columns,
            theme.dim(),
        );
        return;
    };
    let suite = clean(&evaluation.name);
    let has = |name: &&&str| evaluation.fields.scalar(name).is_some();
    let first = || evaluation.fields.scalars().next().map(|(name, _)| name);
    let Some(metric) = preferred.iter().find(has).copied().or_else(first) else {
        Panel::new(suite).draw(area, buffer);
        return;
    };
    let step = format!("step {}", format::count(evaluation.step));
    let inside = Panel::new(format!("{suite}: {metric}"))
        .value(vec![Span::styled(step, theme.dim())])
        .draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    let baseline = store
        .baselines
        .get(&suite)
        .filter(|base| base.step < evaluation.step);
    let before = |group: &str| {
        let row = baseline?.table.iter().find(|row| row.group == group)?;
        row.metrics.scalar(metric)
    };
    let is_grouped = !evaluation.table.is_empty();
    let overall = Compared {
        name: if is_grouped { "all" } else { metric }.to_owned(),
        value: evaluation.fields.scalar(metric),
        before: baseline.and_then(|baseline| baseline.fields.scalar(metric)),
        off_target: evaluation.fields.scalar(OFF_TARGET).filter(|_| is_grouped),
    };
    let mut rows = vec![overall];
    for row in &evaluation.table {
        rows.push(Compared {
            name: clean(&row.group),
            value: row.metrics.scalar(metric),
            before: before(&row.group),
            off_target: row.metrics.scalar(OFF_TARGET),
        });
    }
    // What got worse is what one looks for, and there is no room for all.
    let key = MetricKey::lookup(metric);
    rows[1..].sort_by_key(|row| !is_worse(row, key));
    let has_off_target = columns >= 36
        && rows
            .iter()
            .any(|row| row.off_target.is_some_and(|share| share > 0.0));
    if evaluation.table.is_empty() {
        rows.extend(other_metrics(
            &evaluation.fields,
            metric,
            baseline.map(|base| &base.fields),
        ));
    }
    let room = usize::from(inside.height);
    let num_left_out = if rows.len() > room {
        rows.len() - room + 1
    } else {
        0
    };
    rows.truncate(room - usize::from(num_left_out > 0).min(room));
    let off_columns = if has_off_target { 11 } else { 0 };
    let name_columns = columns.saturating_sub(18 + off_columns);
    for (area, row) in inside.rows().zip(&rows) {
        let is_metric = evaluation.fields.scalar(&row.name).is_some() && !is_grouped;
        let key = MetricKey::lookup(if is_metric { &row.name } else { metric });
        let shown = row
            .value
            .map_or("–".to_owned(), |value| format::value(value, key));
        let change = row
            .value
            .zip(row.before)
            .map(|(value, before)| value - before);
        let (change, style) = changed(change, key, theme);
        let off_style = match row.off_target {
            Some(share) if share >= 0.01 => theme.warn(),
            _ => theme.dim(),
        };
        let off = row.off_target.filter(|_| has_off_target).map(|share| {
            let mark = if share >= 0.01 { "▲" } else { "" };
            format!(
                "off {mark}{}",
                format::value(share, MetricKey::lookup(OFF_TARGET))
            )
        });
        let line = Line::from(vec![
            Span::raw(left(&row.name, name_columns)),
            Span::raw(right(&shown, 7)),
            Span::styled(right(&change, 11), style),
            Span::styled(right(&off.unwrap_or_default(), off_columns), off_style),
        ]);
        buffer.set_line(area.x + 1, area.y, &line, columns as u16);
    }
    if num_left_out > 0 && room > 0 {
        let text = format!("… {num_left_out} more");
        buffer.set_stringn(
            inside.x + 1,
            inside.bottom() - 1,
            text,
            columns,
            theme.dim(),
        );
    }
}

/// The share of answers in another language than the one that was asked for.
const OFF_TARGET: &str = "off_target_rate";

/// A value beside what it was before training.
struct Compared {
    name: String,
    value: Option<f64>,
    before: Option<f64>,
    off_target: Option<f64>,
}

/// Without groups, the evaluation's other metrics take their rows.
fn other_metrics(fields: &Fields, metric: &str, baseline: Option<&Fields>) -> Vec<Compared> {
    let others = fields.scalars().filter(|(name, _)| *name != metric);
    let compare = |(name, value): (&str, f64)| Compared {
        name: name.to_owned(),
        value: Some(value),
        before: baseline.and_then(|base| base.scalar(name)),
        off_target: None,
    };
    others.map(compare).collect()
}

fn is_worse(row: &Compared, key: Option<&MetricKey>) -> bool {
    let change = row.value.zip(row.before);
    change.is_some_and(|(value, before)| Verdict::of(value - before, key) == Verdict::Worse)
}

/// The machine and the latest checkpoints.
pub fn machine(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let inside = Panel::new("machine and checkpoints").draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(2);
    let mut lines: Vec<(String, Style)> = Vec::new();
    if let Some(run) = &store.run {
        lines.push((
            clean(&format!("{}, {}", run.device, run.dtype)),
            Style::new(),
        ));
    }
    if let Some(system) = &store.system {
        let cpu = system.cpu_percent.map(|cpu| format!("CPU {:.0}%", cpu.0));
        let memory = system
            .memory_used_bytes
            .map(|bytes| format::bytes(bytes as f64));
        let memory = memory.map(|memory| format!("memory {memory}"));
        let parts: Vec<String> = [cpu, memory].into_iter().flatten().collect();
        lines.push((parts.join("  "), Style::new()));
        for gpu in system.gpus.iter().flatten() {
            let used = gpu
                .utilization_percent
                .map(|used| format!("{:.0}%", used.0));
            let memory = gpu
                .memory_used_bytes
                .map(|bytes| format::bytes(bytes as f64));
            let heat = gpu
                .temperature_celsius
                .map(|celsius| format!("{:.0} °C", celsius.0));
            let parts = [Some(gpu.name.clone()), used, memory, heat];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            lines.push((clean(&parts.join("  ")), Style::new()));
        }
    }
    for saved in store
        .checkpoints
        .iter()
        .rev()
        .filter(|saved| !saved.is_removed)
    {
        let checkpoint = &saved.checkpoint;
        let (step, bytes) = (
            format::count(checkpoint.step),
            format::bytes(checkpoint.bytes as f64),
        );
        lines.push((format!("✔ checkpoint {step}  {bytes}"), app.theme.ok()));
    }
    for (area, (line, style)) in inside.rows().zip(lines) {
        buffer.set_stringn(area.x + 1, area.y, left(&line, columns), columns, style);
    }
}

/// The latest alerts and warnings at the left, the latest notes at the right; over the whole width where
/// there is only one sort, or where the run failed and nothing else matters.
pub fn events(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, now_ms) = app.shown();
    let rows = usize::from(area.height);
    let of = |keep: fn(&Entry) -> bool| -> Vec<&Entry> {
        store
            .journal
            .newest_first()
            .filter(|entry| keep(entry))
            .take(rows)
            .collect()
    };
    let serious = of(|entry| entry.level > Level::Note);
    let notes = of(|entry| entry.level == Level::Note);
    let columns: Vec<Vec<&Entry>> = match store.failure {
        Some(_) => vec![serious],
        None => [serious, notes]
            .into_iter()
            .filter(|entries| !entries.is_empty())
            .collect(),
    };
    let width = usize::from(area.width) / columns.len().max(1);
    for (at, entries) in columns.iter().enumerate() {
        for (row, entry) in area.rows().zip(entries) {
            let line = entry_line(entry, now_ms, width.saturating_sub(2), app.theme);
            buffer.set_line(
                row.x + (at * width) as u16 + 1,
                row.y,
                &line,
                width as u16 - 1,
            );
        }
    }
}
