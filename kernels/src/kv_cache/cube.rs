//! A cube takes 256 keys of one sequence and up to eight query heads of one key head; a second
//! kernel puts the pieces of a sequence together in their order. Pieces begin at fixed places, so
//! that a sequence's sums do not depend on the others'.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{CacheRows, KvCacheOps};
use crate::AttentionOptions;
use crate::cube::{
    contiguous, cube_max, cube_sum, element, elementwise, empty, owned, saturating_tanh, upload,
};
use crate::segments::first_visible;

/// Keys of one cube.
const KEYS: usize = 256;
/// Units of a cube.
const UNITS: usize = 128;
/// Query heads of one cube, at most.
const HEADS: usize = 8;
/// Below every score, and finite, so that no difference of two maxima is NaN.
const LOWEST: f32 = -1e30;

impl KvCacheOps for CubeBackend {
    fn write_rows(
        cache: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<[usize]>,
    ) -> FloatTensor<Self> {
        let [count, kv_heads, head_dim] = new.shape().dims();
        let width = kv_heads * head_dim;
        let cache = owned(cache);
        let new = contiguous(new);
        let (cubes, units) = elementwise(count * width);
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        scatter_rows::launch(
            &cache.client.clone(),
            cubes,
            units,
            cache.clone().into_buffer_arg(),
            new.into_buffer_arg(),
            upload(&cache, &rows),
            count * width,
            width,
            element(&cache),
        );
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
        let [q, k, v] = [q, k, v].map(contiguous);
        let group = heads / kv_heads;
        let per_cube = (1..=HEADS.min(group))
            .rev()
            .find(|count| group.is_multiple_of(*count))
            .expect("one divides everything");
        let ranges: Vec<[usize; 2]> = rows
            .slots
            .iter()
            .zip(&*rows.lengths)
            .map(|(slot, &length)| {
                let first = first_visible(length - 1, 0, options.window);
                [slot * capacity + first, slot * capacity + length]
            })
            .collect();
        let pieces = |[start, end]: &[usize; 2]| (end - start).div_ceil(KEYS);
        let splits = ranges.iter().map(pieces).max().unwrap_or(1);
        let table: Vec<u32> = ranges.iter().flatten().map(|&row| row as u32).collect();
        let table = upload(&q, &table);
        // Of each piece: the weighted values, the largest score and the sum of the weights.
        let parts = empty(&q, [sequences, heads, splits, head_dim + 2], DType::F32);
        piece::launch(
            &q.client,
            CubeCount::Static(splits as u32, (heads / per_cube) as u32, sequences as u32),
            CubeDim::new_1d(UNITS as u32),
            q.clone().into_buffer_arg(),
            k.into_buffer_arg(),
            v.into_buffer_arg(),
            table,
            parts.clone().into_buffer_arg(),
            kv_heads,
            group,
            splits,
            options.scale,
            options.softcap.unwrap_or(1.0),
            options.softcap.is_some(),
            per_cube,
            head_dim,
            element(&q),
        );
        let output = empty(&q, [sequences, heads, head_dim], q.dtype);
        let lengths: Vec<u32> = ranges.iter().map(|range| pieces(range) as u32).collect();
        let (cubes, units) = elementwise(sequences * heads * head_dim);
        merge::launch(
            &q.client,
            cubes,
            units,
            parts.into_buffer_arg(),
            upload(&q, &lengths),
            output.clone().into_buffer_arg(),
            sequences * heads * head_dim,
            heads,
            splits,
            head_dim,
            element(&q),
        );
        output
    }
}

#[cube(launch)]
fn scatter_rows<F: Float>(
    cache: &mut [F],
    new: &[F],
    rows: &[u32],
    count: usize,
    width: usize,
    #[define(F)] _element: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        cache[rows[i / width] as usize * width + i % width] = new[i];
    }
}

#[cube(launch)]
fn piece<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    table: &[u32],
    parts: &mut [f32],
    kv_heads: usize,
    group: usize,
    splits: usize,
    scale: f32,
    cap: f32,
    #[comptime] capped: bool,
    #[comptime] per_cube: usize,
    #[comptime] head_dim: usize,
    #[define(F)] _element: ElemType,
) {
    let split = CUBE_POS_X as usize;
    let first_head = CUBE_POS_Y as usize * per_cube;
    let sequence = CUBE_POS_Z as usize;
    let kv_head = first_head / group;
    let unit = UNIT_POS as usize;
    let start = table[2 * sequence] as usize + split * KEYS;
    let end = min(start + KEYS, table[2 * sequence + 1] as usize);
    if start >= end {
        terminate!();
    }
    let heads = kv_heads * group;
    let query = (sequence * heads + first_head) * head_dim;
    let mut queries = Shared::<[f32]>::new_slice(comptime!(per_cube * head_dim));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(per_cube * KEYS));
    let mut scratch = Shared::<[f32]>::new_slice(UNITS);
    let mut at = unit;
    while at < comptime!(per_cube * head_dim) {
        queries[at] = f32::cast_from(q[query + at]);
        at += UNITS;
    }
    sync_cube();

    #[unroll]
    for i in 0..comptime!(KEYS / UNITS) {
        let place = unit + i * UNITS;
        let key = start + place;
        let mut scores = Array::<f32>::new(per_cube);
        #[unroll]
        for head in 0..per_cube {
            scores[head] = 0.0;
        }
        if key < end {
            let from = (key * kv_heads + kv_head) * head_dim;
            for c in 0..head_dim {
                let value = f32::cast_from(k[from + c]);
                #[unroll]
                for head in 0..per_cube {
                    scores[head] += value * queries[head * head_dim + c];
                }
            }
        }
        #[unroll]
        for head in 0..per_cube {
            let mut score = scores[head] * scale;
            if comptime!(capped) {
                score = cap * saturating_tanh(scores[head] * (scale / cap));
            }
            if key >= end {
                score = LOWEST;
            }
            weights[head * KEYS + place] = score;
        }
    }
    sync_cube();

    #[unroll]
    for head in 0..per_cube {
        let mut mine = LOWEST.runtime();
        #[unroll]
        for i in 0..comptime!(KEYS / UNITS) {
            mine = max(mine, weights[head * KEYS + unit + i * UNITS]);
        }
        let largest = cube_max(mine, &mut scratch, comptime!(UNITS as u32));
        let mut total = 0.0f32;
        #[unroll]
        for i in 0..comptime!(KEYS / UNITS) {
            let place = head * KEYS + unit + i * UNITS;
            let mut weight = 0.0f32;
            if start + unit + i * UNITS < end {
                weight = (weights[place] - largest).exp();
            }
            weights[place] = weight;
            total += weight;
        }
        let total = cube_sum(total, &mut scratch, comptime!(UNITS as u32));
        if unit == 0 {
            let part = ((sequence * heads + first_head + head) * splits + split) * (head_dim + 2);
            parts[part + head_dim] = largest;
            parts[part + head_dim + 1] = total;
        }
    }
    sync_cube();

    let mut column = unit;
    while column < head_dim {
        let mut sums = Array::<f32>::new(per_cube);
        #[unroll]
        for head in 0..per_cube {
            sums[head] = 0.0;
        }
        for key in start..end {
            let value = f32::cast_from(v[(key * kv_heads + kv_head) * head_dim + column]);
            #[unroll]
            for head in 0..per_cube {
                sums[head] += weights[head * KEYS + key - start] * value;
            }
        }
        #[unroll]
        for head in 0..per_cube {
            let part = ((sequence * heads + first_head + head) * splits + split) * (head_dim + 2);
            parts[part + column] = sums[head];
        }
        column += UNITS;
    }
}

/// A unit adds up one value of the output over the pieces of its sequence.
#[cube(launch)]
fn merge<F: Float>(
    parts: &[f32],
    pieces: &[u32],
    output: &mut [F],
    count: usize,
    heads: usize,
    splits: usize,
    head_dim: usize,
    #[define(F)] _element: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let head = i / head_dim;
        let first = head * splits * (head_dim + 2);
        let count = pieces[head / heads] as usize;
        let mut largest = LOWEST.runtime();
        for piece in 0..count {
            largest = max(largest, parts[first + piece * (head_dim + 2) + head_dim]);
        }
        let mut total = 0.0f32;
        let mut sum = 0.0f32;
        for piece in 0..count {
            let part = first + piece * (head_dim + 2);
            let factor = (parts[part + head_dim] - largest).exp();
            total += factor * parts[part + head_dim + 1];
            sum += factor * parts[part + i % head_dim];
        }
        output[i] = F::cast_from(sum / total);
    }
}
