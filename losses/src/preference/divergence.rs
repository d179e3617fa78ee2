use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

/// The divergence that holds the policy to its reference. Names are TRL's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FDivergence {
    /// KL(policy ‖ reference): plain DPO.
    ReverseKl,
    /// KL(reference ‖ policy).
    ForwardKl,
    /// Jensen-Shannon.
    JsDivergence,
    /// The α-divergence of this α; 1 is the reverse KL.
    AlphaDivergence(f64),
}

/// exp of more than this is not finite in float32 after a few sums.
const MAX_EXPONENT: f64 = 80.0;

/// f′ of the ratio of policy to reference: what takes the log-ratio's place in DPO under another
/// divergence (arXiv 2309.16240, table 1), so that it is 0 at the reference.
///
/// With d the log-ratio: d; 1 − exp(−d); ln 2 + log σ(d); (exp((α − 1)·d) − 1) / (α − 1).
///
/// # Shapes
/// - logratios and the output: `[pairs]`
pub fn divergence_scores(logratios: Tensor<1>, divergence: FDivergence) -> Tensor<1> {
    match divergence {
        FDivergence::ReverseKl => logratios,
        FDivergence::ForwardKl => -(-logratios).clamp_max(MAX_EXPONENT).exp() + 1.0,
        FDivergence::JsDivergence => log_sigmoid(logratios) + std::f64::consts::LN_2,
        FDivergence::AlphaDivergence(alpha) if (alpha - 1.0).abs() < 1e-6 => logratios,
        FDivergence::AlphaDivergence(alpha) => {
            let exponent = logratios.mul_scalar(alpha - 1.0).clamp_max(MAX_EXPONENT);
            (exponent.exp() - 1.0).div_scalar(alpha - 1.0)
        }
    }
}
