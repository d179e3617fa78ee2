//! Writing a whole directory aside before it gets its name.

use crate::TelemetryError;
use crate::atomic::{TEMPORARY_PREFIX, parent, sync_dir, sync_file, temporary_name};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory in the making, e.g. `.tmp-checkpoint-40-…` that is to become `checkpoint-40`.
///
/// Dropped before [`StagedDir::commit`], it is removed; killed before, it is cleaned by the
/// next process that locks the run.
#[derive(Debug)]
pub struct StagedDir {
    staged: PathBuf,
    target: PathBuf,
}

impl StagedDir {
    /// Makes the empty directory beside its target.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self, TelemetryError> {
        let target = target.into();
        let staged = temporary_name(&target);
        fs::create_dir(&staged).map_err(TelemetryError::io("create", &staged))?;
        Ok(Self { staged, target })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.staged
    }

    /// Waits until every file is on the disk, then gives the directory its name and returns it.
    ///
    /// A directory that already has the name is replaced: it steps aside first and is put back on the next
    /// start should this process die in between.
    pub fn commit(self) -> Result<PathBuf, TelemetryError> {
        let fail = |error| TelemetryError::io("write", &self.target)(error);
        let replaced = replaced_name(&self.target);
        sync_tree(&self.staged).map_err(fail)?;
        let replaces = self.target.exists();
        if replaces {
            fs::rename(&self.target, &replaced).map_err(fail)?;
        }
        if let Err(error) = fs::rename(&self.staged, &self.target) {
            if replaces {
                fs::rename(&replaced, &self.target).map_err(fail)?;
            }
            return Err(fail(error));
        }
        sync_dir(parent(&self.target)).map_err(fail)?;
        if replaces {
            fs::remove_dir_all(&replaced).map_err(TelemetryError::io("remove", &replaced))?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        // After a commit there is nothing under this name; otherwise what cannot be removed is cleaned next time.
        let _ = fs::remove_dir_all(&self.staged);
    }
}

/// Removes what killed processes left unfinished in a run directory, and returns their names. A directory
/// that had stepped aside for a replacement that never came gets its name back.
///
/// Only for the process that holds the run's lock: another's work in progress looks the same.
pub fn clean_leftovers(dir: &Path) -> Result<Vec<String>, TelemetryError> {
    let fail = || TelemetryError::io("clean", dir);
    let mut leftovers = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail())? {
        let entry = entry.map_err(fail())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(TEMPORARY_PREFIX) {
            continue;
        }
        let path = entry.path();
        let replaced = name
            .strip_prefix(REPLACED_PREFIX)
            .map(|name| dir.join(name))
            .filter(|target| !target.exists());
        match replaced {
            Some(target) => fs::rename(&path, target),
            None if entry.file_type().map_err(fail())?.is_dir() => fs::remove_dir_all(&path),
            None => fs::remove_file(&path),
        }
        .map_err(TelemetryError::io("clean", &path))?;
        leftovers.push(name);
    }
    leftovers.sort();
    Ok(leftovers)
}

const REPLACED_PREFIX: &str = ".tmp-replaced-";

fn replaced_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{REPLACED_PREFIX}{name}"))
}

/// Waits until a directory and everything under it is on the disk.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => sync_tree(&entry.path())?,
            kind if kind.is_file() => sync_file(&entry.path())?,
            _ => {}
        }
    }
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn stage(dir: &Path, content: &str) -> StagedDir {
        let staged = StagedDir::create(dir.join("checkpoint-40")).unwrap();
        fs::create_dir(staged.path().join("trainer_state")).unwrap();
        fs::write(staged.path().join("trainer_state/rng.json"), content).unwrap();
        staged
    }

    #[test]
    fn a_directory_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let staged = stage(dir.path(), "1");
        assert!(
            names(dir.path())
                .iter()
                .all(|name| !name.starts_with("checkpoint-"))
        );
        assert_eq!(staged.commit().unwrap(), dir.path().join("checkpoint-40"));
        assert_eq!(names(dir.path()), ["checkpoint-40"]);
        drop(stage(dir.path(), "2"));
        assert_eq!(names(dir.path()), ["checkpoint-40"]);
    }

    #[test]
    fn a_directory_of_the_same_name_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        stage(dir.path(), "1").commit().unwrap();
        stage(dir.path(), "2").commit().unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("checkpoint-40/trainer_state/rng.json")).unwrap(),
            "2"
        );
        assert_eq!(names(dir.path()), ["checkpoint-40"]);
    }

    #[cfg(unix)]
    #[test]
    fn read_only_files_are_synced_too() {
        let dir = tempfile::tempdir().unwrap();
        let staged = stage(dir.path(), "1");
        let file = staged.path().join("trainer_state/rng.json");
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();
        staged.commit().unwrap();
    }

    #[test]
    fn leftovers_of_a_killed_process_are_cleaned_and_a_displaced_checkpoint_returns() {
        let dir = tempfile::tempdir().unwrap();
        std::mem::forget(stage(dir.path(), "half"));
        fs::write(dir.path().join(".tmp-manifest.json-1-0"), "half").unwrap();
        fs::create_dir(dir.path().join("checkpoint-20")).unwrap();
        fs::create_dir(dir.path().join(".tmp-replaced-checkpoint-20")).unwrap();
        fs::create_dir(dir.path().join(".tmp-replaced-checkpoint-30")).unwrap();
        fs::write(dir.path().join("events.jsonl"), "").unwrap();
        assert_eq!(clean_leftovers(dir.path()).unwrap().len(), 4);
        assert_eq!(
            names(dir.path()),
            ["checkpoint-20", "checkpoint-30", "events.jsonl"]
        );
    }
}
