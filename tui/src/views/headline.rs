//! What each stage must show first.

use crate::store::Store;
use crate::store::metrics::Metric;

/// A metric in a list, under a shorter name. With a `*` in the pattern, what stands in its place is the name.
pub type Row = (&'static str, &'static str);

/// What the overview shows for a stage.
#[derive(Debug)]
pub struct Headline {
    /// Charts, the most important first; `a|b` is the first of the two that there is.
    pub charts: &'static [&'static str],
    /// The first list, with its title.
    pub first: (&'static str, &'static [Row]),
    /// The second list, with its title.
    pub second: (&'static str, &'static [Row]),
    /// Which metric of an evaluation stands for it, the best first.
    pub held_out: &'static [&'static str],
}

const SUPERVISED: Headline = Headline {
    charts: &[
        "loss",
        "held_out/loss",
        "learning_rate",
        "grad_norm",
        "tokens_per_second",
        "mean_token_accuracy",
        "entropy",
        "packing_fill",
    ],
    first: (
        "loss by part",
        &[
            ("loss/*", ""),
            ("entropy", "entropy"),
            ("mean_token_accuracy", "token accuracy"),
        ],
    ),
    second: (
        "data",
        &[
            ("epoch", "epoch"),
            ("num_tokens", "tokens"),
            ("supervised_share", "supervised"),
            ("packing_fill", "packing fill"),
            ("truncated_share", "truncated"),
            ("step_time", "step time"),
        ],
    ),
    held_out: &["chrf", "chrf++", "bleu", "loss"],
};

const PREFERENCE: Headline = Headline {
    charts: &[
        "rewards/margins",
        "rewards/accuracies",
        "loss",
        "logps/chosen",
        "logps/rejected",
        "held_out/rewards/margins",
        "held_out/rewards/accuracies",
        "held_out/loss",
        "grad_norm",
        "learning_rate",
        "tokens_per_second",
    ],
    first: (
        "rewards",
        &[
            ("rewards/chosen", "chosen"),
            ("rewards/rejected", "rejected"),
            ("rewards/margins", "margin"),
            ("rewards/accuracies", "accuracy"),
        ],
    ),
    second: (
        "log-probabilities",
        &[
            ("logps/chosen", "chosen"),
            ("logps/rejected", "rejected"),
            ("weights/mean", "weight mean"),
            ("weights/min", "weight min"),
            ("grad_norm", "grad norm"),
        ],
    ),
    held_out: &["rewards/accuracies", "rewards/margins", "chrf", "loss"],
};

const REINFORCEMENT: Headline = Headline {
    charts: &[
        "reward",
        "held_out/chrf|held_out/reward",
        "kl",
        "entropy",
        "completions/mean_length",
        "held_out/reward",
        "loss",
        "grad_norm",
        "tokens_per_second",
        "learning_rate",
    ],
    first: ("rewards by part", &[("rewards/*/mean", "")]),
    second: (
        "completions",
        &[
            ("off_target_rate", "off target"),
            ("repetition_rate", "repeats"),
            ("completions/mean_length", "length"),
            ("completions/clipped_ratio", "cut off"),
            ("frac_reward_zero_std", "all alike"),
            ("copy_rate", "copies"),
            ("empty_rate", "empty"),
            ("length_ratio", "hyp / ref"),
            ("completions/max_length", "longest"),
            ("clip_ratio/region_mean", "ratio clipped"),
            ("sampling/logp_difference/mean", "sampler gap"),
            ("reward_std", "reward std"),
        ],
    ),
    held_out: &["chrf", "chrf++", "bleu", "reward"],
};

/// The headline of a stage; one that is not known is shown as the supervised ones are.
pub fn of(stage: &str) -> &'static Headline {
    match stage {
        "po" => &PREFERENCE,
        "rl" => &REINFORCEMENT,
        _ => &SUPERVISED,
    }
}

/// Up to `count` metrics to chart: the stage's own that have values, then whatever else there is.
pub fn charts<'a>(store: &'a Store, headline: &Headline, count: usize) -> Vec<&'a Metric> {
    let known = headline
        .charts
        .iter()
        .filter_map(|names| names.split('|').find_map(|name| find(store, name)));
    let mut chosen: Vec<&Metric> = Vec::new();
    for metric in known.chain(store.held_out.iter()).chain(store.steps.iter()) {
        let is_new = chosen.iter().all(|known| known.name != metric.name);
        if chosen.len() < count && is_new && metric.name != "num_tokens" {
            chosen.push(metric);
        }
    }
    chosen
}

/// A metric of the steps or, as `held_out/…`, of the evaluations, whatever suite they are of.
pub fn find<'a>(store: &'a Store, name: &str) -> Option<&'a Metric> {
    match name.strip_prefix("held_out/") {
        Some(metric) => store.held_out.iter().find(|known| {
            known
                .name
                .split_once('/')
                .is_some_and(|(_, name)| name == metric)
        }),
        None => store.steps.get(name),
    }
}

/// The metrics of a list with their names in it.
pub fn rows<'a>(store: &'a Store, rows: &[Row]) -> Vec<(String, &'a Metric)> {
    let named = rows.iter().flat_map(|(pattern, name)| {
        let (before, after) = pattern.split_once('*').unwrap_or_default();
        store
            .steps
            .matching(pattern)
            .into_iter()
            .map(move |metric| match name.is_empty() {
                true => (
                    metric.name[before.len()..metric.name.len() - after.len()].to_owned(),
                    metric,
                ),
                false => ((*name).to_owned(), metric),
            })
    });
    named.collect()
}
