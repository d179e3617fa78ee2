use telemetry::event::AlertLevel;
use tui::plain::number;

use super::window::Window;
use super::{About, Finding, Observation, Rule, Verdict};
use crate::recipe::Side;

/// How much of a threshold a value must be inside of it for the alert to be cleared.
const HYSTERESIS: f64 = 0.1;

/// A metric beyond a number. Metrics of steps are noisy, so that the median or the mean over a full window
/// counts; evaluations are few, and each counts as it is.
pub(super) struct Threshold {
    about: About,
    side: Side,
    threshold: f64,
    window: Window,
    smoothing: Smoothing,
}

/// What stands for the values of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Smoothing {
    /// Does not mind single outliers.
    Median,
    /// Minds each value: for shares that are mostly 0 or 1.
    Mean,
}

impl Threshold {
    pub fn new(metric: &str, side: Side, threshold: f64, level: AlertLevel, meaning: &str) -> Self {
        let about = About::new(
            format!("{metric} {side} {threshold}"),
            metric,
            level,
            meaning,
        );
        let values = match about.source.is_of_evaluations() {
            true => 1,
            false => Self::STEPS,
        };
        Threshold {
            about,
            side,
            threshold,
            window: Window::new(values),
            smoothing: Smoothing::Median,
        }
    }

    /// Of one row of evaluations' tables.
    pub fn of_group(self, group: &str) -> Self {
        Threshold {
            about: self.about.of_group(group),
            ..self
        }
    }

    /// Steps in a window, where nothing else is said.
    pub const STEPS: usize = 10;

    /// Over so many steps.
    pub fn over(mut self, steps: usize, smoothing: Smoothing) -> Self {
        self.window = Window::new(steps);
        self.smoothing = smoothing;
        self
    }
}

impl Rule for Threshold {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        self.window.push(self.about.source.read(seen)?);
        if !self.window.is_full() {
            return None;
        }
        let (value, how) = match self.smoothing {
            Smoothing::Median => (self.window.median(), "median"),
            Smoothing::Mean => (self.window.mean(), "mean"),
        };
        let over = match self.window.len() {
            1 => String::new(),
            steps => format!(", the {how} of {steps} steps"),
        };
        let at = match self.side {
            Side::Above => "at most",
            Side::Below => "at least",
        };
        Some(Finding {
            verdict: verdict(value, self.side, self.threshold),
            value,
            threshold: self.threshold,
            sentence: format!(
                "{} is {}{over}; healthy is {at} {}",
                self.about.source,
                number(value),
                self.threshold
            ),
        })
    }
}

/// Where a value lies by a threshold that is unhealthy on one side.
pub(super) fn verdict(value: f64, side: Side, threshold: f64) -> Verdict {
    let margin = HYSTERESIS * threshold.abs();
    let (is_outside, is_inside) = match side {
        Side::Above => (value > threshold, value <= threshold - margin),
        Side::Below => (value < threshold, value >= threshold + margin),
    };
    match (is_outside, is_inside) {
        (true, _) => Verdict::Outside,
        (_, true) => Verdict::Inside,
        _ => Verdict::Border,
    }
}
