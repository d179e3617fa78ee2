//! The whole vocabulary of `events.jsonl`.
//!
//! Every event has the fields named here and may have more ([`Fields`]), all at the top level of its line:
//! `{"v":1,"time":1763906709000,"kind":"step","step":12,"loss":1.92,…,"rewards/margins":0.31}`.

use std::collections::BTreeMap;

use crate::vocabulary::events;
use crate::{Fields, Scalar};
use serde::{Deserialize, Serialize};

events! {
    /// The first line of every process that works on the run, but for heartbeats and phases of what comes before
    /// its model is loaded.
    struct RunStarted = "run_started" {
        /// `cpt`, `sft`, `po` or `rl`.
        stage: String,
        /// The model's path or name.
        model: String,
        /// The device in words.
        device: String,
        /// The type computed in.
        dtype: String,
        /// Parameters of the model.
        parameters: u64,
        /// The seed everything random derives from.
        seed: u64,
        /// The last optimizer step the recipe asks for.
        total_steps: u64,
    }

    /// A look at the data before the first step; what was measured is in further fields.
    struct Preflight = "preflight" {
        /// Records of the data.
        records: u64,
        /// Records looked at.
        looked_at: u64,
        /// What seems wrong, a sentence each.
        warnings: Vec<String>,
    }

    /// One optimizer step. `step_time` is what it took, in seconds, and `time/…` are parts of it: `data`, `rollout`,
    /// `reward`, `reference`, `forward_backward`, `optimizer`, as far as it has them. Nothing waits to be measured:
    /// on a GPU, which works behind the host, what `optimizer` began ends in the next step's first part that reads
    /// from it. `mfu`, where the device's peak is known, is the arithmetic of the model over what the device could
    /// have done in `step_time`: forward and backward passes as if nothing were computed twice, and in reinforcement
    /// learning sampling and the reference's pass too.
    struct Step = "step" {
        /// Its number, from 1.
        step: u64,
        /// The loss over all its micro-batches.
        loss: Scalar,
        /// The global gradient norm before clipping.
        grad_norm: Scalar,
        /// The learning rate applied.
        learning_rate: Scalar,
        /// Tokens trained on per second of the whole step.
        tokens_per_second: Scalar,
    }

    /// One evaluation; its own metrics are further fields.
    struct Evaluation = "evaluation" {
        /// Optimizer steps taken before it.
        step: u64,
        /// The suite's or data set's name.
        name: String,
        /// The same metrics by group, e.g. language pairs; may be empty.
        table: Vec<EvaluationRow>,
    }

    /// What a run has taken of each of its sources so far: at its start, with every evaluation and
    /// checkpoint, and at its end.
    struct Data = "data" {
        /// Optimizer steps taken so far.
        step: u64,
        /// The sources, in the order of the recipe.
        sources: Vec<DataSource>,
    }

    /// A checkpoint that is whole on disk.
    struct Checkpoint = "checkpoint" {
        /// Optimizer steps in it.
        step: u64,
        /// Its directory.
        path: String,
        /// Its size.
        bytes: u64,
        /// What writing it took.
        seconds: Scalar,
    }

    /// A checkpoint that is no longer needed is gone.
    struct CheckpointRemoved = "checkpoint_removed" {
        /// Optimizer steps in it.
        step: u64,
        /// Its directory, as in its `checkpoint` event.
        path: String,
    }

    /// Training goes on from a checkpoint, or once more from the start: steps after `from_step` logged before are
    /// abandoned. Where a running trainer went back by itself, the field `reason` says why. No alert holds any longer:
    /// those that do in the checkpoint are told again right after it.
    struct Resumed = "resumed" {
        /// Optimizer steps in the checkpoint; 0 where a run that was killed before its first one starts again.
        from_step: u64,
    }

    /// Something began that may take minutes without a step: `preflight`, `reference`, `compile` (the first pass on a
    /// GPU), `rollout`, `reward`, `evaluate`, `checkpoint`, `train`, `paused`, … Of a step's phases only those are
    /// logged that took a second or more in the step before.
    struct Phase = "phase" {
        /// What began.
        name: String,
        /// Optimizer steps taken so far.
        step: u64,
    }

    /// The process lives.
    struct Heartbeat = "heartbeat" {}

    /// The machine's state; GPUs go into further fields.
    struct System = "system" {
        /// Processor use over all cores, 0 to 100.
        cpu_percent: Option<Scalar>,
        /// Main memory in use on the machine.
        memory_used_bytes: Option<u64>,
        /// Main memory of the machine.
        memory_total_bytes: Option<u64>,
        /// Main memory that this process has resident.
        process_memory_bytes: Option<u64>,
        /// Room left on the disk of the run directory.
        disk_free_bytes: Option<u64>,
        /// Size of that disk.
        disk_total_bytes: Option<u64>,
        /// Where the run computes on a GPU, the state of that one, or of each that the driver lists if it cannot be
        /// told which of them it is.
        gpus: Option<Vec<Gpu>>,
    }

    /// Something a person should know about and need not act on.
    struct Warning = "warning" {
        /// In a sentence.
        message: String,
        /// Optimizer steps taken so far, where training has begun.
        step: Option<u64>,
    }

    /// A monitoring rule fired. It holds until an `alert_cleared` event of the same rule, or a `resumed` event.
    struct Alert = "alert" {
        /// The rule, e.g. `frac_reward_zero_std > 0.8`.
        rule: String,
        /// In a sentence, with the value.
        message: String,
        /// Optimizer steps taken so far.
        step: Option<u64>,
        /// How bad it is; an alarm where the log does not say.
        level: Option<AlertLevel>,
    }

    /// What a monitoring rule watches is as it should be again.
    struct AlertCleared = "alert_cleared" {
        /// The rule, as in its alert.
        rule: String,
        /// In a sentence, with the value.
        message: String,
        /// Optimizer steps taken so far.
        step: Option<u64>,
    }

    /// An answer to a request in the control box.
    struct Control = "control" {
        /// The request's id.
        id: String,
        /// What was asked for.
        action: String,
        /// How far it got.
        status: ControlStatus,
        /// Why it was refused.
        reason: Option<String>,
    }

    /// The run ended as intended.
    struct Finished = "finished" {
        /// `completed`, `early_stopped` (no better evaluation came), `watched_metric_fell` (while the reward rose),
        /// `stopped` (by the user) or `diverged` (by policy).
        reason: String,
        /// Optimizer steps taken in all.
        step: u64,
        /// Time spent by this process.
        seconds: Scalar,
    }

    /// The run ended with an error.
    struct Failed = "failed" {
        /// The error, as printed.
        message: String,
    }
}

/// One row of an evaluation's table, e.g. `{"group":"en-de","count":997,"metrics":{"chrf":63.1}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// What the row is about.
    pub group: String,
    /// Examples in it.
    pub count: u64,
    /// Its metrics, in the order of columns.
    pub metrics: Fields,
}

/// One source of data, e.g. `{"name":"news.de-en.jsonl","records":9000,"records_taken":450,
/// "tokens_taken":21094,"target_share":0.4,"share":0.402,"epoch":0.05,"rejected":{"too long":3}}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    /// Its file or name, unique in the run.
    pub name: String,
    /// Records in it that can be used.
    pub records: u64,
    /// Records trained on so far, each time it came.
    pub records_taken: u64,
    /// Tokens trained on so far, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_taken: Option<u64>,
    /// The share of all records that it should have, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_share: Option<Scalar>,
    /// The share of all records that it has had so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Scalar>,
    /// Passes over it so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Scalar>,
    /// Records left out, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<String, u64>,
}

/// How bad what a rule found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertLevel {
    /// Outside the healthy range.
    Warning,
    /// The run is most likely being spoilt.
    Alarm,
}

/// A GPU's state; what the driver does not tell is missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its number, as the driver counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Use, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_percent: Option<Scalar>,
    /// Memory in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Memory in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    /// Temperature in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<Scalar>,
    /// Power drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_watts: Option<Scalar>,
}

/// How far a control request got: accepted or refused at once, done when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlStatus {
    /// It will be done.
    Accepted,
    /// It will not; the event says why.
    Refused,
    /// It has been done.
    Done,
}

impl Evaluation {
    /// The name of an evaluation on the run's held-out data.
    pub const HELD_OUT: &str = "held_out";
}

impl Phase {
    /// The phase of a run that waits because somebody asked it to.
    pub const PAUSED: &str = "paused";
}

impl Step {
    /// One of its metrics, wherever it is kept.
    pub fn scalar(&self, name: &str) -> Option<f64> {
        self.scalars()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Its metrics, the ones with fields of their own first.
    pub fn scalars(&self) -> impl Iterator<Item = (&str, f64)> {
        let named = [
            ("loss", self.loss.0),
            ("grad_norm", self.grad_norm.0),
            ("learning_rate", self.learning_rate.0),
            ("tokens_per_second", self.tokens_per_second.0),
        ];
        named.into_iter().chain(self.fields.scalars())
    }
}

impl System {
    /// What is known, by name; a GPU's as `gpu/0/power_watts`, by its place in the list.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let machine = [
            ("cpu_percent", self.cpu_percent.map(|percent| percent.0)),
            ("memory_used_bytes", self.memory_used_bytes.map(as_f64)),
            ("memory_total_bytes", self.memory_total_bytes.map(as_f64)),
            (
                "process_memory_bytes",
                self.process_memory_bytes.map(as_f64),
            ),
            ("disk_free_bytes", self.disk_free_bytes.map(as_f64)),
            ("disk_total_bytes", self.disk_total_bytes.map(as_f64)),
        ];
        let known = machine
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let mut scalars: Vec<_> = known
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for (number, gpu) in self.gpus.iter().flatten().enumerate() {
            let of_gpu = [
                (
                    "utilization_percent",
                    gpu.utilization_percent.map(|percent| percent.0),
                ),
                ("memory_used_bytes", gpu.memory_used_bytes.map(as_f64)),
                ("memory_total_bytes", gpu.memory_total_bytes.map(as_f64)),
                (
                    "temperature_celsius",
                    gpu.temperature_celsius.map(|celsius| celsius.0),
                ),
                ("power_watts", gpu.power_watts.map(|watts| watts.0)),
            ];
            let known = of_gpu
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            scalars.extend(known.map(|(name, value)| (format!("gpu/{number}/{name}"), value)));
        }
        scalars
    }
}

fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

impl Warning {
    /// A warning before training has begun; set `step` once it has.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            step: None,
            fields: Fields::new(),
        }
    }
}
