use burn::backend::tensor::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::Backend;

use super::{NormWeight, RmsNormOps};

impl<B: Backend + RmsNormOps, C: CheckpointStrategy> RmsNormOps for Autodiff<B, C> {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let output = B::rms_norm(x.clone(), weight.clone(), eps, kind);
        match RmsNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, eps, kind), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn rms_norm_add(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self> {
        let nodes = [residual.node(), x.node(), weight.node()];
        let residual = residual.into_primitive();
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let output = B::rms_norm_add(residual, x.clone(), weight.clone(), eps, kind);
        match RmsNormAdd.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, eps, kind), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn rms_norm_backward(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _eps: f64,
        _kind: NormWeight,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the backward runs on the backend below autodiff")
    }
}

#[derive(Debug)]
struct RmsNorm;

impl<B: Backend + RmsNormOps> Backward<B, 2> for RmsNorm {
    type State = (FloatTensor<B>, FloatTensor<B>, f64, NormWeight);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, weight, eps, kind) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let (grad_x, grad_weight) = B::rms_norm_backward(x, weight, grad, eps, kind);
        let [node_x, node_weight] = ops.parents;
        if let Some(node) = node_x {
            grads.register::<B>(node.id, grad_x);
        }
        if let Some(node) = node_weight {
            grads.register::<B>(node.id, grad_weight);
        }
    }
}

#[derive(Debug)]
struct RmsNormAdd;

impl<B: Backend + RmsNormOps> Backward<B, 3> for RmsNormAdd {
    type State = (FloatTensor<B>, FloatTensor<B>, f64, NormWeight);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, weight, eps, kind) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [node_residual, node_x, node_weight] = ops.parents;
        if let Some(node) = node_residual {
            grads.register::<B>(node.id, grad.clone());
        }
        if node_x.is_none() && node_weight.is_none() {
            return;
        }
        let (grad_x, grad_weight) = B::rms_norm_backward(x, weight, grad, eps, kind);
        if let Some(node) = node_x {
            grads.register::<B>(node.id, grad_x);
        }
        if let Some(node) = node_weight {
            grads.register::<B>(node.id, grad_weight);
        }
    }
}
