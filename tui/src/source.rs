//! The files of a run, read a slice at a time.

use std::path::Path;

use telemetry::{EventTail, RunDir, SampleEntry, SampleIndex, TelemetryError};

use crate::app::{App, Msg};

/// Where a viewer's messages about the run come from.
#[derive(Debug)]
pub struct RunSource {
    events: EventTail,
    samples: SampleIndex,
    num_sent: usize,
    last_sent: Option<SampleEntry>,
}

impl RunSource {
    /// A run that exists; it need not have come to its first event.
    ///
    /// # Errors
    /// Where there is no run at this path.
    pub fn open(run_dir: &Path) -> Result<Self, TelemetryError> {
        let run = RunDir::open(run_dir)?;
        Ok(Self {
            events: EventTail::new(run.events_file()),
            samples: SampleIndex::new(run.samples_file()),
            num_sent: 0,
            last_sent: None,
        })
    }

    /// Reads at most a few megabytes of each log into the viewer. Returns whether that was all.
    ///
    /// # Errors
    /// Where a log is there and cannot be read.
    pub fn poll(&mut self, app: &mut App) -> Result<bool, TelemetryError> {
        let batch = self.events.poll()?;
        if batch.restarted {
            app.update(Msg::Restarted);
        }
        app.update(Msg::Lines {
            lines: batch.lines,
            at_end: batch.at_end,
        });
        let samples_at_end = self.samples.refresh()?;
        self.send_samples(app);
        self.read_texts(app);
        Ok(batch.at_end && samples_at_end)
    }

    fn send_samples(&mut self, app: &mut App) {
        let entries = self.samples.entries();
        let is_same = match self.num_sent {
            0 => true,
            sent => entries.get(sent - 1) == self.last_sent.as_ref(),
        };
        if !is_same {
            app.update(Msg::SamplesRestarted);
            self.num_sent = 0;
        }
        if self.num_sent < entries.len() {
            app.update(Msg::Samples(entries[self.num_sent..].to_vec()));
            self.num_sent = entries.len();
            self.last_sent = entries.last().cloned();
        }
    }

    /// Reads the texts that the viewer asks for.
    pub fn read_texts(&self, app: &mut App) {
        for entry in app.wants() {
            let text = self.samples.read(&entry).map_err(|error| error.to_string());
            app.update(Msg::Sample(entry, Box::new(text)));
        }
    }
}

/// What to call the run: the last two parts of its path.
pub fn run_name(run_dir: &Path) -> String {
    let path = run_dir
        .canonicalize()
        .unwrap_or_else(|_| run_dir.to_owned());
    let parts: Vec<String> = path
        .iter()
        .rev()
        .take(2)
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let named: Vec<String> = parts.into_iter().rev().filter(|part| part != "/").collect();
    named.join("/")
}
