//! What keeps completions that the policy has moved away from from steering it.

use burn::tensor::Tensor;

use crate::policy_gradient::{ImportanceLevel, at_level};

/// φ's exponents: `k` says how fast it falls towards a ratio of 0, `lambda` how fast above 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GammaShape {
    /// The power of the ratio.
    pub k: f64,
    /// The rate of the exponential.
    pub lambda: f64,
}

/// A token's log-ratio counts up to this.
const MAX_LOG_RATIO: f64 = 20.0;
/// The smallest ratio of a completion, as in the authors' code.
const MIN_RATIO: f64 = 1e-8;
const MIN_LAMBDA: f64 = 1e-4;

/// VESPO's weight of a completion: φ(w) = exp(λ)·wᵏ·exp(−λ·w), which is 1 at w = 1 (arXiv 2602.10693).
///
/// where
/// - w is the ratio of the whole completion, the product of its tokens' ratios;
/// - (k, λ) is `positive` for advantages from 0 on and `negative` below.
///
/// It is a constant of the loss. Ratios are bounded as in the authors' code: a token's log-ratio to
/// ±20, a completion's ratio to 1e-8 and e²⁰. Unlike TRL's, a weight that is no number stays NaN.
///
/// # Shapes
/// - log_ratios, advantages and the output: `[tokens]`
pub fn gamma_weights(
    log_ratios: Tensor<1>,
    advantages: Tensor<1>,
    lengths: &[usize],
    positive: GammaShape,
    negative: GammaShape,
) -> Tensor<1> {
    let clamped = log_ratios.detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO);
    let log_w = at_level(clamped, lengths, ImportanceLevel::Trajectory);
    let log_w = log_w.clamp(MIN_RATIO.ln(), MAX_LOG_RATIO);
    let w = log_w.clone().exp();
    let of = |shape: GammaShape| {
        let lambda = shape.lambda.max(MIN_LAMBDA);
        let log_phi = log_w.clone().mul_scalar(shape.k) - (w.clone() - 1.0).mul_scalar(lambda);
        log_phi.exp()
    };
    let is_positive = advantages.greater_equal_elem(0.0);
    of(negative).mask_where(is_positive, of(positive))
}

/// The off-policy sequence mask of DeepSeek-V3.2 (arXiv 2512.02556, equation 9): 0 for the tokens of a
/// completion with a negative advantage whose mean of log p_old − log p is above `threshold`, 1 for all
/// others.
///
/// # Shapes
/// - log_ratios (log p − log p_old), advantages and the output: `[tokens]`
pub fn off_policy_mask(
    log_ratios: Tensor<1>,
    advantages: Tensor<1>,
    lengths: &[usize],
    threshold: f64,
) -> Tensor<1> {
    let divergence = -at_level(log_ratios.detach(), lengths, ImportanceLevel::Sequence);
    let dropped = advantages
        .lower_elem(0.0)
        .bool_and(divergence.greater_elem(threshold));
    dropped.bool_not().float()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn tensor(values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    fn host(values: Tensor<1>) -> Vec<f32> {
        values.into_data().try_to_vec().expect("float32")
    }

    #[test]
    fn gamma_weights_worked_by_hand() {
        let positive = GammaShape {
            k: 2.0,
            lambda: 3.0,
        };
        let negative = GammaShape {
            k: 3.0,
            lambda: 2.0,
        };
        // Completions of log-ratio 0.1 + 0.1 = ln w, w = 1.2214028, and −0.5, w = 0.6065307.
        // A = 1:  exp(2·0.2 − 3·0.2214028) = exp(−0.2642083) = 0.7678136
        // A = −1: exp(3·(−0.5) − 2·(−0.3934693)) = exp(−0.7130613) = 0.4901415
        let weights = gamma_weights(
            tensor(&[0.1, 0.1, -0.5]),
            tensor(&[1.0, 1.0, -1.0]),
            &[2, 1],
            positive,
            negative,
        );
        for (got, want) in host(weights)
            .into_iter()
            .zip([0.767_813_6, 0.767_813_6, 0.490_141_5])
        {
            assert!((got - want).abs() < 1e-6, "{got} for {want}");
        }
        // On the policy that sampled it is 1, and far from it 0, not a NaN.
        let weights = gamma_weights(
            tensor(&[0.0, 15.0, 15.0]),
            tensor(&[0.0, 1.0, 1.0]),
            &[1, 2],
            positive,
            negative,
        );
        assert_eq!(host(weights), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_bad_completion_that_the_policy_has_left_is_masked() {
        // Means of log p_old − log p: 0.3, 0.3 with a positive advantage, 0.1.
        let mask = off_policy_mask(
            tensor(&[-0.2, -0.4, -0.3, -0.1]),
            tensor(&[-1.0, -1.0, 1.0, -1.0]),
            &[2, 1, 1],
            0.2,
        );
        assert_eq!(host(mask), [0.0, 0.0, 1.0, 1.0]);
    }
}
