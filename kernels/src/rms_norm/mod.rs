//! Root-mean-square normalisation: `y = x / sqrt(mean(x²) + eps) · w`, or `· (1 + w)`.
//!
//! Zhang and Sennrich 2019 (arXiv 1910.07467). Gemma stores `w` as the difference from one.

mod backward;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use reference::{rms_norm as rms_norm_reference, rms_norm_add as rms_norm_add_reference};

/// What the stored weight multiplies by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormWeight {
    /// `w`: Qwen, Llama.
    Plain,
    /// `1 + w`: Gemma.
    OnePlus,
}

/// Normalises each row of `x`.
///
/// # Shapes
/// - x: `[rows, width]`
/// - weight: `[width]`
/// - output: `[rows, width]`, in x's dtype; the arithmetic is float32
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64, kind: NormWeight) -> Tensor<2> {
    if !crate::choice::fused(&x) {
        return reference::rms_norm(x, weight, eps, kind);
    }
    Tensor::from_dispatch(<Dispatch as RmsNormOps>::rms_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        eps,
        kind,
    ))
}

/// `residual + rms_norm(x)` in one pass: what follows a block's part where it is normalised before it is
/// added, as in Gemma 2. The norm is rounded to its dtype before the sum.
///
/// # Shapes
/// - residual, x and the output: `[rows, width]`, all in one dtype
/// - weight: `[width]`
pub fn rms_norm_add(
    residual: Tensor<2>,
    x: Tensor<2>,
    weight: Tensor<1>,
    eps: f64,
    kind: NormWeight,
) -> Tensor<2> {
    assert_eq!(
        residual.dims(),
        x.dims(),
        "what is added has the same shape"
    );
    assert_eq!(residual.dtype(), x.dtype(), "and the same dtype");
    if !crate::choice::fused(&x) {
        return reference::rms_norm_add(residual, x, weight, eps, kind);
    }
    Tensor::from_dispatch(<Dispatch as RmsNormOps>::rms_norm_add(
        residual.into_dispatch(),
        x.into_dispatch(),
        weight.into_dispatch(),
        eps,
        kind,
    ))
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait RmsNormOps: Backend {
    #[fusion(dtype = x, shape = x)]
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn rms_norm_add(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self>;

    /// The gradients of x and of the weight.
    #[fusion(meta = |x, weight, _grad, _eps, _kind| (x.clone(), weight.clone()))]
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}
