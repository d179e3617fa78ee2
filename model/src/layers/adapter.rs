use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};

use crate::Pass;

/// A low-rank adapter beside a linear layer: `scale · (x · Aᵀ) · Bᵀ` is added to what the layer makes
/// of x (LoRA, arXiv 2106.09685). There is no dropout.
#[derive(Module, Debug)]
pub struct Adapter {
    /// A: `[r, in]`.
    pub lora_a: Param<Tensor<2>>,
    /// B: `[out, r]`, zero in the beginning.
    pub lora_b: Param<Tensor<2>>,
    #[module(skip)]
    pub(crate) scale: f64,
}

impl Adapter {
    /// # Shapes
    /// - x: `[tokens, in]`, in the dtype of the computation
    /// - output: `[tokens, out]`
    pub(crate) fn forward(&self, x: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let dtype = x.dtype();
        let low = pass.linear(x, pass.matrix(&self.lora_a, dtype));
        let output = pass.linear(low, pass.matrix(&self.lora_b, dtype));
        output.mul_scalar(self.scale)
    }
}

/// `weight + scale · B · A`, in float32.
///
/// # Shapes
/// - weight and the output: `[out, in]`
/// - a: `[r, in]`
/// - b: `[out, r]`
pub(crate) fn merged(weight: Tensor<2>, [a, b]: [Tensor<2>; 2], scale: f64) -> Tensor<2> {
    weight.cast(FloatDType::F32) + b.matmul(a).mul_scalar(scale)
}
