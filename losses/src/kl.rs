use burn::tensor::Tensor;

/// The k3 estimator of KL(policy ‖ reference) (Schulman 2020, "Approximating KL divergence"):
/// exp(d) − d − 1 with d = log p_ref − log p, unbiased under samples of the policy and never
/// negative.
///
/// # Shapes
/// - all: `[tokens]`
pub fn k3(logprobs: Tensor<1>, reference_logprobs: Tensor<1>) -> Tensor<1> {
    let difference = reference_logprobs - logprobs;
    difference.clone().exp() - difference - 1.0
}
