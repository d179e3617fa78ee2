//! An entry of `alert_rules`: what a recipe changes of the rules that a run is watched by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use telemetry::MetricKey;
use telemetry::metric;

use super::nearest::near_word;

/// One entry, as a recipe writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AlertRule {
    /// `off`: no default rule holds.
    Off,
    /// `kl off`: no default rule about the metric holds.
    Without {
        /// The metric.
        metric: String,
    },
    /// `kl > 1`: instead of the default rules about the metric.
    Beyond {
        /// The metric: of steps and of evaluations, with `eval/` before it of evaluations alone.
        metric: String,
        /// On which side of the threshold it raises an alert.
        side: Side,
        /// The threshold.
        threshold: f64,
    },
}

/// A side of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `>`
    Above,
    /// `<`
    Below,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Above => ">",
            Side::Below => "<",
        })
    }
}

impl FromStr for AlertRule {
    type Err = String;

    /// The error says what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["off"] => Ok(Self::Off),
            [metric, "off"] => Ok(Self::Without {
                metric: known(metric)?,
            }),
            [metric, side @ (">" | "<"), threshold] => {
                let number = threshold
                    .parse()
                    .ok()
                    .filter(|number: &f64| number.is_finite());
                Ok(Self::Beyond {
                    metric: known(metric)?,
                    side: match *side {
                        ">" => Side::Above,
                        _ => Side::Below,
                    },
                    threshold: number.ok_or_else(|| {
                        format!("`{threshold}` in `{text}` is no number, such as 0.5")
                    })?,
                })
            }
            _ => Err(format!(
                "`{text}` is no rule: write `METRIC > NUMBER`, `METRIC < NUMBER`, `METRIC off` or `off`"
            )),
        }
    }
}

/// Reward functions give metrics of any name, but one that is nearly a known one is a slip.
fn known(metric: &str) -> Result<String, String> {
    let name = metric.strip_prefix("eval/").unwrap_or(metric);
    let names = metric::ALL.iter().map(|key| key.name);
    if MetricKey::lookup(name).is_none()
        && let Some(near) = near_word(name, names)
    {
        return Err(format!("the nearest metric to `{metric}` is `{near}`"));
    }
    Ok(metric.to_owned())
}

impl fmt::Display for AlertRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Without { metric } => write!(f, "{metric} off"),
            Self::Beyond {
                metric,
                side,
                threshold,
            } => write!(f, "{metric} {side} {threshold}"),
        }
    }
}

impl TryFrom<String> for AlertRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AlertRule> for String {
    fn from(rule: AlertRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_and_written_back() {
        for text in [
            "off",
            "kl off",
            "kl > 1",
            "eval/chrf < 20.5",
            "rewards/my_own/mean < -3",
            "exact_match < 0.1",
        ] {
            let rule: AlertRule = text.parse().expect(text);
            assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    fn a_bad_rule_says_what_to_write() {
        for (text, part) in [
            ("kl", "METRIC > NUMBER"),
            ("kl>1", "METRIC > NUMBER"),
            ("kl >= 1", "METRIC > NUMBER"),
            ("kl > much", "`much`"),
            ("kl > nan", "`nan`"),
            ("entropi < 1", "`entropy`"),
            ("eval/losss > 3", "`loss`"),
        ] {
            let error = text.parse::<AlertRule>().expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
