//! Writing `events.jsonl` and `samples.jsonl`.

use crate::event::Warning;
use crate::line_file::LineFile;
use crate::{Clock, Event, Line, RunDir, SampleRecord, SystemClock, TelemetryError};
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The trainer's end of the event log. Clones write to the same file, also from other threads.
#[derive(Clone)]
pub struct EventLog {
    file: LineFile,
    clock: Arc<dyn Clock>,
    observers: Arc<Mutex<Vec<Box<dyn Observer>>>>,
}

/// Told of every event once it is in the log, in the log's order: a translation for other programs.
pub trait Observer: Send {
    /// Takes in an event. The warning that it may return goes into the log and to every other observer.
    fn observe(&mut self, line: &Line) -> Option<Warning>;
}

impl<F: FnMut(&Line) -> Option<Warning> + Send> Observer for F {
    fn observe(&mut self, line: &Line) -> Option<Warning> {
        self(line)
    }
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
            observers: Arc::default(),
        })
    }

    /// Tells an observer of every event from now on, whichever clone of the log it is appended to.
    pub fn attach(&self, observer: impl Observer + 'static) {
        let observers = self.observers.lock();
        let mut observers = observers.unwrap_or_else(PoisonError::into_inner);
        observers.push(Box::new(observer));
    }

    /// Appends an event in one write. After an error the log still ends with a whole line.
    ///
    /// Of each observer one warning is taken of what an event brings about, so that two that warn of every warning
    /// do not go on for ever.
    pub fn append(&self, event: impl Into<Event>) -> Result<(), TelemetryError> {
        let observers = self.observers.lock();
        // An observer that panicked has ended its thread; the others' events are worth keeping.
        let mut observers = observers.unwrap_or_else(PoisonError::into_inner);
        let mut has_warned = vec![false; observers.len()];
        let mut lines = VecDeque::from([(Line::new(self.clock.now_ms(), event), None)]);
        while let Some((line, from)) = lines.pop_front() {
            self.file.append(line.to_json().as_bytes())?;
            for (number, observer) in observers.iter_mut().enumerate() {
                if from != Some(number)
                    && let Some(warning) = observer.observe(&line)
                    && !std::mem::replace(&mut has_warned[number], true)
                {
                    lines.push_back((Line::new(line.time_ms, warning), Some(number)));
                }
            }
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
    use crate::event::Heartbeat;
    use crate::sample::tests::group;
    use crate::{EventTail, Fields, FixedClock};
    use std::fs;

    #[test]
    fn an_observer_is_told_of_every_event_and_its_warning_is_logged() {
        struct Third(Vec<u64>);
        impl Observer for Third {
            fn observe(&mut self, line: &Line) -> Option<Warning> {
                assert_eq!(line.event.kind(), "heartbeat");
                self.0.push(line.time_ms);
                (self.0.len() == 3).then(|| Warning::new("it is the third"))
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let log = EventLog::open_with(&path, Arc::new(FixedClock::new(1))).unwrap();
        log.attach(Third(Vec::new()));
        for log in [log.clone(), log.clone(), log.clone(), log] {
            let fields = Fields::new();
            log.append(Heartbeat { fields }).unwrap();
        }
        let (lines, _) = EventTail::read_all(&path).unwrap();
        let kinds: Vec<&str> = lines.iter().map(|line| line.event.kind()).collect();
        let beat = "heartbeat";
        assert_eq!(kinds, [beat, beat, beat, "warning", beat]);
    }

    #[test]
    fn an_observer_hears_of_another_ones_warning_and_not_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let log = EventLog::open_with(&path, Arc::new(FixedClock::new(1))).unwrap();
        // Each of them warns of everything it hears.
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        for name in ["a", "b"] {
            let heard = heard.clone();
            log.attach(move |line: &Line| {
                let what = match &line.event {
                    Event::Warning(warning) => warning.message.clone(),
                    other => other.kind().to_owned(),
                };
                heard.lock().unwrap().push(format!("{name} hears {what}"));
                Some(Warning::new(format!("{name} failed")))
            });
        }
        let fields = Fields::new();
        log.append(Heartbeat { fields }).unwrap();
        assert_eq!(
            *heard.lock().unwrap(),
            [
                "a hears heartbeat",
                "b hears heartbeat",
                "b hears a failed",
                "a hears b failed"
            ]
        );
        let (lines, _) = EventTail::read_all(&path).unwrap();
        assert_eq!(lines.len(), 3, "the event and a warning of each");
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
