//! One run as the viewer knows it.

use std::collections::VecDeque;

use telemetry::event::ControlStatus;
use telemetry::{ControlAction, SampleEntry};

use super::RunMsg;
use crate::browser::Browser;
use crate::store::Store;

/// A run with what of it has been read.
#[derive(Debug)]
pub struct RunView {
    /// What to call it.
    pub name: String,
    /// Its directory, as one would type it.
    pub path: String,
    /// Lines of its log that are no events, and lines of a newer version.
    pub unusable: (u64, u64),
    /// Its events.
    pub store: Store,
    /// Its samples.
    pub browser: Browser,
    /// Lines of its log read, while there are more; `None` once all are.
    pub reading: Option<u64>,
    /// Whether its curves are drawn beside those of the run that is looked at.
    pub is_marked: bool,
    asked: VecDeque<Asked>,
    /// What the end of the log says, while the whole of it is being read.
    end: Option<Box<Store>>,
    /// Whether the store holds the whole log so far, not a glance.
    is_whole: bool,
}

/// A request to the trainer from this viewer, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The request's id.
    pub id: String,
    /// What was asked for.
    pub action: ControlAction,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// How far it got; `None` until the trainer answers.
    pub status: Option<ControlStatus>,
    /// Why it was refused.
    pub reason: Option<String>,
}

impl Asked {
    /// A request without an answer.
    pub fn new(id: String, action: ControlAction, time_ms: u64) -> Self {
        Self {
            id,
            action,
            time_ms,
            status: None,
            reason: None,
        }
    }
}

impl RunView {
    const MAX_ASKED: usize = 8;

    pub(super) fn new(name: &str, path: String) -> Self {
        Self {
            name: crate::text::clean(name),
            path,
            unusable: (0, 0),
            store: Store::default(),
            browser: Browser::default(),
            reading: Some(0),
            is_marked: false,
            asked: VecDeque::new(),
            end: None,
            is_whole: false,
        }
    }

    /// Takes in what happened. Returns whether a process began to work on the run.
    pub(super) fn update(&mut self, message: RunMsg) -> bool {
        let started_ms = self.head().started_ms();
        match message {
            RunMsg::Glance(lines) => {
                self.store = Store::default();
                (self.reading, self.is_whole, self.end) = (None, false, None);
                lines.into_iter().for_each(|line| self.store.fold(line));
            }
            RunMsg::Restarted => {
                (self.store, self.reading, self.is_whole) = (Store::default(), Some(0), true);
            }
            RunMsg::Lines { lines, at_end } => {
                if !self.is_whole {
                    self.end = Some(Box::new(std::mem::take(&mut self.store)));
                    (self.reading, self.is_whole) = (Some(0), true);
                }
                self.reading = match at_end {
                    true => None,
                    false => Some(self.reading.unwrap_or(0) + lines.len() as u64),
                };
                lines.into_iter().for_each(|line| self.store.fold(line));
                self.end.take_if(|_| at_end);
            }
            RunMsg::Unusable { malformed, newer } => self.unusable = (malformed, newer),
            RunMsg::SamplesRestarted => self.browser.clear(),
            RunMsg::Samples(entries) => self.browser.extend(entries),
            RunMsg::Sample(entry, text) => self.browser.set_text(entry, *text),
        }
        self.answer();
        self.browser.set_answers(self.store.evaluation());
        self.head().started_ms() != started_ms
    }

    /// Whether all of its log so far is known, not a glance at it.
    pub fn is_known(&self) -> bool {
        self.is_whole && self.reading.is_none()
    }

    /// How the run is doing: also while its log is still being read, when the store only knows how it was.
    pub fn head(&self) -> &Store {
        self.end.as_deref().unwrap_or(&self.store)
    }

    /// Whether a trainer seems to be at work on it.
    pub fn is_lively(&self, now_ms: u64) -> bool {
        self.head().status(now_ms).is_lively()
    }

    /// Samples to be read and sent back as [`RunMsg::Sample`].
    pub fn wants(&self) -> Vec<SampleEntry> {
        self.browser.wants()
    }

    /// The latest request from this viewer.
    pub fn latest_asked(&self) -> Option<&Asked> {
        self.asked.back()
    }

    pub(super) fn asked(&mut self, asked: Asked) {
        if self.asked.len() == Self::MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
        self.answer();
    }

    /// Takes over what the log says about the requests.
    fn answer(&mut self) {
        for asked in &mut self.asked {
            if let Some(answer) = self.store.answers.get(&asked.id) {
                asked.status = Some(answer.status);
                asked.reason = answer.reason.as_deref().map(crate::text::clean);
            }
        }
    }
}
