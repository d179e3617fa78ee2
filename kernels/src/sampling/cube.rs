//! The vocabulary of a row is cut into at most 256 slices. A cube takes the maximum and the weights of one
//! slice, reading each logit once. Then a cube a row has all it needs to choose from the whole
//! distribution: the slice in which the number falls, and the token in it. What top-k and top-p keep is
//! found first, four bits of the threshold at a time, the largest that still leaves enough tokens, or
//! enough weight, at or above it.

mod kept;

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{SamplingOps, SamplingOptions};
use crate::cube::{contiguous, cube_max, cube_sum, cubes, element, empty, saturating_tanh, tensor};
use kept::{BINS, first_of, kept_weights, threshold};

/// Units of a cube.
const UNITS: u32 = 256;
const STEP: usize = 256;
/// Tokens of a slice that a unit has, where 256 slices are enough.
const EACH: usize = 16;
/// What is kept of a slice: its maximum, and its weights below that as the model has them and by the
/// temperature.
const STATE: usize = 3;
/// Below every logit, and finite, so that no difference of two maxima is NaN.
const LOWEST: f32 = -1e30;

impl SamplingOps for CubeBackend {
    fn sample(
        logits: FloatTensor<Self>,
        uniforms: Arc<[f64]>,
        options: SamplingOptions,
    ) -> FloatTensor<Self> {
        let [rows, vocab] = logits.shape().dims();
        let logits = contiguous(logits);
        // The float32 below one, where rounding would reach it.
        let below_one = 1.0 - f32::EPSILON / 2.0;
        let uniforms: Vec<f32> = uniforms
            .iter()
            .map(|&uniform| (uniform as f32).min(below_one))
            .collect();
        let chosen = empty(&logits, [rows, 3], DType::F32);
        let greedy = options.temperature == 0.0;
        let inverse_temperature = match greedy {
            true => 1.0,
            false => (1.0 / options.temperature) as f32,
        };
        let cap = options.softcap.unwrap_or(1.0);
        let top_k = match options.top_k {
            0 => vocab,
            k => k.min(vocab),
        };
        let each = EACH * vocab.div_ceil(EACH * STEP * STEP).max(1);
        let slices = vocab.div_ceil(each * STEP);
        let state = empty(&logits, [rows, slices, STATE], DType::F32);
        // A filter goes over all logits often enough to have them capped beforehand.
        let is_capped = options.softcap.is_some();
        let filters = !greedy && (top_k < vocab || options.top_p < 1.0);
        let caps_beforehand = is_capped && filters;
        let capped = match caps_beforehand {
            true => empty(&logits, [rows, vocab], DType::F32),
            false => empty(&logits, [1, 1], DType::F32),
        };
        summarize::launch(
            &logits.client,
            cubes(rows * slices),
            CubeDim::new_1d(UNITS),
            logits.clone().into_buffer_arg(),
            state.clone().into_buffer_arg(),
            capped.clone().into_buffer_arg(),
            rows,
            vocab,
            slices,
            inverse_temperature,
            cap,
            each,
            is_capped,
            caps_beforehand,
            inverse_temperature != 1.0,
            element(&logits),
        );
        let (logits, is_capped) = match caps_beforehand {
            true => (capped, false),
            false => (logits, is_capped),
        };
        choose::launch(
            &logits.client,
            cubes(rows),
            CubeDim::new_1d(UNITS),
            logits.clone().into_buffer_arg(),
            state.into_buffer_arg(),
            tensor(&logits, &uniforms, [rows]).into_buffer_arg(),
            chosen.clone().into_buffer_arg(),
            rows,
            vocab,
            slices,
            inverse_temperature,
            cap,
            top_k,
            options.top_p as f32,
            each,
            is_capped,
            greedy,
            top_k < vocab,
            options.top_p < 1.0,
            element(&logits),
        );
        chosen
    }
}

/// The maximum of a slice and its weights below that; and, where they are wanted, its logits with the
/// soft-cap.
#[cube(launch)]
fn summarize<F: Float>(
    logits: &[F],
    state: &mut [f32],
    with_cap: &mut [f32],
    rows: usize,
    vocab: usize,
    slices: usize,
    inverse_temperature: f32,
    cap: f32,
    #[comptime] each: usize,
    #[comptime] capped: bool,
    #[comptime] keeps: bool,
    #[comptime] tempers: bool,
    #[define(F)] _element: ElemType,
) {
    let place = CUBE_POS;
    if place >= rows * slices {
        terminate!();
    }
    let row = place / slices;
    let first = (place % slices) * comptime!(each * STEP) + UNIT_POS as usize;
    let mut scratch = Shared::<[f32]>::new_slice(STEP);
    let mut mine = Array::<f32>::new(each);
    let mut largest = LOWEST.runtime();
    for i in 0..each {
        let token = first + i * STEP;
        if token < vocab {
            let x = logit::<F>(logits, row * vocab + token, cap, capped);
            if comptime!(keeps) {
                with_cap[row * vocab + token] = x;
            }
            mine[i] = x;
            largest = max(largest, x);
        }
    }
    let largest = cube_max(largest, &mut scratch, UNITS);
    let mut of_model = 0.0f32;
    let mut tempered = 0.0f32;
    for i in 0..each {
        if first + i * STEP < vocab {
            let below = mine[i] - largest;
            of_model += below.exp();
            if comptime!(tempers) {
                tempered += (below * inverse_temperature).exp();
            }
        }
    }
    let of_model = cube_sum(of_model, &mut scratch, UNITS);
    if comptime!(tempers) {
        tempered = cube_sum(tempered, &mut scratch, UNITS);
    } else {
        tempered = of_model;
    }
    if UNIT_POS == 0 {
        state[place * STATE] = largest;
        state[place * STATE + 1] = of_model;
        state[place * STATE + 2] = tempered;
    }
}

#[cube(launch)]
fn choose<F: Float>(
    logits: &[F],
    state: &[f32],
    uniforms: &[f32],
    chosen: &mut [f32],
    rows: usize,
    vocab: usize,
    slices: usize,
    inverse_temperature: f32,
    cap: f32,
    top_k: usize,
    top_p: f32,
    #[comptime] each: usize,
    #[comptime] capped: bool,
    #[comptime] greedy: bool,
    #[comptime] by_count: bool,
    #[comptime] by_weight: bool,
    #[define(F)] _element: ElemType,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let start = row * vocab;
    let unit = UNIT_POS as usize;
    let mut scratch = Shared::<[f32]>::new_slice(STEP);
    // Of each slice, the weight of the tokens that are kept.
    let mut sums = Shared::<[f32]>::new_slice(STEP);
    let filtered = comptime!((by_count || by_weight) && !greedy);
    let mut bins = Shared::<[f32]>::new_slice(comptime!(if filtered { BINS * STEP } else { 1 }));

    let mut mine = LOWEST.runtime();
    let mut of_model = 0.0f32;
    let mut tempered = 0.0f32;
    let at = (row * slices + unit) * STATE;
    if unit < slices {
        mine = state[at];
    }
    let largest = cube_max(mine, &mut scratch, UNITS);
    if unit < slices {
        of_model = state[at + 1] * (mine - largest).exp();
        tempered = state[at + 2] * ((mine - largest) * inverse_temperature).exp();
    }
    sums[unit] = tempered;
    let model_total = cube_sum(of_model, &mut scratch, UNITS);
    let mut total = cube_sum(tempered, &mut scratch, UNITS);

    // Keys and ids at which the kept tokens end: greater keys are kept, and of equal ones those
    // below the id.
    let mut last_key = 0u32;
    let mut end = vocab;
    let mut choice = vocab - 1;
    if comptime!(greedy) {
        choice = first_equal::<F>(
            logits,
            state,
            row,
            vocab,
            slices,
            cap,
            largest,
            &mut scratch,
            each,
            capped,
        );
    }
    if comptime!(by_count && !greedy) {
        let wanted = f32::cast_from(top_k);
        let found = threshold::<F>(
            logits,
            start,
            vocab,
            cap,
            0u32,
            vocab,
            wanted,
            largest,
            inverse_temperature,
            &mut scratch,
            &mut bins,
            capped,
            false,
        );
        last_key = found.key;
        if found.rest < found.ties {
            end = first_of::<F>(
                logits,
                start,
                vocab,
                cap,
                last_key,
                found.rest,
                false,
                largest,
                inverse_temperature,
                &mut scratch,
                capped,
            );
        }
        total = kept_weights::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            end,
            largest,
            inverse_temperature,
            &mut scratch,
            &mut bins,
            &mut sums,
            each,
            capped,
        );
    }
    if comptime!(by_weight && !greedy) {
        let found = threshold::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            end,
            top_p * total,
            largest,
            inverse_temperature,
            &mut scratch,
            &mut bins,
            capped,
            true,
        );
        let mut limit = vocab;
        if found.key == last_key {
            limit = end;
        }
        // All of them but for rounding, or as many as make up the rest.
        let one = ((number(found.key) - largest) * inverse_temperature).exp();
        end = limit;
        if found.rest < found.ties - 0.5 * one {
            end = first_of::<F>(
                logits,
                start,
                limit,
                cap,
                found.key,
                found.rest,
                true,
                largest,
                inverse_temperature,
                &mut scratch,
                capped,
            );
        }
        last_key = found.key;
        total = kept_weights::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            end,
            largest,
            inverse_temperature,
            &mut scratch,
            &mut bins,
            &mut sums,
            each,
            capped,
        );
    }
    if comptime!(!greedy) {
        choice = narrow::<F>(
            logits,
            start,
            vocab,
            slices,
            cap,
            last_key,
            end,
            uniforms[row] * total,
            largest,
            inverse_temperature,
            &mut scratch,
            &mut sums,
            each,
            capped,
        );
    }
    if UNIT_POS == 0 {
        let x = logit::<F>(logits, start + choice, cap, capped);
        let mut logprob = (x - largest) * inverse_temperature - total.ln();
        if comptime!(greedy) {
            logprob = 0.0;
        }
        chosen[row * 3] = f32::reinterpret(choice as u32);
        chosen[row * 3 + 1] = logprob;
        chosen[row * 3 + 2] = x - largest - model_total.ln();
    }
}

#[cube]
fn logit<F: Float>(logits: &[F], at: usize, cap: f32, #[comptime] capped: bool) -> f32 {
    let x = f32::cast_from(logits[at]);
    if comptime!(capped) {
        cap * saturating_tanh(x / cap)
    } else {
        x
    }
}

/// An integer that orders as the number does, −0 as 0.
#[cube]
fn order(x: f32) -> u32 {
    let mut bits = u32::reinterpret(x);
    if bits == 0x8000_0000u32 {
        bits = 0u32.runtime();
    }
    let mut key = bits | 0x8000_0000u32;
    if bits >= 0x8000_0000u32 {
        key = !bits;
    }
    key
}

/// The number of a key.
#[cube]
fn number(key: u32) -> f32 {
    let mut bits = !key;
    if key >= 0x8000_0000u32 {
        bits = key & 0x7fff_ffffu32;
    }
    f32::reinterpret(bits)
}

/// The first token that is as large as the largest, or the last one where none is.
#[cube]
fn first_equal<F: Float>(
    logits: &[F],
    state: &[f32],
    row: usize,
    vocab: usize,
    slices: usize,
    cap: f32,
    largest: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] each: usize,
    #[comptime] capped: bool,
) -> usize {
    let key = order(largest);
    let mut slice = slices - 1;
    for i in 0..slices {
        let other = slices - 1 - i;
        if order(state[(row * slices + other) * STATE]) == key {
            slice = other;
        }
    }
    let first = slice * comptime!(each * STEP);
    // The earliest is what has most behind it.
    let mut most = 0.0f32;
    for i in 0..each {
        let place = i * STEP + UNIT_POS as usize;
        let token = first + place;
        if token < vocab {
            let x = logit::<F>(logits, row * vocab + token, cap, capped);
            if order(x) == key {
                most = max(most, f32::cast_from(comptime!(each * STEP) - place));
            }
        }
    }
    let most = usize::cast_from(cube_max(most, scratch, UNITS));
    let mut token = vocab - 1;
    if most > 0 {
        token = first + comptime!(each * STEP) - most;
    }
    token
}

/// The kept token at which the cumulative weight exceeds `target`, by the sums of slices.
#[cube]
fn narrow<F: Float>(
    logits: &[F],
    start: usize,
    vocab: usize,
    slices: usize,
    cap: f32,
    key: u32,
    end: usize,
    target: f32,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    sums: &mut Shared<[f32]>,
    #[comptime] each: usize,
    #[comptime] capped: bool,
) -> usize {
    let unit = UNIT_POS as usize;
    sync_cube();
    let mut piece = comptime!(each * STEP).runtime();
    let slice = walk(sums, slices, target);
    let mut from = slice.piece * piece;
    let mut rest = slice.rest;
    let mut done = false;
    while !done {
        // Of the piece, a part for each unit.
        let width = min(piece, vocab - from);
        piece = width.div_ceil(STEP);
        let mut mine = 0.0f32;
        for i in 0..piece {
            let offset = unit * piece + i;
            if offset < width {
                let token = from + offset;
                let x = logit::<F>(logits, start + token, cap, capped);
                let other = order(x);
                if other > key || (other == key && token < end) {
                    mine += ((x - largest) * inverse_temperature).exp();
                }
            }
        }
        scratch[unit] = mine;
        sync_cube();
        let part = walk(scratch, STEP, rest);
        sync_cube();
        from += part.piece * piece;
        rest = part.rest;
        done = piece == 1;
    }
    from
}

#[derive(CubeType)]
struct Place {
    piece: usize,
    /// Of the target, what the pieces before leave.
    rest: f32,
}

/// Every unit walks the same sums to the same piece: the first that goes beyond the target, or, where
/// rounding leaves none, the last with a weight.
#[cube]
fn walk(sums: &mut Shared<[f32]>, count: usize, target: f32) -> Place {
    let mut before = 0.0f32;
    let mut piece = 0usize;
    let mut rest = target;
    let mut found = false;
    for i in 0..count {
        let sum = sums[i];
        if !found && sum > 0.0f32 {
            piece = i;
            rest = target - before;
            found = before + sum > target;
        }
        before += sum;
    }
    Place { piece, rest }
}
