//! The choice of the next token: temperature, top-k and top-p, from a uniform number that the
//! caller counts out, so that a token depends on its own logits and number and on nothing else.
//!
//! With x the logits, soft-capped where there is a cap, the distribution is softmax(x / temperature)
//! over the tokens that are kept: the `top_k` largest, ties to the lower id, and of those the
//! fewest that together have at least probability `top_p`. The token is the first at which the
//! cumulative probability, in the order of the vocabulary, exceeds the number.

mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use reference::sample as sample_reference;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits; 0 takes the most probable token, the first of equal ones.
    pub temperature: f64,
    /// Keeps this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest most probable tokens that together have at least this probability; 1 keeps
    /// all.
    pub top_p: f64,
    /// Soft-cap on the logits, before the temperature.
    pub softcap: Option<f32>,
}

/// A chosen token and its log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// Its id.
    pub token: u32,
    /// Under the distribution it was chosen from; 0 at temperature 0.
    pub logprob: f32,
    /// Under softmax(x).
    pub model_logprob: f32,
}

/// Chooses a token for each row.
///
/// # Shapes
/// - logits: `[rows, vocab]`, without their soft-cap
/// - uniforms: one a row, in `[0, 1)`
pub fn sample(logits: Tensor<2>, uniforms: &Arc<[f64]>, options: SamplingOptions) -> Vec<Sampled> {
    let [rows, vocab] = logits.dims();
    assert_eq!(rows, uniforms.len(), "a number for each row");
    if !crate::choice::fused(&logits) {
        let data = logits.into_data().convert::<f32>();
        let values: Vec<f32> = data.try_to_vec().expect("converted to float32");
        let rows = values.chunks(vocab).zip(uniforms.iter());
        return rows
            .map(|(logits, &uniform)| reference::sample(logits, uniform, options))
            .collect();
    }
    let chosen =
        <Dispatch as SamplingOps>::sample(logits.into_dispatch(), uniforms.clone(), options);
    let data = Tensor::<2>::from_dispatch(chosen).into_data();
    let values: Vec<f32> = data.try_to_vec().expect("the choice is float32");
    let (rows, _) = values.as_chunks::<3>();
    rows.iter()
        .map(|&[token, logprob, model_logprob]| Sampled {
            token: token.to_bits(),
            logprob,
            model_logprob,
        })
        .collect()
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"))]
pub(crate) trait SamplingOps: Backend {
    /// `[rows, 3]`, float32: the bits of the token's id, and both log-probabilities.
    #[fusion(dtype = burn_backend::DType::F32, shape = burn_backend::Shape::from([logits[0], 3]))]
    fn sample(
        logits: FloatTensor<Self>,
        uniforms: Arc<[f64]>,
        options: SamplingOptions,
    ) -> FloatTensor<Self>;
}
