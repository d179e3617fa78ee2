//! What the kernels do with a tile of 32 rows and 32 columns.

use cubecl::prelude::*;

use crate::cube::saturating_tanh;

/// Rows of a tile, and columns.
pub(super) const TILE: usize = 32;
/// Units of a cube: eight groups of four rows, times sixteen columns.
pub(super) const UNITS: usize = 128;
/// Rows that a unit holds.
pub(super) const ROWS: usize = 4;
/// Columns between two of a unit's.
pub(super) const LANES: usize = 16;
/// A row of a tile in shared memory, with one value between rows that units read at a time.
pub(super) const PITCH: usize = TILE + 1;
/// Values of head_dim in shared memory at a time.
pub(super) const CHUNK: usize = 16;
pub(super) const CHUNK_PITCH: usize = CHUNK + 1;
/// Rows of a weighted sum in shared memory at a time.
pub(super) const SUM_ROWS: usize = 8;
/// Below every score, and finite, so that no difference of two maxima is NaN.
pub(super) const LOWEST: f32 = -1e30;

/// Whether a query meets a key, both inside their tiles.
#[cube]
pub(super) fn sees(
    query: usize,
    query_end: usize,
    key: usize,
    key_end: usize,
    gap: usize,
    window: usize,
) -> bool {
    query < query_end && key < key_end && query >= key + gap && query - key - gap < window
}

/// The scaled and capped score of a product.
#[cube]
pub(super) fn score(product: f32, scale: f32, cap: f32, #[comptime] capped: bool) -> f32 {
    if comptime!(capped) {
        cap * saturating_tanh(product * (scale / cap))
    } else {
        product * scale
    }
}

/// The derivative of the score by its product.
#[cube]
pub(super) fn slope(score: f32, scale: f32, cap: f32, #[comptime] capped: bool) -> f32 {
    if comptime!(capped) {
        let ratio = score / cap;
        scale * (1.0 - ratio * ratio)
    } else {
        scale
    }
}

/// `x` rows · `y` rows of a tile: for the unit's four rows of x and two of y. Rows at or beyond an
/// end count as zero.
#[cube]
pub(super) fn products<F: Float>(
    x: &[F],
    x_start: usize,
    x_end: usize,
    x_heads: usize,
    x_head: usize,
    y: &[F],
    y_start: usize,
    y_end: usize,
    y_heads: usize,
    y_head: usize,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    result: &mut Array<f32>,
    #[comptime] head_dim: usize,
) {
    let first_row = (UNIT_POS as usize / LANES) * ROWS;
    let lane = UNIT_POS as usize % LANES;
    #[unroll]
    for i in 0..comptime!(2 * ROWS) {
        result[i] = 0.0;
    }
    let chunks = comptime!(head_dim.div_ceil(CHUNK));
    for chunk in 0..chunks {
        // Nobody overwrites what another still reads.
        sync_cube();
        #[unroll]
        for i in 0..comptime!(TILE * CHUNK / UNITS) {
            let at = UNIT_POS as usize + i * UNITS;
            let row = at / CHUNK;
            let column = at % CHUNK;
            let from = chunk * CHUNK + column;
            let mut x_value = 0.0f32;
            let mut y_value = 0.0f32;
            if from < head_dim && x_start + row < x_end {
                x_value = f32::cast_from(x[((x_start + row) * x_heads + x_head) * head_dim + from]);
            }
            if from < head_dim && y_start + row < y_end {
                y_value = f32::cast_from(y[((y_start + row) * y_heads + y_head) * head_dim + from]);
            }
            a[row * CHUNK_PITCH + column] = x_value;
            b[row * CHUNK_PITCH + column] = y_value;
        }
        sync_cube();
        #[unroll]
        for c in 0..CHUNK {
            let left = b[lane * CHUNK_PITCH + c];
            let right = b[(lane + LANES) * CHUNK_PITCH + c];
            #[unroll]
            for i in 0..ROWS {
                let value = a[(first_row + i) * CHUNK_PITCH + c];
                result[i * 2] += value * left;
                result[i * 2 + 1] += value * right;
            }
        }
    }
}

/// Adds weights · values to the unit's four rows and every sixteenth column of `out`.
#[cube]
pub(super) fn weighted_sum<F: Float>(
    values: &[F],
    start: usize,
    end: usize,
    heads: usize,
    head: usize,
    weights: &Shared<[f32]>,
    sums: &mut Shared<[f32]>,
    out: &mut Array<f32>,
    #[comptime] head_dim: usize,
) {
    let columns = comptime!(head_dim.div_ceil(LANES));
    let first_row = (UNIT_POS as usize / LANES) * ROWS;
    let lane = UNIT_POS as usize % LANES;
    for chunk in 0..comptime!(TILE / SUM_ROWS) {
        // The weights are written, and nobody still reads the rows before.
        sync_cube();
        let mut at = UNIT_POS as usize;
        while at < comptime!(SUM_ROWS * head_dim) {
            let row = start + chunk * SUM_ROWS + at / head_dim;
            let mut value = 0.0f32;
            if row < end {
                value = f32::cast_from(values[(row * heads + head) * head_dim + at % head_dim]);
            }
            sums[at] = value;
            at += UNITS;
        }
        sync_cube();
        for j in 0..SUM_ROWS {
            #[unroll]
            for c in 0..columns {
                let column = lane + c * LANES;
                let mut value = 0.0f32;
                if column < head_dim {
                    value = sums[j * head_dim + column];
                }
                #[unroll]
                for i in 0..ROWS {
                    let weight = weights[(first_row + i) * PITCH + chunk * SUM_ROWS + j];
                    out[i * columns + c] += weight * value;
                }
            }
        }
    }
}
