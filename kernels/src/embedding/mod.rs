//! The look-up of token embeddings, scaled.

mod backward;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use reference::embedding as embedding_reference;

/// Row `ids[t]` of the table, times `scale`, for each token t.
///
/// # Shapes
/// - weight: `[vocab, width]`
/// - output: `[tokens, width]`
///
/// # Panics
/// On an id outside the vocabulary.
pub fn embedding(weight: Tensor<2>, ids: &Arc<[u32]>, scale: f32) -> Tensor<2> {
    let [vocab, _] = weight.dims();
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
        panic!("token id {id} in a vocabulary of {vocab}");
    }
    if !crate::choice::fused(&weight) {
        return reference::embedding(weight, ids, scale);
    }
    Tensor::from_dispatch(<Dispatch as EmbeddingOps>::embedding(
        weight.into_dispatch(),
        ids.clone(),
        scale,
    ))
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait EmbeddingOps: Backend {
    #[fusion(dtype = weight, shape = burn_backend::Shape::from([ids.len(), weight[1]]))]
    fn embedding(weight: FloatTensor<Self>, ids: Arc<[u32]>, scale: f32) -> FloatTensor<Self>;

    /// The gradient of the table: for each row the sum over its tokens, in their order.
    #[fusion(dtype = burn_backend::DType::F32, shape = burn_backend::Shape::from([*vocab, grad[1]]))]
    fn embedding_backward(
        grad: FloatTensor<Self>,
        ids: Arc<[u32]>,
        scale: f32,
        vocab: usize,
    ) -> FloatTensor<Self>;
}
