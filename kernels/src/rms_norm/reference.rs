use burn::tensor::{DType, FloatDType, Tensor};

use super::NormWeight;

/// The definition, in plain tensor operations: float32 inside, x's dtype outside. Gemma multiplies
/// by the weight before casting down, Qwen after.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64, kind: NormWeight) -> Tensor<2> {
    let dtype = x.dtype();
    let [_, width] = x.dims();
    let x = upcast(x);
    let mean_square = x.clone().square().mean_dim(1);
    let normal = x.div(mean_square.add_scalar(eps).sqrt());
    let weight = weight.reshape([1, width]);
    match kind {
        NormWeight::OnePlus => downcast(normal.mul(upcast(weight).add_scalar(1.0)), dtype),
        NormWeight::Plain => downcast(normal, dtype).mul(downcast(weight, dtype)),
    }
}

/// The same added to a residual.
pub fn rms_norm_add(
    residual: Tensor<2>,
    x: Tensor<2>,
    weight: Tensor<1>,
    eps: f64,
    kind: NormWeight,
) -> Tensor<2> {
    residual + rms_norm(x, weight, eps, kind)
}

/// Half precision to float32; float64 stays, for tests against it.
pub(crate) fn upcast<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(FloatDType::F32),
        _ => x,
    }
}

fn downcast<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}
