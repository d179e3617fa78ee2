//! One writer a run.

use crate::TelemetryError;
use crate::staged_dir::clean_leftovers;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The right to write a run directory, held until dropped or until the process ends, however it ends.
///
/// It is an advisory lock of the operating system on the file `.lock`, so a killed trainer leaves nothing
/// that would have to be cleared by hand.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
    is_supported: bool,
    cleaned: Vec<String>,
}

impl RunLock {
    pub(crate) fn acquire(run_dir: &Path) -> Result<Self, TelemetryError> {
        let path = run_dir.join(".lock");
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = open.map_err(TelemetryError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                let note = file
                    .set_len(0)
                    .and_then(|()| writeln!(file, "{}", std::process::id()));
                note.map_err(TelemetryError::io("write", &path))?;
                Ok(Self {
                    _file: file,
                    is_supported: true,
                    cleaned: clean_leftovers(run_dir)?,
                })
            }
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path)
                    .ok()
                    .filter(|pid| !pid.trim().is_empty());
                let holder = holder
                    .map(|pid| format!(" (pid {})", pid.trim()))
                    .unwrap_or_default();
                Err(TelemetryError::Locked {
                    path: run_dir.to_owned(),
                    holder,
                })
            }
            // Some network file systems have no locks; training there is better than not training at all.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(Self {
                _file: file,
                is_supported: false,
                cleaned: Vec::new(),
            }),
            Err(TryLockError::Error(error)) => Err(TelemetryError::io("lock", &path)(error)),
        }
    }

    /// Names of what a killed trainer had left unfinished, removed with the lock in hand; worth a warning.
    pub fn cleaned(&self) -> &[String] {
        &self.cleaned
    }

    /// Whether the file system knows locks. Where it does not, the caller warns: nothing keeps a second
    /// trainer out.
    pub fn is_supported(&self) -> bool {
        self.is_supported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunLock::acquire(dir.path()).unwrap();
        assert!(first.is_supported());
        let message = RunLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains(&format!("another process (pid {})", std::process::id())),
            "{message}"
        );
        drop(first);
        RunLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_that_nobody_holds_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".lock"), "99999999\n").unwrap();
        RunLock::acquire(dir.path()).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join(".lock")).unwrap(),
            format!("{}\n", std::process::id())
        );
    }
}
