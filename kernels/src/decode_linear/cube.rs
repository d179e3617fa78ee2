//! In float32, tiles of 32 rows and 32 columns by cubes of 128 units; a unit holds four rows and two columns.
//! A tile's loop over the inner dimension is the same whatever the number of rows.
//!
//! In half precision, the device's own matmul, which has the matrix instructions. It chooses its tiles
//! by the number of rows, so it always sees 128 of them, or a fixed multiple that is aligned: as many as a tile of such instructions has,
//! and few enough that reading the weight takes longer than multiplying by it.

use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_backend::TensorMetadata;
use burn_backend::ops::FloatTensorOps;
use burn_cubecl::CubeBackend;
use burn_cubecl::ops::numeric;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{DECODE_BLOCK, DecodeLinearOps};
use crate::cube::{alignment, contiguous, element, empty, product, rows, transposed};

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
    fn decode_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dtype: DType,
    ) -> FloatTensor<Self> {
        if x.dtype() != DType::F32 {
            return by_blocks(x, weight, dtype);
        }
        let [rows, width] = x.shape().dims();
        let [columns, _] = weight.shape().dims();
        let (x, weight) = (contiguous(x), contiguous(weight));
        let output = empty(&x, [rows, columns], dtype);
        tiles::launch(
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
            element(&output),
        );
        output
    }
}

/// Equal blocks of rows through the device's matmul.
fn by_blocks(x: CubeTensor, weight: CubeTensor, dtype: DType) -> CubeTensor {
    let [count, width] = x.shape().dims();
    let [columns, _] = weight.shape().dims();
    let row_bytes = [width * x.dtype.size(), columns * dtype.size()];
    let alignment = alignment(&x);
    let mut block = DECODE_BLOCK;
    while !row_bytes
        .iter()
        .all(|bytes| (block * bytes).is_multiple_of(alignment))
    {
        block *= 2;
    }
    let padded = count.next_multiple_of(block);
    let x = match padded - count {
        0 => contiguous(x),
        missing => {
            let shape = Shape::from([missing, width]);
            let zeros = numeric::zeros(x.device.clone(), shape, x.dtype);
            contiguous(CubeBackend::float_cat(vec![x, zeros], 0))
        }
    };
    let weight = transposed(contiguous(weight));
    let output = empty(&x, [padded, columns], dtype);
    for start in (0..padded).step_by(block) {
        let range = start..start + block;
        let (from, into) = (rows(&x, &range), rows(&output, &range));
        product(from, weight.clone(), Some(into), dtype);
    }
    rows(&output, &(0..count))
}

#[cube(launch)]
fn tiles<F: Float, O: Float>(
    x: &[F],
    weight: &[F],
    output: &mut [O],
    rows: usize,
    columns: usize,
    width: usize,
    #[define(F)] _element: ElemType,
    #[define(O)] _output_element: ElemType,
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
                output[row * columns + column] = O::cast_from(sums[i * 2 + j]);
            }
        }
    }
}
