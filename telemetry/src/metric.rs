//! What the names of metrics mean: unit and which way is better. The names are TRL's.

/// A metric's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricKey {
    /// The name in the log. A `*` stands for one or more segments, as in `rewards/*/mean`.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
}

/// What a metric is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A bare number.
    None,
    /// A share, 0 to 1.
    Share,
    /// Points of 100, as BLEU and chrF.
    Points,
    /// Nats, e.g. per token.
    Nats,
    /// Tokens.
    Tokens,
    /// Tokens per second.
    TokensPerSecond,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Parts of 100.
    Percent,
}

/// Which way a metric should move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Up.
    Higher,
    /// Down.
    Lower,
    /// Neither: it should stay in a band.
    Neutral,
}

impl MetricKey {
    /// What is known of the metric of that name; `eval_loss` and `dev/loss` mean what `loss` means.
    pub fn lookup(name: &str) -> Option<&'static MetricKey> {
        let find = |name: &str| ALL.iter().find(|key| key.matches(name));
        let bare = || find(name.strip_prefix("eval_")?);
        let last = || find(name.rsplit_once('/')?.1);
        find(name).or_else(bare).or_else(last)
    }

    fn matches(&self, name: &str) -> bool {
        match self.name.split_once('*') {
            Some((before, after)) => {
                name.len() > before.len() + after.len()
                    && name.starts_with(before)
                    && name.ends_with(after)
            }
            None => self.name == name,
        }
    }
}

/// Names the metrics: a constant for each, and the list of all.
macro_rules! metrics {
    ($( $constant:ident = $name:literal, $unit:ident, $better:ident; )*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: MetricKey = MetricKey { name: $name, unit: Unit::$unit, better: Better::$better };
        )*

        /// All metrics with a known meaning; where several match a name, the first holds.
        pub const ALL: &[MetricKey] = &[$($constant),*];
    };
}

metrics! {
    // Every stage.
    LOSS = "loss", Nats, Lower;
    GRAD_NORM = "grad_norm", None, Neutral;
    LEARNING_RATE = "learning_rate", None, Neutral;
    TOKENS_PER_SECOND = "tokens_per_second", TokensPerSecond, Higher;
    MFU = "mfu", Share, Higher;
    NUM_TOKENS = "num_tokens", Tokens, Neutral;
    EPOCH = "epoch", None, Neutral;
    STEP_TIME = "step_time", Seconds, Lower;
    TIME = "time/*", Seconds, Lower;
    // Pretraining and supervised fine-tuning.
    LOSS_OF_COMPONENT = "loss/*", Nats, Lower;
    NLL = "nll", Nats, Lower;
    PERPLEXITY = "perplexity", None, Lower;
    MEAN_TOKEN_ACCURACY = "mean_token_accuracy", Share, Higher;
    SUPERVISED_SHARE = "supervised_share", Share, Neutral;
    PACKING_FILL = "packing_fill", Share, Higher;
    TRUNCATED_SHARE = "truncated_share", Share, Lower;
    // Preference optimization.
    REWARDS_MARGINS = "rewards/margins", None, Higher;
    REWARDS_ACCURACIES = "rewards/accuracies", Share, Higher;
    REWARDS_CHOSEN = "rewards/chosen", None, Neutral;
    REWARDS_REJECTED = "rewards/rejected", None, Neutral;
    LOGPS_CHOSEN = "logps/chosen", Nats, Neutral;
    LOGPS_REJECTED = "logps/rejected", Nats, Neutral;
    WEIGHTS = "weights/*", Share, Neutral;
    // Reinforcement learning.
    REWARD = "reward", None, Higher;
    REWARD_STD = "reward_std", None, Neutral;
    REWARDS_MEAN = "rewards/*/mean", None, Higher;
    REWARDS_STD = "rewards/*/std", None, Neutral;
    FRAC_REWARD_ZERO_STD = "frac_reward_zero_std", Share, Lower;
    KL = "kl", Nats, Neutral;
    ENTROPY = "entropy", Nats, Neutral;
    CLIP_RATIO = "clip_ratio/*", Share, Neutral;
    OFF_POLICY_MASKED = "off_policy_masked", Share, Lower;
    COMPLETIONS_CLIPPED_RATIO = "completions/clipped_ratio", Share, Lower;
    COMPLETIONS_MEAN_LENGTH = "completions/mean_length", Tokens, Neutral;
    COMPLETIONS_MIN_LENGTH = "completions/min_length", Tokens, Neutral;
    COMPLETIONS_MAX_LENGTH = "completions/max_length", Tokens, Neutral;
    COMPLETIONS_MEAN_TERMINATED_LENGTH = "completions/mean_terminated_length", Tokens, Neutral;
    COMPLETIONS_MIN_TERMINATED_LENGTH = "completions/min_terminated_length", Tokens, Neutral;
    COMPLETIONS_MAX_TERMINATED_LENGTH = "completions/max_terminated_length", Tokens, Neutral;
    SAMPLING_LOGP_DIFFERENCE = "sampling/logp_difference/*", Nats, Lower;
    POLICY_AGE = "policy_age", None, Lower;
    // Translation and its guards.
    BLEU = "bleu", Points, Higher;
    CHRF = "chrf", Points, Higher;
    CHRF_PLUS_PLUS = "chrf++", Points, Higher;
    OFF_TARGET_RATE = "off_target_rate", Share, Lower;
    COPY_RATE = "copy_rate", Share, Lower;
    EMPTY_RATE = "empty_rate", Share, Lower;
    REPETITION_RATE = "repetition_rate", Share, Lower;
    LENGTH_RATIO = "length_ratio", None, Neutral;
    // The machine.
    CPU_PERCENT = "cpu_percent", Percent, Neutral;
    MEMORY_USED_BYTES = "memory_used_bytes", Bytes, Lower;
    PROCESS_MEMORY_BYTES = "process_memory_bytes", Bytes, Lower;
    DISK_FREE_BYTES = "disk_free_bytes", Bytes, Higher;
    GPU_UTILIZATION_PERCENT = "gpu/*/utilization_percent", Percent, Higher;
    GPU_MEMORY_USED_BYTES = "gpu/*/memory_used_bytes", Bytes, Neutral;
    GPU_TEMPERATURE_CELSIUS = "gpu/*/temperature_celsius", None, Lower;
    GPU_POWER_WATTS = "gpu/*/power_watts", None, Neutral;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_function_in_them_are_found() {
        assert_eq!(
            MetricKey::lookup("rewards/chrf++/mean"),
            Some(&REWARDS_MEAN)
        );
        assert_eq!(MetricKey::lookup("rewards/margins"), Some(&REWARDS_MARGINS));
        assert_eq!(MetricKey::lookup("clip_ratio/low_mean"), Some(&CLIP_RATIO));
        assert_eq!(MetricKey::lookup("rewards//mean"), None);
    }

    #[test]
    fn evaluations_mean_what_training_means() {
        assert_eq!(
            MetricKey::lookup("eval_loss").unwrap().better,
            Better::Lower
        );
        assert_eq!(MetricKey::lookup("en-de/chrf"), Some(&CHRF));
        assert_eq!(MetricKey::lookup("vibes"), None);
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> = ALL.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
