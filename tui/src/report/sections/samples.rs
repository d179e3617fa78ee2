//! What the model wrote.

use serde::Serialize;
use serde_json::Value;
use telemetry::{Completion, Fields, SampleRecord, Scalar};

use super::words::{cut, language, languages};
use crate::format;
use crate::report::groups::Chosen;
use crate::report::record::RunRecord;
use crate::text::clean;

/// Answers of a group that differ.
const MAX_ANSWERS: usize = 8;

/// Answers of an evaluation.
const MAX_SAMPLES: usize = 40;

/// A text with what a browser needs to set it.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Text {
    text: String,
    /// A language tag; empty where the language is not known.
    lang: String,
    /// Characters that are not shown.
    left_out: usize,
}

impl Text {
    fn new(text: &str, lang: Option<&str>) -> Self {
        let (text, left_out) = cut(text);
        Self {
            text,
            lang: lang.unwrap_or_default().to_owned(),
            left_out,
        }
    }
}

/// The groups that reinforcement learning sampled.
#[derive(Debug, Serialize)]
pub struct Groups {
    shown: Vec<Group>,
    num_groups: String,
}

#[derive(Debug, Serialize)]
struct Group {
    time: &'static str,
    reason: &'static str,
    step: String,
    number: String,
    task: Option<String>,
    prompt: Text,
    source: Option<Text>,
    reference: Option<Text>,
    answers: Vec<Answer>,
    num_answers: String,
    left_out: usize,
}

/// Answers that are the same.
#[derive(Debug, Serialize)]
struct Answer {
    text: Text,
    /// `× 7` where it came several times.
    repeats: String,
    reward: String,
    parts: Vec<Part>,
    advantage: String,
    is_negative: bool,
    /// Percent of the largest in its group.
    advantage_percent: f64,
    tokens: String,
    finish: String,
    is_cut_off: bool,
}

/// What one function makes of an answer.
#[derive(Debug, Serialize)]
struct Part {
    name: String,
    value: String,
    /// How full its bar is; none where there is no number.
    percent: Option<f64>,
}

impl Groups {
    /// Those that were chosen.
    pub fn new(record: &RunRecord) -> Self {
        Self {
            shown: record.groups.chosen.iter().map(group).collect(),
            num_groups: format::count(record.groups.num_groups as u64),
        }
    }
}

fn group(chosen: &Chosen) -> Group {
    let Chosen {
        time,
        reason,
        record,
    } = chosen;
    let word = |name: &str| record.fields.get(name).and_then(Value::as_str);
    let task = word("task");
    let (from, to) = task.and_then(languages).unzip();
    let from = word("source_lang").and_then(language).or(from);
    let to = word("target_lang").and_then(language).or(to);
    let answers = answers(record, to.as_deref());
    let num_answers = record.completions.len();
    let shown: usize = answers
        .iter()
        .take(MAX_ANSWERS)
        .map(|(_, count)| count)
        .sum();
    let generated = match record.fields.scalar("num_generations") {
        Some(all) if all > num_answers as f64 => {
            format!(
                "{num_answers} of {} answers in the log",
                format::number(all)
            )
        }
        _ => format!("{num_answers} answers"),
    };
    Group {
        time,
        reason,
        step: format::count(record.step),
        number: format::count(record.group),
        task: task.map(clean),
        prompt: Text::new(&record.prompt, None),
        source: record
            .source
            .as_ref()
            .map(|text| Text::new(text, from.as_deref())),
        reference: record
            .reference
            .as_ref()
            .map(|text| Text::new(text, to.as_deref())),
        answers: answers
            .into_iter()
            .take(MAX_ANSWERS)
            .map(|(answer, _)| answer)
            .collect(),
        num_answers: generated,
        left_out: num_answers - shown,
    }
}

/// The answers with how often each came, the best first.
fn answers(record: &SampleRecord, lang: Option<&str>) -> Vec<(Answer, usize)> {
    let mut different: Vec<(&Completion, usize)> = Vec::new();
    for completion in &record.completions {
        let is_same = |other: &Completion| {
            (
                &other.text,
                other.reward,
                &other.rewards,
                &other.finish_reason,
            ) == (
                &completion.text,
                completion.reward,
                &completion.rewards,
                &completion.finish_reason,
            )
        };
        match different.iter_mut().find(|(other, _)| is_same(other)) {
            Some((_, count)) => *count += 1,
            None => different.push((completion, 1)),
        }
    }
    let rank = |completion: &Completion| completion.reward.map_or(f64::NEG_INFINITY, |r| r.0);
    different.sort_by(|a, b| rank(b.0).total_cmp(&rank(a.0)));
    let sizes = record.completions.iter().map(|c| c.advantage.0.abs());
    let largest = sizes.filter(|size| size.is_finite()).fold(0.0, f64::max);
    let answer = |(completion, count)| (answer(completion, count, largest, lang), count);
    different.into_iter().map(answer).collect()
}

fn answer(completion: &Completion, count: usize, largest: f64, lang: Option<&str>) -> Answer {
    let advantage = completion.advantage.0;
    let share = advantage.abs() / largest;
    Answer {
        text: Text::new(&completion.text, lang),
        repeats: if count > 1 {
            format!("× {count}")
        } else {
            String::new()
        },
        reward: reward(completion.reward),
        parts: parts(&completion.rewards),
        advantage: format::change(advantage, None),
        is_negative: advantage < 0.0,
        advantage_percent: if share.is_finite() {
            share * 100.0
        } else {
            0.0
        },
        tokens: format::count(completion.tokens),
        finish: clean(&completion.finish_reason),
        is_cut_off: completion.finish_reason == "length",
    }
}

fn reward(reward: Option<Scalar>) -> String {
    reward.map_or("–".to_owned(), |reward| format::number(reward.0))
}

/// A bar is full at 1, where most functions end.
fn parts(rewards: &Fields) -> Vec<Part> {
    let part = |(name, _): (&str, &Value)| {
        let value = rewards.scalar(name);
        let number = value.filter(|value| !value.is_nan());
        Part {
            name: clean(name),
            value: reward(value.map(Scalar)),
            percent: number.map(|value| value.clamp(0.0, 1.0) * 100.0),
        }
    };
    rewards.iter().map(part).collect()
}

/// What the model wrote at the last evaluation.
#[derive(Debug, Serialize)]
pub struct Answers {
    step: String,
    samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Sample {
    group: String,
    prompt: Text,
    answer: Text,
    reference: Option<Text>,
    reward: Option<String>,
}

impl Answers {
    /// Those of the latest evaluation that has some.
    pub fn new(record: &RunRecord) -> Option<Self> {
        let evaluations = record.store.evaluations.iter().rev();
        let (step, samples) = evaluations
            .filter_map(|e| Some((e.step, e.fields.get("samples")?.as_array()?)))
            .next()?;
        Some(Self {
            step: format::count(step),
            samples: samples.iter().take(MAX_SAMPLES).map(sample).collect(),
        })
    }
}

fn sample(sample: &Value) -> Sample {
    let word = |name: &str| sample.get(name).and_then(Value::as_str);
    let group = word("group").unwrap_or_default();
    let (_, to) = languages(group).unzip();
    let reward_of = |value: &Value| Scalar::from_value(value).map(|r| reward(Some(r)));
    Sample {
        group: clean(group),
        prompt: Text::new(word("prompt").unwrap_or_default(), None),
        answer: Text::new(word("completion").unwrap_or_default(), to.as_deref()),
        reference: word("reference").map(|text| Text::new(text, to.as_deref())),
        reward: sample.get("reward").and_then(reward_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(completions: &str) -> SampleRecord {
        let json = format!(
            r#"{{"step":7,"group":3,"prompt":"p","source":"s","reference":"r","completions":[{completions}],"task":"translate/en-ar"}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn completion(text: &str, reward: &str, advantage: f64) -> String {
        format!(
            r#"{{"text":"{text}","reward":{reward},"rewards":{{"chrf":{reward},"cost":-3}},"advantage":{advantage},"tokens":4,"finish_reason":"stop","logprob_sum":-1}}"#
        )
    }

    #[test]
    fn equal_answers_are_one_and_the_best_comes_first() {
        let completions = [
            completion("low", "0.1", -2.0),
            completion("high", "0.9", 1.0),
            completion("none", "null", 0.0),
            completion("high", "0.9", 1.0),
        ];
        let shown = group(&Chosen {
            time: "early",
            reason: "",
            record: record(&completions.join(",")),
        });
        let answers: Vec<(&str, &str, &str)> = shown
            .answers
            .iter()
            .map(|a| (&*a.text.text, &*a.repeats, &*a.reward))
            .collect();
        assert_eq!(
            answers,
            [
                ("high", "× 2", "0.900"),
                ("low", "", "0.100"),
                ("none", "", "–")
            ]
        );
        assert_eq!(shown.answers[0].advantage_percent, 50.0);
        assert_eq!(
            (
                shown.answers[1].is_negative,
                shown.answers[1].advantage_percent
            ),
            (true, 100.0)
        );
        let part = &shown.answers[0].parts[1];
        assert_eq!(
            (&*part.name, &*part.value, part.percent),
            ("cost", "-3.00", Some(0.0))
        );
        assert_eq!(
            (
                &*shown.reference.unwrap().lang,
                &*shown.source.unwrap().lang
            ),
            ("ar", "en")
        );
    }

    #[test]
    fn answers_beyond_the_limit_are_counted() {
        let completions: Vec<String> = (0..20)
            .map(|n| completion(&format!("t{}", n / 2), &format!("0.{}", n / 2), 0.0))
            .collect();
        let shown = group(&Chosen {
            time: "late",
            reason: "",
            record: record(&completions.join(",")),
        });
        assert_eq!((shown.answers.len(), shown.left_out), (MAX_ANSWERS, 4));
        assert_eq!(shown.answers[0].advantage_percent, 0.0);
    }
}
