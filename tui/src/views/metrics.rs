//! Every curve, in a grid.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use crate::app::App;
use crate::format;
use crate::store::metrics::Metric;
use crate::text::left;
use crate::widgets::line_chart::LineChart;

/// Columns and rows of charts on a screen of that size.
pub fn grid((columns, rows): (u16, u16)) -> (usize, usize) {
    let body = rows.saturating_sub(3);
    (
        usize::from(columns / 38).max(1),
        usize::from(body / 7).max(1),
    )
}

/// The metrics whose names hold all words of the filter, those of evaluations last.
pub fn listed(app: &App) -> Vec<&Metric> {
    let (store, _) = app.shown();
    let filter = app.filter.to_lowercase();
    let passes = |metric: &&Metric| {
        let name = metric.name.to_lowercase();
        filter.split_whitespace().all(|word| name.contains(word))
    };
    store
        .steps
        .iter()
        .chain(store.held_out.iter())
        .filter(passes)
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
    let selected = app.selected_metric.min(metrics.len() - 1);
    if app.is_zoomed {
        return zoomed(app, metrics[selected], area, buffer);
    }
    let (columns, rows) = grid((area.width, area.height + 3));
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
    let (first, _) = app.charts.steps(store.last_step.unwrap_or(0));
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
    let columns = usize::from(bottom.width).saturating_sub(2);
    buffer.set_string(
        bottom.x + 1,
        bottom.y,
        left(&parts.join("  "), columns),
        app.theme.dim(),
    );
}

fn chart<'a>(app: &'a App, metric: &'a Metric, style: Style, border: Style) -> LineChart<'a> {
    let (store, _) = app.shown();
    LineChart {
        metric,
        options: app.charts,
        last_step: store.last_step.unwrap_or(0),
        resumed_from: &store.resumed_from,
        theme: app.theme,
        style,
        border,
    }
}
