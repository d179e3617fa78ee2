use burn::tensor::Tensor;

/// Cross-entropy: −Σ weight · log p(target).
///
/// With the weight 1 / (supervised tokens of the optimizer step) on each supervised token and 0
/// elsewhere it is their mean negative log-likelihood.
///
/// # Shapes
/// - logprobs, weights: `[tokens]`
/// - output: `[1]`
pub fn cross_entropy(logprobs: Tensor<1>, weights: Tensor<1>) -> Tensor<1> {
    -(logprobs * weights).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn unsupervised_tokens_weigh_nothing() {
        let device = Device::flex();
        let logprobs = Tensor::from_floats([-1.0, -7.0, -3.0], &device);
        let weights = Tensor::from_floats([0.5, 0.0, 0.5], &device);
        // −(0.5·−1 + 0·−7 + 0.5·−3) = 2
        let loss: f32 = cross_entropy(logprobs, weights).into_scalar();
        assert_eq!(loss, 2.0);
    }
}
