//! A screen too small for charts: the status lines, the numbers, and a note.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{SMALLEST, headline, status_lines};
use crate::app::App;
use crate::format;
use crate::text::{cut, left, right};
use crate::widgets::spark::spark;

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (store, _) = app.shown();
    let header = Rect {
        height: area.height.min(2),
        ..area
    };
    status_lines::header(app, header, buffer);
    let columns = usize::from(area.width).saturating_sub(2);
    if area.height < 4 || columns < 20 {
        return;
    }
    let body = Rect {
        y: area.y + 2,
        height: area.height - 3,
        ..area
    };
    let charts = headline::charts(store, headline::of(store.stage()), usize::from(body.height));
    let name_columns = (columns / 2).min(28);
    for (row, metric) in body.rows().zip(charts) {
        let latest = metric.curve.latest().map_or(f64::NAN, |(_, value)| value);
        let style = if latest.is_finite() {
            Style::new()
        } else {
            app.theme.bad()
        };
        let value = right(&format::value(latest, metric.key), 9);
        let course = spark(&metric.curve, columns - name_columns - 10);
        buffer.set_string(
            row.x + 1,
            row.y,
            left(&metric.name, name_columns),
            Style::new(),
        );
        buffer.set_string(row.x + 1 + name_columns as u16, row.y, value, style);
        let at = row.x + 1 + name_columns as u16 + 10;
        buffer.set_string(at, row.y, course, app.theme.hint());
    }
    let note = format!("charts need {}×{}   q detach", SMALLEST.0, SMALLEST.1);
    buffer.set_string(
        area.x + 1,
        area.bottom() - 1,
        cut(&note, columns),
        app.theme.dim(),
    );
}
