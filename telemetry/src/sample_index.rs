//! Finding samples without holding their text.

use crate::tail::LineTail;
use crate::{SampleRecord, Scalar, TelemetryError};
use serde::Deserialize;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// What is known of each group in `samples.jsonl`; the text is read when somebody looks at it.
#[derive(Debug)]
pub struct SampleIndex {
    tail: LineTail,
    entries: Vec<SampleEntry>,
    max_entries: usize,
    num_forgotten: u64,
    malformed: u64,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleEntry {
    /// The optimizer step it was drawn for.
    pub step: u64,
    /// Its number in that step.
    pub group: u64,
    /// Its task or language pair; empty where the line does not say.
    pub task: String,
    /// How many completions the line holds.
    pub num_completions: usize,
    /// The lowest and the highest reward, where any completion has one that is a number.
    pub reward_range: Option<(f64, f64)>,
    /// Whether the reward of a completion is no number although there is one.
    pub has_nan: bool,
    offset: u64,
    len: usize,
}

impl SampleIndex {
    /// An index of the file, which need not exist yet; [`SampleIndex::refresh`] fills it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            tail: LineTail::new(path.into()),
            entries: Vec::new(),
            max_entries: usize::MAX,
            num_forgotten: 0,
            malformed: 0,
        }
    }

    /// Holds the latest `max_entries` groups, and for a while up to twice as many, whatever the file has.
    pub fn keeping(mut self, max_entries: usize) -> Self {
        self.max_entries = max_entries.max(1);
        self
    }

    /// Takes in what was written since, a few megabytes at a time. Returns whether that was all.
    pub fn refresh(&mut self) -> Result<bool, TelemetryError> {
        let chunk = self.tail.poll()?;
        if chunk.restarted {
            self.entries.clear();
            (self.num_forgotten, self.malformed) = (0, 0);
        }
        for (offset, line) in chunk.lines() {
            match serde_json::from_slice::<Outline>(line) {
                Ok(outline) => self.entries.push(outline.entry(offset, line.len())),
                Err(_) => self.malformed += 1,
            }
        }
        if self.entries.len() / 2 >= self.max_entries {
            let surplus = self.entries.len() - self.max_entries;
            self.entries.drain(..surplus);
            self.num_forgotten += surplus as u64;
        }
        Ok(chunk.at_end)
    }

    /// Groups that came before those of [`SampleIndex::entries`] and are no longer held.
    pub fn num_forgotten(&self) -> u64 {
        self.num_forgotten
    }

    /// The groups in the order they were written.
    pub fn entries(&self) -> &[SampleEntry] {
        &self.entries
    }

    /// Lines that are no samples.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The group itself.
    pub fn read(&self, entry: &SampleEntry) -> Result<SampleRecord, TelemetryError> {
        let path = self.tail.path();
        let mut line = vec![0; entry.len];
        let mut file = File::open(path).map_err(TelemetryError::io("read", path))?;
        let seek = file.seek(SeekFrom::Start(entry.offset));
        seek.and_then(|_| file.read_exact(&mut line))
            .map_err(TelemetryError::io("read", path))?;
        serde_json::from_slice(&line).map_err(TelemetryError::json(path))
    }
}

#[derive(Deserialize)]
struct Outline {
    step: u64,
    group: u64,
    #[serde(default)]
    task: String,
    completions: Vec<Reward>,
}

#[derive(Deserialize)]
struct Reward {
    reward: Option<Scalar>,
}

impl Outline {
    fn entry(self, offset: u64, len: usize) -> SampleEntry {
        let rewards = self.completions.iter().filter_map(|c| c.reward);
        let rewards = rewards.map(|reward| reward.0);
        let has_nan = rewards.clone().any(f64::is_nan);
        let rewards = rewards.filter(|reward| !reward.is_nan());
        let reward_range = rewards.fold(None, |range, reward| {
            let (low, high) = range.unwrap_or((reward, reward));
            Some((reward.min(low), reward.max(high)))
        });
        let (step, group, num_completions) = (self.step, self.group, self.completions.len());
        SampleEntry {
            step,
            group,
            task: self.task,
            num_completions,
            reward_range,
            has_nan,
            offset,
            len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::group;
    use crate::{RunDir, SampleLog};

    #[test]
    fn only_the_latest_groups_are_held_where_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let log = SampleLog::open(&run).unwrap();
        (0..25).for_each(|step| log.append(&group(step, 0, &[Some(0.5)])).unwrap());
        let mut index = SampleIndex::new(run.samples_file()).keeping(10);
        while !index.refresh().unwrap() {}
        let steps: Vec<u64> = index.entries().iter().map(|entry| entry.step).collect();
        assert_eq!(steps, (15..25).collect::<Vec<_>>());
        assert_eq!(index.num_forgotten(), 15);
        assert_eq!(index.read(&index.entries()[9]).unwrap().step, 24);
    }

    #[test]
    fn groups_are_found_and_read_back_as_they_grow() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let mut index = SampleIndex::new(run.samples_file());
        assert!(index.refresh().unwrap() && index.entries().is_empty());
        let log = SampleLog::open(&run).unwrap();
        let records = [
            group(1, 0, &[Some(0.2), None, Some(f64::NAN), Some(0.9)]),
            group(1, 1, &[None]),
        ];
        for (i, record) in records.iter().enumerate() {
            log.append(record).unwrap();
            assert!(index.refresh().unwrap());
            assert_eq!(index.entries().len(), i + 1);
            assert_eq!(index.read(&index.entries()[i]).unwrap(), *record);
        }
        assert_eq!(index.entries()[0].reward_range, Some((0.2, 0.9)));
        assert!(index.entries()[0].has_nan && !index.entries()[1].has_nan);
        assert_eq!(
            (
                index.entries()[1].reward_range,
                index.entries()[0].num_completions
            ),
            (None, 4)
        );
    }
}
