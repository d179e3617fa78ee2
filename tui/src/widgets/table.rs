//! Rows and columns of text.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use crate::text::{left, right, width};
use crate::theme::Theme;

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Names.
    Left,
    /// Numbers.
    Right,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    title: String,
    align: Align,
    max_width: usize,
}

impl Column {
    /// A column of numbers or other short things.
    pub fn right(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            align: Align::Right,
            max_width: 24,
        }
    }

    /// A column of names or sentences.
    pub fn left(title: impl Into<String>, max_width: usize) -> Self {
        Self {
            title: title.into(),
            align: Align::Left,
            max_width,
        }
    }
}

/// A table with a line of titles. Columns are as wide as what is in them; the last ones are left out where
/// there is no room, and the first is cut only then.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    /// The columns, the most important first.
    pub columns: Vec<Column>,
    /// The rows, a cell a column.
    pub rows: Vec<Vec<Span<'a>>>,
    /// The row with the mark, where one has it.
    pub selected: Option<usize>,
    /// The colours.
    pub theme: Theme,
}

impl Table<'_> {
    /// The first row that is shown of `len`, so that the selected one is in the middle where that is possible.
    pub fn top(selected: usize, len: usize, shown: usize) -> usize {
        selected
            .saturating_sub(shown / 2)
            .min(len.saturating_sub(shown))
    }

    /// Columns of the screen that it takes with all there is in it.
    pub fn width(&self) -> usize {
        let widths = self.widths();
        1 + widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
    }

    /// Draws it, the titles in the first row of the area.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        const MARK: usize = 1;
        const GAP: usize = 2;
        const NAME: usize = 22;
        if area.height == 0 || area.width < 4 || self.columns.is_empty() {
            return;
        }
        let room = usize::from(area.width) - MARK;
        let mut widths = self.widths();
        let used = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
        while widths.len() > 1 && used(&widths) > room {
            // Better a shorter name than one column less, but a name it has to be.
            let surplus = used(&widths) - room;
            match widths[0] >= surplus + NAME {
                true => widths[0] -= surplus,
                false => drop(widths.pop()),
            }
        }
        widths[0] = widths[0].min(room);
        let titles = self.columns.iter().map(|column| column.title.as_str());
        let dim = self.theme.dim();
        let titles: Vec<Span> = titles.map(|title| Span::styled(title, dim)).collect();
        self.draw_row(&titles, &widths, (area.x, area.y), None, buffer);
        let shown = usize::from(area.height) - 1;
        let top = Self::top(self.selected.unwrap_or(0), self.rows.len(), shown);
        for (at, (row, y)) in (top..).zip(self.rows.iter().skip(top).zip(area.rows().skip(1))) {
            let mark = self.selected.is_some_and(|selected| selected == at);
            let mark = mark.then(|| self.theme.selected());
            self.draw_row(row, &widths, (y.x, y.y), mark, buffer);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        let of = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| width(&cell.content)).max().unwrap_or(0);
            widest.max(width(&column.title)).min(column.max_width)
        };
        columns.map(of).collect()
    }

    fn draw_row(
        &self,
        cells: &[Span],
        widths: &[usize],
        (x, y): (u16, u16),
        mark: Option<Style>,
        buffer: &mut Buffer,
    ) {
        if let Some(style) = mark {
            buffer.set_string(x, y, "▸", style);
        }
        let mut x = x + 1;
        for ((cell, width), column) in cells.iter().zip(widths).zip(&self.columns) {
            let text = match column.align {
                Align::Left => left(&cell.content, *width),
                Align::Right => right(&cell.content, *width),
            };
            let style = match (mark, cell.style == Style::new()) {
                (Some(style), true) => style,
                _ => cell.style,
            };
            buffer.set_string(x, y, text, style);
            x += *width as u16 + 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(columns: u16) -> Vec<String> {
        let table = Table {
            columns: vec![
                Column::left("name", 40),
                Column::right("n"),
                Column::right("share"),
            ],
            rows: vec![
                vec![
                    Span::raw("委員会の報告書 2026"),
                    Span::raw("5"),
                    Span::raw("12.0%"),
                ],
                vec![Span::raw("b"), Span::raw("1,240"), Span::raw("–")],
            ],
            selected: Some(1),
            theme: Theme::PLAIN,
        };
        let area = Rect::new(0, 0, columns, 3);
        let mut buffer = Buffer::empty(area);
        table.draw(area, &mut buffer);
        crate::frame_text::buffer_text(&buffer)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_the_last_ones_go_first() {
        assert_eq!(
            drawn(40),
            [
                " name                     n  share",
                " 委員会の報告書 2026      5  12.0%",
                "▸b                    1,240      –",
            ]
        );
        assert_eq!(drawn(20)[2], "▸b");
        assert_eq!(drawn(34)[1], " 委員会の報告書 2026      5  12.0%");
        assert_eq!(drawn(32)[1], " 委員会の報告書 2026      5");
    }
}
