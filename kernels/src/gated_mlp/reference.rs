use burn::tensor::{Tensor, activation};

use super::Activation;

/// The definition, in plain tensor operations.
pub fn gated_mlp(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    let gate = match activation {
        Activation::Silu => activation::silu(gate),
        Activation::GeluTanh => {
            let inner = gate.clone() + gate.clone().powi_scalar(3).mul_scalar(0.044715);
            let inner = inner.mul_scalar((2.0 / std::f64::consts::PI).sqrt());
            gate.mul_scalar(0.5) * inner.tanh().add_scalar(1.0)
        }
    };
    gate * up
}
