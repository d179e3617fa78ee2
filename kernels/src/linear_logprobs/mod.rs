//! Hidden states × language-model head → statistics of each token's distribution, without keeping
//! a `[tokens, vocab]` buffer. Every loss is a small formula over its columns.
//!
//! With x = hidden · headᵀ, soft-capped to c·tanh(x / c) where there is a cap, z = x / temperature
//! and p = softmax(z), the columns for a target y are
//!
//! | column | value | gradient with respect to z |
//! |---|---|---|
//! | log-probability | z_y − logsumexp(z) | 1\[y\] − p |
//! | logsumexp | log Σ exp(z) | p |
//! | entropy | −Σ p·log p | −p·(log p + H) |
//! | mean logit | Σ z / vocab | 1 / vocab |
//! | log Σ p² | logsumexp(2z) − 2·logsumexp(z) | none |
//! | correct | 1 where no logit is above z_y, else 0 | none |
//!
//! The backward recomputes the logits chunk by chunk; [`weighted_logprobs`] does not need to. Where the
//! head is frozen, neither makes its gradient: a quarter of the products, and a buffer of its size.

mod backward;
pub mod chunks;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod one_pass;
mod reference;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use one_pass::weighted_logprobs;
pub use reference::linear_logprobs as linear_logprobs_reference;

/// What happens between the head's product and the softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogprobsOptions {
    /// Divides the logits; 1 for the model's own distribution.
    pub temperature: f32,
    /// Soft-cap on the logits, before the temperature.
    pub softcap: Option<f32>,
}

/// Columns of the statistics; the first four have gradients.
const COLUMNS: usize = 6;

/// The statistics of each token, each `[tokens]`. Clones share one computation.
#[derive(Clone, Debug)]
pub struct Logprobs {
    columns: Tensor<2>,
}

impl Logprobs {
    /// log p(target).
    pub fn logprob(&self) -> Tensor<1> {
        self.column(0)
    }

    /// log Σ exp(z).
    pub fn logsumexp(&self) -> Tensor<1> {
        self.column(1)
    }

    /// −Σ p·log p, in nats.
    pub fn entropy(&self) -> Tensor<1> {
        self.column(2)
    }

    /// The mean of the logits.
    pub fn mean_logit(&self) -> Tensor<1> {
        self.column(3)
    }

    /// log Σ p², what a token drawn from the distribution has as its mean probability; constant to
    /// autodiff.
    pub fn log_collision(&self) -> Tensor<1> {
        self.column(4).detach()
    }

    /// 1 where the target is the likeliest token, else 0; constant to autodiff.
    pub fn correct(&self) -> Tensor<1> {
        self.column(5).detach()
    }

    fn detach(self) -> Self {
        Logprobs {
            columns: self.columns.detach(),
        }
    }

    fn column(&self, index: usize) -> Tensor<1> {
        self.columns.clone().narrow(1, index, 1).squeeze_dim(1)
    }
}

/// The statistics of `targets` under softmax(hidden · headᵀ).
///
/// # Shapes
/// - hidden: `[tokens, width]`
/// - head: `[vocab, width]`
/// - targets: one a token, below vocab
///
/// # Panics
/// On a target outside the vocabulary.
pub fn linear_logprobs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: &Arc<[u32]>,
    options: LogprobsOptions,
) -> Logprobs {
    check_targets(&hidden, &head, targets);
    let columns = if crate::choice::fused(&hidden) {
        Tensor::from_dispatch(<Dispatch as LinearLogprobsOps>::linear_logprobs(
            hidden.into_dispatch(),
            head.into_dispatch(),
            targets.clone(),
            options,
        ))
    } else {
        reference::linear_logprobs(hidden, head, targets, options)
    };
    Logprobs { columns }
}

fn check_targets(hidden: &Tensor<2>, head: &Tensor<2>, targets: &[u32]) {
    let ([tokens, _], [vocab, _]) = (hidden.dims(), head.dims());
    assert_eq!(tokens, targets.len(), "a target for each token");
    if let Some(target) = targets.iter().find(|&&target| target as usize >= vocab) {
        panic!("target {target} in a vocabulary of {vocab}");
    }
}

/// The operation on a backend's own tensors.
#[backend_extension(Cube: cfg(feature = "cube"), Flex, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait LinearLogprobsOps: Backend {
    /// `[tokens, COLUMNS]`.
    #[fusion(dtype = burn_backend::DType::F32, shape = burn_backend::Shape::from([hidden[0], COLUMNS]))]
    fn linear_logprobs(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> FloatTensor<Self>;

    /// The gradients of the hidden states and of the head.
    #[fusion(meta = |hidden, head, _columns, _grad, _targets, _options| {
        (hidden.clone(), head.clone())
    })]
    fn linear_logprobs_backward(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        columns: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient of the hidden states alone, for a head that is frozen.
    #[fusion(dtype = hidden, shape = burn_backend::Shape::from([hidden[0], hidden[1]]))]
    fn linear_logprobs_backward_hidden(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        columns: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        targets: Arc<[u32]>,
        options: LogprobsOptions,
    ) -> FloatTensor<Self>;
}
