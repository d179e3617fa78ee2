//! The gate of a gated feed-forward layer: `act(gate) · up` (Shazeer 2020, arXiv 2002.05202).

mod backward;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use reference::gated_mlp as gated_mlp_reference;

/// The activation of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x · σ(x)`: Qwen.
    Silu,
    /// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`: Gemma.
    GeluTanh,
}

/// `act(gate) · up`, element by element.
///
/// # Shapes
/// - gate, up and the output: `[rows, width]`
pub fn gated_mlp(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    assert_eq!(gate.dims(), up.dims(), "a value of up for each of gate");
    if !crate::choice::fused(&gate) {
        return reference::gated_mlp(gate, up, activation);
    }
    Tensor::from_dispatch(<Dispatch as GatedMlpOps>::gated_mlp(
        gate.into_dispatch(),
        up.into_dispatch(),
        activation,
    ))
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait GatedMlpOps: Backend {
    #[fusion(dtype = gate, shape = gate)]
    fn gated_mlp(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;

    /// The gradients of the gate and of `up`.
    #[fusion(meta = |gate, up, _grad, _activation| (gate.clone(), up.clone()))]
    fn gated_mlp_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}
