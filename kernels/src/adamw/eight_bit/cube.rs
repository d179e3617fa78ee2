//! A cube a block; a unit has four values, whose codes are one word.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{BLOCK, EightBitOps};
use crate::AdamWStep;
use crate::adamw::{Factors, copy_shape};
use crate::cube::{contiguous, cube_max, cubes, element, empty, owned};

/// Units of a cube.
const UNITS: u32 = 64;
const WORDS: usize = BLOCK / 4;
/// Where the tables are behind the factor, of the first moment and of the second.
const SIGNED: usize = 1;
const POSITIVE: usize = 257;

impl EightBitOps for CubeBackend {
    fn adamw_8bit(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        copy: Option<DType>,
        step: AdamWStep,
    ) -> (
        FloatTensor<Self>,
        IntTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let [count] = parameter.shape().dims();
        let [_, blocks] = scales.shape().dims();
        let grad = contiguous(grad);
        let [parameter, codes, scales] = [parameter, codes, scales].map(owned);
        let shape = copy_shape(copy, &parameter.shape());
        let rounded = empty(&parameter, shape, copy.unwrap_or(DType::F32));
        let factors = Factors::of(step);
        update::launch(
            &parameter.client.clone(),
            cubes(blocks),
            CubeDim::new_1d(UNITS),
            parameter.clone().into_buffer_arg(),
            grad.clone().into_buffer_arg(),
            codes.clone().into_buffer_arg(),
            scales.clone().into_buffer_arg(),
            scale.into_buffer_arg(),
            rounded.clone().into_buffer_arg(),
            count,
            blocks,
            factors.decay,
            factors.step_size,
            factors.root_correction,
            factors.beta1,
            factors.beta2,
            factors.rest1,
            factors.rest2,
            factors.epsilon,
            element(&grad),
            element(&rounded),
            copy.is_some(),
        );
        (parameter, codes, scales, rounded)
    }
}

#[cube(launch)]
fn update<G: Float, C: Float>(
    parameter: &mut [f32],
    grad: &[G],
    codes: &mut [u32],
    scales: &mut [f32],
    factor_and_tables: &[f32],
    copy: &mut [C],
    count: usize,
    blocks: usize,
    decay: f32,
    step_size: f32,
    root_correction: f32,
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    epsilon: f32,
    #[define(G)] _grad_element: ElemType,
    #[define(C)] _copy_element: ElemType,
    #[comptime] copies: bool,
) {
    let block = CUBE_POS;
    if block >= blocks {
        terminate!();
    }
    let mut scratch = Shared::<[f32]>::new_slice(WORDS);
    let factor = factor_and_tables[0];
    let is_taken = factor >= 0.0f32;
    let word = block * WORDS + UNIT_POS as usize;
    let first_word = codes[word];
    let second_word = codes[blocks * WORDS + word];
    let first_scale = scales[block];
    let second_scale = scales[blocks + block];
    let mut first = Array::<f32>::new(4usize);
    let mut second = Array::<f32>::new(4usize);
    let mut largest_first = 0.0f32;
    let mut largest_second = 0.0f32;
    #[unroll]
    for i in 0..4usize {
        let shift = comptime!(8 * i as u32);
        let at = word * 4 + i;
        first[i] = 0.0;
        second[i] = 0.0;
        if at < count {
            let code = (first_word >> shift) & 255u32;
            let before = factor_and_tables[SIGNED + code as usize] * first_scale;
            let code = (second_word >> shift) & 255u32;
            let before_second = factor_and_tables[POSITIVE + code as usize] * second_scale;
            let g = f32::cast_from(grad[at]) * factor;
            let m = beta1 * before + rest1 * g;
            let v = beta2 * before_second + rest2 * (g * g);
            let denominator = v.sqrt() / root_correction + epsilon;
            let mut p = parameter[at];
            if is_taken {
                p = decay * p - step_size * (m / denominator);
                parameter[at] = p;
            }
            if comptime!(copies) {
                copy[at] = C::cast_from(p);
            }
            first[i] = m;
            second[i] = v;
            largest_first = max(largest_first, m.abs());
            largest_second = max(largest_second, v);
        }
    }
    let largest_first = cube_max(largest_first, &mut scratch, UNITS);
    let largest_second = cube_max(largest_second, &mut scratch, UNITS);
    let mut inverse_first = 0.0f32;
    let mut inverse_second = 0.0f32;
    if largest_first > 0.0f32 {
        inverse_first = 1.0 / largest_first;
    }
    if largest_second > 0.0f32 {
        inverse_second = 1.0 / largest_second;
    }
    let mut first_codes = 0u32;
    let mut second_codes = 0u32;
    #[unroll]
    for i in 0..4usize {
        let shift = comptime!(8 * i as u32);
        first_codes |= nearest(factor_and_tables, SIGNED, first[i] * inverse_first) << shift;
        second_codes |= nearest(factor_and_tables, POSITIVE, second[i] * inverse_second) << shift;
    }
    if is_taken {
        codes[word] = first_codes;
        codes[blocks * WORDS + word] = second_codes;
        if UNIT_POS == 0 {
            scales[block] = largest_first;
            scales[blocks + block] = largest_second;
        }
    }
}

/// As on the host, where it is a search. Within a decade the steps are even, so a value's step and its
/// code follow by arithmetic; between decades, or by rounding, the nearest code is one beside that.
#[cube]
fn nearest(tables: &[f32], #[comptime] table: usize, value: f32) -> u32 {
    let is_signed = comptime!(table == SIGNED);
    let mut code = 255usize;
    // A NaN stays at the last code.
    if value <= half_way(tables, table, 254) {
        let magnitude = value.abs();
        let mut steps = comptime!(if is_signed { 64usize } else { 128usize }).runtime();
        let mut scale = f32::new(1.0);
        #[unroll]
        for decade in 1..7 {
            if magnitude <= comptime!(10f32.powi(-decade)) {
                steps /= 2;
                scale = comptime!(10f32.powi(decade)).runtime();
            }
        }
        let place = (magnitude * scale - 0.1) * (f32::cast_from(steps) / 0.9);
        // Within range before it is an integer.
        let place = min(max(place, 0.0f32), f32::cast_from(steps - 1));
        let step = usize::cast_from(place);
        code = step + steps - 1;
        if comptime!(is_signed) {
            code = step + steps + 127;
            if value < 0.0f32 {
                code = 254 - code;
            }
        }
        let below = max(code, 1usize) - 1;
        if value > half_way(tables, table, code) {
            code += 1;
        } else if value <= half_way(tables, table, below) {
            code = below;
        }
    }
    code as u32
}

/// Between a code and the next one.
#[cube]
fn half_way(tables: &[f32], #[comptime] table: usize, code: usize) -> f32 {
    0.5 * (tables[table + code] + tables[table + code + 1])
}
