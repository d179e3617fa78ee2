//! From the log-probabilities of a row's predictions to what the losses take, and from the losses'
//! slopes back to the predictions.

use std::ops::Range;

use losses::preference::wpo_weight;

use super::objective::{AnswerValues, PairValues, Slope};
use super::pairs::PairSpan;
use super::reference::ReferenceLogprobs;
use crate::recipe::PoSettings;

/// The statistics of a row's predictions on the host.
pub struct RowStatistics {
    /// log p of each target.
    pub logprobs: Vec<f32>,
    /// log Σ p² of each distribution; empty where no weight is taken.
    pub log_collisions: Vec<f32>,
}

/// Σ log p of both answers, the tokens that the longer one has more weighing `ld_alpha`; 0 of one
/// that is not there. Rounded to float32, as the reference's are.
pub fn answer_logprobs(logprobs: &[f32], span: &PairSpan, ld_alpha: f64) -> [f64; 2] {
    let shared = shared_length(span);
    [&span.chosen, &span.rejected].map(|answer| {
        let (head, tail) = logprobs[answer.clone()].split_at(shared.min(answer.len()));
        f64::from((sum(head) + ld_alpha * sum(tail)) as f32)
    })
}

/// Tokens that both answers have; all of a single one.
fn shared_length(span: &PairSpan) -> usize {
    match span.chosen.len().min(span.rejected.len()) {
        0 => span.chosen.len().max(span.rejected.len()),
        shared => shared,
    }
}

/// Σ of float32 values in double precision.
pub fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

/// What the losses take of a pair.
pub fn pair_values(
    settings: &PoSettings,
    row: &RowStatistics,
    span: &PairSpan,
    reference: ReferenceLogprobs,
) -> PairValues {
    let [chosen, rejected] = answer_logprobs(&row.logprobs, span, settings.ld_alpha);
    let answer = |range: &Range<usize>, weighted: f64, reference: f32| AnswerValues {
        logprob: sum(&row.logprobs[range.clone()]),
        weighted_logprob: weighted,
        reference: f64::from(reference),
        length: range.len(),
    };
    let aligned = |range: &Range<usize>| -> Vec<(f32, f32)> {
        range
            .clone()
            .map(|token| (row.logprobs[token], row.log_collisions[token]))
            .collect()
    };
    let weight = match settings.use_weighting {
        true => wpo_weight(
            &aligned(&span.chosen),
            &aligned(&span.rejected),
            settings.weighting_clamp.then_some(1.0),
        ),
        false => 1.0,
    };
    PairValues {
        chosen: answer(&span.chosen, chosen, reference.chosen),
        rejected: answer(&span.rejected, rejected, reference.rejected),
        weight,
    }
}

/// What each prediction's log-probability is multiplied by in the loss.
pub fn token_slopes(
    num_predictions: usize,
    spans: &[PairSpan],
    slopes: &[[Slope; 2]],
    ld_alpha: f64,
) -> Vec<f32> {
    let mut of_tokens = vec![0.0; num_predictions];
    for (span, slopes) in spans.iter().zip(slopes) {
        let shared = shared_length(span);
        for (answer, slope) in [&span.chosen, &span.rejected].into_iter().zip(slopes) {
            for (position, token) in answer.clone().enumerate() {
                let weight = if position < shared { 1.0 } else { ld_alpha };
                of_tokens[token] = (slope.logprob + weight * slope.weighted) as f32;
            }
        }
    }
    of_tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_beyond_the_shorter_answer_weigh_ld_alpha_forward_and_back() {
        let span = PairSpan {
            record: 0,
            chosen: 0..1,
            rejected: 1..4,
        };
        let sums = answer_logprobs(&[-1.0, -2.0, -4.0, -8.0], &span, 0.5);
        assert_eq!(sums, [-1.0, -8.0]);
        let slope = |weighted| Slope {
            logprob: 0.25,
            weighted,
        };
        let slopes = token_slopes(4, &[span], &[[slope(1.0), slope(-1.0)]], 0.5);
        assert_eq!(slopes, [1.25, -0.75, -0.25, -0.25]);
    }

    #[test]
    fn a_single_answer_has_no_longer_one_to_weigh_its_tokens_against() {
        let span = PairSpan {
            record: 0,
            chosen: 0..0,
            rejected: 0..2,
        };
        assert_eq!(answer_logprobs(&[-1.0, -2.0], &span, 0.5), [0.0, -3.0]);
        let slope = |weighted| Slope {
            logprob: 0.0,
            weighted,
        };
        let slopes = token_slopes(2, &[span], &[[slope(9.0), slope(-1.0)]], 0.5);
        assert_eq!(slopes, [-1.0, -1.0]);
    }
}
