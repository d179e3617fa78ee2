//! Whole runs, from their logs to the screen.

mod frames;
mod robust;

use std::path::{Path, PathBuf};

use telemetry::{EventTail, FixedClock, RunDir};

use crate::app::{Access, App, Msg};
use crate::keymap::Key;
use crate::source::{Expected, Source};
use crate::theme::Theme;

/// The folder of recorded runs, `NAME.jsonl` with `NAME.samples.jsonl`.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A run directory with these logs.
fn run_with(events: &[u8], samples: Option<&[u8]>) -> (tempfile::TempDir, RunDir) {
    let dir = tempfile::tempdir().unwrap();
    let run = put_run(dir.path(), events, samples);
    (dir, run)
}

pub(crate) fn put_run(path: &Path, events: &[u8], samples: Option<&[u8]>) -> RunDir {
    let run = RunDir::create(path).unwrap();
    std::fs::write(run.recipe_file(), "").unwrap();
    if !events.is_empty() {
        std::fs::write(run.events_file(), events).unwrap();
    }
    if let Some(samples) = samples {
        std::fs::write(run.samples_file(), samples).unwrap();
    }
    run
}

/// A viewer of a fixture, and what it reads from.
struct Played {
    app: App,
    source: Source,
    dir: tempfile::TempDir,
}

impl Played {
    /// Reads the fixture, `age_ms` after its last event.
    fn new(fixture: &str, age_ms: u64, size: (u16, u16)) -> Self {
        let path = |ending: &str| fixtures().join(format!("{fixture}{ending}"));
        let events = std::fs::read(path(".jsonl")).unwrap_or_default();
        let samples = std::fs::read(path(".samples.jsonl")).ok();
        let dir = tempfile::tempdir().unwrap();
        let run = put_run(
            &dir.path().join("tower_plus_2b").join(fixture),
            &events,
            samples.as_deref(),
        );
        let (lines, _) = EventTail::read_all(run.events_file()).unwrap();
        let mut app = App::new(Theme::PLAIN, Access::Control);
        app.update(Msg::Size(size.0, size.1));
        app.update(Msg::Time(
            lines.last().map_or(0, |line| line.time_ms) + age_ms,
        ));
        let source = read(&mut app, &run);
        Self { app, source, dir }
    }

    /// Presses a key for each character; `⏎` is Enter, `⎋` Escape, `⇥` Tab. What the viewer then wants done
    /// is done.
    fn press(&mut self, keys: &str) {
        for c in keys.chars() {
            self.app.update(Msg::Key(match c {
                '⏎' => Key::Enter,
                '⎋' => Key::Esc,
                '⇥' => Key::Tab,
                c => Key::Char(c),
            }));
            self.source.read_texts(&mut self.app);
        }
    }
}

/// Reads all there is.
fn read(app: &mut App, run: &RunDir) -> Source {
    let clock = FixedClock::new(0);
    let mut source = Source::open(run.path(), Expected::Now).unwrap();
    while !source.poll(app, &clock).unwrap() {}
    source
}
