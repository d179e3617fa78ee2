//! One writer a run.

use crate::TelemetryError;
use crate::staged_dir::clean_leftovers;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

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

/// Whether a trainer works on a run at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// None.
    Nobody,
    /// The process of this number, where it is known.
    Process(Option<u32>),
    /// The file system has no locks to tell by.
    Unknown,
}

impl Writer {
    pub(crate) fn of(run_dir: &Path) -> Result<Self, TelemetryError> {
        let path = run_dir.join(".lock");
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Nobody),
            file => file.map_err(TelemetryError::io("open", &path))?,
        };
        // Shared, so that those who look are not in each other's way; it ends with `file`.
        match file.try_lock_shared() {
            Ok(()) => Ok(Self::Nobody),
            Err(TryLockError::WouldBlock) => Ok(Self::Process(holder(&path))),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                Ok(Self::Unknown)
            }
            Err(TryLockError::Error(error)) => Err(TelemetryError::io("lock", &path)(error)),
        }
    }
}

/// The process that says in the file that it holds the lock.
pub(crate) fn holder(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Somebody who looks whether a run is being written holds its lock for a moment.
const ATTEMPTS: usize = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..ATTEMPTS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN_ATTEMPTS),
            result => return result,
        }
    }
    file.try_lock()
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
        match try_lock(&file) {
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
            Err(TryLockError::WouldBlock) => Err(TelemetryError::locked(run_dir, holder(&path))),
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
    fn one_can_look_whether_a_run_is_being_written_and_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let look = || Writer::of(dir.path()).unwrap();
        assert_eq!(look(), Writer::Nobody);
        let lock = RunLock::acquire(dir.path()).unwrap();
        assert_eq!(look(), Writer::Process(Some(std::process::id())));
        drop(lock);
        assert_eq!(look(), Writer::Nobody);
    }

    #[test]
    fn looking_keeps_no_trainer_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        drop(RunLock::acquire(dir.path()).unwrap());
        let path = dir.path().join(".lock");
        let looker = File::open(&path).unwrap();
        looker.try_lock_shared().unwrap();
        let looking = thread::spawn(move || {
            thread::sleep(3 * BETWEEN_ATTEMPTS);
            drop(looker);
        });
        RunLock::acquire(dir.path()).unwrap();
        looking.join().unwrap();
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
