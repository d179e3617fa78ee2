//! The two logs of one run.

use std::path::{Path, PathBuf};

use telemetry::{EventTail, RunDir, SampleEntry, SampleIndex, TelemetryError};

use crate::app::{App, Msg, RunMsg};

/// What of a run has been sent to the viewer.
#[derive(Debug)]
pub struct RunSource {
    run: RunDir,
    /// Empty while the run is not looked at.
    reader: Option<Reader>,
    /// The size of the log when it was last glanced at.
    glanced_bytes: Option<u64>,
}

#[derive(Debug)]
struct Reader {
    events: EventTail,
    samples: SampleIndex,
    /// Groups sent, those that the index has forgotten included.
    num_sent: u64,
    last_sent: Option<SampleEntry>,
}

/// Enough for the state of a run and its latest numbers.
const GLANCE_BYTES: u64 = 64 << 10;

/// As many groups as the browser holds.
const MAX_GROUPS: usize = 5000;

impl RunSource {
    /// A run that exists; it need not have come to its first event.
    ///
    /// # Errors
    /// Where there is no run at this path.
    pub fn open(run_dir: &Path) -> Result<Self, TelemetryError> {
        Ok(Self {
            run: RunDir::open(run_dir)?,
            reader: None,
            glanced_bytes: None,
        })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.run.path()
    }

    /// Reads on in both logs. Returns whether that was all.
    pub fn poll(&mut self, number: usize, app: &mut App) -> Result<bool, TelemetryError> {
        let (events, samples) = (self.run.events_file(), self.run.samples_file());
        let reader = self
            .reader
            .get_or_insert_with(|| Reader::new(events, samples));
        reader.poll(number, app)
    }

    /// The run is not looked at: what was read of it is given up, and its state looked up now and then.
    pub fn rest(
        &mut self,
        is_due: bool,
        number: usize,
        app: &mut App,
    ) -> Result<(), TelemetryError> {
        if self.reader.take().is_some() {
            self.glanced_bytes = None;
            app.update(Msg::Run(number, RunMsg::SamplesRestarted));
        }
        match is_due || self.glanced_bytes.is_none() {
            true => self.glance(number, app),
            false => Ok(()),
        }
    }

    /// Looks at the start and the end of the event log, where it has changed.
    pub fn glance(&mut self, number: usize, app: &mut App) -> Result<(), TelemetryError> {
        let path = self.run.events_file();
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if self.glanced_bytes != Some(bytes) {
            // Until it can be read it is looked at again each time, and what is wrong with it stays told.
            self.glanced_bytes = None;
            let lines = EventTail::glance(&path, GLANCE_BYTES)?;
            self.glanced_bytes = Some(bytes);
            app.update(Msg::Run(number, RunMsg::Glance(lines)));
        }
        Ok(())
    }

    /// Reads the texts that the viewer asks for.
    pub fn read_texts(&self, number: usize, app: &mut App) {
        if let Some(reader) = &self.reader {
            reader.read_texts(number, app);
        }
    }
}

impl Reader {
    fn new(events: PathBuf, samples: PathBuf) -> Self {
        Self {
            events: EventTail::new(events),
            samples: SampleIndex::new(samples).keeping(MAX_GROUPS),
            num_sent: 0,
            last_sent: None,
        }
    }

    fn poll(&mut self, number: usize, app: &mut App) -> Result<bool, TelemetryError> {
        let batch = self.events.poll()?;
        let tell = |app: &mut App, message| app.update(Msg::Run(number, message));
        if batch.restarted {
            tell(app, RunMsg::Restarted);
        }
        let (lines, at_end) = (batch.lines, batch.at_end);
        tell(app, RunMsg::Lines { lines, at_end });
        let counts = self.events.counts();
        let (malformed, newer) = (counts.malformed, counts.newer);
        tell(app, RunMsg::Unusable { malformed, newer });
        let samples_at_end = self.samples.refresh()?;
        self.send_samples(number, app);
        self.read_texts(number, app);
        Ok(at_end && samples_at_end)
    }

    fn send_samples(&mut self, number: usize, app: &mut App) {
        let (entries, forgotten) = (self.samples.entries(), self.samples.num_forgotten());
        let tell = |app: &mut App, message| app.update(Msg::Run(number, message));
        let place = |sent: u64| sent.checked_sub(forgotten).map(|sent| sent as usize);
        // The last group sent still stands where it stood, unless it has been forgotten.
        let is_same = match place(self.num_sent).and_then(|sent| sent.checked_sub(1)) {
            Some(last) => entries.get(last) == self.last_sent.as_ref(),
            None => self.num_sent <= forgotten,
        };
        if !is_same {
            tell(app, RunMsg::SamplesRestarted);
            self.num_sent = 0;
        }
        let start = place(self.num_sent).unwrap_or(0);
        if start < entries.len() {
            tell(app, RunMsg::Samples(entries[start..].to_vec()));
            self.num_sent = forgotten + entries.len() as u64;
            self.last_sent = entries.last().cloned();
        }
    }

    fn read_texts(&self, number: usize, app: &mut App) {
        let wanted = app.runs()[number].wants();
        for entry in wanted {
            let text = self.samples.read(&entry).map_err(|error| error.to_string());
            let message = RunMsg::Sample(entry, Box::new(text));
            app.update(Msg::Run(number, message));
        }
    }
}
