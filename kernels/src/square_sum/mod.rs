//! Σ x², for the global gradient norm.

mod cpu;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// The sum of squares of a tensor, accumulated in float64 on the CPU.
///
/// # Shapes
/// - x: `[values]`
/// - output: `[1]`
pub fn square_sum(x: Tensor<1>) -> Tensor<1> {
    if !crate::choice::cpu_fused(&x) {
        return x.square().sum();
    }
    Tensor::from_dispatch(<Dispatch as SquareSumOps>::square_sum(x.into_dispatch()))
}

/// The operation on a backend's own tensors.
#[backend_extension(Flex)]
pub(crate) trait SquareSumOps: Backend {
    fn square_sum(x: FloatTensor<Self>) -> FloatTensor<Self>;
}
