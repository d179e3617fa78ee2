/// How the tokens of an optimizer step become one number. Names are TRL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossType {
    /// The mean over completions of each one's mean over tokens (DeepSeekMath, arXiv 2402.03300).
    Grpo,
    /// The mean over tokens (DAPO, arXiv 2503.14476).
    Dapo,
    /// The sum over tokens / (completions · longest allowed completion) (Dr. GRPO,
    /// arXiv 2503.20783).
    DrGrpo,
    /// The sum over each completion's tokens, then the mean over completions: a long completion has
    /// as much more to say (LUSPO, arXiv 2602.05261, where it goes with a completion's ratio).
    Luspo,
}

/// The counts of an optimizer step that a loss is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denominator {
    /// Which of the counts divides.
    pub loss_type: LossType,
    /// Completions, those without a token in the loss included.
    pub num_completions: usize,
    /// Tokens in the loss, over all completions.
    pub num_tokens: usize,
    /// Tokens a completion can have at most.
    pub max_completion_length: usize,
}

impl Denominator {
    /// The weight of each token of a completion that has `tokens` of them in the loss.
    pub fn token_weight(&self, tokens: usize) -> f32 {
        let weight = match self.loss_type {
            LossType::Grpo => 1.0 / (self.num_completions * tokens.max(1)) as f64,
            LossType::Dapo => 1.0 / self.num_tokens.max(1) as f64,
            LossType::Luspo => 1.0 / self.num_completions as f64,
            LossType::DrGrpo => 1.0 / (self.num_completions * self.max_completion_length) as f64,
        };
        weight as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_type_weighs_tokens_by_its_own_count() {
        let of = |loss_type| Denominator {
            loss_type,
            num_completions: 2,
            num_tokens: 10,
            max_completion_length: 16,
        };
        // One completion of 4 tokens of two, ten tokens in all, at most 16 each.
        assert_eq!(of(LossType::Grpo).token_weight(4), 1.0 / 8.0);
        assert_eq!(of(LossType::Dapo).token_weight(4), 0.1);
        assert_eq!(of(LossType::Luspo).token_weight(4), 0.5);
        assert_eq!(of(LossType::DrGrpo).token_weight(4), 1.0 / 32.0);
    }
}
