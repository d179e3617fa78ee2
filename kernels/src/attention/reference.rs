use burn::tensor::{Tensor, activation};

use super::AttentionOptions;
use crate::Segments;
use crate::rms_norm::reference::upcast;

/// The definition, in plain tensor operations: the whole score matrix, masked.
pub fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    segments: &Segments,
    options: AttentionOptions,
) -> Tensor<3> {
    let [tokens, heads, head_dim] = q.dims();
    let [_, kv_heads, _] = k.dims();
    let group = heads / kv_heads;
    let device = q.device();
    let dtype = q.dtype();
    // [kv_heads, group, tokens, head_dim] and [kv_heads, 1, tokens, head_dim].
    let q = q
        .reshape([tokens, kv_heads, group, head_dim])
        .permute([1, 2, 0, 3]);
    let [k, v] = [k, v].map(|x| {
        x.permute([1, 0, 2])
            .unsqueeze_dim::<4>(1)
            .expand([kv_heads, group, tokens, head_dim])
    });
    let scores = softcapped(q.matmul(k.transpose()), options);
    let hidden = segments
        .hidden(options.window, &device.clone().inner())
        .expand([kv_heads, group, tokens, tokens]);
    let hidden = if device.is_autodiff() {
        hidden.autodiff()
    } else {
        hidden
    };
    let scores = scores.mask_fill(hidden, f32::NEG_INFINITY);
    let weights = activation::softmax(scores, 3).cast(dtype);
    weights
        .matmul(v)
        .permute([2, 0, 1, 3])
        .reshape([tokens, heads, head_dim])
}

/// The scaled and capped scores, in float32.
pub(crate) fn softcapped(scores: Tensor<4>, options: AttentionOptions) -> Tensor<4> {
    let scores = upcast(scores).mul_scalar(options.scale);
    match options.softcap {
        Some(cap) => scores.div_scalar(cap).tanh().mul_scalar(cap),
        None => scores,
    }
}
