//! How many tokens and how much time a run had taken by each step.

/// What a chart's steps are measured by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum XAxis {
    /// Optimizer steps.
    #[default]
    Step,
    /// Tokens trained on.
    Tokens,
    /// Milliseconds spent on the run, without those between its processes and without pauses.
    Time,
}

impl XAxis {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Tokens => "tokens",
            Self::Time => "time",
        }
    }

    /// The next one.
    pub fn next(self) -> Self {
        match self {
            Self::Step => Self::Tokens,
            Self::Tokens => Self::Time,
            Self::Time => Self::Step,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Point {
    step: u64,
    tokens: f64,
    ms: f64,
}

/// Steps with what had been spent by their ends, in bounded memory: between the points that are kept it is
/// taken to have been spent evenly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    points: Vec<Point>,
    /// Until when the time is counted.
    counted_ms: Option<u64>,
    is_paused: bool,
    spent_ms: f64,
}

impl Timeline {
    const CAPACITY: usize = 4096;

    /// A process began to work on the run.
    pub fn begin(&mut self, time_ms: u64) {
        (self.counted_ms, self.is_paused) = (Some(time_ms), false);
    }

    /// A phase began; the one in which nothing happens does not count.
    pub fn phase(&mut self, time_ms: u64, name: &str) {
        self.count(time_ms);
        self.is_paused = name == super::PAUSED;
    }

    /// A step ended that trained on that many tokens.
    pub fn step(&mut self, time_ms: u64, step: u64, tokens: f64) {
        self.count(time_ms);
        if self.points.last().is_some_and(|last| last.step >= step) {
            self.cut(step.saturating_sub(1));
        }
        let before = self.points.last().map_or(0.0, |last| last.tokens);
        let tokens = if tokens.is_finite() { tokens } else { 0.0 };
        self.points.push(Point {
            step,
            tokens: before + tokens,
            ms: self.spent_ms,
        });
        if self.points.len() > Self::CAPACITY {
            let last = self.points.len() - 1;
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                (at - 1) % 2 == 0 || at - 1 == last
            });
        }
    }

    /// The run went back to the end of a step, and so does what it had spent.
    pub fn cut(&mut self, from_step: u64) {
        let keep = self.points.partition_point(|point| point.step <= from_step);
        if keep < self.points.len() {
            // The step may lie between two points that are kept.
            let at = self.point(from_step, keep);
            self.points.truncate(keep);
            if self.points.last().is_none_or(|last| last.step < from_step) && from_step > 0 {
                self.points.push(Point {
                    step: from_step,
                    ..at
                });
            }
            self.spent_ms = at.ms;
        }
    }

    /// Where the end of a step lies.
    pub fn x(&self, axis: XAxis, step: u64) -> f64 {
        let after = self.points.partition_point(|point| point.step < step);
        self.x_before(axis, step, after)
    }

    /// Where the ends of steps lie, by rising step.
    pub fn xs(&self, axis: XAxis, steps: impl Iterator<Item = u64>) -> Vec<f64> {
        let mut after = 0;
        let x = |step| {
            while self
                .points
                .get(after)
                .is_some_and(|point| point.step < step)
            {
                after += 1;
            }
            self.x_before(axis, step, after)
        };
        steps.map(x).collect()
    }

    /// Where a step lies that is not after the point of that number.
    fn x_before(&self, axis: XAxis, step: u64, after: usize) -> f64 {
        match axis {
            XAxis::Step => step as f64,
            XAxis::Tokens => self.point(step, after).tokens,
            XAxis::Time => self.point(step, after).ms,
        }
    }

    /// The last step that does not lie beyond `x`.
    pub fn step_at(&self, axis: XAxis, x: f64) -> u64 {
        let (mut low, mut high) = (0, self.points.last().map_or(0, |last| last.step));
        if axis == XAxis::Step {
            return x.max(0.0) as u64;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.x(axis, middle) <= x {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        low
    }

    /// Tokens trained on so far; `None` where the log has none.
    pub fn tokens(&self) -> Option<f64> {
        self.points
            .last()
            .map(|last| last.tokens)
            .filter(|tokens| *tokens > 0.0)
    }

    /// Milliseconds spent until the last step.
    pub fn spent_ms(&self) -> f64 {
        self.points.last().map_or(0.0, |last| last.ms)
    }

    fn count(&mut self, time_ms: u64) {
        let from = self.counted_ms.unwrap_or(time_ms);
        if !self.is_paused {
            self.spent_ms += time_ms.saturating_sub(from) as f64;
        }
        self.counted_ms = Some(time_ms.max(from));
    }

    /// A step between the point of that number and the one before it, by proportion; nothing before the first.
    fn point(&self, step: u64, after: usize) -> Point {
        let Some(end) = self.points.get(after) else {
            return self.points.last().copied().unwrap_or_default();
        };
        let start = match after.checked_sub(1) {
            Some(before) => self.points[before],
            None => Point::default(),
        };
        let span = end.step.saturating_sub(start.step) as f64;
        let share = match span > 0.0 {
            true => step.saturating_sub(start.step) as f64 / span,
            false => 1.0,
        };
        Point {
            step,
            tokens: start.tokens + share * (end.tokens - start.tokens),
            ms: start.ms + share * (end.ms - start.ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_and_the_time_between_processes_do_not_count() {
        let mut timeline = Timeline::default();
        timeline.begin(1_000);
        timeline.step(2_000, 1, 10.0);
        timeline.phase(2_000, "paused");
        timeline.phase(60_000, "train");
        timeline.step(61_000, 2, 10.0);
        timeline.begin(1_000_000);
        timeline.step(1_003_000, 3, 10.0);
        assert_eq!(timeline.x(XAxis::Time, 3), 5_000.0);
        assert_eq!(timeline.x(XAxis::Tokens, 3), 30.0);
        assert_eq!(timeline.x(XAxis::Step, 3), 3.0);
    }

    #[test]
    fn going_back_gives_back_what_was_spent() {
        let mut timeline = Timeline::default();
        timeline.begin(0);
        (1..=4).for_each(|step| timeline.step(step * 1_000, step, 8.0));
        timeline.cut(2);
        timeline.begin(50_000);
        timeline.step(51_000, 3, 8.0);
        assert_eq!(
            (timeline.spent_ms(), timeline.tokens()),
            (3_000.0, Some(24.0))
        );
    }

    #[test]
    fn a_million_steps_are_a_few_thousand_points_and_every_step_is_found() {
        let mut timeline = Timeline::default();
        timeline.begin(0);
        (1..=1_000_000u64).for_each(|step| timeline.step(step * 10, step, 100.0));
        assert!(timeline.points.len() <= Timeline::CAPACITY);
        for step in [1, 2, 77_777, 500_001, 1_000_000] {
            let x = timeline.x(XAxis::Tokens, step);
            assert!((x - 100.0 * step as f64).abs() < 1.0, "{step}: {x}");
            assert_eq!(timeline.step_at(XAxis::Tokens, x + 1.0), step);
            assert_eq!(
                timeline.step_at(XAxis::Time, timeline.x(XAxis::Time, step) + 0.5),
                step
            );
        }
    }
}
