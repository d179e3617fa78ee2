use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::Weights;
use crate::Error;

/// The token embeddings.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocab, width]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    pub(crate) fn load(weights: &Weights, name: &str, shape: [usize; 2]) -> Result<Self, Error> {
        Ok(Embedding {
            weight: weights.matrix(&format!("{name}.weight"), shape)?,
        })
    }

    /// # Shapes
    /// - output: `[tokens, width]`
    pub fn forward(&self, ids: &Arc<[u32]>, scale: f32) -> Tensor<2> {
        kernels::embedding(self.weight.val(), ids, scale)
    }
}
