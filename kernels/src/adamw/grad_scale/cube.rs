//! One cube: a parameter has one value, and a model some hundreds of parameters.

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::{GradScaleOps, LEFT_OUT, TABLES, tables};
use crate::cube::{contiguous, cube_sum, empty, tensor};

/// Units of the cube.
const UNITS: u32 = 256;

impl GradScaleOps for CubeBackend {
    fn grad_scale(
        values: FloatTensor<Self>,
        num_squares: usize,
        max_norm: f64,
    ) -> FloatTensor<Self> {
        let [count] = values.shape().dims();
        let values = contiguous(values);
        let scale = empty(&values, [1 + TABLES], DType::F32);
        clip::launch(
            &values.client.clone(),
            CubeCount::Static(1, 1, 1),
            CubeDim::new_1d(UNITS),
            values.clone().into_buffer_arg(),
            tensor(&values, tables().as_flattened(), [TABLES]).into_buffer_arg(),
            scale.clone().into_buffer_arg(),
            count,
            num_squares,
            max_norm as f32,
            max_norm > 0.0,
        );
        scale
    }
}

#[cube(launch)]
fn clip(
    values: &[f32],
    tables: &[f32],
    scale: &mut [f32],
    count: usize,
    num_squares: usize,
    max_norm: f32,
    #[comptime] clips: bool,
) {
    let mut scratch = Shared::<[f32]>::new_slice(256usize);
    let unit = UNIT_POS as usize;
    let mut squares = 0.0f32;
    let mut others = 0.0f32;
    let mut at = unit;
    while at < count {
        if at < num_squares {
            squares += values[at];
        }
        others += not_finite(values[at]);
        at += 256;
    }
    let squares = cube_sum(squares, &mut scratch, UNITS);
    let others = cube_sum(others, &mut scratch, UNITS);
    scale[1 + unit] = tables[unit];
    scale[257 + unit] = tables[256 + unit];
    if UNIT_POS == 0 {
        let mut factor = f32::new(1.0);
        if comptime!(clips) {
            factor = min(max_norm / (squares.sqrt() + 1e-6), 1.0f32);
        }
        if others + not_finite(squares) > 0.0f32 {
            factor = f32::new(LEFT_OUT);
        }
        scale[0] = factor;
    }
}

/// 1 for NaN and ±∞, by their bits: a comparison of floats may be compiled as if there were none.
#[cube]
fn not_finite(value: f32) -> f32 {
    let exponent = (u32::reinterpret(value) >> 23u32) & 255u32;
    let mut one = 0.0f32;
    if exponent == 255u32 {
        one = 1.0f32;
    }
    one
}
