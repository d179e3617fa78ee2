//! The keys that every stage uses.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;

use telemetry::MetricKey;
use telemetry::metric::Better;

use super::alert_rule::AlertRule;
use super::choices::{
    Dtype, GradientCheckpointing, LoraTarget, LrSchedulerType, OnBadRecord, OnNonfinite, Optim,
    Preflight, ReportTo,
    StageName::{self, Cpt, Po, Rl},
};
use super::kind::{Kind, MAX_COUNT};
use super::schema::{Spec, boolean, choice, choices, float, integer, settings, subset};

const EVERY_STAGE: &[StageName] = &StageName::ALL;

settings! {
    /// What is trained, in which precision.
    pub struct ModelSettings in "Model" of EVERY_STAGE => {
        /// Folder of the model to start from: config.json, safetensors and the tokenizer's files.
        /// Unset, a stage starts from the stage before it.
        model_name_or_path: Option<PathBuf> =
            Spec::new(Kind::Path).aliases(&["model", "base_model"]);
        /// Number format of the computation. auto is bfloat16 on CUDA and float32 elsewhere; weights
        /// that train are float32 whatever it is.
        dtype: Dtype = choice(Dtype::NAMES).default("'auto'");
        /// Keep the matrices that train rounded to dtype beside the float32 ones, written by the optimizer:
        /// 2 bytes a parameter, in place of rounding each one whenever it is multiplied by.
        low_precision_copies: bool = boolean().default("true");
        /// Compute each block again in the backward pass instead of keeping all that it made: memory
        /// for a third more time. auto does where the model has a billion parameters or more.
        gradient_checkpointing: GradientCheckpointing =
            choice(GradientCheckpointing::NAMES).default("'auto'");
        /// Keep what goes into the blocks in the host's memory, where gradient_checkpointing keeps
        /// nothing else.
        activation_offloading: bool = boolean().default("false");
        /// Rank of low-rank adapters (LoRA), which then are all that trains; 0 trains the model itself.
        /// A checkpoint is the merged model, with the adapter in PEFT's files in its folder adapter/.
        lora_r: usize = integer(0, 65536).default("0");
        /// What adapters add is multiplied by lora_alpha / lora_r. There is no dropout in them.
        lora_alpha: f64 = float(Excluded(0.0), Unbounded).default("32.0");
        /// The linear layers of a block that get an adapter; all-linear is every one of them.
        lora_target_modules: Vec<LoraTarget> =
            choices(LoraTarget::NAMES).default("['all-linear']").aliases(&["target_modules"]);
        /// Multiply by lora_alpha / sqrt(lora_r) instead: rank-stabilized LoRA.
        use_rslora: bool = boolean().default("false");
        /// Leave the embedding as it is, and with it a head that is tied to it. Adapters do so anyway.
        freeze_embeddings: bool = boolean().default("false");
        /// Read what is frozen of a block from the model's file each time the block runs, forward and
        /// again backward, instead of keeping it: memory for time. It needs lora_r above 0.
        stream_frozen_blocks: bool = boolean().default("false");
        /// Seed of everything random: sampling, shuffling, initialisation.
        seed: u64 = integer(0, i64::MAX).default("42");
    }
}

settings! {
    /// Which records are read, and how many make a step.
    pub struct DataSettings in "Data" of EVERY_STAGE => {
        /// Files to train on, JSON Lines, read in this order.
        train_data: Vec<PathBuf> = Spec::new(Kind::Paths).default("[]");
        /// Held-out files for evaluation; none, and there is no evaluation.
        eval_data: Vec<PathBuf> = Spec::new(Kind::Paths).default("[]");
        /// A line that cannot be used: error stops and says where it is, skip leaves it out and
        /// counts it.
        on_bad_record: OnBadRecord = choice(OnBadRecord::NAMES).default("'error'");
        /// Whether records are shuffled, anew in each epoch.
        shuffle: bool = boolean().default("true");
        /// Records in one micro-batch on one device: documents, conversations, pairs, or in RL
        /// prompts, each with num_generations completions. With packing, rows of max_length tokens.
        per_device_train_batch_size: usize =
            integer(1, MAX_COUNT).default("8").except(Po, "4").aliases(&["micro_batch_size"]);
        /// Micro-batches in one optimizer step. The loss of a step does not depend on the split.
        gradient_accumulation_steps: usize = integer(1, MAX_COUNT).default("1");
    }
}

settings! {
    /// The learning rate over the run.
    pub struct ScheduleSettings in "Learning rate" of EVERY_STAGE => {
        /// Peak learning rate, reached at the end of warm-up.
        learning_rate: f64 = float(Included(0.0), Included(1.0))
            .default("2e-5")
            .except(Po, "1e-6")
            .except(Rl, "1e-6");
        /// How the learning rate moves after warm-up.
        lr_scheduler_type: LrSchedulerType =
            choice(LrSchedulerType::NAMES).default("'cosine'").except(Rl, "'constant'");
        /// Share of all steps in which the learning rate rises from 0 to its peak.
        warmup_ratio: f64 = float(Included(0.0), Included(1.0))
            .default("0.03")
            .except(Cpt, "0.01")
            .except(Po, "0.1")
            .except(Rl, "0.0");
        /// Steps of warm-up; above 0 it overrides warmup_ratio.
        warmup_steps: usize = integer(0, MAX_COUNT).default("0");
        /// Where linear, cosine and warmup_stable_decay end, as a share of learning_rate.
        min_lr_ratio: f64 = float(Included(0.0), Included(1.0)).default("0.0");
        /// Share of all steps in which warmup_stable_decay falls, at the end of the run.
        decay_ratio: f64 = float(Included(0.0), Included(1.0)).default("0.1");
    }
}

settings! {
    /// AdamW.
    pub struct OptimizerSettings in "Optimizer (AdamW)" of EVERY_STAGE => {
        /// Float32 moments, or moments of eight bits.
        optim: Optim = choice(Optim::NAMES).default("'adamw_torch'");
        /// Decoupled weight decay, of every trained parameter.
        weight_decay: f64 =
            float(Included(0.0), Unbounded).default("0.01").except(Po, "0.0").except(Rl, "0.0");
        /// Decay of the running mean of gradients.
        adam_beta1: f64 = float(Included(0.0), Excluded(1.0)).default("0.9");
        /// Decay of the running mean of squared gradients.
        adam_beta2: f64 = float(Included(0.0), Excluded(1.0)).default("0.999").except(Cpt, "0.95");
        /// Added to the root of the mean squared gradient.
        adam_epsilon: f64 = float(Excluded(0.0), Included(1.0)).default("1e-8");
        /// Gradients are scaled down to this global norm; 0 leaves them as they are.
        max_grad_norm: f64 = float(Included(0.0), Unbounded).default("1.0");
    }
}

settings! {
    /// How long a run takes, what it saves and what it tells.
    pub struct RunSettings in "Run" of EVERY_STAGE => {
        /// Optimizer steps; the data repeats as needed. 0 leaves the length to num_train_epochs.
        max_steps: usize = integer(0, MAX_COUNT).default("0");
        /// Passes over the data, where max_steps is 0.
        num_train_epochs: f64 =
            float(Excluded(0.0), Unbounded).default("1.0").aliases(&["num_epochs"]);
        /// Steps between checkpoints; 0 saves at the end alone.
        save_steps: usize = integer(0, MAX_COUNT).default("500").except(Rl, "50");
        /// Checkpoints to keep, the newest ones; 0 keeps all.
        save_total_limit: usize = integer(0, MAX_COUNT).default("2");
        /// Steps between evaluations; 0 evaluates at the end alone.
        eval_steps: usize = integer(0, MAX_COUNT).default("100").except(Rl, "20");
        /// The metric whose best evaluation's checkpoint is kept beside the newest ones: eval/NAME of
        /// the evaluations, such as eval/loss, or a metric of the steps, such as reward, which counts
        /// with its mean since the evaluation before. best.json says which checkpoint it is.
        metric_for_best_model: Option<String> = Spec::new(Kind::Name);
        /// Whether more of metric_for_best_model is better. Unset, it is what the metric's name says.
        greater_is_better: Option<bool> = boolean();
        /// Evaluations in a row without a better metric_for_best_model after which the run ends; 0
        /// never ends it.
        early_stopping_patience: usize = integer(0, MAX_COUNT).default("0");
        /// How much better an evaluation must be to count for early_stopping_patience.
        early_stopping_threshold: f64 = float(Included(0.0), Unbounded).default("0.0");
        /// Steps between progress lines; the event log has every step.
        logging_steps: usize = integer(1, MAX_COUNT).default("10").except(Rl, "1");
        /// Programs that have the run's metrics too: tensorboard as event files in the run's folder
        /// tensorboard/, prometheus as metrics.prom, for node_exporter's textfile collector. One that
        /// cannot be written is a warning.
        report_to: Vec<ReportTo> = subset(ReportTo::NAMES).default("[]");
        /// A loss or gradient norm that is not finite: stop ends the run, skip leaves the step out,
        /// rollback goes back to the newest checkpoint and on with the records after those of the
        /// step. After the third time without a new checkpoint it ends the run.
        on_nonfinite: OnNonfinite = choice(OnNonfinite::NAMES).default("'stop'");
        /// Rules beside those that every run of a stage is watched by, such as ["kl > 1", "chrf < 20"].
        /// A rule replaces the stage's own about the same metric, of steps and of evaluations, or as
        /// eval/NAME of evaluations alone; "kl off" takes them away and "off" takes all away. A metric
        /// of steps counts with the median of ten. Alerts are told and never change the training.
        alert_rules: Vec<AlertRule> = Spec::new(Kind::AlertRules).default("[]");
        /// Look at the data before the first step: warn says what seems wrong, strict also stops
        /// there, off does not look.
        preflight: Preflight = choice(Preflight::NAMES).default("'warn'");
    }
}

impl RunSettings {
    /// Which way `metric_for_best_model` is better, where the recipe or its name says so.
    pub fn direction(&self) -> Option<Better> {
        let named = |metric: &String| Some(MetricKey::lookup(metric)?.better);
        match self.greater_is_better {
            Some(true) => Some(Better::Higher),
            Some(false) => Some(Better::Lower),
            None => self.metric_for_best_model.as_ref().and_then(named),
        }
        .filter(|better| *better != Better::Neutral)
    }
}
