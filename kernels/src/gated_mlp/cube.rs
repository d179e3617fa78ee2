use burn::backend::tensor::FloatTensor;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{Activation, GatedMlpOps};
use crate::cube::{contiguous, element, elementwise, empty, saturating_tanh};

impl GatedMlpOps for CubeBackend {
    fn gated_mlp(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let [rows, width] = gate.shape().dims();
        let (gate, up) = (contiguous(gate), contiguous(up));
        let output = empty(&gate, [rows, width], gate.dtype);
        let (cubes, units) = elementwise(rows * width);
        forward::launch(
            &gate.client.clone(),
            cubes,
            units,
            gate.clone().into_buffer_arg(),
            up.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            rows * width,
            activation,
            element(&gate),
        );
        output
    }

    fn gated_mlp_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [rows, width] = gate.shape().dims();
        let [gate, up, grad] = [gate, up, grad].map(contiguous);
        let grad_gate = empty(&gate, [rows, width], gate.dtype);
        let grad_up = empty(&gate, [rows, width], gate.dtype);
        let (cubes, units) = elementwise(rows * width);
        backward::launch(
            &gate.client.clone(),
            cubes,
            units,
            gate.clone().into_buffer_arg(),
            up.into_buffer_arg(),
            grad.into_buffer_arg(),
            grad_gate.clone().into_buffer_arg(),
            grad_up.clone().into_buffer_arg(),
            rows * width,
            activation,
            element(&gate),
        );
        (grad_gate, grad_up)
    }
}

#[cube(launch)]
fn forward<F: Float>(
    gate: &[F],
    up: &[F],
    output: &mut [F],
    count: usize,
    #[comptime] activation: Activation,
    #[define(F)] _element: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let (value, _) = activated(f32::cast_from(gate[i]), activation);
        output[i] = F::cast_from(value * f32::cast_from(up[i]));
    }
}

#[cube(launch)]
fn backward<F: Float>(
    gate: &[F],
    up: &[F],
    grad: &[F],
    grad_gate: &mut [F],
    grad_up: &mut [F],
    count: usize,
    #[comptime] activation: Activation,
    #[define(F)] _element: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let (value, slope) = activated(f32::cast_from(gate[i]), activation);
        let dy = f32::cast_from(grad[i]);
        grad_gate[i] = F::cast_from(dy * f32::cast_from(up[i]) * slope);
        grad_up[i] = F::cast_from(dy * value);
    }
}

/// The activation and its derivative.
#[cube]
fn activated(x: f32, #[comptime] activation: Activation) -> (f32, f32) {
    match comptime!(activation) {
        Activation::Silu => {
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            let value = x * sigmoid;
            (value, sigmoid + value * (1.0 - sigmoid))
        }
        Activation::GeluTanh => {
            let square = x * x;
            let inner = 0.797_884_6f32 * x * (1.0 + 0.044_715f32 * square);
            let t = saturating_tanh(inner);
            let half = 0.5 * (1.0 + t);
            let inner_slope = 0.797_884_6f32 * (1.0 + 0.134_145f32 * square);
            (x * half, half + 0.5 * x * (1.0 - t * t) * inner_slope)
        }
    }
}
