//! Several reward functions, one number.

use crate::{Attempt, Registry, RewardError, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The reward functions of a recipe (`reward_funcs`, `reward_weights`) on top of each record's own verifiers.
///
/// A record's verifiers count with weight 1. Where the recipe lists a function by the same name, the
/// record's arguments and the recipe's weight hold, and it runs once.
#[derive(Debug, Clone, Default)]
pub struct Rubric {
    parts: Vec<(Verifier, f64)>,
    /// Of records' own verifiers by these names.
    weights: Vec<(String, f64)>,
}

/// One entry of `reward_funcs`: a name, or `{ name = "length", args = { max = 40 }, weight = 0.2 }`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(from = "RawSpec")]
pub struct RewardSpec {
    /// The verifier.
    pub name: String,
    /// Its arguments, for records that have no verifier of that name.
    pub args: Value,
    /// Its share in the total; `reward_weights` goes before it.
    pub weight: f64,
}

impl Rubric {
    /// The functions of a recipe; `weights` is empty or has one value for each.
    pub fn parse(
        registry: &Registry,
        functions: &[RewardSpec],
        weights: &[f64],
    ) -> Result<Self, RewardError> {
        if !weights.is_empty() && weights.len() != functions.len() {
            return Err(RewardError::WeightCount {
                functions: functions.len(),
                weights: weights.len(),
            });
        }
        let mut rubric = Self::default();
        for (i, spec) in functions.iter().enumerate() {
            let weight = weights.get(i).copied().unwrap_or(spec.weight);
            if !weight.is_finite() {
                return Err(RewardError::Weight {
                    name: spec.name.clone(),
                    weight,
                });
            }
            rubric = rubric.with(registry.parse(&spec.name, &spec.args)?, weight);
        }
        Ok(rubric)
    }

    /// The rubric with one more function.
    #[must_use]
    pub fn with(mut self, verifier: Verifier, weight: f64) -> Self {
        self.parts.push((verifier, weight));
        self
    }

    /// The rubric where a record's own verifier of this name has this weight.
    ///
    /// # Errors
    /// The weight is not finite.
    pub fn weighing(mut self, name: &str, weight: f64) -> Result<Self, RewardError> {
        if !weight.is_finite() {
            let name = name.to_owned();
            return Err(RewardError::Weight { name, weight });
        }
        self.weights.push((name.to_owned(), weight));
        Ok(self)
    }

    /// Judges an attempt by the record's own verifiers, then by the rubric's functions.
    pub fn score(&self, own: &[Verifier], attempt: &Attempt<'_>) -> RewardBreakdown {
        let weight_of = |name: &str| {
            let parts = self.parts.iter().map(|(v, weight)| (v.name(), *weight));
            let weights = self.weights.iter().map(|(name, weight)| (&**name, *weight));
            let mut all = parts.chain(weights);
            all.find(|(known, _)| *known == name)
                .map_or(1.0, |(_, weight)| weight)
        };
        let own_parts = own
            .iter()
            .map(|verifier| (verifier, weight_of(verifier.name())));
        let is_own = |name: &str| own.iter().any(|verifier| verifier.name() == name);
        let added = self
            .parts
            .iter()
            .filter(|(v, _)| !is_own(v.name()))
            .map(|(v, weight)| (v, *weight));

        let mut parts: Vec<RewardPart> = Vec::with_capacity(own.len() + self.parts.len());
        for (verifier, weight) in own_parts.chain(added) {
            let same = |p: &&RewardPart| p.name.split('#').next() == Some(verifier.name());
            let name = match parts.iter().filter(same).count() {
                0 => verifier.name().to_owned(),
                before => format!("{}#{}", verifier.name(), before + 1),
            };
            parts.push(RewardPart {
                name,
                score: verifier.score(attempt),
                weight,
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

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSpec {
    Name(String),
    Table(RawTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    name: String,
    #[serde(default)]
    args: Value,
    weight: Option<f64>,
}

impl From<RawSpec> for RewardSpec {
    fn from(raw: RawSpec) -> Self {
        match raw {
            RawSpec::Name(name) => Self {
                name,
                args: Value::Null,
                weight: 1.0,
            },
            RawSpec::Table(table) => Self {
                name: table.name,
                args: table.args,
                weight: table.weight.unwrap_or(1.0),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn constant(name: &str, score: Option<f64>) -> Verifier {
        Verifier::new(name, move |_: &Attempt<'_>| score)
    }

    fn score(rubric: &Rubric, own: &[Verifier]) -> RewardBreakdown {
        rubric.score(own, &Attempt::new("", ""))
    }

    #[test]
    fn parts_that_do_not_apply_are_left_out_of_the_sum() {
        let rubric = Rubric::default()
            .with(constant("a", Some(0.5)), 2.0)
            .with(constant("b", None), 9.0)
            .with(constant("c", Some(f64::NAN)), 9.0);
        let breakdown = score(&rubric, &[constant("own", Some(1.0))]);
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
        assert_eq!(
            score(&Rubric::default().with(constant("a", None), 1.0), &[]).total,
            None
        );
        assert_eq!(score(&Rubric::default(), &[]).total, None);
    }

    #[test]
    fn the_recipe_weighs_the_records_own_verifier_of_that_name() {
        let rubric = Rubric::default().with(constant("chrf", Some(0.0)), 0.5);
        let breakdown = score(&rubric, &[constant("chrf", Some(1.0))]);
        assert_eq!((breakdown.total, breakdown.parts.len()), (Some(0.5), 1));
    }

    #[test]
    fn verifiers_of_one_name_are_told_apart() {
        let own = [
            constant("regex", Some(1.0)),
            constant("regex", Some(0.0)),
            constant("regex", Some(1.0)),
        ];
        let names: Vec<String> = score(&Rubric::default(), &own)
            .parts
            .into_iter()
            .map(|p| p.name)
            .collect();
        assert_eq!(names, ["regex", "regex#2", "regex#3"]);
    }

    #[test]
    fn a_breakdown_keeps_order_and_shows_nan() {
        let rubric = Rubric::default()
            .with(constant("z", Some(f64::NAN)), 1.0)
            .with(constant("a", None), 0.5);
        let expected = r#"{"total":null,"parts":[{"name":"z","score":"nan","weight":1.0},{"name":"a","score":null,"weight":0.5}]}"#;
        assert_eq!(
            serde_json::to_string(&score(&rubric, &[])).unwrap(),
            expected
        );
    }

    #[test]
    fn specs_are_names_or_tables() {
        let specs: Vec<RewardSpec> = serde_json::from_value(
            json!(["chrf", {"name": "length", "args": {"max": 9}, "weight": 0.2}]),
        )
        .unwrap();
        let registry = Registry::standard();
        let rubric = Rubric::parse(&registry, &specs, &[]).unwrap();
        assert_eq!(
            rubric
                .parts
                .iter()
                .map(|(v, w)| (v.name(), *w))
                .collect::<Vec<_>>(),
            [("chrf", 1.0), ("length", 0.2)]
        );
        assert_eq!(
            Rubric::parse(&registry, &specs, &[0.3, 0.7]).unwrap().parts[1].1,
            0.7
        );
        assert!(
            Rubric::parse(&registry, &specs, &[1.0])
                .unwrap_err()
                .to_string()
                .contains("1 values for 2")
        );
        assert!(Rubric::parse(&registry, &specs, &[1.0, f64::NAN]).is_err());
    }
}
