//! Tiles of query rows, by the gemm crate. A tile reads the keys of its own sequence and window
//! and no others.

use std::ops::Range;

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::{AttentionOps, AttentionOptions};
use crate::Segments;
use crate::cpu::{
    Into, Mat, Threads, contiguous, dot, exp, gemm, max, sum, tanh, tensor, values, vectorized,
};
use crate::segments::first_visible;

/// Query rows in a tile.
const TILE: usize = 64;

impl AttentionOps for Flex {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        Self::attention_forward(q, k, v, segments, options).0
    }

    fn attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [tokens, heads, head_dim] = q.shape().dims();
        let [_, kv_heads, _] = k.shape().dims();
        let [q, k, v] = [q, k, v].map(contiguous);
        let inputs = Inputs {
            q: values(&q),
            k: values(&k),
            v: values(&v),
            heads,
            kv_heads,
            head_dim,
            options,
        };
        let mut output = vec![0.0; tokens * heads * head_dim];
        let mut logsumexp = vec![0.0; tokens * heads];
        // Tiles own consecutive rows, so their results are consecutive pieces of both buffers.
        let mut tiles = Vec::new();
        let (mut output_rest, mut logsumexp_rest) = (&mut output[..], &mut logsumexp[..]);
        for range in segments.ranges() {
            for start in range.clone().step_by(TILE) {
                let rows = start..(start + TILE).min(range.end);
                let (out, rest) = output_rest.split_at_mut(rows.len() * heads * head_dim);
                output_rest = rest;
                let (lse, rest) = logsumexp_rest.split_at_mut(rows.len() * heads);
                logsumexp_rest = rest;
                tiles.push((rows, range.start, out, lse));
            }
        }
        tiles
            .into_par_iter()
            .for_each(|(rows, segment_start, out, lse)| {
                inputs.forward_tile(rows, segment_start, out, lse);
            });
        (
            tensor(output, [tokens, heads, head_dim]),
            tensor(logsumexp, [tokens, heads]),
        )
    }

    fn attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        output: FloatTensor<Self>,
        logsumexp: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        segments: Segments,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [tokens, heads, head_dim] = q.shape().dims();
        let [_, kv_heads, _] = k.shape().dims();
        let [q, k, v, output, grad] = [q, k, v, output, grad].map(contiguous);
        let inputs = Inputs {
            q: values(&q),
            k: values(&k),
            v: values(&v),
            heads,
            kv_heads,
            head_dim,
            options,
        };
        let (output, grad) = (values(&output), values(&grad));
        let logsumexp = values(&logsumexp);
        let tasks: Vec<(Range<usize>, usize)> = segments
            .ranges()
            .flat_map(|range| (0..kv_heads).map(move |head| (range.clone(), head)))
            .collect();
        let grads: Vec<HeadGrads> = tasks
            .into_par_iter()
            .map(|(range, head)| inputs.backward_head(range, head, output, logsumexp, grad))
            .collect();
        let mut grad_q = vec![0.0; tokens * heads * head_dim];
        let mut grad_k = vec![0.0; tokens * kv_heads * head_dim];
        let mut grad_v = vec![0.0; tokens * kv_heads * head_dim];
        let group_width = heads / kv_heads * head_dim;
        for HeadGrads {
            range,
            head,
            q,
            k,
            v,
        } in grads
        {
            scatter(&mut grad_q, &q, &range, head, group_width, heads * head_dim);
            scatter(&mut grad_k, &k, &range, head, head_dim, kv_heads * head_dim);
            scatter(&mut grad_v, &v, &range, head, head_dim, kv_heads * head_dim);
        }
        (
            tensor(grad_q, [tokens, heads, head_dim]),
            tensor(grad_k, [tokens, kv_heads, head_dim]),
            tensor(grad_v, [tokens, kv_heads, head_dim]),
        )
    }
}

/// Puts the rows of one key head (`width` values each) into a buffer of all heads.
fn scatter(
    into: &mut [f32],
    from: &[f32],
    range: &Range<usize>,
    head: usize,
    width: usize,
    row: usize,
) {
    for (token, values) in range.clone().zip(from.chunks(width)) {
        into[token * row + head * width..][..width].copy_from_slice(values);
    }
}

/// The gradients of one key head and its query heads in one sequence.
struct HeadGrads {
    range: Range<usize>,
    head: usize,
    /// `[rows, group · head_dim]`.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

struct Inputs<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    options: AttentionOptions,
}

impl Inputs<'_> {
    fn query(&self, token: usize, head: usize) -> Mat<'_> {
        let start = (token * self.heads + head) * self.head_dim;
        Mat::rows(&self.q[start..], self.heads * self.head_dim)
    }

    fn key(&self, token: usize, kv_head: usize) -> Mat<'_> {
        let start = (token * self.kv_heads + kv_head) * self.head_dim;
        Mat::rows(&self.k[start..], self.kv_heads * self.head_dim)
    }

    fn value(&self, token: usize, kv_head: usize) -> Mat<'_> {
        let start = (token * self.kv_heads + kv_head) * self.head_dim;
        Mat::rows(&self.v[start..], self.kv_heads * self.head_dim)
    }

    /// q·kᵀ of a tile, unscaled: `[rows, keys]`.
    fn scores(&self, rows: &Range<usize>, keys: &Range<usize>, head: usize, scores: &mut [f32]) {
        let kv_head = head / (self.heads / self.kv_heads);
        gemm(
            [rows.len(), keys.len(), self.head_dim],
            scores,
            keys.len(),
            Into::Overwrite,
            1.0,
            self.query(rows.start, head),
            self.key(keys.start, kv_head).transposed(),
            Threads::One,
        );
    }

    /// The visible part of a row of scores over `keys`.
    fn visible(&self, row: usize, segment_start: usize, keys: &Range<usize>) -> Range<usize> {
        let first = first_visible(row, segment_start, self.options.window);
        first - keys.start..row + 1 - keys.start
    }

    fn keys_of(&self, rows: &Range<usize>, segment_start: usize) -> Range<usize> {
        first_visible(rows.start, segment_start, self.options.window)..rows.end
    }

    fn forward_tile(
        &self,
        rows: Range<usize>,
        segment_start: usize,
        out: &mut [f32],
        lse: &mut [f32],
    ) {
        let keys = self.keys_of(&rows, segment_start);
        let mut scores = vec![0.0; rows.len() * keys.len()];
        for head in 0..self.heads {
            self.scores(&rows, &keys, head, &mut scores);
            vectorized(|| {
                for (row, scores) in rows.clone().zip(scores.chunks_mut(keys.len())) {
                    let visible = self.visible(row, segment_start, &keys);
                    let total = self.softmax(&mut scores[visible.clone()]);
                    scores[..visible.start].fill(0.0);
                    scores[visible.end..].fill(0.0);
                    lse[(row - rows.start) * self.heads + head] = total;
                }
            });
            gemm(
                [rows.len(), self.head_dim, keys.len()],
                &mut out[head * self.head_dim..],
                self.heads * self.head_dim,
                Into::Overwrite,
                1.0,
                Mat::rows(&scores, keys.len()),
                self.value(keys.start, head / (self.heads / self.kv_heads)),
                Threads::One,
            );
        }
    }

    /// Scores to probabilities in place; returns their log-sum-exp.
    #[inline(always)]
    fn softmax(&self, scores: &mut [f32]) -> f32 {
        self.cap(scores);
        let largest = max(scores);
        for score in scores.iter_mut() {
            *score = exp(*score - largest);
        }
        let total = sum(scores);
        let inverse = 1.0 / total;
        for score in scores.iter_mut() {
            *score *= inverse;
        }
        largest + total.ln()
    }

    #[inline(always)]
    fn cap(&self, scores: &mut [f32]) {
        let scale = self.options.scale;
        match self.options.softcap {
            Some(cap) => {
                let inner = scale / cap;
                for score in scores {
                    *score = cap * tanh(*score * inner);
                }
            }
            None => {
                for score in scores {
                    *score *= scale;
                }
            }
        }
    }

    /// P = exp(s − lse), dP = dO·vᵀ, dS = P∘(dP − Σ dO∘O)·(1 − (s/c)²)·scale; dQ = dS·K,
    /// dK = dSᵀ·Q, dV = Pᵀ·dO, the last two summed over the query heads in their order.
    fn backward_head(
        &self,
        range: Range<usize>,
        kv_head: usize,
        output: &[f32],
        logsumexp: &[f32],
        grad: &[f32],
    ) -> HeadGrads {
        let group = self.heads / self.kv_heads;
        let (head_dim, width) = (self.head_dim, self.heads * self.head_dim);
        let mut grad_q = vec![0.0; range.len() * group * head_dim];
        let mut grad_k = vec![0.0; range.len() * head_dim];
        let mut grad_v = vec![0.0; range.len() * head_dim];
        let mut probabilities = Vec::new();
        let mut grad_scores = Vec::new();
        for (member, head) in (kv_head * group..(kv_head + 1) * group).enumerate() {
            for start in range.clone().step_by(TILE) {
                let rows = start..(start + TILE).min(range.end);
                let keys = self.keys_of(&rows, range.start);
                let size = [rows.len(), keys.len()];
                probabilities.resize(size[0] * size[1], 0.0);
                grad_scores.resize(size[0] * size[1], 0.0);
                self.scores(&rows, &keys, head, &mut probabilities);
                let head_start = rows.start * width + head * head_dim;
                let grad_out = Mat::rows(&grad[head_start..], width);
                gemm(
                    [size[0], size[1], head_dim],
                    &mut grad_scores,
                    size[1],
                    Into::Overwrite,
                    1.0,
                    grad_out,
                    self.value(keys.start, kv_head).transposed(),
                    Threads::One,
                );
                vectorized(|| {
                    let both = probabilities
                        .chunks_mut(size[1])
                        .zip(grad_scores.chunks_mut(size[1]));
                    for (row, (p, ds)) in rows.clone().zip(both) {
                        let visible = self.visible(row, range.start, &keys);
                        let start = row * width + head * head_dim;
                        let row_dot = dot(
                            &output[start..start + head_dim],
                            &grad[start..start + head_dim],
                        );
                        let lse = logsumexp[row * self.heads + head];
                        self.backward_row(p, ds, visible, lse, row_dot);
                    }
                });
                let ds = Mat::rows(&grad_scores, size[1]);
                let local = (rows.start - range.start) * group * head_dim + member * head_dim;
                gemm(
                    [size[0], head_dim, size[1]],
                    &mut grad_q[local..],
                    group * head_dim,
                    Into::Overwrite,
                    1.0,
                    ds,
                    self.key(keys.start, kv_head),
                    Threads::One,
                );
                let local = (keys.start - range.start) * head_dim;
                gemm(
                    [size[1], head_dim, size[0]],
                    &mut grad_k[local..],
                    head_dim,
                    Into::Add,
                    1.0,
                    ds.transposed(),
                    self.query(rows.start, head),
                    Threads::One,
                );
                gemm(
                    [size[1], head_dim, size[0]],
                    &mut grad_v[local..],
                    head_dim,
                    Into::Add,
                    1.0,
                    Mat::rows(&probabilities, size[1]).transposed(),
                    grad_out,
                    Threads::One,
                );
            }
        }
        HeadGrads {
            range,
            head: kv_head,
            q: grad_q,
            k: grad_k,
            v: grad_v,
        }
    }

    /// One row: scores to probabilities in `p`, dP to dS in `ds`.
    #[inline(always)]
    fn backward_row(
        &self,
        p: &mut [f32],
        ds: &mut [f32],
        visible: Range<usize>,
        lse: f32,
        row_dot: f32,
    ) {
        for hidden in [0..visible.start, visible.end..p.len()] {
            p[hidden.clone()].fill(0.0);
            ds[hidden].fill(0.0);
        }
        let (p, ds) = (&mut p[visible.clone()], &mut ds[visible]);
        self.cap(p);
        let scale = self.options.scale;
        match self.options.softcap {
            Some(cap) => {
                let inverse = 1.0 / cap;
                for (p, ds) in p.iter_mut().zip(ds) {
                    let ratio = *p * inverse;
                    *p = exp(*p - lse);
                    *ds = *p * (*ds - row_dot) * (1.0 - ratio * ratio) * scale;
                }
            }
            None => {
                for (p, ds) in p.iter_mut().zip(ds) {
                    *p = exp(*p - lse);
                    *ds = *p * (*ds - row_dot) * scale;
                }
            }
        }
    }
}
