use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::{NormWeight, RmsNormOps};
use crate::cpu::{contiguous, dot, tensor, values, vectorized};

/// Rows a thread takes at a time. Fixed, so that the sums of the weight's gradient have one order.
const ROWS: usize = 64;

impl RmsNormOps for Flex {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self> {
        normalise(None, x, weight, eps, kind)
    }

    fn rms_norm_add(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> FloatTensor<Self> {
        normalise(Some(residual), x, weight, eps, kind)
    }

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        eps: f64,
        kind: NormWeight,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [rows, width] = x.shape().dims();
        let (x, weight, grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let factor = factors(values(&weight), kind);
        let mut grad_x = vec![0.0; rows * width];
        let partial: Vec<Vec<f32>> = grad_x
            .par_chunks_mut(ROWS * width)
            .zip(values(&x).par_chunks(ROWS * width))
            .zip(values(&grad).par_chunks(ROWS * width))
            .map(|((grad_x, x), grad)| {
                let mut grad_weight = vec![0.0; width];
                vectorized!({
                    let rows = grad_x
                        .chunks_mut(width)
                        .zip(x.chunks(width))
                        .zip(grad.chunks(width));
                    for ((dx, x), dy) in rows {
                        backward_row(dx, &mut grad_weight, x, dy, &factor, eps);
                    }
                });
                grad_weight
            })
            .collect();
        let mut grad_weight = vec![0.0; width];
        for part in partial {
            for (total, value) in grad_weight.iter_mut().zip(part) {
                *total += value;
            }
        }
        (tensor(grad_x, [rows, width]), tensor(grad_weight, [width]))
    }
}

fn normalise(
    residual: Option<FlexTensor>,
    x: FlexTensor,
    weight: FlexTensor,
    eps: f64,
    kind: NormWeight,
) -> FlexTensor {
    let [rows, width] = x.shape().dims();
    let (x, weight) = (contiguous(x), contiguous(weight));
    let residual = residual.map(contiguous);
    let residual = residual.as_ref().map(values);
    let factor = factors(values(&weight), kind);
    let mut output = vec![0.0; rows * width];
    output
        .par_chunks_mut(ROWS * width)
        .zip(values(&x).par_chunks(ROWS * width))
        .enumerate()
        .for_each(|(chunk, (output, x))| {
            vectorized!({
                let rows = output.chunks_mut(width).zip(x.chunks(width));
                for (row, (y, x)) in (chunk * ROWS..).zip(rows) {
                    let scale = inverse_rms(x, eps);
                    for ((y, x), w) in y.iter_mut().zip(x).zip(&factor) {
                        *y = x * scale * w;
                    }
                    if let Some(residual) = residual {
                        for (y, residual) in y.iter_mut().zip(&residual[row * width..]) {
                            *y += residual;
                        }
                    }
                }
            });
        });
    tensor(output, [rows, width])
}

/// With x̂ = x·r and g = dy·w: dx = r·(g − x̂·mean(g·x̂)), dw += dy·x̂.
#[inline(always)]
fn backward_row(
    dx: &mut [f32],
    grad_weight: &mut [f32],
    x: &[f32],
    dy: &[f32],
    factor: &[f32],
    eps: f64,
) {
    let scale = inverse_rms(x, eps);
    for ((dx, dy), w) in dx.iter_mut().zip(dy).zip(factor) {
        *dx = dy * w;
    }
    let mean = dot(dx, x) * scale / x.len() as f32;
    for (((dx, x), dy), grad_weight) in dx.iter_mut().zip(x).zip(dy).zip(grad_weight) {
        let normal = x * scale;
        *grad_weight += dy * normal;
        *dx = scale * (*dx - normal * mean);
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f64) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps as f32).sqrt()
}

fn factors(weight: &[f32], kind: NormWeight) -> Vec<f32> {
    match kind {
        NormWeight::Plain => weight.to_vec(),
        NormWeight::OnePlus => weight.iter().map(|w| 1.0 + w).collect(),
    }
}
