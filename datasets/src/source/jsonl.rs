//! JSON Lines: one record a line, any number of files, larger than memory if need be.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crate::error::{DataError, Location, RecordError};
use crate::record::{Component, Record};

/// The records of one or more files, in the order of the files and of their lines.
///
/// Opening reads every line once and checks it; afterwards only the lines' positions stay in memory (32 bytes each) and
/// [`get`](Self::get) reads and parses one line. Blank lines, a byte order mark and CRLF line ends are allowed.
pub struct JsonlSource<T> {
    files: Vec<DataFile>,
    parts: Vec<Part>,
    lines: Vec<Line>,
    skipped: SkippedRecords,
    record: PhantomData<fn() -> T>,
}

/// What a line that is not a sound record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadRecord {
    /// The first one is the error.
    #[default]
    Error,
    /// Each one is counted by its reason in [`SkippedRecords`].
    Skip,
}

/// The lines left out under [`OnBadRecord::Skip`], counted by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SkippedRecords {
    /// Reason → how many, and where the first one stands.
    pub reasons: BTreeMap<String, (usize, Location)>,
}

/// The records of one file, or of one component of a file that mixes several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The file.
    pub path: PathBuf,
    /// The component, where records have one.
    pub component: Option<Component>,
    /// Its records.
    pub num_records: usize,
    /// Lines of the file that were left out, by reason; they are told of its first part.
    pub skipped: BTreeMap<String, usize>,
    file: usize,
}

struct DataFile {
    path: PathBuf,
    file: File,
}

struct Line {
    part: u32,
    number: usize,
    offset: u64,
    num_bytes: usize,
}

impl<T: Record> JsonlSource<T> {
    /// Opens the files and checks every line. A file without a record is an error, as is a missing one.
    pub fn open(paths: &[PathBuf], on_bad_record: OnBadRecord) -> Result<Self, DataError> {
        Self::open_checked(paths, on_bad_record, |_| Ok(()))
    }

    /// As [`open`](Self::open), where a sound record that `check` refuses is a bad one too.
    pub fn open_checked(
        paths: &[PathBuf],
        on_bad_record: OnBadRecord,
        check: impl Fn(&T) -> Result<(), RecordError>,
    ) -> Result<Self, DataError> {
        let mut source = Self {
            files: Vec::new(),
            parts: Vec::new(),
            lines: Vec::new(),
            skipped: SkippedRecords::default(),
            record: PhantomData,
        };
        for path in paths {
            source.add(path.clone(), on_bad_record, &check)?;
        }
        Ok(source)
    }

    fn add(
        &mut self,
        path: PathBuf,
        on_bad_record: OnBadRecord,
        check: &dyn Fn(&T) -> Result<(), RecordError>,
    ) -> Result<(), DataError> {
        let unreadable = |source| DataError::Read {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(unreadable)?;
        let mut reader = BufReader::with_capacity(1 << 20, file.try_clone().map_err(unreadable)?);
        let (records_before, skipped_before) = (self.lines.len(), self.skipped.total());
        let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
        let first_part = self.parts.len();
        let (mut offset, mut number, mut bytes) = (0u64, 0usize, Vec::new());
        loop {
            bytes.clear();
            let num_bytes = reader.read_until(b'\n', &mut bytes).map_err(unreadable)?;
            if num_bytes == 0 {
                break;
            }
            number += 1;
            let parsed = parse::<T>(&bytes).and_then(|record| match record {
                Some(record) => check(&record).map(|()| Some(record)),
                None => Ok(None),
            });
            match parsed {
                Ok(None) => {}
                Ok(Some(record)) => {
                    let part = self.part_for(&path, record.component());
                    self.lines.push(Line {
                        part,
                        number,
                        offset,
                        num_bytes,
                    });
                }
                Err(error) => {
                    let location = Location {
                        path: path.clone(),
                        line: number,
                    };
                    match on_bad_record {
                        OnBadRecord::Error => return Err(DataError::Record { location, error }),
                        OnBadRecord::Skip => {
                            *skipped.entry(error.reason()).or_default() += 1;
                            self.skipped.count(error.reason(), location);
                        }
                    }
                }
            }
            offset += num_bytes as u64;
        }
        if self.lines.len() == records_before {
            let hint = match self.skipped.total() - skipped_before {
                0 => "write at least one record into it, or leave the file out".to_owned(),
                bad => format!(
                    "all of its {bad} lines were skipped; run with `on_bad_record = \"error\"` to see the first"
                ),
            };
            return Err(DataError::Empty { path, hint });
        }
        self.parts[first_part].skipped = skipped;
        self.files.push(DataFile { path, file });
        Ok(())
    }

    /// The part of the file being read that a record of this component counts to, and one record more in it.
    fn part_for(&mut self, path: &Path, component: Option<Component>) -> u32 {
        let file = self.files.len();
        let is_it = |part: &Part| part.file == file && part.component == component;
        let number = self.parts.iter().rposition(is_it).unwrap_or_else(|| {
            self.parts.push(Part {
                path: path.to_owned(),
                component,
                num_records: 0,
                skipped: BTreeMap::new(),
                file,
            });
            self.parts.len() - 1
        });
        self.parts[number].num_records += 1;
        u32::try_from(number).expect("a few parts a file")
    }

    /// The number of sound records.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no record, which [`open`](Self::open) only allows where no file was named.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Reads and parses one record, `index < len()`. Fails only where the file changed since it was opened.
    pub fn get(&self, index: usize) -> Result<T, DataError> {
        let line = &self.lines[index];
        let DataFile { path, file } = &self.files[self.parts[line.part as usize].file];
        let mut bytes = vec![0; line.num_bytes];
        read_exact_at(file, &mut bytes, line.offset).map_err(|source| DataError::Read {
            path: path.clone(),
            source,
        })?;
        let changed = || {
            RecordError::line(
                "the record that was here when the run began",
                "a blank line",
            )
        };
        parse(&bytes)
            .and_then(|record| record.ok_or_else(changed))
            .map_err(|error| DataError::Record {
                location: self.location(index),
                error,
            })
    }

    /// Where a record stands, for errors that only show once its content is understood.
    pub fn location(&self, index: usize) -> Location {
        let line = &self.lines[index];
        Location {
            path: self.parts[line.part as usize].path.clone(),
            line: line.number,
        }
    }

    /// The files, and the components of those that mix several.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Which of the [`parts`](Self::parts) a record is of.
    pub fn part_of(&self, index: usize) -> usize {
        self.lines[index].part as usize
    }

    /// What was left out under [`OnBadRecord::Skip`].
    pub fn skipped(&self) -> &SkippedRecords {
        &self.skipped
    }

    /// Every record in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, DataError>> {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl SkippedRecords {
    /// How many lines were left out, over all reasons.
    pub fn total(&self) -> usize {
        self.reasons.values().map(|(count, _)| count).sum()
    }

    fn count(&mut self, reason: String, location: Location) {
        self.reasons.entry(reason).or_insert((0, location)).0 += 1;
    }
}

/// One line a reason: `3 × field `text`: expected text (first at a.jsonl:7)`.
impl fmt::Display for SkippedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (reason, (count, first))) in self.reasons.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{count} × {reason} (first at {first})")?;
        }
        Ok(())
    }
}

/// One line as a record, `None` where it is blank.
fn parse<T: Record>(bytes: &[u8]) -> Result<Option<T>, RecordError> {
    let bytes = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii();
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        RecordError::line(
            "UTF-8 text",
            format!("byte 0x{:02x} at column {}", bytes[at], at + 1),
        )
        .hint("convert the file, e.g. `iconv -f latin1 -t utf-8`")
    })?;
    let value = serde_json::from_str(text).map_err(|error| {
        RecordError::line(
            "one JSON object a line",
            format!("text that is not JSON at column {}", error.column()),
        )
        .hint(format!(
            "{}; each record must stand on one line of its own",
            without_position(&error)
        ))
    })?;
    T::from_json(value).map(Some)
}

/// serde_json's message without its line number, which would be 1 in every line.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message
        .split(" at line ")
        .next()
        .unwrap_or(&message)
        .to_owned()
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
