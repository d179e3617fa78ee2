//! A line of `samples.jsonl`: what the model wrote for one prompt, and what that was worth.

use crate::{Fields, Scalar};
use serde::{Deserialize, Serialize};

/// One prompt's group of completions.
///
/// `{"step":7,"group":3,"prompt":"…","source":"…","reference":"…","completions":[{"text":"…","reward":0.9,
/// "rewards":{"chrf":0.9},"advantage":1.2,"tokens":14,"finish_reason":"stop","logprob_sum":-9.1}]}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// The optimizer step the samples were drawn for.
    pub step: u64,
    /// The group's number, unique in its step.
    pub group: u64,
    /// The prompt as a person reads it.
    pub prompt: String,
    /// The text to translate, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The reference or right answer, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What was sampled.
    pub completions: Vec<Completion>,
    /// Whatever else the line holds, e.g. `policy_step`.
    #[serde(flatten)]
    pub fields: Fields,
}

/// One completion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The text without special tokens.
    pub text: String,
    /// The total reward; `null` where no reward function applied.
    pub reward: Option<Scalar>,
    /// Each function's reward before weighting, in the order of the rubric.
    pub rewards: Fields,
    /// The advantage it was trained with.
    pub advantage: Scalar,
    /// How many tokens it has, its end-of-turn included.
    pub tokens: u64,
    /// Why it ended: `stop`, `length`, ….
    pub finish_reason: String,
    /// Sum of the sampler's log-probabilities of its tokens.
    pub logprob_sum: Scalar,
    /// Whatever else there is.
    #[serde(flatten)]
    pub fields: Fields,
}

impl SampleRecord {
    /// Keeps the `k` best and the `k` worst completions by reward, in their order, and notes how many there
    /// were as `num_generations`. One without a reward is worse than any.
    pub fn keep_extremes(&mut self, k: usize) {
        let total = self.completions.len();
        if total <= 2 * k {
            return;
        }
        let rank = |c: &Completion| c.reward.map_or(f64::NEG_INFINITY, |reward| reward.0);
        let mut order: Vec<usize> = (0..total).collect();
        order.sort_by(|&a, &b| rank(&self.completions[b]).total_cmp(&rank(&self.completions[a])));
        let dropped = &order[k..total - k];
        let mut index = 0;
        self.completions.retain(|_| {
            index += 1;
            !dropped.contains(&(index - 1))
        });
        self.fields.set("num_generations", total);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A group with the given rewards.
    pub(crate) fn group(step: u64, group: u64, rewards: &[Option<f64>]) -> SampleRecord {
        let completion = |(i, reward): (usize, &Option<f64>)| Completion {
            text: format!("塔 {i}\n\"quoted\""),
            reward: reward.map(Scalar),
            rewards: Fields::new().with("zeta", *reward).with("alpha", 1.0),
            advantage: Scalar(0.5),
            tokens: 14,
            finish_reason: "stop".into(),
            logprob_sum: Scalar(-9.25),
            fields: Fields::new(),
        };
        let completions = rewards.iter().enumerate().map(completion).collect();
        SampleRecord {
            step,
            group,
            prompt: "p".into(),
            source: Some("s".into()),
            reference: None,
            completions,
            fields: Fields::new(),
        }
    }

    #[test]
    fn a_line_has_the_agreed_fields_in_order() {
        let expected = concat!(
            r#"{"step":7,"group":3,"prompt":"p","source":"s","completions":[{"text":"塔 0\n\"quoted\"","reward":"nan","#,
            r#""rewards":{"zeta":"nan","alpha":1.0},"advantage":0.5,"tokens":14,"finish_reason":"stop","logprob_sum":-9.25}]}"#
        );
        assert_eq!(
            serde_json::to_string(&group(7, 3, &[Some(f64::NAN)])).unwrap(),
            expected
        );
    }

    #[test]
    fn unknown_fields_are_kept() {
        let mut record = group(1, 1, &[None, Some(0.5)]);
        record.fields.set("policy_step", 0u64);
        record.completions[1].fields.set("language", "de");
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<SampleRecord>(&json).unwrap(), record);
    }

    #[test]
    fn extremes_are_the_best_and_worst_in_their_order() {
        let mut record = group(
            1,
            1,
            &[Some(0.4), Some(0.9), None, Some(0.5), Some(0.1), Some(0.6)],
        );
        record.keep_extremes(2);
        assert_eq!(
            record
                .completions
                .iter()
                .map(|c| c.reward.map(|r| r.0))
                .collect::<Vec<_>>(),
            [Some(0.9), None, Some(0.1), Some(0.6)]
        );
        assert_eq!(record.fields.scalar("num_generations"), Some(6.0));
        let mut few = group(1, 1, &[Some(0.1); 4]);
        few.keep_extremes(2);
        assert_eq!((few.completions.len(), few.fields.is_empty()), (4, true));
    }
}
