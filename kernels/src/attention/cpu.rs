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
use crate::segments::Tile;

/// Query rows in a tile.
const TILE: usize = 64;
/// Threads that share the queries of one sequence and key head on the way back, at most: each has
/// gradients of all its keys and values.
const SHARES: usize = 4;
/// Tiles of a share, at least.
const SHARE_TILES: usize = 4;

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
        for tile in segments.query_tiles(TILE, options.window) {
            let (out, rest) = output_rest.split_at_mut(tile.rows.len() * heads * head_dim);
            output_rest = rest;
            let (lse, rest) = logsumexp_rest.split_at_mut(tile.rows.len() * heads);
            logsumexp_rest = rest;
            tiles.push((tile, out, lse));
        }
        tiles.into_par_iter().for_each(|(tile, out, lse)| {
            inputs.forward_tile(&Keys::of(tile, &segments, options), out, lse);
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
        let mut tiles: Vec<Vec<Keys>> = vec![Vec::new(); segments.num_segments()];
        let starts: Vec<usize> = segments.ranges().map(|range| range.start).collect();
        for tile in segments.query_tiles(TILE, options.window) {
            let segment = starts.partition_point(|&start| start <= tile.rows.start) - 1;
            tiles[segment].push(Keys::of(tile, &segments, options));
        }
        let mut tasks = Vec::new();
        for (segment, tiles) in tiles.iter().enumerate() {
            // Every so many tiles: later ones see more keys.
            let shares = (tiles.len() / SHARE_TILES).clamp(1, SHARES);
            for first in 0..shares {
                let share: Vec<&Keys> = tiles.iter().skip(first).step_by(shares).collect();
                tasks.extend((0..kv_heads).map(|head| (segment, share.clone(), head)));
            }
        }
        let grads: Vec<HeadGrads> = tasks
            .par_iter()
            .map(|(_, tiles, head)| inputs.backward_head(tiles, *head, output, logsumexp, grad))
            .collect();
        let mut grad_q = vec![0.0; tokens * heads * head_dim];
        let mut grad_k = vec![0.0; tokens * kv_heads * head_dim];
        let mut grad_v = vec![0.0; tokens * kv_heads * head_dim];
        let group_width = heads / kv_heads * head_dim;
        // In the order of the segments, so that what answers add to their prompt has one order.
        for ((segment, tiles, head), HeadGrads { q, k, v }) in tasks.into_iter().zip(grads) {
            let mut part = &q[..];
            for keys in tiles {
                let (values, rest) = part.split_at(keys.rows() * group_width);
                part = rest;
                let rows = keys.tile.rows.clone();
                add_rows(
                    &mut grad_q,
                    values,
                    rows,
                    head,
                    group_width,
                    heads * head_dim,
                );
            }
            let virtual_rows = segments.with_prefix(segment);
            for (grad, part) in [(&mut grad_k, k), (&mut grad_v, v)] {
                let mut part = &part[..];
                for rows in virtual_rows.clone() {
                    // What no tile of the share sees has no gradient here.
                    let (values, rest) = part.split_at(part.len().min(rows.len() * head_dim));
                    part = rest;
                    add_rows(grad, values, rows, head, head_dim, kv_heads * head_dim);
                }
            }
        }
        (
            tensor(grad_q, [tokens, heads, head_dim]),
            tensor(grad_k, [tokens, kv_heads, head_dim]),
            tensor(grad_v, [tokens, kv_heads, head_dim]),
        )
    }
}

/// Adds the rows of one key head (`width` values each) to a buffer of all heads.
fn add_rows(
    into: &mut [f32],
    from: &[f32],
    rows: Range<usize>,
    head: usize,
    width: usize,
    pitch: usize,
) {
    for (row, values) in rows.zip(from.chunks(width)) {
        let into = &mut into[row * pitch + head * width..][..width];
        for (into, value) in into.iter_mut().zip(values) {
            *into += value;
        }
    }
}

/// The gradients of one key head and its query heads from queries of one segment.
struct HeadGrads {
    /// `[rows, group · head_dim]`, in the order of the tiles.
    q: Vec<f32>,
    /// `[prefix and rows, head_dim]`, as `v`.
    k: Vec<f32>,
    v: Vec<f32>,
}

/// A tile of queries with the keys it sees as columns, one visit after the other.
#[derive(Clone)]
struct Keys {
    tile: Tile,
    columns: usize,
    /// Position of the first query, and of the first key, in their own sequence.
    first_query: usize,
    first_key: usize,
    window: usize,
}

impl Keys {
    fn of(tile: Tile, segments: &Segments, options: AttentionOptions) -> Self {
        let window = options.window.unwrap_or(usize::MAX);
        let first_query = segments.positions()[tile.rows.start] as usize;
        Keys {
            columns: tile.visits.iter().map(|visit| visit.rows.len()).sum(),
            first_query,
            first_key: first_query + 1 - (first_query + 1).min(window),
            window,
            tile,
        }
    }

    fn rows(&self) -> usize {
        self.tile.rows.len()
    }

    /// The columns that the i-th query sees.
    fn visible(&self, i: usize) -> Range<usize> {
        let position = self.first_query + i;
        let first = position + 1 - (position + 1).min(self.window);
        first - self.first_key..position + 1 - self.first_key
    }

    /// The first row, the rows and the first column of each visit.
    fn pieces(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.tile.visits.iter().scan(0, |column, visit| {
            let first = *column;
            *column += visit.rows.len();
            Some((visit.rows.start, visit.rows.len(), first))
        })
    }
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

    /// `out[rows, columns] = x · yᵀ` with y the rows of keys or values that a tile sees.
    fn products<'b>(&self, keys: &Keys, x: Mat<'_>, y: impl Fn(usize) -> Mat<'b>, out: &mut [f32]) {
        for (first_row, rows, column) in keys.pieces() {
            gemm(
                [keys.rows(), rows, self.head_dim],
                &mut out[column..],
                keys.columns,
                Into::Overwrite,
                1.0,
                x,
                y(first_row).transposed(),
                Threads::One,
            );
        }
    }

    /// `out[rows, head_dim] = weights · y` with y the rows of keys or values that a tile sees.
    fn weighted_sum<'b>(
        &self,
        keys: &Keys,
        weights: &[f32],
        y: impl Fn(usize) -> Mat<'b>,
        out: &mut [f32],
        out_pitch: usize,
    ) {
        for (first_row, rows, column) in keys.pieces() {
            gemm(
                [keys.rows(), self.head_dim, rows],
                out,
                out_pitch,
                if column == 0 {
                    Into::Overwrite
                } else {
                    Into::Add
                },
                1.0,
                Mat::rows(&weights[column..], keys.columns),
                y(first_row),
                Threads::One,
            );
        }
    }

    fn forward_tile(&self, keys: &Keys, out: &mut [f32], lse: &mut [f32]) {
        let start = keys.tile.rows.start;
        let mut scores = vec![0.0; keys.rows() * keys.columns];
        for head in 0..self.heads {
            let kv_head = head / (self.heads / self.kv_heads);
            self.products(
                keys,
                self.query(start, head),
                |row| self.key(row, kv_head),
                &mut scores,
            );
            vectorized!({
                for (i, scores) in scores.chunks_mut(keys.columns).enumerate() {
                    let visible = keys.visible(i);
                    let total = self.softmax(&mut scores[visible.clone()]);
                    scores[..visible.start].fill(0.0);
                    scores[visible.end..].fill(0.0);
                    lse[i * self.heads + head] = total;
                }
            });
            self.weighted_sum(
                keys,
                &scores,
                |row| self.value(row, kv_head),
                &mut out[head * self.head_dim..],
                self.heads * self.head_dim,
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
        tiles: &[&Keys],
        kv_head: usize,
        output: &[f32],
        logsumexp: &[f32],
        grad: &[f32],
    ) -> HeadGrads {
        let group = self.heads / self.kv_heads;
        let (head_dim, width) = (self.head_dim, self.heads * self.head_dim);
        let rows: usize = tiles.iter().map(|keys| keys.rows()).sum();
        let seen = tiles.iter().map(|keys| keys.first_key + keys.columns);
        let seen = seen.max().unwrap_or(0);
        let mut grad_q = vec![0.0; rows * group * head_dim];
        let mut grad_k = vec![0.0; seen * head_dim];
        let mut grad_v = vec![0.0; seen * head_dim];
        let mut probabilities = Vec::new();
        let mut grad_scores = Vec::new();
        for (member, head) in (kv_head * group..(kv_head + 1) * group).enumerate() {
            let mut row = 0;
            for keys in tiles {
                let start = keys.tile.rows.start;
                let size = [keys.rows(), keys.columns];
                probabilities.resize(size[0] * size[1], 0.0);
                grad_scores.resize(size[0] * size[1], 0.0);
                let query = self.query(start, head);
                let grad_out = Mat::rows(&grad[start * width + head * head_dim..], width);
                self.products(
                    keys,
                    query,
                    |row| self.key(row, kv_head),
                    &mut probabilities,
                );
                self.products(
                    keys,
                    grad_out,
                    |row| self.value(row, kv_head),
                    &mut grad_scores,
                );
                vectorized!({
                    let both = probabilities
                        .chunks_mut(size[1])
                        .zip(grad_scores.chunks_mut(size[1]));
                    for (i, (p, ds)) in both.enumerate() {
                        let at = (start + i) * width + head * head_dim;
                        let row_dot = dot(&output[at..at + head_dim], &grad[at..at + head_dim]);
                        let lse = logsumexp[(start + i) * self.heads + head];
                        self.backward_row(p, ds, keys.visible(i), lse, row_dot);
                    }
                });
                let local = (row * group + member) * head_dim;
                row += keys.rows();
                self.weighted_sum(
                    keys,
                    &grad_scores,
                    |row| self.key(row, kv_head),
                    &mut grad_q[local..],
                    group * head_dim,
                );
                for (into, weights, rows) in [
                    (&mut grad_k, &grad_scores, query),
                    (&mut grad_v, &probabilities, grad_out),
                ] {
                    gemm(
                        [size[1], head_dim, size[0]],
                        &mut into[keys.first_key * head_dim..],
                        head_dim,
                        Into::Add,
                        1.0,
                        Mat::rows(weights, size[1]).transposed(),
                        rows,
                        Threads::One,
                    );
                }
            }
        }
        HeadGrads {
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
