//! The screens. Each is a function from the state to a picture.

mod compact;
pub mod headline;
pub mod help;
pub mod log;
pub mod metrics;
pub mod overview;
mod panels;
pub mod samples;
mod status_lines;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::app::App;
use crate::keymap::Screen;

/// The smallest screen that the views are made for; a smaller one shows the numbers alone.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Draws the whole screen.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return compact::draw(app, area, buffer);
    }
    let rows = [
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ];
    let [header, body, footer] = Layout::vertical(rows).areas(area);
    status_lines::header(app, header, buffer);
    match app.screen {
        Screen::Overview => overview::draw(app, body, buffer),
        Screen::Metrics => metrics::draw(app, body, buffer),
        Screen::Samples => samples::draw(app, body, buffer),
        Screen::Log => log::draw(app, body, buffer),
    }
    status_lines::footer(app, footer, buffer);
    if app.shows_help {
        help::draw(app, body, buffer);
    }
}
