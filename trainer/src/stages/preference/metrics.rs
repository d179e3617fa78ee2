//! What pairs say of the policy.

use telemetry::Fields;

use super::objective::{AnswerValues, PairValues};
use crate::recipe::PoSettings;

/// What pairs say of the policy, under TRL's names. An answer's reward is β times its log-ratio, or
/// without a reference β times its log-probability.
pub(super) fn pair_metrics(settings: &PoSettings, pairs: &[PairValues]) -> Fields {
    let mean = |value: &dyn Fn(&PairValues) -> f64| {
        pairs.iter().map(value).sum::<f64>() / pairs.len() as f64
    };
    let reward =
        |answer: &AnswerValues| settings.beta * (answer.weighted_logprob - answer.reference);
    let margin = |pair: &PairValues| reward(&pair.chosen) - reward(&pair.rejected);
    let mut fields = Fields::new()
        .with("rewards/chosen", mean(&|pair| reward(&pair.chosen)))
        .with("rewards/rejected", mean(&|pair| reward(&pair.rejected)))
        .with("rewards/margins", mean(&margin))
        .with(
            "rewards/accuracies",
            mean(&|pair| f64::from(u8::from(margin(pair) > 0.0))),
        )
        .with("logps/chosen", mean(&|pair| pair.chosen.logprob))
        .with("logps/rejected", mean(&|pair| pair.rejected.logprob));
    if settings.use_weighting {
        let weights = pairs.iter().map(|pair| pair.weight);
        // f64::min would leave out a NaN, which has to be seen.
        let least = weights.fold(f64::INFINITY, |least, weight| {
            match least.is_nan() || weight >= least {
                true => least,
                false => weight,
            }
        });
        fields.set("weights/mean", mean(&|pair| pair.weight));
        fields.set("weights/min", least);
    }
    fields
}
