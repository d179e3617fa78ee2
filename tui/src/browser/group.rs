//! One prompt with what the model wrote for it, ready to be shown.

use std::cell::OnceCell;
use std::fmt::Write;

use serde_json::Value;
use telemetry::event::Evaluation;
use telemetry::{Completion, Fields, SampleRecord};

use crate::text::clean;
use crate::widgets::word_diff::{Piece, similarity, word_diff};

/// What differences are marked against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Difference {
    /// Nothing is marked.
    #[default]
    Off,
    /// The reference.
    Reference,
    /// The best completion of the group.
    Best,
}

impl Difference {
    /// The one after it.
    pub fn next(self) -> Self {
        match self {
            Self::Off => Self::Reference,
            Self::Reference => Self::Best,
            Self::Best => Self::Off,
        }
    }
}

/// A prompt and its completions: a group of samples, or an answer of an evaluation, which is a group of one. The
/// texts are as they were written.
#[derive(Debug, Clone)]
pub struct Group {
    /// The optimizer step.
    pub step: u64,
    /// Its number in that step.
    pub number: u64,
    /// Task or language pair; empty where none is known.
    pub task: String,
    /// The prompt.
    pub prompt: String,
    /// The text to translate, where there is one.
    pub source: Option<String>,
    /// The right answer, where there is one.
    pub reference: Option<String>,
    /// The parts of the reward, in the order of the rubric.
    pub parts: Vec<Part>,
    /// What was written.
    pub answers: Vec<Answer>,
    /// Whatever else is known of a group of samples.
    pub fields: Fields,
}

/// A part of the reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How to show it.
    pub scale: Scale,
}

/// What the values of a part are in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// All 0 or 1.
    Verdict,
    /// All between.
    Share,
    /// Anything else.
    Number,
}

/// A completion.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was written.
    pub text: String,
    /// The total reward, where there is one.
    pub reward: Option<f64>,
    /// The parts of the reward, in the order of the group's; `None` where one was not given.
    pub parts: Vec<Option<f64>>,
    /// What is known of how it was sampled; nothing of an answer of an evaluation.
    pub sampled: Option<Sampled>,
    /// The text as it can be put on a screen.
    pub drawn: String,
    to_reference: OnceCell<Compared>,
    to_best: OnceCell<Compared>,
}

/// How a completion differs from another text.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Word by word.
    pub pieces: Vec<Piece>,
    /// The share that is the same.
    pub similarity: f64,
}

/// How a completion came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The advantage it was trained with.
    pub advantage: f64,
    /// How many tokens it has.
    pub tokens: u64,
    /// Why it ended.
    pub finish_reason: String,
    /// Sum of the log-probabilities of its tokens.
    pub logprob_sum: f64,
}

impl Sampled {
    /// Whether it ended because it was too long.
    pub fn is_cut_off(&self) -> bool {
        self.finish_reason == "length"
    }

    /// The mean log-probability of its tokens, where it has any.
    pub fn mean_logprob(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.logprob_sum / self.tokens as f64)
    }
}

impl Group {
    /// The answers that an evaluation brought along, each a group of its own.
    pub fn of_evaluation(evaluation: &Evaluation) -> Vec<Self> {
        let samples = evaluation.fields.get("samples").and_then(Value::as_array);
        let group = |(number, sample): (u64, &Value)| {
            let text = |name: &str| Some(sample.get(name)?.as_str()?.to_owned());
            let reward = sample.get("reward").and_then(telemetry::Scalar::from_value);
            let answer = Answer::new(
                text("completion").unwrap_or_default(),
                reward.map(|reward| reward.0),
            );
            Self {
                step: evaluation.step,
                number,
                task: text("group").unwrap_or_default(),
                prompt: text("prompt").unwrap_or_default(),
                source: None,
                reference: text("reference"),
                parts: Vec::new(),
                answers: vec![answer],
                fields: Fields::new(),
            }
        };
        (0..)
            .zip(samples.into_iter().flatten())
            .map(group)
            .collect()
    }

    /// The answer with the highest reward, counted from 0; `None` where no reward is a number.
    pub fn best(&self) -> Option<usize> {
        let first = *self.ranked().first()?;
        self.answers[first].has_number().then_some(first)
    }

    /// The answer with the lowest reward, counted from 0; one without is worse than any.
    pub fn worst(&self) -> Option<usize> {
        self.ranked().last().copied()
    }

    /// The answers by reward, the best first, counted from 0.
    pub fn ranked(&self) -> Vec<usize> {
        let mut ranked: Vec<usize> = (0..self.answers.len()).collect();
        let rank = |at: &usize| self.answers[*at].rank();
        ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        ranked
    }

    /// Whether all rewards are the same number, so that the group teaches nothing.
    pub fn is_alike(&self) -> bool {
        let first = self.answers.first().and_then(|answer| answer.reward);
        first.is_some() && self.answers.iter().all(|answer| answer.reward == first)
    }

    /// How an answer differs from what `difference` says; `None` where there is nothing to compare it with.
    pub fn difference(&self, at: usize, difference: Difference) -> Option<&Compared> {
        let answer = self.answers.get(at)?;
        let (other, known) = match difference {
            Difference::Off => return None,
            Difference::Reference => (self.reference.as_deref()?, &answer.to_reference),
            Difference::Best => {
                let best = self.best().filter(|best| *best != at)?;
                (self.answers[best].text.as_str(), &answer.to_best)
            }
        };
        let compare = || {
            let pieces = word_diff(&clean(other), &answer.drawn);
            let similarity = similarity(&pieces);
            Compared { pieces, similarity }
        };
        Some(known.get_or_init(compare))
    }

    /// The group as text, for a file.
    pub fn to_text(&self) -> String {
        let mut text = format!("step {} group {}", self.step, self.number);
        if !self.task.is_empty() {
            let _ = write!(text, " {}", self.task);
        }
        let _ = write!(text, "\n\nprompt:\n{}\n", self.prompt);
        for (name, part) in [("source", &self.source), ("reference", &self.reference)] {
            if let Some(part) = part {
                let _ = write!(text, "\n{name}:\n{part}\n");
            }
        }
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| value.to_string());
        for (at, answer) in (1..).zip(&self.answers) {
            let _ = write!(text, "\n{at}. reward {}", number(answer.reward));
            for (part, value) in self.parts.iter().zip(&answer.parts) {
                let _ = write!(text, ", {} {}", part.name, number(*value));
            }
            if let Some(sampled) = &answer.sampled {
                let _ = write!(
                    text,
                    "; advantage {}, {} tokens, {}, logprob_sum {}",
                    sampled.advantage, sampled.tokens, sampled.finish_reason, sampled.logprob_sum
                );
            }
            let _ = write!(text, ":\n{}\n", answer.text);
        }
        text
    }
}

impl From<SampleRecord> for Group {
    fn from(record: SampleRecord) -> Self {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in record.completions.iter().flat_map(|c| c.rewards.iter()) {
            if names.iter().all(|known| known != name) {
                names.push(name.to_owned());
            }
        }
        let task = record.fields.get("task").and_then(Value::as_str);
        let answers: Vec<Answer> = (record.completions.iter())
            .map(|completion| Answer::sampled(completion, &names))
            .collect();
        let parts = names.into_iter().enumerate();
        let parts = parts.map(|(at, name)| Part {
            name,
            scale: Scale::of(answers.iter().filter_map(|answer| answer.parts[at])),
        });
        Self {
            step: record.step,
            number: record.group,
            task: task.unwrap_or_default().to_owned(),
            prompt: record.prompt,
            source: record.source,
            reference: record.reference,
            parts: parts.collect(),
            answers,
            fields: record.fields,
        }
    }
}

impl Answer {
    fn new(text: String, reward: Option<f64>) -> Self {
        Self {
            drawn: clean(&text),
            text,
            reward,
            parts: Vec::new(),
            sampled: None,
            to_reference: OnceCell::new(),
            to_best: OnceCell::new(),
        }
    }

    fn sampled(completion: &Completion, parts: &[String]) -> Self {
        let parts = parts.iter().map(|name| completion.rewards.scalar(name));
        Self {
            parts: parts.collect(),
            sampled: Some(Sampled {
                advantage: completion.advantage.0,
                tokens: completion.tokens,
                finish_reason: completion.finish_reason.clone(),
                logprob_sum: completion.logprob_sum.0,
            }),
            ..Self::new(
                completion.text.clone(),
                completion.reward.map(|reward| reward.0),
            )
        }
    }

    fn has_number(&self) -> bool {
        self.reward.is_some_and(|reward| !reward.is_nan())
    }

    /// For ordering alone: what is no number comes after all numbers.
    fn rank(&self) -> f64 {
        let number = self.reward.filter(|reward| !reward.is_nan());
        number.unwrap_or(f64::NEG_INFINITY)
    }
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        if values.clone().all(|value| value == 0.0 || value == 1.0) {
            Self::Verdict
        } else if values
            .into_iter()
            .all(|value| value.is_nan() || (0.0..=1.0).contains(&value))
        {
            Self::Share
        } else {
            Self::Number
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(rewards: &str) -> Group {
        let completions: Vec<Value> = serde_json::from_str::<Vec<Value>>(rewards)
            .unwrap()
            .into_iter()
            .map(|reward| {
                serde_json::json!({"text": "a b", "reward": reward, "rewards": {"chrf": reward, "format": 1},
                    "advantage": 0, "tokens": 2, "finish_reason": "stop", "logprob_sum": -3})
            })
            .collect();
        let record = serde_json::json!({"step": 3, "group": 1, "prompt": "p", "reference": "a c", "task": "en-de",
            "completions": completions});
        Group::from(serde_json::from_value::<SampleRecord>(record).unwrap())
    }

    #[test]
    fn what_is_no_number_is_never_the_best_and_always_among_the_last() {
        let group = group(r#"["nan", 0.5, null, 0.75, "-inf"]"#);
        assert_eq!((group.best(), group.worst()), (Some(3), Some(4)));
        assert_eq!(group.ranked(), [3, 1, 0, 2, 4]);
        assert_eq!(super::tests::group(r#"["nan", null]"#).best(), None);
    }

    #[test]
    fn groups_are_alike_where_all_rewards_are_one_number() {
        assert!(group("[0.5, 0.5]").is_alike());
        assert!(!group("[0.5, 0.25]").is_alike());
        assert!(!group("[0.5, null]").is_alike());
        assert!(!group(r#"["nan", "nan"]"#).is_alike());
    }

    #[test]
    fn a_part_is_a_verdict_only_where_the_whole_group_says_0_or_1() {
        let scale = |rewards: &str| group(rewards).parts[0].scale;
        assert_eq!(scale("[0, 1, null]"), Scale::Verdict);
        assert_eq!(scale("[0, 0.5, 1]"), Scale::Share);
        assert_eq!(scale(r#"["nan", 1]"#), Scale::Share);
        assert_eq!(scale("[0, 1, -2]"), Scale::Number);
        let parts = &group("[0]").parts;
        assert_eq!(
            (parts[1].name.as_str(), parts[1].scale),
            ("format", Scale::Verdict)
        );
    }

    #[test]
    fn an_answer_is_compared_with_what_there_is() {
        let mut group = group("[0.5, 1]");
        assert_eq!(group.difference(0, Difference::Off), None);
        assert_eq!(
            group
                .difference(0, Difference::Reference)
                .unwrap()
                .similarity,
            0.5
        );
        let to_best = group.difference(0, Difference::Best).unwrap();
        assert_eq!(to_best.pieces, [Piece::Same("a b".to_owned())]);
        assert_eq!(group.difference(1, Difference::Best), None, "itself");
        group.reference = None;
        assert_eq!(group.difference(1, Difference::Reference), None);
    }

    #[test]
    fn a_group_as_text_has_all_of_it() {
        let text = group(r#"["nan", 0.25]"#).to_text();
        for part in [
            "step 3 group 1 en-de\n",
            "prompt:\np\n",
            "reference:\na c\n",
            "1. reward NaN, chrf NaN, format 1; advantage 0, 2 tokens, stop, logprob_sum -3:\na b\n",
            "2. reward 0.25, chrf 0.25, format 1;",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}
