//! The guards of translation for single language pairs. One that goes wrong among many hardly moves the
//! share over all answers.

use std::collections::BTreeSet;

use telemetry::event::AlertLevel::Warning;
use telemetry::event::{Evaluation, EvaluationRow};

use super::defaults::{GUARD_RISE, GUARDS, LENGTHS};
use super::since_start::SinceStart;
use super::threshold::Threshold;
use super::{EVAL, Rule};
use crate::recipe::Side::{Above, Below};

/// Answers below which a pair's shares say little.
const MIN_ANSWERS: u64 = 20;

/// Answers by which a guard has to rise: fewer may be chance, however large their share.
const LEAST_ANSWERS: f64 = 3.0;

/// Makes rules for each pair as it turns up in evaluations.
pub(super) struct Pairs {
    /// The metrics that are watched, without their `eval/`.
    metrics: Vec<&'static str>,
    /// Metrics and pairs that have their rules.
    known: BTreeSet<(&'static str, String)>,
}

impl Pairs {
    /// Of these metrics of evaluations, those that are watched by pair.
    pub fn of(is_watched: impl Fn(&str) -> bool) -> Self {
        let guards = GUARDS.into_iter().map(|(name, _)| name);
        let all = guards.chain([LENGTHS]);
        Pairs {
            metrics: all
                .filter(|name| is_watched(&format!("{EVAL}{name}")))
                .collect(),
            known: BTreeSet::new(),
        }
    }

    /// Rules for the pairs of an evaluation that have none yet.
    pub fn new_rules(&mut self, evaluation: &Evaluation) -> Vec<Box<dyn Rule>> {
        let mut rules: Vec<Box<dyn Rule>> = Vec::new();
        for &metric in &self.metrics {
            let has_it = |row: &&EvaluationRow| row.metrics.scalar(metric).is_some();
            let rows = evaluation.table.iter().filter(has_it);
            // A single row is what the metric over all answers says already.
            if rows.clone().count() < 2 {
                continue;
            }
            for row in rows.filter(|row| row.count >= MIN_ANSWERS) {
                if self.known.insert((metric, row.group.clone())) {
                    rules.extend(rules_of(metric, row));
                }
            }
        }
        rules
    }
}

fn rules_of(metric: &str, row: &EvaluationRow) -> Vec<Box<dyn Rule>> {
    let source = format!("{EVAL}{metric}");
    if let Some((_, meaning)) = GUARDS.iter().find(|(name, _)| *name == metric) {
        let least = GUARD_RISE.max(LEAST_ANSWERS / row.count as f64);
        let rule = SinceStart::new(&source, Above, 2.0, least, meaning);
        return vec![Box::new(rule.of_group(&row.group))];
    }
    let beyond = |side, threshold, meaning: &str| -> Box<dyn Rule> {
        let rule = Threshold::new(&source, side, threshold, Warning, meaning);
        Box::new(rule.of_group(&row.group))
    };
    vec![
        beyond(Above, 1.3, "answers are longer than the right ones"),
        beyond(Below, 0.8, "answers are shorter than the right ones"),
    ]
}

#[cfg(test)]
mod tests {
    use telemetry::{Event, Fields};

    use super::super::{Alerts, Observation};
    use super::*;
    use crate::recipe::{RawRecipe, StageName, for_stage};

    fn alerts(alert_rules: &str) -> Alerts {
        let mut raw = RawRecipe::new();
        raw.set(Some(StageName::Rl), &format!("alert_rules={alert_rules}"));
        Alerts::new(&for_stage(&raw, StageName::Rl).expect("a sound recipe"))
    }

    /// What an evaluation raises and clears, `-` before the latter: pairs with their number of answers and
    /// the share of them off target, and that over all.
    fn told(alerts: &mut Alerts, step: u64, pairs: &[(&str, u64, f64)], all: f64) -> Vec<String> {
        let row = |(pair, count, share): &(&str, u64, f64)| EvaluationRow {
            group: (*pair).to_owned(),
            count: *count,
            metrics: Fields::new().with("off_target_rate", *share),
        };
        let evaluation = Evaluation {
            step,
            name: Evaluation::HELD_OUT.to_owned(),
            table: pairs.iter().map(row).collect(),
            fields: Fields::new().with("off_target_rate", all),
        };
        let events = alerts.observe(Observation::Evaluation(&evaluation), Some(step));
        let word = |event: Event| match event {
            Event::Alert(alert) => format!("{}: {}", alert.rule, alert.message),
            Event::AlertCleared(cleared) => format!("-{}", cleared.rule),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(word).collect()
    }

    #[test]
    fn a_pair_that_goes_wrong_among_healthy_ones_is_named() {
        let mut alerts = alerts("[]");
        let table = |share: f64| [("en-de", 100, 0.01), ("en-ja", 100, share)];
        assert!(told(&mut alerts, 0, &table(0.02), 0.015).is_empty());
        let raised = told(&mut alerts, 20, &table(0.06), 0.035);
        assert_eq!(
            raised,
            [
                "eval/off_target_rate of en-ja > 2 × its start: eval/off_target_rate of en-ja is \
                 0.060, and was 0.020 when the run began; healthy is at most 0.050: more and more \
                 answers are in another language than was asked for"
            ]
        );
        assert!(told(&mut alerts, 40, &table(0.06), 0.035).is_empty());
        let cleared = told(&mut alerts, 60, &table(0.02), 0.015);
        assert_eq!(cleared, ["-eval/off_target_rate of en-ja > 2 × its start"]);
    }

    #[test]
    fn a_pair_of_short_answers_is_told_of_where_the_whole_is_too_long() {
        let mut alerts = alerts("[]");
        let row = |pair: &str, ratio: f64| EvaluationRow {
            group: pair.to_owned(),
            count: 100,
            metrics: Fields::new().with("length_ratio", ratio),
        };
        let evaluation = Evaluation {
            step: 20,
            name: Evaluation::HELD_OUT.to_owned(),
            table: vec![row("en-de", 1.9), row("en-ja", 0.5)],
            fields: Fields::new().with("length_ratio", 1.35),
        };
        let events = alerts.observe(Observation::Evaluation(&evaluation), Some(20));
        let rules: Vec<String> = events
            .into_iter()
            .filter_map(|event| match event {
                Event::Alert(alert) => Some(alert.rule),
                _ => None,
            })
            .collect();
        let of = |start: &str| rules.iter().filter(|rule| rule.starts_with(start)).count();
        assert_eq!(of("eval/length_ratio of en-ja <"), 1, "{rules:?}");
        assert_eq!(of("eval/length_ratio of en-de"), 0, "{rules:?}");
    }

    #[test]
    fn few_answers_are_no_pair_to_watch_and_three_more_are_no_chance() {
        let mut alerts = alerts("[]");
        let table = |share: f64| {
            [
                ("en-de", 100, 0.0),
                ("en-ja", 19, share),
                ("en-fr", 20, share),
            ]
        };
        assert!(told(&mut alerts, 0, &table(0.0), 0.0).is_empty());
        // Two of twenty: more than 3 % and yet only two.
        assert!(told(&mut alerts, 20, &table(0.1), 0.02).is_empty());
        let raised = told(&mut alerts, 40, &table(0.2), 0.02);
        assert_eq!(raised.len(), 1, "{raised:?}");
        assert!(raised[0].starts_with("eval/off_target_rate of en-fr"));
    }

    #[test]
    fn what_the_whole_is_told_of_no_pair_repeats() {
        let mut alerts = alerts("[]");
        let table = |share: f64| [("en-de", 100, share), ("en-ja", 100, share)];
        told(&mut alerts, 0, &table(0.0), 0.0);
        let raised = told(&mut alerts, 20, &table(0.5), 0.5);
        assert_eq!(raised.len(), 1, "{raised:?}");
        assert!(raised[0].starts_with("eval/off_target_rate > 2"));
        // Once the whole is healthy again, a pair that is not is told of.
        let told = told(
            &mut alerts,
            40,
            &[("en-de", 100, 0.0), ("en-ja", 100, 0.5)],
            0.01,
        );
        assert_eq!(told[0], "-eval/off_target_rate > 2 × its start");
        assert!(
            told[1].starts_with("eval/off_target_rate of en-ja"),
            "{told:?}"
        );
    }

    #[test]
    fn a_recipe_that_takes_a_metric_out_takes_its_pairs_out() {
        for rules in [r#"["off"]"#, r#"["off_target_rate off"]"#] {
            let mut alerts = alerts(rules);
            let table = |share: f64| [("en-de", 100, 0.0), ("en-ja", 100, share)];
            told(&mut alerts, 0, &table(0.0), 0.0);
            assert!(
                told(&mut alerts, 20, &table(0.5), 0.02).is_empty(),
                "{rules}"
            );
        }
    }
}
