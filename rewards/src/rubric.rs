//! Several reward functions, one number.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Attempt, Verifier};

/// What the rewards weigh, by name: a recipe's `reward_weights`. One that is not listed weighs 1.
#[derive(Debug, Clone, Default)]
pub struct Rubric {
    weights: BTreeMap<String, f64>,
}

impl Rubric {
    /// With these weights.
    pub fn new(weights: BTreeMap<String, f64>) -> Self {
        Self { weights }
    }

    /// Judges an attempt by each of its verifiers.
    pub fn score(&self, verifiers: &[Verifier], attempt: &Attempt<'_>) -> RewardBreakdown {
        let mut parts: Vec<RewardPart> = Vec::with_capacity(verifiers.len());
        for verifier in verifiers {
            let same = |p: &&RewardPart| p.name.split('#').next() == Some(verifier.name());
            let name = match parts.iter().filter(same).count() {
                0 => verifier.name().to_owned(),
                before => format!("{}#{}", verifier.name(), before + 1),
            };
            parts.push(RewardPart {
                name,
                score: verifier.score(attempt),
                weight: self.weights.get(verifier.name()).copied().unwrap_or(1.0),
            });
        }
        RewardBreakdown {
            total: total(&parts),
            parts,
        }
    }
}

/// The weighted sum of the parts that apply, as TRL's `nansum`: `None` and NaN parts are left out.
/// It is `None` when no part applies, and such an attempt takes no part in its group's baseline.
fn total(parts: &[RewardPart]) -> Option<f64> {
    let scored = parts.iter().filter_map(|part| {
        part.score
            .filter(|s| !s.is_nan())
            .map(|score| score * part.weight)
    });
    scored.fold(None, |sum, score| Some(sum.unwrap_or(0.0) + score))
}

/// The reward of one completion and what it is made of, e.g.
/// `{"total": 0.9, "parts": [{"name": "chrf", "score": 0.8, "weight": 1.0}, …]}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RewardBreakdown {
    /// The weighted sum over the parts that apply, or `None` where none does.
    #[serde(serialize_with = "show_nan")]
    pub total: Option<f64>,
    /// Each function's contribution, in the order of the rubric.
    pub parts: Vec<RewardPart>,
}

/// One function's part in a reward.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RewardPart {
    /// The function, `#2`, `#3` appended where a record uses it several times.
    pub name: String,
    /// What it gave, before the weight; `None` where it had nothing to judge.
    #[serde(serialize_with = "show_nan")]
    pub score: Option<f64>,
    /// Its weight.
    pub weight: f64,
}

/// JSON has no NaN and would make it `null`, which means something else here.
fn show_nan<S: serde::Serializer>(score: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match score {
        Some(score) if score.is_nan() => serializer.serialize_str("nan"),
        Some(score) if score.is_infinite() => {
            serializer.serialize_str(if *score > 0.0 { "inf" } else { "-inf" })
        }
        other => other.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(name: &str, score: Option<f64>) -> Verifier {
        Verifier::new(name, move |_: &Attempt<'_>| score)
    }

    fn score(verifiers: &[Verifier], weights: &[(&str, f64)]) -> RewardBreakdown {
        let weights = weights
            .iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight));
        Rubric::new(weights.collect()).score(verifiers, &Attempt::new("", ""))
    }

    #[test]
    fn parts_that_do_not_apply_are_left_out_of_the_sum() {
        let verifiers = [
            constant("own", Some(1.0)),
            constant("a", Some(0.5)),
            constant("b", None),
            constant("c", Some(f64::NAN)),
        ];
        let breakdown = score(&verifiers, &[("a", 2.0), ("b", 9.0), ("c", 9.0)]);
        assert_eq!(breakdown.total, Some(2.0));
        assert_eq!(
            breakdown
                .parts
                .iter()
                .map(|p| p.name.as_str())
                .collect::<Vec<_>>(),
            ["own", "a", "b", "c"]
        );
    }

    #[test]
    fn no_part_that_applies_is_no_reward_rather_than_zero() {
        assert_eq!(score(&[constant("a", None)], &[]).total, None);
        assert_eq!(score(&[], &[]).total, None);
    }

    #[test]
    fn verifiers_of_one_name_are_told_apart() {
        let own = [
            constant("regex", Some(1.0)),
            constant("regex", Some(0.0)),
            constant("regex", Some(1.0)),
        ];
        let names: Vec<String> = score(&own, &[]).parts.into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["regex", "regex#2", "regex#3"]);
    }

    #[test]
    fn a_breakdown_keeps_order_and_shows_nan() {
        let verifiers = [constant("z", Some(f64::NAN)), constant("a", None)];
        let expected = r#"{"total":null,"parts":[{"name":"z","score":"nan","weight":1.0},{"name":"a","score":null,"weight":0.5}]}"#;
        assert_eq!(
            serde_json::to_string(&score(&verifiers, &[("a", 0.5)])).unwrap(),
            expected
        );
    }
}
