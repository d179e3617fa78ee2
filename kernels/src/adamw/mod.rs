//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) in one pass over a parameter, its gradient
//! and its two moments, in the order of operations of `torch.optim.AdamW`.

mod cpu;
mod reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use reference::adamw as adamw_reference;

/// The numbers of one step, the same for every parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// What the gradient is multiplied by first: 1, or less where the global norm is clipped.
    pub grad_scale: f64,
    /// Steps taken including this one, from 1.
    pub step: u64,
}

/// A parameter and its moments after one step.
///
/// # Shapes
/// - all four: the parameter's
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    if !crate::choice::cpu_fused(&parameter) {
        return reference::adamw(parameter, grad, moments, step);
    }
    let [first, second] = moments;
    let (parameter, first, second) = <Dispatch as AdamWOps>::adamw(
        parameter.into_dispatch(),
        grad.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        step,
    );
    (
        Tensor::from_dispatch(parameter),
        [Tensor::from_dispatch(first), Tensor::from_dispatch(second)],
    )
}

/// The operation on a backend's own tensors.
#[backend_extension(Flex)]
pub(crate) trait AdamWOps: Backend {
    /// The parameter and both moments, in place where nothing else holds them.
    fn adamw(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}
