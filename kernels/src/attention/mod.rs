//! Causal attention over a packed row of sequences: a token sees the earlier tokens of its own
//! sequence, within a window where the layer has one.
//!
//! With s = scale · q·k, soft-capped to c·tanh(s / c) where there is a cap, the output is
//! softmax(s) · v (Vaswani et al. 2017; soft-cap and window as in Gemma 2, arXiv 2408.00118). Query
//! head h reads key head h / (heads / kv_heads). Only the output and each row's log-sum-exp are
//! kept for the backward, which recomputes the scores (FlashAttention-2, arXiv 2307.08691).

mod backward;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::Segments;

pub use reference::attention as attention_reference;

/// What a GPU's kernel can hold of a head in shared memory and registers.
const MAX_HEAD_DIM: usize = 256;

/// How a layer attends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Factor on q·k.
    pub scale: f32,
    /// Soft-cap on the scaled scores, before the mask.
    pub softcap: Option<f32>,
    /// Keys a query sees, itself included.
    pub window: Option<usize>,
}

/// Attention within each sequence of the row.
///
/// # Shapes
/// - q: `[tokens, heads, head_dim]`
/// - k, v: `[tokens, kv_heads, head_dim]`, heads a multiple of kv_heads
/// - output: `[tokens, heads, head_dim]`
pub fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    segments: &Segments,
    options: AttentionOptions,
) -> Tensor<3> {
    let [tokens, heads, head_dim] = q.dims();
    let [_, kv_heads, _] = k.dims();
    assert_eq!(tokens, segments.num_tokens(), "segments for the tokens");
    assert_ne!(options.window, Some(0), "a window has a token at least");
    assert!(
        heads.is_multiple_of(kv_heads),
        "{heads} query heads over {kv_heads} key heads"
    );
    let too_wide = head_dim > MAX_HEAD_DIM && !crate::choice::on_cpu(&q.device());
    if too_wide || !crate::choice::fused(&q) {
        return reference::attention(q, k, v, segments, options);
    }
    Tensor::from_dispatch(<Dispatch as AttentionOps>::attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        segments.clone(),
        options,
    ))
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait AttentionOps: Backend {
    #[fusion(dtype = q, shape = q)]
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> FloatTensor<Self>;

    /// The output, and each row's log-sum-exp `[tokens, heads]`.
    #[fusion(meta = |q, _k, _v, _segments, _options| (
        q.clone(),
        burn::backend::fusion::custom::TensorSpec::new(burn_backend::Shape::from([q.shape[0], q.shape[1]]), burn_backend::DType::F32),
    ))]
    fn attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of q, k and v.
    #[fusion(meta = |q, k, v, _output, _logsumexp, _grad, _segments, _options| {
        (q.clone(), k.clone(), v.clone())
    })]
    fn attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        output: FloatTensor<Self>,
        logsumexp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}
