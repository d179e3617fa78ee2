//! The interactive viewer: the terminal's keys in, pictures out.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyEvent, KeyEventKind,
    KeyModifiers, MouseButton, MouseEventKind,
};
use crossterm::execute;
use ratatui::DefaultTerminal;
use telemetry::{Clock, SystemClock};

use crate::TuiError;
use crate::app::{Access, App, Effect, Msg};
use crate::keymap::Key;
use crate::source::{Expected, Source};
use crate::store::journal::Level;
use crate::theme::Theme;
use crate::views;

/// Pictures a second at most.
const TICK: Duration = Duration::from_millis(100);

/// Ages and times are counted on at least this often.
const REFRESH: Duration = Duration::from_secs(1);

/// How a run is watched.
#[derive(Default)]
pub struct WatchOptions {
    /// Whether the viewer may ask the run for anything.
    pub access: Access,
    /// For a viewer that was started beside a trainer: says, once that process has ended, how, in a
    /// sentence. The run's directory may be empty until then.
    pub trainer: Option<Box<dyn FnMut() -> Option<String>>>,
}

/// Shows a run, or a folder of runs, until the user detaches. Runs are only read and do not notice, but
/// for what the user asks of them.
///
/// # Errors
/// Where there is no run, or no terminal.
pub fn watch(run_dir: &Path, options: WatchOptions) -> Result<(), TuiError> {
    let expected = match options.trainer {
        Some(_) => Expected::Soon,
        None => Expected::Now,
    };
    let mut viewer = Viewer {
        source: Source::open(run_dir, expected)?,
        app: App::new(Theme::from_env(), options.access),
        clock: SystemClock::new(),
    };
    if !std::io::stdout().is_terminal() {
        return Err(TuiError::NoTerminal);
    }
    let mut screen = Screen::enter()?;
    viewer.follow(&mut screen.terminal, options.trainer)
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
        // The terminal may be gone, and then nobody sees what is left on it.
        let _ = execute!(std::io::stdout(), DisableMouseCapture);
        ratatui::restore();
    }
}

/// What is shown and what it is read from.
struct Viewer {
    source: Source,
    app: App,
    clock: SystemClock,
}

impl Viewer {
    fn follow(
        &mut self,
        terminal: &mut DefaultTerminal,
        mut trainer: Option<Box<dyn FnMut() -> Option<String>>>,
    ) -> Result<(), TuiError> {
        let mut drawn_at = None;
        let mut is_changed = true;
        let asked_to_end = asked_to_end()?;
        while !self.app.is_detached() && !asked_to_end.load(Ordering::Relaxed) {
            self.app.update(Msg::Time(self.clock.now_ms()));
            let before = self.read_so_far();
            let trouble = self.source.poll(&mut self.app, &self.clock);
            let is_whole = *trouble.as_ref().unwrap_or(&true);
            let trouble = trouble.err().map(|error| error.to_string());
            self.app.update(Msg::Trouble(trouble));
            if let Some(how) = trainer.as_mut().and_then(|ended| ended()) {
                self.app.update(Msg::TrainerEnded(how));
                (trainer, is_changed) = (None, true);
            }
            is_changed |= before != self.read_so_far();
            let now = self.clock.elapsed();
            let is_due = drawn_at.is_none_or(|at| now.saturating_sub(at) >= REFRESH);
            if is_changed || is_due {
                let size = terminal.size()?;
                self.app.update(Msg::Size(size.width, size.height));
                let app = &self.app;
                terminal.draw(|frame| views::draw(app, frame.area(), frame.buffer_mut()))?;
                drawn_at = Some(self.clock.elapsed());
            }
            // A log that is still being read leaves no time to wait.
            is_changed = self.keys(if is_whole { TICK } else { Duration::ZERO })?;
            is_changed |= self.act()?;
            self.source.read_texts(&mut self.app);
        }
        Ok(())
    }

    /// What the picture depends on, but for keys and the time.
    fn read_so_far(&self) -> (usize, usize, Option<u64>, u64, Option<u64>) {
        let run = self.app.run();
        (
            self.app.runs().len(),
            self.app.shown_run(),
            self.app.shown().0.last_event_ms,
            run.map_or(0, |run| run.browser.num_groups()),
            run.and_then(|run| run.reading),
        )
    }

    /// Waits for a key, then takes all there are. Returns whether anything is to be drawn anew.
    fn keys(&mut self, wait: Duration) -> Result<bool, TuiError> {
        let mut is_changed = false;
        let mut wait = wait;
        while !self.app.is_detached() && event::poll(wait)? {
            if let Some(message) = translate(event::read()?) {
                self.app.update(message);
                is_changed = true;
            }
            wait = Duration::ZERO;
        }
        Ok(is_changed)
    }

    /// Does what the viewer wants done. Returns whether it wanted anything.
    fn act(&mut self) -> Result<bool, TuiError> {
        let effects = self.app.take_effects();
        let is_any = !effects.is_empty();
        for effect in effects {
            let result = match effect {
                Effect::Ask(run, action) => {
                    self.source.ask(run, action, &mut self.app, &self.clock);
                    continue;
                }
                Effect::Export(name, text) => {
                    let written = telemetry::atomic::write_atomic(Path::new(&name), text);
                    let done = written.map(|()| format!("written: {name}"));
                    done.map_err(|error| error.to_string())
                }
                Effect::Copy(text) => {
                    execute!(std::io::stdout(), CopyToClipboard::to_clipboard_from(text))?;
                    Ok("copied, where the terminal allows it".to_owned())
                }
                Effect::Mouse(true) => {
                    execute!(std::io::stdout(), EnableMouseCapture)?;
                    Ok("the mouse clicks and scrolls here; m gives it back".to_owned())
                }
                Effect::Mouse(false) => {
                    execute!(std::io::stdout(), DisableMouseCapture)?;
                    Ok("the mouse is the terminal's again".to_owned())
                }
            };
            match result {
                Ok(text) => self.app.update(Msg::Notice(Level::Note, text)),
                Err(text) => self.app.update(Msg::Notice(Level::Warning, text)),
            }
        }
        std::io::stdout().flush()?;
        Ok(is_any)
    }
}

/// Set once the process is asked to end. Without it the terminal would be left as the viewer uses it.
fn asked_to_end() -> Result<Arc<AtomicBool>, TuiError> {
    let asked = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(asked)
}

fn translate(event: Event) -> Option<Msg> {
    Some(match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Msg::Key(translate_key(key)?),
        Event::Resize(columns, rows) => Msg::Size(columns, rows),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Msg::Click(mouse.column, mouse.row),
            MouseEventKind::ScrollDown => Msg::Key(Key::Down),
            MouseEventKind::ScrollUp => Msg::Key(Key::Up),
            _ => return None,
        },
        _ => return None,
    })
}

fn translate_key(key: KeyEvent) -> Option<Key> {
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
