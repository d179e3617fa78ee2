//! A box with a title at its left, a value at its right, and both below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

use crate::text::{cut, cut_start, width};
use crate::theme::Theme;

/// The box; every text is cut to fit.
#[derive(Debug, Clone, Default)]
pub struct Panel<'a> {
    title: String,
    value: Vec<Span<'a>>,
    below: (String, String),
    border: Style,
}

impl<'a> Panel<'a> {
    /// A box with its name.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            border: Theme::PLAIN.dim(),
            ..Self::default()
        }
    }

    /// Shows this at the right of the title, whole or not at all.
    pub fn value(mut self, value: Vec<Span<'a>>) -> Self {
        self.value = value;
        self
    }

    /// Shows these in the lower border, at the left and at the right.
    pub fn below(mut self, left: impl Into<String>, right: impl Into<String>) -> Self {
        self.below = (left.into(), right.into());
        self
    }

    /// Draws the border in that style.
    pub fn border(mut self, style: Style) -> Self {
        self.border = style;
        self
    }

    /// Draws the box and gives the area inside.
    pub fn draw(self, area: Rect, buffer: &mut Buffer) -> Rect {
        // Border, space, text, space, border.
        let room = usize::from(area.width).saturating_sub(4);
        let value_width: usize = self.value.iter().map(Span::width).sum();
        let shows_value = value_width > 0 && value_width + 8 <= room;
        let title_room = if shows_value {
            room - value_width - 3
        } else {
            room
        };
        // The end of a metric's name tells it from its neighbours; a sentence is read from its start.
        let title = match self.title.contains('/') && !self.title.contains(' ') {
            true => cut_start(&self.title, title_room),
            false => cut(&self.title, title_room),
        };
        let mut block = Block::bordered()
            .border_type(BorderType::Plain)
            .border_style(self.border);
        if !title.is_empty() {
            // The border is dim, and what lies on it would be.
            let bold = Theme::PLAIN.title().remove_modifier(Modifier::DIM);
            block = block.title_top(Line::from(Span::styled(format!(" {title} "), bold)));
        }
        if shows_value {
            let bright = |span: Span<'a>| match span.style.add_modifier.contains(Modifier::DIM) {
                true => span,
                false => span.patch_style(Style::new().remove_modifier(Modifier::DIM)),
            };
            let mut spans = vec![Span::raw(" ")];
            spans.extend(self.value.into_iter().map(bright));
            spans.push(Span::raw(" "));
            block = block.title_top(Line::from(spans).right_aligned());
        }
        let (left, right) = self.below;
        if width(&left) + width(&right) + 6 <= room {
            if !left.is_empty() {
                block = block.title_bottom(Line::from(format!(" {left} ")));
            }
            if !right.is_empty() {
                block = block.title_bottom(Line::from(format!(" {right} ")).right_aligned());
            }
        }
        let inside = block.inner(area);
        block.render(area, buffer);
        inside
    }
}
