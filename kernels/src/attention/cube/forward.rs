use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::tile::*;

#[cube(launch)]
pub(super) fn attend<F: Float>(
    q: &[F],
    k: &[F],
    v: &[F],
    table: &[u32],
    output: &mut [F],
    logsumexp: &mut [f32],
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
    let mut p = Shared::<[f32]>::new_slice(comptime!(TILE * PITCH));
    let mut sums = Shared::<[f32]>::new_slice(comptime!(SUM_ROWS * head_dim));
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(TILE * LANES));

    let tile = CUBE_POS_X as usize * 4;
    let row_start = table[tile] as usize;
    let row_end = table[tile + 1] as usize;
    let mut visit = table[tile + 2] as usize;
    let last_visit = table[tile + 3] as usize;

    let mut largest = Array::<f32>::new(ROWS);
    let mut total = Array::<f32>::new(ROWS);
    let mut out = Array::<f32>::new(comptime!(ROWS * columns));
    #[unroll]
    for i in 0..ROWS {
        largest[i] = LOWEST;
        total[i] = 0.0;
    }
    #[unroll]
    for i in 0..comptime!(ROWS * columns) {
        out[i] = 0.0;
    }

    while visit < last_visit {
        let visit_end = table[visit + 1] as usize;
        let gap = table[visit + 2] as usize;
        let mut key_start = table[visit] as usize;
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
            #[unroll]
            for i in 0..ROWS {
                let row = row_start + first_row + i;
                #[unroll]
                for j in 0..2 {
                    let key = key_start + lane + j * LANES;
                    let at = i * 2 + j;
                    if sees(row, row_end, key, visit_end, gap, window) {
                        scores[at] = score(scores[at], scale, cap, capped);
                    } else {
                        scores[at] = LOWEST;
                    }
                }
                scratch[(first_row + i) * LANES + lane] = max(scores[i * 2], scores[i * 2 + 1]);
            }
            sync_cube();
            #[unroll]
            for i in 0..ROWS {
                let before = largest[i];
                let mut now = before;
                #[unroll]
                for other in 0..LANES {
                    now = max(now, scratch[(first_row + i) * LANES + other]);
                }
                let shrink = (before - now).exp();
                largest[i] = now;
                total[i] *= shrink;
                #[unroll]
                for c in 0..columns {
                    out[i * columns + c] *= shrink;
                }
                let row = row_start + first_row + i;
                #[unroll]
                for j in 0..2 {
                    let key = key_start + lane + j * LANES;
                    let mut weight = 0.0f32;
                    if sees(row, row_end, key, visit_end, gap, window) {
                        weight = (scores[i * 2 + j] - now).exp();
                    }
                    total[i] += weight;
                    p[(first_row + i) * PITCH + lane + j * LANES] = weight;
                }
            }
            weighted_sum::<F>(
                v, key_start, visit_end, kv_heads, kv_head, &p, &mut sums, &mut out, head_dim,
            );
            key_start += TILE;
        }
        visit += 3;
    }

    sync_cube();
    #[unroll]
    for i in 0..ROWS {
        scratch[(first_row + i) * LANES + lane] = total[i];
    }
    sync_cube();
    #[unroll]
    for i in 0..ROWS {
        let row = row_start + first_row + i;
        let mut sum = 0.0f32;
        #[unroll]
        for other in 0..LANES {
            sum += scratch[(first_row + i) * LANES + other];
        }
        if row < row_end {
            let start = (row * heads + head) * head_dim;
            #[unroll]
            for c in 0..columns {
                let column = lane + c * LANES;
                if column < head_dim {
                    output[start + column] = F::cast_from(out[i * columns + c] / sum);
                }
            }
            if lane == 0 {
                logsumexp[row * heads + head] = largest[i] + sum.ln();
            }
        }
    }
}
