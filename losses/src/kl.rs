use burn::tensor::Tensor;

/// How the divergence from the reference is estimated of a sampled token, with
/// d = log p_ref − log p (Schulman 2020, "Approximating KL divergence").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KlEstimator {
    /// −d: unbiased, and negative now and then. As a loss on the policy's own samples its expected
    /// gradient is zero; it belongs into the reward.
    K1,
    /// d² / 2: biased, with the gradient of the divergence.
    K2,
    /// exp(d) − d − 1: unbiased and never negative.
    K3,
    /// The value of k1 with the gradient of k2, which is that of the divergence.
    K1Plus,
    /// The value of k3 with the gradient of k2.
    K3Plus,
}

/// An estimate of KL(policy ‖ reference) of each token.
///
/// # Shapes
/// - all: `[tokens]`
pub fn kl(logprobs: Tensor<1>, reference_logprobs: Tensor<1>, estimator: KlEstimator) -> Tensor<1> {
    let difference = reference_logprobs - logprobs;
    let k2 = || difference.clone().powi_scalar(2).div_scalar(2.0);
    let k3 = || difference.clone().exp() - difference.clone() - 1.0;
    let with_its_gradient = |value: Tensor<1>| value.detach() + (k2() - k2().detach());
    match estimator {
        KlEstimator::K1 => -difference,
        KlEstimator::K2 => k2(),
        KlEstimator::K3 => k3(),
        KlEstimator::K1Plus => with_its_gradient(-difference.clone()),
        KlEstimator::K3Plus => with_its_gradient(k3()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn estimates_worked_by_hand() {
        // d = 0.5: −0.5, 0.125, e^0.5 − 1.5.
        let device = Device::flex();
        for (estimator, want) in [
            (KlEstimator::K1, -0.5),
            (KlEstimator::K2, 0.125),
            (KlEstimator::K3, 0.148_721_3),
            (KlEstimator::K1Plus, -0.5),
            (KlEstimator::K3Plus, 0.148_721_3),
        ] {
            let of = |value: f32| Tensor::<1>::from_floats([value], &device);
            let got: f32 = kl(of(-1.0), of(-0.5), estimator).into_scalar();
            assert!((got - want).abs() < 1e-6, "{estimator:?}: {got}");
        }
    }
    #[test]
    fn slopes_worked_by_hand() {
        // By log p, of d = 0.5: 1, −d, 1 − e^d.
        let device = Device::flex().autodiff();
        for (estimator, want) in [
            (KlEstimator::K1, 1.0),
            (KlEstimator::K2, -0.5),
            (KlEstimator::K3, -0.648_721_3),
            (KlEstimator::K1Plus, -0.5),
            (KlEstimator::K3Plus, -0.5),
        ] {
            let of = |value: f32| Tensor::<1>::from_floats([value], &device);
            let logprob = of(-1.0).require_grad();
            let gradients = kl(logprob.clone(), of(-0.5), estimator).backward();
            let slope: f32 = logprob
                .grad(&gradients)
                .expect("it is a leaf")
                .into_scalar();
            assert!((slope - want).abs() < 1e-6, "{estimator:?}: {slope}");
        }
    }
}
