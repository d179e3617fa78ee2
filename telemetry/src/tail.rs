//! Reading a log while it is written.

use crate::line_file::whole_lines;
use crate::{Event, Line, TelemetryError, VERSION};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The reader's end of `events.jsonl`: each poll gives the whole lines that came since the last.
#[derive(Debug)]
pub struct EventTail {
    tail: LineTail,
    counts: TailCounts,
}

/// What one poll found.
#[derive(Debug, Default)]
pub struct Batch {
    /// The new lines, in order.
    pub lines: Vec<Line>,
    /// The file is another than before, so everything read until now is void; `lines` start from its top.
    pub restarted: bool,
    /// Nothing more is there yet; otherwise poll again at once.
    pub at_end: bool,
}

/// What a log held that this version could not make full use of. None of it is fatal, all of it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailCounts {
    /// Lines read, of any sort.
    pub lines: u64,
    /// Lines by kind whose kind or shape is not known here.
    pub unknown: BTreeMap<String, u64>,
    /// Lines written by a newer version.
    pub newer: u64,
    /// Lines that are no events at all.
    pub malformed: u64,
}

impl EventTail {
    /// Reads the file from its top; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            tail: LineTail::new(path.into()),
            counts: TailCounts::default(),
        }
    }

    /// Reads what is written to the file from now on; it need not exist yet.
    pub fn at_end(path: impl Into<PathBuf>) -> Result<Self, TelemetryError> {
        let mut tail = LineTail::new(path.into());
        tail.skip_to_end()?;
        Ok(Self {
            tail,
            counts: TailCounts::default(),
        })
    }

    /// The lines that have become whole since the last poll.
    pub fn poll(&mut self) -> Result<Batch, TelemetryError> {
        let chunk = self.tail.poll()?;
        if chunk.restarted {
            self.counts = TailCounts::default();
        }
        let lines: Vec<&[u8]> = chunk.lines().map(|(_, line)| line).collect();
        // Most of the time that opening a long log takes goes here.
        let parsed = lines
            .par_iter()
            .with_min_len(64)
            .map(|line| Line::parse(line));
        let parsed: Vec<Option<Line>> = parsed.collect();
        let known = parsed.into_iter().filter_map(|line| self.count(line));
        Ok(Batch {
            lines: known.collect(),
            restarted: chunk.restarted,
            at_end: chunk.at_end,
        })
    }

    /// Everything in a log that nobody writes any more, or up to now.
    pub fn read_all(path: impl Into<PathBuf>) -> Result<(Vec<Line>, TailCounts), TelemetryError> {
        let (mut tail, mut lines) = (Self::new(path), Vec::new());
        loop {
            let batch = tail.poll()?;
            if batch.restarted {
                lines.clear();
            }
            lines.extend(batch.lines);
            if batch.at_end {
                return Ok((lines, tail.counts));
            }
        }
    }

    /// The first lines and the latest ones of a log, about `bytes` of each: what the run is and how it is
    /// doing, without reading what may be gigabytes between. A log that is not there has no lines.
    pub fn glance(path: &Path, bytes: u64) -> Result<Vec<Line>, TelemetryError> {
        let text = glance(path, bytes).map_err(TelemetryError::io("read", path))?;
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        let whole = lines.filter(|line| line.ends_with(b"\n"));
        Ok(whole.filter_map(Line::parse).collect())
    }

    /// What was met so far.
    pub fn counts(&self) -> &TailCounts {
        &self.counts
    }

    fn count(&mut self, line: Option<Line>) -> Option<Line> {
        self.counts.lines += 1;
        let Some(line) = line else {
            self.counts.malformed += 1;
            return None;
        };
        self.counts.newer += u64::from(line.version > VERSION);
        if let Event::Unknown { kind, .. } = &line.event {
            *self.counts.unknown.entry(kind.clone()).or_default() += 1;
        }
        Some(line)
    }
}

/// The start of a file and its end, cut at lines; what is torn between them is left out.
fn glance(path: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let len = file.metadata()?.len();
    let mut text = Vec::new();
    if len <= 2 * bytes {
        file.read_to_end(&mut text)?;
        return Ok(text);
    }
    (&mut file).take(bytes).read_to_end(&mut text)?;
    let whole = text.iter().rposition(|&byte| byte == b'\n');
    text.truncate(whole.map_or(0, |newline| newline + 1));
    file.seek(SeekFrom::Start(len - bytes))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    // The line that the cut went through is not whole.
    let first = end.iter().position(|&byte| byte == b'\n');
    text.extend_from_slice(&end[first.map_or(end.len(), |newline| newline + 1)..]);
    Ok(text)
}

/// Follows a file by whole lines.
#[derive(Debug)]
pub(crate) struct LineTail {
    path: PathBuf,
    /// Just after the last newline consumed.
    offset: u64,
    /// The first bytes consumed: where they change, it is another file under the same name.
    head: Vec<u8>,
    chunk_bytes: usize,
}

/// Whole lines and where they stand in the file.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    start: u64,
    pub(crate) restarted: bool,
    pub(crate) at_end: bool,
}

impl Chunk {
    /// Each line without its newline, after its offset in the file.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut offset = self.start;
        self.bytes
            .split_inclusive(|&b| b == b'\n')
            .map(move |line| {
                let at = offset;
                offset += line.len() as u64;
                (at, line.strip_suffix(b"\n").unwrap_or(line))
            })
    }
}

impl LineTail {
    const HEAD_BYTES: usize = 256;

    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            head: Vec::new(),
            chunk_bytes: 4 << 20,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As if every whole line until now had been read.
    fn skip_to_end(&mut self) -> Result<(), TelemetryError> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file.map_err(TelemetryError::io("read", &self.path))?,
        };
        let skipped = file.metadata().and_then(|metadata| {
            let offset = whole_lines(&mut file, metadata.len())?;
            let mut head = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            (&file)
                .take(offset.min(Self::HEAD_BYTES as u64))
                .read_to_end(&mut head)?;
            Ok((offset, head))
        });
        (self.offset, self.head) = skipped.map_err(TelemetryError::io("read", &self.path))?;
        Ok(())
    }

    /// The next whole lines, at most about 4 MiB of them.
    pub(crate) fn poll(&mut self) -> Result<Chunk, TelemetryError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Chunk {
                    at_end: true,
                    ..Chunk::default()
                });
            }
            Err(error) => return Err(TelemetryError::io("read", &self.path)(error)),
        };
        self.read(&mut file)
            .map_err(TelemetryError::io("read", &self.path))
    }

    fn read(&mut self, file: &mut File) -> std::io::Result<Chunk> {
        let len = file.metadata()?.len();
        let restarted = len < self.offset || !self.has_same_head(file)?;
        if restarted {
            (self.offset, self.head) = (0, Vec::new());
        }
        let mut chunk = Chunk {
            start: self.offset,
            restarted,
            at_end: true,
            bytes: Vec::new(),
        };
        let (mut available, mut wanted) = (len - self.offset, self.chunk_bytes as u64);
        file.seek(SeekFrom::Start(self.offset))?;
        // A line longer than a chunk is read on until it ends or the file does.
        while available > 0 {
            let read = file
                .take(wanted.min(available))
                .read_to_end(&mut chunk.bytes)? as u64;
            available = if read == 0 { 0 } else { available - read };
            if let Some(newline) = chunk.bytes.iter().rposition(|&b| b == b'\n') {
                chunk.bytes.truncate(newline + 1);
                chunk.at_end = available == 0;
                break;
            }
            wanted *= 2;
        }
        if !chunk.bytes.ends_with(b"\n") {
            chunk.bytes.clear();
        }
        if self.offset == 0 {
            self.head = chunk.bytes[..chunk.bytes.len().min(Self::HEAD_BYTES)].to_vec();
        }
        self.offset += chunk.bytes.len() as u64;
        Ok(chunk)
    }

    fn has_same_head(&self, file: &mut File) -> std::io::Result<bool> {
        let mut head = Vec::with_capacity(self.head.len());
        file.take(self.head.len() as u64).read_to_end(&mut head)?;
        Ok(head == self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tail_with(content: &str) -> (tempfile::TempDir, LineTail) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log"), content).unwrap();
        let tail = LineTail::new(dir.path().join("log"));
        (dir, tail)
    }

    #[test]
    fn a_glance_sees_the_first_lines_and_the_last_and_no_torn_one() {
        let (dir, _tail) = tail_with("");
        let path = dir.path().join("log");
        let line = |n: u64| format!("{{\"kind\":\"heartbeat\",\"time\":{n}}}\n");
        let times = |lines: Vec<Line>| lines.iter().map(|line| line.time_ms).collect::<Vec<_>>();
        assert_eq!(
            times(EventTail::glance(&dir.path().join("no"), 80).unwrap()),
            [0; 0]
        );
        let whole: String = (10..30).map(line).collect();
        fs::write(&path, format!("{whole}{{\"kind\":\"hea")).unwrap();
        assert_eq!(
            times(EventTail::glance(&path, 80).unwrap()),
            [10, 11, 28, 29]
        );
        assert_eq!(times(EventTail::glance(&path, 1 << 20).unwrap()).len(), 20);
    }

    fn texts(chunk: &Chunk) -> Vec<(u64, &str)> {
        chunk
            .lines()
            .map(|(at, line)| (at, std::str::from_utf8(line).unwrap()))
            .collect()
    }

    #[test]
    fn a_missing_file_is_empty_until_it_appears() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = LineTail::new(dir.path().join("log"));
        assert!(tail.poll().unwrap().at_end);
        fs::write(dir.path().join("log"), "a\n").unwrap();
        assert_eq!(texts(&tail.poll().unwrap()), [(0, "a")]);
    }

    #[test]
    fn chunks_end_with_lines_and_long_lines_are_whole() {
        let long = "x".repeat(100);
        let (_dir, mut tail) = tail_with(&format!("a\nbb\n{long}\nc\ntorn"));
        tail.chunk_bytes = 8;
        let mut seen = Vec::new();
        loop {
            let chunk = tail.poll().unwrap();
            seen.extend(
                texts(&chunk)
                    .into_iter()
                    .map(|(at, text)| (at, text.to_owned())),
            );
            if chunk.at_end {
                break;
            }
        }
        assert_eq!(
            seen,
            [
                (0, "a".to_owned()),
                (2, "bb".to_owned()),
                (5, long),
                (106, "c".to_owned())
            ]
        );
    }

    #[test]
    fn a_shorter_file_starts_again() {
        let (dir, mut tail) = tail_with("one\ntwo\n");
        tail.poll().unwrap();
        fs::write(dir.path().join("log"), "new\n").unwrap();
        let chunk = tail.poll().unwrap();
        assert!(chunk.restarted);
        assert_eq!(texts(&chunk), [(0, "new")]);
    }

    #[test]
    fn another_file_of_the_same_name_starts_again_even_if_longer() {
        let (dir, mut tail) = tail_with("one\n");
        tail.poll().unwrap();
        fs::rename(dir.path().join("log"), dir.path().join("log.1")).unwrap();
        assert!(!tail.poll().unwrap().restarted);
        fs::write(dir.path().join("log"), "uno\ndue\ntre\n").unwrap();
        let chunk = tail.poll().unwrap();
        assert!(chunk.restarted);
        assert_eq!(texts(&chunk).len(), 3);
    }

    #[test]
    fn from_the_end_only_new_lines_are_read_a_torn_one_whole() {
        let (dir, mut tail) = tail_with(&format!("{}\ntor", "x".repeat(20_000)));
        tail.skip_to_end().unwrap();
        assert!(texts(&tail.poll().unwrap()).is_empty());
        let whole = format!("{}\ntorn\nnew\n", "x".repeat(20_000));
        fs::write(dir.path().join("log"), whole).unwrap();
        let chunk = tail.poll().unwrap();
        assert!(!chunk.restarted);
        assert_eq!(texts(&chunk), [(20_001, "torn"), (20_006, "new")]);
    }

    #[test]
    fn from_the_end_of_no_file_everything_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = LineTail::new(dir.path().join("log"));
        tail.skip_to_end().unwrap();
        fs::write(dir.path().join("log"), "a\n").unwrap();
        assert_eq!(texts(&tail.poll().unwrap()), [(0, "a")]);
    }

    #[test]
    fn a_repaired_torn_line_is_no_restart() {
        let (dir, mut tail) = tail_with("one\ntor");
        assert_eq!(texts(&tail.poll().unwrap()), [(0, "one")]);
        fs::write(dir.path().join("log"), "one\n").unwrap();
        assert!(!tail.poll().unwrap().restarted);
        fs::write(dir.path().join("log"), "one\ntwo\n").unwrap();
        assert_eq!(texts(&tail.poll().unwrap()), [(4, "two")]);
    }
}
