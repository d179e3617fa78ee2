use std::collections::BTreeMap;
use std::sync::Arc;

use datasets::ChatTokenizer;
use losses::{
    ScaleRewards, advantages, leave_one_out_advantages, normalized_leave_one_out_advantages,
    normalized_sum_advantages,
};
use model::CausalLm;
use model::generate::{
    Completion, FinishReason, GenerateOptions, Request, SamplingOptions, generate,
};
use rewards::{Attempt, RewardBreakdown, RewardPart, Rubric, Verifier};
use telemetry::{Fields, SampleRecord, Scalar};

use super::Prompt;
use crate::TrainError;
use crate::watched::metric_name;

/// How completions are drawn and judged.
#[derive(Clone)]
pub struct Sampler {
    /// Turns tokens into text.
    pub tokenizer: Arc<ChatTokenizer>,
    /// The recipe's reward functions.
    pub rubric: Rubric,
    /// What is measured and never rewarded.
    pub watch: Option<Verifier>,
    /// Tokens after which a completion is cut.
    pub max_completion_length: usize,
    /// Sequences decoded at a time.
    pub max_batch_size: usize,
}

/// A completion with its reward.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Its tokens and the sampler's log-probabilities.
    pub completion: Completion,
    /// Its text, without special tokens.
    pub text: String,
    /// Its reward, part by part.
    pub reward: RewardBreakdown,
    /// What the watched metric gives it.
    pub watched: Option<RewardPart>,
    /// Its advantage over its group.
    pub advantage: f64,
}

/// A prompt with its completions.
#[derive(Clone, Debug)]
pub struct Group {
    /// The prompt.
    pub prompt: Prompt,
    /// Its completions.
    pub rollouts: Vec<Rollout>,
}

impl Sampler {
    /// `num_generations` completions of each prompt, judged. `None` where the user stopped it.
    ///
    /// # Errors
    /// A completion cannot be decoded.
    pub fn sample(
        &self,
        model: &CausalLm,
        prompts: Vec<Prompt>,
        num_generations: usize,
        sampling: SamplingOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Group>>, TrainError> {
        let requests: Vec<Request> = prompts
            .iter()
            .flat_map(|prompt| {
                (0..num_generations).map(|index| Request {
                    prompt: prompt.ids.clone(),
                    index: index as u64,
                    max_new_tokens: self.max_completion_length,
                })
            })
            .collect();
        let options = GenerateOptions {
            sampling,
            stop_tokens: self.tokenizer.stop_ids(),
            max_batch_size: self.max_batch_size,
        };
        let Some(completions) = generate(model, &requests, &options, should_stop) else {
            return Ok(None);
        };
        let mut completions = completions.into_iter();
        let groups = prompts
            .into_iter()
            .map(|prompt| {
                let rollouts = completions
                    .by_ref()
                    .take(num_generations)
                    .map(|completion| self.judge(&prompt, completion))
                    .collect::<Result<_, _>>()?;
                Ok(Group { prompt, rollouts })
            })
            .collect::<Result<_, TrainError>>()?;
        Ok(Some(groups))
    }

    fn judge(&self, prompt: &Prompt, completion: Completion) -> Result<Rollout, TrainError> {
        let text = self.tokenizer.tokenizer().decode(&completion.tokens)?;
        let attempt = Attempt {
            prompt: &prompt.text,
            completion: &text,
            source: prompt.source.as_deref(),
            reference: prompt.reference.as_deref(),
            args: &prompt.args,
            completion_tokens: completion.tokens.len(),
            max_completion_length: self.max_completion_length,
            finished: completion.finish_reason == FinishReason::Stop,
        };
        let reward = self.rubric.score(&prompt.verifiers, &attempt);
        let watched = self.watch.as_ref().map(|watch| RewardPart {
            name: metric_name(watch.name()),
            score: watch.score(&attempt),
            weight: 0.0,
        });
        Ok(Rollout {
            completion,
            text,
            reward,
            watched,
            advantage: 0.0,
        })
    }
}

/// How rewards become advantages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimator {
    /// The summed reward against its group, scaled (GRPO).
    Group(ScaleRewards),
    /// Each reward function against its group, then summed (GDPO).
    NormalizedSum,
    /// The summed reward against the rest of its group (RLOO).
    LeaveOneOut,
    /// The same as z-scores over the step.
    NormalizedLeaveOneOut,
}

impl Group {
    /// Gives every rollout of these groups its advantage. `penalties` are taken off the rewards
    /// first, a row a group; empty for none.
    pub fn set_advantages(groups: &mut [Group], estimator: Estimator, penalties: &[Vec<f64>]) {
        let penalty = |group: usize, index: usize| penalties.get(group).map_or(0.0, |p| p[index]);
        let rewards: Vec<Vec<Option<f64>>> = groups
            .iter()
            .enumerate()
            .map(|(number, group)| {
                let rollouts = group.rollouts.iter().enumerate();
                rollouts
                    .map(|(index, r)| r.reward.total.map(|total| total - penalty(number, index)))
                    .collect()
            })
            .collect();
        let advantages = match estimator {
            Estimator::Group(scale) => advantages(&rewards, scale),
            Estimator::NormalizedSum => normalized_sum(groups),
            Estimator::LeaveOneOut => leave_one_out_advantages(&rewards),
            Estimator::NormalizedLeaveOneOut => normalized_leave_one_out_advantages(&rewards),
        };
        for (group, advantages) in groups.iter_mut().zip(advantages) {
            for (rollout, advantage) in group.rollouts.iter_mut().zip(advantages) {
                rollout.advantage = advantage;
            }
        }
    }

    /// Tokens of the prompt and of its completions.
    pub fn num_tokens(&self) -> usize {
        let completions = self.rollouts.iter();
        let completions = completions.map(|rollout| rollout.completion.tokens.len());
        self.prompt.ids.len() + completions.sum::<usize>()
    }

    /// Whether its rewards say nothing: all the same, or none.
    pub fn has_no_variance(&self) -> bool {
        let first = self.rollouts.first().and_then(|r| r.reward.total);
        self.rollouts.iter().all(|r| r.reward.total == first)
    }

    /// The line of `samples.jsonl`.
    pub fn record(&self, step: u64, number: u64) -> SampleRecord {
        SampleRecord {
            step,
            group: number,
            prompt: self.prompt.text.clone(),
            source: self.prompt.source.clone(),
            reference: self.prompt.reference.clone(),
            completions: self.rollouts.iter().map(Rollout::record).collect(),
            fields: Fields::new().with("task", self.prompt.group.as_str()),
        }
    }
}

impl Rollout {
    /// Whether it ended by itself.
    pub fn finished(&self) -> bool {
        self.completion.finish_reason == FinishReason::Stop
    }

    fn record(&self) -> telemetry::Completion {
        let mut rewards = Fields::new();
        for part in &self.reward.parts {
            if let Some(score) = part.score {
                rewards.set(part.name.as_str(), score);
            }
        }
        let logprobs = self.completion.logprobs.iter();
        telemetry::Completion {
            text: self.text.clone(),
            reward: self.reward.total.map(Scalar),
            rewards,
            advantage: Scalar(self.advantage),
            tokens: self.completion.tokens.len() as u64,
            finish_reason: self.completion.finish_reason.name().to_owned(),
            logprob_sum: Scalar(logprobs.map(|&l| f64::from(l)).sum()),
            fields: Fields::new(),
        }
    }
}

/// The advantages of [`Estimator::NormalizedSum`]: reward functions by name, over all groups.
fn normalized_sum(groups: &[Group]) -> Vec<Vec<f64>> {
    let mut weights: BTreeMap<&str, f64> = BTreeMap::new();
    let parts = groups.iter().flat_map(|group| &group.rollouts);
    for part in parts.flat_map(|rollout| &rollout.reward.parts) {
        weights.insert(&part.name, part.weight);
    }
    let scores_of = |rollout: &Rollout| -> Vec<Option<f64>> {
        let score = |name: &&str| {
            let part = rollout.reward.parts.iter().find(|part| part.name == **name);
            part.and_then(|part| part.score)
                .filter(|score| !score.is_nan())
        };
        weights.keys().map(score).collect()
    };
    let rewards: Vec<Vec<Vec<Option<f64>>>> = groups
        .iter()
        .map(|group| group.rollouts.iter().map(scores_of).collect())
        .collect();
    let weights: Vec<f64> = weights.values().copied().collect();
    normalized_sum_advantages(&rewards, &weights)
}
