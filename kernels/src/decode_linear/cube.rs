//! Tiles of 32 rows and 32 columns by cubes of 128 units; a unit holds four rows and two columns.
//! A tile's loop over the inner dimension is the same whatever the number of rows.

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::DecodeLinearOps;
use crate::cube::{contiguous, element, empty};

const TILE: usize = 32;
const UNITS: usize = 128;
/// Rows that a unit holds.
const ROWS: usize = 4;
/// Columns between a unit's two.
const LANES: usize = 16;
/// Values of the inner dimension in shared memory at a time.
const CHUNK: usize = 32;
/// One value between rows that units read at a time.
const PITCH: usize = CHUNK + 1;

impl DecodeLinearOps for CubeBackend {
    fn decode_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let [rows, width] = x.shape().dims();
        let [columns, _] = weight.shape().dims();
        let (x, weight) = (contiguous(x), contiguous(weight));
        let output = empty(&x, [rows, columns], x.dtype);
        product::launch(
            &x.client,
            CubeCount::Static(columns.div_ceil(TILE) as u32, rows.div_ceil(TILE) as u32, 1),
            CubeDim::new_1d(UNITS as u32),
            x.clone().into_buffer_arg(),
            weight.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            rows,
            columns,
            width,
            element(&x),
        );
        output
    }
}

#[cube(launch)]
fn product<F: Float>(
    x: &[F],
    weight: &[F],
    output: &mut [F],
    rows: usize,
    columns: usize,
    width: usize,
    #[define(F)] _element: ElemType,
) {
    let first_row = CUBE_POS_Y as usize * TILE;
    let first_column = CUBE_POS_X as usize * TILE;
    let my_row = (UNIT_POS as usize / LANES) * ROWS;
    let lane = UNIT_POS as usize % LANES;
    let mut a = Shared::<[f32]>::new_slice(comptime!(TILE * PITCH));
    let mut b = Shared::<[f32]>::new_slice(comptime!(TILE * PITCH));
    let mut sums = Array::<f32>::new(comptime!(2 * ROWS));
    #[unroll]
    for i in 0..comptime!(2 * ROWS) {
        sums[i] = 0.0;
    }
    let mut start = 0usize;
    while start < width {
        sync_cube();
        #[unroll]
        for i in 0..comptime!(TILE * CHUNK / UNITS) {
            let at = UNIT_POS as usize + i * UNITS;
            let row = at / CHUNK;
            let from = start + at % CHUNK;
            let mut x_value = 0.0f32;
            let mut weight_value = 0.0f32;
            if from < width && first_row + row < rows {
                x_value = f32::cast_from(x[(first_row + row) * width + from]);
            }
            if from < width && first_column + row < columns {
                weight_value = f32::cast_from(weight[(first_column + row) * width + from]);
            }
            a[row * PITCH + at % CHUNK] = x_value;
            b[row * PITCH + at % CHUNK] = weight_value;
        }
        sync_cube();
        #[unroll]
        for c in 0..CHUNK {
            let left = b[lane * PITCH + c];
            let right = b[(lane + LANES) * PITCH + c];
            #[unroll]
            for i in 0..ROWS {
                let value = a[(my_row + i) * PITCH + c];
                sums[i * 2] += value * left;
                sums[i * 2 + 1] += value * right;
            }
        }
        start += CHUNK;
    }
    #[unroll]
    for i in 0..ROWS {
        #[unroll]
        for j in 0..2 {
            let row = first_row + my_row + i;
            let column = first_column + lane + j * LANES;
            if row < rows && column < columns {
                output[row * columns + column] = F::cast_from(sums[i * 2 + j]);
            }
        }
    }
}
