//! Whole runs, from their logs to the screen.

mod frames;
mod properties;
mod robust;
mod samples_any;
mod samples_frames;
mod states;

use std::io::Write;
use std::path::{Path, PathBuf};

use telemetry::{ControlBox, FixedClock, RunDir};

use crate::app::{Access, App, Effect, Msg};
use crate::keymap::Key;
use crate::source::{Expected, Source};
use crate::theme::Theme;

const SMALL: (u16, u16) = (80, 24);
const MEDIUM: (u16, u16) = (120, 40);
const LARGE: (u16, u16) = (200, 60);

/// Compares a picture with the one in `snapshots/`. `INSTA_UPDATE=always cargo test -p tui` writes them anew;
/// look at the difference before it is committed.
fn check_text(text: &str, name: &str) {
    let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
    insta::with_settings!({
        snapshot_path => format!("../../snapshots/{folder}"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

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

fn put_fixture(dir: &tempfile::TempDir, fixture: &str) {
    let path = |ending: &str| fixtures().join(format!("{fixture}{ending}"));
    let events = std::fs::read(path(".jsonl")).unwrap_or_default();
    let samples = std::fs::read(path(".samples.jsonl")).ok();
    let run = dir.path().join("tower_plus_2b").join(fixture);
    put_run(&run, &events, samples.as_deref());
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
        let dir = tempfile::tempdir().unwrap();
        put_fixture(&dir, fixture);
        let root = dir.path().join("tower_plus_2b").join(fixture);
        Self::open(dir, &root, age_ms, size)
    }

    /// Reads a folder with these fixtures.
    fn folder(fixtures: &[&str], age_ms: u64, size: (u16, u16)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fixtures
            .iter()
            .for_each(|fixture| put_fixture(&dir, fixture));
        let root = dir.path().to_owned();
        Self::open(dir, &root, age_ms, size)
    }

    fn open(dir: tempfile::TempDir, root: &Path, age_ms: u64, size: (u16, u16)) -> Self {
        let mut app = App::new(Theme::PLAIN, Access::Control);
        app.update(Msg::Size(size.0, size.1));
        let clock = FixedClock::new(0);
        let mut source = Source::open(root, Expected::Now).unwrap();
        while !source.poll(&mut app, &clock).unwrap() {}
        let last = app.shown().0.last_event_ms.unwrap_or(0);
        app.update(Msg::Time(last + age_ms));
        app.pretend_paths();
        Self { app, source, dir }
    }

    /// Does what the viewer wants done.
    fn act(&mut self) {
        let clock = FixedClock::new(self.app.now_ms);
        for effect in self.app.take_effects() {
            if let Effect::Ask(run, action) = effect {
                self.source.ask(run, action, &mut self.app, &clock);
            }
        }
    }

    fn run_dir(&self) -> RunDir {
        RunDir::open(self.dir.path().join(&self.app.run().unwrap().name)).unwrap()
    }

    /// What the trainer finds in the control box.
    fn requests(&self) -> Vec<&'static str> {
        let taken = ControlBox::new(&self.run_dir()).take().unwrap();
        taken
            .requests
            .iter()
            .map(|request| request.action.name())
            .collect()
    }

    /// Writes the trainer's answer to the latest request into the log, and reads it.
    fn answer(&mut self, status: &str, reason: Option<&str>) {
        let asked = self.app.run().unwrap().latest_asked().unwrap();
        let line = serde_json::json!({
            "v": 1, "time": self.app.now_ms, "kind": "control", "id": asked.id,
            "action": asked.action.name(), "status": status, "reason": reason,
        });
        self.log(&[&line.to_string()]);
    }

    /// Writes lines into the log, and reads them.
    fn log(&mut self, lines: &[&str]) {
        let path = self.run_dir().events_file();
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        lines
            .iter()
            .for_each(|line| writeln!(file, "{line}").unwrap());
        let clock = FixedClock::new(0);
        self.source.poll(&mut self.app, &clock).unwrap();
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
