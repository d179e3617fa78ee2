//! Which group of samples is looked at.

use std::collections::VecDeque;

use telemetry::{Completion, SampleEntry, SampleRecord};

/// How the groups are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    #[default]
    Latest,
    /// The largest difference between best and worst first.
    Spread,
    /// The best completion first.
    Best,
    /// The worst completion first.
    Worst,
}

impl Order {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Spread => "spread",
            Self::Best => "best",
            Self::Worst => "worst",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Latest => Self::Spread,
            Self::Spread => Self::Best,
            Self::Best => Self::Worst,
            Self::Worst => Self::Latest,
        }
    }
}

/// The latest groups, the one selected, and the texts of the few that are on the screen.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    entries: VecDeque<SampleEntry>,
    num_groups: u64,
    order: Order,
    /// `None` follows the first of the list.
    selected: Option<SampleEntry>,
    completion: usize,
    /// Whether the whole prompt is shown.
    pub shows_prompt: bool,
    /// Whether words that differ from the reference stand out.
    pub shows_difference: bool,
    /// Only groups whose task or step holds these words are listed.
    filter: String,
    texts: VecDeque<(SampleEntry, Result<SampleRecord, String>)>,
}

impl Browser {
    const CAPACITY: usize = 5000;
    const MAX_TEXTS: usize = 4;

    /// Adds groups that were written since.
    pub fn extend(&mut self, entries: Vec<SampleEntry>) {
        self.num_groups += entries.len() as u64;
        self.entries.extend(entries);
        let surplus = self.entries.len().saturating_sub(Self::CAPACITY);
        self.entries.drain(..surplus);
    }

    /// Forgets everything: the file is another.
    pub fn clear(&mut self) {
        *self = Self {
            order: self.order,
            shows_prompt: self.shows_prompt,
            shows_difference: self.shows_difference,
            filter: std::mem::take(&mut self.filter),
            ..Self::default()
        };
    }

    /// Takes the text of a group, or why it cannot be read.
    pub fn set_text(&mut self, entry: SampleEntry, text: Result<SampleRecord, String>) {
        self.texts.retain(|(known, _)| *known != entry);
        if self.texts.len() == Self::MAX_TEXTS {
            self.texts.pop_front();
        }
        self.texts.push_back((entry, text));
    }

    /// The groups whose text is to be read.
    pub fn wants(&self) -> Vec<SampleEntry> {
        let mut wanted: Vec<SampleEntry> = Vec::new();
        for entry in [self.newest(), self.current()].into_iter().flatten() {
            if self.text(entry).is_none() && !wanted.contains(entry) {
                wanted.push(entry.clone());
            }
        }
        wanted
    }

    /// The text of a group, once it has been read.
    pub fn text(&self, entry: &SampleEntry) -> Option<&Result<SampleRecord, String>> {
        self.texts
            .iter()
            .find(|(known, _)| known == entry)
            .map(|(_, text)| text)
    }

    /// The group written last.
    pub fn newest(&self) -> Option<&SampleEntry> {
        self.entries.back()
    }

    /// The group selected.
    pub fn current(&self) -> Option<&SampleEntry> {
        match &self.selected {
            Some(selected) => Some(selected),
            None => self.listed().first().copied(),
        }
    }

    /// The completion selected, counted from 0.
    pub fn completion(&self) -> usize {
        self.completion
    }

    /// The order of the list.
    pub fn order(&self) -> Order {
        self.order
    }

    /// How many groups were ever written.
    pub fn num_groups(&self) -> u64 {
        self.num_groups
    }

    /// The groups in the order of the list. Groups without a reward come last.
    pub fn listed(&self) -> Vec<&SampleEntry> {
        let filter = self.filter.to_lowercase();
        let passes = |entry: &&SampleEntry| {
            let name = format!("{}/{} {}", entry.step, entry.group, entry.task).to_lowercase();
            filter.split_whitespace().all(|word| name.contains(word))
        };
        let mut listed: Vec<&SampleEntry> = self.entries.iter().rev().filter(passes).collect();
        let value = |entry: &SampleEntry, of: fn((f64, f64)) -> f64| {
            entry.reward_range.map_or(f64::NEG_INFINITY, of)
        };
        let mut sort = |of: fn((f64, f64)) -> f64| {
            listed.sort_by(|a, b| value(b, of).total_cmp(&value(a, of)));
        };
        match self.order {
            Order::Latest => {}
            Order::Spread => sort(|(low, high)| high - low),
            Order::Best => sort(|(_, high)| high),
            Order::Worst => sort(|(low, _)| -low),
        }
        listed
    }

    /// Lists only what holds these words.
    pub fn set_filter(&mut self, filter: String) {
        if self.filter != filter {
            self.filter = filter;
            (self.selected, self.completion) = (None, 0);
        }
    }

    /// Moves the selection in the list.
    pub fn move_group(&mut self, by: isize) {
        let listed = self.listed();
        let at = self
            .selected
            .as_ref()
            .and_then(|s| listed.iter().position(|e| *e == s));
        let last = listed.len().saturating_sub(1);
        let to = at.unwrap_or(0).saturating_add_signed(by).min(last);
        let selected = (to > 0)
            .then(|| listed.get(to).map(|entry| (*entry).clone()))
            .flatten();
        self.selected = selected;
        self.completion = 0;
    }

    /// Moves on to another completion of the group.
    pub fn move_completion(&mut self, by: isize) {
        let last = self.completions().len().saturating_sub(1);
        self.completion = self.completion.saturating_add_signed(by).min(last);
    }

    /// Goes to the completion with the highest reward, or the lowest.
    pub fn find(&mut self, order: Order) {
        let rank = |c: &Completion| c.reward.map_or(f64::NEG_INFINITY, |reward| reward.0);
        let completions = (0..).zip(self.completions());
        let found = match order {
            Order::Worst => completions.min_by(|a, b| rank(a.1).total_cmp(&rank(b.1))),
            _ => completions.max_by(|a, b| rank(a.1).total_cmp(&rank(b.1))),
        };
        self.completion = found.map_or(0, |(at, _)| at);
    }

    /// Takes the next order and goes back to the list's start.
    pub fn next_order(&mut self) {
        self.order = self.order.next();
        (self.selected, self.completion) = (None, 0);
    }

    fn completions(&self) -> &[Completion] {
        let text = self.current().and_then(|entry| self.text(entry));
        text.and_then(|text| text.as_ref().ok())
            .map_or(&[], |record| &record.completions)
    }
}
