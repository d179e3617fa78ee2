//! A run's directory:
//!
//! ```text
//! recipe.toml      the resolved recipe          manifest.json   what ran, on what, from what data
//! events.jsonl     the event log                samples.jsonl   what the model wrote
//! checkpoint-N/    a model folder each          control/        requests to the trainer
//! best.json        which checkpoint is best, where the recipe names a metric
//! trainer.log      what a trainer that was started with a viewer says; results.txt, what it prints
//! tensorboard/     event files                  metrics.prom    the last metrics, both where report_to says so
//! ```
//! What a resumed run leaves behind has a name that begins with `abandoned-`. Names that begin with `.tmp-` are unfinished; `.lock` keeps a second trainer out,
//! and `.process` says what a process of several stages is doing.

use crate::atomic::temporary_name;
use crate::{RunLock, TelemetryError, Writer};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The directory of one run, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

/// A whole checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointDir {
    /// Optimizer steps in it.
    pub step: u64,
    /// Its directory.
    pub path: PathBuf,
}

impl RunDir {
    /// For the trainer: makes the directory where it is missing and checks that it can be written.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, TelemetryError> {
        let path = path.into();
        if path.exists() && !path.is_dir() {
            return Err(TelemetryError::NotADirectory { path });
        }
        let run = Self { path };
        fs::create_dir_all(run.control_dir()).map_err(TelemetryError::io("create", &run.path))?;
        let probe = temporary_name(&run.path.join("probe"));
        let probed = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
        probed.map_err(TelemetryError::io("write in", &run.path))?;
        Ok(run)
    }

    /// For a viewer: the directory of a run that exists. It need not have come to its first event.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TelemetryError> {
        let path = path.into();
        let metadata = fs::metadata(&path).map_err(TelemetryError::io("open", &path))?;
        if !metadata.is_dir() {
            return Err(TelemetryError::NotARun {
                path,
                reason: "it is a file",
            });
        }
        let run = Self { path };
        if [run.events_file(), run.recipe_file(), run.manifest_file()]
            .iter()
            .all(|file| !file.exists())
        {
            return Err(TelemetryError::NotARun {
                path: run.path,
                reason: "it has no events.jsonl, recipe.toml or manifest.json",
            });
        }
        Ok(run)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved recipe.
    pub fn recipe_file(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// What ran, see [`crate::RunManifest`].
    pub fn manifest_file(&self) -> PathBuf {
        self.path.join("manifest.json")
    }

    /// The event log.
    pub fn events_file(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// The sample log.
    pub fn samples_file(&self) -> PathBuf {
        self.path.join("samples.jsonl")
    }

    /// Samples of steps that a resumed run took once more.
    pub fn abandoned_samples_file(&self) -> PathBuf {
        self.path.join("abandoned-samples.jsonl")
    }

    /// Which checkpoint is the best one, where the recipe names a metric.
    pub fn best_file(&self) -> PathBuf {
        self.path.join("best.json")
    }

    /// Event files for TensorBoard, see [`crate::TensorBoard`].
    pub fn tensorboard_dir(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// The last metrics for Prometheus, see [`crate::Prometheus`].
    pub fn prometheus_file(&self) -> PathBuf {
        self.path.join("metrics.prom")
    }

    /// The control box, see [`crate::ControlBox`].
    pub fn control_dir(&self) -> PathBuf {
        self.path.join("control")
    }

    /// Where the checkpoint after that many steps belongs; written through [`crate::StagedDir`].
    pub fn checkpoint_dir(&self, step: u64) -> PathBuf {
        self.path.join(format!("checkpoint-{step}"))
    }

    /// The whole checkpoints, by rising step.
    pub fn checkpoints(&self) -> Result<Vec<CheckpointDir>, TelemetryError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(TelemetryError::io("read", &self.path))?,
        };
        let mut checkpoints = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(TelemetryError::io("read", &self.path))?
                .path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let step = name
                .strip_prefix("checkpoint-")
                .and_then(|digits| digits.parse().ok());
            // The name must be the one we would give: `checkpoint-+5` and `checkpoint-007` are not ours.
            if let Some(step) = step
                && path.is_dir()
                && path == self.checkpoint_dir(step)
            {
                checkpoints.push(CheckpointDir { step, path });
            }
        }
        checkpoints.sort();
        Ok(checkpoints)
    }

    /// The checkpoint to go on from.
    pub fn newest_checkpoint(&self) -> Result<Option<CheckpointDir>, TelemetryError> {
        Ok(self.checkpoints()?.pop())
    }

    /// For the trainer that goes on from an earlier step: gives a checkpoint a name under which no run finds it,
    /// and returns that. It no longer belongs to what follows, and somebody may still want it.
    pub fn set_aside(&self, checkpoint: &CheckpointDir) -> Result<PathBuf, TelemetryError> {
        let name = format!("abandoned-checkpoint-{}", checkpoint.step);
        let mut numbered = (2..).map(|n| self.path.join(format!("{name}-{n}")));
        let mut target = self.path.join(&name);
        while target.exists() {
            target = numbered.next().expect("numbers do not end");
        }
        fs::rename(&checkpoint.path, &target)
            .map_err(TelemetryError::io("rename", &checkpoint.path))?;
        Ok(target)
    }

    /// For the trainer, before it writes anything: keeps other trainers out while the lock lives, and cleans
    /// what a killed one left unfinished.
    pub fn lock(&self) -> Result<RunLock, TelemetryError> {
        RunLock::acquire(&self.path)
    }

    /// For everybody else: whether a trainer works on the run now.
    pub fn writer(&self) -> Result<Writer, TelemetryError> {
        Writer::of(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StagedDir;

    #[test]
    fn a_file_in_its_place_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = RunDir::create(file.path()).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!(
                "{} is a file, not a run directory",
                file.path().display()
            )),
            "{message}"
        );
        let message = RunDir::create(file.path().join("run"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("cannot create") && message.contains("Not a directory"),
            "{message}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_place_that_cannot_be_written_is_refused_by_name() {
        // Not even root may make a directory in /proc.
        let message = RunDir::create("/proc/keep-run").unwrap_err().to_string();
        assert!(
            message.contains("cannot create /proc/keep-run"),
            "{message}"
        );
    }

    #[test]
    fn checkpoints_come_sorted_and_only_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path().join("new/run")).unwrap();
        assert_eq!(run.newest_checkpoint().unwrap(), None);
        for name in [
            "checkpoint-100",
            "checkpoint-20",
            "checkpoint-007",
            "checkpoint-+5",
            "checkpoint-best",
            "checkpoint-",
            "other",
        ] {
            fs::create_dir(run.path().join(name)).unwrap();
        }
        fs::write(run.path().join("checkpoint-300"), "a file").unwrap();
        let _unfinished = StagedDir::create(run.checkpoint_dir(200)).unwrap();
        assert_eq!(
            run.checkpoints()
                .unwrap()
                .iter()
                .map(|c| c.step)
                .collect::<Vec<_>>(),
            [20, 100]
        );
        assert_eq!(
            run.newest_checkpoint().unwrap().unwrap().path,
            run.checkpoint_dir(100)
        );
    }

    #[test]
    fn a_checkpoint_set_aside_is_kept_and_no_longer_found() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        for name in ["abandoned-checkpoint-20", "abandoned-checkpoint-20-2"] {
            fs::create_dir(run.path().join(name)).unwrap();
            fs::create_dir(run.checkpoint_dir(20)).unwrap();
            let aside = run.set_aside(&run.newest_checkpoint().unwrap().unwrap());
            let aside = aside.unwrap();
            assert!(aside.is_dir() && aside != run.path().join(name));
            assert_eq!(run.checkpoints().unwrap(), []);
            fs::remove_dir(aside).unwrap();
        }
    }

    #[test]
    fn locking_cleans_up_after_a_killed_trainer() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        std::mem::forget(StagedDir::create(run.checkpoint_dir(5)).unwrap());
        let lock = run.lock().unwrap();
        assert_eq!(lock.cleaned().len(), 1);
        let leftovers = fs::read_dir(run.path()).unwrap().filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with(".tmp-")
        });
        assert_eq!(leftovers.count(), 0);
        assert!(matches!(run.lock(), Err(TelemetryError::Locked { .. })));
    }

    #[test]
    fn a_viewer_opens_runs_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let message = RunDir::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("is no run directory"), "{message}");
        fs::write(dir.path().join("recipe.toml"), "").unwrap();
        assert!(RunDir::open(dir.path()).is_ok());
        assert!(
            RunDir::open(dir.path().join("absent"))
                .unwrap_err()
                .to_string()
                .contains("cannot open")
        );
    }
}
