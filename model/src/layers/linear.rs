use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Adapter, Weights};
use crate::{Error, Pass};

/// `x · weightᵀ + bias`, and what an adapter adds.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`, as Hugging Face stores it.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Where the model has one here.
    pub adapter: Option<Adapter>,
}

impl Linear {
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        [input, output]: [usize; 2],
    ) -> Result<Self, Error> {
        Ok(Linear {
            weight: weights.matrix(&format!("{name}.weight"), [output, input])?,
            bias: None,
            adapter: weights.adapter(name, [input, output]),
        })
    }

    pub(crate) fn load_with_bias(
        weights: &Weights,
        name: &str,
        [input, output]: [usize; 2],
    ) -> Result<Self, Error> {
        Ok(Linear {
            bias: Some(weights.vector(&format!("{name}.bias"), output, 0.0)?),
            ..Self::load(weights, name, [input, output])?
        })
    }

    /// # Shapes
    /// - x: `[tokens, in]`, in the dtype of the computation
    /// - output: `[tokens, out]`
    pub fn forward(&self, x: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let dtype = x.dtype();
        let output = pass.linear(x.clone(), pass.matrix(&self.weight, dtype));
        let output = match &self.bias {
            Some(bias) => output + bias.val().cast(dtype).unsqueeze(),
            None => output,
        };
        match &self.adapter {
            Some(adapter) if pass.has_adapters() => output + adapter.forward(x, pass),
            _ => output,
        }
    }
}
