//! A thread takes up to 512 keys of one sequence for all heads, and the pieces of a sequence are put
//! together in their order. They begin at fixed places of it, so its sums do not depend on the others.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::{CacheRows, KvCacheOps};
use crate::AttentionOptions;
use crate::cpu::{contiguous, dot, exp, max, sum, tanh, tensor, values, vectorized};
use crate::segments::first_visible;

/// Keys of one piece.
const KEYS: usize = 512;

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
        let (width, row) = (kv_heads * head_dim, heads * head_dim);
        let q = contiguous(q);
        let (q, keys, vals) = (values(&q), values(&k), values(&v));
        // The keys of each piece, with its sequence, and the pieces of each sequence.
        let mut pieces: Vec<(usize, Range<usize>)> = Vec::new();
        let mut of_sequence = Vec::with_capacity(sequences);
        for (sequence, (&slot, &length)) in rows.slots.iter().zip(&*rows.lengths).enumerate() {
            let first = first_visible(length - 1, 0, options.window);
            let (first, end) = (slot * capacity + first, slot * capacity + length);
            let before = pieces.len();
            let starts = (first..end).step_by(KEYS);
            pieces.extend(starts.map(|start| (sequence, start..(start + KEYS).min(end))));
            of_sequence.push(before..pieces.len());
        }
        let part = row + 2 * heads;
        let mut parts = vec![0.0; pieces.len() * part];
        parts
            .par_chunks_mut(part)
            .zip(&pieces)
            .for_each(|(part, (sequence, piece))| {
                let range = piece.start * width..piece.end * width;
                let (q, keys, vals) = (
                    &q[sequence * row..][..row],
                    &keys[range.clone()],
                    &vals[range],
                );
                vectorized!(attend(part, q, [keys, vals], kv_heads, head_dim, options));
            });
        let mut output = vec![0.0; sequences * row];
        for (output, pieces) in output.chunks_mut(row).zip(of_sequence) {
            let parts = &parts[pieces.start * part..pieces.end * part];
            vectorized!(merge(output, parts, heads));
        }
        tensor(output, [sequences, heads, head_dim])
    }
}

/// One query of all heads against the keys of a piece, oldest first: a key is read once for all heads,
/// as it lies in memory. `part` is zeros, and gets the weighted values of each head, then the largest
/// score of each and the sum of its weights.
#[inline(always)]
fn attend(
    part: &mut [f32],
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
    let (output, statistics) = part.split_at_mut(q.len());
    let (largest, totals) = statistics.split_at_mut(heads);
    for (head, scores) in scores.chunks_exact_mut(count).enumerate() {
        (largest[head], totals[head]) = weights(scores, options);
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

/// Products to weights, in place, of which the largest is 1; the largest score, and the sum of the
/// weights.
#[inline(always)]
fn weights(scores: &mut [f32], options: AttentionOptions) -> (f32, f32) {
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
    // Where all are −∞, their weights are 0 and not NaN: other pieces may have some.
    let largest = match max(scores) {
        f32::NEG_INFINITY => f32::MIN,
        largest => largest,
    };
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    (largest, sum(scores))
}

/// The pieces of a sequence to its output.
#[inline(always)]
fn merge(output: &mut [f32], parts: &[f32], heads: usize) {
    let (row, head_dim) = (output.len(), output.len() / heads);
    let parts = || parts.chunks_exact(row + 2 * heads);
    for (head, output) in output.chunks_exact_mut(head_dim).enumerate() {
        let statistics = || parts().map(|part| [part[row + head], part[row + heads + head]]);
        let largest = statistics().fold(f32::MIN, |largest, [m, _]| {
            match m > largest || m.is_nan() {
                true => m,
                false => largest,
            }
        });
        let factor = |m: f32| exp(m - largest);
        let total: f32 = statistics().map(|[m, sum]| factor(m) * sum).sum();
        for (part, [m, _]) in parts().zip(statistics()) {
            let factor = factor(m) / total;
            for (output, value) in output.iter_mut().zip(&part[head * head_dim..]) {
                *output += factor * value;
            }
        }
    }
}
