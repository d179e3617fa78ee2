//! Curves that know about resuming.

use crate::Event;
use crate::event::Step;

/// Values by step. Going back to an earlier step sets what came after it aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<T> {
    live: Vec<(u64, T)>,
    abandoned: Vec<Vec<(u64, T)>>,
}

impl<T> Series<T> {
    /// No values yet.
    pub fn new() -> Self {
        Self {
            live: Vec::new(),
            abandoned: Vec::new(),
        }
    }

    /// Adds a value. A step that is not after the last one means that the run went back without saying so.
    pub fn push(&mut self, step: u64, value: T) {
        if self.live.last().is_some_and(|(last, _)| *last >= step) {
            self.cut_where(|at| at >= step);
        }
        self.live.push((step, value));
    }

    /// The run went on from the state after `from_step`: later values are abandoned.
    pub fn cut(&mut self, from_step: u64) {
        self.cut_where(|at| at > from_step);
    }

    /// The values that count, by rising step.
    pub fn live(&self) -> &[(u64, T)] {
        &self.live
    }

    /// The tails that resuming left behind, oldest first, to be drawn dim.
    pub fn abandoned(&self) -> &[Vec<(u64, T)>] {
        &self.abandoned
    }

    /// The latest value that counts.
    pub fn last(&self) -> Option<&T> {
        self.live.last().map(|(_, value)| value)
    }

    fn cut_where(&mut self, is_abandoned: impl Fn(u64) -> bool) {
        let keep = self.live.partition_point(|(at, _)| !is_abandoned(*at));
        if keep < self.live.len() {
            self.abandoned.push(self.live.split_off(keep));
        }
    }
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The steps of a log as they count in the end, with the abandoned ones aside.
pub fn steps_after_resume<'a>(events: impl IntoIterator<Item = &'a Event>) -> Series<&'a Step> {
    let mut series = Series::new();
    for event in events {
        match event {
            Event::Step(step) => series.push(step.step, step),
            Event::Resumed(resumed) => series.cut(resumed.from_step),
            _ => {}
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(pushes: &[u64]) -> Series<u64> {
        let mut series = Series::new();
        pushes.iter().for_each(|&step| series.push(step, step * 10));
        series
    }

    #[test]
    fn a_cut_sets_the_tail_aside() {
        let mut steps = series(&[1, 2, 3, 4]);
        steps.cut(2);
        steps.push(3, 31);
        assert_eq!(steps.live(), [(1, 10), (2, 20), (3, 31)]);
        assert_eq!(steps.abandoned(), [vec![(3, 30), (4, 40)]]);
        assert_eq!(steps.last(), Some(&31));
    }

    #[test]
    fn a_cut_beyond_the_end_abandons_nothing() {
        let mut steps = series(&[1, 2]);
        steps.cut(2);
        steps.cut(9);
        assert_eq!((steps.live().len(), steps.abandoned().len()), (2, 0));
    }

    #[test]
    fn going_back_without_a_word_is_noticed() {
        let steps = series(&[1, 2, 3, 1, 2]);
        assert_eq!(steps.live(), [(1, 10), (2, 20)]);
        assert_eq!(steps.abandoned(), [vec![(1, 10), (2, 20), (3, 30)]]);
    }
}
