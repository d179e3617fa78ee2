//! Losses that know no reference. CPO itself is [`dpo`](super::dpo), [`hinge`](super::hinge) or
//! [`ipo`](super::ipo) of the answers' own log-probabilities, with a term of cross-entropy.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

use super::dpo;

/// SimPO: −log σ(β·(l̄_w − l̄_l) − γ), of the mean log-probabilities (arXiv 2405.14734, equation 6).
///
/// # Shapes
/// - mean_margins and the output: `[pairs]`
pub fn simpo(mean_margins: Tensor<1>, beta: f64, gamma: f64, label_smoothing: f64) -> Tensor<1> {
    dpo(mean_margins - gamma / beta, beta, label_smoothing)
}

/// exp of more than this is not finite in float32 after a few sums.
const MAX_EXPONENT: f64 = 80.0;

/// AlphaPO's reward in the place of a log-probability: (1 − p^(−α)) / α, which is log p at α = 0
/// (arXiv 2501.03884, equation 6). The loss is [`simpo`] of its differences, p the geometric mean of
/// an answer's token probabilities.
///
/// # Shapes
/// - logprobs and the output: `[answers]`
pub fn alphapo_rewards(logprobs: Tensor<1>, alpha: f64) -> Tensor<1> {
    if alpha == 0.0 {
        return logprobs;
    }
    let exponent = logprobs.mul_scalar(-alpha).clamp_max(MAX_EXPONENT);
    (-exponent.exp() + 1.0).div_scalar(alpha)
}

/// The odds-ratio term of ORPO: −β·log σ(log odds(w) − log odds(l)), where odds(y) = p / (1 − p) of
/// the geometric mean p of an answer's token probabilities (arXiv 2403.07691, equations 4 and 7).
/// The whole loss adds the chosen answer's cross-entropy.
///
/// # Shapes
/// - chosen and rejected, mean log-probabilities, and the output: `[pairs]`
pub fn orpo(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
    let log_odds = chosen.clone() - rejected.clone() - (log1mexp(chosen) - log1mexp(rejected));
    -log_sigmoid(log_odds).mul_scalar(beta)
}

/// log(1 − exp(x)) for x < 0. Below −ln 2 the logarithm is taken near 1 and above it near 0, where
/// exp(x) − 1 needs its own series in float32.
fn log1mexp(x: Tensor<1>) -> Tensor<1> {
    let x = x.clamp_max(-1e-7);
    let small = x.clone().greater_elem(-std::f32::consts::LN_2);
    // Each branch only sees where it is used, so that the other has no infinite gradient.
    let far = x.clone().mask_fill(small.clone(), -1.0);
    let near = x.mask_fill(small.clone().bool_not(), -0.1);
    let far = (-far.exp()).log1p();
    let near = one_minus_exp(near).log();
    far.mask_where(small, near)
}

/// 1 − exp(x) for −ln 2 < x < 0, as −2·exp(x/2)·sinh(x/2), free of cancellation.
fn one_minus_exp(x: Tensor<1>) -> Tensor<1> {
    let half = x.div_scalar(2.0);
    -(half.clone().exp() * half.sinh()).mul_scalar(2.0)
}

/// ARPO, the preference term of X-ALMA (arXiv 2410.03115): −log σ(β·(w − τ·l)) of the
/// log-probabilities, where τ = min(0.9·exp(0.4·|w̄ − l̄|) − 1, 1) takes the rejected answer less to
/// task the nearer it is to the chosen one. The whole loss adds the chosen answer's cross-entropy.
///
/// Where we differ from the paper's code: τ is a constant to the gradient, as the paper writes it.
///
/// # Shapes
/// - all: `[pairs]`
pub fn arpo(
    [chosen, rejected]: [Tensor<1>; 2],
    [mean_chosen, mean_rejected]: [Tensor<1>; 2],
    beta: f64,
    label_smoothing: f64,
) -> Tensor<1> {
    let distance = (mean_chosen - mean_rejected).abs();
    let tau = distance.mul_scalar(0.4).exp().mul_scalar(0.9) - 1.0;
    let tau = tau.clamp_max(1.0).detach();
    dpo(chosen - tau * rejected, beta, label_smoothing)
}
