//! A cube a row. What top-k and top-p keep is found bit by bit: the largest threshold that still
//! leaves enough tokens, or enough weight, at or above it. The choice then narrows the vocabulary
//! down to a piece, a piece of that, and a token, by sums over 256 pieces at a time.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{SamplingOps, SamplingOptions};
use crate::cube::{contiguous, cube_max, cube_sum, cubes, element, empty, saturating_tanh, tensor};

/// Units of a cube.
const UNITS: u32 = 256;
const STEP: usize = 256;

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
        let top_k = match options.top_k {
            0 => vocab,
            k => k.min(vocab),
        };
        choose::launch(
            &logits.client,
            cubes(rows),
            CubeDim::new_1d(UNITS),
            logits.clone().into_buffer_arg(),
            tensor(&logits, &uniforms, [rows]).into_buffer_arg(),
            chosen.clone().into_buffer_arg(),
            rows,
            vocab,
            if greedy {
                1.0
            } else {
                (1.0 / options.temperature) as f32
            },
            options.softcap.unwrap_or(1.0),
            top_k,
            options.top_p as f32,
            options.softcap.is_some(),
            greedy,
            top_k < vocab,
            options.top_p < 1.0,
            element(&logits),
        );
        chosen
    }
}

#[cube(launch)]
fn choose<F: Float>(
    logits: &[F],
    uniforms: &[f32],
    chosen: &mut [f32],
    rows: usize,
    vocab: usize,
    inverse_temperature: f32,
    cap: f32,
    top_k: usize,
    top_p: f32,
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
    let mut scratch = Shared::<[f32]>::new_slice(STEP);

    let mut mine = f32::new(-1e30);
    let mut token = UNIT_POS as usize;
    while token < vocab {
        mine = max(mine, logit::<F>(logits, start + token, cap, capped));
        token += STEP;
    }
    let largest = cube_max(mine, &mut scratch, UNITS);
    let mut mine = 0.0f32;
    let mut token = UNIT_POS as usize;
    while token < vocab {
        mine += (logit::<F>(logits, start + token, cap, capped) - largest).exp();
        token += STEP;
    }
    let model_total = cube_sum(mine, &mut scratch, UNITS);

    // Keys and ids at which the kept tokens end: greater keys are kept, and of equal ones those
    // below the id.
    let mut last_key = 0u32;
    let mut end = vocab;
    let mut total = model_total;
    if comptime!(greedy) {
        last_key = order(largest);
        end = first_of::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            1.0,
            false,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
        );
    }
    if comptime!(by_count && !greedy) {
        let wanted = f32::cast_from(top_k);
        last_key = threshold::<F>(
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
            capped,
            false,
        );
        let above = measure::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            0,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
            false,
        );
        end = first_of::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            wanted - above,
            false,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
        );
    }
    if comptime!(!greedy) {
        total = measure::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            end,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
            true,
        );
    }
    if comptime!(by_weight && !greedy) {
        let wanted = top_p * total;
        let key = threshold::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            end,
            wanted,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
            true,
        );
        let above = measure::<F>(
            logits,
            start,
            vocab,
            cap,
            key,
            0,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
            true,
        );
        let mut limit = vocab;
        if key == last_key {
            limit = end;
        }
        end = first_of::<F>(
            logits,
            start,
            limit,
            cap,
            key,
            wanted - above,
            true,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
        );
        last_key = key;
        total = measure::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            end,
            largest,
            inverse_temperature,
            &mut scratch,
            capped,
            true,
        );
    }

    let mut choice = end - 1;
    if comptime!(!greedy) {
        choice = narrow::<F>(
            logits,
            start,
            vocab,
            cap,
            last_key,
            end,
            uniforms[row] * total,
            largest,
            inverse_temperature,
            &mut scratch,
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

/// Number, or weight, of the tokens above a key and of those equal to it below an id.
#[cube]
fn measure<F: Float>(
    logits: &[F],
    start: usize,
    vocab: usize,
    cap: f32,
    key: u32,
    end: usize,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] capped: bool,
    #[comptime] weighted: bool,
) -> f32 {
    let mut mine = 0.0f32;
    let mut token = UNIT_POS as usize;
    while token < vocab {
        let x = logit::<F>(logits, start + token, cap, capped);
        let other = order(x);
        if other > key || (other == key && token < end) {
            if comptime!(weighted) {
                mine += ((x - largest) * inverse_temperature).exp();
            } else {
                mine += 1.0;
            }
        }
        token += STEP;
    }
    cube_sum(mine, scratch, UNITS)
}

/// The largest key such that the kept tokens at or above it are enough. Kept are those above
/// `kept_key`, and of the equal ones those below `kept_end`.
#[cube]
fn threshold<F: Float>(
    logits: &[F],
    start: usize,
    vocab: usize,
    cap: f32,
    kept_key: u32,
    kept_end: usize,
    wanted: f32,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] capped: bool,
    #[comptime] weighted: bool,
) -> u32 {
    let mut key = 0u32;
    for step in 0..32u32 {
        let candidate = key | (1u32 << (31u32 - step));
        let mut above = kept_key;
        let mut end = kept_end;
        if candidate > kept_key {
            // At or above a key is above the one before it.
            above = candidate - 1u32;
            end = 0usize;
        }
        let sum = measure::<F>(
            logits,
            start,
            vocab,
            cap,
            above,
            end,
            largest,
            inverse_temperature,
            scratch,
            capped,
            weighted,
        );
        if sum >= wanted {
            key = candidate;
        }
    }
    max(key, kept_key)
}

/// The end of the shortest run of ids whose tokens of this key are enough, at least one.
#[cube]
fn first_of<F: Float>(
    logits: &[F],
    start: usize,
    limit: usize,
    cap: f32,
    key: u32,
    wanted: f32,
    #[comptime] weighted: bool,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] capped: bool,
) -> usize {
    // A run of `low` ids is too short, one of `high` ids is long enough or all there is.
    let mut low = 0usize;
    let mut high = limit;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let mut mine = 0.0f32;
        let mut token = UNIT_POS as usize;
        while token < middle {
            let x = logit::<F>(logits, start + token, cap, capped);
            if order(x) == key {
                if comptime!(weighted) {
                    mine += ((x - largest) * inverse_temperature).exp();
                } else {
                    mine += 1.0;
                }
            }
            token += STEP;
        }
        let sum = cube_sum(mine, scratch, UNITS);
        if sum >= wanted && sum > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The kept token at which the cumulative weight exceeds `target`.
#[cube]
fn narrow<F: Float>(
    logits: &[F],
    start: usize,
    vocab: usize,
    cap: f32,
    key: u32,
    end: usize,
    target: f32,
    largest: f32,
    inverse_temperature: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] capped: bool,
) -> usize {
    let mut from = 0usize;
    let mut width = vocab;
    let mut rest = target;
    let mut done = false;
    while !done {
        let piece = width.div_ceil(STEP);
        let first = from + UNIT_POS as usize * piece;
        let mut mine = 0.0f32;
        for i in 0..piece {
            let token = first + i;
            if token < from + width {
                let x = logit::<F>(logits, start + token, cap, capped);
                let other = order(x);
                if other > key || (other == key && token < end) {
                    mine += ((x - largest) * inverse_temperature).exp();
                }
            }
        }
        scratch[UNIT_POS as usize] = mine;
        sync_cube();
        // Every unit walks the same sums to the same piece: the first that goes beyond the rest,
        // or, where rounding leaves none, the last with a weight.
        let mut before = 0.0f32;
        let mut here = 0usize;
        let mut rest_here = rest;
        let mut found = false;
        for i in 0..STEP {
            let sum = scratch[i];
            if !found && sum > 0.0f32 {
                here = i;
                rest_here = rest - before;
                if before + sum > rest {
                    found = true;
                }
            }
            before += sum;
        }
        sync_cube();
        rest = rest_here;
        from += here * piece;
        width = min(piece, vocab - from);
        if piece == 1 {
            done = true;
        }
    }
    from
}
