use burn::backend::tensor::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, binary};
use burn_backend::Backend;

use super::LinearOps;

impl<B: Backend + LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        // A frozen weight's input is not kept, nor the weight for an input without a gradient.
        let [of_x, of_weight] = [&x, &weight].map(|tensor| tensor.is_tracked());
        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match Linear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let kept_x = of_weight.then(|| x.clone());
                let kept_weight = of_x.then(|| weight.clone());
                prep.finish((kept_x, kept_weight), <B as LinearOps>::linear(x, weight))
            }
            OpsKind::UnTracked(prep) => prep.finish(<B as LinearOps>::linear(x, weight)),
        }
    }

    fn linear_backward_x(
        _grad: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        unreachable!("the backward runs on the backend below autodiff")
    }

    fn linear_backward_weight(
        _grad: FloatTensor<Self>,
        _x: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        unreachable!("the backward runs on the backend below autodiff")
    }
}

#[derive(Debug)]
struct Linear;

impl<B: Backend + LinearOps> Backward<B, 2> for Linear {
    type State = (Option<FloatTensor<B>>, Option<FloatTensor<B>>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, weight) = ops.state;
        binary::<B, _, _>(
            ops.parents,
            ops.node,
            grads,
            |grad| B::linear_backward_x(grad, weight.expect("kept for a tracked input")),
            |grad| B::linear_backward_weight(grad, x.expect("kept for a tracked weight")),
        );
    }
}
