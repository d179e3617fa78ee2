//! What a stage of training is to the loop.

use burn::tensor::Tensor;
use model::CausalLm;
use serde::Serialize;
use serde_json::Value;
use telemetry::event::{DataSource, EvaluationRow};
use telemetry::{Clock, Fields, SampleRecord, Scalar};

use crate::TrainError;
use crate::forward::Forward;
use crate::monitor::StepMeter;
use crate::preflight::Findings;
use crate::recipe::StageName;

/// A stage: where its batches come from, what their loss is, what it measures. Clipping, stepping,
/// logging, saving and control live in the one loop, [`train_loop`](crate::train_loop).
pub trait Stage {
    /// What one backward pass works on.
    type MicroBatch;

    /// Which stage it is.
    fn name(&self) -> StageName;

    /// The token that the model learns to end a turn with; `None` where it learns documents, or turns
    /// end in plain text.
    fn end_of_turn(&self) -> Option<u32>;

    /// Optimizer steps in one pass over the data.
    fn steps_per_epoch(&self) -> Result<f64, TrainError>;

    /// What only the model can say before the first step: in reinforcement learning, how it fares on
    /// a few prompts. Nothing that training depends on changes.
    ///
    /// # Errors
    /// A record cannot be read.
    fn probe(
        &self,
        _model: &CausalLm,
        _clock: &dyn Clock,
        _should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Findings>, TrainError> {
        Ok(None)
    }

    /// The micro-batches of step `step`, from 1. Reinforcement learning samples here. What takes time
    /// beside reading data goes through the meter.
    ///
    /// # Errors
    /// A record cannot be read; or [`TrainError::Stopped`] where the user stopped a long wait.
    fn next_step(
        &mut self,
        step: u64,
        model: &CausalLm,
        meter: &StepMeter,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Self::MicroBatch>, TrainError>;

    /// The loss of one micro-batch, divided by the counts of the whole step, so that the losses of
    /// its micro-batches add up. `None` where nothing in it is trained on.
    fn loss(&mut self, forward: &Forward, batch: &Self::MicroBatch) -> Option<Tensor<1>>;

    /// Tokens a micro-batch puts through the model.
    fn num_tokens(&self, batch: &Self::MicroBatch) -> usize;

    /// The stage's own metrics of the step just taken.
    fn metrics(&mut self) -> Fields;

    /// What the model wrote for the step just taken.
    fn samples(&mut self) -> Vec<SampleRecord> {
        Vec::new()
    }

    /// Measures the model on held-out data; `None` where there is none.
    fn evaluate(
        &mut self,
        model: &CausalLm,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Evaluation>, TrainError>;

    /// The model is that of an earlier step again. The place in the data stays where it is, so that
    /// what led here is not met again; a stage that holds batches for later steps drops them.
    fn went_back(&mut self) {}

    /// Sentences about the data that a person should read before training: what was cut or left
    /// out.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// What was taken of each file so far.
    fn sources(&self) -> Vec<DataSource>;

    /// Everything that the next step depends on and the weights do not hold.
    fn state(&self) -> Value;

    /// Puts [`Self::state`] back.
    fn restore(&mut self, state: &Value) -> Result<(), TrainError>;
}

/// What an evaluation measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Of all records.
    pub metrics: Fields,
    /// By task or language pair.
    pub rows: Vec<EvaluationRow>,
    /// What the model wrote.
    pub samples: Vec<EvaluationSample>,
}

/// Answers that are shown of an evaluation.
const SHOWN_SAMPLES: usize = 8;

impl Evaluation {
    /// One answer a group, the groups spread over all of them.
    pub fn shown_samples(&self) -> Vec<&EvaluationSample> {
        let mut shown: Vec<&EvaluationSample> = Vec::new();
        for sample in &self.samples {
            if shown.iter().all(|other| other.group != sample.group) {
                shown.push(sample);
            }
        }
        let stride = shown.len().div_ceil(SHOWN_SAMPLES).max(1);
        shown.into_iter().step_by(stride).collect()
    }
}

/// One answer of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationSample {
    /// The task or language pair.
    pub group: String,
    /// The prompt, as a person reads it.
    pub prompt: String,
    /// What the model wrote.
    pub completion: String,
    /// The right answer, where there is one.
    pub reference: Option<String>,
    /// The reward.
    pub reward: Option<Scalar>,
}
