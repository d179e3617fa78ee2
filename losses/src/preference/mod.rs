//! Losses of preference pairs. Each gives a value a pair, `[pairs]`; their weighted mean is the
//! trainer's to take, over all pairs of an optimizer step.

mod divergence;
mod dpo;
mod kto;
mod reference_free;
mod wpo;

use burn::tensor::Tensor;

pub use divergence::{FDivergence, divergence_scores};
pub use dpo::{
    aot, apo_down, apo_zero, bco, discopop, dpo, exo, hinge, ipo, nca, robust, sppo_hard,
};
pub use kto::{kto_desirable, kto_undesirable};
pub use reference_free::{alphapo_rewards, arpo, orpo, simpo};
pub use wpo::wpo_weight;

/// The chosen or the rejected answers of some pairs, as a loss sees them. Each `[pairs]`.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Σ log p over an answer's supervised tokens.
    pub logprobs: Tensor<1>,
    /// `logprobs` less the reference's.
    pub logratios: Tensor<1>,
    /// Supervised tokens.
    pub lengths: Tensor<1>,
}

impl Answers {
    /// The mean log-probability of an answer's tokens.
    pub fn mean_logprobs(&self) -> Tensor<1> {
        self.logprobs.clone() / self.lengths.clone()
    }
}

#[cfg(test)]
mod tests;
