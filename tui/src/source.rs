//! The files of one run or of a folder of runs, read a slice at a time.

mod folder;
mod run_source;

use std::path::{Path, PathBuf};
use std::time::Duration;

use telemetry::{Clock, ControlAction, ControlBox, RunDir, TelemetryError};

use crate::app::{App, Msg};
use crate::store::journal::Level;
use run_source::RunSource;

pub use folder::{Expected, find_runs, run_name};

/// Where a viewer's messages about runs come from.
#[derive(Debug)]
pub struct Source {
    root: PathBuf,
    runs: Vec<RunSource>,
    looked_at: Option<Duration>,
}

/// How often the folder is searched for new runs, and the runs that are not looked at for new lines.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Source {
    /// A run, or a folder with runs in it at most two levels down.
    ///
    /// # Errors
    /// Where there is none, unless one is expected to come.
    pub fn open(root: &Path, expected: Expected) -> Result<Self, TelemetryError> {
        if find_runs(root).is_empty() {
            match expected {
                // Says what is missing.
                Expected::Now => drop(RunDir::open(root)?),
                Expected::Soon => {}
            }
        }
        Ok(Self {
            root: root.to_owned(),
            runs: Vec::new(),
            looked_at: None,
        })
    }

    /// Reads at most a few megabytes of each log into the viewer. Returns whether that was all.
    ///
    /// # Errors
    /// Where a log is there and cannot be read.
    pub fn poll(&mut self, app: &mut App, clock: &dyn Clock) -> Result<bool, TelemetryError> {
        let now = clock.elapsed();
        let is_due = self
            .looked_at
            .is_none_or(|at| now.saturating_sub(at) >= LOOK_EVERY);
        // A run that cannot be read keeps none of the others from being read.
        let mut result = Ok(true);
        if is_due {
            self.looked_at = Some(now);
            result = self.look(app).map(|()| true);
        }
        for (number, run) in self.runs.iter_mut().enumerate() {
            let read = match app.needs_whole(number) {
                true => run.poll(number, app),
                false => run.rest(is_due, number, app).map(|()| true),
            };
            result = match (result, read) {
                (Ok(before), Ok(is_whole)) => Ok(before && is_whole),
                (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            };
        }
        result
    }

    /// Finds runs that have come, and at first decides which one to show: the one written to last. One that
    /// cannot be read is the first error, once the others are found.
    fn look(&mut self, app: &mut App) -> Result<(), TelemetryError> {
        let is_first = self.runs.is_empty();
        let mut result = Ok(());
        for path in find_runs(&self.root) {
            if self.runs.iter().all(|run| run.path() != path) {
                result = result.and(self.add(&path, app));
            }
        }
        if is_first {
            let last_event = |number: &usize| app.runs()[*number].head().last_event_ms;
            if let Some(latest) = (0..self.runs.len()).max_by_key(last_event) {
                app.show_run(latest);
            }
        }
        result
    }

    fn add(&mut self, path: &Path, app: &mut App) -> Result<(), TelemetryError> {
        let mut run = RunSource::open(path)?;
        let number = self.runs.len();
        app.update(Msg::Found(run_name(path), path.display().to_string()));
        let glanced = run.glance(number, app);
        self.runs.push(run);
        glanced
    }

    /// Reads the texts that the viewer asks for.
    pub fn read_texts(&self, app: &mut App) {
        let number = app.shown_run();
        if let Some(run) = self.runs.get(number) {
            run.read_texts(number, app);
        }
    }

    /// Puts a request into a run's control box, and tells the viewer its id or why that cannot be done.
    pub fn ask(&self, number: usize, action: ControlAction, app: &mut App, clock: &dyn Clock) {
        let Some(run) = self.runs.get(number) else {
            return;
        };
        let sent =
            RunDir::open(run.path()).and_then(|dir| ControlBox::new(&dir).send(action, clock));
        app.update(match sent {
            Ok(request) => Msg::Asked(number, action, request.id),
            Err(error) => Msg::Notice(Level::Warning, format!("cannot ask the run: {error}")),
        });
    }
}
