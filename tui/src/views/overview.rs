//! Ten seconds' worth: is it alive, is it learning, is it cheating, when will it end, what did it write?

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use super::{charts, headline, panels, samples};
use crate::app::App;
use crate::store::status::Status;
use crate::text::left;

/// How many of what there is room for.
struct Plan {
    /// Large and small charts in a row.
    charts: [usize; 2],
    panels: usize,
    /// Rows for panels, the latest sample and the latest events.
    heights: [u16; 3],
}

impl Plan {
    fn of(area: Rect, has_samples: bool) -> Self {
        let charts = match area.width {
            ..120 => [2, 3],
            120..200 => [3, 4],
            _ => [4, 5],
        };
        let heights = match area.height {
            ..34 => [7, 0, 1],
            34..50 => [8, 6, 4],
            _ => [11, 12, 5],
        };
        let [panels, sample, events] = heights;
        Self {
            charts,
            panels: if area.width < 200 { 3 } else { 4 },
            heights: [panels, if has_samples { sample } else { 0 }, events],
        }
    }
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    if store.run.is_none() && store.last_step.is_none() {
        return waiting(app, area, buffer);
    }
    let headline = headline::of(store.stage());
    let browser = app.run().map(|run| &run.browser);
    let newest = browser.and_then(|browser| {
        let entry = browser.newest()?;
        Some((entry, browser.text(entry)?))
    });
    let plan = Plan::of(area, newest.is_some());
    let [large, small] = plan.charts;
    let shown = headline::charts(store, headline, large + small);
    let (top, below) = shown.split_at(large.min(shown.len()));
    let [panel_rows, sample_rows, event_rows] = plan.heights;
    let rows = [
        Constraint::Fill(if below.is_empty() { 1 } else { 5 }),
        Constraint::Fill(if below.is_empty() { 0 } else { 4 }),
        Constraint::Length(panel_rows),
        Constraint::Length(sample_rows),
        Constraint::Length(event_rows),
    ];
    let [top_area, below_area, panel_area, sample_area, event_area] =
        Layout::vertical(rows).areas(area);
    if shown.is_empty() {
        booting(app, top_area, buffer);
    }
    charts::row(app, top, 0, top_area, buffer);
    charts::row(app, below, large, below_area, buffer);

    // The table has three columns, the lists two.
    let columns = (0..plan.panels).map(|at| Constraint::Fill(if at == 1 { 6 } else { 5 }));
    let areas = Layout::horizontal(columns).split(panel_area);
    panels::list(app, headline.first, areas[0], buffer);
    panels::evaluation(app, headline.held_out, areas[1], buffer);
    panels::list(app, headline.second, areas[2], buffer);
    if let Some(area) = areas.get(3) {
        panels::machine(app, *area, buffer);
    }
    if let Some((entry, text)) = newest.filter(|_| sample_rows > 0) {
        samples::latest(app, entry, text, sample_area, buffer);
    }
    panels::events(app, event_area, buffer);
}

/// A run without any event.
fn waiting(app: &App, area: Rect, buffer: &mut Buffer) {
    let lines = [
        "No event yet.",
        "The run directory is there; the trainer writes events.jsonl once it has read its recipe.",
        "This screen fills by itself.",
    ];
    centered(app, &lines, area, buffer);
}

/// A run without any number.
fn booting(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, now_ms) = app.shown();
    let phase = store
        .pace
        .current_phase()
        .map_or("loading the model", |(name, _)| name);
    let is_over = store.status(now_ms).is_over();
    let first = match store.status(now_ms) {
        Status::Failed => format!(
            "failed before the first step: {}",
            store.failure.as_deref().unwrap_or("")
        ),
        status if is_over => format!("{} before the first step", status.label()),
        _ => format!("Doing: {phase}. The first loss comes with the first step."),
    };
    let second = match (&store.run, is_over) {
        (Some(run), false) => format!("{} on {}, {}", run.model, run.device, run.dtype),
        _ => String::new(),
    };
    centered(app, &[&first, &second], area, buffer);
}

fn centered(app: &App, lines: &[&str], area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width).saturating_sub(8);
    let wrapped = lines
        .iter()
        .flat_map(|line| crate::text::wrap(&crate::text::clean(line), columns, 3));
    let wrapped: Vec<String> = wrapped.collect();
    let top = area.height.saturating_sub(wrapped.len() as u16) / 2;
    for (row, line) in area.rows().skip(usize::from(top)).zip(wrapped) {
        buffer.set_string(row.x + 4, row.y, left(&line, columns), app.theme.hint());
    }
}
