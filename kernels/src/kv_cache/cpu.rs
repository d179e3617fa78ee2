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
                vectorized!(attend(output, q, [keys, vals], kv_heads, head_dim, options));
            });
        tensor(output, [sequences, heads, head_dim])
    }
}

/// One query of all heads against its keys, oldest first: a key is read once for all heads, as it
/// lies in memory.
#[inline(always)]
fn attend(
    output: &mut [f32],
    q: &[f32],
    [keys, values]: [&[f32]; 2],
    kv_heads: usize,
    head_dim: usize,
    options: AttentionOptions,
) {
    let width = kv_heads * head_dim;
    let (count, heads) = (keys.len() / width, q.len() / head_dim);
    let column = |head: usize| head / (heads / kv_heads) * head_dim;
    let mut scores = vec![0.0; heads * count];
    for (i, key) in keys.chunks_exact(width).enumerate() {
        for (head, q) in q.chunks_exact(head_dim).enumerate() {
            scores[head * count + i] = dot(q, &key[column(head)..][..head_dim]);
        }
    }
    for scores in scores.chunks_exact_mut(count) {
        softmax(scores, options);
    }
    for (i, value) in values.chunks_exact(width).enumerate() {
        for (head, output) in output.chunks_exact_mut(head_dim).enumerate() {
            let weight = scores[head * count + i];
            for (output, value) in output.iter_mut().zip(&value[column(head)..]) {
                *output += weight * value;
            }
        }
    }
}

/// Products to weights, in place.
#[inline(always)]
fn softmax(scores: &mut [f32], options: AttentionOptions) {
    match options.softcap {
        Some(cap) => {
            for score in scores.iter_mut() {
                *score = cap * tanh(*score * (options.scale / cap));
            }
        }
        None => {
            for score in scores.iter_mut() {
                *score *= options.scale;
            }
        }
    }
    let largest = max(scores);
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    let inverse = 1.0 / sum(scores);
    for score in scores.iter_mut() {
        *score *= inverse;
    }
}
