//! A linear layer's product: float32 is float32 on every device, and the gradient of the weight comes
//! in the weight's own layout.
//!
//! burn's matmul rounds float32 to TF32, ten bits, where a GPU has the instruction, and the gradient
//! of a weight that was transposed is a transposed one, which whoever reads it next has to copy.

mod backward;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use reference::linear as linear_reference;

/// `x · wᵀ`.
///
/// # Shapes
/// - x: `[rows, in]`
/// - weight: `[out, in]`
/// - output: `[rows, out]`
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    if !crate::choice::fused(&x) {
        return reference::linear(x, weight);
    }
    Tensor::from_dispatch(<Dispatch as LinearOps>::linear(
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait LinearOps: Backend {
    #[fusion(dtype = x, shape = burn_backend::Shape::from([x[0], weight[0]]))]
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of x: grad · w.
    #[fusion(dtype = grad, shape = burn_backend::Shape::from([grad[0], weight[1]]))]
    fn linear_backward_x(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of the weight: gradᵀ · x.
    #[fusion(dtype = grad, shape = burn_backend::Shape::from([grad[1], x[1]]))]
    fn linear_backward_weight(grad: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;
}
