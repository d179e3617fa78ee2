use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::tile::*;

/// What the backward reads for each query: the tables of both kernels as they are, then the
/// log-sum-exp and Σ dO∘O of every head, as bits.
#[cube(launch)]
pub(super) fn rows<F: Float>(
    output: &[F],
    grad: &[F],
    logsumexp: &[f32],
    table: &[u32],
    row_info: &mut [u32],
    stats_start: usize,
    stats: usize,
    #[comptime] head_dim: usize,
    #[define(F)] _element: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < stats_start {
        row_info[i] = table[i];
    } else if i < stats_start + stats {
        let at = i - stats_start;
        let mut dot = 0.0f32;
        for c in 0..head_dim {
            let value = f32::cast_from(output[at * head_dim + c]);
            dot += value * f32::cast_from(grad[at * head_dim + c]);
        }
        row_info[stats_start + 2 * at] = u32::reinterpret(logsumexp[at]);
        row_info[stats_start + 2 * at + 1] = u32::reinterpret(dot);
    }
}

/// dQ = Σ dS·K over the keys of a tile of queries.
#[cube(launch)]
pub(super) fn queries<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    grad: &[F],
    row_info: &[u32],
    grad_q: &mut [F],
    stats_start: usize,
    heads: usize,
    group: usize,
    window: usize,
    scale: f32,
    cap: f32,
    #[comptime] capped: bool,
    #[comptime] head_dim: usize,
    #[define(F)] _element: ElemType,
) {
    let columns = comptime!(head_dim.div_ceil(LANES));
    let head = CUBE_POS_Y as usize;
    let kv_heads = heads / group;
    let kv_head = head / group;
    let first_row = (UNIT_POS as usize / LANES) * ROWS;
    let lane = UNIT_POS as usize % LANES;
    let mut a = Shared::<[f32]>::new_slice(comptime!(TILE * CHUNK_PITCH));
    let mut b = Shared::<[f32]>::new_slice(comptime!(TILE * CHUNK_PITCH));
    let mut ds = Shared::<[f32]>::new_slice(comptime!(TILE * PITCH));
    let mut sums = Shared::<[f32]>::new_slice(comptime!(SUM_ROWS * head_dim));

    let tile = CUBE_POS_X as usize * 4;
    let row_start = row_info[tile] as usize;
    let row_end = row_info[tile + 1] as usize;
    let mut visit = row_info[tile + 2] as usize;
    let last_visit = row_info[tile + 3] as usize;

    let mut logsumexp = Array::<f32>::new(ROWS);
    let mut delta = Array::<f32>::new(ROWS);
    let mut out = Array::<f32>::new(comptime!(ROWS * columns));
    #[unroll]
    for i in 0..ROWS {
        let row = min(row_start + first_row + i, row_end - 1);
        let at = stats_start + 2 * (row * heads + head);
        logsumexp[i] = f32::reinterpret(row_info[at]);
        delta[i] = f32::reinterpret(row_info[at + 1]);
    }
    #[unroll]
    for i in 0..comptime!(ROWS * columns) {
        out[i] = 0.0;
    }

    while visit < last_visit {
        let visit_end = row_info[visit + 1] as usize;
        let gap = row_info[visit + 2] as usize;
        let mut key_start = row_info[visit] as usize;
        while key_start < visit_end {
            let mut scores = Array::<f32>::new(comptime!(2 * ROWS));
            products::<F>(
                q,
                row_start,
                row_end,
                heads,
                head,
                k,
                key_start,
                visit_end,
                kv_heads,
                kv_head,
                &mut a,
                &mut b,
                &mut scores,
                head_dim,
            );
            let mut grads = Array::<f32>::new(comptime!(2 * ROWS));
            products::<F>(
                grad, row_start, row_end, heads, head, v, key_start, visit_end, kv_heads, kv_head,
                &mut a, &mut b, &mut grads, head_dim,
            );
            #[unroll]
            for i in 0..ROWS {
                let row = row_start + first_row + i;
                #[unroll]
                for j in 0..2 {
                    let key = key_start + lane + j * LANES;
                    let mut value = 0.0f32;
                    if sees(row, row_end, key, visit_end, gap, window) {
                        let s = score(scores[i * 2 + j], scale, cap, capped);
                        let weight = (s - logsumexp[i]).exp();
                        value =
                            weight * (grads[i * 2 + j] - delta[i]) * slope(s, scale, cap, capped);
                    }
                    ds[(first_row + i) * PITCH + lane + j * LANES] = value;
                }
            }
            weighted_sum::<F>(
                k, key_start, visit_end, kv_heads, kv_head, &ds, &mut sums, &mut out, head_dim,
            );
            key_start += TILE;
        }
        visit += 3;
    }

    #[unroll]
    for i in 0..ROWS {
        let row = row_start + first_row + i;
        if row < row_end {
            let start = (row * heads + head) * head_dim;
            #[unroll]
            for c in 0..columns {
                let column = lane + c * LANES;
                if column < head_dim {
                    grad_q[start + column] = F::cast_from(out[i * columns + c]);
                }
            }
        }
    }
}

/// dK = Σ dSᵀ·Q and dV = Σ Pᵀ·dO over the queries that see a tile of keys, head after head.
#[cube(launch)]
pub(super) fn keys<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    grad: &[F],
    row_info: &[u32],
    grad_kv: &mut [F],
    key_table: usize,
    stats_start: usize,
    half: usize,
    heads: usize,
    group: usize,
    window: usize,
    scale: f32,
    cap: f32,
    #[comptime] capped: bool,
    #[comptime] head_dim: usize,
    #[define(F)] _element: ElemType,
) {
    let columns = comptime!(head_dim.div_ceil(LANES));
    let kv_head = CUBE_POS_Y as usize;
    let kv_heads = heads / group;
    let first_row = (UNIT_POS as usize / LANES) * ROWS;
    let lane = UNIT_POS as usize % LANES;
    let mut a = Shared::<[f32]>::new_slice(comptime!(TILE * CHUNK_PITCH));
    let mut b = Shared::<[f32]>::new_slice(comptime!(TILE * CHUNK_PITCH));
    let mut p = Shared::<[f32]>::new_slice(comptime!(TILE * PITCH));
    let mut ds = Shared::<[f32]>::new_slice(comptime!(TILE * PITCH));
    let mut sums = Shared::<[f32]>::new_slice(comptime!(SUM_ROWS * head_dim));

    let tile = key_table + CUBE_POS_X as usize * 4;
    let key_start = row_info[tile] as usize;
    let key_end = row_info[tile + 1] as usize;
    let first_visit = row_info[tile + 2] as usize;
    let last_visit = row_info[tile + 3] as usize;

    let mut out_k = Array::<f32>::new(comptime!(ROWS * columns));
    let mut out_v = Array::<f32>::new(comptime!(ROWS * columns));
    #[unroll]
    for i in 0..comptime!(ROWS * columns) {
        out_k[i] = 0.0;
        out_v[i] = 0.0;
    }

    for head in kv_head * group..(kv_head + 1) * group {
        let mut visit = first_visit;
        while visit < last_visit {
            let visit_end = row_info[visit + 1] as usize;
            let gap = row_info[visit + 2] as usize;
            let mut query_start = row_info[visit] as usize;
            while query_start < visit_end {
                let mut scores = Array::<f32>::new(comptime!(2 * ROWS));
                products::<F>(
                    k,
                    key_start,
                    key_end,
                    kv_heads,
                    kv_head,
                    q,
                    query_start,
                    visit_end,
                    heads,
                    head,
                    &mut a,
                    &mut b,
                    &mut scores,
                    head_dim,
                );
                let mut grads = Array::<f32>::new(comptime!(2 * ROWS));
                products::<F>(
                    v,
                    key_start,
                    key_end,
                    kv_heads,
                    kv_head,
                    grad,
                    query_start,
                    visit_end,
                    heads,
                    head,
                    &mut a,
                    &mut b,
                    &mut grads,
                    head_dim,
                );
                #[unroll]
                for j in 0..2 {
                    let query = query_start + lane + j * LANES;
                    let at = stats_start + 2 * (min(query, visit_end - 1) * heads + head);
                    let logsumexp = f32::reinterpret(row_info[at]);
                    let delta = f32::reinterpret(row_info[at + 1]);
                    #[unroll]
                    for i in 0..ROWS {
                        let key = key_start + first_row + i;
                        let mut weight = 0.0f32;
                        let mut value = 0.0f32;
                        if sees(query, visit_end, key, key_end, gap, window) {
                            let s = score(scores[i * 2 + j], scale, cap, capped);
                            weight = (s - logsumexp).exp();
                            value =
                                weight * (grads[i * 2 + j] - delta) * slope(s, scale, cap, capped);
                        }
                        let place = (first_row + i) * PITCH + lane + j * LANES;
                        p[place] = weight;
                        ds[place] = value;
                    }
                }
                weighted_sum::<F>(
                    grad,
                    query_start,
                    visit_end,
                    heads,
                    head,
                    &p,
                    &mut sums,
                    &mut out_v,
                    head_dim,
                );
                weighted_sum::<F>(
                    q,
                    query_start,
                    visit_end,
                    heads,
                    head,
                    &ds,
                    &mut sums,
                    &mut out_k,
                    head_dim,
                );
                query_start += TILE;
            }
            visit += 3;
        }
    }

    #[unroll]
    for i in 0..ROWS {
        let key = key_start + first_row + i;
        if key < key_end {
            let start = (key * kv_heads + kv_head) * head_dim;
            #[unroll]
            for c in 0..columns {
                let column = lane + c * LANES;
                if column < head_dim {
                    grad_kv[start + column] = F::cast_from(out_k[i * columns + c]);
                    grad_kv[half + start + column] = F::cast_from(out_v[i * columns + c]);
                }
            }
        }
    }
}
