use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::Backend;

use super::{LinearLogprobsOps, LogprobsOptions};

impl<B: Backend + LinearLogprobsOps, C: CheckpointStrategy> LinearLogprobsOps for Autodiff<B, C> {
    fn linear_logprobs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> FloatTensor<Self> {
        let nodes = [hidden.node(), head.node()];
        let (hidden, head) = (hidden.into_primitive(), head.into_primitive());
        let columns = B::linear_logprobs(hidden.clone(), head.clone(), targets.clone(), options);
        match LinearLogprobs
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let state = ([hidden, head, columns.clone()], targets, options);
                prep.finish(state, columns)
            }
            OpsKind::UnTracked(prep) => prep.finish(columns),
        }
    }

    fn linear_logprobs_backward(
        _hidden: FloatTensor<Self>,
        _head: FloatTensor<Self>,
        _columns: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _targets: Arc<[u32]>,
        _options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the backward runs on the backend below autodiff")
    }

    fn linear_logprobs_backward_hidden(
        _hidden: FloatTensor<Self>,
        _head: FloatTensor<Self>,
        _columns: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _targets: Arc<[u32]>,
        _options: LogprobsOptions,
    ) -> FloatTensor<Self> {
        unreachable!("the backward runs on the backend below autodiff")
    }
}

#[derive(Debug)]
struct LinearLogprobs;

impl<B: Backend + LinearLogprobsOps> Backward<B, 2> for LinearLogprobs {
    /// Hidden states, head, columns.
    type State = ([FloatTensor<B>; 3], Arc<[u32]>, LogprobsOptions);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let ([hidden, head, columns], targets, options) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [hidden_node, head_node] = ops.parents;
        let grad_hidden = match head_node {
            Some(head_node) => {
                let (grad_hidden, grad_head) =
                    B::linear_logprobs_backward(hidden, head, columns, grad, targets, options);
                grads.register::<B>(head_node.id, grad_head);
                grad_hidden
            }
            None => {
                B::linear_logprobs_backward_hidden(hidden, head, columns, grad, targets, options)
            }
        };
        if let Some(node) = hidden_node {
            grads.register::<B>(node.id, grad_hidden);
        }
    }
}
