//! Charts of the run that is looked at, with those of the runs beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use super::log;
use crate::app::App;
use crate::store::metrics::Metric;
use crate::store::timeline::XAxis;
use crate::widgets::line_chart::{LineChart, Series};
use crate::widgets::plot::Window;

/// What all charts along steps, tokens or time show of their x axis.
pub fn window(app: &App) -> Window {
    let (store, _) = app.shown();
    let overlaid = app.overlaid().map(|(_, run)| &run.store);
    let ends = std::iter::once(store).chain(overlaid).map(|store| {
        let last = store.last_step.unwrap_or(0);
        store.timeline.x(app.charts.x, last)
    });
    // A run that went back still shows how far it had come.
    let abandoned = match app.charts.x {
        XAxis::Step => store.furthest_step().unwrap_or(0) as f64,
        XAxis::Tokens | XAxis::Time => 0.0,
    };
    Window::new(
        app.charts.x,
        ends.fold(abandoned, f64::max),
        app.charts.zoom,
    )
}

/// One chart.
pub fn chart<'a>(app: &'a App, metric: &'a Metric, style: Style, border: Style) -> LineChart<'a> {
    let (store, _) = app.shown();
    let mut series = vec![Series {
        metric,
        timeline: Some(&store.timeline),
        style,
    }];
    for (at, (_, run)) in app.overlaid().enumerate() {
        let other = &run.store;
        let metrics = [&other.steps, &other.held_out];
        if let Some(metric) = metrics.iter().find_map(|all| all.get(&metric.name)) {
            series.push(Series {
                metric,
                timeline: Some(&other.timeline),
                style: app.theme.overlay(at),
            });
        }
    }
    let border = match store.alert_on(&metric.name) {
        Some(alert) => log::sign(alert.level, app.theme).1,
        None => border,
    };
    LineChart {
        series,
        options: app.charts,
        window: window(app),
        resumed_from: &store.resumed_from,
        theme: app.theme,
        border,
    }
}

/// Charts beside each other; the colours count on from `number`.
pub fn row(app: &App, charts: &[&Metric], number: usize, area: Rect, buffer: &mut Buffer) {
    let areas = Layout::horizontal(vec![Constraint::Fill(1); charts.len()]).split(area);
    for ((at, metric), area) in charts.iter().enumerate().zip(areas.iter()) {
        // Where runs are compared, a colour stands for a run.
        let style = match app.overlaid().next() {
            Some(_) => app.theme.curve(0),
            None => app.theme.curve(number + at),
        };
        chart(app, metric, style, app.theme.dim()).draw(*area, buffer);
    }
}
