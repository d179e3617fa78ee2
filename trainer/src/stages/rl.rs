//! Reinforcement learning with verifiable rewards: GRPO and its kin.
//!
//! A step samples a group of completions for each prompt, judges them, turns the rewards into
//! advantages over the group, and takes the clipped policy gradient of the completions' tokens
//! (`num_iterations` optimizer steps on each set of samples). The sampler is the model itself, so
//! on the first of those steps the ratio to the sampling policy is 1.
//!
//! Where we differ from TRL: `per_device_train_batch_size` counts prompts, not completions; a
//! completion that `mask_truncated_completions` leaves out is not run through the model at all.

use burn::tensor::Tensor;
use datasets::{Loader, LoaderState, Order, Shard};
use losses::{Denominator, LossType, PolicyGradientOptions, PolicyGradientStats};
use model::CausalLm;
use model::generate::SamplingOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::{Fields, SampleRecord};

use crate::TrainError;
use crate::forward::Forward;
use crate::recipe::{PolicyLossType, RlSettings, ScaleRewards, StageName};
use crate::rollout::{
    Group, Prompt, Prompts, RolloutBatch, RolloutSequence, Sampler, evaluation, rollout_metrics,
};
use crate::stage::{Evaluation, Stage};

/// The stage.
pub struct Rl {
    settings: RlSettings,
    prompts: Prompts,
    eval: Option<Prompts>,
    sampler: Sampler,
    reference: Reference,
    loader: Loader,
    /// Prompts in a micro-batch, micro-batches in a step.
    batch: [usize; 2],
    seed: u64,
    /// The samples of the current set, while steps on it are left.
    current: Vec<RolloutBatch>,
    denominator: Denominator,
    step: StepRecord,
}

/// The policy that KL is measured to.
pub enum Reference {
    /// There is no KL term.
    None,
    /// A model of its own.
    Model(Box<CausalLm>),
    /// The policy itself without its adapters, which are all that trains.
    WithoutAdapters,
}

/// What is measured over the micro-batches of a step.
#[derive(Default)]
struct StepRecord {
    rollouts: Fields,
    samples: Vec<SampleRecord>,
    stats: PolicyGradientStats,
    entropy_sum: f64,
    sampler_difference: (f64, f64),
    num_tokens: usize,
}

#[derive(Serialize, Deserialize)]
struct State {
    loader: LoaderState,
    current: Vec<RolloutBatch>,
    denominator: [usize; 2],
}

impl Rl {
    /// `batch` is prompts in a micro-batch and micro-batches in a step.
    pub fn new(
        settings: RlSettings,
        prompts: Prompts,
        eval: Option<Prompts>,
        sampler: Sampler,
        reference: Reference,
        batch: [usize; 2],
        [seed, shuffle]: [Option<u64>; 2],
    ) -> Self {
        let order = match shuffle {
            Some(seed) => Order::Shuffled { seed },
            None => Order::Sequential,
        };
        Rl {
            loader: Loader::new(prompts.len(), order, Shard::ALL),
            denominator: Denominator {
                loss_type: match settings.loss_type {
                    PolicyLossType::Grpo => LossType::Grpo,
                    PolicyLossType::Dapo => LossType::Dapo,
                    PolicyLossType::DrGrpo => LossType::DrGrpo,
                },
                num_completions: 0,
                num_tokens: 0,
                max_completion_length: settings.max_completion_length,
            },
            settings,
            prompts,
            eval,
            sampler,
            reference,
            batch,
            seed: seed.unwrap_or_default(),
            current: Vec::new(),
            step: StepRecord::default(),
        }
    }

    fn sampling(&self, step: u64) -> SamplingOptions {
        SamplingOptions {
            temperature: self.settings.temperature,
            top_k: self.settings.top_k,
            top_p: self.settings.top_p,
            // Each step draws its own numbers; 0 is the evaluations'.
            seed: self.seed.wrapping_mul(0x1_0000_0001).wrapping_add(step),
        }
    }

    /// Samples, judges, and cuts into micro-batches.
    fn rollout(
        &mut self,
        step: u64,
        model: &CausalLm,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), TrainError> {
        let [prompts_per_batch, num_batches] = self.batch;
        let before = self.loader.state();
        let prompts = (0..prompts_per_batch * num_batches)
            .map(|_| self.prompts.get(self.loader.next_index()))
            .collect::<Result<Vec<Prompt>, _>>()?;
        let sampling = self.sampling(step);
        let num_generations = self.settings.num_generations;
        let groups = self
            .sampler
            .sample(model, prompts, num_generations, sampling, should_stop)?;
        let Some(mut groups) = groups else {
            // The checkpoint that is saved now must not have passed these prompts.
            self.loader.restore(before)?;
            return Err(TrainError::Stopped { step: step - 1 });
        };
        Group::set_advantages(
            &mut groups,
            match self.settings.scale_rewards {
                ScaleRewards::Group => losses::ScaleRewards::Group,
                ScaleRewards::Batch => losses::ScaleRewards::Batch,
                ScaleRewards::None => losses::ScaleRewards::None,
            },
        );
        self.step.rollouts = rollout_metrics(&groups);
        self.step.samples = groups
            .iter()
            .enumerate()
            .map(|(number, group)| group.record(step, number as u64))
            .collect();
        self.current = groups
            .chunks(prompts_per_batch)
            .map(|groups| self.micro_batch(groups))
            .collect();
        let sequences = self.current.iter().flat_map(|batch| &batch.sequences);
        self.denominator.num_tokens = sequences.map(|s| s.completion.len()).sum();
        self.denominator.num_completions = groups.len() * num_generations;
        let without_adapters;
        let reference = match &self.reference {
            Reference::None => return Ok(()),
            Reference::Model(reference) => reference,
            Reference::WithoutAdapters => {
                without_adapters = model.valid().without_adapters();
                &without_adapters
            }
        };
        for batch in &mut self.current {
            batch.set_reference(reference, self.settings.temperature);
        }
        Ok(())
    }

    fn micro_batch(&self, groups: &[Group]) -> RolloutBatch {
        let sequences = groups
            .iter()
            .flat_map(|group| group.rollouts.iter().map(move |r| (&group.prompt, r)))
            .filter(|(_, rollout)| rollout.finished() || !self.settings.mask_truncated_completions)
            .map(|(prompt, rollout)| RolloutSequence {
                prompt: prompt.ids.to_vec(),
                completion: rollout.completion.tokens.clone(),
                sampler_logprobs: rollout.completion.logprobs.clone(),
                advantage: rollout.advantage,
            })
            .collect();
        RolloutBatch::new(sequences)
    }
}

impl Stage for Rl {
    /// The place of a micro-batch in the current set.
    type MicroBatch = usize;

    fn name(&self) -> StageName {
        StageName::Rl
    }

    fn steps_per_epoch(&self) -> Result<f64, TrainError> {
        let per_set = (self.batch[0] * self.batch[1]) as f64;
        Ok(self.prompts.len() as f64 / per_set * self.settings.num_iterations as f64)
    }

    fn next_step(
        &mut self,
        step: u64,
        model: &CausalLm,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Vec<usize>, TrainError> {
        self.step = StepRecord::default();
        if (step - 1).is_multiple_of(self.settings.num_iterations as u64) {
            self.rollout(step, model, should_stop)?;
        }
        Ok((0..self.current.len()).collect())
    }

    fn loss(&mut self, forward: &Forward, &batch: &usize) -> Option<Tensor<1>> {
        let options = PolicyGradientOptions {
            epsilon: self.settings.epsilon,
            epsilon_high: self.settings.epsilon_high,
            beta: self.settings.beta,
        };
        let batch = &mut self.current[batch];
        if batch.sequences.is_empty() {
            return None;
        }
        let temperature = self.settings.temperature;
        let measured = batch.loss(forward, &self.denominator, options, temperature);
        let record = &mut self.step;
        record.stats = record.stats.plus(measured.stats);
        record.entropy_sum += measured.entropy_sum;
        record.num_tokens += batch.num_tokens();
        record.sampler_difference.0 += measured.sampler_difference.0;
        let max = &mut record.sampler_difference.1;
        *max = max.max(measured.sampler_difference.1);
        Some(measured.loss)
    }

    fn num_tokens(&self, &batch: &usize) -> usize {
        self.current[batch].num_tokens()
    }

    fn metrics(&mut self) -> Fields {
        let record = &self.step;
        let tokens = record.stats.num_tokens as f64;
        let mut fields = record.rollouts.clone();
        fields.set("num_tokens", record.num_tokens as u64);
        fields.set("entropy", record.entropy_sum / tokens);
        let [low, high] = [record.stats.clipped_low, record.stats.clipped_high];
        fields.set("clip_ratio/low_mean", low as f64 / tokens);
        fields.set("clip_ratio/high_mean", high as f64 / tokens);
        fields.set("clip_ratio/region_mean", (low + high) as f64 / tokens);
        if !matches!(self.reference, Reference::None) {
            fields.set("kl", record.stats.kl / tokens);
        }
        // With top-k or top-p the sampler's distribution is another one than training's.
        let whole = self.settings.top_k == 0 && self.settings.top_p >= 1.0;
        if whole && !record.samples.is_empty() {
            let (sum, max) = record.sampler_difference;
            fields.set("sampling/logp_difference/mean", sum / tokens);
            fields.set("sampling/logp_difference/max", max);
        }
        fields
    }

    fn samples(&mut self) -> Vec<SampleRecord> {
        std::mem::take(&mut self.step.samples)
    }

    fn evaluate(
        &mut self,
        model: &CausalLm,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Evaluation>, TrainError> {
        let Some(eval) = &self.eval else {
            return Ok(None);
        };
        let count = eval.len().min(self.settings.eval_prompts);
        let prompts = (0..count)
            .map(|index| eval.get(index))
            .collect::<Result<Vec<_>, _>>()?;
        let sampling = self.sampling(0);
        let groups = self
            .sampler
            .sample(model, prompts, 1, sampling, should_stop)?;
        Ok(groups.map(|groups| evaluation(&groups)))
    }

    fn warnings(&self) -> Vec<String> {
        match self.prompts.num_too_long() {
            0 => Vec::new(),
            n => vec![format!(
                "{n} prompts were left out: longer than max_prompt_length = {}",
                self.prompts.max_prompt_length()
            )],
        }
    }

    fn state(&self) -> Value {
        let state = State {
            loader: self.loader.state(),
            current: self.current.clone(),
            denominator: [
                self.denominator.num_completions,
                self.denominator.num_tokens,
            ],
        };
        serde_json::to_value(state).expect("numbers serialise")
    }

    fn restore(&mut self, state: &Value) -> Result<(), TrainError> {
        let state: State = serde_json::from_value(state.clone())
            .map_err(|error| TrainError::Checkpoint(format!("the rollout buffer: {error}")))?;
        self.loader.restore(state.loader)?;
        self.current = state.current;
        [
            self.denominator.num_completions,
            self.denominator.num_tokens,
        ] = state.denominator;
        Ok(())
    }
}
