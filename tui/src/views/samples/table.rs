//! The numbers of all completions of a group, a row each.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::answer::reward;
use crate::app::App;
use crate::browser::{Browser, Group};
use crate::format;
use crate::text::clean;
use crate::widgets::panel::Panel;
use crate::widgets::table::{Column, Table};

/// Draws it.
pub fn draw(app: &App, browser: &Browser, group: &Group, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme;
    let inside = Panel::new("completions").draw(area, buffer);
    let titles = ["reward", "adv", "tok", "mean logp", "end"];
    let mut columns = vec![Column::right("#")];
    columns.extend(titles.iter().map(|title| Column::right(*title)));
    let arranged = browser.arranged();
    let row = |at: &usize| {
        let answer = &group.answers[*at];
        let (value, style) = reward(answer.reward, theme);
        let mut cells = vec![
            Span::raw(format::count(*at as u64 + 1)),
            Span::styled(value, style),
        ];
        if let Some(sampled) = &answer.sampled {
            let mean = sampled.mean_logprob();
            cells.extend([
                Span::raw(format::change(sampled.advantage, None)),
                Span::raw(format::count(sampled.tokens)),
                Span::raw(mean.map_or("–".to_owned(), |mean| format::change(mean, None))),
                match sampled.is_cut_off() {
                    true => Span::styled("▲ cut off", theme.warn()),
                    false => Span::styled(clean(&sampled.finish_reason), Style::new()),
                },
            ]);
        }
        cells
    };
    let table = Table {
        columns,
        rows: arranged.iter().map(row).collect(),
        selected: Some(browser.completion()),
        theme,
    };
    table.draw(inside, buffer);
}
