use std::collections::BTreeMap;

use rewards::guards::{Guarded, Guards};
use telemetry::event::EvaluationRow;
use telemetry::{Fields, Scalar};

use super::Group;
use crate::stage::{Evaluation, EvaluationSample};

/// What the samples of a step say, under TRL's names. `reward` is over all completions.
pub fn rollout_metrics(groups: &[Group]) -> Fields {
    let rollouts = || groups.iter().flat_map(|group| &group.rollouts);
    let rewards: Vec<f64> = rollouts().filter_map(|r| r.reward.total).collect();
    let (reward, reward_std) = mean_and_deviation(&rewards);
    let mut fields = Fields::new()
        .with("reward", reward)
        .with("reward_std", reward_std);
    for (name, scores) in scores_by_part(groups) {
        let (mean, deviation) = mean_and_deviation(&scores);
        fields.set(format!("rewards/{name}/mean"), mean);
        fields.set(format!("rewards/{name}/std"), deviation);
    }
    let num_equal = groups
        .iter()
        .filter(|group| group.has_no_variance())
        .count();
    fields.set(
        "frac_reward_zero_std",
        num_equal as f64 / groups.len() as f64,
    );
    let all: Vec<f64> = rollouts()
        .map(|r| r.completion.tokens.len() as f64)
        .collect();
    let finished = rollouts().filter(|r| r.finished());
    let finished: Vec<f64> = finished.map(|r| r.completion.tokens.len() as f64).collect();
    let clipped = all.len() - finished.len();
    fields.set(
        "completions/clipped_ratio",
        clipped as f64 / all.len() as f64,
    );
    for (prefix, lengths) in [("", all), ("terminated_", finished)] {
        if !lengths.is_empty() {
            let (mean, _) = mean_and_deviation(&lengths);
            let min = lengths.iter().copied().fold(f64::INFINITY, f64::min);
            let max = lengths.iter().copied().fold(0.0, f64::max);
            fields.set(format!("completions/mean_{prefix}length"), mean);
            fields.set(format!("completions/min_{prefix}length"), min);
            fields.set(format!("completions/max_{prefix}length"), max);
        }
    }
    fields.extend(guards(groups).values());
    fields
}

/// Held-out groups of one completion each: mean reward and its parts, in all and by task.
pub fn evaluation(groups: &[Group]) -> Evaluation {
    let mut by_group: BTreeMap<&str, Vec<Group>> = BTreeMap::new();
    for group in groups {
        let name = group.prompt.group.as_str();
        by_group.entry(name).or_default().push(group.clone());
    }
    let rows = by_group
        .iter()
        .map(|(name, groups)| EvaluationRow {
            group: (*name).to_owned(),
            count: groups.len() as u64,
            metrics: means(groups),
        })
        .collect();
    let samples = groups
        .iter()
        .map(|group| EvaluationSample {
            group: group.prompt.group.clone(),
            prompt: group.prompt.text.clone(),
            completion: group.rollouts[0].text.clone(),
            reference: group.prompt.reference.clone(),
            reward: group.rollouts[0].reward.total.map(Scalar),
        })
        .collect();
    Evaluation {
        metrics: means(groups),
        rows,
        samples,
    }
}

/// The guards of translation over all completions.
fn guards(groups: &[Group]) -> Guards {
    let completions = groups.iter().flat_map(|group| {
        let prompt = &group.prompt;
        group.rollouts.iter().map(|rollout| Guarded {
            completion: &rollout.text,
            source: prompt.source.as_deref(),
            reference: prompt.reference.as_deref(),
            target_lang: prompt.target_lang.as_deref(),
        })
    });
    Guards::of(completions)
}

/// Mean reward, the mean of each of its parts, and the guards.
fn means(groups: &[Group]) -> Fields {
    let rollouts = groups.iter().flat_map(|group| &group.rollouts);
    let rewards: Vec<f64> = rollouts.filter_map(|r| r.reward.total).collect();
    let mut fields = Fields::new().with("reward", mean_and_deviation(&rewards).0);
    for (name, scores) in scores_by_part(groups) {
        fields.set(name, mean_and_deviation(&scores).0);
    }
    let watched = groups.iter().flat_map(|group| &group.rollouts);
    let watched = watched.filter_map(|rollout| rollout.watched.as_ref());
    let (names, scores): (Vec<&str>, Vec<f64>) = watched
        .filter_map(|part| Some((part.name.as_str(), part.score?)))
        .unzip();
    if let Some(name) = names.first() {
        fields.set(*name, mean_and_deviation(&scores).0);
    }
    fields.extend(guards(groups).values());
    fields
}

fn scores_by_part(groups: &[Group]) -> BTreeMap<&str, Vec<f64>> {
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for part in groups
        .iter()
        .flat_map(|group| &group.rollouts)
        .flat_map(|rollout| &rollout.reward.parts)
    {
        if let Some(score) = part.score {
            scores.entry(&part.name).or_default().push(score);
        }
    }
    scores
}

/// The mean, and the standard deviation with Bessel's correction; NaN of no values.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}
