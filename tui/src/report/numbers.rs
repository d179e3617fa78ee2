//! The few numbers by which a run is judged, and what a change of one means.

use telemetry::metric::{LEARNING_RATE, MetricKey};

use super::record::RunRecord;
use crate::format;
use crate::store::Store;
use crate::store::metrics::Metric;
use crate::text::clean;
use crate::verdict::Verdict;
use crate::views::headline;

/// A metric's first and last value.
#[derive(Debug, Clone)]
pub struct Number {
    /// As in the log.
    pub name: String,
    /// Its meaning.
    pub key: Option<&'static MetricKey>,
    /// What there was first, where there is something earlier than the last value.
    pub first: Option<First>,
    /// The last step and value.
    pub last: (u64, f64),
}

/// What a metric was at first.
#[derive(Debug, Clone, Copy)]
pub struct First {
    /// The steps that the value is the mean of, the first and the last; in most runs they are one.
    pub steps: (u64, u64),
    /// The value.
    pub value: f64,
}

impl First {
    /// Which steps those are: `step 1`, `steps 1–511`.
    pub fn shown_steps(&self) -> String {
        match self.steps {
            (first, last) if first == last => format!("step {}", format::count(first)),
            (first, last) => format!("steps {}–{}", format::count(first), format::count(last)),
        }
    }
}

impl Number {
    /// From the first value to the last, where both are numbers.
    pub fn change(&self) -> Option<f64> {
        let change = self.last.1 - self.first?.value;
        Some(change).filter(|change| change.is_finite())
    }

    /// The value as it is written.
    pub fn show(&self, value: f64) -> String {
        format::value(value, self.key)
    }

    /// The change as it is written, and what it means.
    pub fn shown_change(&self) -> Option<(String, Verdict)> {
        let change = self.change()?;
        Some((
            format::change(change, self.key),
            Verdict::of(change, self.key),
        ))
    }
}

/// The numbers of a run: those of the evaluations, the one that stands for them first, then what its stage
/// watches in training.
pub fn numbers(record: &RunRecord) -> Vec<Number> {
    let store = &record.store;
    let stage = headline::of(record.stage());
    let mut all = evaluated(store, stage.held_out);
    // What a schedule sets is no result.
    let is_result = |name: &&&str| !name.contains("held_out/") && **name != LEARNING_RATE.name;
    let in_training = stage.charts.iter().filter(is_result);
    all.extend(in_training.filter_map(|name| of_curve(store.steps.get(name)?)));
    all
}

/// The metrics of the last evaluation of each suite against its first one.
fn evaluated(store: &Store, preferred: &[&str]) -> Vec<Number> {
    let mut numbers = Vec::new();
    for (suite, baseline) in &store.baselines {
        let same = |known: &&telemetry::event::Evaluation| clean(&known.name) == *suite;
        let Some(last) = store.evaluations.iter().rfind(same) else {
            continue;
        };
        let rank = |name: &str| {
            preferred
                .iter()
                .position(|p| *p == name)
                .unwrap_or(preferred.len())
        };
        let mut metrics: Vec<(&str, f64)> = last.fields.scalars().collect();
        metrics.sort_by_key(|(name, _)| rank(name));
        for (name, value) in metrics {
            let before = baseline
                .fields
                .scalar(name)
                .filter(|_| baseline.step < last.step);
            numbers.push(Number {
                name: format!("{suite}/{}", clean(name)),
                key: MetricKey::lookup(name),
                first: before.map(|value| First {
                    steps: (baseline.step, baseline.step),
                    value,
                }),
                last: (last.step, value),
            });
        }
    }
    numbers
}

/// The first and the last step of a curve.
fn of_curve(metric: &Metric) -> Option<Number> {
    let last = metric.curve.latest()?;
    let first = metric.curve.live().first()?;
    // A bucket of many steps has no first value any more, but a mean.
    let first = First {
        steps: (first.first, first.last),
        value: first.mean().unwrap_or(f64::NAN),
    };
    Some(Number {
        name: metric.name.clone(),
        key: metric.key,
        first: Some(first).filter(|first| first.steps.1 < last.0),
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::metric;

    #[test]
    fn a_change_is_judged_by_the_metric_it_is_of() {
        let cases = [
            (1.0, Some(&metric::CHRF), Verdict::Better),
            (1.0, Some(&metric::LOSS), Verdict::Worse),
            (-1.0, Some(&metric::LOSS), Verdict::Better),
            (0.0, Some(&metric::LOSS), Verdict::Same),
            (f64::NAN, Some(&metric::LOSS), Verdict::Worse),
            (1.0, Some(&metric::KL), Verdict::Neutral),
            (1.0, None, Verdict::Neutral),
        ];
        for (change, key, verdict) in cases {
            assert_eq!(Verdict::of(change, key), verdict, "{change} {key:?}");
        }
    }
}
