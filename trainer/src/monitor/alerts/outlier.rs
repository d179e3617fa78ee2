use telemetry::event::AlertLevel;
use tui::plain::number;

use super::window::Window;
use super::{About, Finding, Observation, Rule, Verdict};

/// A metric that is no number any more.
pub(super) struct NonFinite {
    about: About,
    /// Steps since the last one.
    since: usize,
}

/// Steps without an outlier or a value that is no number after which the alert is cleared.
const QUIET_STEPS: usize = 32;

impl NonFinite {
    pub fn new(metric: &str) -> Self {
        NonFinite {
            about: About::new(
                format!("{metric} is not finite"),
                metric,
                AlertLevel::Alarm,
                "the step is of no use, and on_nonfinite says what becomes of it",
            ),
            since: QUIET_STEPS,
        }
    }
}

impl Rule for NonFinite {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        let value = self.about.source.read(seen)?;
        self.since = match value.is_finite() {
            true => self.since + 1,
            false => 0,
        };
        Some(Finding {
            verdict: quiet_for(self.since),
            value,
            threshold: f64::INFINITY,
            sentence: format!("{} is {}", self.about.source.metric, number(value)),
        })
    }
}

/// Values that lie far above what the metric was of late: the z-score of llm.c's outlier detector.
pub(super) struct Outlier {
    about: About,
    window: Window,
    /// Outliers that make an alert.
    wanted: usize,
    /// The observation that each of the last outliers was.
    seen_at: Vec<usize>,
    num_seen: usize,
    since: usize,
}

/// Steps that the mean and the deviation are of.
const STEPS: usize = 128;
/// Deviations above the mean from which on a value is an outlier.
const MAX_Z: f64 = 6.0;
/// Steps within which outliers belong together.
const TOGETHER: usize = 16;

impl Outlier {
    /// Fires at so many outliers close together: a gradient has one now and then, of a batch unlike the
    /// others, and clipping takes care of it.
    pub fn new(metric: &str, wanted: usize) -> Self {
        Outlier {
            about: About::new(
                format!("{metric} z-score > {MAX_Z}"),
                metric,
                AlertLevel::Warning,
                "it may be the beginning of a divergence",
            ),
            window: Window::new(STEPS),
            wanted,
            seen_at: Vec::new(),
            num_seen: 0,
            since: QUIET_STEPS,
        }
    }
}

impl Rule for Outlier {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        let value = self.about.source.read(seen)?;
        let (mean, deviation) = (self.window.mean(), self.window.deviation());
        let is_known = self.window.is_full() && deviation > 0.0;
        self.window.push(value);
        let z = (value - mean) / deviation;
        self.since += 1;
        self.num_seen += 1;
        if is_known && z > MAX_Z {
            self.seen_at.push(self.num_seen);
            let now = self.num_seen;
            self.seen_at.retain(|&at| now - at < TOGETHER);
            if self.seen_at.len() >= self.wanted {
                self.since = 0;
            }
        }
        is_known.then(|| Finding {
            verdict: quiet_for(self.since),
            value: z,
            threshold: MAX_Z,
            sentence: format!(
                "{} is {}, {z:.1} deviations from its mean of {} over the {STEPS} steps before; \
                 healthy is at most {MAX_Z}",
                self.about.source.metric,
                number(value),
                number(mean)
            ),
        })
    }
}

fn quiet_for(steps: usize) -> Verdict {
    match steps {
        0 => Verdict::Outside,
        QUIET_STEPS.. => Verdict::Inside,
        _ => Verdict::Border,
    }
}
