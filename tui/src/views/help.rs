//! The keys of the screen that is shown, from the one table.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::app::App;
use crate::keymap::KEYS;
use crate::text::left;
use crate::widgets::panel::Panel;

/// Draws it over the middle of the screen.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    const WIDTH: u16 = 64;
    const LEGEND: [&str; 3] = [
        "↑ ↓ = course of the last quarter   ✖ no number, or an alert",
        "▲ worth a look   ↻ resumed there   dim: abandoned or raw",
        "Quitting never touches the run.",
    ];
    let bindings: Vec<_> = KEYS
        .iter()
        .filter(|b| b.is_on(app.screen) && !b.label.is_empty())
        .collect();
    let height = (bindings.len() + LEGEND.len() + 3) as u16;
    let (width, height) = (WIDTH.min(area.width), height.min(area.height));
    let popup = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    Clear.render(popup, buffer);
    let inside = Panel::new(format!("keys: {}", app.screen.name()))
        .value(vec![Span::styled("any key closes", app.theme.dim())])
        .border(app.theme.selected())
        .draw(popup, buffer);
    let key = |binding: &&crate::keymap::Binding| {
        Line::from(vec![
            Span::styled(left(binding.label, 12), app.theme.hint()),
            Span::raw(binding.does),
        ])
    };
    let mut lines: Vec<Line> = bindings.iter().map(key).collect();
    lines.push(Line::default());
    lines.extend(
        LEGEND
            .iter()
            .map(|text| Line::styled(*text, app.theme.dim())),
    );
    let columns = inside.width.saturating_sub(2);
    for (row, line) in inside.rows().zip(lines) {
        buffer.set_line(row.x + 1, row.y, &line, columns);
    }
}
