//! A question over the middle of the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::help::centered;
use crate::app::{App, Dialog};
use crate::format;
use crate::widgets::panel::Panel;

/// Draws it.
pub fn draw(app: &App, dialog: &Dialog, area: Rect, buffer: &mut Buffer) {
    let Dialog::Stop { run, typed } = dialog;
    let Some(run) = app.runs().get(*run) else {
        return;
    };
    let store = run.head();
    let step = store.last_step.map_or(String::new(), |step| {
        format!(" after step {} or the next", format::count(step))
    });
    let theme = app.theme;
    let lines = [
        Line::raw(format!("The run saves a checkpoint{step} and ends.")),
        Line::raw("The same command with --resume auto goes on from there."),
        Line::default(),
        Line::from(vec![
            Span::raw("Type "),
            Span::styled(Dialog::WORD, theme.title()),
            Span::raw(" and Enter: "),
            Span::styled(typed.clone(), theme.bad()),
            Span::styled("▏", theme.hint()),
        ]),
    ];
    let popup = centered(area, 66, lines.len() as u16 + 2);
    Clear.render(popup, buffer);
    let inside = Panel::new(format!("stop {}?", run.name))
        .value(vec![Span::styled("Esc: no", theme.dim())])
        .border(theme.bad())
        .draw(popup, buffer);
    for (row, line) in inside.rows().zip(lines) {
        buffer.set_line(row.x + 1, row.y, &line, inside.width.saturating_sub(2));
    }
}
