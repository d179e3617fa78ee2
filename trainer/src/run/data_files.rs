use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use telemetry::DataFile;

use crate::TrainError;

/// The data files of a run as they were when it began, each read through once for its checksum,
/// whoever asks for that.
#[derive(Default)]
pub struct DataFiles {
    measured: RefCell<BTreeMap<PathBuf, DataFile>>,
}

impl DataFiles {
    /// A file with its size and checksum.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn measure(&self, path: &Path) -> Result<DataFile, TrainError> {
        if let Some(known) = self.measured.borrow().get(path) {
            return Ok(known.clone());
        }
        let file = DataFile::measure(path)?;
        let mut measured = self.measured.borrow_mut();
        measured.insert(path.to_owned(), file.clone());
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_through_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("data.jsonl");
        std::fs::write(&path, "one").expect("it is written");
        let files = DataFiles::default();
        let first = files.measure(&path).expect("it is there");
        // Another reading would see this.
        std::fs::write(&path, "two").expect("it is written");
        assert_eq!(files.measure(&path).expect("it is known"), first);
        assert!(files.measure(&dir.path().join("none.jsonl")).is_err());
    }
}
