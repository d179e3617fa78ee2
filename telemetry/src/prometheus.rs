//! A run's last metrics in Prometheus's text format, as a file for node_exporter's textfile collector.
//!
//! Every metric is a gauge with the labels `run` and `stage`: a step's is `keep_train_…`, a held-out
//! one `keep_eval_…` with the labels `evaluation` and, of a group, `group`, the machine's `keep_…`,
//! with the label `gpu` where it is one of several. Names are made legal: `rewards/chrf++/mean` is
//! `keep_train_rewards_chrf_plus_plus_mean`. A metric that the last step did not have keeps its value.
//!
//! `keep_running` is 1 from the start and 0 once the run has ended, also where it failed. A trainer that was killed
//! leaves it at 1, and `keep_alive_timestamp_seconds` stands still.

use crate::atomic::write_atomic;
use crate::event::Evaluation;
use crate::metric::{MetricKey, Unit};
use crate::{Event, Line, TelemetryError};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// Keeps the file of a run up to date.
#[derive(Debug)]
pub struct Prometheus {
    path: PathBuf,
    /// What every sample has.
    labels: String,
    families: BTreeMap<String, Family>,
    written_ms: Option<u64>,
}

/// The samples of one name, by their labels.
#[derive(Debug)]
struct Family {
    /// What it is called in the log.
    metric: String,
    help: String,
    samples: BTreeMap<String, f64>,
}

/// Collectors come by every fifteen seconds or less often, and flushing the file for each of many quick
/// steps would cost more than they do.
const PERIOD_MS: u64 = 5000;

impl Prometheus {
    /// Of the run and stage of these names, in the file `path`, which should end in `.prom`.
    pub fn new(path: impl Into<PathBuf>, run: &str, stage: &str) -> Self {
        Self {
            path: path.into(),
            labels: format!("{},{}", label("run", run), label("stage", stage)),
            families: BTreeMap::new(),
            written_ms: None,
        }
    }

    /// Takes in an event. The file is written at most every five seconds, and at the run's end.
    pub fn add(&mut self, line: &Line) -> Result<(), TelemetryError> {
        self.take(line);
        let is_end = matches!(line.event, Event::Finished(_) | Event::Failed(_));
        let is_due = self
            .written_ms
            .is_none_or(|written| line.time_ms.abs_diff(written) >= PERIOD_MS);
        if !is_due && !is_end {
            return Ok(());
        }
        self.written_ms = Some(line.time_ms);
        write_atomic(&self.path, self.text())
    }

    /// The metrics as they are now.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            let help = family.help.replace('\\', r"\\").replace('\n', r"\n");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (labels, value) in &family.samples {
                let _ = writeln!(text, "{name}{{{labels}}} {}", number(*value));
            }
        }
        text
    }

    fn take(&mut self, line: &Line) {
        let alive = "When the trainer last wrote to its log, in seconds since 1970.";
        self.set("alive_timestamp_seconds", alive, line.time_ms as f64 / 1e3);
        let ended = matches!(line.event, Event::Finished(_) | Event::Failed(_));
        self.set(
            "running",
            "1 until the run has ended.",
            f64::from(u8::from(!ended)),
        );
        match &line.event {
            Event::RunStarted(run) => {
                let help = "Optimizer steps of the whole run.";
                self.set("total_steps", help, run.total_steps as f64);
            }
            Event::Step(step) => {
                self.set_step(step.step);
                for (metric, value) in step.scalars() {
                    let help = sentence(metric, "of the last step");
                    self.put("train", metric, help, &[], value);
                }
            }
            Event::Resumed(resumed) => self.set_step(resumed.from_step),
            Event::Evaluation(evaluation) => self.evaluated(evaluation),
            Event::System(system) => {
                for (metric, value) in system.scalars() {
                    let parts: Vec<&str> = metric.split('/').collect();
                    match parts[..] {
                        ["gpu", gpu, metric] => {
                            let help = sentence(metric, "of a GPU");
                            self.put("gpu", metric, help, &[("gpu", gpu)], value);
                        }
                        _ => self.put("", &metric, sentence(&metric, "of the machine"), &[], value),
                    }
                }
            }
            _ => {}
        }
    }

    fn evaluated(&mut self, evaluation: &Evaluation) {
        let name = ("evaluation", evaluation.name.as_str());
        let help = |metric: &str| sentence(metric, "of the last evaluation");
        for (metric, value) in evaluation.fields.scalars() {
            self.put("eval", metric, help(metric), &[name], value);
        }
        for row in &evaluation.table {
            let labels = [name, ("group", &row.group)];
            for (metric, value) in row.metrics.scalars() {
                self.put("eval", metric, help(metric), &labels, value);
            }
        }
    }

    fn set_step(&mut self, step: u64) {
        self.set("step", "Optimizer steps taken.", step as f64);
    }

    fn set(&mut self, metric: &str, help: &str, value: f64) {
        self.put("", metric, help.to_owned(), &[], value);
    }

    fn put(&mut self, group: &str, metric: &str, help: String, more: &[(&str, &str)], value: f64) {
        let mut labels = self.labels.clone();
        for (name, value) in more {
            labels.push(',');
            labels.push_str(&label(name, value));
        }
        // Two metrics may become one name, and a file with a sample twice is refused as a whole.
        let legal = legal_name(group, metric);
        let metric = format!("{group}/{metric}");
        let numbered = (2..).map(|n| format!("{legal}_{n}"));
        let mut names = std::iter::once(legal.clone()).chain(numbered);
        let is_free = |name: &String| {
            let taken = self.families.get(name);
            taken.is_none_or(|family| family.metric == metric)
        };
        let name = names.find(is_free).expect("numbers do not end");
        let samples = BTreeMap::new();
        let family = self.families.entry(name).or_insert(Family {
            metric,
            help,
            samples,
        });
        family.samples.insert(labels, value);
    }
}

/// What a metric is, in words, with its unit where that is known.
fn sentence(metric: &str, of: &str) -> String {
    let unit = match MetricKey::lookup(metric).map(|key| key.unit) {
        None | Some(Unit::None) => "",
        Some(Unit::Share) => ", from 0 to 1",
        Some(Unit::Points) => ", in points of 100",
        Some(Unit::Nats) => ", in nats",
        Some(Unit::Tokens) => ", in tokens",
        Some(Unit::TokensPerSecond) => ", in tokens a second",
        Some(Unit::Seconds) => ", in seconds",
        Some(Unit::Bytes) => ", in bytes",
        Some(Unit::Percent) => ", in percent",
    };
    format!("{metric} {of}{unit}.")
}

/// The name with what Prometheus wants of one: no other characters, its unit at the end.
fn legal_name(group: &str, metric: &str) -> String {
    let mut name = match group {
        "" => "keep_".to_owned(),
        group => format!("keep_{group}_"),
    };
    for character in metric.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => name.push(character),
            '+' => name.push_str("_plus"),
            _ => name.push('_'),
        }
    }
    let unit = match MetricKey::lookup(metric).map(|key| key.unit) {
        Some(Unit::Seconds) => "_seconds",
        Some(Unit::Bytes) => "_bytes",
        _ => "",
    };
    if !name.ends_with(unit) {
        name.push_str(unit);
    }
    name
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    format!("{name}=\"{}\"", value.replace('\n', r"\n"))
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EvaluationRow, Failed, Gpu, Resumed, RunStarted, Step, System};
    use crate::{Fields, Scalar};
    use std::fs;

    fn run_started() -> RunStarted {
        let text = || "x".to_owned();
        RunStarted {
            stage: text(),
            model: text(),
            device: text(),
            dtype: text(),
            parameters: 1,
            seed: 1,
            total_steps: 400,
            fields: Fields::new(),
        }
    }

    fn step(step: u64) -> Step {
        Step {
            step,
            loss: Scalar(f64::NAN),
            grad_norm: Scalar(f64::INFINITY),
            learning_rate: Scalar(1e-6),
            tokens_per_second: Scalar(14_200.0),
            fields: Fields::new()
                .with("rewards/chrf++/mean", 0.5)
                .with("rewards/a_b/mean", 1.0)
                .with("rewards/a/b/mean", 2.0)
                .with("time/rollout", 18.25)
                .with("step_time", 20.0)
                .with("mfu", 0.38),
        }
    }

    fn evaluation() -> Evaluation {
        let row = |group: &str, chrf: f64| EvaluationRow {
            group: group.to_owned(),
            count: 3,
            metrics: Fields::new().with("chrf", chrf),
        };
        Evaluation {
            step: 7,
            name: Evaluation::HELD_OUT.to_owned(),
            table: vec![row("en-ja", 40.0), row("a \"quoted\\\" name", 60.0)],
            fields: Fields::new().with("chrf", 50.0).with("samples", "none"),
        }
    }

    fn system() -> System {
        let gpu = |watts: f64| Gpu {
            power_watts: Some(Scalar(watts)),
            ..Gpu::default()
        };
        System {
            cpu_percent: Some(Scalar(12.5)),
            memory_used_bytes: Some(1 << 30),
            memory_total_bytes: None,
            process_memory_bytes: None,
            disk_free_bytes: None,
            disk_total_bytes: None,
            gpus: Some(vec![gpu(310.5), gpu(71.0)]),
            fields: Fields::new(),
        }
    }

    /// `tests/golden/check_metrics.py` reads the same file with Prometheus's parser.
    #[test]
    fn the_text_is_as_prometheus_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.prom");
        let mut prometheus = Prometheus::new(&path, "runs/rl", "rl");
        let events: [Event; 5] = [
            run_started().into(),
            step(6).into(),
            step(7).into(),
            evaluation().into(),
            system().into(),
        ];
        for (second, event) in (0..).step_by(5).zip(events) {
            let time_ms = 1_763_906_709_125 + 1000 * second;
            prometheus.add(&Line::new(time_ms, event)).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap();
        let golden = include_str!("../../tests/golden/metrics.prom");
        assert_eq!(written, golden);
    }

    #[test]
    fn it_is_written_every_five_seconds_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.prom");
        let mut prometheus = Prometheus::new(&path, "run", "cpt");
        let mut add = |time_ms: u64, event: Event| {
            prometheus.add(&Line::new(time_ms, event)).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let value = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap();
                line.rsplit_once(' ').unwrap().1.to_owned()
            };
            (value("keep_step{"), value("keep_running{"))
        };
        let pair = |step: &str, running: &str| (step.to_owned(), running.to_owned());
        assert_eq!(add(10_000, step(1).into()), pair("1", "1"));
        assert_eq!(add(14_900, step(2).into()), pair("1", "1"));
        assert_eq!(add(15_000, step(3).into()), pair("3", "1"));
        let (from_step, fields) = (2, Fields::new());
        let resumed = Resumed { from_step, fields };
        assert_eq!(add(20_500, resumed.into()), pair("2", "1"));
        let (message, fields) = ("the disk is full".to_owned(), Fields::new());
        let failed = Failed { message, fields };
        assert_eq!(add(20_600, failed.into()), pair("2", "0"));
    }
}
