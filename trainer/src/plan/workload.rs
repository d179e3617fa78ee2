use super::Hardware;
use crate::recipe::{Recipe, StageSettings};
use crate::run::MAX_BATCH_SIZE;

/// The largest micro-batch that a recipe allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Sequences in it.
    pub sequences: u64,
    /// Tokens of each, a shared prompt counted in each.
    pub length: u64,
    /// Tokens in the packed row.
    pub tokens: u64,
    /// Tokens that reach the head.
    pub supervised: u64,
    /// Micro-batches in an optimizer step.
    pub micro_batches: u64,
    /// Whether each log-probability's gradient is known before the forward, so that the head needs
    /// one pass.
    pub known_gradients: bool,
    /// Sampling, in reinforcement learning.
    pub rollout: Option<Rollout>,
}

/// What is sampled for a set of completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Completions.
    pub sequences: u64,
    /// Tokens of all completions.
    pub tokens: u64,
    /// Sequences that the cache has room for.
    pub slots: u64,
    /// Tokens that it holds of each.
    pub capacity: u64,
    /// Optimizer steps on each set.
    pub steps: u64,
    /// Whether it is drawn while a step trains.
    pub beside_training: bool,
}

impl Workload {
    /// What a recipe allows.
    pub fn of(recipe: &Recipe, hardware: Hardware) -> Self {
        let batch = recipe.data.per_device_train_batch_size as u64;
        let micro_batches = recipe.data.gradient_accumulation_steps as u64;
        let rows = |sequences: u64, length: u64| Workload {
            sequences,
            length,
            tokens: sequences * length,
            supervised: sequences * (length - 1),
            micro_batches,
            known_gradients: true,
            rollout: None,
        };
        match &recipe.stage {
            StageSettings::Cpt(settings) => rows(batch, settings.max_length as u64),
            StageSettings::Sft(settings) => rows(batch, settings.max_length as u64),
            // Two answers a pair; the shorter their prompt, the less of the row is shared.
            StageSettings::Po(settings) => Workload {
                known_gradients: false,
                ..rows(2 * batch, settings.max_length as u64)
            },
            StageSettings::Rl(settings) => {
                let answers = batch * settings.num_generations as u64;
                let [prompt, completion] =
                    [settings.max_prompt_length, settings.max_completion_length];
                let sequences = answers * micro_batches;
                // A row more than is used, as in the sampler's cache.
                let capacity = (prompt + completion + 1).next_multiple_of(64) as u64;
                let slots = match hardware {
                    Hardware::Cpu => sequences.min(MAX_BATCH_SIZE as u64),
                    Hardware::Gpu | Hardware::Cuda => MAX_BATCH_SIZE as u64,
                };
                let [prompt, completion] = [prompt, completion].map(|length| length as u64);
                Workload {
                    tokens: batch * prompt + answers * completion,
                    supervised: answers * completion,
                    known_gradients: settings.beta == 0.0
                        && settings.num_iterations == 1
                        && !settings.one_step_off_policy,
                    rollout: Some(Rollout {
                        sequences,
                        tokens: sequences * completion,
                        slots,
                        capacity,
                        steps: settings.num_iterations as u64,
                        beside_training: settings.one_step_off_policy,
                    }),
                    ..rows(answers, prompt + completion)
                }
            }
        }
    }

    /// Tokens of an optimizer step.
    pub fn tokens_per_step(&self) -> u64 {
        self.tokens * self.micro_batches
    }

    /// Tokens that stand once in the row for several sequences.
    pub(super) fn shared_tokens(&self) -> u64 {
        self.sequences * self.length - self.tokens
    }
}
