use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::codes::{nearest, tables};
use super::{BLOCK, EightBitOps};
use crate::AdamWStep;
use crate::adamw::Factors;
use crate::adamw::cpu::whole;
use crate::cpu::{contiguous, values};

/// Words of a block's codes.
const WORDS: usize = BLOCK / 4;

impl EightBitOps for Flex {
    fn adamw_8bit(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>) {
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
                update_block(parameter, grad, first, second, factors);
            });
        (parameter, codes, scales)
    }
}

fn update_block(
    parameter: &mut [f32],
    grad: &[f32],
    (first_codes, first_scale): (&mut [i32], &mut f32),
    (second_codes, second_scale): (&mut [i32], &mut f32),
    factors: Factors,
) {
    let [signed, positive] = tables();
    let mut first = decoded(first_codes, *first_scale, signed);
    let mut second = decoded(second_codes, *second_scale, positive);
    for (i, (value, grad)) in parameter.iter_mut().zip(grad).enumerate() {
        [*value, first[i], second[i]] = factors.update(*value, *grad, [first[i], second[i]]);
    }
    // Beyond the end of the parameter the moments stay zero.
    *first_scale = encode(first_codes, &first, signed);
    *second_scale = encode(second_codes, &second, positive);
}

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
fn encode(words: &mut [i32], moment: &[f32; BLOCK], table: &[f32; 256]) -> f32 {
    let scale = moment
        .iter()
        .fold(0.0f32, |largest, m| m.abs().max(largest));
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (word, values) in words.iter_mut().zip(moment.as_chunks::<4>().0) {
        *word = i32::from_le_bytes(values.map(|value| nearest(table, value * inverse)));
    }
    scale
}
