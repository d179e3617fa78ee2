//! The screens. Each is a function from the state to a picture.

mod charts;
pub mod checkpoints;
mod compact;
mod confirm;
mod csv;
pub mod data;
pub mod evaluation;
pub mod headline;
pub mod help;
pub mod log;
pub mod metrics;
pub mod overview;
mod panels;
pub mod runs;
pub mod samples;
mod status_lines;
pub mod system;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::app::App;
use crate::keymap::Screen;
use crate::text::wrap;
use crate::widgets::panel::Panel;
use crate::widgets::table::Table;

/// The smallest screen that the views are made for; a smaller one shows the numbers alone.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Draws the whole screen.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        compact::draw(app, area, buffer);
    } else {
        let [header, body, footer] = areas(area);
        status_lines::header(app, header, buffer);
        match app.screen {
            Screen::Overview => overview::draw(app, body, buffer),
            Screen::Metrics => metrics::draw(app, body, buffer),
            Screen::Samples => samples::draw(app, body, buffer),
            Screen::Data => data::draw(app, body, buffer),
            Screen::Evaluation => evaluation::draw(app, body, buffer),
            Screen::System => system::draw(app, body, buffer),
            Screen::Log => log::draw(app, body, buffer),
            Screen::Checkpoints => checkpoints::draw(app, body, buffer),
            Screen::Runs => runs::draw(app, body, buffer),
        }
        status_lines::footer(app, footer, buffer);
    }
    if app.shows_help {
        help::draw(app, area, buffer);
    }
    if let Some(dialog) = &app.dialog {
        confirm::draw(app, dialog, area, buffer);
    }
}

/// Header, body and footer. The footer has a line for the screens and one for the keys where there is room.
fn areas(area: Rect) -> [Rect; 3] {
    let footer = if area.height < 30 { 1 } else { 2 };
    let rows = [
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(footer),
    ];
    Layout::vertical(rows).areas(area)
}

/// What a screen says that has nothing to show.
fn notice(app: &App, title: &str, text: &str, area: Rect, buffer: &mut Buffer) {
    let inside = Panel::new(title).draw(area, buffer);
    let columns = usize::from(inside.width).saturating_sub(4);
    for (row, line) in inside.rows().skip(1).zip(wrap(text, columns, 4)) {
        buffer.set_string(row.x + 2, row.y, line, app.theme.hint());
    }
}

/// Rows that a screen with a selected row has.
pub fn num_rows(app: &App) -> usize {
    match app.screen {
        Screen::Data => data::num_rows(app),
        Screen::Evaluation => evaluation::num_rows(app),
        Screen::System => system::num_rows(app),
        Screen::Log => log::listed(app).len(),
        Screen::Checkpoints => checkpoints::num_rows(app),
        Screen::Runs => runs::num_rows(app),
        Screen::Overview | Screen::Metrics | Screen::Samples => 0,
    }
}

/// The name and content of a file with what the screen shows.
pub fn export(app: &App) -> Option<(String, String)> {
    let (text, ending) = match app.screen {
        Screen::Overview | Screen::Metrics => (metrics::export(app)?, "csv"),
        Screen::Samples => (samples::export(app)?, "txt"),
        Screen::Data => (data::export(app)?, "csv"),
        Screen::Evaluation => (evaluation::export(app)?, "csv"),
        Screen::Log => (log::export(app)?, "txt"),
        Screen::System | Screen::Checkpoints | Screen::Runs => return None,
    };
    let plain = |c: char| {
        if c.is_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let run: String = app.run()?.name.chars().map(plain).collect();
    let part = match app.screen {
        Screen::Samples => samples::export_name(app)?,
        screen => screen.name().to_owned(),
    };
    Some((format!("{run}-{part}.{ending}"), text))
}

/// What `copy` puts into the clipboard.
pub fn copied(app: &App) -> Option<String> {
    match app.screen {
        Screen::Samples => samples::copied(app),
        Screen::Checkpoints => checkpoints::copied(app),
        _ => None,
    }
}

/// What lies under the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// The name of a screen.
    Screen(Screen),
    /// A row of the screen's list, or a chart of its grid.
    Row(usize),
}

/// What lies in a cell.
pub fn hit(app: &App, column: u16, row: u16) -> Option<Hit> {
    let (width, height) = app.size;
    if width < SMALLEST.0 || height < SMALLEST.1 {
        return None;
    }
    let [_, body, footer] = areas(Rect::new(0, 0, width, height));
    if row == footer.y {
        return status_lines::screen_at(app, footer, column).map(Hit::Screen);
    }
    if !body.contains((column, row).into()) {
        return None;
    }
    match app.screen {
        Screen::Metrics => metrics::at(app, body, column, row).map(Hit::Row),
        Screen::Runs => {
            // The border and the titles come first.
            let shown = usize::from(body.height).saturating_sub(3);
            let len = num_rows(app);
            let top = Table::top(app.selected(app.screen), len, shown);
            let at = usize::from(row.checked_sub(body.y + 2)?);
            Some(top + at).filter(|at| *at < len).map(Hit::Row)
        }
        _ => None,
    }
}
