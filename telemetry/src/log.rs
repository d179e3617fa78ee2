//! Writing `events.jsonl` and `samples.jsonl`.

use crate::line_file::LineFile;
use crate::{Clock, Event, Line, RunDir, SampleRecord, SystemClock, TelemetryError};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// The trainer's end of the event log. Clones write to the same file, also from other threads.
#[derive(Clone)]
pub struct EventLog {
    file: LineFile,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<Observer>>,
}

/// Is handed each event that the log has taken, and its line.
type Observer = dyn Fn(&Line, &str) + Send + Sync;

impl EventLog {
    /// Opens the run's log, to be continued where it ends.
    ///
    /// What a killed process left of its last line is dropped; [`EventLog::dropped_bytes`] tells, and the
    /// caller mentions it. Only the process that holds the run's lock may do this.
    pub fn open(run_dir: &RunDir) -> Result<Self, TelemetryError> {
        Self::open_with(&run_dir.events_file(), Arc::new(SystemClock::new()))
    }

    /// The same for any file and clock.
    pub fn open_with(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, TelemetryError> {
        Ok(Self {
            file: LineFile::open(path)?,
            clock,
            observers: Vec::new(),
        })
    }

    /// The log, of which from now on somebody else hears too: each event once it is in the file, and its
    /// line. Clones made later have the same observers.
    #[must_use]
    pub fn observed_by(mut self, observer: impl Fn(&Line, &str) + Send + Sync + 'static) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Appends an event in one write. After an error the log still ends with a whole line.
    pub fn append(&self, event: impl Into<Event>) -> Result<(), TelemetryError> {
        let line = Line::new(self.clock.now_ms(), event);
        let json = line.to_json();
        self.file.append(json.as_bytes())?;
        for observer in &self.observers {
            observer(&line, &json);
        }
        Ok(())
    }

    /// Waits until the log is on the disk; done with each checkpoint, before the checkpoint takes its name.
    pub fn sync(&self) -> Result<(), TelemetryError> {
        self.file.sync()
    }

    /// Bytes of a torn last line that opening dropped.
    pub fn dropped_bytes(&self) -> u64 {
        self.file.dropped_bytes()
    }

    /// The clock that dates the events.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

/// The trainer's end of the sample log, apart from the events because it is much larger.
#[derive(Clone)]
pub struct SampleLog {
    file: LineFile,
}

impl SampleLog {
    /// Opens the run's sample log, to be continued where it ends, a torn last line dropped.
    pub fn open(run_dir: &RunDir) -> Result<Self, TelemetryError> {
        Ok(Self {
            file: LineFile::open(&run_dir.samples_file())?,
        })
    }

    /// The same for a run that goes on after `step` steps. Samples of later steps are going to be drawn again,
    /// and nothing in this file could tell the two apart, so what is there of them moves to
    /// [`RunDir::abandoned_samples_file`].
    pub fn open_after(run_dir: &RunDir, step: u64) -> Result<Self, TelemetryError> {
        let log = Self::open(run_dir)?;
        let path = run_dir.samples_file();
        let tail = tail_after(&path, step).map_err(TelemetryError::io("read", &path))?;
        if !tail.is_empty() {
            let abandoned = LineFile::open(&run_dir.abandoned_samples_file())?;
            for line in tail.split_inclusive(|&byte| byte == b'\n') {
                abandoned.append(line)?;
            }
            abandoned.sync()?;
            log.file.shorten_by(tail.len() as u64)?;
        }
        Ok(log)
    }

    /// Appends one group of samples in one write.
    pub fn append(&self, record: &SampleRecord) -> Result<(), TelemetryError> {
        let mut line = serde_json::to_string(record).expect("samples are plain data");
        line.push('\n');
        self.file.append(line.as_bytes())
    }

    /// Waits until the log is on the disk.
    pub fn sync(&self) -> Result<(), TelemetryError> {
        self.file.sync()
    }

    /// Bytes of a torn last line that opening dropped.
    pub fn dropped_bytes(&self) -> u64 {
        self.file.dropped_bytes()
    }
}

/// The lines from the first one on that is of a step after `step`; a line that is no sample is of none.
fn tail_after(path: &Path, step: u64) -> io::Result<Vec<u8>> {
    #[derive(Deserialize)]
    struct Outline {
        step: u64,
    }
    let (mut file, mut line) = (BufReader::new(File::open(path)?), Vec::new());
    while file.read_until(b'\n', &mut line)? > 0 {
        if serde_json::from_slice::<Outline>(&line).is_ok_and(|sample| sample.step > step) {
            file.read_to_end(&mut line)?;
            return Ok(line);
        }
        line.clear();
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::group;
    use std::fs;

    #[test]
    fn an_observer_hears_what_the_file_has_also_from_clones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let heard = Arc::new(std::sync::Mutex::new(String::new()));
        let log = EventLog::open_with(&path, Arc::new(SystemClock::new())).unwrap();
        log.append(crate::event::Warning::new("before")).unwrap();
        let ear = heard.clone();
        let log = log.observed_by(move |line, json| {
            assert_eq!(line.event.kind(), "warning");
            ear.lock().unwrap().push_str(json);
        });
        log.append(crate::event::Warning::new("one")).unwrap();
        log.clone()
            .append(crate::event::Warning::new("two"))
            .unwrap();
        let file = fs::read_to_string(&path).unwrap();
        let (_, later) = file.split_once('\n').unwrap();
        assert_eq!(*heard.lock().unwrap(), later);
    }

    #[test]
    fn samples_of_abandoned_steps_move_out_of_the_way_of_those_that_replace_them() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let append = |log: &SampleLog, steps: &[u64]| {
            for &step in steps {
                log.append(&group(step, 0, &[None])).unwrap();
            }
        };
        append(&SampleLog::open(&run).unwrap(), &[1, 2, 3, 4]);
        let whole = fs::read(run.samples_file()).unwrap();
        for abandoned in [2, 4] {
            append(&SampleLog::open_after(&run, 2).unwrap(), &[3, 4]);
            assert_eq!(fs::read(run.samples_file()).unwrap(), whole);
            let moved = fs::read_to_string(run.abandoned_samples_file()).unwrap();
            assert_eq!(moved.lines().count(), abandoned);
        }
        SampleLog::open_after(&run, 4).unwrap();
        assert_eq!(fs::read(run.samples_file()).unwrap(), whole);
    }
}
