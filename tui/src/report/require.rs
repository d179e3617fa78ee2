//! Whether a run is good enough, for a script to ask.

use std::fmt;
use std::str::FromStr;

use crate::format;
use crate::store::Store;
use crate::text::clean;

/// What an evaluation's metrics may be called whatever their suite's name is.
const ANY_SUITE: &str = "eval/";

/// How a value compares with what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `<`
    Below,
}

impl Comparison {
    /// The longer signs first, since the shorter ones begin them.
    const ALL: [(&str, Self); 4] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    /// NaN is neither above nor below anything.
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::AtLeast => value >= bound,
            Self::AtMost => value <= bound,
            Self::Above => value > bound,
            Self::Below => value < bound,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Self::ALL.iter().find(|(_, comparison)| comparison == self);
        f.write_str(sign.map_or("", |(sign, _)| sign))
    }
}

/// What the last value of a metric is asked to be; `eval/chrf>=57`.
///
/// The metric is one of the steps, such as `reward`; one of an evaluation after its suite, such as
/// `held_out/chrf`, or after `eval` for the latest evaluation that has it; or one of a group in it, such as
/// `held_out/en-de/chrf`.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// The metric.
    pub metric: String,
    /// How it compares.
    pub comparison: Comparison,
    /// With what.
    pub bound: f64,
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "write METRIC>=NUMBER, with >=, <=, > or <, such as eval/chrf>=57";
        let at = text.find(['<', '>']).ok_or(expected)?;
        let (metric, rest) = text.split_at(at);
        let (sign, comparison) = Comparison::ALL
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or(expected)?;
        let bound = rest[sign.len()..].trim().parse::<f64>();
        match (metric.trim(), bound) {
            ("", _) => Err(expected.to_owned()),
            (metric, Ok(bound)) if bound.is_finite() => Ok(Self {
                metric: metric.to_owned(),
                comparison,
                bound,
            }),
            _ => Err(format!(
                "`{}` is no number; {expected}",
                rest[sign.len()..].trim()
            )),
        }
    }
}

/// A requirement and what the run has.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What was asked.
    pub requirement: Requirement,
    /// The step of the last value.
    pub step: u64,
    /// The last value.
    pub value: f64,
}

impl Checked {
    /// Whether the run has what was asked.
    pub fn holds(&self) -> bool {
        self.requirement
            .comparison
            .holds(self.value, self.requirement.bound)
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requirement {
            metric,
            comparison,
            bound,
        } = &self.requirement;
        let (glyph, verdict) = match self.holds() {
            true => ("✔", "holds"),
            false => ("✖", "fails"),
        };
        let step = format::count(self.step);
        let value = self.value;
        write!(
            f,
            "{glyph} {metric} {comparison} {bound} {verdict}: it is {value} at step {step}"
        )
    }
}

/// The run never logged the metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the run has no metric `{metric}`{hint}")]
pub struct UnknownMetric {
    metric: String,
    hint: String,
}

impl UnknownMetric {
    fn new(metric: &str, store: &Store) -> Self {
        let names = names(store);
        let distance = |name: &&String| strsim::damerau_levenshtein(name, metric);
        let hint = match names.iter().min_by_key(distance) {
            Some(nearest) => format!(
                "\nhint: the nearest is `{nearest}`, of {} there are",
                names.len()
            ),
            None => "\nhint: it has logged no metric so far".to_owned(),
        };
        Self {
            metric: metric.to_owned(),
            hint,
        }
    }
}

impl Requirement {
    /// Looks the metric up.
    pub(super) fn check(&self, store: &Store) -> Result<Checked, UnknownMetric> {
        let (step, value) = last_value(store, &self.metric)
            .ok_or_else(|| UnknownMetric::new(&self.metric, store))?;
        Ok(Checked {
            requirement: self.clone(),
            step,
            value,
        })
    }
}

/// The step and the value that a metric has last.
fn last_value(store: &Store, name: &str) -> Option<(u64, f64)> {
    let logged = store.steps.get(name).or_else(|| store.held_out.get(name));
    if let Some(metric) = logged {
        return metric.curve.latest();
    }
    let latest_first = store.evaluations.iter().rev();
    latest_first.clone().find_map(|evaluation| {
        let suite = format!("{}/", clean(&evaluation.name));
        let rest = name
            .strip_prefix(&suite)
            .or_else(|| name.strip_prefix(ANY_SUITE))?;
        let of_group = || {
            evaluation.table.iter().find_map(|row| {
                let metric = rest
                    .strip_prefix(clean(&row.group).as_str())?
                    .strip_prefix('/')?;
                row.metrics.scalar(metric)
            })
        };
        let value = evaluation.fields.scalar(rest).or_else(of_group)?;
        Some((evaluation.step, value))
    })
}

/// All names that are understood, but for those after `eval/`.
fn names(store: &Store) -> Vec<String> {
    let logged = store.steps.iter().chain(store.held_out.iter());
    let mut names: Vec<String> = logged.map(|metric| metric.name.clone()).collect();
    for row in store.evaluation().iter().flat_map(|latest| &latest.table) {
        let suite = store
            .evaluation()
            .map_or(String::new(), |latest| clean(&latest.name));
        let metrics = row.metrics.scalars();
        names.extend(metrics.map(|(name, _)| format!("{suite}/{}/{name}", clean(&row.group))));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::Line;

    fn store(lines: &[&str]) -> Store {
        let mut store = Store::default();
        for line in lines {
            store.fold(Line::parse(line.as_bytes()).unwrap());
        }
        store
    }

    fn example() -> Store {
        store(&[
            r#"{"kind":"evaluation","time":1,"step":0,"name":"held_out","table":[],"chrf":51.0}"#,
            r#"{"kind":"step","time":2,"step":1,"loss":"nan","grad_norm":1,"learning_rate":0,"tokens_per_second":9,"reward":0.5}"#,
            r#"{"kind":"evaluation","time":3,"step":1,"name":"held_out","table":[{"group":"translate/en-de","count":3,"metrics":{"chrf":61.5}}],"chrf":57.0}"#,
        ])
    }

    #[test]
    fn a_requirement_is_a_metric_a_sign_and_a_number() {
        let parsed: Requirement = "eval/chrf++ >= 57.5".parse().unwrap();
        assert_eq!(
            (parsed.metric.as_str(), parsed.comparison, parsed.bound),
            ("eval/chrf++", Comparison::AtLeast, 57.5)
        );
        assert_eq!("kl<1e-2".parse::<Requirement>().unwrap().bound, 0.01);
        assert!(
            "loss=2"
                .parse::<Requirement>()
                .unwrap_err()
                .contains("METRIC>=NUMBER")
        );
        for wrong in ["", "loss", ">=5", "loss>=high", "loss>nan", "loss>"] {
            assert!(wrong.parse::<Requirement>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_value_decides_and_nan_never_holds() {
        let store = example();
        let cases = [
            ("eval/chrf>=57", true),
            ("held_out/chrf>57", false),
            ("eval/translate/en-de/chrf>61", true),
            ("held_out/translate/en-de/chrf<61", false),
            ("reward<=0.5", true),
            ("loss<100", false),
            ("loss>=0", false),
        ];
        for (text, holds) in cases {
            let checked = text.parse::<Requirement>().unwrap().check(&store).unwrap();
            assert_eq!(checked.holds(), holds, "{checked}");
        }
        let checked = "loss<100"
            .parse::<Requirement>()
            .unwrap()
            .check(&store)
            .unwrap();
        assert_eq!(
            checked.to_string(),
            "✖ loss < 100 fails: it is NaN at step 1"
        );
    }

    #[test]
    fn an_unknown_metric_is_answered_with_the_nearest() {
        let check = |text: &str, store: &Store| {
            text.parse::<Requirement>()
                .unwrap()
                .check(store)
                .unwrap_err()
                .to_string()
        };
        let message = check("rewards>0", &example());
        assert!(
            message.contains("no metric `rewards`\nhint: the nearest is `reward`"),
            "{message}"
        );
        assert!(check("loss>0", &Store::default()).contains("logged no metric"));
    }
}
