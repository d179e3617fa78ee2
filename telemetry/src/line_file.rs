//! A file of whole lines that survives `kill -9`, a full disk and two threads.

use crate::TelemetryError;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An append-only file: each line goes out in one `write`, or not at all. Clones share the file.
#[derive(Debug, Clone)]
pub(crate) struct LineFile {
    path: Arc<PathBuf>,
    state: Arc<Mutex<State>>,
    dropped_bytes: u64,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The file's length, whole lines only.
    len: u64,
}

impl LineFile {
    /// Opens or creates the file and drops a last line that was never finished.
    pub(crate) fn open(path: &Path) -> Result<Self, TelemetryError> {
        let open = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path);
        let mut file = open.map_err(TelemetryError::io("open", path))?;
        let found = file
            .metadata()
            .map_err(TelemetryError::io("read", path))?
            .len();
        let len = whole_lines(&mut file, found).map_err(TelemetryError::io("read", path))?;
        if len < found {
            file.set_len(len)
                .map_err(TelemetryError::io("repair", path))?;
        }
        let state = Arc::new(Mutex::new(State { file, len }));
        Ok(Self {
            path: Arc::new(path.to_owned()),
            state,
            dropped_bytes: found - len,
        })
    }

    /// Bytes of a torn last line that opening dropped.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Appends one line, which ends in its only newline.
    pub(crate) fn append(&self, line: &[u8]) -> Result<(), TelemetryError> {
        debug_assert_eq!(
            line.iter().position(|&b| b == b'\n'),
            Some(line.len() - 1),
            "a line has one newline, at its end"
        );
        let mut state = self.state();
        let State { file, len } = &mut *state;
        if let Err(error) = file.write_all(line) {
            // A disk that fills up may have taken half the line. Should this fail too, the next open repairs it.
            let _ = file.set_len(*len);
            return Err(TelemetryError::io("write", &*self.path)(error));
        }
        *len += line.len() as u64;
        Ok(())
    }

    /// Takes the last bytes away again.
    pub(crate) fn shorten_by(&self, bytes: u64) -> Result<(), TelemetryError> {
        let mut state = self.state();
        let State { file, len } = &mut *state;
        file.set_len(*len - bytes)
            .map_err(TelemetryError::io("shorten", &*self.path))?;
        *len -= bytes;
        Ok(())
    }

    /// Waits until everything appended is on the disk.
    pub(crate) fn sync(&self) -> Result<(), TelemetryError> {
        self.state()
            .file
            .sync_all()
            .map_err(TelemetryError::io("flush", &*self.path))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left the file whole: nothing can panic between the write and its length.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The length of the file up to and including its last newline, searched from the end.
pub(crate) fn whole_lines(file: &mut File, len: u64) -> io::Result<u64> {
    let mut end = len;
    let mut block = vec![0; 8192];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(at) = block.iter().rposition(|&b| b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_torn_last_line_is_dropped_at_every_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let whole = format!("{{\"a\":1}}\n{{\"long\":\"{}\"}}\n{{}}\n", "x".repeat(9000));
        for cut in (0..=whole.len()).filter(|cut| !(20..9000).contains(cut) || cut % 512 == 0) {
            fs::write(&path, &whole[..cut]).unwrap();
            let file = LineFile::open(&path).unwrap();
            let kept = whole[..cut].rfind('\n').map_or(0, |at| at + 1);
            assert_eq!(file.dropped_bytes(), (cut - kept) as u64);
            file.append(b"next\n").unwrap();
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                format!("{}next\n", &whole[..kept])
            );
        }
    }

    #[test]
    fn zeros_that_a_power_cut_leaves_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, b"{}\n\0\0\0\0").unwrap();
        LineFile::open(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
    }

    #[test]
    fn threads_do_not_mix_their_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = LineFile::open(&path).unwrap();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let (file, line) = (file.clone(), format!("{}\n", name.repeat(300)));
                scope.spawn(move || (0..200).for_each(|_| file.append(line.as_bytes()).unwrap()));
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 600);
        assert!(
            text.lines()
                .all(|line| line.len() == 300 && line.bytes().all(|b| b == line.as_bytes()[0]))
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file_and_the_reason() {
        let file = LineFile::open(Path::new("/dev/full")).unwrap();
        let message = file.append(b"{}\n").unwrap_err().to_string();
        assert!(
            message.contains("cannot write /dev/full: No space left on device"),
            "{message}"
        );
        assert!(message.contains("hint: the disk is full"), "{message}");
    }
}
