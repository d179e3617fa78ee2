//! The rules that every run of a stage is watched by.
//!
//! Ranges of RL and of gradient norms are those that axolotl publishes for its GRPO runs; the window of
//! outliers is llm.c's. The others are our own, set so that the demo's four stages raise none that is not
//! deserved.

use telemetry::event::AlertLevel::{self, Alarm, Warning};

use super::Rule;
use super::machine::{DeviceMemory, DiskRoom, Slower};
use super::outlier::{NonFinite, Outlier};
use super::since_start::SinceStart;
use super::threshold::{Smoothing, Threshold};
use super::trend::{Displacement, Growth, Rises};
use crate::recipe::Side::{self, Above, Below};
use crate::recipe::{AlertRule, StageName};

/// A metric, its threshold, how bad it is beyond it, and what that means.
type Row = (&'static str, Side, f64, AlertLevel, &'static str);

const SFT: &[Row] = &[
    (
        "grad_norm",
        Above,
        10.0,
        Warning,
        "the learning rate may be too high",
    ),
    (
        "grad_norm",
        Below,
        0.1,
        Warning,
        "next to nothing is learnt any more",
    ),
];

/// Its batches are larger than fine-tuning's, and norms smaller.
const CPT: &[Row] = &[(
    "grad_norm",
    Above,
    10.0,
    Warning,
    "the learning rate may be too high",
)];

const PO: &[Row] = &[(
    "weights/mean",
    Below,
    0.05,
    Warning,
    "the pairs are unlike what the policy writes, and count for next to nothing",
)];

const RL: &[Row] = &[
    (
        "grad_norm",
        Above,
        1.0,
        Warning,
        "the learning rate may be too high",
    ),
    (
        "grad_norm",
        Below,
        0.001,
        Warning,
        "next to nothing is learnt any more",
    ),
    (
        "frac_reward_zero_std",
        Above,
        0.8,
        Warning,
        "most prompts are too easy or too hard to learn from",
    ),
    (
        "entropy",
        Below,
        0.01,
        Alarm,
        "the policy has collapsed to one answer a prompt",
    ),
    (
        "kl",
        Above,
        0.5,
        Warning,
        "the policy moves away from its reference",
    ),
    ("kl", Above, 2.0, Alarm, "the policy has left its reference"),
    (
        "sampling/logp_difference/mean",
        Above,
        0.1,
        Warning,
        "the sampler and training disagree on the same tokens",
    ),
    (
        "sampling/logp_difference/mean",
        Above,
        1.0,
        Alarm,
        "the samples are not of the policy that is trained",
    ),
    (
        "clip_ratio/region_mean",
        Above,
        0.1,
        Warning,
        "the policy moves too far between two sets of samples",
    ),
    (
        "clip_ratio/region_mean",
        Above,
        0.3,
        Alarm,
        "most of what the samples say is clipped away",
    ),
    (
        "completions/clipped_ratio",
        Above,
        0.3,
        Warning,
        "completions run into max_completion_length",
    ),
    (
        "completions/clipped_ratio",
        Above,
        0.8,
        Alarm,
        "next to no completion ends before max_completion_length",
    ),
    (
        "length_ratio",
        Above,
        1.3,
        Warning,
        "completions are longer than the right answers",
    ),
    (
        "length_ratio",
        Below,
        0.8,
        Warning,
        "completions are shorter than the right answers",
    ),
];

/// Held-out answers, of any stage that gives some.
const ANSWERS: &[Row] = &[
    (
        "eval/length_ratio",
        Above,
        1.3,
        Warning,
        "answers are longer than the right ones",
    ),
    (
        "eval/length_ratio",
        Below,
        0.8,
        Warning,
        "answers are shorter than the right ones",
    ),
];

/// Guards and what it means where they rise.
pub(super) const GUARDS: [(&str, &str); 4] = [
    (
        "off_target_rate",
        "more and more answers are in another language than was asked for",
    ),
    ("copy_rate", "more and more answers are the source again"),
    ("empty_rate", "more and more answers are empty"),
    ("repetition_rate", "more and more answers are loops"),
];

/// How long answers are beside the right ones.
pub(super) const LENGTHS: &str = "length_ratio";

/// How much a guard has to rise at least.
pub(super) const GUARD_RISE: f64 = 0.03;

/// The rules of a stage, as its recipe changes them.
pub(super) fn rules(stage: StageName, changes: &[AlertRule]) -> Vec<Box<dyn Rule>> {
    let mut rules = of_stage(stage);
    if changes.contains(&AlertRule::Off) {
        rules.clear();
    }
    for change in changes {
        if let AlertRule::Without { metric } | AlertRule::Beyond { metric, .. } = change {
            rules.retain(|rule| !is_about(&rule.about().source.metric, metric));
        }
    }
    for change in changes {
        let AlertRule::Beyond {
            metric,
            side,
            threshold,
        } = change
        else {
            continue;
        };
        let of_evaluations = format!("eval/{}", metric.trim_start_matches("eval/"));
        for metric in [metric, &of_evaluations] {
            let rule = Threshold::new(metric, *side, *threshold, Alarm, "alert_rules asks for it");
            if rules
                .iter()
                .all(|known| known.about().name != rule.about().name)
            {
                rules.push(Box::new(rule));
            }
        }
    }
    rules
}

/// Whether the built-in rules about a metric are as they were: the recipe has neither taken them out nor put
/// its own in their place.
pub(super) fn is_left(metric: &str, changes: &[AlertRule]) -> bool {
    !changes.iter().any(|change| match change {
        AlertRule::Off => true,
        AlertRule::Without { metric: named } | AlertRule::Beyond { metric: named, .. } => {
            is_about(metric, named)
        }
    })
}

/// Whether a recipe that names `named` means the metric of a rule: `loss` is also `eval/loss`.
fn is_about(metric: &str, named: &str) -> bool {
    metric == named || metric.strip_prefix("eval/") == Some(named)
}

fn of_stage(stage: StageName) -> Vec<Box<dyn Rule>> {
    let mut rules: Vec<Box<dyn Rule>> = vec![
        Box::new(NonFinite::new("loss")),
        Box::new(NonFinite::new("grad_norm")),
        Box::new(Outlier::new("grad_norm", 2)),
        Box::new(Slower::new()),
        Box::new(DiskRoom::new()),
        Box::new(DeviceMemory::new()),
    ];
    let rows = match stage {
        StageName::Cpt => CPT,
        StageName::Sft => SFT,
        StageName::Po => PO,
        StageName::Rl => RL,
    };
    for &(metric, side, threshold, level, meaning) in rows.iter().chain(ANSWERS) {
        let rule = Threshold::new(metric, side, threshold, level, meaning);
        rules.push(Box::new(rule));
    }
    for (name, meaning) in GUARDS {
        let metric = format!("eval/{name}");
        let rule = SinceStart::new(&metric, Above, 2.0, GUARD_RISE, meaning);
        rules.push(Box::new(rule));
    }
    match stage {
        StageName::Cpt | StageName::Sft => {
            rules.push(Box::new(Outlier::new("loss", 1)));
            rules.push(Box::new(Rises::new("eval/loss")));
            rules.push(Box::new(nothing_in(
                "num_supervised",
                "nothing in the batch is supervised",
            )));
        }
        StageName::Po => {
            rules.push(Box::new(Outlier::new("loss", 1)));
            rules.push(Box::new(Rises::new("eval/loss")));
            rules.push(Box::new(Displacement::new()));
            let meaning = "there is nothing left to learn from these pairs";
            let learnt = Threshold::new("rewards/accuracies", Above, 0.99, Warning, meaning);
            rules.push(Box::new(learnt.over(200, Smoothing::Mean)));
        }
        StageName::Rl => {
            rules.push(Box::new(nothing_in(
                "num_tokens",
                "no completion is trained on",
            )));
            rules.push(Box::new(Growth::new("completions/mean_length")));
            let meaning = "the prompts may be too hard, or the reward functions too strict";
            let reward = Threshold::new("reward", Below, 0.15, Warning, meaning);
            rules.push(Box::new(reward.over(20, Smoothing::Mean)));
            let meaning = "the policy explores less and less";
            rules.push(Box::new(SinceStart::new(
                "entropy", Below, 0.5, 0.0, meaning,
            )));
            for (metric, meaning) in GUARDS {
                let rule = SinceStart::new(metric, Above, 2.0, GUARD_RISE, meaning);
                rules.push(Box::new(rule));
            }
        }
    }
    rules
}

/// A count that is 0 in a single step.
fn nothing_in(metric: &str, meaning: &str) -> Threshold {
    Threshold::new(metric, Below, 1.0, Alarm, meaning).over(1, Smoothing::Median)
}
