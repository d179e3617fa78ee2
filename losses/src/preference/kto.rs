//! KTO (arXiv 2402.01306, equation 8): answers by themselves, judged against how far the policy has
//! moved from its reference on the whole, z = max(0, mean log-ratio of answers to other prompts).

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

/// 1 − σ(β·(d − z)), for good answers.
///
/// # Shapes
/// - logratios and the output: `[answers]`
pub fn kto_desirable(logratios: Tensor<1>, z: f64, beta: f64) -> Tensor<1> {
    -sigmoid((logratios - z).mul_scalar(beta)) + 1.0
}

/// 1 − σ(β·(z − d)), for bad ones.
///
/// # Shapes
/// - logratios and the output: `[answers]`
pub fn kto_undesirable(logratios: Tensor<1>, z: f64, beta: f64) -> Tensor<1> {
    -sigmoid((-logratios + z).mul_scalar(beta)) + 1.0
}
