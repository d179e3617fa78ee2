use telemetry::event::AlertLevel;
use tui::plain::number;

use super::threshold::verdict;
use super::window::Window;
use super::{About, Finding, Observation, Rule};
use crate::recipe::Side;

/// A metric held against what it was when the run began: in its first steps, or in its first evaluation.
pub(super) struct SinceStart {
    about: About,
    side: Side,
    /// The threshold is this many times the start.
    factor: f64,
    /// And at least this far from it, so that 0.1 % may become 0.2 %.
    least: f64,
    start: Start,
    recent: Window,
}

/// Steps that the start is the mean of, and those whose mean is held against it.
const STEPS: usize = 20;

/// What the metric was.
enum Start {
    Steps(Window),
    /// After so many steps, `None` before there was one.
    Evaluation(Option<(u64, f64)>),
}

impl SinceStart {
    pub fn new(metric: &str, side: Side, factor: f64, least: f64, meaning: &str) -> Self {
        let name = format!("{metric} {side} {factor} × its start");
        let about = About::new(name, metric, AlertLevel::Warning, meaning);
        let (start, recent) = match about.source.is_of_evaluations() {
            true => (Start::Evaluation(None), 1),
            false => (Start::Steps(Window::new(STEPS)), STEPS),
        };
        SinceStart {
            about,
            side,
            factor,
            least,
            start,
            recent: Window::new(recent),
        }
    }

    /// Of one row of evaluations' tables.
    pub fn of_group(self, group: &str) -> Self {
        SinceStart {
            about: self.about.of_group(group),
            ..self
        }
    }

    /// What the metric was at the start; `None` while that is being measured.
    fn start(&mut self, seen: Observation<'_>, value: f64) -> Option<f64> {
        match (&mut self.start, seen) {
            (Start::Steps(window), _) if window.is_full() => Some(window.mean()),
            (Start::Steps(window), _) => {
                window.push(value);
                None
            }
            (Start::Evaluation(start), Observation::Evaluation(evaluation)) => match start {
                // A run that begins once more measures its start once more.
                Some((step, start)) if *step != evaluation.step => Some(*start),
                _ => {
                    *start = Some((evaluation.step, value)).filter(|_| value.is_finite());
                    None
                }
            },
            _ => None,
        }
    }
}

impl Rule for SinceStart {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        let value = self.about.source.read(seen)?;
        let start = self.start(seen, value)?;
        self.recent.push(value);
        if !self.recent.is_full() {
            return None;
        }
        let value = self.recent.mean();
        let threshold = match self.side {
            Side::Above => (self.factor * start).max(start + self.least),
            Side::Below => (self.factor * start).min(start - self.least),
        };
        let over = match self.about.source.is_of_evaluations() {
            true => String::new(),
            false => format!(", the mean of {STEPS} steps"),
        };
        let at = match self.side {
            Side::Above => "at most",
            Side::Below => "at least",
        };
        Some(Finding {
            verdict: verdict(value, self.side, threshold),
            value,
            threshold,
            sentence: format!(
                "{} is {}{over}, and was {} when the run began; healthy is {at} {}",
                self.about.source,
                number(value),
                number(start),
                number(threshold)
            ),
        })
    }
}
