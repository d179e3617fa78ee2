//! What the kernels do with tiles in shared memory and products in a plane's registers.
//!
//! A plane multiplies with `mma.sync` m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"). It
//! holds a product in tiles of 16 rows and 8 columns: lane l has columns 2(l % 4) and the next of row
//! l / 4, and the same of the row eight below, as two pairs. Two such tiles side by side, rounded,
//! are the left operand of the next product as they stand, so that weights never leave registers.

use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::prelude::barrier::copy_async_checked;
use cubecl::prelude::*;

/// Values of a copy of 16 bytes.
pub(super) const CHUNK: usize = 8;
pub(super) type Chunk<F> = Vector<F, Const<8>>;
pub(super) type Pair<F> = Vector<F, Const<2>>;

/// Units of a plane.
pub(super) const PLANE: usize = 32;
pub(super) const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// Chunks from one row to the next in shared memory: an odd number, so that the eight rows which a
/// plane reads at a time lie in different banks.
pub(super) const fn pitch(head_dim: usize) -> usize {
    head_dim / CHUNK + 1
}

/// Begins to copy rows `start..end` of a head, at most `rows` of them. The rest becomes zero.
#[cube]
pub(super) fn copy_rows<F: Float>(
    from: &[Chunk<F>],
    start: usize,
    end: usize,
    heads: usize,
    head: usize,
    to: &mut Shared<[Chunk<F>]>,
    offset: usize,
    #[comptime] rows: usize,
    #[comptime] head_dim: usize,
    #[comptime] units: usize,
) {
    let chunks = comptime!(head_dim / CHUNK);
    let steps = comptime!((rows * chunks).div_ceil(units));
    // Where a step of all units is whole rows, a unit stays in its column.
    let whole_rows = comptime!(units.is_multiple_of(chunks));
    #[unroll]
    for step in 0..steps {
        let at = UNIT_POS as usize + step * units;
        let mut row = at / chunks;
        let mut chunk = at % chunks;
        if comptime!(whole_rows) {
            row = UNIT_POS as usize / chunks + comptime!(step * (units / chunks));
            chunk = UNIT_POS as usize % chunks;
        }
        if comptime!((step + 1) * units <= rows * chunks) || at < comptime!(rows * chunks) {
            // A copy of nothing fills its 16 bytes with zeros.
            let length = select(start + row < end, 1usize.runtime(), 0usize.runtime());
            let source = (min(start + row, end - 1) * heads + head) * chunks + chunk;
            let place = offset + row * comptime!(pitch(head_dim)) + chunk;
            copy_async_checked(
                &from[source..source + length],
                &mut to[place..place + 1],
                comptime!(CHUNK as u32),
            );
        }
    }
}

/// Ends a group of copies of this unit.
#[cube]
pub(super) fn commit_copies() {
    gpu_asm!("cp.async.commit_group;");
}

/// Waits for all groups but the newest of this unit. Others' copies need a `sync_cube` after it.
#[cube]
pub(super) fn wait_for_all_but_newest() {
    gpu_asm!("cp.async.wait_group 1;");
}

/// Adds x rows · y rows to `sums`: 16 · `m_tiles` rows of x from the chunk `x_offset` on, which are
/// the plane's, and 8 · `n_tiles` of y.
#[cube]
pub(super) fn products<F: Float>(
    x: &Shared<[Chunk<F>]>,
    x_offset: usize,
    y: &Shared<[Chunk<F>]>,
    y_offset: usize,
    sums: &mut Array<Pair<f32>>,
    #[comptime] m_tiles: usize,
    #[comptime] n_tiles: usize,
    #[comptime] head_dim: usize,
) {
    let definition = MmaDefinition::<F, F, f32>::new(16usize, 8usize, 16usize);
    let pitch = comptime!(pitch(head_dim));
    let lane = UNIT_POS_PLANE as usize;
    let x_row = x_offset + (lane % 16) * pitch + lane / 16;
    let y_row = y_offset + ((lane / 16) * 8 + lane % 8) * pitch + (lane / 8) % 2;
    #[unroll]
    for k in 0..comptime!(head_dim / 16) {
        let mut left = Array::<Pair<F>>::new(comptime!(4 * m_tiles));
        #[unroll]
        for m in 0..m_tiles {
            let at = x_row + comptime!(m * 16 * pitch + 2 * k);
            let loaded = definition.load_matrix::<Chunk<F>, Const<2>>(
                &x[at..at + 1],
                MatrixIdent::A,
                4usize,
                false,
            );
            #[unroll]
            for i in 0..4usize {
                left[comptime!(4 * m + i)] = loaded[i];
            }
        }
        #[unroll]
        for n in 0..comptime!(n_tiles / 2) {
            let at = y_row + comptime!(n * 16 * pitch + 2 * k);
            let right = definition.load_matrix::<Chunk<F>, Const<2>>(
                &y[at..at + 1],
                MatrixIdent::B,
                4usize,
                false,
            );
            #[unroll]
            for m in 0..m_tiles {
                let tile = comptime!(m * n_tiles + 2 * n);
                multiply::<F>(&left, comptime!(4 * m), &right, 0usize, sums, tile);
                multiply::<F>(
                    &left,
                    comptime!(4 * m),
                    &right,
                    2usize,
                    sums,
                    comptime!(tile + 1),
                );
            }
        }
    }
}

/// Adds weights · y to `sums`, the weights in the layout of a product of 16 · `m_tiles` rows and 8 ·
/// `n_tiles` columns, y as many rows as the weights have columns.
#[cube]
pub(super) fn weighted_rows<F: Float>(
    weights: &Array<Pair<f32>>,
    y: &Shared<[Chunk<F>]>,
    y_offset: usize,
    sums: &mut Array<Pair<f32>>,
    #[comptime] m_tiles: usize,
    #[comptime] n_tiles: usize,
    #[comptime] head_dim: usize,
) {
    let definition = MmaDefinition::<F, F, f32>::new(16usize, 8usize, 16usize);
    let pitch = comptime!(pitch(head_dim));
    let columns = comptime!(head_dim / 8);
    let lane = UNIT_POS_PLANE as usize;
    let y_row = y_offset + (lane % 16) * pitch + lane / 16;
    #[unroll]
    for k in 0..comptime!(n_tiles / 2) {
        let mut left = Array::<Pair<F>>::new(comptime!(4 * m_tiles));
        #[unroll]
        for m in 0..m_tiles {
            #[unroll]
            for i in 0..4usize {
                left[comptime!(4 * m + i)] =
                    Vector::cast_from(weights[comptime!(2 * (m * n_tiles + 2 * k) + i)]);
            }
        }
        #[unroll]
        for c in 0..comptime!(columns / 2) {
            let at = y_row + comptime!(k * 16 * pitch + 2 * c);
            let right = definition.load_matrix::<Chunk<F>, Const<2>>(
                &y[at..at + 1],
                MatrixIdent::B,
                4usize,
                true,
            );
            #[unroll]
            for m in 0..m_tiles {
                let tile = comptime!(m * columns + 2 * c);
                multiply::<F>(&left, comptime!(4 * m), &right, 0usize, sums, tile);
                multiply::<F>(
                    &left,
                    comptime!(4 * m),
                    &right,
                    2usize,
                    sums,
                    comptime!(tile + 1),
                );
            }
        }
    }
}

#[cube]
fn multiply<F: Float>(
    left: &Array<Pair<F>>,
    #[comptime] left_at: usize,
    right: &Array<Pair<F>>,
    #[comptime] right_at: usize,
    sums: &mut Array<Pair<f32>>,
    #[comptime] tile: usize,
) {
    let definition = MmaDefinition::<F, F, f32>::new(16usize, 8usize, 16usize);
    let mut a = Array::<Pair<F>>::new(4usize);
    #[unroll]
    for i in 0..4usize {
        a[i] = left[comptime!(left_at + i)];
    }
    let mut b = Array::<Pair<F>>::new(2usize);
    let mut c = Array::<Pair<f32>>::new(2usize);
    #[unroll]
    for i in 0..2usize {
        b[i] = right[comptime!(right_at + i)];
        c[i] = sums[comptime!(2 * tile + i)];
    }
    let sum = definition.execute(&a, &b, &c);
    #[unroll]
    for i in 0..2usize {
        sums[comptime!(2 * tile + i)] = sum[i];
    }
}

/// A product's score in powers of two, and tanh of the product where there is a cap.
#[cube]
pub(super) fn score(product: f32, scale: f32, cap: f32, #[comptime] capped: bool) -> (f32, f32) {
    if comptime!(capped) {
        // Within 2e-7 of tanh, at both ends as well: 2ˣ is then zero or infinite.
        let ratio =
            1.0 - 2.0 * reciprocal(1.0 + power_of_two(product * (2.0 * LOG2_E * scale / cap)));
        (ratio * (cap * LOG2_E), ratio)
    } else {
        (product * (scale * LOG2_E), 0.0f32.runtime())
    }
}

/// 2ˣ by the hardware's approximation, two units in the last place.
#[cube]
pub(super) fn power_of_two(x: f32) -> f32 {
    let result: f32;
    gpu_asm!("ex2.approx.ftz.f32 {}, {};", out(_) result, in(_) x, options(pure, nomem));
    result
}

#[cube]
pub(super) fn reciprocal(x: f32) -> f32 {
    let result: f32;
    gpu_asm!("rcp.approx.ftz.f32 {}, {};", out(_) result, in(_) x, options(pure, nomem));
    result
}

/// The largest of the four lanes that hold a row.
#[cube]
pub(super) fn row_max(value: f32) -> f32 {
    let other = max(value, plane_shuffle_xor(value, 1u32));
    max(other, plane_shuffle_xor(other, 2u32))
}

/// The sum over the four lanes that hold a row.
#[cube]
pub(super) fn row_sum(value: f32) -> f32 {
    let other = value + plane_shuffle_xor(value, 1u32);
    other + plane_shuffle_xor(other, 2u32)
}

#[cube]
pub(super) fn clear(values: &mut Array<Pair<f32>>, #[comptime] count: usize) {
    #[unroll]
    for i in 0..count {
        values[i] = Vector::new(0.0f32);
    }
}
