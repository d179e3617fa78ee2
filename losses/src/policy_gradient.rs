use burn::tensor::Tensor;

use crate::k3;

/// The knobs of the clipped policy gradient. Names are TRL's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyGradientOptions {
    /// The ratio is clipped from below at 1 − epsilon.
    pub epsilon: f64,
    /// And from above at 1 + epsilon_high.
    pub epsilon_high: f64,
    /// Weight of the KL term; 0 for none.
    pub beta: f64,
}

/// The clipped policy-gradient loss of the GRPO family:
///
/// Σ w · (−min(ρ·A, clip(ρ, 1 − ε, 1 + ε_high)·A) + β·k3)
///
/// where
/// - ρ = exp(log p − log p_old), the ratio to the policy that sampled;
/// - A is the advantage of the token's completion;
/// - w is the token's weight, from [`Denominator`](crate::Denominator);
/// - k3 is the estimate of the divergence from the reference, see [`k3`].
///
/// PPO, arXiv 1707.06347, equation 7; GRPO, arXiv 2402.03300, equation 3; the separate upper bound
/// is DAPO's clip-higher, arXiv 2503.14476. Where the sampling policy is the current one, pass the
/// log-probabilities themselves, detached, as the old ones: the ratio is 1 and its gradient is not.
///
/// # Shapes
/// - all tensors: `[tokens]`
/// - output: `[1]`
pub fn policy_gradient(
    logprobs: Tensor<1>,
    old_logprobs: Tensor<1>,
    reference_logprobs: Option<Tensor<1>>,
    advantages: Tensor<1>,
    weights: Tensor<1>,
    options: PolicyGradientOptions,
) -> Tensor<1> {
    let ratio = (logprobs.clone() - old_logprobs).exp();
    let clipped = ratio
        .clone()
        .clamp(1.0 - options.epsilon, 1.0 + options.epsilon_high);
    let objective = (ratio * advantages.clone()).min_pair(clipped * advantages);
    let per_token = match reference_logprobs {
        Some(reference) if options.beta != 0.0 => {
            -objective + k3(logprobs, reference).mul_scalar(options.beta)
        }
        _ => -objective,
    };
    (per_token * weights).sum()
}

/// Sums over the tokens of a batch, from which the logged means follow. They add up over
/// micro-batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PolicyGradientStats {
    /// Tokens in the loss.
    pub num_tokens: usize,
    /// Tokens whose ratio was clipped from below, at a negative advantage.
    pub clipped_low: usize,
    /// Tokens whose ratio was clipped from above, at a positive advantage.
    pub clipped_high: usize,
    /// Σ k3 to the reference; 0 without one.
    pub kl: f64,
    /// Σ |log p − log p_old|.
    pub logprob_difference: f64,
}

/// Counts over the tokens of weight other than 0.
pub fn policy_gradient_stats(
    logprobs: &[f32],
    old_logprobs: &[f32],
    reference_logprobs: Option<&[f32]>,
    advantages: &[f32],
    in_loss: &[bool],
    options: PolicyGradientOptions,
) -> PolicyGradientStats {
    let mut stats = PolicyGradientStats::default();
    for token in (0..logprobs.len()).filter(|&token| in_loss[token]) {
        let difference = f64::from(logprobs[token]) - f64::from(old_logprobs[token]);
        let ratio = difference.exp();
        stats.num_tokens += 1;
        let advantage = advantages[token];
        stats.clipped_low += usize::from(ratio < 1.0 - options.epsilon && advantage < 0.0);
        stats.clipped_high += usize::from(ratio > 1.0 + options.epsilon_high && advantage > 0.0);
        stats.logprob_difference += difference.abs();
        if let Some(reference) = reference_logprobs {
            let d = f64::from(reference[token]) - f64::from(logprobs[token]);
            stats.kl += d.exp_m1() - d;
        }
    }
    stats
}

impl PolicyGradientStats {
    /// The sums over both.
    pub fn plus(self, other: Self) -> Self {
        PolicyGradientStats {
            num_tokens: self.num_tokens + other.num_tokens,
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
        epsilon: 0.2,
        epsilon_high: 0.3,
        beta: 0.0,
    };

    fn loss_and_gradient(logprob: f32, old: f32, advantage: f32) -> (f32, f32) {
        let device = Device::flex().autodiff();
        let leaf = Tensor::<1>::from_floats([logprob], &device).require_grad();
        let constant = |value: f32| Tensor::<1>::from_floats([value], &device);
        let loss = policy_gradient(
            leaf.clone(),
            constant(old),
            None,
            constant(advantage),
            constant(1.0),
            OPTIONS,
        );
        let mut gradients = loss.backward();
        let gradient = leaf
            .grad_remove(&mut gradients)
            .expect("the leaf is tracked");
        (loss.into_scalar(), gradient.into_scalar())
    }

    #[test]
    fn an_unchanged_policy_has_the_plain_policy_gradient() {
        // ρ = 1: loss −A, gradient −A.
        assert_eq!(loss_and_gradient(-1.0, -1.0, 0.5), (-0.5, -0.5));
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
    }

    #[test]
    fn statistics_count_what_was_clipped() {
        let stats = policy_gradient_stats(
            &[0.0, 0.5, -0.5, 0.5],
            &[0.0; 4],
            Some(&[0.0, 0.5, 0.0, 0.0]),
            &[1.0, 1.0, -1.0, 1.0],
            &[true, true, true, false],
            OPTIONS,
        );
        assert_eq!(
            (stats.num_tokens, stats.clipped_low, stats.clipped_high),
            (3, 1, 1)
        );
        // d = 0, 0 and 0.5: e^0.5 − 1.5.
        assert!((stats.kl - (0.5f64.exp() - 1.5)).abs() < 1e-12);
    }
}
