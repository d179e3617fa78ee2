use telemetry::event::AlertLevel;
use tui::plain::number;

use super::window::Window;
use super::{About, Finding, Observation, Rule, Source, Verdict};

/// A metric of evaluations that got worse and worse.
pub(super) struct Rises {
    about: About,
    /// The last evaluations, by step.
    values: Vec<(u64, f64)>,
}

/// Evaluations in a row that are each higher than the one before.
const RISES: usize = 3;

impl Rises {
    pub fn new(metric: &str) -> Self {
        Rises {
            about: About::new(
                format!("{metric} rises {RISES} times in a row"),
                metric,
                AlertLevel::Warning,
                "the model unlearns or overfits; the best checkpoint lies behind",
            ),
            values: Vec::new(),
        }
    }
}

impl Rule for Rises {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        let value = self.about.source.read(seen)?;
        let Observation::Evaluation(evaluation) = seen else {
            return None;
        };
        // A resumed run measures again what it was resumed from.
        if self
            .values
            .last()
            .is_some_and(|(step, _)| *step == evaluation.step)
        {
            self.values.pop();
        }
        if self.values.len() > RISES {
            self.values.remove(0);
        }
        self.values.push((evaluation.step, value));
        let pairs = || self.values.windows(2).map(|pair| (pair[0].1, pair[1].1));
        let (before, _) = pairs().next_back()?;
        let verdict = match self.values.len() > RISES && pairs().all(|(a, b)| b > a) {
            true => Verdict::Outside,
            false if value < before => Verdict::Inside,
            false => Verdict::Border,
        };
        let values: Vec<String> = self.values.iter().map(|(_, v)| number(*v)).collect();
        Some(Finding {
            verdict,
            value,
            threshold: self.values[0].1,
            sentence: format!("{} went {}", self.about.source.metric, values.join(" → ")),
        })
    }
}

/// A metric of steps that grows without a pause.
pub(super) struct Growth {
    about: About,
    current: Window,
    /// Means of windows that follow one another.
    means: Window,
}

/// Steps in a window.
const STEPS: usize = 20;
/// Windows in a row, each with a higher mean than the one before, by at least this factor.
const WINDOWS: usize = 6;
const MIN_WINDOW_GROWTH: f64 = 1.03;
/// How many times the first mean the last one is.
const MIN_GROWTH: f64 = 1.5;

impl Growth {
    pub fn new(metric: &str) -> Self {
        Growth {
            about: About::new(
                format!("{metric} grows without a pause"),
                metric,
                AlertLevel::Warning,
                "longer completions may earn more reward for nothing",
            ),
            current: Window::new(STEPS),
            means: Window::new(WINDOWS),
        }
    }
}

impl Rule for Growth {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        self.current.push(self.about.source.read(seen)?);
        if !self.current.is_full() {
            return None;
        }
        self.means.push(self.current.mean());
        self.current.clear();
        let means: Vec<f64> = self.means.values().collect();
        let (first, last) = (means[0], means[means.len() - 1]);
        let is_growing = means
            .windows(2)
            .all(|pair| pair[1] > MIN_WINDOW_GROWTH * pair[0]);
        let is_much = last >= MIN_GROWTH * first;
        let verdict = match self.means.is_full() && is_growing {
            true if is_much => Verdict::Outside,
            true => Verdict::Border,
            false => Verdict::Inside,
        };
        Some(Finding {
            verdict,
            value: last,
            threshold: MIN_GROWTH * first,
            sentence: format!(
                "{} went from {} to {} in {} steps",
                self.about.source.metric,
                number(first),
                number(last),
                STEPS * means.len()
            ),
        })
    }
}

/// Likelihood displacement: the margin between chosen and rejected answers grows while the chosen ones
/// become less likely (arXiv 2410.08847).
pub(super) struct Displacement {
    about: About,
    chosen: Compared,
    margins: Compared,
}

/// The first values of a metric, and the last.
struct Compared {
    source: Source,
    first: Window,
    last: Window,
}

/// Steps that are compared.
const COMPARED_STEPS: usize = 25;
/// Standard errors that the difference of two means must have.
const MIN_ERRORS: f64 = 4.0;
/// The share of its start that the log-probability must fall by.
const MIN_FALL: f64 = 0.1;

impl Displacement {
    pub fn new() -> Self {
        Displacement {
            about: About::new(
                format!("{CHOSEN} falls while {MARGINS} rises"),
                CHOSEN,
                AlertLevel::Warning,
                "the preferred answers become less likely too (likelihood displacement)",
            ),
            chosen: Compared::new(CHOSEN),
            margins: Compared::new(MARGINS),
        }
    }
}

const CHOSEN: &str = "logps/chosen";
const MARGINS: &str = "rewards/margins";

impl Compared {
    fn new(metric: &str) -> Self {
        Compared {
            source: Source::new(metric),
            first: Window::new(COMPARED_STEPS),
            last: Window::new(COMPARED_STEPS),
        }
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<()> {
        let value = self.source.read(seen)?;
        match self.first.is_full() {
            true => self.last.push(value),
            false => self.first.push(value),
        }
        self.last.is_full().then_some(())
    }

    /// By how much the metric rose, and the standard error of that.
    fn rise(&self) -> (f64, f64) {
        let variance = |window: &Window| window.deviation().powi(2) / window.len() as f64;
        let error = (variance(&self.first) + variance(&self.last)).sqrt();
        (self.last.mean() - self.first.mean(), error)
    }
}

impl Rule for Displacement {
    fn about(&self) -> &About {
        &self.about
    }

    fn look(&mut self, seen: Observation<'_>) -> Option<Finding> {
        let looked = (self.margins.look(seen), self.chosen.look(seen));
        let (Some(()), Some(())) = looked else {
            return None;
        };
        let (rise, error) = self.chosen.rise();
        let (margin_rise, margin_error) = self.margins.rise();
        let (before, now) = (self.chosen.first.mean(), self.chosen.last.mean());
        let least = (MIN_ERRORS * error).max(MIN_FALL * before.abs());
        let verdict = match (rise < -least, margin_rise > MIN_ERRORS * margin_error) {
            (true, true) => Verdict::Outside,
            _ if rise > -0.5 * least => Verdict::Inside,
            _ => Verdict::Border,
        };
        Some(Finding {
            verdict,
            value: now,
            threshold: before - least,
            sentence: format!(
                "{CHOSEN} went from {} to {}, and {MARGINS} from {} to {}, means of \
                 {COMPARED_STEPS} steps",
                number(before),
                number(now),
                number(self.margins.first.mean()),
                number(self.margins.last.mean()),
            ),
        })
    }
}
