//! Which metrics are drawn, and in which order.

use serde::Serialize;

use crate::report::chart::{Axis, Chart, Drawing, Style};
use crate::report::record::RunRecord;
use crate::store::metrics::Metric;
use crate::text::clean;
use crate::views::headline;

/// Charts of a run; each is about ten kilobytes of a page where the run is long.
const MAX_CHARTS: usize = 110;

/// All charts of a run.
#[derive(Debug, Serialize)]
pub struct Charts {
    /// What the stage must show first.
    headline: Vec<Drawing>,
    /// The metrics of evaluations.
    held_out: Vec<Drawing>,
    /// All others, those whose names begin alike together.
    families: Vec<Family>,
    machine: Vec<Drawing>,
    /// Metrics there was no room for.
    left_out: Vec<String>,
}

/// Metrics whose names begin alike.
#[derive(Debug, Serialize)]
struct Family {
    name: String,
    charts: Vec<Drawing>,
}

/// The family of metrics whose names have no prefix.
const PLAIN: &str = "training";

impl Charts {
    /// Those of a run.
    pub fn new(record: &RunRecord) -> Self {
        let store = &record.store;
        let known = headline::of(record.stage()).charts.iter();
        let known = known.filter_map(|names| {
            names
                .split('|')
                .find_map(|name| headline::find(store, name))
        });
        let mut first: Vec<&Metric> = Vec::new();
        for metric in known {
            if first.iter().all(|other| other.name != metric.name) {
                first.push(metric);
            }
        }
        let is_new = |metric: &&Metric| first.iter().all(|other| other.name != metric.name);
        let (held_out, others): (Vec<&Metric>, Vec<&Metric>) = (
            store.held_out.iter().filter(is_new).collect(),
            store.steps.iter().filter(is_new).collect(),
        );
        let mut room = MAX_CHARTS.saturating_sub(first.len());
        let mut left_out = Vec::new();
        let mut fit = |metric: &&Metric| {
            let fits = room > 0;
            room = room.saturating_sub(1);
            if !fits {
                left_out.push(clean(&metric.name));
            }
            fits
        };
        let held_out: Vec<&Metric> = held_out.into_iter().filter(&mut fit).collect();
        let others: Vec<&Metric> = others.into_iter().filter(&mut fit).collect();
        let draw = |metric: &Metric, columns| draw(record, metric, columns);
        Self {
            headline: first
                .into_iter()
                .filter_map(|metric| draw(metric, 320))
                .collect(),
            held_out: held_out
                .into_iter()
                .filter_map(|metric| draw(metric, 160))
                .collect(),
            families: families(&others, |metric| draw(metric, 160)),
            machine: store
                .machine
                .iter()
                .filter_map(|metric| machine(record, metric))
                .collect(),
            left_out,
        }
    }
}

fn draw(record: &RunRecord, metric: &Metric, columns: usize) -> Option<Drawing> {
    let store = &record.store;
    let is_evaluated = store.steps.get(&metric.name).is_none();
    Chart {
        metric,
        name: &clean(&metric.name),
        axis: Axis::Steps,
        last: store.last_step.unwrap_or(0),
        resumed_from: &store.resumed_from,
        style: if is_evaluated {
            Style::Dots
        } else {
            Style::Line
        },
        columns,
    }
    .draw()
}

fn machine(record: &RunRecord, metric: &Metric) -> Option<Drawing> {
    Chart {
        metric,
        name: &named_by_gpu(record, &metric.name),
        axis: Axis::Seconds,
        last: 0,
        resumed_from: &[],
        style: Style::Line,
        columns: 160,
    }
    .draw()
}

/// `gpu/0/power_watts` with what that GPU is.
fn named_by_gpu(record: &RunRecord, name: &str) -> String {
    let gpus = record
        .store
        .system
        .iter()
        .flat_map(|system| system.gpus.iter().flatten());
    let number = name
        .strip_prefix("gpu/")
        .and_then(|rest| rest.split_once('/'));
    let gpu = number.and_then(|(number, _)| gpus.into_iter().nth(number.parse().ok()?));
    match (gpu, number) {
        (Some(gpu), Some((number, what))) => format!("{what}, {number}: {}", clean(&gpu.name)),
        _ => clean(name),
    }
}

fn families(metrics: &[&Metric], draw: impl Fn(&Metric) -> Option<Drawing>) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for metric in metrics {
        let Some(chart) = draw(metric) else { continue };
        let name = metric
            .name
            .split_once('/')
            .map_or(PLAIN, |(prefix, _)| prefix);
        let name = clean(name);
        match families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.charts.push(chart),
            None => families.push(Family {
                name,
                charts: vec![chart],
            }),
        }
    }
    families
}
