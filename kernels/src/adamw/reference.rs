use burn::tensor::Tensor;

use super::{AdamWStep, GradScale};

/// The definition, in plain tensor operations.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    scale: &GradScale,
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let factor = scale.factor().cast(grad.dtype()).reshape([1; D]);
    let is_left_out = factor.clone().lower_elem(0.0).expand(grad.shape());
    let before = [&parameter, &moments[0], &moments[1]].map(Tensor::clone);
    let [first, second] = moments;
    let grad = grad * factor;
    let first = first.mul_scalar(step.beta1) + grad.clone().mul_scalar(1.0 - step.beta1);
    let second = second.mul_scalar(step.beta2) + grad.square().mul_scalar(1.0 - step.beta2);
    let correction1 = 1.0 - step.beta1.powf(step.step as f64);
    let correction2 = 1.0 - step.beta2.powf(step.step as f64);
    let denominator = second
        .clone()
        .sqrt()
        .div_scalar(correction2.sqrt())
        .add_scalar(step.epsilon);
    let update = first
        .clone()
        .div(denominator)
        .mul_scalar(step.learning_rate / correction1);
    let parameter = parameter.mul_scalar(1.0 - step.learning_rate * step.weight_decay) - update;
    let mut after = [parameter, first, second].into_iter().zip(before);
    let [parameter, first, second] = std::array::from_fn(|_| {
        let (after, before) = after.next().expect("three tensors");
        after.mask_where(is_left_out.clone(), before)
    });
    (parameter, [first, second])
}
