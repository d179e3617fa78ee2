use burn::backend::tensor::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::Backend;

use super::{AttentionOps, AttentionOptions};
use crate::Segments;

impl<B: Backend + AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let [q, k, v] = [q, k, v].map(|x| x.into_primitive());
        let (output, logsumexp) =
            B::attention_forward(q.clone(), k.clone(), v.clone(), segments.clone(), options);
        match Attention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let tensors = [q, k, v, output.clone(), logsumexp];
                prep.finish((tensors, segments, options), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn attention_forward(
        _q: FloatTensor<Self>,
        _k: FloatTensor<Self>,
        _v: FloatTensor<Self>,
        _segments: Segments,
        _options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("`attention` is the differentiable form")
    }

    fn attention_backward(
        _q: FloatTensor<Self>,
        _k: FloatTensor<Self>,
        _v: FloatTensor<Self>,
        _output: FloatTensor<Self>,
        _logsumexp: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _segments: Segments,
        _options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the backward runs on the backend below autodiff")
    }
}

#[derive(Debug)]
struct Attention;

impl<B: Backend + AttentionOps> Backward<B, 3> for Attention {
    /// q, k, v, output, log-sum-exp.
    type State = ([FloatTensor<B>; 5], Segments, AttentionOptions);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let ([q, k, v, output, logsumexp], segments, options) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let (grad_q, grad_k, grad_v) =
            B::attention_backward(q, k, v, output, logsumexp, grad, segments, options);
        for (node, grad) in ops.parents.into_iter().zip([grad_q, grad_k, grad_v]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}
