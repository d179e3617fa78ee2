//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) in one pass over a parameter, its gradient
//! and its two moments, in the order of operations of `torch.optim.AdamW`.

mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod eight_bit;
mod grad_scale;
mod reference;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};
use burn_backend::Shape;

pub use grad_scale::GradScale;
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
    /// Steps taken including this one, from 1.
    pub step: u64,
}

/// A parameter and its moments after one step, and, where `copy` is asked for, the new parameter rounded
/// to it, as a cast would: what a forward pass in half precision multiplies by. On GPUs all is written
/// in one pass.
///
/// # Shapes
/// - all: the parameter's
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    copy: Option<DType>,
    scale: &GradScale,
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2], Option<Tensor<D>>) {
    if !crate::choice::fused(&parameter) {
        let (parameter, moments) = reference::adamw(parameter, grad, moments, scale, step);
        let rounded = copy.map(|dtype| parameter.clone().cast(dtype));
        return (parameter, moments, rounded);
    }
    let [first, second] = moments;
    let (parameter, first, second, rounded) = <Dispatch as AdamWOps>::adamw(
        parameter.into_dispatch(),
        grad.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        scale.values().into_dispatch(),
        copy,
        step,
    );
    (
        Tensor::from_dispatch(parameter),
        [Tensor::from_dispatch(first), Tensor::from_dispatch(second)],
        copy.map(|_| Tensor::from_dispatch(rounded)),
    )
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"))]
pub(crate) trait AdamWOps: Backend {
    /// The parameter and both moments, in place where nothing else holds them, and the copy, which is as
    /// [`copy_shape`] says.
    #[fusion(meta = |parameter, _grad, first, second, _scale, copy, _step| {
        let shape = crate::adamw::copy_shape(*copy, &parameter.shape);
        let dtype = copy.unwrap_or(burn_backend::DType::F32);
        let copy = burn::backend::fusion::custom::TensorSpec::new(shape, dtype);
        (parameter.clone(), first.clone(), second.clone(), copy)
    })]
    fn adamw(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        copy: Option<DType>,
        step: AdamWStep,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}

/// Of the copy of a parameter on a GPU: a single value where none is asked for, which nobody reads.
pub(crate) fn copy_shape(copy: Option<DType>, parameter: &Shape) -> Shape {
    match copy {
        Some(_) => parameter.clone(),
        None => Shape::from(vec![1; parameter.num_dims()]),
    }
}

/// The numbers of a step as both implementations multiply by them.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    pub(crate) decay: f32,
    pub(crate) step_size: f32,
    pub(crate) root_correction: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) rest1: f32,
    pub(crate) rest2: f32,
    pub(crate) epsilon: f32,
}

impl Factors {
    /// A parameter and its moments, from itself, its clipped gradient and the moments before.
    #[inline(always)]
    pub(crate) fn update(self, parameter: f32, grad: f32, [first, second]: [f32; 2]) -> [f32; 3] {
        let first = self.beta1 * first + self.rest1 * grad;
        let second = self.beta2 * second + self.rest2 * (grad * grad);
        let denominator = second.sqrt() / self.root_correction + self.epsilon;
        let parameter = self.decay * parameter - self.step_size * (first / denominator);
        [parameter, first, second]
    }

    pub(crate) fn of(step: AdamWStep) -> Self {
        let correction1 = 1.0 - step.beta1.powf(step.step as f64);
        let correction2 = 1.0 - step.beta2.powf(step.step as f64);
        Factors {
            decay: (1.0 - step.learning_rate * step.weight_decay) as f32,
            step_size: (step.learning_rate / correction1) as f32,
            root_correction: correction2.sqrt() as f32,
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            rest1: (1.0 - step.beta1) as f32,
            rest2: (1.0 - step.beta2) as f32,
            epsilon: step.epsilon as f32,
        }
    }
}
