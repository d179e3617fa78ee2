//! A run's metrics as TensorBoard's event files.
//!
//! Steps are under `train/…`, held-out data under `eval/…` (a group's under `eval/<group>/…`), the
//! machine under `system/…`, and what the model wrote in evaluations is text. Metrics become float32,
//! which is what TensorBoard keeps of a scalar.
//!
//! Each process writes a file of its own. Where a run goes on from an earlier step, a session starts
//! in the file, at which TensorBoard forgets what it has read of later steps.

mod proto;
mod records;

use crate::event::{Evaluation, Resumed, Step};
use crate::{Event, Line, TelemetryError};
use proto::Message;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes event files into a directory.
#[derive(Debug)]
pub struct TensorBoard {
    dir: PathBuf,
    /// The file of this process, once there is something to write.
    file: Option<(PathBuf, File)>,
    /// What events without a step of their own are of.
    step: u64,
}

/// What every file begins with.
const FILE_VERSION: &str = "brain.Event:2";

impl TensorBoard {
    /// Of a run; the directory is made with the first event.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            file: None,
            step: 0,
        }
    }

    /// Writes what TensorBoard can show of an event. After an error the next one goes to a new file:
    /// nothing behind a torn record can be read.
    pub fn add(&mut self, line: &Line) -> Result<(), TelemetryError> {
        let (step, message) = match &line.event {
            Event::Step(step) => (step.step, of_step(step)),
            Event::Evaluation(evaluation) => (evaluation.step, of_evaluation(evaluation)),
            Event::System(system) => {
                let scalars = system.scalars().into_iter();
                let values = scalars.map(|(name, value)| scalar("system", &name, value));
                (self.step, proto::summary(values))
            }
            Event::Resumed(Resumed { from_step, .. }) => (from_step + 1, proto::session_start()),
            _ => return Ok(()),
        };
        self.step = match line.event {
            Event::Resumed(Resumed { from_step, .. }) => from_step,
            _ => step,
        };
        if message.is_empty() {
            return Ok(());
        }
        self.write(line.time_ms, step, message)
    }

    fn write(&mut self, time_ms: u64, step: u64, message: Message) -> Result<(), TelemetryError> {
        let mut bytes = Vec::new();
        let (path, mut file) = match self.file.take() {
            Some(open) => open,
            None => {
                let version = proto::file_version(FILE_VERSION);
                bytes = records::record(&proto::event(time_ms, 0, version));
                create(&self.dir, time_ms)?
            }
        };
        bytes.extend(records::record(&proto::event(time_ms, step, message)));
        file.write_all(&bytes)
            .map_err(TelemetryError::io("write", &path))?;
        self.file = Some((path, file));
        Ok(())
    }
}

/// A new file. TensorBoard reads the files of a directory in the order of their names, so those of one
/// second are numbered.
fn create(dir: &Path, time_ms: u64) -> Result<(PathBuf, File), TelemetryError> {
    fs::create_dir_all(dir).map_err(TelemetryError::io("create", dir))?;
    let seconds = time_ms / 1000;
    let mut paths = (0..).map(|n| dir.join(format!("events.out.tfevents.{seconds:010}.{n:04}")));
    loop {
        let path = paths.next().expect("numbers do not end");
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(TelemetryError::io("create", &path)(error)),
        }
    }
}

fn scalar(prefix: &str, name: &str, value: f64) -> Message {
    proto::scalar(&format!("{prefix}/{name}"), value as f32)
}

fn of_step(step: &Step) -> Message {
    let scalars = step.scalars();
    proto::summary(scalars.map(|(name, value)| scalar("train", name, value)))
}

fn of_evaluation(evaluation: &Evaluation) -> Message {
    let prefix = match evaluation.name.as_str() {
        Evaluation::HELD_OUT => "eval".to_owned(),
        name => format!("eval/{name}"),
    };
    let whole = evaluation.fields.scalars();
    let mut values: Vec<Message> = whole.map(|(name, v)| scalar(&prefix, name, v)).collect();
    for row in &evaluation.table {
        let prefix = format!("{prefix}/{}", row.group);
        let metrics = row.metrics.scalars();
        values.extend(metrics.map(|(name, value)| scalar(&prefix, name, value)));
    }
    let samples = evaluation.fields.get("samples").and_then(Value::as_array);
    for sample in samples.into_iter().flatten() {
        let group = sample.get("group").and_then(Value::as_str);
        let tag = format!("{prefix}/samples/{}", group.unwrap_or("all"));
        values.push(proto::text(&tag, &markdown(sample)));
    }
    proto::summary(values.into_iter())
}

/// A sample as TensorBoard's Markdown: each part by its name, set as code so that nothing in it is
/// taken for markup.
fn markdown(sample: &Value) -> String {
    let mut text = String::new();
    for name in ["prompt", "completion", "reference", "reward"] {
        let part = match sample.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(part)) => part.clone(),
            Some(other) => other.to_string(),
        };
        let indented = part.replace('\n', "\n    ");
        text.push_str(&format!("**{name}**\n\n    {indented}\n\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EvaluationRow, Gpu, Heartbeat, System};
    use crate::{Fields, Scalar};
    use serde_json::json;

    fn step(step: u64, loss: f64) -> Event {
        let [grad_norm, learning_rate] = [f64::NAN, 1e-5].map(Scalar);
        Step {
            step,
            loss: Scalar(loss),
            grad_norm,
            learning_rate,
            tokens_per_second: Scalar(f64::INFINITY),
            fields: Fields::new()
                .with("rewards/chrf++/mean", 0.0)
                .with("time/rollout", 18.25)
                .with("note", "no number"),
        }
        .into()
    }

    fn evaluation(step: u64) -> Event {
        Evaluation {
            step,
            name: Evaluation::HELD_OUT.to_owned(),
            table: vec![EvaluationRow {
                group: "en-ja".to_owned(),
                count: 3,
                metrics: Fields::new().with("chrf", 63.1),
            }],
            fields: Fields::new().with("loss", 2.5).with(
                "samples",
                json!([{"group": "en-ja", "prompt": "Hello,\nworld", "completion": "こんにちは",
                        "reference": null, "reward": 0.5}]),
            ),
        }
        .into()
    }

    fn system() -> Event {
        System {
            cpu_percent: Some(Scalar(12.5)),
            memory_used_bytes: None,
            memory_total_bytes: Some(1 << 34),
            process_memory_bytes: None,
            disk_free_bytes: None,
            disk_total_bytes: None,
            gpus: Some(vec![Gpu {
                name: "GPU".to_owned(),
                power_watts: Some(Scalar(310.5)),
                ..Gpu::default()
            }]),
            fields: Fields::new(),
        }
        .into()
    }

    fn resumed(from_step: u64) -> Event {
        let fields = Fields::new();
        Resumed { from_step, fields }.into()
    }

    fn heartbeat() -> Event {
        let fields = Fields::new();
        Heartbeat { fields }.into()
    }

    /// The files that `tests/golden/event_files.py` wrote with TensorBoard's own classes, and read
    /// back through its reader.
    #[test]
    fn the_files_are_tensorboards_own_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let processes = [
            vec![
                evaluation(0),
                system(),
                step(1, 3.0),
                heartbeat(),
                step(2, 2.0),
            ],
            vec![resumed(1), step(2, 1.75)],
        ];
        let mut time_ms = 1_763_906_709_125;
        for events in processes {
            let mut tensorboard = TensorBoard::new(dir.path());
            for event in events {
                tensorboard.add(&Line::new(time_ms, event)).unwrap();
                time_ms += 125;
            }
        }
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/event_files");
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(dir.path()).len(), 2);
        assert_eq!(names(dir.path()), names(&golden));
        for name in names(&golden) {
            let [ours, theirs] = [dir.path(), &golden].map(|d| fs::read(d.join(&name)).unwrap());
            assert_eq!(ours, theirs, "{name:?}");
        }
    }

    #[test]
    fn after_an_error_it_goes_on_in_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("tensorboard");
        fs::write(&place, "in the way").unwrap();
        let mut tensorboard = TensorBoard::new(&place);
        let message = |error: TelemetryError| error.to_string();
        let error = tensorboard.add(&Line::new(5_000, step(1, 1.0)));
        let error = error.map_err(message).unwrap_err();
        assert!(error.contains("cannot create"), "{error}");
        fs::remove_file(&place).unwrap();
        tensorboard.add(&Line::new(6_000, step(2, 1.0))).unwrap();
        let file = place.join("events.out.tfevents.0000000006.0000");
        assert!(fs::metadata(file).unwrap().len() > 100);
    }
}
