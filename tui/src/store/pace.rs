//! How fast the run goes and on what it spends its time.

use std::collections::VecDeque;

/// The pace of the process that works on the run now.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Times and steps of the latest step events.
    steps: VecDeque<(u64, u64)>,
    phase: Option<(String, u64)>,
    spent_ms: Vec<(String, u64)>,
}

impl Pace {
    const WINDOW: usize = 64;

    /// A step ended.
    pub fn step(&mut self, time_ms: u64, step: u64) {
        if self.steps.len() == Self::WINDOW {
            self.steps.pop_front();
        }
        self.steps.push_back((time_ms, step));
    }

    /// A phase began, and with that the one before ended.
    pub fn phase(&mut self, time_ms: u64, name: &str) {
        self.end_phase(time_ms);
        self.phase = Some((name.to_owned(), time_ms));
    }

    /// The run ended.
    pub fn end_phase(&mut self, time_ms: u64) {
        let Some((name, since)) = self.phase.take() else {
            return;
        };
        let took = time_ms.saturating_sub(since);
        match self.spent_ms.iter_mut().find(|(known, _)| *known == name) {
            Some((_, spent)) => *spent += took,
            None => self.spent_ms.push((name, took)),
        }
    }

    /// What is being done, and since when.
    pub fn current_phase(&self) -> Option<(&str, u64)> {
        self.phase
            .as_ref()
            .map(|(name, since)| (name.as_str(), *since))
    }

    /// Milliseconds a step takes with all that comes between the steps; `None` before the second step.
    pub fn ms_per_step(&self) -> Option<f64> {
        let (first, last) = (self.steps.front()?, self.steps.back()?);
        let steps = last.1.checked_sub(first.1).filter(|steps| *steps > 0)?;
        Some(last.0.saturating_sub(first.0) as f64 / steps as f64)
    }

    /// Each phase's share of the time until `now_ms`, largest first; empty where the log names no phases.
    pub fn shares(&self, now_ms: u64) -> Vec<(String, f64)> {
        let mut until_now = self.clone();
        until_now.end_phase(now_ms);
        let mut spent = until_now.spent_ms;
        let total: u64 = spent.iter().map(|(_, ms)| ms).sum();
        spent.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
        spent.retain(|(_, ms)| *ms > 0);
        spent
            .into_iter()
            .map(|(name, ms)| (name, ms as f64 / total as f64))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_holds_what_comes_between_steps() {
        let mut pace = Pace::default();
        assert_eq!(pace.ms_per_step(), None);
        pace.phase(0, "train");
        pace.step(1_000, 1);
        pace.step(2_000, 2);
        pace.phase(2_000, "evaluate");
        pace.phase(3_000, "train");
        pace.step(4_000, 3);
        assert_eq!(pace.ms_per_step(), Some(1_500.0));
        assert_eq!(
            pace.shares(4_000),
            [("train".to_owned(), 0.75), ("evaluate".to_owned(), 0.25)]
        );
        assert_eq!(pace.current_phase(), Some(("train", 3_000)));
    }
}
