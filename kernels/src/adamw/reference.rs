use burn::tensor::Tensor;

use super::AdamWStep;

/// The definition, in plain tensor operations.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    grad: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let grad = grad.mul_scalar(step.grad_scale);
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
    (parameter, [first, second])
}
