//! Reinforcement learning with verifiable rewards: GRPO and its kin.
//!
//! A set of steps samples a group of completions for each prompt, judges them, turns the rewards into
//! advantages over the group, and takes the clipped policy gradient of the completions' tokens
//! (`num_mini_batches` optimizer steps, each on a part of the set of samples, `num_iterations` times).
//! The sampler is the model itself, so on the first of those steps the ratio to the sampling policy
//! is 1; under `one_step_off_policy` the samples of a set are drawn while the last step of the set
//! before trains, and the ratio is to the policy before that step.
//!
//! Where we differ from TRL: `per_device_train_batch_size` counts prompts, not completions; a
//! completion that `mask_truncated_completions` leaves out is not trained on, nor run for it. A group stays
//! in one mini-batch, where TRL shuffles the completions of a set; and dapo, cispo and vespo average the token
//! losses of a step over its own tokens, where TRL takes the mean count of the set's steps.

mod ahead;
mod entropy;
mod options;
mod sample_set;
mod sft_term;

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use datasets::{Loader, LoaderState, Order, Shard, TokenBatch};
use kernels::HostValues;
use losses::{Denominator, PolicyGradientStats};
use model::CausalLm;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::event::DataSource;
use telemetry::{Clock, Fields, SampleRecord};

use crate::TrainError;
use crate::forward::Forward;
use crate::monitor::{Part, StepMeter};
use crate::preflight::{Findings, Probe};
use crate::recipe::{RlSettings, StageName};
use crate::rollout::{Prompts, RolloutBatch, Sampler, evaluation};
use crate::sources::{Sources, SourcesState};
use crate::stage::{Evaluation, Stage};
use ahead::{Ahead, Worker};
use entropy::EntropyCoef;
use sample_set::{Drawing, Place, SampleSet};

pub use sft_term::SftTerm;

/// The stage.
pub struct Rl {
    drawing: Arc<Drawing>,
    eval: Option<Prompts>,
    reference: Reference,
    sft: Option<SftTerm>,
    loader: Loader,
    sources: Sources,
    /// The set after the current one, where it is drawn beside training.
    ahead: Option<Ahead>,
    /// Draws it, from the first time on; after `ahead`, which is dropped first.
    worker: Option<Worker>,
    /// The samples of the current set, while steps on it are left.
    current: Vec<RolloutBatch>,
    /// The first step on that set.
    began: u64,
    /// Completions of that set, with those that are left out of the loss.
    num_completions: usize,
    /// Of the current step.
    denominator: Denominator,
    /// How often the run went back to an earlier step: each time it draws other numbers.
    times_back: u64,
    /// The step that was begun last.
    taken: Option<u64>,
    entropy_coef: EntropyCoef,
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
    /// Σ entropy and number of the tokens that the policy's term counts.
    counted_entropy: (f64, usize),
    sampler_difference: (f64, f64),
    /// Tokens that it is of.
    num_compared: usize,
    num_tokens: usize,
    /// The supervised term.
    sft_loss: Option<HostValues>,
}

/// What one backward pass works on.
pub enum RlBatch {
    /// The place of a micro-batch in the current set of samples.
    Rollouts(usize),
    /// Conversations.
    Supervised(TokenBatch),
}

#[derive(Serialize, Deserialize)]
struct State {
    loader: LoaderState,
    current: Vec<RolloutBatch>,
    began: u64,
    num_completions: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sft: Option<LoaderState>,
    #[serde(default)]
    times_back: u64,
    #[serde(default)]
    taken: Option<u64>,
    /// Drawn by weights that are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ahead: Option<SampleSet>,
    #[serde(default)]
    sources: SourcesState,
    #[serde(default)]
    sft_sources: SourcesState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entropy_coef: Option<EntropyCoef>,
}

impl Rl {
    /// `batch` is prompts in a micro-batch and micro-batches in a set.
    pub fn new(
        settings: RlSettings,
        prompts: Prompts,
        eval: Option<Prompts>,
        sampler: Sampler,
        reference: Reference,
        sft: Option<SftTerm>,
        batch: [usize; 2],
        [seed, shuffle]: [Option<u64>; 2],
    ) -> Self {
        let order = match shuffle {
            Some(seed) => Order::Shuffled { seed },
            None => Order::Sequential,
        };
        Rl {
            loader: Loader::new(prompts.len(), order, Shard::ALL),
            sources: prompts.sources(),
            denominator: Denominator {
                loss_type: options::loss_type(&settings),
                num_completions: 0,
                num_tokens: 0,
                max_completion_length: settings.max_completion_length,
            },
            entropy_coef: EntropyCoef::new(&settings),
            drawing: Arc::new(Drawing {
                settings,
                prompts,
                sampler,
                batch,
                seed: seed.unwrap_or_default(),
            }),
            eval,
            reference,
            sft,
            ahead: None,
            worker: None,
            current: Vec::new(),
            began: 0,
            num_completions: 0,
            times_back: 0,
            taken: None,
            step: StepRecord::default(),
        }
    }

    /// Has a set of samples trained on from now on.
    fn begin_set(&mut self, set: SampleSet, meter: &StepMeter) -> Result<(), TrainError> {
        self.loader.restore(set.loader)?;
        for visited in &set.visited {
            match visited.tokens {
                Some(tokens) => self.sources.take(visited.part, tokens),
                None => self
                    .sources
                    .leave_out(visited.part, "all rewards alike (dynamic_sampling)"),
            }
        }
        meter.add_sampling(set.lengths.iter().cloned());
        for batch in &set.batches {
            let passes = usize::from(batch.reference_logprobs.is_some())
                + usize::from(batch.old_logprobs.is_some());
            for _ in 0..passes {
                meter.add_forward(&batch.tokens());
            }
        }
        self.step.num_compared = set.num_compared();
        self.num_completions = set.num_completions;
        self.step.rollouts = set.metrics;
        self.step.samples = set.samples;
        self.step.sampler_difference = set
            .sampler_difference
            .map(|[sum, max]| (sum.0, max.0))
            .unwrap_or_default();
        self.current = set.batches;
        Ok(())
    }

    /// The set that begins with this step: drawn beside the step before, or else now.
    fn next_set(
        &mut self,
        step: u64,
        model: &CausalLm,
        meter: &StepMeter,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<SampleSet, TrainError> {
        let ahead = self.ahead.take().filter(|ahead| ahead.step() == step);
        if let Some(ahead) = ahead {
            // What is left of its time is all that the step sees of it.
            let is_drawn = meter.time(Part::Rollout, || ahead.wait_unless(should_stop));
            if !is_drawn {
                // The checkpoint that is saved now waits for it.
                self.ahead = Some(ahead);
                return Err(TrainError::Stopped { step: step - 1 });
            }
            return ahead.take();
        }
        let place = self.place(step);
        let reference = self.reference.of(model);
        let (reference, timed) = (reference.as_ref(), Some(meter));
        let drawn = self
            .drawing
            .draw(&place, model, reference, timed, should_stop)?;
        // The checkpoint that is saved now has not passed these prompts.
        let mut set = drawn.ok_or(TrainError::Stopped { step: step - 1 })?;
        let own = self.drawing.turns(set.batches.len()).part(0);
        if own.len() < set.batches.len() {
            let temperature = self.drawing.settings.temperature;
            meter.time(Part::Reference, || {
                set.set_old_logprobs(&model.valid(), temperature, own);
            });
        }
        Ok(set)
    }

    /// Whether no step after this one trains on the current set.
    fn is_last_on_set(&self, step: u64) -> bool {
        let turns = self.drawing.turns(self.current.len());
        step + 1 >= self.began + turns.num_steps()
    }

    /// Completions of these micro-batches, with those that are left out of the loss.
    fn completions_of(&self, batches: &Range<usize>) -> usize {
        let per_batch = self.drawing.batch[0] * self.drawing.settings.num_generations;
        let end = self.num_completions.min(batches.end * per_batch);
        end.saturating_sub(batches.start * per_batch)
    }

    fn place(&self, step: u64) -> Place {
        Place {
            step,
            times_back: self.times_back,
            loader: self.loader.clone(),
        }
    }
}

impl Reference {
    /// The model that it is, beside this policy; its tensors are shared.
    fn of(&self, policy: &CausalLm) -> Option<CausalLm> {
        match self {
            Reference::None => None,
            Reference::Model(reference) => Some((**reference).clone()),
            Reference::WithoutAdapters => Some(policy.valid().without_adapters()),
        }
    }
}

impl Stage for Rl {
    type MicroBatch = RlBatch;

    fn name(&self) -> StageName {
        StageName::Rl
    }

    fn end_of_turn(&self) -> Option<u32> {
        self.drawing.prompts.chat().end_of_turn_id()
    }

    fn steps_per_epoch(&self) -> Result<f64, TrainError> {
        let per_set = (self.drawing.batch[0] * self.drawing.batch[1]) as f64;
        let settings = &self.drawing.settings;
        let steps_per_set = (settings.num_mini_batches * settings.num_iterations) as f64;
        Ok(self.drawing.prompts.len() as f64 / per_set * steps_per_set)
    }

    fn probe(
        &self,
        model: &CausalLm,
        clock: &dyn Clock,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Findings>, TrainError> {
        let probe = Probe {
            prompts: &self.drawing.prompts,
            sampler: &self.drawing.sampler,
            settings: &self.drawing.settings,
        };
        probe.run(model, clock, should_stop).map(Some)
    }

    fn next_step(
        &mut self,
        step: u64,
        model: &CausalLm,
        meter: &StepMeter,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Vec<RlBatch>, TrainError> {
        self.step = StepRecord::default();
        if self.current.is_empty() || self.is_last_on_set(step - 1) {
            let set = self.next_set(step, model, meter, should_stop)?;
            self.begin_set(set, meter)?;
            self.began = step;
        }
        if self.drawing.settings.one_step_off_policy && self.is_last_on_set(step) {
            let (drawing, policy) = (self.drawing.clone(), model.for_generation());
            let reference = self.reference.of(model);
            let place = self.place(step + 1);
            let worker = self.worker.get_or_insert_with(Worker::start);
            self.ahead = Some(worker.begin(drawing, place, policy, reference));
        }
        let turns = self.drawing.turns(self.current.len());
        let part = turns.part(step - self.began);
        let trained = &self.current[part.clone()];
        self.denominator.num_tokens = trained.iter().map(RolloutBatch::num_supervised).sum();
        self.denominator.num_completions = self.completions_of(&part);
        let mut batches: Vec<RlBatch> = part.map(RlBatch::Rollouts).collect();
        if let Some(sft) = &mut self.sft {
            batches.push(RlBatch::Supervised(sft.next_batch()?));
        }
        self.taken = Some(step);
        Ok(batches)
    }

    fn loss(&mut self, forward: &Forward, batch: &RlBatch) -> Option<Tensor<1>> {
        let batch = match batch {
            RlBatch::Rollouts(at) => &mut self.current[*at],
            RlBatch::Supervised(batch) => {
                let sft = self.sft.as_ref().expect("it made the batch");
                let loss = sft.loss(forward, batch);
                self.step.sft_loss = Some(HostValues::of(loss.clone()));
                self.step.num_tokens += batch.num_tokens();
                return Some(loss);
            }
        };
        if batch.sequences.is_empty() {
            return None;
        }
        let settings = &self.drawing.settings;
        let entropy_coef = self.entropy_coef.applied(settings);
        let options = options::loss_options(settings, self.denominator, entropy_coef);
        let record = &mut self.step;
        if batch.old_logprobs.is_none() {
            record.num_compared += batch.num_supervised();
        }
        let measured = batch.loss(forward, &options);
        record.stats = record.stats.plus(measured.stats);
        record.entropy_sum += measured.entropy_sum;
        record.counted_entropy.0 += measured.counted_entropy.0;
        record.counted_entropy.1 += measured.counted_entropy.1;
        record.num_tokens += batch.num_tokens();
        record.sampler_difference.0 += measured.sampler_difference.0;
        let max = &mut record.sampler_difference.1;
        *max = max.max(measured.sampler_difference.1);
        Some(measured.loss)
    }

    fn num_tokens(&self, batch: &RlBatch) -> usize {
        match batch {
            RlBatch::Rollouts(at) => self.current[*at].num_tokens(),
            RlBatch::Supervised(batch) => batch.num_tokens(),
        }
    }

    fn metrics(&mut self) -> Fields {
        let record = &mut self.step;
        let tokens = record.stats.num_tokens as f64;
        let mut fields = record.rollouts.clone();
        fields.set("num_tokens", record.num_tokens as u64);
        if let (Some(sft), Some(term)) = (&self.sft, record.sft_loss.take()) {
            fields.set("sft/loss", sft.cross_entropy(term));
        }
        // Where nothing was trained on there are no means.
        if record.stats.num_tokens == 0 {
            return fields;
        }
        fields.set("entropy", record.entropy_sum / tokens);
        let settings = &self.drawing.settings;
        if settings.use_adaptive_entropy {
            fields.set("entropy_coef", self.entropy_coef.applied(settings));
            let (sum, counted) = record.counted_entropy;
            self.entropy_coef.observe(sum / counted as f64, settings);
        }
        let [low, high] = [record.stats.clipped_low, record.stats.clipped_high];
        fields.set("clip_ratio/low_mean", low as f64 / tokens);
        fields.set("clip_ratio/high_mean", high as f64 / tokens);
        fields.set("clip_ratio/region_mean", (low + high) as f64 / tokens);
        if settings.off_policy_mask_threshold.is_some() {
            fields.set("off_policy_masked", record.stats.masked as f64 / tokens);
        }
        if !matches!(self.reference, Reference::None) {
            fields.set("kl", record.stats.kl / tokens);
        }
        // With top-k or top-p the sampler's distribution is another one than training's.
        let whole = settings.top_k == 0 && settings.top_p >= 1.0;
        if whole && !record.samples.is_empty() && record.num_compared > 0 {
            let (sum, max) = record.sampler_difference;
            let mean = sum / record.num_compared as f64;
            fields.set("sampling/logp_difference/mean", mean);
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
        let count = eval.len().min(self.drawing.settings.eval_prompts);
        let prompts = (0..count)
            .map(|index| eval.get(index))
            .collect::<Result<Vec<_>, _>>()?;
        let sampling = self.drawing.sampling(0);
        let groups = self
            .drawing
            .sampler
            .sample(model, prompts, 1, sampling, should_stop)?;
        Ok(groups.map(|groups| evaluation(&groups)))
    }

    fn went_back(&mut self) {
        self.ahead = None;
        self.current.clear();
        // It followed weights that are gone.
        self.entropy_coef = EntropyCoef::new(&self.drawing.settings);
        self.times_back += 1;
    }

    fn warnings(&self) -> Vec<String> {
        match self.drawing.prompts.num_too_long() {
            0 => Vec::new(),
            n => vec![format!(
                "{n} prompts were left out: longer than max_prompt_length = {}",
                self.drawing.prompts.max_prompt_length()
            )],
        }
    }

    fn sources(&self) -> Vec<DataSource> {
        let mut sources = self.sources.report();
        sources.extend(self.sft.iter().flat_map(SftTerm::sources));
        sources
    }

    fn state(&self) -> Value {
        let is_used_up = self.taken.is_some_and(|taken| self.is_last_on_set(taken));
        let state = State {
            loader: self.loader.state(),
            // Samples that no step will see again are not worth their room.
            current: match is_used_up {
                true => Vec::new(),
                false => self.current.clone(),
            },
            began: self.began,
            num_completions: self.num_completions,
            sft: self.sft.as_ref().map(SftTerm::state),
            times_back: self.times_back,
            taken: self.taken,
            ahead: self.ahead.as_ref().and_then(Ahead::wait),
            sources: self.sources.state(),
            sft_sources: self.sft.as_ref().map(SftTerm::counted).unwrap_or_default(),
            entropy_coef: self
                .drawing
                .settings
                .use_adaptive_entropy
                .then_some(self.entropy_coef),
        };
        serde_json::to_value(state).expect("numbers serialise")
    }

    fn restore(&mut self, state: &Value) -> Result<(), TrainError> {
        let state: State = serde_json::from_value(state.clone())
            .map_err(|error| TrainError::Checkpoint(format!("the rollout buffer: {error}")))?;
        self.loader.restore(state.loader)?;
        if let (Some(sft), Some(loader)) = (&mut self.sft, state.sft) {
            sft.restore(loader, state.sft_sources)?;
        }
        self.sources.restore(state.sources);
        self.current = state.current;
        self.ahead = state.ahead.map(Ahead::known);
        self.times_back = state.times_back;
        self.taken = state.taken;
        self.began = state.began;
        if let Some(entropy_coef) = state.entropy_coef {
            self.entropy_coef = entropy_coef;
        }
        self.num_completions = state.num_completions;
        Ok(())
    }
}
