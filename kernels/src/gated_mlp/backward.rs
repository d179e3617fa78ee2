use burn::backend::tensor::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::Backend;

use super::{Activation, GatedMlpOps};

impl<B: Backend + GatedMlpOps, C: CheckpointStrategy> GatedMlpOps for Autodiff<B, C> {
    fn gated_mlp(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node()];
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        let output = B::gated_mlp(gate.clone(), up.clone(), activation);
        match GatedMlp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((gate, up, activation), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn gated_mlp_backward(
        _gate: FloatTensor<Self>,
        _up: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the backward runs on the backend below autodiff")
    }
}

#[derive(Debug)]
struct GatedMlp;

impl<B: Backend + GatedMlpOps> Backward<B, 2> for GatedMlp {
    type State = (FloatTensor<B>, FloatTensor<B>, Activation);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (gate, up, activation) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let (grad_gate, grad_up) = B::gated_mlp_backward(gate, up, grad, activation);
        let [node_gate, node_up] = ops.parents;
        if let Some(node) = node_gate {
            grads.register::<B>(node.id, grad_gate);
        }
        if let Some(node) = node_up {
            grads.register::<B>(node.id, grad_up);
        }
    }
}
