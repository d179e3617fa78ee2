//! The interactive viewer: the terminal's keys in, pictures out.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use telemetry::{Clock, SystemClock};

use crate::TuiError;
use crate::app::{App, Msg};
use crate::keymap::Key;
use crate::source::{RunSource, run_name};
use crate::theme::Theme;
use crate::views;

/// Pictures a second at most.
const TICK: Duration = Duration::from_millis(100);

/// Ages and times are counted on at least this often.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows a run until the user detaches. The run is only read and does not notice.
///
/// # Errors
/// Where there is no run, or no terminal.
pub fn watch(run_dir: &Path) -> Result<(), TuiError> {
    let mut source = RunSource::open(run_dir)?;
    let mut app = App::new(run_name(run_dir), Theme::from_env());
    if !std::io::stdout().is_terminal() {
        return Err(TuiError::NoTerminal);
    }
    let mut screen = Screen::enter()?;
    follow(&mut source, &mut app, &mut screen.terminal)
}

/// The terminal in the viewer's hands; dropping this, or a panic anywhere, gives it back as it was.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn enter() -> Result<Self, TuiError> {
        // This also puts a panic hook in place that leaves the screen before the message is printed.
        Ok(Self {
            terminal: ratatui::try_init()?,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn follow(
    source: &mut RunSource,
    app: &mut App,
    terminal: &mut DefaultTerminal,
) -> Result<(), TuiError> {
    let clock = SystemClock::new();
    let mut drawn_at = None;
    let mut is_changed = true;
    while !app.is_detached() {
        app.update(Msg::Time(clock.now_ms()));
        let before = (
            app.shown().0.last_event_ms,
            app.browser.num_groups(),
            app.reading,
        );
        let trouble = source.poll(app);
        let is_whole = *trouble.as_ref().unwrap_or(&true);
        app.update(Msg::Trouble(trouble.err().map(|error| error.to_string())));
        is_changed |= before
            != (
                app.shown().0.last_event_ms,
                app.browser.num_groups(),
                app.reading,
            );
        let is_due = drawn_at.is_none_or(|at| clock.elapsed().saturating_sub(at) >= REFRESH);
        if is_changed || is_due {
            let size = terminal.size()?;
            app.update(Msg::Size(size.width, size.height));
            terminal.draw(|frame| views::draw(app, frame.area(), frame.buffer_mut()))?;
            drawn_at = Some(clock.elapsed());
        }
        // A log that is still being read leaves no time to wait.
        is_changed = keys(app, if is_whole { TICK } else { Duration::ZERO })?;
        source.read_texts(app);
    }
    Ok(())
}

/// Waits for a key, then takes all there are. Returns whether anything is to be drawn anew.
fn keys(app: &mut App, wait: Duration) -> Result<bool, TuiError> {
    let mut is_changed = false;
    let mut wait = wait;
    while !app.is_detached() && event::poll(wait)? {
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if let Some(key) = translate(key) {
                    app.update(Msg::Key(key));
                }
                is_changed = true;
            }
            Event::Resize(columns, rows) => {
                app.update(Msg::Size(columns, rows));
                is_changed = true;
            }
            _ => {}
        }
        wait = Duration::ZERO;
    }
    Ok(is_changed)
}

fn translate(key: KeyEvent) -> Option<Key> {
    Some(match key.code {
        KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Ctrl(c.to_ascii_lowercase())
        }
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
