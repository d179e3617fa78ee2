//! What pairs say of the policy.

use telemetry::Fields;

use super::objective::{AnswerValues, PairValues};
use crate::recipe::PoSettings;

/// What pairs say of the policy, under TRL's names. An answer's reward is β times its log-ratio, or
/// without a reference β times its log-probability. What no answer of these says is left out.
pub(super) fn pair_metrics(settings: &PoSettings, pairs: &[PairValues]) -> Fields {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let reward =
        |answer: &AnswerValues| settings.beta * (answer.weighted_logprob - answer.reference);
    let chosen = || pairs.iter().map(|pair| pair.chosen).filter(is_there);
    let rejected = || pairs.iter().map(|pair| pair.rejected).filter(is_there);
    let margins = || {
        let whole = pairs
            .iter()
            .filter(|pair| is_there(&pair.chosen) && is_there(&pair.rejected));
        whole.map(|pair| reward(&pair.chosen) - reward(&pair.rejected))
    };
    let rewards = [
        mean(&mut chosen().map(|answer| reward(&answer))),
        mean(&mut rejected().map(|answer| reward(&answer))),
    ];
    // Single answers have no margin of their own: TRL's is that of the means.
    let margin = match margins().count() == pairs.len() {
        true => mean(&mut margins()),
        false => rewards[0]
            .zip(rewards[1])
            .map(|(chosen, rejected)| chosen - rejected),
    };
    let accuracy = mean(&mut margins().map(|margin| f64::from(u8::from(margin > 0.0))));
    let mut fields = Fields::new();
    for (name, value) in [
        ("rewards/chosen", rewards[0]),
        ("rewards/rejected", rewards[1]),
        ("rewards/margins", margin),
        ("rewards/accuracies", accuracy),
        (
            "logps/chosen",
            mean(&mut chosen().map(|answer| answer.logprob)),
        ),
        (
            "logps/rejected",
            mean(&mut rejected().map(|answer| answer.logprob)),
        ),
    ] {
        if let Some(value) = value {
            fields.set(name, value);
        }
    }
    if settings.use_weighting {
        let weights = pairs.iter().map(|pair| pair.weight);
        // f64::min would leave out a NaN, which has to be seen.
        let least = weights.fold(f64::INFINITY, |least, weight| {
            match least.is_nan() || weight >= least {
                true => least,
                false => weight,
            }
        });
        if let Some(mean) = mean(&mut pairs.iter().map(|pair| pair.weight)) {
            fields.set("weights/mean", mean);
        }
        fields.set("weights/min", least);
    }
    fields
}

fn is_there(answer: &AnswerValues) -> bool {
    answer.length > 0
}
