//! What can go wrong on the way to and from the disk, always with the file's name.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the run directory, its logs or its control box.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// What was tried: `write`, `read`, `create`, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The run directory's path leads to something that is no directory.
    #[error("{} is a file, not a run directory\nhint: --output names a directory, which is made where it is missing", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// There is no run at this path.
    #[error("{} is no run directory: {reason}\nhint: name the folder that --output named, such as runs/sft", path.display())]
    NotARun {
        /// The path.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// Another process writes this run.
    #[error("{} is being written by another process{holder}\nhint: wait for it, stop it (`trainer control {} stop`), or choose another --output", path.display(), path.display())]
    Locked {
        /// The run directory.
        path: PathBuf,
        /// ` (pid …)`, or nothing where it is not known.
        holder: String,
    },
    /// A file of ours that does not hold what it should.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why it does not parse.
        source: serde_json::Error,
    },
}

impl TelemetryError {
    /// Another process writes the run; its number where it is known.
    pub fn locked(path: &Path, pid: Option<u32>) -> Self {
        Self::Locked {
            path: path.to_owned(),
            holder: pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        }
    }

    /// For `map_err`: names what was tried on which file.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// For `map_err`: names the file whose content does not parse.
    pub(crate) fn json(path: impl AsRef<Path>) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Json {
            path: path.as_ref().to_owned(),
            source,
        }
    }
}

/// What to do about a refusal of the operating system, as a line that begins with `hint:`; empty where the
/// reason says it all.
pub fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: the disk is full: free some space, then resume; what was saved and logged so far is whole"
        }
        io::ErrorKind::FileTooLarge => {
            "\nhint: a file may not grow that large here: raise the limit (`ulimit -f`) or choose another file \
             system, then resume; what was saved and logged so far is whole"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: choose an --output directory that you may write"
        }
        _ => "",
    }
}
