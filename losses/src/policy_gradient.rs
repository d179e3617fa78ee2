use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use crate::kl::{KlEstimator, kl};
use crate::off_policy::{GammaShape, gamma_weights, off_policy_mask};

/// What is done with a token's (or a completion's) ratio ρ and advantage A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PolicyObjective {
    /// min(ρ·A, clip(ρ, 1 − ε, 1 + ε_high)·A): PPO, arXiv 1707.06347, equation 7. With `delta` ρ in
    /// the first term is at most that, so that a negative advantage has a bound too (INTELLECT-2,
    /// arXiv 2505.07291).
    Clip {
        /// Above 1 + ε_high; `None` for no bound.
        delta: Option<f64>,
    },
    /// min(ρ, ε_high) as a constant, times A·log p: CISPO, MiniMax-M1, arXiv 2506.13585. Here
    /// ε_high is the bound itself.
    Cispo,
    /// (4 / τ)·σ(τ·(ρ − 1))·A: SAPO, arXiv 2511.20347, τ by the sign of A.
    Sapo {
        /// Of positive advantages.
        temperature_pos: f64,
        /// Of the others.
        temperature_neg: f64,
    },
    /// φ(w) as a constant, times A·log p, with w the ratio of the whole completion: VESPO,
    /// [`gamma_weights`].
    Vespo {
        /// Of advantages from 0 on.
        positive: GammaShape,
        /// Of negative ones.
        negative: GammaShape,
    },
}

/// What the ratio to the policy that sampled is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportanceLevel {
    /// Each token.
    Token,
    /// The geometric mean over a completion's tokens: GSPO, arXiv 2507.18071, equation 7.
    Sequence,
    /// The whole completion: the product over its tokens (RLOO).
    Trajectory,
}

/// The knobs of the policy gradient. Names are TRL's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyGradientOptions {
    /// What is maximised.
    pub objective: PolicyObjective,
    /// What the ratio is of.
    pub level: ImportanceLevel,
    /// The ratio is clipped from below at 1 − epsilon.
    pub epsilon: f64,
    /// And from above at 1 + epsilon_high.
    pub epsilon_high: f64,
    /// Weight of the KL term; 0 for none.
    pub beta: f64,
    /// How the divergence is estimated.
    pub kl: KlEstimator,
    /// Whether the estimate is weighted by the ratio, which makes its gradient, and off the policy
    /// its value, unbiased (DeepSeek-V3.2, arXiv 2512.02556).
    pub use_bias_correction_kl: bool,
    /// Leaves out bad completions that the policy has left by more than this: see
    /// [`off_policy_mask`]. Their KL term stays.
    pub off_policy_mask_threshold: Option<f64>,
}

/// What the tokens of a batch of completions are compared with. All tensors `[tokens]`.
#[derive(Clone, Debug)]
pub struct PolicyTokens {
    /// Of the policy that sampled.
    pub old_logprobs: Tensor<1>,
    /// Of the frozen reference, where there is a KL term.
    pub reference_logprobs: Option<Tensor<1>>,
    /// The advantage of each token's completion.
    pub advantages: Tensor<1>,
    /// The weight of each token, from [`Denominator`](crate::Denominator).
    pub weights: Tensor<1>,
    /// 1 for tokens that the policy term counts and 0 for others; all where absent.
    pub keep: Option<Tensor<1>>,
    /// Tokens of each completion, in order.
    pub lengths: Vec<usize>,
}

/// The policy-gradient loss of the GRPO family:
///
/// Σ w · (−keep·objective(ρ, A) + β·KL)
///
/// where
/// - ρ = exp(log p − log p_old), the ratio to the policy that sampled, of a token or a completion:
///   [`ImportanceLevel`];
/// - A is the advantage of the token's completion;
/// - w is the token's weight, from [`Denominator`](crate::Denominator);
/// - KL is the estimate of the divergence from the reference: [`KlEstimator`].
///
/// GRPO, arXiv 2402.03300, equation 3; the separate upper bound is DAPO's clip-higher, arXiv
/// 2503.14476. Where the sampling policy is the current one, pass the log-probabilities themselves,
/// detached, as the old ones: the ratio is 1 and its gradient is not.
///
/// # Shapes
/// - logprobs: `[tokens]`
/// - output: `[1]`
pub fn policy_gradient(
    logprobs: Tensor<1>,
    tokens: &PolicyTokens,
    options: PolicyGradientOptions,
) -> Tensor<1> {
    let PolicyTokens {
        advantages,
        weights,
        ..
    } = tokens;
    let difference = logprobs.clone() - tokens.old_logprobs.clone();
    let ratio = at_level(difference.clone(), &tokens.lengths, options.level).exp();
    let objective = match options.objective {
        PolicyObjective::Clip { delta } => {
            let bounded = match delta {
                Some(delta) => ratio.clone().clamp_max(delta),
                None => ratio.clone(),
            };
            let (low, high) = (1.0 - options.epsilon, 1.0 + options.epsilon_high);
            let clipped = ratio.clone().clamp(low, high);
            (bounded * advantages.clone()).min_pair(clipped * advantages.clone())
        }
        PolicyObjective::Cispo => {
            let constant = ratio.clone().detach().clamp_max(options.epsilon_high);
            constant * advantages.clone() * logprobs.clone()
        }
        PolicyObjective::Sapo {
            temperature_pos,
            temperature_neg,
        } => {
            let gate =
                |tau: f64| sigmoid((ratio.clone() - 1.0).mul_scalar(tau)).mul_scalar(4.0 / tau);
            let positive = advantages.clone().greater_elem(0.0);
            gate(temperature_neg).mask_where(positive, gate(temperature_pos)) * advantages.clone()
        }
        PolicyObjective::Vespo { positive, negative } => {
            let (difference, advantages) = (difference.clone(), advantages.clone());
            let lengths = &tokens.lengths;
            let phi = gamma_weights(difference, advantages.clone(), lengths, positive, negative);
            phi * advantages * logprobs.clone()
        }
    };
    let mut per_token = -objective;
    if let Some(threshold) = options.off_policy_mask_threshold {
        let mask = off_policy_mask(difference, advantages.clone(), &tokens.lengths, threshold);
        per_token = per_token * mask;
    }
    if let Some(keep) = &tokens.keep {
        per_token = per_token * keep.clone();
    }
    if let (Some(reference), true) = (&tokens.reference_logprobs, options.beta != 0.0) {
        let mut divergence = kl(logprobs, reference.clone(), options.kl);
        if options.use_bias_correction_kl {
            // What has the divergence's gradient by itself is weighed by the ratio alone.
            let weight = match options.kl {
                KlEstimator::K1 | KlEstimator::K3 => ratio,
                KlEstimator::K2 | KlEstimator::K1Plus | KlEstimator::K3Plus => ratio.detach(),
            };
            divergence = divergence * weight;
        }
        per_token = per_token + divergence.mul_scalar(options.beta);
    }
    (per_token * weights.clone()).sum()
}

/// Differences of log-probabilities as their level has them, a value a token.
pub(crate) fn at_level(
    differences: Tensor<1>,
    lengths: &[usize],
    level: ImportanceLevel,
) -> Tensor<1> {
    if level == ImportanceLevel::Token {
        return differences;
    }
    let mut start = 0;
    let mut of_completions = Vec::new();
    for &length in lengths.iter().filter(|&&length| length > 0) {
        let own = differences.clone().narrow(0, start, length);
        let value = match level {
            ImportanceLevel::Sequence => own.mean(),
            _ => own.sum(),
        };
        of_completions.push(value.expand([length]));
        start += length;
    }
    match of_completions.is_empty() {
        true => differences,
        false => Tensor::cat(of_completions, 0),
    }
}

/// Sums over the tokens of a batch, from which the logged means follow. They add up over
/// micro-batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PolicyGradientStats {
    /// Tokens of all completions.
    pub num_tokens: usize,
    /// Tokens of completions that [`off_policy_mask`] leaves out.
    pub masked: usize,
    /// Tokens whose ratio was clipped from below, at a negative advantage.
    pub clipped_low: usize,
    /// Tokens whose ratio was clipped from above, at a positive advantage.
    pub clipped_high: usize,
    /// Σ k3 to the reference; 0 without one.
    pub kl: f64,
    /// Σ |log p − log p_old|.
    pub logprob_difference: f64,
}

/// Host values of a batch's tokens, `[tokens]` each.
#[derive(Clone, Copy, Debug)]
pub struct HostTokens<'a> {
    /// Of the policy.
    pub logprobs: &'a [f32],
    /// Of the policy that sampled.
    pub old_logprobs: &'a [f32],
    /// Of the reference, where there is one.
    pub reference_logprobs: Option<&'a [f32]>,
    /// The advantage of each token's completion.
    pub advantages: &'a [f32],
    /// Tokens of each completion, in order.
    pub lengths: &'a [usize],
}

/// Counts what was clipped, and how far the policy has moved.
pub fn policy_gradient_stats(
    tokens: HostTokens,
    options: PolicyGradientOptions,
) -> PolicyGradientStats {
    let differences: Vec<f64> = tokens
        .logprobs
        .iter()
        .zip(tokens.old_logprobs)
        .map(|(new, old)| f64::from(*new) - f64::from(*old))
        .collect();
    let (low, high) = match options.objective {
        PolicyObjective::Cispo => (0.0, options.epsilon_high),
        PolicyObjective::Clip { .. } => (1.0 - options.epsilon, 1.0 + options.epsilon_high),
        // They have no bounds.
        PolicyObjective::Sapo { .. } | PolicyObjective::Vespo { .. } => (0.0, f64::INFINITY),
    };
    let mut stats = PolicyGradientStats::default();
    let mut start = 0;
    for &length in tokens.lengths {
        let own = start..start + length;
        start += length;
        let sum: f64 = differences[own.clone()].iter().sum();
        // As `off_policy_mask`, of a completion's one advantage.
        let is_masked = options.off_policy_mask_threshold.is_some_and(|threshold| {
            let advantage = tokens.advantages.get(own.start);
            advantage.is_some_and(|a| *a < 0.0) && -sum / length as f64 > threshold
        });
        if is_masked {
            stats.masked += length;
        }
        for token in own {
            let at_level = match options.level {
                ImportanceLevel::Token => differences[token],
                ImportanceLevel::Sequence => sum / length as f64,
                ImportanceLevel::Trajectory => sum,
            };
            let (ratio, advantage) = (at_level.exp(), tokens.advantages[token]);
            stats.num_tokens += 1;
            stats.clipped_low += usize::from(ratio < low && advantage < 0.0 && !is_masked);
            stats.clipped_high += usize::from(ratio > high && advantage > 0.0);
            stats.logprob_difference += differences[token].abs();
            if let Some(reference) = tokens.reference_logprobs {
                let d = f64::from(reference[token]) - f64::from(tokens.logprobs[token]);
                stats.kl += d.exp_m1() - d;
            }
        }
    }
    stats
}

impl PolicyGradientStats {
    /// The sums over both.
    pub fn plus(self, other: Self) -> Self {
        PolicyGradientStats {
            num_tokens: self.num_tokens + other.num_tokens,
            masked: self.masked + other.masked,
            clipped_low: self.clipped_low + other.clipped_low,
            clipped_high: self.clipped_high + other.clipped_high,
            kl: self.kl + other.kl,
            logprob_difference: self.logprob_difference + other.logprob_difference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    const OPTIONS: PolicyGradientOptions = PolicyGradientOptions {
        objective: PolicyObjective::Clip { delta: None },
        level: ImportanceLevel::Token,
        epsilon: 0.2,
        epsilon_high: 0.3,
        beta: 0.0,
        kl: KlEstimator::K3,
        use_bias_correction_kl: false,
        off_policy_mask_threshold: None,
    };

    fn loss_and_gradients(
        logprobs: &[f32],
        old: &[f32],
        advantage: f32,
        options: PolicyGradientOptions,
    ) -> (f32, Vec<f32>) {
        let device = Device::flex().autodiff();
        let leaf = Tensor::<1>::from_floats(logprobs, &device).require_grad();
        let count = logprobs.len();
        let tokens = PolicyTokens {
            old_logprobs: Tensor::from_floats(old, &device),
            reference_logprobs: None,
            advantages: Tensor::full([count], advantage, &device),
            weights: Tensor::ones([count], &device),
            keep: None,
            lengths: vec![count],
        };
        let loss = policy_gradient(leaf.clone(), &tokens, options);
        let mut gradients = loss.backward();
        let gradient = leaf.grad_remove(&mut gradients).expect("tracked");
        let gradient = gradient.into_data().try_to_vec().expect("float32");
        (loss.into_scalar(), gradient)
    }

    /// On the policy that sampled, with d = log p_ref − log p = 0.5: −d, beside a score in k1's whose mean
    /// is zero.
    #[test]
    fn a_corrected_estimate_has_the_slope_of_the_divergence() {
        let device = Device::flex().autodiff();
        for (kl, want) in [
            (KlEstimator::K1, 0.5),
            (KlEstimator::K2, -0.5),
            (KlEstimator::K3, -0.5),
            (KlEstimator::K1Plus, -0.5),
            (KlEstimator::K3Plus, -0.5),
        ] {
            let of = |value: f32| Tensor::<1>::from_floats([value], &device);
            let leaf = of(-1.0).require_grad();
            let tokens = PolicyTokens {
                old_logprobs: of(-1.0),
                reference_logprobs: Some(of(-0.5)),
                advantages: of(0.0),
                weights: of(1.0),
                keep: None,
                lengths: vec![1],
            };
            let options = PolicyGradientOptions {
                beta: 1.0,
                kl,
                use_bias_correction_kl: true,
                ..OPTIONS
            };
            let gradients = policy_gradient(leaf.clone(), &tokens, options).backward();
            let slope: f32 = leaf.grad(&gradients).expect("a leaf").into_scalar();
            assert!((slope - want).abs() < 1e-6, "{kl:?}: {slope}");
        }
    }

    fn loss_and_gradient(logprob: f32, old: f32, advantage: f32) -> (f32, f32) {
        let (loss, gradients) = loss_and_gradients(&[logprob], &[old], advantage, OPTIONS);
        (loss, gradients[0])
    }

    #[test]
    fn an_unchanged_policy_has_the_plain_policy_gradient() {
        // ρ = 1: loss −A, gradient −A, whatever the objective and the level.
        assert_eq!(loss_and_gradient(-1.0, -1.0, 0.5), (-0.5, -0.5));
        let sapo = PolicyObjective::Sapo {
            temperature_pos: 1.0,
            temperature_neg: 1.05,
        };
        let shape = |k, lambda| GammaShape { k, lambda };
        let vespo = PolicyObjective::Vespo {
            positive: shape(2.0, 3.0),
            negative: shape(3.0, 2.0),
        };
        for objective in [sapo, PolicyObjective::Cispo, vespo] {
            let options = PolicyGradientOptions {
                objective,
                epsilon_high: 5.0,
                ..OPTIONS
            };
            let (_, gradients) = loss_and_gradients(&[-1.0], &[-1.0], 0.5, options);
            assert!((gradients[0] + 0.5).abs() < 1e-6, "{objective:?}");
        }
    }

    #[test]
    fn a_ratio_beyond_its_bound_has_no_gradient_where_the_advantage_pushes_further() {
        let high = 1.5f32.ln();
        // A > 0, ρ = 1.5 > 1.3: −1.3·A, no gradient.
        let (loss, gradient) = loss_and_gradient(high - 1.0, -1.0, 1.0);
        assert!(
            (loss + 1.3).abs() < 1e-6 && gradient == 0.0,
            "{loss} {gradient}"
        );
        // A < 0, ρ = 1.5: the minimum takes the ratio itself, −ρ·A = 1.5, gradient 1.5.
        let (loss, gradient) = loss_and_gradient(high - 1.0, -1.0, -1.0);
        assert!((loss - 1.5).abs() < 1e-6 && (gradient - 1.5).abs() < 1e-6);
        // With δ = 1.4 that is 1.4, without a gradient.
        let options = PolicyGradientOptions {
            objective: PolicyObjective::Clip { delta: Some(1.4) },
            ..OPTIONS
        };
        let (loss, gradients) = loss_and_gradients(&[high - 1.0], &[-1.0], -1.0, options);
        assert!((loss - 1.4).abs() < 1e-6 && gradients == [0.0]);
    }

    #[test]
    fn a_completions_ratio_is_shared_by_its_tokens() {
        // Differences 0.1 and 0.3: the mean is 0.2, the sum 0.4.
        let (new, old) = ([-1.0, -1.0], [-1.1, -1.3]);
        for (level, exponent, slope) in [
            (ImportanceLevel::Sequence, 0.2f32, 0.5),
            (ImportanceLevel::Trajectory, 0.4, 1.0),
        ] {
            let options = PolicyGradientOptions {
                level,
                epsilon_high: 1.0,
                ..OPTIONS
            };
            let (loss, gradients) = loss_and_gradients(&new, &old, 1.0, options);
            let ratio = exponent.exp();
            assert!((loss + 2.0 * ratio).abs() < 1e-5, "{level:?}: {loss}");
            // d(−2ρ)/dl = −2·ρ·slope for each token.
            let want = -2.0 * ratio * slope;
            assert!(gradients.iter().all(|g| (g - want).abs() < 1e-5));
        }
    }

    #[test]
    fn statistics_count_what_was_clipped() {
        let stats = policy_gradient_stats(
            HostTokens {
                logprobs: &[0.0, 0.5, -0.5],
                old_logprobs: &[0.0; 3],
                reference_logprobs: Some(&[0.0, 0.5, 0.0]),
                advantages: &[1.0, 1.0, -1.0],
                lengths: &[2, 1],
            },
            OPTIONS,
        );
        assert_eq!(
            (stats.num_tokens, stats.clipped_low, stats.clipped_high),
            (3, 1, 1)
        );
        // d = 0, 0 and 0.5: e^0.5 − 1.5.
        assert!((stats.kl - (0.5f64.exp() - 1.5)).abs() < 1e-12);
    }

    #[test]
    fn what_the_off_policy_mask_leaves_out_is_counted_and_not_clipped() {
        // Means of log p_old − log p: 0.5 and 0.5 with a positive advantage, 0.1.
        let counts = |threshold| {
            let stats = policy_gradient_stats(
                HostTokens {
                    logprobs: &[-0.6, -0.4, -0.5, -0.1],
                    old_logprobs: &[0.0; 4],
                    reference_logprobs: None,
                    advantages: &[-1.0, -1.0, 1.0, -1.0],
                    lengths: &[2, 1, 1],
                },
                PolicyGradientOptions {
                    off_policy_mask_threshold: threshold,
                    ..OPTIONS
                },
            );
            (stats.num_tokens, stats.masked, stats.clipped_low)
        };
        assert_eq!(counts(None), (4, 0, 2));
        assert_eq!(counts(Some(0.2)), (4, 2, 0));
    }
}
