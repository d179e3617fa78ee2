use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn_backend::{Backend, TensorMetadata};

use super::EmbeddingOps;

impl<B: Backend + EmbeddingOps, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C> {
    fn embedding(weight: FloatTensor<Self>, ids: Arc<[u32]>, scale: f32) -> FloatTensor<Self> {
        let node = weight.node();
        let weight = weight.into_primitive();
        let vocab = weight.shape()[0];
        let output = <B as EmbeddingOps>::embedding(weight, ids.clone(), scale);
        match Embedding.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((ids, scale, vocab), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn embedding_backward(
        _grad: FloatTensor<Self>,
        _ids: Arc<[u32]>,
        _scale: f32,
        _vocab: usize,
    ) -> FloatTensor<Self> {
        unreachable!("the backward runs on the backend below autodiff")
    }
}

#[derive(Debug)]
struct Embedding;

impl<B: Backend + EmbeddingOps> Backward<B, 1> for Embedding {
    type State = (Arc<[u32]>, f32, usize);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (ids, scale, vocab) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            <B as EmbeddingOps>::embedding_backward(grad, ids, scale, vocab)
        });
    }
}
