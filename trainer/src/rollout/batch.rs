use burn::tensor::Tensor;
use datasets::{SharedPrompt, SupervisedTokens, TokenBatch};
use losses::{
    Denominator, PolicyGradientOptions, PolicyGradientStats, policy_gradient, policy_gradient_stats,
};
use model::{CausalLm, host_values};
use serde::{Deserialize, Serialize};

use crate::forward::{Forward, constant, supervised_logprobs};

/// A micro-batch of completions, with what their loss compares them to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutBatch {
    /// Prompts with one completion each.
    pub sequences: Vec<RolloutSequence>,
    /// Of the policy that sampled, per token of the loss; absent until the first step on the batch
    /// has computed them.
    pub old_logprobs: Option<Vec<f32>>,
    /// Of the frozen reference, per token of the loss; absent without a KL term.
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

/// The loss of a batch and what was measured on the way.
pub struct PolicyLoss {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// Clipping and KL.
    pub stats: PolicyGradientStats,
    /// Σ entropy over the tokens of the loss.
    pub entropy_sum: f64,
    /// Σ and maximum of |trained − sampled| log-probability, on the first step on the batch.
    pub sampler_difference: (f64, f64),
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

    /// Computes what KL is measured to.
    pub fn set_reference(&mut self, reference: &CausalLm, temperature: f64) {
        if !self.sequences.is_empty() {
            let logprobs = supervised_logprobs(reference, &self.tokens(), temperature).logprob();
            self.reference_logprobs = Some(host_values(logprobs));
        }
    }

    /// The policy-gradient loss; the first call keeps the log-probabilities as the old ones.
    ///
    /// # Panics
    /// On a batch of no completions.
    pub fn loss(
        &mut self,
        forward: &Forward,
        denominator: &Denominator,
        options: PolicyGradientOptions,
        temperature: f64,
    ) -> PolicyLoss {
        let (advantages, weights) = self.per_token(denominator);
        let clips = options.epsilon > 0.0 && options.epsilon_high > 0.0;
        if self.old_logprobs.is_none() && self.reference_logprobs.is_none() && clips {
            return self.on_policy_loss(forward, &advantages, &weights, options, temperature);
        }
        let model = forward.model();
        let statistics = forward.supervised_logprobs(&self.tokens(), temperature);
        let logprobs = statistics.logprob();
        let host = host_values(logprobs.clone().inner());
        let entropy = host_values(statistics.entropy().inner());
        let sampler_difference = match self.old_logprobs {
            None => self.difference_to_sampler(&host),
            Some(_) => (0.0, 0.0),
        };
        let old = self.old_logprobs.get_or_insert_with(|| host.clone());
        let reference = self.reference_logprobs.as_deref();
        let in_loss = vec![true; host.len()];
        PolicyLoss {
            stats: policy_gradient_stats(&host, old, reference, &advantages, &in_loss, options),
            entropy_sum: entropy.into_iter().map(f64::from).sum(),
            sampler_difference,
            loss: policy_gradient(
                logprobs,
                constant(old, model),
                reference.map(|values| constant(values, model)),
                constant(&advantages, model),
                constant(&weights, model),
                options,
            ),
        }
    }

    /// The loss where the policy is the one that sampled: every ratio is 1 and nothing is clipped,
    /// so the gradient by each log-probability is −w·A, known before the forward.
    fn on_policy_loss(
        &mut self,
        forward: &Forward,
        advantages: &[f32],
        weights: &[f32],
        options: PolicyGradientOptions,
        temperature: f64,
    ) -> PolicyLoss {
        let slopes: Vec<f32> = weights
            .iter()
            .zip(advantages)
            .map(|(w, a)| -w * a)
            .collect();
        let (sum, statistics) = forward.weighted_logprobs(&self.tokens(), &slopes, temperature);
        let host = host_values(statistics.logprob());
        let entropy = host_values(statistics.entropy());
        let sampler_difference = self.difference_to_sampler(&host);
        // The loss is −Σ w·A·1; the sum has its gradient and another value.
        let value: f64 = slopes.into_iter().map(f64::from).sum();
        let loss = (sum.clone() - sum.detach()).add_scalar(value);
        let in_loss = vec![true; host.len()];
        let stats = policy_gradient_stats(&host, &host, None, advantages, &in_loss, options);
        self.old_logprobs = Some(host);
        PolicyLoss {
            stats,
            entropy_sum: entropy.into_iter().map(f64::from).sum(),
            sampler_difference,
            loss,
        }
    }

    /// What each token of the loss is multiplied by: its completion's advantage, its own weight.
    fn per_token(&self, denominator: &Denominator) -> (Vec<f32>, Vec<f32>) {
        let (mut advantages, mut weights) = (Vec::new(), Vec::new());
        for sequence in &self.sequences {
            let length = sequence.completion.len();
            advantages.extend(vec![sequence.advantage as f32; length]);
            weights.extend(vec![denominator.token_weight(length); length]);
        }
        (advantages, weights)
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
