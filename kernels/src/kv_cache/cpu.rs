use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::{CacheRows, KvCacheOps};
use crate::AttentionOptions;
use crate::cpu::{contiguous, dot, exp, max, sum, tanh, tensor, values, vectorized};
use crate::segments::first_visible;

impl KvCacheOps for Flex {
    fn write_rows(
        mut cache: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<[usize]>,
    ) -> FloatTensor<Self> {
        let [_, kv_heads, head_dim] = new.shape().dims();
        let width = kv_heads * head_dim;
        let new = contiguous(new);
        assert!(cache.is_contiguous(), "the cache is a view");
        let storage = cache.storage_mut::<f32>();
        for (&row, values) in rows.iter().zip(values(&new).chunks(width)) {
            storage[row * width..][..width].copy_from_slice(values);
        }
        cache
    }

    fn decode_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        capacity: usize,
        rows: CacheRows,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        let [sequences, heads, head_dim] = q.shape().dims();
        let [_, kv_heads, _] = k.shape().dims();
        let q = contiguous(q);
        let (keys, vals) = (values(&k), values(&v));
        let mut output = vec![0.0; sequences * heads * head_dim];
        output
            .par_chunks_mut(heads * head_dim)
            .zip(values(&q).par_chunks(heads * head_dim))
            .zip(rows.slots.par_iter().zip(&*rows.lengths))
            .for_each(|((output, q), (&slot, &length))| {
                let width = kv_heads * head_dim;
                let first = first_visible(length - 1, 0, options.window);
                let range = (slot * capacity + first) * width..(slot * capacity + length) * width;
                let (keys, vals) = (&keys[range.clone()], &vals[range]);
                let mut scores = vec![0.0; length - first];
                vectorized(|| {
                    let query_heads = output.chunks_mut(head_dim).zip(q.chunks(head_dim));
                    for (head, (output, q)) in query_heads.enumerate() {
                        let column = head / (heads / kv_heads) * head_dim;
                        for (score, key) in scores.iter_mut().zip(keys.chunks(width)) {
                            *score = capped(dot(q, &key[column..][..head_dim]), options);
                        }
                        weighted_sum(output, &mut scores, vals, width, column);
                    }
                });
            });
        tensor(output, [sequences, heads, head_dim])
    }
}

#[inline(always)]
fn capped(score: f32, options: AttentionOptions) -> f32 {
    match options.softcap {
        Some(cap) => cap * tanh(score * (options.scale / cap)),
        None => score * options.scale,
    }
}

/// softmax(scores) · values, keys in their order.
#[inline(always)]
fn weighted_sum(
    output: &mut [f32],
    scores: &mut [f32],
    values: &[f32],
    width: usize,
    column: usize,
) {
    let largest = max(scores);
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    let inverse = 1.0 / sum(scores);
    for (score, value) in scores.iter().zip(values.chunks(width)) {
        let weight = score * inverse;
        for (output, value) in output.iter_mut().zip(&value[column..]) {
            *output += weight * value;
        }
    }
}
