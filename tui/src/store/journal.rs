//! What happened, in sentences.

use std::collections::VecDeque;

/// How much an entry matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something went as it should.
    Note,
    /// A person should know and need not act.
    Warning,
    /// A rule fired, or the run failed.
    Alert,
}

impl Level {
    /// The sign before the sentence.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::Note => "✔",
            Self::Warning => "▲",
            Self::Alert => "✖",
        }
    }

    /// The next one up, and from the top the lowest again.
    pub fn next(self) -> Self {
        match self {
            Self::Note => Self::Warning,
            Self::Warning => Self::Alert,
            Self::Alert => Self::Note,
        }
    }
}

/// One sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// Optimizer steps taken before it, where training had begun.
    pub step: Option<u64>,
    /// The sentence.
    pub text: String,
    /// How many times in a row it came.
    pub repeats: u64,
}

/// The latest entries, and how many there ever were of each level.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    num_warnings: u64,
    num_alerts: u64,
}

impl Journal {
    const CAPACITY: usize = 2000;

    /// Adds an entry; the same sentence again only counts up the one before.
    pub fn push(&mut self, time_ms: u64, level: Level, step: Option<u64>, text: String) {
        match level {
            Level::Note => {}
            Level::Warning => self.num_warnings += 1,
            Level::Alert => self.num_alerts += 1,
        }
        if let Some(last) = self.entries.back_mut().filter(|last| last.text == text) {
            (last.time_ms, last.step) = (time_ms, step);
            last.repeats += 1;
            return;
        }
        if self.entries.len() == Self::CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            time_ms,
            level,
            step,
            text,
            repeats: 1,
        });
    }

    /// The entries that are kept, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }

    /// Warnings since the log began.
    pub fn num_warnings(&self) -> u64 {
        self.num_warnings
    }

    /// Alerts since the log began.
    pub fn num_alerts(&self) -> u64 {
        self.num_alerts
    }
}
