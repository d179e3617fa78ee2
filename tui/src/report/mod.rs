//! A run as a document: a page to send to colleagues, a table for a pull request, an object for a program.
//!
//! [`Report::read`] folds the logs of a run, or of all stages below a folder, into the state that the
//! terminal view draws too. [`Report::html`], [`Report::markdown`] and [`Report::json`] are functions of
//! that; [`Requirement`] asks it whether a metric is good enough.
//!
//! `record` reads, `history`, `groups` and `numbers` choose what is told, `sections` puts it into words,
//! `chart`, `paths` and `scale` into drawings, and the templates in `page/` lay it out. A template holds no
//! number and no decision; whatever it is given is escaped.

mod chart;
mod groups;
mod history;
mod json;
mod markdown;
mod numbers;
mod page;
mod paths;
mod record;
mod require;
mod scale;
mod sections;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use telemetry::{RunDir, TelemetryError};

use crate::TuiError;
use crate::source::{find_runs, run_name};
use record::RunRecord;

pub use require::{Checked, Comparison, Requirement, UnknownMetric};

/// The folders of stages.
const STAGES: [&str; 4] = ["cpt", "sft", "po", "rl"];

/// A run, or the stages of one, oldest first.
#[derive(Debug)]
pub struct Report {
    name: String,
    now_ms: u64,
    runs: Vec<RunRecord>,
}

impl Report {
    /// Reads a run directory and the directories of stages in it, `cpt`, `sft`, `po` and `rl`. One of them
    /// must be there; what has happened in it does not matter. `now_ms` is in milliseconds since 1970: a run
    /// that has been silent for long looks dead.
    ///
    /// # Errors
    /// Where there is no run at this path, or a log of it cannot be read.
    pub fn read(path: &Path, now_ms: u64) -> Result<Self, TuiError> {
        let found = find_runs(path);
        let is_stage = |run: &&PathBuf| {
            let name = run.file_name().unwrap_or_default();
            run.parent() == Some(path) && STAGES.iter().any(|stage| name == *stage)
        };
        let shown = found.iter().filter(|run| *run == path || is_stage(run));
        let dirs: Vec<RunDir> = shown.map(RunDir::open).collect::<Result<_, _>>()?;
        if dirs.is_empty() && !found.is_empty() {
            return Err(TuiError::Run(TelemetryError::NotARun {
                path: path.to_owned(),
                reason: "it is a folder of runs, and a report is of one of them",
            }));
        }
        if dirs.is_empty() {
            // What is missing is best said by who looks for it.
            RunDir::open(path)?;
        }
        let runs = dirs.iter().map(|dir| RunRecord::read(dir, now_ms));
        Ok(Self {
            name: run_name(path),
            now_ms,
            runs: runs.collect::<Result<_, _>>()?,
        })
    }

    /// The last value of the metric that a requirement is about, in the last stage.
    ///
    /// # Errors
    /// Where that stage logged no metric of the name.
    pub fn check(&self, requirement: &Requirement) -> Result<Checked, UnknownMetric> {
        requirement.check(&self.last().store)
    }

    /// The stage that the others lead to.
    fn last(&self) -> &RunRecord {
        self.runs.last().expect("a report has a run")
    }
}
