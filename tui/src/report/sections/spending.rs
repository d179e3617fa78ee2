//! What the run took: time by phase and by part of a step, and what it left on the disk.

use serde::Serialize;

use super::words::{time, visible};
use crate::format;
use crate::report::record::RunRecord;
use crate::store::{Saved, Store};
use crate::text::clean;

/// Time and disk.
#[derive(Debug, Serialize)]
pub struct Spending {
    phases: Vec<Part>,
    /// The parts of the steps, where the trainer measures them.
    parts: Vec<Part>,
    checkpoints: Vec<Checkpoint>,
    /// How many there still are, as far as the log knows.
    kept: String,
    has_reasons: bool,
    has_metrics: bool,
}

#[derive(Debug, Serialize)]
struct Part {
    name: String,
    time: String,
    share: String,
    percent: f64,
}

#[derive(Debug, Serialize)]
struct Checkpoint {
    step: String,
    time: String,
    bytes: String,
    took: String,
    /// Why it is kept; empty where it is not.
    kept: String,
    metric: String,
    path: String,
    is_removed: bool,
}

impl Spending {
    /// That of a run.
    pub fn new(record: &RunRecord) -> Self {
        let saved = &record.store.checkpoints;
        let kept = saved.iter().filter(|saved| !saved.is_removed);
        let bytes: u64 = kept.clone().map(|saved| saved.checkpoint.bytes).sum();
        let checkpoints = saved.iter().rev();
        let checkpoints: Vec<Checkpoint> = checkpoints
            .map(|saved| checkpoint(&record.store, saved))
            .collect();
        let phases = record.history.phases();
        let phases = phases
            .into_iter()
            .map(|(name, ms)| (name.to_owned(), ms as f64 / 1e3));
        Self {
            phases: shares(phases.collect(), None),
            parts: parts_of_steps(record),
            has_reasons: checkpoints
                .iter()
                .any(|checkpoint| !checkpoint.kept.is_empty()),
            has_metrics: checkpoints
                .iter()
                .any(|checkpoint| !checkpoint.metric.is_empty()),
            checkpoints,
            kept: format!(
                "{} kept, {}",
                format::count(kept.count() as u64),
                format::bytes(bytes as f64)
            ),
        }
    }
}

/// The sums of `time/*` over all steps, and what of the steps they leave.
fn parts_of_steps(record: &RunRecord) -> Vec<Part> {
    let steps = &record.store.steps;
    let sums = steps.matching("time/*").into_iter();
    let mut parts: Vec<(String, f64)> = sums
        .map(|metric| (clean(&metric.name["time/".len()..]), metric.curve.total()))
        .collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all = steps.get("step_time").map(|metric| metric.curve.total());
    if let Some(all) = all.filter(|_| !parts.is_empty()) {
        let rest = all - parts.iter().map(|(_, seconds)| seconds).sum::<f64>();
        if rest > 0.005 * all {
            parts.push(("the rest".to_owned(), rest));
        }
    }
    shares(parts, all)
}

/// Times in seconds with their shares, of their sum unless of something else.
fn shares(parts: Vec<(String, f64)>, of: Option<f64>) -> Vec<Part> {
    let all = of.unwrap_or_else(|| parts.iter().map(|(_, seconds)| seconds).sum());
    let part = |(name, seconds): (String, f64)| {
        let percent = seconds / all * 100.0;
        Part {
            name,
            time: format::seconds(seconds),
            share: format!("{percent:.1}%"),
            percent: if percent.is_finite() {
                percent.clamp(0.0, 100.0)
            } else {
                0.0
            },
        }
    };
    parts.into_iter().map(part).collect()
}

fn checkpoint(store: &Store, saved: &Saved) -> Checkpoint {
    let checkpoint = &saved.checkpoint;
    let words = checkpoint.fields.iter();
    let words = words.filter_map(|(name, value)| Some((name, clean(value.as_str()?))));
    let numbers = checkpoint.fields.scalars();
    let numbers = numbers.map(|(name, value)| (name, number(value)));
    let facts = words
        .chain(numbers)
        .map(|(name, value)| format!("{} {value}", clean(name)));
    Checkpoint {
        step: format::count(checkpoint.step),
        time: time(saved.time_ms),
        bytes: format::bytes(checkpoint.bytes as f64),
        took: format::seconds(checkpoint.seconds.0),
        kept: store.kept(saved).join(", "),
        metric: facts.collect::<Vec<_>>().join(", "),
        path: visible(&checkpoint.path),
        is_removed: saved.is_removed,
    }
}

fn number(value: f64) -> String {
    match value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        true => format::count(value as u64),
        false => format::number(value),
    }
}
