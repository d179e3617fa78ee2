//! A picture as plain text.

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;

use crate::app::App;
use crate::views;

/// The screen as lines without colour and without spaces at their ends, none wider than the screen.
pub fn frame_text(app: &App) -> String {
    let (columns, rows) = app.size;
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    views::draw(app, area, &mut buffer);
    buffer_text(&buffer)
}

/// A buffer as lines.
pub fn buffer_text(buffer: &Buffer) -> String {
    let rows = buffer.area.rows();
    let mut lines: Vec<String> = rows.map(|row| line(buffer, row)).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn line(buffer: &Buffer, row: Rect) -> String {
    let mut symbols = Vec::new();
    let mut x = row.left();
    while x < row.right() {
        let symbol = buffer[(x, row.y)].symbol();
        symbols.push(symbol);
        x += symbol.cell_width().max(1);
    }
    // Some terminals give combining marks columns of their own; the line must not be too wide there, either.
    let careful = |symbol: &&str| symbol.chars().map(char_width).sum::<usize>();
    while symbols.iter().map(careful).sum::<usize>() > usize::from(row.width) {
        symbols.pop();
    }
    symbols.concat().trim_end().to_owned()
}

fn char_width(c: char) -> usize {
    let mut bytes = [0; 4];
    usize::from(c.encode_utf8(&mut bytes).cell_width()).max(1)
}
