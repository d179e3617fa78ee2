//! How fast the run goes and on what it spends its time.

use std::collections::VecDeque;

/// The pace of the process that works on the run now.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Times and steps of the latest step events.
    steps: VecDeque<(u64, u64)>,
    phase: Option<(String, u64)>,
    spent_ms: Vec<(String, u64)>,
    /// What the steps themselves say that they spent, by part.
    parts_ms: Vec<(String, f64)>,
}

/// Phases within a step; where steps say what they spent, these say the same again.
const IN_A_STEP: [&str; 5] = ["train", "compile", "rollout", "reward", "reference"];

impl Pace {
    const WINDOW: usize = 64;

    /// A step ended.
    pub fn step(&mut self, time_ms: u64, step: u64) {
        if self.steps.len() == Self::WINDOW {
            self.steps.pop_front();
        }
        self.steps.push_back((time_ms, step));
    }

    /// A step took that long in all, and that long for each of its parts, in milliseconds.
    pub fn parts<'a>(&mut self, whole: f64, parts: impl Iterator<Item = (&'a str, f64)>) {
        let mut rest = whole;
        for (name, ms) in parts.filter(|(_, ms)| ms.is_finite()) {
            rest -= ms;
            add(&mut self.parts_ms, name, ms);
        }
        if rest < whole && rest > 0.0 {
            add(&mut self.parts_ms, "other", rest);
        }
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
        if name == super::PAUSED {
            // As if the steps before it had ended that much later: a pause is not the run's pace.
            self.steps.iter_mut().for_each(|(time, _)| *time += took);
        }
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

    /// The share of the time until `now_ms` of each part of the steps and of each phase between them, largest
    /// first; empty where the log names neither.
    pub fn shares(&self, now_ms: u64) -> Vec<(String, f64)> {
        let mut until_now = self.clone();
        until_now.end_phase(now_ms);
        let mut spent = until_now.parts_ms;
        let has_parts = !spent.is_empty();
        for (name, ms) in until_now.spent_ms {
            if !(has_parts && IN_A_STEP.contains(&name.as_str())) {
                add(&mut spent, &name, ms as f64);
            }
        }
        let total: f64 = spent.iter().map(|(_, ms)| ms).sum();
        spent.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        spent.retain(|(_, ms)| *ms > 0.0);
        let share = |(name, ms)| (name, ms / total);
        spent.into_iter().map(share).collect()
    }
}

fn add(spent: &mut Vec<(String, f64)>, name: &str, ms: f64) {
    match spent.iter_mut().find(|(known, _)| known == name) {
        Some((_, total)) => *total += ms,
        None => spent.push((name.to_owned(), ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steps_say_of_their_parts_goes_before_the_phases_they_are_in() {
        let mut pace = Pace::default();
        pace.phase(0, "train");
        pace.parts(
            1_000.0,
            [("rollout", 600.0), ("optimizer", 100.0)].into_iter(),
        );
        pace.phase(1_000, "evaluate");
        let share = |name: &str, share| (name.to_owned(), share);
        let expected = [
            share("evaluate", 0.5),
            share("rollout", 0.3),
            share("other", 0.15),
            share("optimizer", 0.05),
        ];
        assert_eq!(pace.shares(2_000), expected);
    }

    #[test]
    fn a_pause_is_not_the_pace() {
        let mut pace = Pace::default();
        pace.step(1_000, 1);
        pace.phase(1_000, "paused");
        pace.phase(61_000, "train");
        pace.step(62_000, 2);
        assert_eq!(pace.ms_per_step(), Some(1_000.0));
    }

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
