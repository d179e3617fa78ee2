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
    /// Conversations that supervised fine-tuning goes on with, beside the micro-batches.
    pub sft: Option<SftBatch>,
    /// What an evaluation does, where there is one.
    pub evaluation: Evaluation,
}

/// Conversations in a row of their own, once a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SftBatch {
    /// Conversations.
    pub sequences: u64,
    /// Tokens of each.
    pub length: u64,
}

impl SftBatch {
    /// Tokens in the row.
    pub fn tokens(&self) -> u64 {
        self.sequences * self.length
    }

    /// Of these, those that reach the head.
    pub fn supervised(&self) -> u64 {
        self.sequences * (self.length - 1)
    }
}

/// What an evaluation does at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Tokens in a row whose probabilities are computed.
    pub tokens: u64,
    /// Of these, those that reach the head.
    pub supervised: u64,
    /// Where answers are written.
    pub generation: Option<Generation>,
}

/// Sequences that are written at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Sequences that the cache has room for.
    pub slots: u64,
    /// Tokens that it holds of each.
    pub capacity: u64,
    /// Tokens of the prompts that are run before the first answer begins.
    pub prompt_tokens: u64,
}

impl Generation {
    /// `requests` of `prompts` distinct prompts.
    fn of(requests: u64, prompts: u64, lengths: [usize; 2], hardware: Hardware) -> Self {
        let [prompt, completion] = lengths;
        let most = MAX_BATCH_SIZE as u64;
        let of_each = requests.div_ceil(prompts.max(1)).max(1);
        Generation {
            slots: match hardware {
                Hardware::Cpu => requests.min(most),
                Hardware::Gpu | Hardware::Cuda => most,
            },
            // A row more than is used, as in the sampler's cache.
            capacity: (prompt + completion + 1).next_multiple_of(64) as u64,
            prompt_tokens: prompts.min(most.div_ceil(of_each)) * prompt as u64,
        }
    }
}

/// What is sampled for a set of completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Completions.
    pub sequences: u64,
    /// Tokens of all completions.
    pub tokens: u64,
    /// How many are written at a time.
    pub generation: Generation,
    /// The parts of a set that a step trains on one of.
    pub mini_batches: u64,
    /// Optimizer steps on each set.
    pub steps: u64,
    /// Whether it is drawn while a step trains.
    pub beside_training: bool,
}

impl Rollout {
    /// Passes through the model, at most: each is a token of every sequence in the cache.
    pub fn passes(&self) -> u64 {
        let longest = self.tokens / self.sequences.max(1);
        self.sequences.div_ceil(self.generation.slots.max(1)) * longest
    }
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
            sft: None,
            evaluation: Evaluation::default(),
        };
        let evaluates = !recipe.data.eval_data.is_empty();
        // Rows as large as a micro-batch, and answers to prompts as long as a sequence may be.
        let evaluated = |work: Workload, length: usize, answers: usize, longest: usize| Workload {
            evaluation: match evaluates {
                false => Evaluation::default(),
                true => Evaluation {
                    tokens: work.tokens,
                    supervised: work.supervised,
                    generation: (answers > 0).then(|| {
                        let answers = answers as u64;
                        Generation::of(answers, answers, [length, longest], hardware)
                    }),
                },
            },
            ..work
        };
        match &recipe.stage {
            StageSettings::Cpt(settings) => {
                let (length, answers) = (settings.max_length, settings.eval_generate);
                let work = rows(batch, length as u64);
                evaluated(work, length, answers, settings.eval_max_new_tokens)
            }
            StageSettings::Sft(settings) => {
                let (length, answers) = (settings.max_length, settings.eval_generate);
                let work = rows(batch, length as u64);
                evaluated(work, length, answers, settings.eval_max_new_tokens)
            }
            // Two answers a pair; the shorter their prompt, the less of the row is shared.
            StageSettings::Po(settings) => {
                let (length, answers) = (settings.max_length, settings.eval_generate);
                let work = Workload {
                    known_gradients: false,
                    ..rows(2 * batch, length as u64)
                };
                evaluated(work, length, answers, settings.eval_max_new_tokens)
            }
            StageSettings::Rl(settings) => {
                let answers = batch * settings.num_generations as u64;
                let [prompt, completion] =
                    [settings.max_prompt_length, settings.max_completion_length];
                let mini_batches = settings.num_mini_batches as u64;
                let prompts = batch * micro_batches * mini_batches;
                let sequences = prompts * settings.num_generations as u64;
                let lengths = [prompt, completion];
                let generation = Generation::of(sequences, prompts, lengths, hardware);
                let questions = settings.eval_prompts as u64;
                let evaluation = Evaluation {
                    generation: evaluates
                        .then(|| Generation::of(questions, questions, lengths, hardware)),
                    ..Evaluation::default()
                };
                let [prompt, completion] = [prompt, completion].map(|length| length as u64);
                let has_sft = !settings.sft_data.is_empty() && settings.sft_alpha > 0.0;
                Workload {
                    tokens: batch * prompt + answers * completion,
                    supervised: answers * completion,
                    known_gradients: settings.beta == 0.0
                        && settings.entropy_coef == 0.0
                        && !settings.use_adaptive_entropy
                        && settings.top_entropy_quantile >= 1.0
                        && settings.num_iterations == 1
                        && mini_batches == 1
                        && !settings.one_step_off_policy,
                    rollout: Some(Rollout {
                        sequences,
                        tokens: sequences * completion,
                        generation,
                        mini_batches,
                        steps: settings.num_iterations as u64 * mini_batches,
                        beside_training: settings.one_step_off_policy,
                    }),
                    sft: has_sft.then_some(SftBatch {
                        sequences: settings.sft_batch_size as u64,
                        length: prompt + completion,
                    }),
                    evaluation,
                    ..rows(answers, prompt + completion)
                }
            }
        }
    }

    /// Tokens of an optimizer step.
    pub fn tokens_per_step(&self) -> u64 {
        self.tokens * self.micro_batches + self.sft.map_or(0, |sft| sft.tokens())
    }

    /// Forward and backward passes of an optimizer step.
    pub fn passes(&self) -> u64 {
        self.micro_batches + u64::from(self.sft.is_some())
    }

    /// Tokens of the longest row that a gradient goes through.
    pub(super) fn most_tokens(&self) -> u64 {
        self.tokens.max(self.sft.map_or(0, |sft| sft.tokens()))
    }

    /// Tokens of a row that reach the head, at most.
    pub(super) fn most_supervised(&self) -> u64 {
        let sft = self.sft.map_or(0, |sft| sft.supervised());
        self.supervised.max(sft)
    }

    /// Tokens that stand once in the row for several sequences.
    pub(super) fn shared_tokens(&self) -> u64 {
        self.sequences * self.length - self.tokens
    }
}
