//! A matmul for generation: a row of the result depends on its own row of input and on nothing
//! else, bit for bit, so a sample does not depend on the batch it ran in.
//!
//! Each implementation adds up a product in one order, whatever the number of rows.

mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod output;
mod reference;
#[cfg(test)]
mod tests;
mod tile;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

pub use reference::decode_linear as decode_linear_reference;

/// Rows of a product on a GPU in half precision, or a power of two times as many where blocks of so many
/// do not begin where a kernel can be given a buffer.
pub const DECODE_BLOCK: usize = 128;

/// `x · wᵀ`, row by row the same whatever the number of rows. Sums are float32; `dtype` is what they
/// are rounded to.
///
/// # Shapes
/// - x: `[rows, in]`
/// - weight: `[out, in]`
/// - output: `[rows, out]`
pub fn decode_linear(x: Tensor<2>, weight: Tensor<2>, dtype: DType) -> Tensor<2> {
    let [[_, width], [_, terms]] = [x.dims(), weight.dims()];
    assert_eq!(width, terms, "x and the weight's rows are as wide");
    if !crate::choice::fused(&x) {
        return reference::decode_linear(x, weight, dtype);
    }
    Tensor::from_dispatch(<Dispatch as DecodeLinearOps>::decode_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        dtype,
    ))
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"))]
pub(crate) trait DecodeLinearOps: Backend {
    #[fusion(dtype = *dtype, shape = burn_backend::Shape::from([x[0], weight[0]]))]
    fn decode_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dtype: DType,
    ) -> FloatTensor<Self>;
}
