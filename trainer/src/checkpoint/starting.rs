//! Which checkpoint a run goes on from.

use std::path::{Path, PathBuf};

use telemetry::{CheckpointDir, RunDir};

use super::checksums::{Verified, verify};
use super::{TrainState, read_state};
use crate::TrainError;
use crate::cli::Resume;
use crate::say;

/// Where a run begins.
#[derive(Debug, Default)]
pub struct Start {
    /// The checkpoint with its state; `None` where it begins with the model.
    pub checkpoint: Option<(PathBuf, TrainState)>,
    /// What was wrong with newer checkpoints: said to the user already, and to be logged.
    pub remarks: Vec<String>,
}

impl Start {
    /// Optimizer steps taken before.
    pub fn step(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |(_, state)| state.step)
    }

    fn remark(&mut self, level: &str, message: String) {
        say!("{level}: {message}");
        self.remarks.push(message);
    }
}

/// The checkpoint that a run goes on from. With [`Resume::Auto`] it is the newest one whose files
/// are all as they were written.
///
/// # Errors
/// The run directory cannot be read; with [`Resume::Never`], it holds a checkpoint; with
/// [`Resume::From`], that one is damaged.
pub fn starting_checkpoint(run_dir: &RunDir, resume: &Resume) -> Result<Start, TrainError> {
    let mut start = Start::default();
    match resume {
        Resume::Auto => {
            let checkpoints = run_dir.checkpoints()?;
            for CheckpointDir { path, .. } in checkpoints.iter().rev() {
                match verified_state(path, &mut start) {
                    Ok(state) => {
                        start.checkpoint = Some((path.clone(), state));
                        return Ok(start);
                    }
                    Err(error) => {
                        let name = path.display();
                        start.remark("warning", format!("{name} is passed over: {error}"));
                    }
                }
            }
            if !checkpoints.is_empty() {
                let message = "no checkpoint is whole, so training starts from the model again";
                start.remark("warning", message.to_owned());
            }
        }
        Resume::Never => {
            if let Some(checkpoint) = run_dir.newest_checkpoint()? {
                return Err(TrainError::Usage(format!(
                    "{} is there already\nhint: with `--resume never`, choose an --output without \
                     checkpoints",
                    checkpoint.path.display()
                )));
            }
        }
        Resume::From(dir) => {
            let newest = RunDir::open(dir)
                .ok()
                .and_then(|run| run.newest_checkpoint().ok()?);
            let path = newest.map_or_else(|| dir.clone(), |checkpoint| checkpoint.path);
            let state = verified_state(&path, &mut start).map_err(with_way_out)?;
            start.checkpoint = Some((path, state));
        }
    }
    Ok(start)
}

fn verified_state(dir: &Path, start: &mut Start) -> Result<TrainState, TrainError> {
    // Of a large model this takes minutes.
    say!("checking {}", dir.display());
    let verified = verify(dir)?;
    let state = read_state(dir)?;
    match (verified, state.has_checksums) {
        (Verified::Whole, _) => {}
        (Verified::Unlisted, true) => {
            let message = format!("{}: its list of checksums is missing", dir.display());
            return Err(TrainError::Checkpoint(message));
        }
        (Verified::Unlisted, false) => {
            let message = format!(
                "{} was written by an older version, without checksums: its files are taken as \
                 they are",
                dir.display()
            );
            start.remark("note", message);
        }
    }
    Ok(state)
}

fn with_way_out(error: TrainError) -> TrainError {
    TrainError::Checkpoint(format!(
        "{error}\nhint: copy the checkpoint again, name an older one, or use `--resume auto`, \
         which takes the newest one of the --output directory that is whole"
    ))
}
