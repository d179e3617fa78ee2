use burn::tensor::{Bool, Int, Tensor, TensorData, activation};

use super::CacheRows;
use crate::AttentionOptions;
use crate::attention::reference::softcapped;
use crate::segments::first_visible;

/// Runs of consecutive rows, each one slice assignment.
pub(crate) fn write_rows(mut cache: Tensor<3>, new: Tensor<3>, rows: &[usize]) -> Tensor<3> {
    let [_, kv_heads, head_dim] = new.dims();
    let mut start = 0;
    while start < rows.len() {
        let mut end = start + 1;
        while end < rows.len() && rows[end] == rows[end - 1] + 1 {
            end += 1;
        }
        let run = new.clone().narrow(0, start, end - start);
        let to = rows[start]..rows[start] + (end - start);
        cache = cache.slice_assign([to, 0..kv_heads, 0..head_dim], run);
        start = end;
    }
    cache
}

/// Scores against the whole capacity, masked: the shapes, and so the order of every sum, do not
/// depend on how long the sequences are.
pub(crate) fn decode_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    capacity: usize,
    rows: &CacheRows,
    options: AttentionOptions,
) -> Tensor<3> {
    let [sequences, heads, head_dim] = q.dims();
    let [all_rows, kv_heads, _] = k.dims();
    let (slots, group) = (all_rows / capacity, heads / kv_heads);
    let device = q.device();
    let dtype = q.dtype();
    let in_order = sequences == slots && rows.slots.iter().enumerate().all(|(i, &s)| i == s);
    let [k, v] = [k, v].map(|cache| {
        let cache = cache.reshape([slots, capacity, kv_heads, head_dim]);
        let cache = if in_order {
            cache
        } else {
            let index: Vec<i32> = rows.slots.iter().map(|&slot| slot as i32).collect();
            let index = TensorData::new(index, [sequences]);
            cache.select(0, Tensor::<1, Int>::from_data(index, &device))
        };
        cache.permute([0, 2, 1, 3])
    });
    let q = q.reshape([sequences, kv_heads, group, head_dim]);
    let scores = softcapped(q.matmul(k.transpose()), options);
    let mut hidden = vec![true; sequences * capacity];
    for (hidden, &length) in hidden.chunks_mut(capacity).zip(rows.lengths.iter()) {
        hidden[first_visible(length - 1, 0, options.window)..length].fill(false);
    }
    let hidden = TensorData::new(hidden, [sequences, 1, 1, capacity]);
    let hidden = Tensor::<4, Bool>::from_data(hidden, &device);
    // 0 · NaN would be one.
    let behind = hidden.clone().transpose();
    let v = v.mask_fill(
        behind.expand([sequences, kv_heads, capacity, head_dim]),
        0.0,
    );
    let scores = scores.mask_fill(
        hidden.expand([sequences, kv_heads, group, capacity]),
        f32::NEG_INFINITY,
    );
    activation::softmax(scores, 3)
        .cast(dtype)
        .matmul(v)
        .reshape([sequences, heads, head_dim])
}
