use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::tile::sees;
use super::tile::*;

/// dQ = Σ dS·K over the keys of a tile of queries.
#[cube(launch)]
pub(super) fn queries<F: Float>(
    q: &[Chunk<F>],
    k: &[Chunk<F>],
    v: &[Chunk<F>],
    grad: &[Chunk<F>],
    row_info: &[u32],
    grad_q: &mut [Pair<F>],
    stats_start: usize,
    heads: usize,
    group: usize,
    window: usize,
    scale: f32,
    cap: f32,
    #[comptime] capped: bool,
    #[comptime] head_dim: usize,
    #[comptime] planes: usize,
    #[comptime] keys: usize,
    #[define(F)] _element: ElemType,
) {
    let units = comptime!(planes * PLANE);
    let queries = comptime!(planes * 16);
    let n_tiles = comptime!(keys / 8);
    let columns = comptime!(head_dim / 8);
    let query_chunks = comptime!(queries * pitch(head_dim));
    let key_chunks = comptime!(keys * pitch(head_dim));
    let head = CUBE_POS_X as usize;
    let kv_heads = heads / group;
    let kv_head = head / group;
    let lane = UNIT_POS_PLANE as usize;
    let plane_row = (UNIT_POS as usize / PLANE) * 16;

    let mut q_rows = Shared::<[Chunk<F>]>::new_aligned_slice(query_chunks, 16usize);
    let mut grad_rows = Shared::<[Chunk<F>]>::new_aligned_slice(query_chunks, 16usize);
    let mut k_rows = Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * key_chunks), 16usize);
    let mut v_rows = Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * key_chunks), 16usize);

    let tile = CUBE_POS_Y as usize * 4;
    let row_start = row_info[tile] as usize;
    let row_end = row_info[tile + 1] as usize;
    let mut visit = row_info[tile + 2] as usize;
    let last_visit = row_info[tile + 3] as usize;
    let mut key_start = row_info[visit] as usize;
    let mut stage = 0usize.runtime();

    copy_rows::<F>(
        q,
        row_start,
        row_end,
        heads,
        head,
        &mut q_rows,
        0usize,
        queries,
        head_dim,
        units,
    );
    copy_rows::<F>(
        grad,
        row_start,
        row_end,
        heads,
        head,
        &mut grad_rows,
        0usize,
        queries,
        head_dim,
        units,
    );
    let first_end = row_info[visit + 1] as usize;
    copy_rows::<F>(
        k,
        key_start,
        first_end,
        kv_heads,
        kv_head,
        &mut k_rows,
        0usize,
        keys,
        head_dim,
        units,
    );
    copy_rows::<F>(
        v,
        key_start,
        first_end,
        kv_heads,
        kv_head,
        &mut v_rows,
        0usize,
        keys,
        head_dim,
        units,
    );
    commit_copies();

    let first_row = row_start + plane_row;
    let mut logsumexp = Array::<f32>::new(2usize);
    let mut delta = Array::<f32>::new(2usize);
    #[unroll]
    for h in 0..2usize {
        let row = min(first_row + comptime!(h * 8) + lane / 4, row_end - 1);
        let at = stats_start + 2 * (row * heads + head);
        logsumexp[h] = f32::reinterpret(row_info[at]) * LOG2_E;
        delta[h] = f32::reinterpret(row_info[at + 1]);
    }
    let mut sums = Array::<Pair<f32>>::new(comptime!(2 * columns));
    clear(&mut sums, comptime!(2 * columns));

    while visit < last_visit {
        let visit_end = row_info[visit + 1] as usize;
        let gap = row_info[visit + 2] as usize;
        let mut next_visit = visit;
        let mut next_start = key_start + keys;
        if next_start >= visit_end {
            next_visit += 3;
            if next_visit < last_visit {
                next_start = row_info[next_visit] as usize;
            }
        }
        if next_visit < last_visit {
            let end = row_info[next_visit + 1] as usize;
            let to = (1 - stage) * key_chunks;
            copy_rows::<F>(
                k,
                next_start,
                end,
                kv_heads,
                kv_head,
                &mut k_rows,
                to,
                keys,
                head_dim,
                units,
            );
            copy_rows::<F>(
                v,
                next_start,
                end,
                kv_heads,
                kv_head,
                &mut v_rows,
                to,
                keys,
                head_dim,
                units,
            );
        }
        commit_copies();
        wait_for_all_but_newest();
        sync_cube();

        if first_row + 15 >= key_start + gap && first_row < row_end {
            let mut scores = Array::<Pair<f32>>::new(comptime!(2 * n_tiles));
            clear(&mut scores, comptime!(2 * n_tiles));
            let mut grads = Array::<Pair<f32>>::new(comptime!(2 * n_tiles));
            clear(&mut grads, comptime!(2 * n_tiles));
            let plane_at = plane_row * comptime!(pitch(head_dim));
            let stage_at = stage * key_chunks;
            products::<F>(
                &q_rows,
                plane_at,
                &k_rows,
                stage_at,
                &mut scores,
                1usize,
                n_tiles,
                head_dim,
            );
            products::<F>(
                &grad_rows, plane_at, &v_rows, stage_at, &mut grads, 1usize, n_tiles, head_dim,
            );
            #[unroll]
            for n in 0..n_tiles {
                #[unroll]
                for h in 0..2usize {
                    let row = first_row + comptime!(h * 8) + lane / 4;
                    let at = comptime!(2 * n + h);
                    let products = scores[at];
                    let grad_pair = grads[at];
                    let mut pair = Pair::<f32>::empty();
                    #[unroll]
                    for j in 0..2usize {
                        let key = key_start + comptime!(n * 8 + j) + 2 * (lane % 4);
                        let (s, ratio) = score(products.extract(j), scale, cap, capped);
                        let weight = power_of_two(s - logsumexp[h]);
                        let value = weight
                            * (grad_pair.extract(j) - delta[h])
                            * slope(scale, ratio, capped);
                        let seen = sees(row, row_end, key, visit_end, gap, window);
                        pair.insert(j, select(seen, value, 0.0f32.runtime()));
                    }
                    scores[at] = pair;
                }
            }
            weighted_rows::<F>(
                &scores, &k_rows, stage_at, &mut sums, 1usize, n_tiles, head_dim,
            );
        }

        sync_cube();
        stage = 1 - stage;
        visit = next_visit;
        key_start = next_start;
    }

    #[unroll]
    for h in 0..2usize {
        let row = first_row + comptime!(h * 8) + lane / 4;
        if row < row_end {
            let start = (row * heads + head) * comptime!(head_dim / 2) + lane % 4;
            #[unroll]
            for c in 0..columns {
                grad_q[start + comptime!(c * 4)] = Vector::cast_from(sums[comptime!(2 * c + h)]);
            }
        }
    }
}

/// dK = Σ dSᵀ·Q and dV = Σ Pᵀ·dO over the queries that see a tile of keys, head after head. Wide
/// heads take one of the two at a time, for their sums fill the registers.
#[cube(launch)]
pub(super) fn keys<F: Float>(
    q: &[Chunk<F>],
    k: &[Chunk<F>],
    v: &[Chunk<F>],
    grad: &[Chunk<F>],
    row_info: &[u32],
    grad_kv: &mut [Pair<F>],
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
    #[comptime] planes: usize,
    #[comptime] queries: usize,
    #[comptime] of_keys: bool,
    #[comptime] of_values: bool,
    #[define(F)] _element: ElemType,
) {
    let units = comptime!(planes * PLANE);
    let keys = comptime!(planes * 16);
    let n_tiles = comptime!(queries / 8);
    let columns = comptime!(head_dim / 8);
    let key_chunks = comptime!(keys * pitch(head_dim));
    let query_chunks = comptime!(queries * pitch(head_dim));
    let kv_head = CUBE_POS_X as usize;
    let kv_heads = heads / group;
    let lane = UNIT_POS_PLANE as usize;
    let plane_row = (UNIT_POS as usize / PLANE) * 16;

    let mut k_rows = Shared::<[Chunk<F>]>::new_aligned_slice(key_chunks, 16usize);
    let mut v_rows = Shared::<[Chunk<F>]>::new_aligned_slice(
        comptime!(if of_keys { key_chunks } else { 1 }),
        16usize,
    );
    let mut q_rows = Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * query_chunks), 16usize);
    let mut grad_rows =
        Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * query_chunks), 16usize);

    let tile = key_table + CUBE_POS_Y as usize * 4;
    let key_start = row_info[tile] as usize;
    let key_end = row_info[tile + 1] as usize;
    let first_visit = row_info[tile + 2] as usize;
    let last_visit = row_info[tile + 3] as usize;
    let last_head = (kv_head + 1) * group;
    let mut head = kv_head * group;
    let mut visit = first_visit;
    let mut query_start = row_info[visit] as usize;
    let mut stage = 0usize.runtime();

    copy_rows::<F>(
        k,
        key_start,
        key_end,
        kv_heads,
        kv_head,
        &mut k_rows,
        0usize,
        keys,
        head_dim,
        units,
    );
    if comptime!(of_keys) {
        copy_rows::<F>(
            v,
            key_start,
            key_end,
            kv_heads,
            kv_head,
            &mut v_rows,
            0usize,
            keys,
            head_dim,
            units,
        );
    }
    let first_end = row_info[visit + 1] as usize;
    copy_rows::<F>(
        q,
        query_start,
        first_end,
        heads,
        head,
        &mut q_rows,
        0usize,
        queries,
        head_dim,
        units,
    );
    copy_rows::<F>(
        grad,
        query_start,
        first_end,
        heads,
        head,
        &mut grad_rows,
        0usize,
        queries,
        head_dim,
        units,
    );
    commit_copies();

    let mut sums_k = Array::<Pair<f32>>::new(comptime!(if of_keys { 2 * columns } else { 1 }));
    clear(
        &mut sums_k,
        comptime!(if of_keys { 2 * columns } else { 1 }),
    );
    let mut sums_v = Array::<Pair<f32>>::new(comptime!(if of_values { 2 * columns } else { 1 }));
    clear(
        &mut sums_v,
        comptime!(if of_values { 2 * columns } else { 1 }),
    );

    let first_row = key_start + plane_row;
    while head < last_head {
        let visit_end = row_info[visit + 1] as usize;
        let gap = row_info[visit + 2] as usize;
        let mut next_head = head;
        let mut next_visit = visit;
        let mut next_start = query_start + queries;
        if next_start >= visit_end {
            next_visit += 3;
            if next_visit >= last_visit {
                next_visit = first_visit;
                next_head += 1;
            }
            next_start = row_info[next_visit] as usize;
        }
        if next_head < last_head {
            let end = row_info[next_visit + 1] as usize;
            let to = (1 - stage) * query_chunks;
            copy_rows::<F>(
                q,
                next_start,
                end,
                heads,
                next_head,
                &mut q_rows,
                to,
                queries,
                head_dim,
                units,
            );
            copy_rows::<F>(
                grad,
                next_start,
                end,
                heads,
                next_head,
                &mut grad_rows,
                to,
                queries,
                head_dim,
                units,
            );
        }
        commit_copies();
        wait_for_all_but_newest();
        sync_cube();

        // Planes whose keys all come after the queries have nothing to do.
        if query_start + comptime!(queries - 1) >= first_row + gap && first_row < key_end {
            let plane_at = plane_row * comptime!(pitch(head_dim));
            let stage_at = stage * query_chunks;
            let mut scores = Array::<Pair<f32>>::new(comptime!(2 * n_tiles));
            clear(&mut scores, comptime!(2 * n_tiles));
            products::<F>(
                &k_rows,
                plane_at,
                &q_rows,
                stage_at,
                &mut scores,
                1usize,
                n_tiles,
                head_dim,
            );
            let mut grads =
                Array::<Pair<f32>>::new(comptime!(if of_keys { 2 * n_tiles } else { 1 }));
            clear(&mut grads, comptime!(if of_keys { 2 * n_tiles } else { 1 }));
            if comptime!(of_keys) {
                products::<F>(
                    &v_rows, plane_at, &grad_rows, stage_at, &mut grads, 1usize, n_tiles, head_dim,
                );
            }
            #[unroll]
            for n in 0..n_tiles {
                #[unroll]
                for j in 0..2usize {
                    let query = query_start + comptime!(n * 8 + j) + 2 * (lane % 4);
                    let at = stats_start + 2 * (min(query, visit_end - 1) * heads + head);
                    let logsumexp = f32::reinterpret(row_info[at]) * LOG2_E;
                    let delta = f32::reinterpret(row_info[at + 1]);
                    #[unroll]
                    for h in 0..2usize {
                        let key = first_row + comptime!(h * 8) + lane / 4;
                        let at = comptime!(2 * n + h);
                        let (s, ratio) = score(scores[at].extract(j), scale, cap, capped);
                        let seen = sees(query, visit_end, key, key_end, gap, window);
                        let weight = select(seen, power_of_two(s - logsumexp), 0.0f32.runtime());
                        let mut weights = scores[at];
                        weights.insert(j, weight);
                        scores[at] = weights;
                        if comptime!(of_keys) {
                            let mut pair = grads[at];
                            let value =
                                weight * (pair.extract(j) - delta) * slope(scale, ratio, capped);
                            pair.insert(j, select(seen, value, 0.0f32.runtime()));
                            grads[at] = pair;
                        }
                    }
                }
            }
            if comptime!(of_values) {
                weighted_rows::<F>(
                    &scores,
                    &grad_rows,
                    stage_at,
                    &mut sums_v,
                    1usize,
                    n_tiles,
                    head_dim,
                );
            }
            if comptime!(of_keys) {
                weighted_rows::<F>(
                    &grads,
                    &q_rows,
                    stage_at,
                    &mut sums_k,
                    1usize,
                    n_tiles,
                    head_dim,
                );
            }
        }

        sync_cube();
        stage = 1 - stage;
        head = next_head;
        visit = next_visit;
        query_start = next_start;
    }

    #[unroll]
    for h in 0..2usize {
        let key = first_row + comptime!(h * 8) + lane / 4;
        if key < key_end {
            let start = (key * kv_heads + kv_head) * comptime!(head_dim / 2) + lane % 4;
            #[unroll]
            for c in 0..columns {
                if comptime!(of_keys) {
                    grad_kv[start + comptime!(c * 4)] =
                        Vector::cast_from(sums_k[comptime!(2 * c + h)]);
                }
                if comptime!(of_values) {
                    grad_kv[half + start + comptime!(c * 4)] =
                        Vector::cast_from(sums_v[comptime!(2 * c + h)]);
                }
            }
        }
    }
}

/// The derivative of the score by its product.
#[cube]
fn slope(scale: f32, ratio: f32, #[comptime] capped: bool) -> f32 {
    if comptime!(capped) {
        scale * (1.0 - ratio * ratio)
    } else {
        scale
    }
}
