//! That a process is at work on a directory, also while it holds no run of it.

use crate::TelemetryError;
use crate::run_lock::{holder, try_lock};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, Write};
use std::path::Path;

const NAME: &str = ".process";

/// A process's mark on the directory that it was given, held until dropped or until the process ends, however
/// it ends. One that trains several stages, or makes the demo's data first, has the lock of a run only
/// while that stage trains.
#[derive(Debug)]
pub struct ProcessMark {
    file: File,
}

/// A process that has left its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number, where it is known.
    pub pid: Option<u32>,
    /// What it does at this moment: `prepares the demo`.
    pub does: String,
}

impl ProcessMark {
    /// Leaves a mark in a directory that is there. `None` where another process has one, or the file system
    /// has no locks to tell by.
    pub fn leave(dir: &Path, does: &str) -> Result<Option<Self>, TelemetryError> {
        let path = dir.join(NAME);
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = open.map_err(TelemetryError::io("open", &path))?;
        match try_lock(&file) {
            Ok(()) => {
                let mut mark = Self { file };
                mark.now(does).map_err(TelemetryError::io("write", &path))?;
                Ok(Some(mark))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(TryLockError::Error(error)) => Err(TelemetryError::io("lock", &path)(error)),
        }
    }

    /// Says what the process does from now on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn now(&mut self, does: &str) -> std::io::Result<()> {
        let text = format!("{}\n{does}\n", std::process::id());
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    /// The process at work on a directory, if one has left its mark there.
    pub fn of(dir: &Path) -> Result<Option<Process>, TelemetryError> {
        let path = dir.join(NAME);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(TelemetryError::io("open", &path))?,
        };
        // Shared, so that those who look are not in each other's way; it ends with `file`.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                Ok(Some(Process {
                    pid: holder(&path),
                    does: text.lines().nth(1).unwrap_or("starts").to_owned(),
                }))
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(TryLockError::Error(error)) => Err(TelemetryError::io("lock", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_who_does_what_until_its_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let look = || ProcessMark::of(dir.path()).unwrap();
        assert_eq!(look(), None);
        let mark = ProcessMark::leave(dir.path(), "prepares the demo").unwrap();
        let mut mark = mark.expect("nobody else has one");
        let process = |does: &str| {
            let (pid, does) = (Some(std::process::id()), does.to_owned());
            Some(Process { pid, does })
        };
        assert_eq!(look(), process("prepares the demo"));
        mark.now("begins").unwrap();
        assert_eq!(look(), process("begins"));
        assert!(ProcessMark::leave(dir.path(), "").unwrap().is_none());
        drop(mark);
        assert_eq!(look(), None);
    }
}
