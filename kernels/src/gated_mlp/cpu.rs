use std::mem::MaybeUninit;

use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_flex::Flex;
use rayon::prelude::*;

use super::{Activation, GatedMlpOps};
use crate::cpu::{contiguous, exp, tensor, unwritten, values, vectorized, written};

/// Values a thread takes at a time.
const CHUNK: usize = 1 << 14;

impl GatedMlpOps for Flex {
    fn gated_mlp(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let [rows, width] = gate.shape().dims();
        let (gate, up) = (contiguous(gate), contiguous(up));
        let mut output = unwritten(rows * width);
        output
            .par_chunks_mut(CHUNK)
            .zip(values(&gate).par_chunks(CHUNK))
            .zip(values(&up).par_chunks(CHUNK))
            .for_each(|((y, gate), up)| {
                let each = y.iter_mut().zip(gate).zip(up);
                match activation {
                    Activation::Silu => vectorized!({
                        each.for_each(|((y, &gate), up)| {
                            y.write(silu(gate).0 * up);
                        });
                    }),
                    Activation::GeluTanh => vectorized!({
                        each.for_each(|((y, &gate), up)| {
                            y.write(gelu_tanh(gate).0 * up);
                        });
                    }),
                }
            });
        // SAFETY: the chunks cover the output, and each is as long as its inputs.
        tensor(unsafe { written(output) }, [rows, width])
    }

    fn gated_mlp_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [rows, width] = gate.shape().dims();
        let (gate, up, grad) = (contiguous(gate), contiguous(up), contiguous(grad));
        let mut grad_gate = unwritten(rows * width);
        let mut grad_up = unwritten(rows * width);
        grad_gate
            .par_chunks_mut(CHUNK)
            .zip(grad_up.par_chunks_mut(CHUNK))
            .zip(values(&gate).par_chunks(CHUNK))
            .zip(values(&up).par_chunks(CHUNK))
            .zip(values(&grad).par_chunks(CHUNK))
            .for_each(|((((d_gate, d_up), gate), up), dy)| match activation {
                Activation::Silu => vectorized!(backward(d_gate, d_up, gate, up, dy, silu)),
                Activation::GeluTanh => {
                    vectorized!(backward(d_gate, d_up, gate, up, dy, gelu_tanh));
                }
            });
        // SAFETY: the chunks cover both outputs, and each is as long as its inputs.
        let [grad_gate, grad_up] = [grad_gate, grad_up].map(|grad| unsafe { written(grad) });
        (
            tensor(grad_gate, [rows, width]),
            tensor(grad_up, [rows, width]),
        )
    }
}

#[inline(always)]
fn backward(
    d_gate: &mut [MaybeUninit<f32>],
    d_up: &mut [MaybeUninit<f32>],
    gate: &[f32],
    up: &[f32],
    dy: &[f32],
    activation: impl Fn(f32) -> (f32, f32),
) {
    let each = d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(dy);
    for ((((d_gate, d_up), &gate), up), dy) in each {
        let (value, slope) = activation(gate);
        d_gate.write(dy * up * slope);
        d_up.write(dy * value);
    }
}

/// SiLU and its derivative.
#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp(-x));
    let value = x * sigmoid;
    (value, sigmoid + value * (1.0 - sigmoid))
}

/// tanh-GELU and its derivative. (1 + tanh u) / 2 is the logistic function of 2u.
#[inline(always)]
fn gelu_tanh(x: f32) -> (f32, f32) {
    const TWO_SQRT_2_OVER_PI: f32 = 1.595_769;
    const CUBIC: f32 = 0.044_715;
    let square = x * x;
    let half = 1.0 / (1.0 + exp(-TWO_SQRT_2_OVER_PI * x * (1.0 + CUBIC * square)));
    let value = x * half;
    let inner_slope = TWO_SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * square);
    (value, half + value * (1.0 - half) * inner_slope)
}
