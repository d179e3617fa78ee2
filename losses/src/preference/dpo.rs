//! Direct preference optimization and its kin: losses of how much more the policy prefers an answer
//! than its reference does.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, relu, sigmoid};

/// DPO: −(1 − ε)·log σ(β·m) − ε·log σ(−β·m)
///
/// where
/// - m is the margin: the chosen answer's log-ratio to the reference less the rejected one's, or
///   the difference of their [scores](super::divergence_scores) under another divergence; with
///   means over tokens in place of sums it is length-normalised DPO (Tülu 3, arXiv 2411.15124),
///   without a reference CPO (arXiv 2401.08417, equation 3);
/// - ε is the label smoothing of conservative DPO.
///
/// arXiv 2305.18290, equation 7; WPO is this loss times [`wpo_weight`](super::wpo_weight).
///
/// # Shapes
/// - margins and the output: `[pairs]`
pub fn dpo(margins: Tensor<1>, beta: f64, label_smoothing: f64) -> Tensor<1> {
    let logits = margins.mul_scalar(beta);
    if label_smoothing == 0.0 {
        return -log_sigmoid(logits);
    }
    -(log_sigmoid(logits.clone()).mul_scalar(1.0 - label_smoothing)
        + log_sigmoid(-logits).mul_scalar(label_smoothing))
}

/// Hinge: max(0, 1 − β·m) (SLiC, arXiv 2305.10425; RSO, arXiv 2309.06657).
///
/// # Shapes
/// - margins and the output: `[pairs]`
pub fn hinge(margins: Tensor<1>, beta: f64) -> Tensor<1> {
    relu(-margins.mul_scalar(beta) + 1.0)
}

/// IPO: (m̄ − 1 / (2β))², with m̄ the margin of the means over tokens (arXiv 2310.12036,
/// equation 17; the means are its authors' advice).
///
/// # Shapes
/// - mean_margins and the output: `[pairs]`
pub fn ipo(mean_margins: Tensor<1>, beta: f64) -> Tensor<1> {
    (mean_margins - 1.0 / (2.0 * beta)).powi_scalar(2)
}

/// Robust DPO: (−(1 − ε)·log σ(β·m) + ε·log σ(−β·m)) / (1 − 2ε), unbiased where a share ε < ½ of the
/// labels is flipped (arXiv 2403.00409).
///
/// # Shapes
/// - margins and the output: `[pairs]`
pub fn robust(margins: Tensor<1>, beta: f64, label_smoothing: f64) -> Tensor<1> {
    let logits = margins.mul_scalar(beta);
    let clean = -log_sigmoid(logits.clone()).mul_scalar(1.0 - label_smoothing);
    let flipped = -log_sigmoid(-logits).mul_scalar(label_smoothing);
    (clean - flipped).div_scalar(1.0 - 2.0 * label_smoothing)
}

/// EXO: KL(q ‖ p) of q = σ(±β·m) to the labels p = (1 − ε, ε) (arXiv 2402.00856, equation 16).
///
/// # Shapes
/// - margins and the output: `[pairs]`
///
/// # Panics
/// Unless 0 < ε < 1.
pub fn exo(margins: Tensor<1>, beta: f64, label_smoothing: f64) -> Tensor<1> {
    assert!(
        label_smoothing > 0.0 && label_smoothing < 1.0,
        "EXO's labels are smooth: {label_smoothing}"
    );
    let logits = margins.mul_scalar(beta);
    let term = |logits: Tensor<1>, p: f64| sigmoid(logits.clone()) * (log_sigmoid(logits) - p.ln());
    term(logits.clone(), 1.0 - label_smoothing) + term(-logits, label_smoothing)
}

/// DiscoPOP: (1 − s)·(−log σ(x)) + s·exp(−x) with x = β·m and s = σ(x / τ) (arXiv 2406.08414,
/// equation 5).
///
/// # Shapes
/// - margins and the output: `[pairs]`
pub fn discopop(margins: Tensor<1>, beta: f64, tau: f64) -> Tensor<1> {
    let logits = margins.mul_scalar(beta);
    let share = sigmoid(logits.clone().div_scalar(tau));
    -log_sigmoid(logits.clone()) * (-share.clone() + 1.0) + (-logits).exp() * share
}

/// NCA: −log σ(β·w) − ½·log σ(−β·w) − ½·log σ(−β·l), of the chosen log-ratio w and the rejected l
/// (arXiv 2402.05369).
///
/// # Shapes
/// - chosen, rejected and the output: `[pairs]`
pub fn nca(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
    let [w, l] = [chosen, rejected].map(|ratios| ratios.mul_scalar(beta));
    -log_sigmoid(w.clone()) - (log_sigmoid(-w) + log_sigmoid(-l)).mul_scalar(0.5)
}

/// BCO on pairs: −log σ(β·w) − log σ(−β·l) (arXiv 2404.04656, without its running shift).
///
/// # Shapes
/// - chosen, rejected and the output: `[pairs]`
pub fn bco(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
    -log_sigmoid(chosen.mul_scalar(beta)) - log_sigmoid(-rejected.mul_scalar(beta))
}

/// SPPO with hard labels: (w − 1/(2β))² + (l + 1/(2β))² (arXiv 2405.00675, equation 4.7 with the
/// winner's probability 1).
///
/// # Shapes
/// - chosen, rejected and the output: `[pairs]`
pub fn sppo_hard(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
    let half = 0.5 / beta;
    (chosen - half).powi_scalar(2) + (rejected + half).powi_scalar(2)
}

/// APO-zero: 1 − σ(β·w) + σ(β·l), for answers better than the model's own (arXiv 2408.06266,
/// equation 7).
///
/// # Shapes
/// - chosen, rejected and the output: `[pairs]`
pub fn apo_zero(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
    let [w, l] = [chosen, rejected].map(|ratios| sigmoid(ratios.mul_scalar(beta)));
    l - w + 1.0
}

/// APO-down: σ(β·w) + 1 − σ(β·(w − l)), for answers worse than the model's own (arXiv 2408.06266,
/// equation 8).
///
/// # Shapes
/// - chosen, rejected and the output: `[pairs]`
pub fn apo_down(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
    let margins = (chosen.clone() - rejected).mul_scalar(beta);
    sigmoid(chosen.mul_scalar(beta)) - sigmoid(margins) + 1.0
}

/// AOT: [`dpo`] of the differences of two sorted lists, so that it compares distributions and not
/// answers (arXiv 2406.05882). Paired: the margins of the policy and of the reference; unpaired: the
/// log-ratios of the chosen and of the rejected answers.
///
/// # Shapes
/// - upper, lower and the output: `[pairs]`, all pairs of the step
pub fn aot(upper: Tensor<1>, lower: Tensor<1>, beta: f64, label_smoothing: f64) -> Tensor<1> {
    let [upper, lower] = [upper, lower].map(|values| {
        let order = values.clone().detach().argsort(0);
        values.select(0, order)
    });
    dpo(upper - lower, beta, label_smoothing)
}
