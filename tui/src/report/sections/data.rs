//! What the run read.

use serde::Serialize;
use telemetry::Scalar;
use telemetry::event::DataSource;

use super::words::visible;
use crate::format;
use crate::report::record::RunRecord;
use crate::text::clean;

/// The data of a run.
#[derive(Debug, Serialize)]
pub struct Data {
    sources: Vec<Source>,
    /// At which step they were counted.
    step: String,
    files: Vec<File>,
    /// What the look before the first step found, name and value.
    looked_at: Option<String>,
    findings: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Source {
    name: String,
    records: String,
    taken: String,
    tokens: String,
    epoch: String,
    target: String,
    share: String,
    /// Percent, for the bar; nothing where it is not known.
    share_percent: Option<f64>,
    target_percent: Option<f64>,
    rejected: String,
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    bytes: String,
    sha256: String,
}

impl Data {
    /// That of a run.
    pub fn new(record: &RunRecord) -> Self {
        let store = &record.store;
        let data = store.data.as_ref();
        let files = record.manifest.iter().flat_map(|manifest| &manifest.data);
        let preflight = store.preflight.as_ref();
        let findings = preflight
            .into_iter()
            .flat_map(|preflight| preflight.fields.scalars());
        Self {
            sources: data
                .into_iter()
                .flat_map(|data| &data.sources)
                .map(source)
                .collect(),
            step: data.map_or(String::new(), |data| format::count(data.step)),
            files: files
                .map(|file| File {
                    path: visible(&file.path),
                    bytes: format::bytes(file.bytes as f64),
                    sha256: clean(&file.sha256),
                })
                .collect(),
            looked_at: preflight.map(|preflight| {
                format!(
                    "{} of {} records",
                    format::count(preflight.looked_at),
                    format::count(preflight.records)
                )
            }),
            findings: findings
                .map(|(name, value)| (clean(name), shown(name, value)))
                .collect(),
        }
    }
}

fn shown(name: &str, value: f64) -> String {
    match name.ends_with("_bytes") {
        true => format::bytes(value),
        false => format::number(value),
    }
}

fn source(source: &DataSource) -> Source {
    let unknown = || "–".to_owned();
    let percent = |share: Option<Scalar>| {
        share
            .map(|share| (share.0 * 100.0).clamp(0.0, 100.0))
            .filter(|share| share.is_finite())
    };
    let share = |share: Option<Scalar>| match share {
        Some(share) if share.0.is_finite() => format!("{:.1}%", share.0 * 100.0),
        Some(share) => share.0.to_string(),
        None => unknown(),
    };
    let mut reasons: Vec<(&String, &u64)> = source.rejected.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reasons: Vec<String> = reasons
        .into_iter()
        .map(|(reason, count)| format!("{} {}", format::count(*count), clean(reason)))
        .collect();
    Source {
        name: visible(&source.name),
        records: format::count(source.records),
        taken: format::count(source.records_taken),
        tokens: source.tokens_taken.map_or_else(unknown, format::count),
        epoch: source
            .epoch
            .map_or_else(unknown, |epoch| format::number(epoch.0)),
        target: share(source.target_share),
        share: share(source.share),
        share_percent: percent(source.share),
        target_percent: percent(source.target_share),
        rejected: if reasons.is_empty() {
            unknown()
        } else {
            reasons.join(", ")
        },
    }
}
