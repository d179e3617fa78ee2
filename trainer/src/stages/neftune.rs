//! Noise on the embeddings in supervised fine-tuning.

use datasets::{TokenBatch, counter_rng};

/// NEFTune's noise on the embeddings of training sequences (arXiv 2310.05914): to each of the n·d
/// numbers of a sequence of n tokens it adds one of the uniform distribution over ±α/√(n·d).
///
/// A number depends on the seed, the step, the sequence's place in the step and the token's in the
/// sequence, so it is the same however a step is cut into micro-batches, and after a resume.
///
/// Where we differ from `transformers`: n counts the sequence's own tokens, not those of the longest
/// of its batch. The noise goes to what enters the first block, behind the scale of Gemma's
/// embeddings, as there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingNoise {
    /// α; 5 to 15 in the paper.
    pub alpha: f64,
    /// The run's seed.
    pub seed: u64,
}

impl EmbeddingNoise {
    /// The noise of a row of sequences, the first of which is number `first_sequence` of the step.
    ///
    /// # Shapes
    /// - output: `[tokens, width]`, row by row
    pub fn of_batch(
        &self,
        batch: &TokenBatch,
        step: u64,
        first_sequence: usize,
        width: usize,
    ) -> Vec<f32> {
        let mut noise = Vec::with_capacity(batch.num_tokens() * width);
        for segment in 0..batch.num_segments() {
            let length = batch.segment(segment).len();
            let size = (self.alpha / ((length * width) as f64).sqrt()) as f32;
            for position in 0..length as u64 {
                let sequence = (first_sequence + segment) as u64;
                let numbers =
                    counter_rng::symmetric(self.seed, &[STREAM, step, sequence, position]);
                noise.extend(numbers.take(width).map(|number| size * number));
            }
        }
        noise
    }
}

/// Keeps these numbers apart from those that the same seed gives to other purposes.
const STREAM: u64 = 0x6e65_6674;

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::SupervisedTokens;

    const NOISE: EmbeddingNoise = EmbeddingNoise {
        alpha: 5.0,
        seed: 42,
    };

    fn batch(lengths: &[u32]) -> TokenBatch {
        let sequences = lengths
            .iter()
            .map(|&length| SupervisedTokens::document((0..length).collect()));
        TokenBatch::from_sequences(&sequences.collect::<Vec<_>>())
    }

    #[test]
    fn the_split_into_micro_batches_changes_nothing() {
        let whole = NOISE.of_batch(&batch(&[3, 5, 2]), 7, 0, 4);
        let mut parts = NOISE.of_batch(&batch(&[3]), 7, 0, 4);
        parts.extend(NOISE.of_batch(&batch(&[5, 2]), 7, 1, 4));
        assert_eq!(whole, parts);
        assert_ne!(whole, NOISE.of_batch(&batch(&[3, 5, 2]), 8, 0, 4));
    }

    #[test]
    fn its_size_is_alpha_over_the_root_of_the_sequences_numbers() {
        // n·d = 25·16 = 400: numbers of ±5/20, and of a uniform distribution's deviation /√3.
        let noise = NOISE.of_batch(&batch(&[25]), 1, 0, 16);
        assert!(noise.iter().all(|number| number.abs() <= 0.25));
        let square: f32 = noise.iter().map(|number| number * number).sum();
        let deviation = (square / 400.0).sqrt();
        assert!((deviation - 0.25 / 3f32.sqrt()).abs() < 0.01, "{deviation}");
    }
}
