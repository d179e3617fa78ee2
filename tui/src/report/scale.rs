//! The axes of a chart: which values lie at its edges, and which are written beside it.

use telemetry::metric::{MetricKey, Unit};

use crate::format;
use crate::store::curve::Bucket;

/// Where a value lies, from 0 at the bottom to 1 at the top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

/// A value that is written beside an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// From 0 to 1.
    pub at: f64,
    /// The value itself.
    pub value: f64,
}

impl Scale {
    /// Above and below the curve, as a part of its height.
    const MARGIN: f64 = 0.04;

    /// Logarithmic where few values would otherwise press all others against the bottom.
    const PRESSED: f64 = 20.0;

    /// Fits all values, the lowest and the highest of each bucket too; `None` where none is a number.
    pub fn of(buckets: &[Bucket]) -> Option<Self> {
        let mut means: Vec<f64> = buckets.iter().filter_map(Bucket::mean).collect();
        means.sort_by(f64::total_cmp);
        let usual = *means.get(means.len().checked_sub(1)? * 9 / 10)?;
        let min = buckets.iter().map(|b| b.min).fold(f64::INFINITY, f64::min);
        let max = buckets
            .iter()
            .map(|b| b.max)
            .fold(f64::NEG_INFINITY, f64::max);
        let is_log = min > 0.0 && max > Self::PRESSED * usual;
        // The span of an axis has to be a number too.
        let axis = |value: f64| {
            if is_log {
                value.log10()
            } else {
                value.clamp(-1e300, 1e300)
            }
        };
        let (low, high) = (axis(min), axis(max));
        // A flat curve lies in the middle.
        let margin = match high - low > 1e-9 * low.abs().max(high.abs()) {
            true => (high - low) * Self::MARGIN,
            false if high == 0.0 => 1.0,
            false => high.abs() * 0.1,
        };
        // What can only be positive does not get an axis that says otherwise.
        let floor = if low >= 0.0 && !is_log {
            0.0
        } else {
            f64::NEG_INFINITY
        };
        Some(Self {
            low: (low - margin).max(floor),
            high: high + margin,
            is_log,
        })
    }

    /// The span of an axis that counts something, with nothing to spare.
    pub fn counting(first: f64, last: f64) -> Self {
        Self {
            low: first,
            high: last.max(first + 1.0),
            is_log: false,
        }
    }

    /// Whether equal distances are equal factors.
    pub fn is_log(&self) -> bool {
        self.is_log
    }

    /// Where a value lies; one beyond an edge lies on it.
    pub fn place(&self, value: f64) -> f64 {
        let axis = match self.is_log {
            true => value.max(f64::MIN_POSITIVE).log10(),
            false => value,
        };
        ((axis - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round values on the axis, about as many as asked for.
    pub fn ticks(&self, about: usize) -> Vec<Tick> {
        let values = match self.is_log {
            false => round_values(self.low, self.high, about),
            true => match self.high - self.low {
                decades if decades >= 2.0 => {
                    let step = (decades / about as f64).ceil();
                    let exponents = multiples(self.low, self.high, step);
                    exponents.into_iter().map(|e| 10f64.powf(e)).collect()
                }
                _ => round_values(10f64.powf(self.low), 10f64.powf(self.high), about),
            },
        };
        let tick = |value| Tick {
            at: self.place(value),
            value,
        };
        values.into_iter().map(tick).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn round_values(low: f64, high: f64, about: usize) -> Vec<f64> {
    let rough = (high - low) / about as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = match rough / power {
        r if r <= 1.4 => power,
        r if r <= 3.0 => 2.0 * power,
        r if r <= 7.0 => 5.0 * power,
        _ => 10.0 * power,
    };
    multiples(low, high, step)
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    // The bounds guard against an axis whose span is below the numbers' own precision.
    let is_sane = first.is_finite() && last.is_finite() && (0.0..100.0).contains(&(last - first));
    let count = if is_sane {
        (last - first) as u64 + 1
    } else {
        0
    };
    (0..count).map(|n| (first + n as f64) * step).collect()
}

/// The ticks' values as they are written, with as many digits as tell them apart.
pub fn labels(ticks: &[Tick], key: Option<&MetricKey>) -> Vec<String> {
    let gaps = ticks
        .windows(2)
        .map(|pair| (pair[1].value - pair[0].value).abs());
    let gap = gaps.fold(f64::INFINITY, f64::min);
    let largest = ticks
        .iter()
        .map(|tick| tick.value.abs())
        .fold(0.0, f64::max);
    let (factor, unit) = match key.map(|key| key.unit) {
        Some(Unit::Share) => (100.0, "%"),
        Some(Unit::Percent) => (1.0, "%"),
        Some(Unit::Seconds) if largest < 1.0 => (1e3, " ms"),
        Some(Unit::Seconds) if largest < 100.0 => (1.0, " s"),
        Some(Unit::Bytes | Unit::TokensPerSecond | Unit::Seconds) => {
            return ticks
                .iter()
                .map(|tick| format::value(tick.value, key))
                .collect();
        }
        _ => (1.0, ""),
    };
    let is_plain = largest == 0.0 || (1e-3..1e5).contains(&(largest * factor));
    // The gap is a rounding error away from its power of ten.
    let decimals = (-((gap * factor).log10() + 1e-6).floor()).clamp(0.0, 9.0) as usize;
    let label = |tick: &Tick| match tick.value * factor {
        // A multiple of a step that should be zero may be a rounding error away from it.
        value if value.abs() < gap * factor * 1e-6 => format!("0{unit}"),
        value if is_plain && gap.is_finite() => format!("{value:.decimals$}{unit}"),
        value if is_plain => format!("{}{unit}", format::number(value)),
        value if value.abs() >= 1e5 && value.abs() < 1e15 => format::amount(value),
        value => format!("{value:.1e}{unit}").replace(".0e", "e"),
    };
    ticks.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::curve::Curve;
    use telemetry::metric;

    fn curve(values: &[f64]) -> Curve {
        let mut curve = Curve::default();
        (1..)
            .zip(values)
            .for_each(|(step, value)| curve.push(step, *value));
        curve
    }

    fn labels_of(values: &[f64], key: Option<&MetricKey>) -> Vec<String> {
        let scale = Scale::of(curve(values).live()).unwrap();
        labels(&scale.ticks(4), key)
    }

    #[test]
    fn ticks_are_round_and_their_labels_differ() {
        assert_eq!(labels_of(&[0.0, 2.7], None), ["0", "1", "2"]);
        assert_eq!(
            labels_of(&[0.0], Some(&metric::COPY_RATE)),
            ["0%", "20%", "40%", "60%", "80%", "100%"]
        );
        assert_eq!(
            labels_of(&[0.9991, 0.9995], Some(&metric::MEAN_TOKEN_ACCURACY)),
            ["99.91%", "99.92%", "99.93%", "99.94%", "99.95%"]
        );
        assert_eq!(
            labels_of(&[1e-6, 4e-6], None),
            ["1e-6", "2e-6", "3e-6", "4e-6"]
        );
        assert_eq!(
            labels_of(&[-0.2, 0.2], None),
            ["-0.2", "-0.1", "0", "0.1", "0.2"]
        );
        assert_eq!(
            labels_of(&[11.2, 11.9], Some(&metric::STEP_TIME)),
            ["11.2 s", "11.4 s", "11.6 s", "11.8 s"]
        );
        assert_eq!(
            labels_of(&[1.0e9, 3.1e9], Some(&metric::MEMORY_USED_BYTES)),
            ["1.00 GB", "1.50 GB", "2.00 GB", "2.50 GB", "3.00 GB"]
        );
    }

    #[test]
    fn a_spike_far_above_all_else_makes_the_axis_logarithmic() {
        let mut values = vec![2.0; 100];
        values[50] = 5_000.0;
        let scale = Scale::of(curve(&values).live()).unwrap();
        assert!(scale.is_log());
        assert_eq!(labels(&scale.ticks(4), None), ["10", "100", "1000"]);
        assert!(scale.place(2.0) > 0.0 && scale.place(5_000.0) < 1.0);
        values[50] = 0.0;
        assert!(!Scale::of(curve(&values).live()).unwrap().is_log());
    }

    #[test]
    fn any_values_give_an_axis_with_places_between_0_and_1() {
        let odd = [
            vec![0.0],
            vec![5.0, 5.0],
            vec![-3.0],
            vec![1e-300, 1e300],
            vec![f64::NAN, 1.0, f64::INFINITY],
            vec![1.0, 1.0 + 1e-15],
            vec![-1e308, 1e308],
        ];
        for values in odd {
            let scale = Scale::of(curve(&values).live()).unwrap();
            for value in values.iter().filter(|value| value.is_finite()) {
                assert!((0.0..=1.0).contains(&scale.place(*value)), "{values:?}");
            }
            assert!(
                scale.ticks(4).iter().all(|t| (0.0..=1.0).contains(&t.at)),
                "{values:?}"
            );
        }
        assert_eq!(Scale::of(curve(&[f64::NAN]).live()), None);
        assert_eq!(Scale::of(&[]), None);
    }
}
