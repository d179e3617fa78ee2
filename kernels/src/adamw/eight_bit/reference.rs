use burn::tensor::{DType, Int, Tensor, TensorData};

use super::codes::{nearest, tables};
use super::{BLOCK, EightBitMoments};
use crate::adamw::Factors;
use crate::{AdamWStep, GradScale};

/// The definition, value by value on the host.
pub fn adamw_8bit(
    parameter: Tensor<1>,
    grad: Tensor<1>,
    moments: EightBitMoments,
    scale: &GradScale,
    step: AdamWStep,
) -> (Tensor<1>, EightBitMoments) {
    let (device, dtype) = (parameter.device(), parameter.dtype());
    let floats = |data: TensorData| -> Vec<f32> {
        let data = data.convert::<f32>();
        data.try_to_vec().expect("converted to float32")
    };
    let factor = floats(scale.factor().into_data())[0];
    if factor < 0.0 {
        return (parameter, moments);
    }
    let mut values = floats(parameter.into_data());
    let grad = floats(grad.into_data());
    let [code_shape, scale_shape] = [moments.codes.dims(), moments.scales.dims()];
    let mut scales = floats(moments.scales.into_data());
    let words: Vec<i32> = moments
        .codes
        .into_data()
        .try_to_vec()
        .expect("codes are i32");
    let mut codes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (first_codes, second_codes) = codes.split_at_mut(code_shape[1] * 4);
    let (first_scales, second_scales) = scales.split_at_mut(scale_shape[1]);

    let factors = Factors::of(step);
    let [signed, positive] = tables();
    for (block, (values, grad)) in values.chunks_mut(BLOCK).zip(grad.chunks(BLOCK)).enumerate() {
        let mut first = [0.0; BLOCK];
        let mut second = [0.0; BLOCK];
        for (i, (value, grad)) in values.iter_mut().zip(grad).enumerate() {
            let at = block * BLOCK + i;
            let before = [
                signed[usize::from(first_codes[at])] * first_scales[block],
                positive[usize::from(second_codes[at])] * second_scales[block],
            ];
            [*value, first[i], second[i]] = factors.update(*value, grad * factor, before);
        }
        for (moment, table, codes, scale) in [
            (first, signed, &mut *first_codes, &mut first_scales[block]),
            (
                second,
                positive,
                &mut *second_codes,
                &mut second_scales[block],
            ),
        ] {
            *scale = moment.iter().fold(0.0, |largest, m| m.abs().max(largest));
            let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
            for (code, moment) in codes[block * BLOCK..].iter_mut().zip(moment) {
                *code = nearest(table, moment * inverse);
            }
        }
    }
    let (words, _) = codes.as_chunks::<4>();
    let words: Vec<i32> = words
        .iter()
        .map(|bytes| i32::from_le_bytes(*bytes))
        .collect();
    let count = values.len();
    let moments = EightBitMoments {
        codes: Tensor::<2, Int>::from_data(
            TensorData::new(words, code_shape),
            (&device, DType::I32),
        ),
        scales: Tensor::from_data(TensorData::new(scales, scale_shape), (&device, DType::F32)),
    };
    let parameter = Tensor::from_data(TensorData::new(values, [count]), (&device, dtype));
    (parameter, moments)
}
