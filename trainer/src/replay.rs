//! What a run recorded of a step, and where two such records differ.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use serde_json::Value;
use telemetry::event::Step;
use telemetry::series::steps_after_resume;
use telemetry::{Completion, Event, EventTail, RunDir, SampleRecord, Scalar};

use crate::TrainError;

/// Fields of a step that say how fast it was, not what it computed.
fn is_time(name: &str) -> bool {
    matches!(name, "step_time" | "mfu") || name.starts_with("time/")
}

/// Characters of a text that a difference shows.
const SHOWN_CHARS: usize = 40;

/// A step as the logs have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its event.
    pub step: Step,
    /// What the model wrote for it; empty outside reinforcement learning.
    pub samples: Vec<SampleRecord>,
    /// How often the run went back by itself since it took the step before which a replay begins.
    pub times_back: usize,
    /// Whether the run, before it took the step, went on from a checkpoint, its own or another run's.
    pub went_on_from_checkpoint: bool,
}

/// One value that differs: `{what: "grad_norm", recorded: "0.5", replayed: "0.25"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose value it is.
    pub what: String,
    /// In the run's logs; `–` where it is missing.
    pub recorded: String,
    /// In the replay.
    pub replayed: String,
}

/// A value by name, in the order in which differences are listed.
type Values = Vec<(String, Value)>;

impl Recorded {
    /// The step as it counts in the end, if the run took it; a replay would begin after `from_step`.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn read(run_dir: &RunDir, number: u64, from_step: u64) -> Result<Option<Self>, TrainError> {
        let (lines, _) = EventTail::read_all(run_dir.events_file())?;
        let events: Vec<&Event> = lines.iter().map(|line| &line.event).collect();
        let steps = steps_after_resume(events.iter().copied());
        let live = steps.live().iter().find(|(step, _)| *step == number);
        let Some((_, step)) = live else {
            return Ok(None);
        };
        Ok(Some(Recorded {
            step: (*step).clone(),
            samples: samples(&run_dir.samples_file(), number)?,
            times_back: times_back(&events, number, from_step),
            went_on_from_checkpoint: events[..taken(&events, number)]
                .iter()
                .any(|event| matches!(event, Event::Resumed(resumed) if resumed.from_step > 0)),
        }))
    }

    /// Metrics and completions in the record.
    pub fn counts(&self) -> (usize, usize) {
        let completions = self.samples.iter().map(|group| group.completions.len());
        (metrics(&self.step).len(), completions.sum())
    }

    /// A table of what each completion got: its reward, each part of it, and its advantage. Empty outside
    /// reinforcement learning.
    pub fn reward_parts(&self) -> Vec<Vec<String>> {
        let completions = || self.samples.iter().flat_map(|group| &group.completions);
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in completions().flat_map(|completion| completion.rewards.iter()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if completions().next().is_none() {
            return Vec::new();
        }
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
        let columns = ["group", "completion", "reward"].into_iter();
        let columns = columns.chain(names.iter().copied()).chain(["advantage"]);
        let mut rows = vec![columns.map(str::to_owned).collect::<Vec<_>>()];
        for group in &self.samples {
            for (i, completion) in group.completions.iter().enumerate() {
                let mut row = vec![group.group.to_string(), i.to_string()];
                row.push(number(completion.reward.map(|reward| reward.0)));
                let parts = names.iter().map(|name| completion.rewards.scalar(name));
                row.extend(parts.map(number));
                row.push(number(Some(completion.advantage.0)));
                rows.push(row);
            }
        }
        rows
    }

    /// Where a replay differs, first the metrics, then the completions.
    pub fn differences(&self, replayed: &Self) -> Vec<Difference> {
        let mut recorded = metrics(&self.step);
        recorded.extend(self.samples.iter().flat_map(sample_values));
        let mut again = metrics(&replayed.step);
        again.extend(replayed.samples.iter().flat_map(sample_values));
        let find = |values: &Values, name: &str| {
            let found = values.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone())
        };
        let missing = again.iter().filter(|(n, _)| find(&recorded, n).is_none());
        let names = recorded.iter().chain(missing).map(|(name, _)| name);
        names
            .filter_map(|name| {
                let values = [find(&recorded, name), find(&again, name)];
                let [recorded, replayed] = shown(&values)?;
                Some(Difference {
                    what: name.clone(),
                    recorded,
                    replayed,
                })
            })
            .collect()
    }
}

/// Where the run took a step for the last time.
fn taken(events: &[&Event], number: u64) -> usize {
    let is_step = |event: &&Event| matches!(event, Event::Step(step) if step.step == number);
    events.iter().rposition(is_step).unwrap_or(0)
}

/// How often the run went back between the checkpoint after `from_step` and the last time that it took
/// a step. A process that was started again in between began with that checkpoint as it is.
fn times_back(events: &[&Event], number: u64, from_step: u64) -> usize {
    let mut count = 0;
    for event in &events[..taken(events, number)] {
        match event {
            Event::Checkpoint(saved) if saved.step == from_step => count = 0,
            Event::Resumed(resumed) if resumed.from_step == from_step => {
                let by_itself = resumed.fields.get("reason").is_some();
                count = if by_itself { count + 1 } else { 0 };
            }
            _ => {}
        }
    }
    count
}

fn metrics(step: &Step) -> Values {
    let named: [(&str, Scalar); 3] = [
        ("loss", step.loss),
        ("grad_norm", step.grad_norm),
        ("learning_rate", step.learning_rate),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), value.into()));
    let own = step.fields.iter();
    let own = own.filter(|(name, _)| !is_time(name));
    let own = own.map(|(name, value)| (name.to_owned(), value.clone()));
    named.into_iter().chain(own).collect()
}

fn sample_values(group: &SampleRecord) -> Values {
    let place = format!("group {}", group.group);
    let mut values = vec![(format!("{place} prompt"), group.prompt.as_str().into())];
    for (number, completion) in group.completions.iter().enumerate() {
        let place = format!("{place} completion {number}");
        let own = completion_values(completion).into_iter();
        values.extend(own.map(|(name, value)| (format!("{place} {name}"), value)));
    }
    values
}

fn completion_values(completion: &Completion) -> Values {
    let mut values: Values = vec![
        ("text".to_owned(), completion.text.as_str().into()),
        ("tokens".to_owned(), completion.tokens.into()),
        (
            "finish_reason".to_owned(),
            completion.finish_reason.as_str().into(),
        ),
        ("logprob_sum".to_owned(), completion.logprob_sum.into()),
        (
            "reward".to_owned(),
            completion.reward.map_or(Value::Null, Value::from),
        ),
        ("advantage".to_owned(), completion.advantage.into()),
    ];
    let parts = completion.rewards.iter();
    values.extend(parts.map(|(name, value)| (format!("rewards/{name}"), value.clone())));
    values
}

/// Two values as a person reads them, of texts the part where they part; `None` where they are the
/// same.
fn shown(values: &[Option<Value>; 2]) -> Option<[String; 2]> {
    if values[0] == values[1] {
        return None;
    }
    let texts = values.clone().map(|value| match value {
        None => "–".to_owned(),
        Some(value) => value.to_string(),
    });
    let [one, other] = [&texts[0], &texts[1]].map(|text| text.chars());
    let same = one.zip(other).take_while(|(a, b)| a == b).count();
    let start = match same > SHOWN_CHARS / 2 {
        true => same - SHOWN_CHARS / 4,
        false => 0,
    };
    Some(texts.map(|text| {
        let mut part: String = text.chars().skip(start).take(SHOWN_CHARS).collect();
        if start > 0 {
            part.insert(0, '…');
        }
        if text.chars().count() > start + SHOWN_CHARS {
            part.push('…');
        }
        part
    }))
}

fn samples(path: &Path, step: u64) -> Result<Vec<SampleRecord>, TrainError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(TrainError::io(path))?,
    };
    let mut samples = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(TrainError::io(path))?;
        // A killed run may have left a torn last line.
        let sample = serde_json::from_str::<SampleRecord>(&line).ok();
        samples.extend(sample.filter(|sample| sample.step == step));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::Fields;

    fn recorded(loss: f64, text: &str) -> Recorded {
        Recorded {
            step: Step {
                step: 3,
                loss: Scalar(loss),
                grad_norm: Scalar(f64::NAN),
                learning_rate: Scalar(1e-3),
                tokens_per_second: Scalar(loss),
                fields: Fields::new().with("step_time", loss).with("reward", 0.5),
            },
            samples: vec![SampleRecord {
                step: 3,
                group: 1,
                prompt: "p".to_owned(),
                source: None,
                reference: None,
                completions: vec![Completion {
                    text: text.to_owned(),
                    reward: None,
                    rewards: Fields::new().with("chrf", 0.5),
                    advantage: Scalar(0.0),
                    tokens: 4,
                    finish_reason: "stop".to_owned(),
                    logprob_sum: Scalar(-1.0),
                    fields: Fields::new(),
                }],
                fields: Fields::new(),
            }],
            times_back: 0,
            went_on_from_checkpoint: false,
        }
    }

    #[test]
    fn a_record_is_the_same_as_itself_however_fast_it_was_and_where_it_has_a_nan() {
        let mut slower = recorded(1.0, "Turm");
        slower.step.tokens_per_second = Scalar(9.0);
        slower.step.fields.set("step_time", 9.0);
        assert_eq!(recorded(1.0, "Turm").differences(&slower), []);
        assert_eq!(slower.counts(), (4, 1));
    }

    #[test]
    fn each_completion_is_shown_with_the_parts_of_its_reward() {
        let mut record = recorded(1.0, "Turm");
        let mut other = record.samples[0].completions[0].clone();
        other.reward = Some(Scalar(0.75));
        other.rewards = Fields::new().with("length", 1.0);
        record.samples[0].completions.push(other);
        let want = [
            [
                "group",
                "completion",
                "reward",
                "chrf",
                "length",
                "advantage",
            ],
            ["1", "0", "–", "0.5000", "–", "0.0000"],
            ["1", "1", "0.7500", "–", "1.0000", "0.0000"],
        ];
        assert_eq!(record.reward_parts(), want);
        record.samples.clear();
        assert!(record.reward_parts().is_empty());
    }

    #[test]
    fn every_value_that_differs_is_named() {
        let long = "a".repeat(60);
        let (one, other) = (
            recorded(1.0, &format!("{long}x")),
            recorded(1.5, &format!("{long}y")),
        );
        let mut without = other.clone();
        without.samples[0].completions[0].rewards = Fields::new();
        let differences = one.differences(&without);
        let whats: Vec<&str> = differences.iter().map(|d| d.what.as_str()).collect();
        let completion = "group 1 completion 0";
        let [text, part] = ["text", "rewards/chrf"].map(|name| format!("{completion} {name}"));
        assert_eq!(whats, ["loss", &text, &part]);
        assert_eq!(
            [&*differences[0].recorded, &*differences[0].replayed],
            ["1.0", "1.5"]
        );
        assert!(differences[1].recorded.ends_with("ax\""), "{differences:?}");
        assert_eq!(differences[2].replayed, "–");
    }
}
