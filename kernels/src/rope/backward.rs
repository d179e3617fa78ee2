use burn::backend::tensor::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn_backend::Backend;

use super::{RopeOps, RotaryTable, Turn};

impl<B: Backend + RopeOps, C: CheckpointStrategy> RopeOps for Autodiff<B, C> {
    fn rope(x: FloatTensor<Self>, table: RotaryTable, turn: Turn) -> FloatTensor<Self> {
        assert_eq!(turn, Turn::Forward, "the backward runs below autodiff");
        let node = x.node();
        let output = B::rope(x.into_primitive(), table.clone(), turn);
        match Rope.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(table, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Rope;

impl<B: Backend + RopeOps> Backward<B, 1> for Rope {
    type State = RotaryTable;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::rope(grad, ops.state, Turn::Backward)
        });
    }
}
