//! Every curve, in a grid.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use super::charts::{self, chart};
use super::csv::Csv;
use crate::app::App;
use crate::format;
use crate::keymap::Screen;
use crate::store::metrics::Metric;
use crate::text::left;

/// Columns and rows of charts on a screen of that size.
pub fn grid((columns, rows): (u16, u16)) -> (usize, usize) {
    let body = rows.saturating_sub(if rows < 30 { 3 } else { 4 });
    (
        usize::from(columns / 38).max(1),
        usize::from(body / 7).max(1),
    )
}

/// The metrics whose names hold all words of the filter, those of evaluations last.
pub fn listed(app: &App) -> Vec<&Metric> {
    let (store, _) = app.shown();
    store
        .steps
        .iter()
        .chain(store.held_out.iter())
        .filter(|metric| app.passes_filter(&metric.name))
        .collect()
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let metrics = listed(app);
    if metrics.is_empty() {
        let text = if app.filter.is_empty() {
            "no metric yet"
        } else {
            "no metric has these words"
        };
        buffer.set_stringn(
            area.x + 4,
            area.y + 2,
            text,
            usize::from(area.width) - 8,
            app.theme.hint(),
        );
        return;
    }
    let selected = app.selected(Screen::Metrics).min(metrics.len() - 1);
    if app.is_zoomed {
        return zoomed(app, metrics[selected], area, buffer);
    }
    let (columns, rows) = grid(app.size);
    let num_rows = metrics.len().div_ceil(columns);
    let rows = rows.min(num_rows);
    let top = first_row(selected / columns, num_rows, rows);
    let row_areas = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    for (row, row_area) in (top..).zip(row_areas.iter()) {
        let areas = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(*row_area);
        for (at, area) in (row * columns..).zip(areas.iter()) {
            if let Some(metric) = metrics.get(at) {
                let border = if at == selected {
                    app.theme.selected()
                } else {
                    app.theme.dim()
                };
                chart(app, metric, app.theme.curve(at), border).draw(*area, buffer);
            }
        }
    }
}

/// The first row shown, such that the selected one is in the middle where that is possible.
fn first_row(selected: usize, num_rows: usize, shown: usize) -> usize {
    selected
        .saturating_sub(shown / 2)
        .min(num_rows.saturating_sub(shown))
}

fn zoomed(app: &App, metric: &Metric, area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let [top, bottom] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    chart(app, metric, app.theme.curve(0), app.theme.selected()).draw(top, buffer);
    let window = charts::window(app);
    let first = store.timeline.step_at(window.axis, window.first);
    let Some(all) = metric.curve.summary(first) else {
        return;
    };
    let show = |value: f64| format::value(value, metric.key);
    let mut parts = vec![
        format!(
            "steps {} to {}",
            format::count(all.first),
            format::count(all.last)
        ),
        format!("lowest {}", show(all.min)),
        format!("mean {}", show(all.mean().unwrap_or(f64::NAN))),
        format!("highest {}", show(all.max)),
    ];
    if all.num_broken > 0 {
        parts.push(format!("✖ {} not numbers", format::count(all.num_broken)));
    }
    if app.charts.log_y {
        parts.push("log y".to_owned());
    }
    parts.push(format!("along {}", window.axis.name()));
    let columns = usize::from(bottom.width).saturating_sub(2);
    buffer.set_string(
        bottom.x + 1,
        bottom.y,
        left(&parts.join("  "), columns),
        app.theme.dim(),
    );
}

/// The chart that lies in a cell.
pub fn at(app: &App, area: Rect, column: u16, row: u16) -> Option<usize> {
    let len = listed(app).len();
    if app.is_zoomed || len == 0 {
        return None;
    }
    let (columns, rows) = grid(app.size);
    let num_rows = len.div_ceil(columns);
    let rows = rows.min(num_rows);
    let selected = app.selected(Screen::Metrics).min(len - 1);
    let top = first_row(selected / columns, num_rows, rows);
    let across = usize::from(column - area.x) * columns / usize::from(area.width).max(1);
    let down = usize::from(row - area.y) * rows / usize::from(area.height).max(1);
    Some((top + down) * columns + across).filter(|at| *at < len)
}

/// Every value that is held, in long form: of a long run, the lowest, mean and highest of some steps.
pub fn export(app: &App) -> Option<String> {
    let mut csv = Csv::new(&[
        "metric",
        "first_step",
        "last_step",
        "min",
        "mean",
        "max",
        "num_broken",
    ]);
    for metric in listed(app) {
        for bucket in metric.curve.live() {
            let mean = bucket.mean();
            let shown = |value: f64| mean.map_or("nan".to_owned(), |_| value.to_string());
            csv.row(&[
                metric.name.clone(),
                bucket.first.to_string(),
                bucket.last.to_string(),
                shown(bucket.min),
                shown(mean.unwrap_or(f64::NAN)),
                shown(bucket.max),
                bucket.num_broken.to_string(),
            ]);
        }
    }
    (!listed(app).is_empty()).then(|| csv.text())
}
