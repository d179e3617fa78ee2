//! The report as an object for a program.

use serde_json::{Map, Value, json};
use telemetry::Scalar;
use telemetry::clock::rfc3339;
use telemetry::event::Evaluation;

use super::Report;
use super::record::RunRecord;
use crate::store::Saved;
use crate::store::metrics::Metric;

impl Report {
    /// The report as one JSON object, its stages in `runs`. A number that is none is `"nan"`, `"inf"` or
    /// `"-inf"`, as in the log, and what is not known is `null`.
    pub fn json(&self) -> String {
        let object = json!({
            "name": self.name,
            "made_at": rfc3339(self.now_ms),
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
        });
        let mut text = serde_json::to_string_pretty(&object).expect("plain data");
        text.push('\n');
        text
    }
}

fn run(record: &RunRecord) -> Value {
    let (store, manifest) = (&record.store, record.manifest.as_ref());
    let run = store.run.as_ref();
    // The label is a glyph and words.
    let status = record.status().label();
    let status = status.split_once(' ').map_or(status, |(_, words)| words);
    let phases = record.history.phases().into_iter();
    let phases: Map<String, Value> = phases
        .map(|(name, ms)| (name.to_owned(), json!(ms as f64 / 1e3)))
        .collect();
    let metrics = store.steps.iter().chain(store.held_out.iter());
    let metrics: Map<String, Value> = metrics
        .filter_map(|m| Some((m.name.clone(), metric(m)?)))
        .collect();
    json!({
        "name": record.name,
        "stage": record.stage(),
        "status": status,
        "step": store.last_step,
        "total_steps": store.total_steps(),
        "model": run.map(|run| &run.model),
        "parameters": run.map(|run| run.parameters),
        "device": run.map(|run| &run.device),
        "dtype": run.map(|run| &run.dtype),
        "seed": run.map(|run| run.seed),
        "program_version": manifest.map(|manifest| &manifest.program_version),
        "git_commit": manifest.and_then(|manifest| manifest.git_commit.as_ref()),
        "argv": manifest.map(|manifest| &manifest.argv),
        "started_at": store.first_event_ms().map(rfc3339),
        "last_event_at": store.last_event_ms.map(rfc3339),
        "seconds": record.history.total_ms() as f64 / 1e3,
        "num_processes": record.history.num_processes(),
        "resumed_from": store.resumed_from,
        "num_tokens": store.num_tokens(),
        "phases": phases,
        "metrics": metrics,
        "evaluations": store.evaluations.iter().map(evaluation).collect::<Vec<_>>(),
        "data": store.data.as_ref().map(|data| json!({
            "step": data.step,
            "sources": data.sources,
        })),
        "checkpoints": store.checkpoints.iter().map(|Saved { checkpoint, is_removed, .. }| json!({
            "step": checkpoint.step,
            "path": checkpoint.path,
            "bytes": checkpoint.bytes,
            "is_removed": is_removed,
        })).collect::<Vec<_>>(),
        "failure": store.failure,
        "num_alerts": store.journal.num_alerts(),
        "num_warnings": store.journal.num_warnings(),
        "open_alerts": store.alerts.iter().map(|alert| json!({
            "rule": alert.rule,
            "message": alert.message,
            "step": alert.step,
        })).collect::<Vec<_>>(),
    })
}

fn evaluation(evaluation: &Evaluation) -> Value {
    let mut metrics = evaluation.fields.clone();
    metrics.remove("samples");
    json!({
        "step": evaluation.step,
        "name": evaluation.name,
        "metrics": metrics,
        "table": evaluation.table,
    })
}

/// The last value of a metric, and what there was before it.
fn metric(metric: &Metric) -> Option<Value> {
    let all = metric.curve.summary(0)?;
    let (step, last) = metric.curve.latest()?;
    let finite = all.mean().is_some();
    let known = |value: f64| finite.then_some(Scalar(value));
    Some(json!({
        "step": step,
        "last": Scalar(last),
        "lowest": known(all.min),
        "mean": all.mean().map(Scalar),
        "highest": known(all.max),
        "num_not_numbers": all.num_broken,
    }))
}
