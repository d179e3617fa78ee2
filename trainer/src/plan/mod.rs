//! What a stage of a recipe will take, before anything is loaded: memory, arithmetic and disk, from
//! the recipe and a `config.json`.
//!
//! [`memory`] lists what the program allocates and when, each item by its formula; a test trains and
//! compares.

mod advice;
pub mod measure;
pub mod memory;
pub mod report;
#[cfg(test)]
mod tests;
mod workload;

use model::ModelConfig;
use model::checkpoint::Dtype as Number;
use model::flops::{ForwardFlops, ParameterCounts};

use crate::forward::Recompute;
use crate::recipe::{Dtype, Optim, Recipe, StageName, StageSettings};
use crate::trainable::trainable;

pub use advice::{Change, changes};
pub use memory::{Item, Memory, Moment};
pub use workload::{Evaluation, Generation, Rollout, Workload};

/// The kind of device that a plan is for: it decides what is copied and how chunks are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardware {
    /// The CPU: device memory is the host's.
    Cpu,
    /// A GPU that `dtype = "auto"` uses in float32.
    Gpu,
    /// A GPU that `dtype = "auto"` uses in bfloat16.
    Cuda,
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trained {
    /// Every parameter, but for the embedding where the job says so.
    All,
    /// Adapters of this rank beside projections of the blocks.
    Adapters {
        /// `lora_r`.
        rank: u64,
        /// Where the blocks' frozen weights are.
        frozen: Frozen,
    },
}

/// Where frozen blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// On the device, all of them.
    Resident,
    /// In the model's file. In memory are the block at work and the one that is read ahead; on a GPU
    /// also, until its memory is used again, the one before.
    Streamed,
}

/// Everything about a run that its memory and its time depend on.
#[derive(Clone, Debug)]
pub struct Job {
    /// The model's shape.
    pub config: ModelConfig,
    /// Its parameters.
    pub counts: ParameterCounts,
    /// Where it runs.
    pub hardware: Hardware,
    /// What blocks compute in.
    pub compute: Number,
    /// What checkpoints store weights in.
    pub stored: Number,
    /// Whether the trained matrices are kept in the numbers of the computation as well.
    pub copies: bool,
    /// What is trained.
    pub trained: Trained,
    /// Whether the embedding, and a head that is tied to it, stays as it is.
    pub freeze_embeddings: bool,
    /// The projections of a block that have adapters.
    pub adapted: Vec<String>,
    /// What a forward pass keeps.
    pub recompute: Recompute,
    /// Moments of which kind.
    pub optim: Optim,
    /// Whether a frozen copy of the model is there, for a divergence.
    pub reference: bool,
    /// Whether the model without its adapters is run beside it, for a divergence.
    pub runs_base: bool,
    /// The largest micro-batch, and how many make a step.
    pub work: Workload,
}

/// What a stage will take.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// The stage.
    pub stage: StageName,
    /// What it was computed from.
    pub job: Job,
    /// Memory, item by item.
    pub memory: Memory,
    /// Operations of an optimizer step.
    pub flops_per_step: u64,
    /// Bytes of streamed blocks, and those of them that a step reads; `None` where none are.
    pub streamed_bytes: Option<[u64; 2]>,
    /// Bytes of one checkpoint.
    pub checkpoint_bytes: u64,
    /// Checkpoints on disk at a time; `None` where nothing limits them.
    pub checkpoints: Option<u64>,
    /// Optimizer steps, where the recipe says how many.
    pub steps: Option<u64>,
}

impl Job {
    /// The job of a recipe. A micro-batch is taken to be as large as the recipe allows, with every
    /// token supervised.
    pub fn of(recipe: &Recipe, config: &ModelConfig, hardware: Hardware) -> Self {
        let compute = match (recipe.model.dtype, hardware) {
            (Dtype::Bfloat16, _) | (Dtype::Auto, Hardware::Cuda) => Number::Bfloat16,
            _ => Number::Float32,
        };
        let trained = match recipe.model.lora_r {
            0 => Trained::All,
            rank => Trained::Adapters {
                rank: rank as u64,
                frozen: match recipe.model.stream_frozen_blocks {
                    true => Frozen::Streamed,
                    false => Frozen::Resident,
                },
            },
        };
        let diverges = match &recipe.stage {
            StageSettings::Rl(settings) => settings.beta > 0.0,
            _ => false,
        };
        Job {
            counts: ParameterCounts::of(config),
            config: config.clone(),
            hardware,
            compute,
            stored: config.dtype.unwrap_or(Number::Float32),
            copies: recipe.model.low_precision_copies && compute != Number::Float32,
            trained,
            freeze_embeddings: recipe.model.freeze_embeddings,
            adapted: match trainable(&recipe.model).lora {
                Some(lora) => lora.target_modules,
                None => Vec::new(),
            },
            recompute: Recompute::of(&recipe.model, config),
            optim: recipe.optimizer.optim,
            // Without its adapters the policy is its own reference.
            reference: diverges && trained == Trained::All,
            runs_base: diverges && trained != Trained::All,
            work: Workload::of(recipe, hardware),
        }
    }

    /// Parameters that are trained.
    pub fn num_trained(&self) -> u64 {
        match self.trained {
            Trained::All => self.counts.total - self.frozen_embedding(),
            Trained::Adapters { rank, .. } => {
                rank * self.adapter_widths() * self.config.num_hidden_layers as u64
            }
        }
    }

    /// Parameters that are not.
    pub fn num_frozen(&self) -> u64 {
        match self.trained {
            Trained::All => self.frozen_embedding(),
            Trained::Adapters { .. } => self.counts.total,
        }
    }

    /// Parameters of an embedding that stays as it is beside others that train.
    pub fn frozen_embedding(&self) -> u64 {
        match self.freeze_embeddings && self.trained == Trained::All {
            true => self.counts.embedding,
            false => 0,
        }
    }

    /// Whether a gradient of the head is made.
    fn trains_head(&self) -> bool {
        let is_tied = self.config.tie_word_embeddings;
        self.trained == Trained::All && !(self.freeze_embeddings && is_tied)
    }

    /// Σ (in + out) over the adapted projections of a block.
    fn adapter_widths(&self) -> u64 {
        let [hidden, queries, keys, inner] = memory::widths(&self.config);
        let other = |module: &String| match module.as_str() {
            "q_proj" | "o_proj" => queries,
            "k_proj" | "v_proj" => keys,
            _ => inner,
        };
        self.adapted
            .iter()
            .map(|module| hidden + other(module))
            .sum()
    }

    /// Forward passes of micro-batches that a set of samples takes once: of the reference, and of the
    /// policy that drew them, where it is another by the time that they are trained on.
    fn passes_of_a_set(&self) -> u64 {
        let Some(set) = self.work.rollout else {
            return 0;
        };
        let step = self.work.micro_batches;
        let all = step * set.mini_batches;
        let of_policy = match set.beside_training {
            true => all,
            false => all - step,
        };
        all * u64::from(self.reference || self.runs_base) + of_policy
    }

    /// Operations of an optimizer step: a backward pass is two forward passes, or one where the
    /// weights are frozen, and what is recomputed one more.
    fn flops_per_step(&self) -> u64 {
        let work = &self.work;
        let forward =
            |count, length, supervised| ForwardFlops::of(&self.config, count, length, supervised);
        let pass = forward(work.sequences, work.length, work.supervised);
        let shared = forward(1, 1, 0).projections * work.shared_tokens();
        let blocks = pass.blocks() - shared;
        let passes = match self.trained {
            Trained::All => 3,
            Trained::Adapters { .. } => 2,
        } + u64::from(self.recompute != Recompute::Nothing);
        let trained = |blocks, head, known_gradients| {
            let head_products = match (known_gradients, self.hardware) {
                (true, Hardware::Cpu) => 2,
                _ => 3,
            } + u64::from(self.trains_head());
            blocks * passes + head * head_products
        };
        let batch = trained(blocks, pass.head, work.known_gradients);
        let sft = work.sft.map_or(0, |sft| {
            let pass = forward(sft.sequences, sft.length, sft.supervised());
            trained(pass.blocks(), pass.head, true)
        });
        let references = (blocks + pass.head) * self.passes_of_a_set();
        let references = references / work.rollout.map_or(1, |rollout| rollout.steps);
        let sampled = work.rollout.map_or(0, |rollout| {
            let pass = forward(rollout.sequences, work.length, rollout.tokens);
            let shared = shared * work.micro_batches * rollout.mini_batches;
            (pass.blocks() - shared + pass.head) / rollout.steps
        });
        batch * work.micro_batches + references + sft + sampled
    }

    /// Bytes of all blocks and those of them that an optimizer step reads, where blocks are streamed:
    /// each forward and each backward pass reads them once, and so does every token that is sampled of
    /// the sequences in the cache together.
    pub fn streamed_bytes(&self) -> Option<[u64; 2]> {
        let Trained::Adapters {
            frozen: Frozen::Streamed,
            ..
        } = self.trained
        else {
            return None;
        };
        let blocks = self.counts.block * self.config.num_hidden_layers as u64;
        let bytes = blocks * self.stored.num_bytes() as u64;
        let of_a_set = self.passes_of_a_set();
        let of_a_set = self.work.rollout.map_or(0, |rollout| {
            (rollout.passes() + of_a_set).div_ceil(rollout.steps)
        });
        Some([bytes, bytes * (2 * self.work.passes() + of_a_set)])
    }

    /// Bytes of a checkpoint: the weights as the source stores them, the float32 masters where that
    /// is less, and the moments. With adapters the merged weights, and the adapters for themselves.
    fn checkpoint_bytes(&self) -> u64 {
        let weights = self.counts.total * self.stored.num_bytes() as u64;
        let trained = match (self.trained, self.stored) {
            (Trained::All, Number::Float32) => 0,
            (Trained::All, _) => 4 * self.counts.total,
            (Trained::Adapters { .. }, _) => 4 * self.num_trained(),
        };
        weights + trained + memory::moment_bytes(self)
    }
}

impl StagePlan {
    /// The plan of a job, which may be that of a recipe changed by hand.
    pub fn of_job(recipe: &Recipe, job: Job) -> Self {
        let run = &recipe.run;
        let steps = (run.max_steps > 0).then_some(run.max_steps as u64);
        let kept_as_best = u64::from(run.metric_for_best_model.is_some());
        StagePlan {
            stage: recipe.stage_name(),
            memory: Memory::of(&job),
            flops_per_step: job.flops_per_step(),
            streamed_bytes: job.streamed_bytes(),
            checkpoint_bytes: job.checkpoint_bytes(),
            checkpoints: match (run.save_steps, run.save_total_limit, steps) {
                (0, ..) => Some(1 + kept_as_best),
                (every, 0, Some(steps)) => Some(steps.div_ceil(every as u64)),
                (_, 0, None) => None,
                // A new checkpoint is whole before the oldest one goes.
                (_, limit, _) => Some(limit as u64 + 1 + kept_as_best),
            },
            steps,
            job,
        }
    }

    /// The plan of a recipe.
    pub fn of(recipe: &Recipe, config: &ModelConfig, hardware: Hardware) -> Self {
        Self::of_job(recipe, Job::of(recipe, config, hardware))
    }
}
