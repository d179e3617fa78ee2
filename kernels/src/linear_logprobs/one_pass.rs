//! The one-pass mode: where it is known before the forward what each log-probability will be
//! multiplied by, the gradients are made while a chunk's logits are at hand, and never again.
//! Three products of the size of the logits instead of four.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::backend::AutodiffBackend;

use super::{LinearLogprobsOps, Logprobs, LogprobsOptions, check_targets};

/// Σ weight · log p(target), and the statistics of the targets without gradients.
///
/// The gradient of the sum is that of [`linear_logprobs`](super::linear_logprobs) with `weights` as
/// the gradient of the log-probabilities.
///
/// # Shapes
/// - hidden: `[tokens, width]`
/// - head: `[vocab, width]`
/// - targets: one a token, below vocab
/// - weights: `[tokens]`, float32 constants
/// - the sum: `[1]`
///
/// # Panics
/// On a target outside the vocabulary.
pub fn weighted_logprobs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: &Arc<[u32]>,
    weights: Tensor<1>,
    options: LogprobsOptions,
) -> (Tensor<1>, Logprobs) {
    check_targets(&hidden, &head, targets);
    if !crate::choice::fused(&hidden) {
        let logprobs = super::linear_logprobs(hidden, head, targets, options);
        let sum = (logprobs.logprob() * weights).sum();
        return (sum, logprobs.detach());
    }
    let (sum, columns) = <Dispatch as OnePassOps>::weighted_logprobs(
        hidden.into_dispatch(),
        head.into_dispatch(),
        weights.into_dispatch(),
        targets.clone(),
        options,
    );
    let columns = Tensor::from_dispatch(columns);
    (Tensor::from_dispatch(sum), Logprobs { columns })
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait OnePassOps: Backend {
    /// The sum `[1]` and the columns `[tokens, COLUMNS]`.
    #[fusion(meta = |hidden, _head, _weights, _targets, _options| (
        burn::backend::fusion::custom::TensorSpec::new(burn_backend::Shape::from([1]), burn_backend::DType::F32),
        burn::backend::fusion::custom::TensorSpec::new(burn_backend::Shape::from([hidden.shape[0], super::COLUMNS]), burn_backend::DType::F32),
    ))]
    fn weighted_logprobs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The columns, and the gradients of the hidden states and of the head.
    #[fusion(meta = |hidden, head, _weights, _targets, _options| (
        burn::backend::fusion::custom::TensorSpec::new(burn_backend::Shape::from([hidden.shape[0], super::COLUMNS]), burn_backend::DType::F32),
        hidden.clone(),
        head.clone(),
    ))]
    fn weighted_logprobs_with_gradients(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The columns, and the gradient of the hidden states alone, for a head that is frozen.
    #[fusion(meta = |hidden, _head, _weights, _targets, _options| (
        burn::backend::fusion::custom::TensorSpec::new(burn_backend::Shape::from([hidden.shape[0], super::COLUMNS]), burn_backend::DType::F32),
        hidden.clone(),
    ))]
    fn weighted_logprobs_with_hidden_gradient(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// A gradient times what the sum's own gradient is, a float32 of its own `[1]`; in place where nothing
    /// else holds the gradient.
    #[fusion(dtype = gradient, shape = gradient)]
    fn scaled_gradient(gradient: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Σ weight · the first column: `[1]`.
pub(super) fn weighted_sum<B: Backend>(
    columns: FloatTensor<B>,
    weights: FloatTensor<B>,
    tokens: usize,
) -> FloatTensor<B> {
    let first = B::float_slice(columns, &[(0..tokens).into(), (0..1).into()]);
    let first = B::float_reshape(first, Shape::from([tokens]));
    B::float_sum(B::float_mul(first, weights))
}

impl<B: Backend + OnePassOps + LinearLogprobsOps, C: CheckpointStrategy> OnePassOps
    for Autodiff<B, C>
{
    fn weighted_logprobs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [hidden.node(), head.node()];
        let head_is_frozen = !head.is_tracked();
        let [hidden, head, weights] = [hidden, head, weights].map(|x| x.into_primitive());
        match OnePass.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let tokens = targets.len();
                let given = weights.clone();
                let (columns, grad_hidden, grad_head) = if head_is_frozen {
                    let (columns, grad_hidden) = B::weighted_logprobs_with_hidden_gradient(
                        hidden, head, given, targets, options,
                    );
                    (columns, grad_hidden, None)
                } else {
                    let (columns, grad_hidden, grad_head) =
                        B::weighted_logprobs_with_gradients(hidden, head, given, targets, options);
                    (columns, grad_hidden, Some(grad_head))
                };
                let sum = weighted_sum::<B>(columns.clone(), weights, tokens);
                let sum = prep.finish([Some(grad_hidden), grad_head], sum);
                (sum, Self::from_inner(columns))
            }
            OpsKind::UnTracked(prep) => {
                let (sum, columns) = B::weighted_logprobs(hidden, head, weights, targets, options);
                (prep.finish(sum), Self::from_inner(columns))
            }
        }
    }

    fn weighted_logprobs_with_gradients(
        _hidden: FloatTensor<Self>,
        _head: FloatTensor<Self>,
        _weights: FloatTensor<Self>,
        _targets: Arc<[u32]>,
        _options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("`weighted_logprobs` is the differentiable form")
    }

    fn weighted_logprobs_with_hidden_gradient(
        _hidden: FloatTensor<Self>,
        _head: FloatTensor<Self>,
        _weights: FloatTensor<Self>,
        _targets: Arc<[u32]>,
        _options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("`weighted_logprobs` is the differentiable form")
    }

    fn scaled_gradient(_gradient: FloatTensor<Self>, _by: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("`weighted_logprobs` is the differentiable form")
    }
}

#[derive(Debug)]
struct OnePass;

impl<B: Backend + OnePassOps> Backward<B, 2> for OnePass {
    /// The gradients of the hidden states and of the head; none where that is frozen.
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, B::scaled_gradient(gradient, grad.clone()));
            }
        }
    }
}
