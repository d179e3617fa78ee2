//! Evaluations side by side: metrics and groups against the steps at which they were measured.

use serde::Serialize;
use telemetry::event::Evaluation;
use telemetry::metric::{Better, MetricKey};

use crate::format;
use crate::report::record::RunRecord;
use crate::text::clean;
use crate::verdict::Verdict;
use crate::views::headline;

/// Evaluations beside each other; of more, those that divide the run evenly.
const MAX_COLUMNS: usize = 8;

/// Metrics with a table of their groups.
const MAX_METRICS: usize = 12;

/// All that was measured on one data set.
#[derive(Debug, Serialize)]
pub struct Suite {
    name: String,
    /// Over all groups, a row a metric.
    overall: Table,
    /// A table a metric, a row a group, the one that stands for the evaluation first.
    by_group: Vec<Table>,
    /// Evaluations there is no column for.
    left_out: usize,
}

#[derive(Debug, Serialize)]
struct Table {
    title: String,
    better: &'static str,
    /// The steps.
    columns: Vec<String>,
    rows: Vec<Row>,
    has_counts: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    count: Option<String>,
    cells: Vec<Cell>,
}

/// A value and how it compares with the first one of its row.
#[derive(Debug, Serialize)]
struct Cell {
    value: String,
    is_broken: bool,
    /// What a table is sorted by.
    sort: String,
    change: Option<String>,
    verdict: Verdict,
    glyph: &'static str,
}

/// The suites of a run.
pub fn suites(record: &RunRecord) -> Vec<Suite> {
    let preferred = headline::of(record.stage()).held_out;
    let names = record.store.baselines.keys();
    names
        .filter_map(|name| suite(record, name, preferred))
        .collect()
}

fn suite(record: &RunRecord, name: &str, preferred: &[&str]) -> Option<Suite> {
    let store = &record.store;
    let mut all: Vec<&Evaluation> = store
        .evaluations
        .iter()
        .filter(|evaluation| clean(&evaluation.name) == name)
        .collect();
    if let Some(baseline) = store.baselines.get(name)
        && all.first().is_some_and(|first| first.step > baseline.step)
    {
        all.insert(0, baseline);
    }
    let shown = spread(&all, MAX_COLUMNS);
    let latest = *shown.last()?;
    let rank = |metric: &str| {
        preferred
            .iter()
            .position(|p| *p == metric)
            .unwrap_or(preferred.len())
    };
    let ranked = |mut metrics: Vec<String>| {
        metrics.sort_by_key(|metric| rank(metric));
        metrics
    };
    let overall = ranked(
        latest
            .fields
            .scalars()
            .map(|(metric, _)| metric.to_owned())
            .collect(),
    );
    let mut grouped: Vec<String> = Vec::new();
    for (metric, _) in latest.table.iter().flat_map(|row| row.metrics.scalars()) {
        if !grouped.iter().any(|known| known == metric) {
            grouped.push(metric.to_owned());
        }
    }
    let grouped = ranked(grouped).into_iter().take(MAX_METRICS);
    Some(Suite {
        name: name.to_owned(),
        overall: overall_table(&shown, &overall),
        by_group: grouped
            .map(|metric| table_of_groups(&shown, latest, &metric))
            .collect(),
        left_out: all.len() - shown.len(),
    })
}

/// At most `count` of them, the first and the last among them.
fn spread<'a, T: ?Sized>(all: &[&'a T], count: usize) -> Vec<&'a T> {
    let shown = all.len().min(count);
    let place = |n: usize| n * (all.len() - 1) / (shown - 1).max(1);
    (0..shown).map(|n| all[place(n)]).collect()
}

fn columns(shown: &[&Evaluation]) -> Vec<String> {
    shown
        .iter()
        .map(|evaluation| format::count(evaluation.step))
        .collect()
}

fn overall_table(shown: &[&Evaluation], metrics: &[String]) -> Table {
    let row = |metric: &String| Row {
        name: clean(metric),
        count: None,
        cells: cells(
            shown
                .iter()
                .map(|evaluation| evaluation.fields.scalar(metric)),
            MetricKey::lookup(metric),
        ),
    };
    Table {
        title: "all groups".to_owned(),
        better: "",
        columns: columns(shown),
        rows: metrics.iter().map(row).collect(),
        has_counts: false,
    }
}

fn table_of_groups(shown: &[&Evaluation], latest: &Evaluation, metric: &str) -> Table {
    let key = MetricKey::lookup(metric);
    let value = |evaluation: &Evaluation, group: &str| {
        let row = evaluation.table.iter().find(|row| row.group == group)?;
        row.metrics.scalar(metric)
    };
    let rows = latest.table.iter().map(|row| Row {
        name: clean(&row.group),
        count: Some(format::count(row.count)),
        cells: cells(
            shown.iter().map(|evaluation| value(evaluation, &row.group)),
            key,
        ),
    });
    Table {
        title: clean(metric),
        better: match key.map(|key| key.better) {
            Some(Better::Higher) => "higher is better",
            Some(Better::Lower) => "lower is better",
            _ => "",
        },
        columns: columns(shown),
        rows: rows.collect(),
        has_counts: true,
    }
}

fn cells(values: impl Iterator<Item = Option<f64>>, key: Option<&MetricKey>) -> Vec<Cell> {
    let mut baseline = None;
    let cell = |value: Option<f64>| {
        let change = match (value, baseline) {
            (Some(value), Some(baseline)) => Some(value - baseline).filter(|c: &f64| c.is_finite()),
            _ => None,
        };
        baseline = baseline.or(value);
        let verdict = change.map_or(Verdict::Same, |change| Verdict::of(change, key));
        Cell {
            value: value.map_or("–".to_owned(), |value| format::value(value, key)),
            is_broken: value.is_some_and(|value| !value.is_finite()),
            sort: value.map_or(String::new(), |value| value.to_string()),
            change: change.map(|change| format::change(change, key)),
            verdict,
            glyph: if change.is_some() {
                verdict.glyph()
            } else {
                ""
            },
        }
    };
    values.map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::metric;

    #[test]
    fn of_many_evaluations_the_first_and_the_last_are_shown() {
        let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let shown = spread(&all, 8);
        assert_eq!((shown.len(), shown[0], shown[7]), (8, "0", "99"));
        assert_eq!(spread(&all[..1], 8), ["0"]);
        assert_eq!(spread(&all[..3], 8), ["0", "1", "2"]);
        assert!(spread(&all[..0], 8).is_empty());
    }

    #[test]
    fn cells_are_compared_with_the_first_value_of_their_row() {
        let values = [None, Some(50.0), Some(52.0), None, Some(f64::NAN)];
        let cells = cells(values.into_iter(), Some(&metric::CHRF));
        let shown: Vec<(&str, Option<&str>)> = cells
            .iter()
            .map(|cell| (&*cell.value, cell.change.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("–", None),
                ("50.0", None),
                ("52.0", Some("+2.00")),
                ("–", None),
                ("NaN", None)
            ]
        );
        assert_eq!(cells[2].verdict, Verdict::Better);
        assert!(cells[4].is_broken && !cells[2].is_broken);
    }
}
