use burn::tensor::{Device, Tensor};
use datasets::{SharedPrompt, SupervisedTokens, TokenBatch};
use losses::{
    Denominator, HostTokens, PolicyGradientOptions, PolicyGradientStats, PolicyTokens,
    policy_gradient, policy_gradient_stats,
};
use model::{CausalLm, host_values};
use serde::{Deserialize, Deserializer, Serialize};

use crate::forward::{Forward, constant, supervised_logprobs};

/// A micro-batch of completions, with what their loss compares them to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutBatch {
    /// Prompts with one completion each.
    pub sequences: Vec<RolloutSequence>,
    /// Of the policy that sampled, per token of the loss; absent until the first step on the batch
    /// has computed them.
    #[serde(deserialize_with = "nan_for_null")]
    pub old_logprobs: Option<Vec<f32>>,
    /// Of the frozen reference, per token of the loss; absent without a KL term.
    #[serde(deserialize_with = "nan_for_null")]
    pub reference_logprobs: Option<Vec<f32>>,
}

/// A prompt with one completion.
///
/// Example: `{prompt: [2, 9], completion: [7, 4], sampler_logprobs: [-0.3, -0.1], advantage: 1.2}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutSequence {
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// Tokens of the completion, all of them in the loss.
    pub completion: Vec<u32>,
    /// What the sampler gave each of them.
    pub sampler_logprobs: Vec<f32>,
    /// The completion's advantage.
    pub advantage: f64,
}

/// What a batch's loss is made of, beside its tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyLossOptions {
    /// The policy gradient.
    pub gradient: PolicyGradientOptions,
    /// The counts of the step.
    pub denominator: Denominator,
    /// Divides the logits, as it did in sampling.
    pub temperature: f64,
    /// Weight of the mean entropy, which is added to the objective; 0 for none.
    pub entropy_coef: f64,
    /// The share of a micro-batch's tokens, those of the highest entropy, that the policy term
    /// counts: 1 for all (arXiv 2506.01939).
    pub top_entropy_quantile: f64,
}

/// The loss of a batch and what was measured on the way.
pub struct PolicyLoss {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// Clipping and KL.
    pub stats: PolicyGradientStats,
    /// Σ entropy over the tokens of the loss.
    pub entropy_sum: f64,
    /// Σ entropy and number of those that the policy term counts.
    pub counted_entropy: (f64, usize),
    /// Σ and maximum of |trained − sampled| log-probability, on the first step on the batch.
    pub sampler_difference: (f64, f64),
}

/// The tokens of a batch on the host, as the loss sees them.
struct Columns {
    advantages: Vec<f32>,
    weights: Vec<f32>,
    lengths: Vec<usize>,
}

impl RolloutBatch {
    /// Completions that have not been trained on yet.
    pub fn new(sequences: Vec<RolloutSequence>) -> Self {
        RolloutBatch {
            sequences,
            old_logprobs: None,
            reference_logprobs: None,
        }
    }

    /// The completions, supervised; those that follow one another with one prompt share it.
    pub fn tokens(&self) -> TokenBatch {
        let groups = self.sequences.chunk_by(|a, b| a.prompt == b.prompt);
        let groups: Vec<SharedPrompt> = groups
            .map(|sequences| SharedPrompt {
                prompt: sequences[0].prompt.clone(),
                answers: sequences
                    .iter()
                    .map(|sequence| SupervisedTokens {
                        ids: sequence.completion.clone(),
                        loss_mask: vec![true; sequence.completion.len()],
                    })
                    .collect(),
            })
            .collect();
        TokenBatch::from_shared_prompts(&groups)
    }

    /// Tokens that go through the model: a shared prompt's count once.
    pub fn num_tokens(&self) -> usize {
        self.tokens().num_tokens()
    }

    /// Tokens of the completions.
    pub fn num_supervised(&self) -> usize {
        let lengths = self.sequences.iter();
        lengths.map(|sequence| sequence.completion.len()).sum()
    }

    /// Computes what KL is measured to.
    pub fn set_reference(&mut self, reference: &CausalLm, temperature: f64) {
        if !self.sequences.is_empty() {
            let logprobs = supervised_logprobs(reference, &self.tokens(), temperature).logprob();
            self.reference_logprobs = Some(host_values(logprobs));
        }
    }

    /// Computes what the ratios are measured to, where another policy trains on the batch than this one,
    /// which sampled it. Returns Σ and maximum of |computed − sampled| log-probability.
    pub fn set_old_logprobs(&mut self, policy: &CausalLm, temperature: f64) -> (f64, f64) {
        if self.sequences.is_empty() {
            return (0.0, 0.0);
        }
        let logprobs = supervised_logprobs(policy, &self.tokens(), temperature).logprob();
        let logprobs = host_values(logprobs);
        let difference = self.difference_to_sampler(&logprobs);
        self.old_logprobs = Some(logprobs);
        difference
    }

    /// Σ (log p − log p_ref) over each completion, of the policy that sampled: its divergence from
    /// the reference, as a reward counts it. Empty without a reference.
    pub fn divergences(&self) -> Vec<f64> {
        let Some(mut reference) = self.reference_logprobs.as_deref() else {
            return Vec::new();
        };
        let mut divergences = Vec::new();
        for sequence in &self.sequences {
            let (own, rest) = reference.split_at(sequence.completion.len());
            reference = rest;
            let pairs = sequence.sampler_logprobs.iter().zip(own);
            divergences.push(pairs.map(|(l, r)| f64::from(*l) - f64::from(*r)).sum());
        }
        divergences
    }

    /// The reference's values of those completions that `is_kept` says, in order; absent without a
    /// reference.
    pub fn reference_logprobs_of(&self, is_kept: &[bool]) -> Option<Vec<f32>> {
        let mut rest = self.reference_logprobs.as_deref()?;
        let mut kept = Vec::new();
        for (sequence, &is_kept) in self.sequences.iter().zip(is_kept) {
            let (own, others) = rest.split_at(sequence.completion.len());
            rest = others;
            if is_kept {
                kept.extend(own);
            }
        }
        Some(kept)
    }

    /// The policy-gradient loss; the first call keeps the log-probabilities as the old ones.
    ///
    /// The loss is a formula over a few numbers a token, and is computed on the host: its value and
    /// its slope by each log-probability. The slopes go backward through the model.
    ///
    /// # Panics
    /// On a batch of no completions.
    pub fn loss(&mut self, forward: &Forward, options: &PolicyLossOptions) -> PolicyLoss {
        let columns = self.columns(&options.denominator);
        let first = self.old_logprobs.is_none();
        let plain = options.entropy_coef == 0.0 && options.top_entropy_quantile >= 1.0;
        let no_kl = self.reference_logprobs.is_none() || options.gradient.beta == 0.0;
        let (statistics, surrogate) = if first && no_kl && plain {
            // The policy is the one that sampled: every ratio is 1, so that the slopes are known
            // before the forward. They do not depend on the log-probabilities themselves.
            let zeros = vec![0.0; columns.weights.len()];
            let (_, slopes) = self.objective(&columns, &zeros, &zeros, None, options);
            let tokens = self.tokens();
            let (sum, statistics) =
                forward.weighted_logprobs(&tokens, &slopes, options.temperature);
            (statistics, Some(sum))
        } else {
            let tokens = self.tokens();
            (
                forward.supervised_logprobs(&tokens, options.temperature),
                None,
            )
        };
        let parts = [statistics.logprob().inner(), statistics.entropy().inner()];
        let mut logprobs = host_values(Tensor::cat(parts.to_vec(), 0));
        let entropies = logprobs.split_off(columns.weights.len());
        let sampler_difference = match first {
            true => self.difference_to_sampler(&logprobs),
            false => (0.0, 0.0),
        };
        let old = self
            .old_logprobs
            .get_or_insert_with(|| logprobs.clone())
            .clone();
        let keep = kept(&entropies, options.top_entropy_quantile);
        let counted_entropy = counted_entropy(keep.as_deref(), &entropies);
        let (mut value, slopes) = self.objective(&columns, &logprobs, &old, keep.clone(), options);
        let mut surrogate = surrogate
            .unwrap_or_else(|| (statistics.logprob() * constant(&slopes, forward.model())).sum());
        if options.entropy_coef != 0.0 {
            let weights = entropy_weights(keep.as_deref(), entropies.len(), options);
            let weighted = entropies
                .iter()
                .zip(&weights)
                .map(|(h, w)| f64::from(h * w));
            value += weighted.sum::<f64>();
            let weights = constant(&weights, forward.model());
            surrogate = surrogate + (statistics.entropy() * weights).sum();
        }
        let host = HostTokens {
            logprobs: &logprobs,
            old_logprobs: &old,
            reference_logprobs: self.reference_logprobs.as_deref(),
            advantages: &columns.advantages,
            lengths: &columns.lengths,
        };
        PolicyLoss {
            stats: policy_gradient_stats(host, options.gradient),
            entropy_sum: entropies.into_iter().map(f64::from).sum(),
            counted_entropy,
            sampler_difference,
            // The value of the loss, with the gradient of the surrogate.
            loss: (surrogate.clone() - surrogate.detach()).add_scalar(value),
        }
    }

    /// The loss without its entropy term, and its slope by each log-probability.
    fn objective(
        &self,
        columns: &Columns,
        logprobs: &[f32],
        old: &[f32],
        keep: Option<Vec<f32>>,
        options: &PolicyLossOptions,
    ) -> (f64, Vec<f32>) {
        let device = Device::flex().autodiff();
        let tensor = |values: &[f32]| Tensor::<1>::from_floats(values, &device);
        let leaf = tensor(logprobs).require_grad();
        let tokens = PolicyTokens {
            old_logprobs: tensor(old),
            reference_logprobs: self.reference_logprobs.as_deref().map(tensor),
            advantages: tensor(&columns.advantages),
            weights: tensor(&columns.weights),
            keep: keep.as_deref().map(tensor),
            lengths: columns.lengths.clone(),
        };
        let loss = policy_gradient(leaf.clone(), &tokens, options.gradient);
        let mut gradients = loss.backward();
        let slopes = leaf.grad_remove(&mut gradients).map(host_values);
        let slopes = slopes.unwrap_or_else(|| vec![0.0; logprobs.len()]);
        (crate::forward::host_loss(&loss), slopes)
    }

    /// What each token of the loss is multiplied by: its completion's advantage, its own weight.
    fn columns(&self, denominator: &Denominator) -> Columns {
        let mut columns = Columns {
            advantages: Vec::new(),
            weights: Vec::new(),
            lengths: Vec::new(),
        };
        for sequence in &self.sequences {
            let length = sequence.completion.len();
            let advantages = &mut columns.advantages;
            advantages.resize(advantages.len() + length, sequence.advantage as f32);
            let weights = &mut columns.weights;
            weights.resize(weights.len() + length, denominator.token_weight(length));
            columns.lengths.push(length);
        }
        columns
    }

    fn difference_to_sampler(&self, logprobs: &[f32]) -> (f64, f64) {
        let sampled = self.sequences.iter().flat_map(|s| &s.sampler_logprobs);
        let differences = logprobs.iter().zip(sampled);
        differences.fold((0.0, 0.0), |(sum, max), (trained, sampled)| {
            let difference = f64::from((trained - sampled).abs());
            (sum + difference, difference.max(max))
        })
    }
}

/// JSON has no NaN and writes null; a step whose loss was not a number leaves such values behind.
fn nan_for_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f32>>, D::Error> {
    let values = Option::<Vec<Option<f32>>>::deserialize(deserializer)?;
    Ok(values.map(|values| values.into_iter().map(|v| v.unwrap_or(f32::NAN)).collect()))
}

/// 1 for the tokens whose entropy is in the top `quantile`, by linear interpolation between ranks as
/// torch.quantile's; `None` for all.
fn kept(entropies: &[f32], quantile: f64) -> Option<Vec<f32>> {
    if quantile >= 1.0 {
        return None;
    }
    let mut sorted = entropies.to_vec();
    sorted.sort_by(f32::total_cmp);
    let rank = (1.0 - quantile) * (sorted.len() - 1) as f64;
    let below = f64::from(sorted[rank.floor() as usize]);
    let above = f64::from(sorted[rank.ceil() as usize]);
    let threshold = below + (above - below) * rank.fract();
    let keep = |&entropy: &f32| f32::from(u8::from(f64::from(entropy) >= threshold));
    Some(entropies.iter().map(keep).collect())
}

fn counted_entropy(keep: Option<&[f32]>, entropies: &[f32]) -> (f64, usize) {
    let is_kept = |at: usize| keep.is_none_or(|keep| keep[at] > 0.0);
    let counted = entropies.iter().enumerate().filter(|(at, _)| is_kept(*at));
    counted.fold((0.0, 0), |(sum, count), (_, entropy)| {
        (sum + f64::from(*entropy), count + 1)
    })
}

/// −coefficient / tokens of the step on each token that counts.
fn entropy_weights(keep: Option<&[f32]>, tokens: usize, options: &PolicyLossOptions) -> Vec<f32> {
    let counted = options.denominator.num_tokens as f64 * options.top_entropy_quantile.min(1.0);
    let weight = (-options.entropy_coef / counted.max(1.0)) as f32;
    match keep {
        Some(keep) => keep.iter().map(|keep| keep * weight).collect(),
        None => vec![weight; tokens],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_uncertain_tokens_are_kept() {
        // The 0.6 quantile of 0, 1, 2, 3, 4, 5 is 3.
        let entropies = [3.0, 0.0, 5.0, 1.0, 4.0, 2.0];
        assert_eq!(
            kept(&entropies, 0.4),
            Some(vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
        );
        assert_eq!(kept(&entropies, 1.0), None);
        let keep = kept(&entropies, 0.4);
        assert_eq!(counted_entropy(keep.as_deref(), &entropies), (12.0, 3));
        assert_eq!(counted_entropy(None, &entropies), (15.0, 6));
    }

    #[test]
    fn a_logprob_that_is_no_number_survives_a_checkpoint() {
        let batch = RolloutBatch {
            old_logprobs: Some(vec![-0.5, f32::NAN]),
            ..RolloutBatch::default()
        };
        let json = serde_json::to_string(&batch).expect("it serialises");
        let read: RolloutBatch = serde_json::from_str(&json).expect("it reads back");
        let old = read.old_logprobs.expect("they are there");
        assert!(old[0] == -0.5 && old[1].is_nan());
    }

    #[test]
    fn the_reference_of_completions_that_are_left_out_is_left_out() {
        let of = |length: usize| RolloutSequence {
            prompt: vec![2],
            completion: vec![5; length],
            sampler_logprobs: vec![-1.0; length],
            advantage: 0.0,
        };
        let mut batch = RolloutBatch::new(vec![of(2), of(1), of(2)]);
        let is_kept = [true, false, true];
        assert_eq!(batch.reference_logprobs_of(&is_kept), None);
        batch.reference_logprobs = Some(vec![-0.1, -0.2, -0.3, -0.4, -0.5]);
        let kept = batch.reference_logprobs_of(&is_kept);
        assert_eq!(kept, Some(vec![-0.1, -0.2, -0.4, -0.5]));
    }

    #[test]
    fn a_completions_divergence_is_of_the_policy_that_sampled() {
        let mut batch = RolloutBatch::new(vec![RolloutSequence {
            prompt: vec![2],
            completion: vec![5, 6],
            sampler_logprobs: vec![-1.0, -0.5],
            advantage: 0.0,
        }]);
        assert!(batch.divergences().is_empty());
        batch.reference_logprobs = Some(vec![-1.5, -1.0]);
        assert_eq!(batch.divergences(), [1.0]);
    }
}
