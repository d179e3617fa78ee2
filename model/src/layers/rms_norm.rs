use burn::module::{Module, Param};
use burn::tensor::Tensor;
use kernels::NormWeight;

use super::Weights;
use crate::Error;
use crate::config::ModelConfig;

/// Root-mean-square normalisation with the family's convention for the weight.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
    #[module(skip)]
    kind: NormWeight,
}

impl RmsNorm {
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        width: usize,
        config: &ModelConfig,
    ) -> Result<Self, Error> {
        let (kind, neutral) = if config.family.is_gemma() {
            (NormWeight::OnePlus, 0.0)
        } else {
            (NormWeight::Plain, 1.0)
        };
        Ok(RmsNorm {
            weight: weights.vector(&format!("{name}.weight"), width, neutral)?,
            eps: config.rms_norm_eps,
            kind,
        })
    }

    /// # Shapes
    /// - x and the output: `[tokens, width]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::rms_norm(x, self.weight.val(), self.eps, self.kind)
    }

    /// The normalised x added to `residual`.
    ///
    /// # Shapes
    /// - residual, x and the output: `[tokens, width]`
    pub fn add_to(&self, residual: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        kernels::rms_norm_add(residual, x, self.weight.val(), self.eps, self.kind)
    }

    /// Each head by itself.
    ///
    /// # Shapes
    /// - x and the output: `[tokens, heads, width]`
    pub fn forward_heads(&self, x: Tensor<3>) -> Tensor<3> {
        let [tokens, heads, width] = x.dims();
        self.forward(x.reshape([tokens * heads, width]))
            .reshape([tokens, heads, width])
    }
}
