//! The list of what every file of a checkpoint held when it was written, and the check against it.
//!
//! Renaming a whole folder keeps half-written checkpoints away. It does not help against what comes
//! later: a copy that was cut short, a disk that loses blocks after a power cut, a file that someone
//! edited. Training on from such weights would go wrong without a word.
//!
//! ```text
//! {"version":1,"files":[{"path":"config.json","bytes":942,"sha256":"8a1c…"}, …]}
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use telemetry::DataFile;

use super::STATE;
use crate::TrainError;

const VERSION: u64 = 1;
const NAME: &str = "checksums.json";

#[derive(Serialize, Deserialize)]
struct Checksums {
    version: u64,
    /// Every file but this list, by its path in the checkpoint with `/` between folders.
    files: Vec<DataFile>,
}

/// What a check found where it found nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Every file is as it was written.
    Whole,
    /// There is no list to check against.
    Unlisted,
}

/// Writes the list of all files of a checkpoint in the making, and returns the size of everything.
///
/// It reads the files back, which so shortly after writing is mostly the memory's speed, and takes
/// as many at a time as there are processors.
///
/// # Errors
/// A file cannot be read, or the list not written.
pub(super) fn write(dir: &Path) -> Result<u64, TrainError> {
    let mut paths = Vec::new();
    files_under(dir, &mut paths)?;
    paths.sort();
    let files: Vec<DataFile> = paths
        .par_iter()
        .map(|path| {
            let mut file = DataFile::measure(path)?;
            file.path = name_in(dir, path);
            Ok(file)
        })
        .collect::<Result<_, TrainError>>()?;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let version = VERSION;
    let json = serde_json::to_vec_pretty(&Checksums { version, files });
    let json = json.expect("a list of checksums is plain data");
    let list = dir.join(STATE).join(NAME);
    fs::write(&list, &json).map_err(TrainError::io(&list))?;
    Ok(bytes + json.len() as u64)
}

/// Compares a checkpoint with its list: sizes first, which costs nothing, then the content. Files
/// that the list does not name are none of its business.
///
/// # Errors
/// A file is missing or another one; the message names it.
pub fn verify(dir: &Path) -> Result<Verified, TrainError> {
    let path = dir.join(STATE).join(NAME);
    if !path.exists() {
        return Ok(Verified::Unlisted);
    }
    let json = fs::read(&path).map_err(TrainError::io(&path))?;
    let list: Checksums = serde_json::from_slice(&json)
        .map_err(|error| damaged(&path, &format!("is no list of checksums: {error}")))?;
    for file in &list.files {
        check_size(&dir.join(&file.path), file)?;
    }
    let checked: Vec<Result<(), TrainError>> = list
        .files
        .par_iter()
        .map(|file| check_content(&dir.join(&file.path), file))
        .collect();
    // Of several damaged files always the first one is named, whichever thread was faster.
    checked.into_iter().collect::<Result<(), TrainError>>()?;
    Ok(Verified::Whole)
}

fn check_size(path: &Path, expected: &DataFile) -> Result<(), TrainError> {
    let found = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(path, "is missing"));
        }
        Err(error) => return Err(TrainError::io(path)(error)),
    };
    let written = expected.bytes;
    if found == written {
        return Ok(());
    }
    let what = match found < written {
        true => format!("is cut short: {found} of {written} bytes"),
        false => format!("has {found} bytes, but {written} were written"),
    };
    Err(damaged(path, &what))
}

fn check_content(path: &Path, expected: &DataFile) -> Result<(), TrainError> {
    let found = DataFile::measure(path)?.sha256;
    if found == expected.sha256 {
        return Ok(());
    }
    let begin = |sha256: &str| sha256.get(..12).unwrap_or(sha256).to_owned();
    let (found, written) = (begin(&found), begin(&expected.sha256));
    let what =
        format!("has changed since it was written: its SHA-256 is {found}…, it was {written}…");
    Err(damaged(path, &what))
}

fn damaged(path: &Path, what: &str) -> TrainError {
    TrainError::Checkpoint(format!("{} {what}", path.display()))
}

fn files_under(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), TrainError> {
    for entry in fs::read_dir(dir).map_err(TrainError::io(dir))? {
        let path = entry.map_err(TrainError::io(dir))?.path();
        if path.is_dir() {
            files_under(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// A path below the checkpoint, the same on every system.
fn name_in(dir: &Path, path: &Path) -> String {
    let path = path.strip_prefix(dir).expect("it was found below");
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with the two files `a` and `trainer_state/b`, and their list.
    fn checkpoint() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(STATE)).unwrap();
        fs::write(dir.path().join("a"), "weights").unwrap();
        fs::write(dir.path().join(STATE).join("b"), "moments").unwrap();
        let bytes = write(dir.path()).unwrap();
        let list = fs::metadata(dir.path().join(STATE).join(NAME)).unwrap();
        assert_eq!(bytes, 14 + list.len());
        dir
    }

    #[test]
    fn a_checkpoint_as_written_is_whole_and_further_files_do_not_matter() {
        let dir = checkpoint();
        fs::write(dir.path().join("README.md"), "mine").unwrap();
        assert_eq!(verify(dir.path()).unwrap(), Verified::Whole);
    }

    #[test]
    fn every_sort_of_damage_is_told_with_the_files_name() {
        for (file, content, expected) in [
            ("a", None, "a is missing"),
            ("a", Some("weight"), "a is cut short: 6 of 7 bytes"),
            ("a", Some("weights!"), "a has 8 bytes, but 7 were written"),
            (
                "trainer_state/b",
                Some("momentS"),
                "b has changed since it was written",
            ),
            (
                "trainer_state/checksums.json",
                Some("{\"version\":1,"),
                "checksums.json is no list of checksums: EOF",
            ),
        ] {
            let dir = checkpoint();
            let path = dir.path().join(file);
            match content {
                Some(content) => fs::write(&path, content).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let message = verify(dir.path()).unwrap_err().to_string();
            assert!(
                message.starts_with(&*dir.path().to_string_lossy()) && message.contains(expected),
                "{message}"
            );
        }
    }

    #[test]
    fn the_first_file_of_several_that_are_damaged_is_named() {
        let dir = checkpoint();
        fs::write(dir.path().join("a"), "WEIGHTS").unwrap();
        fs::write(dir.path().join(STATE).join("b"), "MOMENTS").unwrap();
        let message = verify(dir.path()).unwrap_err().to_string();
        assert!(message.contains("a has changed"), "{message}");
    }
}
