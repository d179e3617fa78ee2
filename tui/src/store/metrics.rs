//! All metrics of a run by name.

use std::collections::HashMap;

use telemetry::metric::MetricKey;

use super::curve::Curve;

/// A metric with its meaning and its values.
#[derive(Debug, Clone)]
pub struct Metric {
    /// As in the log; one of an evaluation begins with the evaluation's name, as in `held_out/chrf`.
    pub name: String,
    /// Unit and direction, where they are known.
    pub key: Option<&'static MetricKey>,
    /// The values.
    pub curve: Curve,
}

/// The metrics in the order in which they first came.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    all: Vec<Metric>,
    by_name: HashMap<String, usize>,
    num_left_out: u64,
}

impl Metrics {
    /// More than any trainer writes; a log that makes up names must not fill the memory.
    const CAPACITY: usize = 512;

    /// Adds a value; `meaning` is the name to look the unit up by.
    pub fn push(&mut self, name: &str, meaning: &str, step: u64, value: f64) {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None if self.all.len() == Self::CAPACITY => {
                self.num_left_out += 1;
                return;
            }
            None => {
                self.by_name.insert(name.to_owned(), self.all.len());
                self.all.push(Metric {
                    name: name.to_owned(),
                    key: MetricKey::lookup(meaning),
                    curve: Curve::default(),
                });
                self.all.len() - 1
            }
        };
        self.all[index].curve.push(step, value);
    }

    /// The run went back to an earlier step.
    pub fn cut(&mut self, from_step: u64) {
        self.all
            .iter_mut()
            .for_each(|metric| metric.curve.cut(from_step));
    }

    /// The metric of that name.
    pub fn get(&self, name: &str) -> Option<&Metric> {
        self.by_name.get(name).map(|index| &self.all[*index])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.all.iter()
    }

    /// Those that are what `pattern` names: itself or, with a `*`, anything in its place.
    pub fn matching(&self, pattern: &str) -> Vec<&Metric> {
        let Some((before, after)) = pattern.split_once('*') else {
            return self.get(pattern).into_iter().collect();
        };
        let fits = |name: &str| {
            name.len() > before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        };
        self.all
            .iter()
            .filter(|metric| fits(&metric.name))
            .collect()
    }

    /// Values whose names there was no room for.
    pub fn num_left_out(&self) -> u64 {
        self.num_left_out
    }
}
