use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::SquareSumOps;
use crate::cube::{contiguous, cube_sum, cubes, element, empty};

/// Values of one unit in the first pass, 256 apart.
const VALUES: usize = 32;
/// Units of a cube.
const UNITS: u32 = 256;

impl SquareSumOps for CubeBackend {
    fn square_sum(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [count] = x.shape().dims();
        let x = contiguous(x);
        let parts = count.div_ceil(VALUES * UNITS as usize).max(1);
        let sums = empty(&x, [parts], DType::F32);
        squares::launch(
            &x.client.clone(),
            cubes(parts),
            CubeDim::new_1d(UNITS),
            x.clone().into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            count,
            parts,
            element(&x),
        );
        let total = empty(&x, [1], DType::F32);
        sum::launch(
            &x.client.clone(),
            CubeCount::Static(1, 1, 1),
            CubeDim::new_1d(UNITS),
            sums.into_buffer_arg(),
            total.clone().into_buffer_arg(),
            parts,
        );
        total
    }
}

#[cube(launch)]
fn squares<F: Float>(
    x: &[F],
    sums: &mut [f32],
    count: usize,
    parts: usize,
    #[define(F)] _element: ElemType,
) {
    if CUBE_POS >= parts {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(256usize);
    let start = CUBE_POS * (VALUES * 256) + UNIT_POS as usize;
    let mut total = 0.0f32;
    for i in 0..VALUES {
        let at = start + i * 256;
        if at < count {
            let value = f32::cast_from(x[at]);
            total += value * value;
        }
    }
    let total = cube_sum(total, &mut scratch, UNITS);
    if UNIT_POS == 0 {
        sums[CUBE_POS] = total;
    }
}

#[cube(launch)]
fn sum(sums: &[f32], total: &mut [f32], parts: usize) {
    let mut scratch = Shared::<[f32]>::new_slice(256usize);
    let mut mine = 0.0f32;
    let mut part = UNIT_POS as usize;
    while part < parts {
        mine += sums[part];
        part += 256;
    }
    let all = cube_sum(mine, &mut scratch, UNITS);
    if UNIT_POS == 0 {
        total[0] = all;
    }
}
