//! Writing `events.jsonl` and `samples.jsonl`.

use crate::line_file::LineFile;
use crate::{Clock, Event, Line, RunDir, SampleRecord, SystemClock, TelemetryError};
use std::path::Path;
use std::sync::Arc;

/// The trainer's end of the event log. Clones write to the same file, also from other threads.
#[derive(Clone)]
pub struct EventLog {
    file: LineFile,
    clock: Arc<dyn Clock>,
}

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
        })
    }

    /// Appends an event in one write. After an error the log still ends with a whole line.
    pub fn append(&self, event: impl Into<Event>) -> Result<(), TelemetryError> {
        let line = Line::new(self.clock.now_ms(), event);
        self.file.append(line.to_json().as_bytes())
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
