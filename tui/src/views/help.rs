//! The keys of the screen that is shown, from the one table.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::app::App;
use crate::keymap::{Action, KEYS, Screen};
use crate::text::left;
use crate::widgets::panel::Panel;

/// Draws it over the middle of the screen.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    const WIDTH: u16 = 60;
    const LEGEND: [&str; 3] = [
        "↑ ↓ = course of the last quarter   ✖ no number, or an alert",
        "▲ worth a look   ↻ resumed there   dim: abandoned or raw",
        "Quitting never touches the run.",
    ];
    let bindings: Vec<_> = KEYS
        .iter()
        .filter(|b| b.is_on(app.screen) && !b.label.is_empty())
        .filter(|b| !matches!(b.action, Action::Show(_)))
        .collect();
    let screens: Vec<&str> = Screen::ALL.iter().map(|screen| screen.name()).collect();
    let screens = screens.join(" ");
    let legend = LEGEND.len() + 2;
    // Two columns where one would be too high.
    let room = usize::from(area.height).saturating_sub(legend + 2).max(1);
    let num_columns = bindings.len().div_ceil(room).clamp(1, 2);
    let rows = bindings.len().div_ceil(num_columns);
    let height = (rows + legend + 2) as u16;
    let width = match num_columns {
        1 => WIDTH,
        _ => (2 * WIDTH).min(area.width.saturating_sub(4)),
    };
    let popup = centered(area, width, height);
    Clear.render(popup, buffer);
    let inside = Panel::new(format!("keys: {}", app.screen.name()))
        .value(vec![Span::styled("any key closes", app.theme.dim())])
        .border(app.theme.selected())
        .draw(popup, buffer);
    let key = |binding: &&crate::keymap::Binding| {
        Line::from(vec![
            Span::styled(left(binding.label, 10), app.theme.hint()),
            Span::raw(binding.does),
        ])
    };
    let columns = inside.width.saturating_sub(2);
    let each = columns / num_columns as u16;
    for (number, column) in bindings.chunks(rows.max(1)).enumerate() {
        let x = inside.x + 1 + number as u16 * each;
        for (row, binding) in inside.rows().zip(column) {
            buffer.set_line(x, row.y, &key(binding), each.saturating_sub(1));
        }
    }
    let numbers = format!("1-{} {screens}", Screen::ALL.len());
    let legend = std::iter::once(numbers.as_str()).chain(LEGEND);
    for (row, text) in inside.rows().skip(rows + 1).zip(legend) {
        buffer.set_stringn(
            row.x + 1,
            row.y,
            text,
            usize::from(columns),
            app.theme.dim(),
        );
    }
}

/// A box of that size in the middle.
pub fn centered(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}
