//! The view of a run from a terminal. It reads what `telemetry` writes and never touches a tensor.
//!
//! [`watch`] follows a run on the screen and [`render_once`] prints one picture of it; both read the run's
//! directory and nothing else, so the trainer may run, have ended, or be on another machine. A folder of
//! runs is watched as a list of them. [`plain`] is for where there is no terminal at all.
//!
//! Inside, state and drawing are apart: `source` reads files into messages, `App::update` is the one place
//! where a message changes anything, `store` is what is known of a run, and `views` are functions from
//! all that to a picture. `keymap` is the one table of keys behind dispatch, footer and help.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod app;
mod browser;
mod error;
pub mod format;
mod frame_text;
mod keymap;
pub mod plain;
pub mod report;
mod source;
mod store;
mod terminal;
#[cfg(test)]
mod tests;
pub mod text;
mod theme;
mod verdict;
mod views;
mod widgets;

use std::path::Path;

use telemetry::{Clock, SystemClock};

pub use app::Access;
pub use error::TuiError;
pub use terminal::{WatchOptions, watch};

use app::{App, Msg};
use source::{Expected, Source};
use theme::Theme;

/// One picture of a run as plain text, at most `columns` wide and `rows` high.
///
/// # Errors
/// Where there is no run at this path, or a log of it cannot be read.
pub fn render_once(run_dir: &Path, columns: u16, rows: u16) -> Result<String, TuiError> {
    let clock = SystemClock::new();
    let mut source = Source::open(run_dir, Expected::Now)?;
    let mut app = App::new(Theme::PLAIN, Access::ReadOnly);
    // No terminal is larger, and a mistyped size must not fill the memory.
    app.update(Msg::Size(columns.clamp(1, 1000), rows.clamp(1, 500)));
    app.update(Msg::Time(clock.now_ms()));
    while !source.poll(&mut app, &clock)? {}
    Ok(frame_text::frame_text(&app))
}
