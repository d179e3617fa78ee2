//! Files and directories that are either there, whole, or not there.

use crate::TelemetryError;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the names of everything unfinished begin, so that no reader takes it for the real thing.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Writes a file aside, waits until it is on the disk, and gives it its name, replacing what had it.
pub fn write_atomic(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), TelemetryError> {
    let temporary = temporary_name(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes.as_ref())?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = renamed {
        // Best effort: what is left is cleaned on the next start.
        let _ = fs::remove_file(&temporary);
        return Err(TelemetryError::io("write", path)(error));
    }
    sync_dir(parent(path)).map_err(TelemetryError::io("flush", parent(path)))
}

/// Removes a directory so that nobody ever sees half of it: first its name goes, then its content.
pub fn remove_dir_atomic(path: &Path) -> Result<(), TelemetryError> {
    let temporary = temporary_name(path);
    fs::rename(path, &temporary)
        .and_then(|()| fs::remove_dir_all(&temporary))
        .map_err(TelemetryError::io("remove", path))
}

/// A name beside `path` that nobody else uses and no reader looks at.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .unwrap_or(OsStr::new("file"))
        .to_string_lossy();
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    path.with_file_name(format!("{TEMPORARY_PREFIX}{name}-{process}-{count}"))
}

/// The directory a path is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Waits until a file is on the disk.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    // Windows flushes only what is open for writing; elsewhere reading is enough, and a copied tokenizer file
    // may be read-only.
    fs::OpenOptions::new()
        .read(true)
        .write(cfg!(windows))
        .open(path)?
        .sync_all()
}

/// Waits until a directory's names are on the disk, where the system has such a thing.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        write_atomic(&path, "one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file_and_keeps_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent/manifest.json");
        let message = write_atomic(&path, "x").unwrap_err().to_string();
        assert!(
            message.contains("absent/manifest.json: No such file"),
            "{message}"
        );
        let taken = dir.path().join("taken");
        fs::create_dir_all(taken.join("inside")).unwrap();
        assert!(write_atomic(&taken, "x").is_err());
        assert!(taken.join("inside").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_removed_directory_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint-20");
        fs::create_dir_all(path.join("trainer_state")).unwrap();
        remove_dir_atomic(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(
            remove_dir_atomic(&path)
                .unwrap_err()
                .to_string()
                .contains("checkpoint-20")
        );
    }
}
