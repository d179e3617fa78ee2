use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::tile::sees;
use super::tile::*;

/// The output and the log-sum-exp of a tile of queries of one head.
#[cube(launch)]
pub(super) fn attend<F: Float>(
    q: &[Chunk<F>],
    k: &[Chunk<F>],
    v: &[Chunk<F>],
    table: &[u32],
    output: &mut [Pair<F>],
    logsumexp: &mut [f32],
    heads: usize,
    group: usize,
    window: usize,
    scale: f32,
    cap: f32,
    #[comptime] capped: bool,
    #[comptime] head_dim: usize,
    #[comptime] planes: usize,
    #[comptime] m_tiles: usize,
    #[comptime] keys: usize,
    #[define(F)] _element: ElemType,
) {
    let units = comptime!(planes * PLANE);
    let queries = comptime!(planes * m_tiles * 16);
    let n_tiles = comptime!(keys / 8);
    let columns = comptime!(head_dim / 8);
    let key_chunks = comptime!(keys * pitch(head_dim));
    let head = CUBE_POS_X as usize;
    let kv_heads = heads / group;
    let kv_head = head / group;
    let lane = UNIT_POS_PLANE as usize;
    let plane_row = (UNIT_POS as usize / PLANE) * comptime!(m_tiles * 16);

    let mut q_rows =
        Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(queries * pitch(head_dim)), 16usize);
    // Two stages: the next tile arrives while this one is worked on.
    let mut k_rows = Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * key_chunks), 16usize);
    let mut v_rows = Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * key_chunks), 16usize);

    let tile = CUBE_POS_Y as usize * 4;
    let row_start = table[tile] as usize;
    let row_end = table[tile + 1] as usize;
    let mut visit = table[tile + 2] as usize;
    let last_visit = table[tile + 3] as usize;
    let mut key_start = table[visit] as usize;
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
    let first_end = table[visit + 1] as usize;
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

    // A lane has two rows of each m-tile.
    let mut largest = Array::<f32>::new(comptime!(2 * m_tiles));
    let mut total = Array::<f32>::new(comptime!(2 * m_tiles));
    #[unroll]
    for i in 0..comptime!(2 * m_tiles) {
        largest[i] = f32::NEG_INFINITY;
        total[i] = 0.0;
    }
    let mut sums = Array::<Pair<f32>>::new(comptime!(2 * m_tiles * columns));
    clear(&mut sums, comptime!(2 * m_tiles * columns));

    while visit < last_visit {
        let visit_end = table[visit + 1] as usize;
        let gap = table[visit + 2] as usize;
        let mut next_visit = visit;
        let mut next_start = key_start + keys;
        if next_start >= visit_end {
            next_visit += 3;
            if next_visit < last_visit {
                next_start = table[next_visit] as usize;
            }
        }
        if next_visit < last_visit {
            let end = table[next_visit + 1] as usize;
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

        let first_row = row_start + plane_row;
        // Planes whose rows all come before the keys have nothing to do.
        if first_row + comptime!(m_tiles * 16 - 1) >= key_start + gap && first_row < row_end {
            let mut scores = Array::<Pair<f32>>::new(comptime!(2 * m_tiles * n_tiles));
            clear(&mut scores, comptime!(2 * m_tiles * n_tiles));
            products::<F>(
                &q_rows,
                plane_row * comptime!(pitch(head_dim)),
                &k_rows,
                stage * key_chunks,
                &mut scores,
                m_tiles,
                n_tiles,
                head_dim,
            );
            let all_seen = first_row + 1 >= key_start + keys + gap
                && key_start + keys <= visit_end
                && first_row + comptime!(m_tiles * 16 - 1) - key_start - gap < window;
            #[unroll]
            for i in 0..comptime!(2 * m_tiles * n_tiles) {
                let pair = scores[i];
                let mut scaled = Pair::<f32>::empty();
                #[unroll]
                for j in 0..2usize {
                    let (value, _) = score(pair.extract(j), scale, cap, capped);
                    scaled.insert(j, value);
                }
                scores[i] = scaled;
            }
            if !all_seen {
                #[unroll]
                for m in 0..m_tiles {
                    #[unroll]
                    for n in 0..n_tiles {
                        #[unroll]
                        for h in 0..2usize {
                            let row = first_row + comptime!(m * 16 + h * 8) + lane / 4;
                            let at = comptime!(2 * (m * n_tiles + n) + h);
                            let pair = scores[at];
                            let mut masked = Pair::<f32>::empty();
                            #[unroll]
                            for j in 0..2usize {
                                let key = key_start + comptime!(n * 8 + j) + 2 * (lane % 4);
                                let value = select(
                                    sees(row, row_end, key, visit_end, gap, window),
                                    pair.extract(j),
                                    f32::NEG_INFINITY,
                                );
                                masked.insert(j, value);
                            }
                            scores[at] = masked;
                        }
                    }
                }
            }
            #[unroll]
            for m in 0..m_tiles {
                #[unroll]
                for h in 0..2usize {
                    let row = comptime!(2 * m + h);
                    let before = largest[row];
                    let mut now = before;
                    #[unroll]
                    for n in 0..n_tiles {
                        let pair = scores[comptime!(2 * (m * n_tiles + n) + h)];
                        now = max(now, max(pair.extract(0usize), pair.extract(1usize)));
                    }
                    now = row_max(now);
                    largest[row] = now;
                    // A row that has seen no key yet: any finite number keeps NaN away.
                    let shift = select(now == f32::NEG_INFINITY, 0.0f32.runtime(), now);
                    let shrink = power_of_two(before - shift);
                    let mut sum = total[row] * shrink;
                    #[unroll]
                    for n in 0..n_tiles {
                        let at = comptime!(2 * (m * n_tiles + n) + h);
                        let pair = scores[at];
                        let mut weights = Pair::<f32>::empty();
                        #[unroll]
                        for j in 0..2usize {
                            let weight = power_of_two(pair.extract(j) - shift);
                            sum += weight;
                            weights.insert(j, weight);
                        }
                        scores[at] = weights;
                    }
                    total[row] = sum;
                    #[unroll]
                    for c in 0..columns {
                        let at = comptime!(2 * (m * columns + c) + h);
                        sums[at] *= Vector::new(shrink);
                    }
                }
            }
            weighted_rows::<F>(
                &scores,
                &v_rows,
                stage * key_chunks,
                &mut sums,
                m_tiles,
                n_tiles,
                head_dim,
            );
        }

        // Nobody reads this stage any more.
        sync_cube();
        stage = 1 - stage;
        visit = next_visit;
        key_start = next_start;
    }

    #[unroll]
    for m in 0..m_tiles {
        #[unroll]
        for h in 0..2usize {
            let index = comptime!(2 * m + h);
            let row = row_start + plane_row + comptime!(m * 16 + h * 8) + lane / 4;
            let sum = row_sum(total[index]);
            if row < row_end {
                let start = (row * heads + head) * comptime!(head_dim / 2) + lane % 4;
                let inverse = 1.0f32 / sum;
                #[unroll]
                for c in 0..columns {
                    let pair = sums[comptime!(2 * (m * columns + c) + h)] * Vector::new(inverse);
                    output[start + comptime!(c * 4)] = Vector::cast_from(pair);
                }
                let column = lane % 4;
                if column == 0 {
                    logsumexp[row * heads + head] = largest[index] / LOG2_E + sum.ln();
                }
            }
        }
    }
}
