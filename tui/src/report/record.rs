//! A run as its directory tells it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use telemetry::tail::TailCounts;
use telemetry::{EventTail, RunDir, RunManifest};

use super::groups::Groups;
use super::history::History;
use crate::TuiError;
use crate::source::run_name;
use crate::store::Store;
use crate::store::status::Status;

/// All that is told of a run.
#[derive(Debug, Default)]
pub struct RunRecord {
    /// The last two parts of its path.
    pub name: String,
    /// Its log, folded.
    pub store: Store,
    /// What only a look back needs of the log.
    pub history: History,
    /// What of the log could not be used.
    pub counts: TailCounts,
    /// What ran; `None` where the file is missing or broken.
    pub manifest: Option<RunManifest>,
    /// The resolved recipe.
    pub recipe: Option<String>,
    /// Some of what the model wrote.
    pub groups: Groups,
    /// Files that are there and cannot be read, a sentence each.
    pub troubles: Vec<String>,
    /// When the report is made, in milliseconds since 1970.
    pub now_ms: u64,
}

impl RunRecord {
    /// Reads it. Only a log that is there and cannot be read is an error; whatever else is wrong is told.
    pub fn read(dir: &RunDir, now_ms: u64) -> Result<Self, TuiError> {
        let mut record = Self {
            name: run_name(dir.path()),
            now_ms,
            ..Self::default()
        };
        record.read_events(&dir.events_file())?;
        match RunManifest::read(dir) {
            Ok(manifest) => record.manifest = Some(manifest),
            Err(_) if !dir.manifest_file().exists() => {}
            Err(error) => record.troubles.push(error.to_string()),
        }
        match fs::read_to_string(dir.recipe_file()) {
            Ok(recipe) => record.recipe = Some(recipe),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => record.troubles.push(format!("recipe.toml: {error}")),
        }
        record.groups = Groups::read(&dir.samples_file())?;
        record.troubles.append(&mut record.groups.troubles);
        Ok(record)
    }

    fn read_events(&mut self, path: &Path) -> Result<(), TuiError> {
        let mut tail = EventTail::new(path);
        loop {
            let batch = tail.poll()?;
            if batch.restarted {
                (self.store, self.history) = Default::default();
            }
            for line in batch.lines {
                self.history.add(&line);
                self.store.fold(line);
            }
            if batch.at_end {
                self.counts = tail.counts().clone();
                return Ok(());
            }
        }
    }

    /// How the run is doing.
    pub fn status(&self) -> Status {
        self.store.status(self.now_ms)
    }

    /// The stage, from the log or else from the manifest; empty where neither says.
    pub fn stage(&self) -> &str {
        match (self.store.stage(), &self.manifest) {
            ("", Some(manifest)) => &manifest.stage,
            (stage, _) => stage,
        }
    }
}
