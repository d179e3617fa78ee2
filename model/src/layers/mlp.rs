use burn::module::Module;
use burn::tensor::Tensor;
use kernels::Activation;

use super::{Linear, Weights};
use crate::config::{HiddenActivation, ModelConfig};
use crate::{Error, Pass};

/// The gated feed-forward layer: `down(act(gate(x)) · up(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[hidden → intermediate]`.
    pub gate_proj: Linear,
    /// `[hidden → intermediate]`.
    pub up_proj: Linear,
    /// `[intermediate → hidden]`.
    pub down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    pub(crate) fn load(weights: &Weights, name: &str, config: &ModelConfig) -> Result<Self, Error> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Mlp {
            gate_proj: Linear::load(weights, &format!("{name}.gate_proj"), [hidden, inner])?,
            up_proj: Linear::load(weights, &format!("{name}.up_proj"), [hidden, inner])?,
            down_proj: Linear::load(weights, &format!("{name}.down_proj"), [inner, hidden])?,
            activation: match config.hidden_activation {
                HiddenActivation::GeluTanh => Activation::GeluTanh,
                HiddenActivation::Silu => Activation::Silu,
            },
        })
    }

    /// # Shapes
    /// - x and the output: `[tokens, hidden]`
    pub fn forward(&self, x: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let gate = self.gate_proj.forward(x.clone(), pass);
        let up = self.up_proj.forward(x, pass);
        let inner = kernels::gated_mlp(gate, up, self.activation);
        let inner = pass.part("gated", inner);
        self.down_proj.forward(inner, pass)
    }
}
