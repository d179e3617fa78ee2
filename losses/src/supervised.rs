use burn::tensor::Tensor;

/// What the cross-entropy of given tokens is changed by. [`SupervisedLoss::PLAIN`] is itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SupervisedLoss {
    /// What a token costs before the rest is added.
    pub token_loss: TokenLoss,
    /// ε: the share of the target's weight that is spread over the whole vocabulary.
    pub label_smoothing: f64,
    /// λ: the weight of logsumexp².
    pub z_loss: f64,
}

/// What a token costs. Names are TRL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLoss {
    /// −log p.
    Nll,
    /// −sg\[p\]·log p.
    Dft,
}

/// The statistics of each token that the loss is of, each `[tokens]`.
pub struct TokenStatistics {
    /// log p(target).
    pub logprob: Tensor<1>,
    /// log Σ exp(z).
    pub logsumexp: Tensor<1>,
    /// The mean of the logits z over the vocabulary.
    pub mean_logit: Tensor<1>,
}

impl SupervisedLoss {
    /// Cross-entropy.
    pub const PLAIN: Self = SupervisedLoss {
        token_loss: TokenLoss::Nll,
        label_smoothing: 0.0,
        z_loss: 0.0,
    };

    /// The loss of each token, without its weight: with the weight 1 / (supervised tokens of the
    /// optimizer step) on each, all terms are means over these tokens.
    ///
    /// token + λ·lse², where token is
    /// - nll: (1 − ε)·(−log p) + ε·(lse − m);
    /// - dft: −sg\[p\]·log p;
    ///
    /// where
    /// - p is the target's probability, and sg\[·\] a constant to the gradient;
    /// - lse = log Σ exp(z), and m the mean of the logits z, so that lse − m is the mean of −log p
    ///   over the whole vocabulary.
    ///
    /// Label smoothing is Szegedy et al., arXiv 1512.00567, section 7, as
    /// `torch.nn.CrossEntropyLoss(label_smoothing=ε)` computes it; the target itself gets
    /// 1 − ε + ε/vocabulary. DFT, "dynamic fine-tuning", is arXiv 2508.05629, equation 9, and TRL's
    /// `dft_loss`. The z-loss is PaLM's, arXiv 2204.02311, section 5, there with λ = 1e-4.
    ///
    /// Where we differ:
    /// 1. PaLM's z-loss is a mean over all tokens; this one is over supervised tokens, as the rest.
    /// 2. Rows of the embedding that no token has count as vocabulary, as in PyTorch and in
    ///    `transformers`.
    ///
    /// # Shapes
    /// - output: `[tokens]`
    ///
    /// # Panics
    /// On label smoothing with [`TokenLoss::Dft`], which is a likelihood's and has no smoothed form.
    pub fn of_tokens(&self, tokens: TokenStatistics) -> Tensor<1> {
        let TokenStatistics {
            logprob,
            logsumexp,
            mean_logit,
        } = tokens;
        let mut loss = match self.token_loss {
            TokenLoss::Nll => -logprob,
            TokenLoss::Dft => {
                assert_eq!(self.label_smoothing, 0.0, "smoothed labels have no DFT");
                -(logprob.clone().exp().detach() * logprob)
            }
        };
        if self.label_smoothing > 0.0 {
            let spread = logsumexp.clone() - mean_logit;
            loss = loss.mul_scalar(1.0 - self.label_smoothing)
                + spread.mul_scalar(self.label_smoothing);
        }
        if self.z_loss > 0.0 {
            loss = loss + logsumexp.square().mul_scalar(self.z_loss);
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Losses and their gradients by the log-probability, the logsumexp and the mean logit of one
    /// token with logits [0, ln 3], of which the first is the target: p = 1/4, lse = ln 4,
    /// mean logit = ln 3 / 2.
    fn of_one(loss: SupervisedLoss) -> [f64; 4] {
        let device = Device::flex().autodiff();
        let leaf = |value: f64| Tensor::<1>::from_floats([value as f32], &device).require_grad();
        let [logprob, logsumexp, mean_logit] = [0.25f64.ln(), 4f64.ln(), 3f64.ln() / 2.0].map(leaf);
        let value = loss.of_tokens(TokenStatistics {
            logprob: logprob.clone(),
            logsumexp: logsumexp.clone(),
            mean_logit: mean_logit.clone(),
        });
        let mut gradients = value.backward();
        let mut gradient = |leaf: Tensor<1>| match leaf.grad_remove(&mut gradients) {
            Some(gradient) => f64::from(gradient.into_scalar::<f32>()),
            None => 0.0,
        };
        let by = [gradient(logprob), gradient(logsumexp), gradient(mean_logit)];
        [f64::from(value.into_scalar::<f32>()), by[0], by[1], by[2]]
    }

    #[track_caller]
    fn close(got: [f64; 4], want: [f64; 4]) {
        for (got, want) in got.into_iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{got} for {want}");
        }
    }

    #[test]
    fn smoothing_spreads_a_share_of_the_target_over_the_vocabulary() {
        // −log p = ln 4 of the target, −log p = ln(4/3) of the other: the mean is
        // ln 4 − ln 3 / 2. With ε = 0.2: 0.8·ln 4 + 0.2·(ln 4 − ln 3 / 2) = ln 4 − 0.1·ln 3.
        let loss = SupervisedLoss {
            label_smoothing: 0.2,
            ..SupervisedLoss::PLAIN
        };
        close(of_one(loss), [4f64.ln() - 0.1 * 3f64.ln(), -0.8, 0.2, -0.2]);
    }

    #[test]
    fn the_z_loss_is_the_square_of_the_logsumexp() {
        // ln 4 + 0.1·(ln 4)², and 2·0.1·ln 4 by the logsumexp.
        let loss = SupervisedLoss {
            z_loss: 0.1,
            ..SupervisedLoss::PLAIN
        };
        let lse = 4f64.ln();
        close(of_one(loss), [lse + 0.1 * lse * lse, -1.0, 0.2 * lse, 0.0]);
    }

    #[test]
    fn dft_weighs_a_token_by_its_probability_and_not_the_gradient_of_it() {
        // −1/4·ln(1/4) = ln 4 / 4, and −1/4 by the log-probability: not −1/4 − ln(1/4)/4.
        let loss = SupervisedLoss {
            token_loss: TokenLoss::Dft,
            ..SupervisedLoss::PLAIN
        };
        close(of_one(loss), [4f64.ln() / 4.0, -0.25, 0.0, 0.0]);
    }

    #[test]
    fn without_an_option_it_is_cross_entropy() {
        close(of_one(SupervisedLoss::PLAIN), [4f64.ln(), -1.0, 0.0, 0.0]);
    }
}
