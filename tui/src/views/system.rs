//! What the run runs on.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use telemetry::event::System;

use super::notice;
use crate::app::App;
use crate::format;
use crate::keymap::Screen;
use crate::store::Store;
use crate::store::metrics::Metric;
use crate::store::timeline::XAxis;
use crate::text::{clean, left};
use crate::theme::Theme;
use crate::widgets::line_chart::{ChartOptions, LineChart, Series};
use crate::widgets::panel::Panel;
use crate::widgets::plot::Window;
use crate::widgets::share_bar::bar;

/// Charts of the machine.
pub fn num_rows(app: &App) -> usize {
    app.shown().0.machine.iter().count()
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, now_ms) = app.shown();
    if store.system.is_none() && store.run.is_none() {
        let text = "nothing told yet: the trainer describes its machine every ten seconds";
        return notice(app, "system", text, area, buffer);
    }
    let columns = usize::from(area.width).saturating_sub(4);
    let gauges = gauges(store, columns / 2, app.theme);
    let phases = phases(store, now_ms, columns / 2, app.theme);
    let above = (gauges.len().max(phases.len()) as u16 + 2).clamp(5, area.height / 2 + 1);
    let [top, bottom] =
        Layout::vertical([Constraint::Length(above), Constraint::Fill(1)]).areas(area);
    let [machine, steps] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(top);
    for (title, lines, area) in [("machine", gauges, machine), ("time", phases, steps)] {
        let inside = Panel::new(title).draw(area, buffer);
        for (row, line) in inside.rows().zip(lines) {
            buffer.set_line(row.x + 1, row.y, &line, inside.width.saturating_sub(2));
        }
    }
    charts(app, store, bottom, buffer);
}

/// Shares of what there is, in bars.
fn gauges(store: &Store, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(run) = &store.run {
        let text = clean(&format!("{}, {}", run.device, run.dtype));
        lines.push(Line::styled(text, theme.title()));
    }
    let Some(system) = &store.system else {
        return lines;
    };
    let gauge = |name: &str, share: Option<f64>, text: String| {
        let style = match share {
            Some(share) if share > 0.95 => theme.warn(),
            _ => theme.hint(),
        };
        let room = columns.saturating_sub(34).clamp(0, 20);
        let bar = share.map_or(" ".repeat(room), |share| bar(share, room));
        Line::from(vec![
            Span::raw(left(name, 10)),
            Span::styled(bar, style),
            Span::raw(format!(" {text}")),
        ])
    };
    if let Some(cpu) = system.cpu_percent {
        lines.push(gauge("CPU", Some(cpu.0 / 100.0), format!("{:.0}%", cpu.0)));
    }
    lines.extend(
        memory(system)
            .into_iter()
            .map(|(name, share, text)| gauge(name, share, text)),
    );
    for gpu in system.gpus.iter().flatten() {
        lines.push(Line::styled(clean(&gpu.name), theme.title()));
        if let Some(used) = gpu.utilization_percent {
            lines.push(gauge(
                "GPU",
                Some(used.0 / 100.0),
                format!("{:.0}%", used.0),
            ));
        }
        if let Some(used) = gpu.memory_used_bytes {
            let (share, text) = of(used, gpu.memory_total_bytes);
            lines.push(gauge("memory", share, text));
        }
        let heat = gpu
            .temperature_celsius
            .map(|heat| format!("{:.0} °C", heat.0));
        let power = gpu.power_watts.map(|power| format!("{:.0} W", power.0));
        let more: Vec<String> = [heat, power].into_iter().flatten().collect();
        if !more.is_empty() {
            lines.push(Line::styled(
                format!("{}{}", " ".repeat(10), more.join("  ")),
                theme.dim(),
            ));
        }
    }
    lines
}

type Gauge = (&'static str, Option<f64>, String);

fn memory(system: &System) -> Vec<Gauge> {
    let mut gauges = Vec::new();
    if let Some(used) = system.memory_used_bytes {
        let (share, text) = of(used, system.memory_total_bytes);
        gauges.push(("memory", share, text));
    }
    if let Some(used) = system.process_memory_bytes {
        let (share, text) = of(used, system.memory_total_bytes);
        gauges.push(("this run", share, text));
    }
    if let (Some(free), Some(total)) = (system.disk_free_bytes, system.disk_total_bytes) {
        let text = format!(
            "{} free of {}",
            format::bytes(free as f64),
            format::bytes(total as f64)
        );
        gauges.push(("disk", Some(1.0 - free as f64 / total as f64), text));
    }
    gauges
}

/// A part of a whole that may be unknown.
fn of(used: u64, total: Option<u64>) -> (Option<f64>, String) {
    let shown = format::bytes(used as f64);
    match total.filter(|total| *total > 0) {
        Some(total) => {
            let text = format!("{shown} of {}", format::bytes(total as f64));
            (Some(used as f64 / total as f64), text)
        }
        None => (None, shown),
    }
}

/// On what the time goes: of the whole run by phase, and of a step by part.
fn phases(store: &Store, now_ms: u64, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let row = |name: &str, share: f64, text: String| {
        let room = columns.saturating_sub(36).clamp(0, 20);
        Line::from(vec![
            Span::raw(left(name, 18)),
            Span::styled(bar(share, room), theme.hint()),
            Span::raw(format!(" {text}")),
        ])
    };
    let until = match store.status(now_ms).is_over() {
        true => store.last_event_ms.unwrap_or(now_ms),
        false => now_ms,
    };
    for (name, share) in store.pace.shares(until).into_iter().take(8) {
        lines.push(row(&name, share, format!("{:.0}%", share * 100.0)));
    }
    let whole = store
        .steps
        .get("step_time")
        .and_then(|metric| metric.curve.latest());
    if let Some((_, whole)) = whole.filter(|(_, whole)| *whole > 0.0) {
        let text = format!("of the latest step, {}", format::seconds(whole));
        lines.push(Line::styled(text, theme.dim()));
        for metric in store.steps.matching("time/*") {
            if let Some((_, part)) = metric.curve.latest() {
                let name = clean(&metric.name["time/".len()..]);
                lines.push(row(&name, part / whole, format::seconds(part)));
            }
        }
    }
    if lines.is_empty() {
        lines.push(Line::styled("no phase told yet", theme.dim()));
    }
    lines
}

fn charts(app: &App, store: &Store, area: Rect, buffer: &mut Buffer) {
    let metrics: Vec<&Metric> = store.machine.iter().collect();
    let columns = usize::from(area.width / 38)
        .max(1)
        .min(metrics.len().max(1));
    let num_rows = metrics.len().div_ceil(columns);
    let rows = usize::from(area.height / 6).max(1).min(num_rows.max(1));
    let selected = app
        .selected(Screen::System)
        .min(metrics.len().saturating_sub(1));
    let top = (selected / columns).min(num_rows.saturating_sub(rows));
    let last_second = metrics
        .iter()
        .filter_map(|metric| metric.curve.latest())
        .map(|(second, _)| second)
        .max();
    let window = Window::new(
        XAxis::Time,
        last_second.unwrap_or(0) as f64 * 1e3,
        app.charts.zoom,
    );
    let row_areas = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    for (row, row_area) in (top..).zip(row_areas.iter()) {
        let areas = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(*row_area);
        for (at, area) in (row * columns..).zip(areas.iter()) {
            let Some(metric) = metrics.get(at) else {
                continue;
            };
            let border = match at == selected {
                true => app.theme.selected(),
                false => app.theme.dim(),
            };
            let series = vec![Series {
                metric,
                timeline: None,
                style: app.theme.curve(at),
            }];
            LineChart {
                series,
                options: ChartOptions {
                    log_y: false,
                    smoothing: 0.0,
                    ..app.charts
                },
                window,
                resumed_from: &[],
                theme: app.theme,
                border,
            }
            .draw(*area, buffer);
        }
    }
    if metrics.is_empty() {
        let text = "no measurement of the machine yet";
        buffer.set_stringn(
            area.x + 2,
            area.y + 1,
            text,
            usize::from(area.width),
            Style::new(),
        );
    }
}
