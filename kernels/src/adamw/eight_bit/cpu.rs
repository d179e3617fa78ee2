use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::codes::{Nearest, tables};
use super::{BLOCK, EightBitOps};
use crate::AdamWStep;
use crate::adamw::Factors;
use crate::adamw::cpu::{copied, whole};
use crate::cpu::{contiguous, values, vectorized};

/// Values that are compared at once.
const LANES: usize = 16;
/// Words of a block's codes.
const WORDS: usize = BLOCK / 4;

impl EightBitOps for Flex {
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
        let factor = values(&scale)[0];
        if factor < 0.0 {
            let copy = copied(&parameter, copy);
            return (parameter, codes, scales, copy);
        }
        let [_, blocks] = scales.shape().dims();
        let grad = contiguous(grad);
        let [mut parameter, mut scales] = [parameter, scales].map(whole);
        let mut codes = if codes.is_contiguous() {
            codes
        } else {
            codes.to_contiguous()
        };
        let factors = Factors::of(step);
        let (first_codes, second_codes) = codes.storage_mut::<i32>().split_at_mut(blocks * WORDS);
        let (first_scales, second_scales) = scales.storage_mut::<f32>().split_at_mut(blocks);
        parameter
            .storage_mut::<f32>()
            .par_chunks_mut(BLOCK)
            .zip(values(&grad).par_chunks(BLOCK))
            .zip(first_codes.par_chunks_mut(WORDS).zip(first_scales))
            .zip(second_codes.par_chunks_mut(WORDS).zip(second_scales))
            .with_min_len(64)
            .for_each(|(((parameter, grad), first), second)| {
                vectorized!(update_block(
                    parameter,
                    (grad, factor),
                    first,
                    second,
                    factors
                ));
            });
        let copy = copied(&parameter, copy);
        (parameter, codes, scales, copy)
    }
}

#[inline(always)]
fn update_block(
    parameter: &mut [f32],
    (grad, factor): (&[f32], f32),
    (first_codes, first_scale): (&mut [i32], &mut f32),
    (second_codes, second_scale): (&mut [i32], &mut f32),
    factors: Factors,
) {
    let [signed, positive] = tables();
    let mut first = decoded(first_codes, *first_scale, signed);
    let mut second = decoded(second_codes, *second_scale, positive);
    let moments = first.iter_mut().zip(&mut second);
    for ((p, g), (m, v)) in parameter.iter_mut().zip(grad).zip(moments) {
        [*p, *m, *v] = factors.update(*p, *g * factor, [*m, *v]);
    }
    // Beyond the end of the parameter the moments stay zero.
    let [signed, positive] = Nearest::tables();
    *first_scale = encode(first_codes, &first, signed);
    *second_scale = encode(second_codes, &second, positive);
}

#[inline(always)]
fn decoded(words: &[i32], scale: f32, table: &[f32; 256]) -> [f32; BLOCK] {
    let mut moment = [0.0; BLOCK];
    for (values, word) in moment.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        for (value, code) in values.iter_mut().zip(word.to_le_bytes()) {
            *value = table[usize::from(code)] * scale;
        }
    }
    moment
}

/// Writes the codes and returns the scale.
#[inline(always)]
fn encode(words: &mut [i32], moment: &[f32; BLOCK], nearest: &Nearest) -> f32 {
    let scale = largest_magnitude(moment);
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (word, values) in words.iter_mut().zip(moment.as_chunks::<4>().0) {
        *word = i32::from_le_bytes(values.map(|value| nearest.code(value * inverse)));
    }
    scale
}

/// Of the numbers: NaN does not count.
#[inline(always)]
fn largest_magnitude(moment: &[f32; BLOCK]) -> f32 {
    let mut largest = [0.0f32; LANES];
    for values in moment.as_chunks::<LANES>().0 {
        for (largest, value) in largest.iter_mut().zip(values) {
            let magnitude = value.abs();
            // As `f32::max`, which would not become one instruction.
            *largest = if magnitude > *largest {
                magnitude
            } else {
                *largest
            };
        }
    }
    largest.into_iter().fold(0.0, f32::max)
}
