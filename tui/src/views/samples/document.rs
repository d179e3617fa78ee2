//! Lines of which a part is on the screen.

use ratatui::text::Line;

/// The lines, and which of them the selection is about.
#[derive(Debug, Default)]
pub struct Document {
    /// All lines.
    pub lines: Vec<Line<'static>>,
    /// Where the selected completion begins and ends.
    pub selected: (usize, usize),
}

impl Document {
    /// The first line that is shown in `rows` rows, `scroll` lines away from where the selection puts it: the beginning,
    /// as long as the whole selection is seen from there, else the selection at the top.
    pub fn top(&self, rows: usize, scroll: isize) -> usize {
        let anchor = self.anchor(rows);
        anchor
            .saturating_add_signed(scroll)
            .min(self.last_top(rows))
    }

    /// How far from where the selection puts it the text is scrolled when it moves on by `lines` from `scroll`.
    pub fn scrolled(&self, rows: usize, scroll: isize, lines: isize) -> isize {
        let top = self.top(rows, scroll);
        let to = top.saturating_add_signed(lines).min(self.last_top(rows));
        to as isize - self.anchor(rows) as isize
    }

    fn anchor(&self, rows: usize) -> usize {
        let (start, end) = self.selected;
        let anchor = if end <= rows { 0 } else { start };
        anchor.min(self.last_top(rows))
    }

    fn last_top(&self, rows: usize) -> usize {
        self.lines.len().saturating_sub(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_is_seen_and_scrolling_ends_where_the_text_does() {
        let document = |selected| Document {
            lines: vec![Line::default(); 30],
            selected,
        };
        assert_eq!(document((4, 10)).top(10, 0), 0, "all of it is seen");
        assert_eq!(document((4, 11)).top(10, 0), 4);
        assert_eq!(document((28, 30)).top(10, 0), 20, "no empty rows below");
        let long = document((4, 26));
        assert_eq!(long.scrolled(10, 0, 8), 8);
        assert_eq!(long.top(10, 8), 12);
        assert_eq!(long.scrolled(10, 8, 100), 16, "the end");
        assert_eq!(long.top(10, 16), 20);
        assert_eq!(long.scrolled(10, 16, -1), 15, "and back at once");
        assert_eq!(long.scrolled(10, 0, -100), -4, "the beginning");
        assert_eq!(long.top(40, 5), 0);
    }
}
