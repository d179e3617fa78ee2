//! Which group of samples is looked at.

mod group;
mod order;

use std::collections::VecDeque;

use telemetry::event::Evaluation;
use telemetry::{SampleEntry, SampleRecord};

pub use group::{Answer, Difference, Group, Part, Scale};
pub use order::{Order, Sort};

/// The latest groups, the one selected, and the texts of the few that are on the screen. While a run has no
/// samples, the answers of its latest evaluation take their place.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// How completions are listed.
    sort: Sort,
    /// What differences are marked against.
    pub difference: Difference,
    /// Whether the whole prompt is shown instead of completions.
    pub shows_prompt: bool,
    /// Lines that the text is scrolled by, from where the selection alone would put it.
    scroll: isize,
    order: Order,
    /// Only groups whose task or step holds these words are listed.
    filter: String,
    entries: VecDeque<SampleEntry>,
    num_groups: u64,
    answers: Vec<Group>,
    /// The evaluation that the answers are of.
    evaluated: Option<(u64, String)>,
    /// What is listed, by its place in `entries`, or in `answers` while there are none.
    listed: Vec<usize>,
    /// `None` follows the first of the list.
    selected: Option<SampleEntry>,
    /// The answer selected, by its place in the list.
    answer: usize,
    /// The completion selected, by its place among those of the group.
    completion: usize,
    texts: VecDeque<(SampleEntry, Result<Group, String>)>,
}

/// A row of the list.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The optimizer step.
    pub step: u64,
    /// Its number in that step.
    pub number: u64,
    /// Task or language pair; empty where none is known.
    pub task: &'a str,
    /// The lowest and the highest reward, where any is a number.
    pub reward_range: Option<(f64, f64)>,
    /// Whether a reward is no number.
    pub has_nan: bool,
}

/// The group that is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Current<'a> {
    /// The list is empty.
    None,
    /// Its text has not been read yet.
    Reading,
    /// Its text cannot be read, and why.
    Failed(&'a str),
    /// Here it is.
    Group(&'a Group),
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
        self.list();
    }

    /// Forgets all samples: the file is another.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.texts.clear();
        self.num_groups = 0;
        self.follow();
        self.list();
    }

    /// Takes over the answers that the run's latest evaluation brought along, where it did.
    pub fn set_answers(&mut self, evaluation: Option<&Evaluation>) {
        let Some(evaluation) = evaluation else {
            if self.evaluated.take().is_some() {
                self.answers.clear();
                self.list();
            }
            return;
        };
        let of = Some((evaluation.step, evaluation.name.clone()));
        if self.evaluated == of || evaluation.fields.get("samples").is_none() {
            return;
        }
        (self.answers, self.evaluated) = (Group::of_evaluation(evaluation), of);
        self.list();
    }

    /// Takes the text of a group, or why it cannot be read.
    pub fn set_text(&mut self, entry: SampleEntry, text: Result<SampleRecord, String>) {
        self.texts.retain(|(known, _)| *known != entry);
        if self.texts.len() == Self::MAX_TEXTS {
            self.texts.pop_front();
        }
        self.texts.push_back((entry, text.map(Group::from)));
    }

    /// The groups whose text is to be read.
    pub fn wants(&self) -> Vec<SampleEntry> {
        let mut wanted: Vec<SampleEntry> = Vec::new();
        for entry in [self.newest(), self.entry()].into_iter().flatten() {
            if self.text(entry).is_none() && !wanted.contains(entry) {
                wanted.push(entry.clone());
            }
        }
        wanted
    }

    /// The text of a group, once it has been read.
    pub fn text(&self, entry: &SampleEntry) -> Option<&Result<Group, String>> {
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
    pub fn current(&self) -> Current<'_> {
        if self.shows_answers() {
            let answer = self.listed.get(self.position());
            return answer.map_or(Current::None, |at| Current::Group(&self.answers[*at]));
        }
        match self.entry().map(|entry| self.text(entry)) {
            None => Current::None,
            Some(None) => Current::Reading,
            Some(Some(Err(problem))) => Current::Failed(problem),
            Some(Some(Ok(group))) => Current::Group(group),
        }
    }

    /// The name of the evaluation whose answers are listed instead of samples.
    pub fn evaluation(&self) -> Option<&str> {
        let (_, name) = self.evaluated.as_ref()?;
        self.shows_answers().then_some(name)
    }

    /// The place of the group selected in the list.
    pub fn position(&self) -> usize {
        let last = self.listed.len().saturating_sub(1);
        let position = match (&self.selected, self.shows_answers()) {
            (_, true) => self.answer,
            (Some(entry), false) => {
                let is_it = |at: &usize| self.entries[*at] == *entry;
                self.listed.iter().position(is_it).unwrap_or(0)
            }
            (None, false) => 0,
        };
        position.min(last)
    }

    /// Whether the selection moves on to a new group when one is written.
    pub fn is_following(&self) -> bool {
        self.selected.is_none() && !self.entries.is_empty()
    }

    /// The places of the group's completions, in the order in which they are listed.
    pub fn arranged(&self) -> Vec<usize> {
        match (self.current(), self.sort) {
            (Current::Group(group), Sort::Number) => (0..group.answers.len()).collect(),
            (Current::Group(group), Sort::Reward) => group.ranked(),
            _ => Vec::new(),
        }
    }

    /// The place of the completion selected in [`Browser::arranged`].
    pub fn completion(&self) -> usize {
        self.completion
    }

    /// The completion selected.
    pub fn answer(&self) -> Option<&Answer> {
        let Current::Group(group) = self.current() else {
            return None;
        };
        group.answers.get(*self.arranged().get(self.completion)?)
    }

    /// Lines that the text is scrolled by.
    pub fn scroll(&self) -> isize {
        self.scroll
    }

    /// The order of the list.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The order of the completions.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// How many groups were ever written; of answers, how many there are.
    pub fn num_groups(&self) -> u64 {
        match self.shows_answers() {
            true => self.answers.len() as u64,
            false => self.num_groups,
        }
    }

    /// How many groups the list has.
    pub fn num_listed(&self) -> usize {
        self.listed.len()
    }

    /// The groups in the order of the list, from a place on.
    pub fn listed(&self, from: usize) -> impl Iterator<Item = Listed<'_>> {
        let listed = self.listed.iter().skip(from);
        listed.map(|at| self.row(*at))
    }

    /// Lists only what holds these words.
    pub fn set_filter(&mut self, filter: &str) {
        if self.filter != filter {
            filter.clone_into(&mut self.filter);
            self.follow();
            self.list();
        }
    }

    /// Moves the selection in the list.
    pub fn move_group(&mut self, by: isize) {
        let last = self.listed.len().saturating_sub(1);
        let to = self.position().saturating_add_signed(by).min(last);
        self.follow();
        if self.shows_answers() {
            self.answer = to;
        } else if to > 0 {
            self.selected = self.entries.get(self.listed[to]).cloned();
        }
    }

    /// Moves on to another completion of the group.
    pub fn move_completion(&mut self, by: isize) {
        let last = self.arranged().len().saturating_sub(1);
        let to = self.completion.saturating_add_signed(by).min(last);
        self.select_completion(to);
    }

    /// Goes to the best completion.
    pub fn find_best(&mut self) {
        self.find(Group::best);
    }

    /// Goes to the worst completion.
    pub fn find_worst(&mut self) {
        self.find(Group::worst);
    }

    /// Scrolls the text to so many lines.
    pub fn set_scroll(&mut self, scroll: isize) {
        self.hold();
        self.scroll = scroll;
    }

    /// Shows the whole prompt instead of completions, or these again.
    pub fn turn_prompt(&mut self) {
        self.shows_prompt = !self.shows_prompt;
        self.scroll = 0;
    }

    /// Takes the next order and goes back to the list's start.
    pub fn next_order(&mut self) {
        self.order = self.order.next();
        self.follow();
        self.list();
    }

    /// Lists the completions the other way; the one selected stays so.
    pub fn next_sort(&mut self) {
        let selected = self.arranged().get(self.completion).copied();
        self.sort = self.sort.next();
        let place = |selected| self.arranged().iter().position(|at| *at == selected);
        let to = selected.and_then(place).unwrap_or(0);
        self.select_completion(to);
    }

    /// Stays at the group that is looked at when others are written.
    pub fn hold(&mut self) {
        self.selected = self.entry().cloned();
    }

    fn shows_answers(&self) -> bool {
        self.entries.is_empty() && !self.answers.is_empty()
    }

    fn entry(&self) -> Option<&SampleEntry> {
        match (&self.selected, self.shows_answers()) {
            (_, true) => None,
            (Some(selected), false) => Some(selected),
            (None, false) => self.entries.get(*self.listed.first()?),
        }
    }

    fn follow(&mut self) {
        (self.selected, self.answer) = (None, 0);
        (self.completion, self.scroll) = (0, 0);
    }

    /// Who looks at one completion reads it, and a new group must not take it away.
    fn select_completion(&mut self, to: usize) {
        self.hold();
        (self.completion, self.scroll) = (to, 0);
        self.shows_prompt = false;
    }

    fn find(&mut self, of: fn(&Group) -> Option<usize>) {
        let Current::Group(group) = self.current() else {
            return;
        };
        let found = of(group).and_then(|found| self.arranged().iter().position(|at| *at == found));
        if let Some(to) = found {
            self.select_completion(to);
        }
    }

    fn row(&self, at: usize) -> Listed<'_> {
        if self.shows_answers() {
            let group = &self.answers[at];
            let reward = group.answers.first().and_then(|answer| answer.reward);
            return Listed {
                step: group.step,
                number: group.number,
                task: &group.task,
                reward_range: reward
                    .filter(|r| !r.is_nan())
                    .map(|reward| (reward, reward)),
                has_nan: reward.is_some_and(f64::is_nan),
            };
        }
        let entry = &self.entries[at];
        Listed {
            step: entry.step,
            number: entry.group,
            task: &entry.task,
            reward_range: entry.reward_range,
            has_nan: entry.has_nan,
        }
    }

    /// Makes the list anew.
    fn list(&mut self) {
        let filter = self.filter.to_lowercase();
        let passes = |at: &usize| {
            let row = self.row(*at);
            let name = format!("{}/{} {}", row.step, row.number, row.task).to_lowercase();
            filter.split_whitespace().all(|word| name.contains(word))
        };
        let mut listed: Vec<usize> = match self.shows_answers() {
            true => (0..self.answers.len()).filter(passes).collect(),
            false => (0..self.entries.len()).rev().filter(passes).collect(),
        };
        self.order.sort(&mut listed, |at| self.row(at).reward_range);
        self.listed = listed;
    }
}
