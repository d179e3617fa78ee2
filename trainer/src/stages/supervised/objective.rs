use burn::tensor::Tensor;
use kernels::Logprobs;
use losses::{SupervisedLoss, TokenLoss, TokenStatistics};

use super::SupervisedBatch;
use crate::forward::{Forward, logprobs_of_hidden, weighted_logprobs_of_hidden};
use crate::recipe::{CptSettings, SftLossType, SftSettings};
use crate::stages::neftune::EmbeddingNoise;

/// What is optimised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The loss of a token.
    pub loss: SupervisedLoss,
    /// Noise on the embeddings, in training alone.
    pub noise: Option<EmbeddingNoise>,
}

impl Objective {
    /// That of continued pretraining.
    pub fn of_cpt(settings: &CptSettings) -> Self {
        Objective {
            loss: SupervisedLoss {
                label_smoothing: settings.label_smoothing,
                z_loss: settings.z_loss,
                ..SupervisedLoss::PLAIN
            },
            noise: None,
        }
    }

    /// That of supervised fine-tuning.
    pub fn of_sft(settings: &SftSettings, seed: u64) -> Self {
        let alpha = settings.neftune_noise_alpha;
        Objective {
            loss: SupervisedLoss {
                token_loss: match settings.loss_type {
                    SftLossType::Nll => TokenLoss::Nll,
                    SftLossType::Dft => TokenLoss::Dft,
                },
                label_smoothing: settings.label_smoothing,
                z_loss: settings.z_loss,
            },
            noise: (alpha > 0.0).then_some(EmbeddingNoise { alpha, seed }),
        }
    }

    /// The loss of a micro-batch, each of whose tokens weighs `weight`, and its statistics.
    pub(super) fn loss(
        &self,
        forward: &Forward,
        batch: &SupervisedBatch,
        step: u64,
        weight: f32,
    ) -> (Tensor<1>, Logprobs) {
        let tokens = &batch.tokens;
        let width = forward.model().config().hidden_size;
        let noise = self
            .noise
            .map(|noise| noise.of_batch(tokens, step, batch.first_sequence, width));
        let hidden = forward.hidden(tokens, noise.as_deref());
        if self.loss == SupervisedLoss::PLAIN {
            // Cross-entropy, −Σ weight · log p, has a gradient that is known before the forward.
            let weights = vec![-weight; tokens.num_supervised()];
            return weighted_logprobs_of_hidden(forward.model(), hidden, tokens, &weights, 1.0);
        }
        let statistics = logprobs_of_hidden(forward.model(), hidden, tokens, 1.0);
        let of_tokens = self.loss.of_tokens(TokenStatistics {
            logprob: statistics.logprob(),
            logsumexp: statistics.logsumexp(),
            mean_logit: statistics.mean_logit(),
        });
        (of_tokens.sum().mul_scalar(weight), statistics)
    }
}
