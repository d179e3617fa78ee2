//! Sampling from a model: batched, with a key-value cache, continuous (a finished sequence leaves
//! and a waiting one enters), a prompt shared by several requests prefilled once.
//!
//! A sample depends on the seed, its prompt and its index, never on the batch it ran in: every
//! operation of the decoding path gives a row the same bits whatever the other rows are, and the
//! random numbers are counted, not drawn.

mod engine;
mod sampling;

pub use engine::{GenerateOptions, generate};
pub use sampling::SamplingOptions;

use std::sync::Arc;

/// One sequence to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The tokens it continues; at least one.
    pub prompt: Arc<[u32]>,
    /// Which of the samples of this prompt it is. Two requests with one prompt and one index get
    /// the same tokens.
    pub index: u64,
    /// Tokens after which it is cut.
    pub max_new_tokens: usize,
}

/// What was generated.
///
/// Example: `{tokens: [17, 4], logprobs: [-0.1, -0.02], model_logprobs: [-0.3, -0.05],
/// finish_reason: Stop}` with 4 a stop token.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The new tokens, the stop token included.
    pub tokens: Vec<u32>,
    /// Of each token, under the distribution it was sampled from: temperature, top-k and top-p.
    pub logprobs: Vec<f32>,
    /// Of each token, under the model's own distribution.
    pub model_logprobs: Vec<f32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// It produced a stop token.
    Stop,
    /// It reached `max_new_tokens`.
    Length,
}

impl FinishReason {
    /// `stop` or `length`.
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }
    }
}
