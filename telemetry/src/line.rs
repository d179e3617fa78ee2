//! One line of `events.jsonl`.

use crate::Event;
use serde_json::{Map, Value};

/// The version of the lines written here. It moves when a field changes its meaning, not when one is added.
pub const VERSION: u64 = 1;

/// An event with its envelope: `{"v":1,"time":1763906709000,"kind":"heartbeat"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The version it was written in.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it says.
    pub event: Event,
}

impl Line {
    /// An event of this version at that time.
    pub fn new(time_ms: u64, event: impl Into<Event>) -> Self {
        Self {
            version: VERSION,
            time_ms,
            event: event.into(),
        }
    }

    /// The line as JSON, its newline included.
    pub fn to_json(&self) -> String {
        let mut line = Map::new();
        line.insert("v".to_owned(), self.version.into());
        line.insert("time".to_owned(), self.time_ms.into());
        line.insert("kind".to_owned(), self.event.kind().into());
        self.event.write(&mut line);
        let mut json = Value::Object(line).to_string();
        json.push('\n');
        json
    }

    /// Reads a line, with or without its newline. `None` where it is no JSON object with a `kind`, as a line
    /// that two processes wrote into at once. A missing version or time is 0.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let mut line: Map<String, Value> = serde_json::from_slice(json).ok()?;
        let kind = line.get("kind")?.as_str()?.to_owned();
        let number = |name| line.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (version, time_ms) = (number("v"), number("time"));
        line.retain(|name, _| !matches!(name.as_str(), "v" | "time" | "kind"));
        Some(Self {
            version,
            time_ms,
            event: Event::read(&kind, line),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::*;
    use crate::{Fields, Scalar};

    /// A step with the shape every stage writes.
    pub(crate) fn step(step: u64, loss: f64) -> Step {
        Step {
            step,
            loss: Scalar(loss),
            grad_norm: Scalar(0.5),
            learning_rate: Scalar(1e-6),
            tokens_per_second: Scalar(14_200.0),
            fields: Fields::new()
                .with("rewards/margins", 0.25)
                .with("entropy", f64::NAN),
        }
    }

    /// One event of each kind.
    pub(crate) fn one_of_each() -> Vec<Event> {
        let fields = Fields::new;
        let row = EvaluationRow {
            group: "en-de".into(),
            count: 997,
            metrics: fields().with("chrf", 63.1),
        };
        let gpu = Gpu {
            name: "H100".into(),
            utilization_percent: Some(Scalar(98.0)),
            ..Gpu::default()
        };
        vec![
            RunStarted {
                stage: "rl".into(),
                model: "models/gemma2".into(),
                device: "cuda:0".into(),
                dtype: "bfloat16".into(),
                parameters: 2_614_341_888,
                seed: u64::MAX,
                total_steps: 4000,
                fields: fields().with("trainable_parameters", 12u64),
            }
            .into(),
            step(1, f64::NAN).into(),
            Evaluation {
                step: 1,
                name: "dev".into(),
                table: vec![row],
                fields: fields().with("chrf", 58.3),
            }
            .into(),
            Checkpoint {
                step: 1,
                path: "checkpoint-1".into(),
                bytes: 5,
                seconds: Scalar(0.1),
                fields: fields(),
            }
            .into(),
            CheckpointRemoved {
                step: 1,
                path: "checkpoint-1".into(),
                fields: fields(),
            }
            .into(),
            Data {
                step: 1,
                sources: vec![DataSource {
                    name: "news.jsonl".into(),
                    records: 9000,
                    records_taken: 450,
                    tokens_taken: None,
                    target_share: Some(Scalar(0.4)),
                    share: Some(Scalar(f64::NAN)),
                    epoch: Some(Scalar(0.05)),
                    rejected: [("too long".to_owned(), 3)].into(),
                }],
                fields: fields(),
            }
            .into(),
            Resumed {
                from_step: 1,
                fields: fields(),
            }
            .into(),
            Phase {
                name: "rollout".into(),
                step: 1,
                fields: fields(),
            }
            .into(),
            Heartbeat { fields: fields() }.into(),
            System {
                cpu_percent: Some(Scalar(41.5)),
                memory_used_bytes: None,
                memory_total_bytes: Some(25_000_000_000),
                process_memory_bytes: None,
                disk_free_bytes: Some(0),
                disk_total_bytes: None,
                gpus: Some(vec![gpu]),
                fields: fields(),
            }
            .into(),
            Warning::new("3 records skipped\nand a second line").into(),
            Alert {
                rule: "kl > 2".into(),
                message: "kl is 3".into(),
                step: Some(7),
                level: Some(AlertLevel::Alarm),
                fields: fields().with("value", 3.0),
            }
            .into(),
            AlertCleared {
                rule: "kl > 2".into(),
                message: "kl is 1".into(),
                step: Some(9),
                fields: fields(),
            }
            .into(),
            Control {
                id: "a".into(),
                action: "stop".into(),
                status: ControlStatus::Refused,
                reason: Some("late".into()),
                fields: fields(),
            }
            .into(),
            Finished {
                reason: "completed".into(),
                step: 1,
                seconds: Scalar(9.0),
                fields: fields(),
            }
            .into(),
            Failed {
                message: "disk full".into(),
                fields: fields(),
            }
            .into(),
            Event::Unknown {
                kind: "telepathy".into(),
                fields: fields().with("thought", "blue").with("n", 1u64),
            },
        ]
    }

    #[test]
    fn a_step_has_its_fields_at_the_top_level_in_order() {
        let expected = concat!(
            r#"{"v":1,"time":1700000000000,"kind":"step","step":12,"loss":1.92,"grad_norm":0.5,"learning_rate":1e-6,"#,
            r#""tokens_per_second":14200.0,"rewards/margins":0.25,"entropy":"nan"}"#,
            "\n"
        );
        assert_eq!(
            Line::new(1_700_000_000_000, step(12, 1.92)).to_json(),
            expected
        );
    }

    #[test]
    fn every_kind_survives_the_round_trip_on_one_line() {
        for event in one_of_each() {
            let line = Line::new(1_700_000_000_001, event);
            let json = line.to_json();
            assert_eq!(json.matches('\n').count(), 1, "{json}");
            assert_eq!(Line::parse(json.as_bytes()).as_ref(), Some(&line));
            assert_eq!(
                Line::parse(json.trim_end().as_bytes()).unwrap().to_json(),
                json
            );
        }
    }

    #[test]
    fn a_known_kind_without_its_fields_is_kept_as_unknown() {
        for json in [
            r#"{"v":9,"time":1,"kind":"step","step":3,"perplexity":7.5}"#,
            r#"{"kind":"checkpoint","step":"three"}"#,
        ] {
            let line = Line::parse(json.as_bytes()).unwrap();
            let Event::Unknown { fields, .. } = &line.event else {
                panic!("{line:?}")
            };
            assert!(fields.get("step").is_some());
        }
    }

    #[test]
    fn what_is_no_event_is_no_line() {
        for json in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"kind":3}"#,
            "{\"kind\":\"step\"",
            "\0\0\0",
        ] {
            assert_eq!(Line::parse(json.as_bytes()), None, "{json:?}");
        }
        assert_eq!(Line::parse(b"{\"kind\":\"\xff\"}"), None);
    }

    #[test]
    #[should_panic(expected = "has field \"loss\" twice")]
    fn a_metric_may_not_take_a_named_fields_place() {
        let mut twice = step(1, 1.0);
        twice.fields.set("loss", 2.0);
        Line::new(0, twice).to_json();
    }
}
