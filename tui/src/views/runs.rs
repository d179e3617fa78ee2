//! The runs of a folder.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::{headline, status_lines};
use crate::app::{App, RunView};
use crate::format;
use crate::keymap::Screen;
use crate::text::clean;
use crate::widgets::panel::Panel;
use crate::widgets::table::{Column, Table};

/// Runs listed.
pub fn num_rows(app: &App) -> usize {
    app.runs().len()
}

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let selected = app
        .selected(Screen::Runs)
        .min(app.runs().len().saturating_sub(1));
    let inside = Panel::new("runs")
        .value(vec![Span::raw("Enter opens, Space overlays")])
        .draw(area, buffer);
    let mut overlays = 0;
    let rows = app.runs().iter().enumerate().map(|(number, run)| {
        let mark = match (number == app.shown_run(), run.is_marked) {
            (true, _) => Span::styled("●", app.theme.curve(0)),
            (false, true) => {
                overlays += 1;
                Span::styled("●", app.theme.overlay(overlays - 1))
            }
            (false, false) => Span::raw(" "),
        };
        row(app, run, mark)
    });
    Table {
        columns: vec![
            Column::left("run", 40),
            Column::left("", 1),
            Column::left("stage", 5),
            Column::left("state", 24),
            Column::right("step"),
            Column::right("of"),
            Column::left("", 30),
            Column::right("last event"),
            Column::right("alerts"),
            Column::left("model", 40),
        ],
        rows: rows.collect(),
        selected: Some(selected),
        theme: app.theme,
    }
    .draw(inside, buffer);
}

fn row<'a>(app: &App, run: &'a RunView, mark: Span<'a>) -> Vec<Span<'a>> {
    let store = run.head();
    let theme = app.theme;
    let status = store.status(app.now_ms);
    let first = headline::charts(store, headline::of(store.stage()), 1);
    let number = first.first().and_then(|metric| {
        let (_, value) = metric.curve.latest()?;
        Some(format!(
            "{} {}",
            metric.name,
            format::value(value, metric.key)
        ))
    });
    let age = store
        .last_event_ms
        .map(|last| format::age(app.now_ms.saturating_sub(last)));
    let alerts = store.alerts.len();
    let model = store.run.as_ref().map(|run| clean(&run.model));
    vec![
        Span::raw(run.name.clone()),
        mark,
        Span::styled(clean(store.stage()), theme.hint()),
        Span::styled(status.label(), status_lines::mood(status.mood(), theme)),
        Span::raw(store.last_step.map_or("–".to_owned(), format::count)),
        Span::raw(store.total_steps().map_or("–".to_owned(), format::count)),
        Span::raw(number.unwrap_or_default()),
        Span::styled(age.unwrap_or_default(), theme.dim()),
        Span::styled(
            // Those of the middle of a log that was only glanced at are not known.
            match run.is_known() {
                true => format::count(alerts as u64),
                false => format!("{}+", format::count(alerts as u64)),
            },
            if alerts > 0 {
                theme.warn()
            } else {
                Style::new().patch(theme.dim())
            },
        ),
        Span::styled(model.unwrap_or_default(), theme.dim()),
    ]
}
