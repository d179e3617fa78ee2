//! Reinforcement learning with verifiable rewards: GRPO and its kin.
//!
//! A step samples a group of completions for each prompt, judges them, turns the rewards into
//! advantages over the group, and takes the clipped policy gradient of the completions' tokens
//! (`num_iterations` optimizer steps on each set of samples). The sampler is the model itself, so
//! on the first of those steps the ratio to the sampling policy is 1.
//!
//! Where we differ from TRL: `per_device_train_batch_size` counts prompts, not completions; a
//! completion that `mask_truncated_completions` leaves out is not trained on, nor run for it.

mod options;
mod sft_term;

use burn::tensor::Tensor;
use datasets::{Loader, LoaderState, Order, Shard, TokenBatch};
use losses::{Denominator, PolicyGradientStats};
use model::CausalLm;
use model::generate::SamplingOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::event::DataSource;
use telemetry::{Clock, Fields, SampleRecord};

use crate::TrainError;
use crate::forward::Forward;
use crate::monitor::{Part, StepMeter};
use crate::preflight::{Findings, Probe};
use crate::recipe::{PolicyLossType, RlSettings, StageName};
use crate::rollout::{
    Group, Prompt, Prompts, Rollout, RolloutBatch, RolloutSequence, Sampler, evaluation,
    rollout_metrics,
};
use crate::sources::{Sources, SourcesState};
use crate::stage::{Evaluation, Stage};

pub use sft_term::SftTerm;

/// The stage.
pub struct Rl {
    settings: RlSettings,
    prompts: Prompts,
    eval: Option<Prompts>,
    sampler: Sampler,
    reference: Reference,
    sft: Option<SftTerm>,
    loader: Loader,
    sources: Sources,
    /// Prompts in a micro-batch, micro-batches in a step.
    batch: [usize; 2],
    seed: u64,
    /// The samples of the current set, while steps on it are left.
    current: Vec<RolloutBatch>,
    denominator: Denominator,
    /// How often the run went back to an earlier step: each time it draws other numbers.
    times_back: u64,
    /// The step that was begun last.
    taken: Option<u64>,
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
    /// The cross-entropy of the supervised term.
    sft_loss: Option<f64>,
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
    denominator: [usize; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sft: Option<LoaderState>,
    #[serde(default)]
    times_back: u64,
    #[serde(default)]
    taken: Option<u64>,
    #[serde(default)]
    sources: SourcesState,
    #[serde(default)]
    sft_sources: SourcesState,
}

impl Rl {
    /// `batch` is prompts in a micro-batch and micro-batches in a step.
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
            settings,
            prompts,
            eval,
            sampler,
            reference,
            sft,
            batch,
            seed: seed.unwrap_or_default(),
            current: Vec::new(),
            times_back: 0,
            taken: None,
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
        meter: &StepMeter,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<(), TrainError> {
        let [prompts_per_batch, num_batches] = self.batch;
        let before = self.loader.state();
        let num_generations = self.settings.num_generations;
        let wanted = prompts_per_batch * num_batches;
        let mut sampled: Vec<Group> = Vec::new();
        let mut kept: Vec<usize> = Vec::new();
        let mut records: Vec<usize> = Vec::new();
        for round in 0..=self.settings.dynamic_sampling as u64 {
            let first = records.len();
            records.extend((kept.len()..wanted).map(|_| self.loader.next_index()));
            let prompts = records[first..]
                .iter()
                .map(|&record| self.prompts.get(record))
                .collect::<Result<Vec<Prompt>, _>>()?;
            let sampling = self.sampling(step ^ (self.times_back << 32) ^ (round << 48));
            let (sampler, num) = (&self.sampler, num_generations);
            let drawn = meter.time(Part::Rollout, || {
                sampler.draw(model, &prompts, num, sampling, should_stop)
            });
            let Some(drawn) = drawn else {
                // The checkpoint that is saved now must not have passed these prompts.
                self.loader.restore(before)?;
                return Err(TrainError::Stopped { step: step - 1 });
            };
            let judge = || sampler.judge(prompts, num, drawn);
            for group in meter.time(Part::Reward, judge)? {
                if self.settings.dynamic_sampling == 0 || !group.has_no_variance() {
                    kept.push(sampled.len());
                }
                sampled.push(group);
            }
            if kept.len() == wanted {
                break;
            }
        }
        self.count_sources(&records, &sampled, &kept);
        meter.add_sampling(sampled.iter().map(Group::lengths));
        self.step.rollouts = rollout_metrics(&sampled);
        if self.settings.dynamic_sampling > 0 {
            let fields = &mut self.step.rollouts;
            fields.set("sampling/groups", sampled.len() as u64);
            fields.set("sampling/groups_kept", kept.len() as u64);
        }
        self.train_on(model, meter, &mut sampled, &kept);
        self.step.samples = sampled
            .iter()
            .enumerate()
            .map(|(number, group)| group.record(step, number as u64))
            .collect();
        Ok(())
    }

    /// Takes down what became of each record.
    fn count_sources(&mut self, records: &[usize], sampled: &[Group], kept: &[usize]) {
        for (at, (&record, group)) in records.iter().zip(sampled).enumerate() {
            let part = self.prompts.part_of(record);
            match kept.contains(&at) {
                true => self.sources.take(part, group.num_tokens()),
                false => self
                    .sources
                    .leave_out(part, "all rewards alike (dynamic_sampling)"),
            }
        }
    }

    /// Gives the kept groups their advantages and cuts them into micro-batches.
    fn train_on(
        &mut self,
        model: &CausalLm,
        meter: &StepMeter,
        sampled: &mut [Group],
        kept: &[usize],
    ) {
        let mut groups: Vec<Group> = kept.iter().map(|&at| sampled[at].clone()).collect();
        let without_adapters;
        let reference = match &self.reference {
            Reference::None => None,
            Reference::Model(reference) => Some(&**reference),
            Reference::WithoutAdapters => {
                without_adapters = model.valid().without_adapters();
                Some(&without_adapters)
            }
        };
        // RLOO has the divergence in the reward, of every completion; what is trained on of them then
        // has its reference already.
        let judged = match (reference, self.settings.loss_type) {
            (Some(reference), PolicyLossType::Rloo) => meter.time(Part::Reference, || {
                let batches = self.batches_of(&groups, |_| true);
                self.with_reference(batches, reference, meter)
            }),
            _ => Vec::new(),
        };
        let penalties = self.divergence_penalties(&judged);
        Group::set_advantages(&mut groups, options::estimator(&self.settings), &penalties);
        let mut batches = self.batches_of(&groups, |rollout| self.is_trained_on(rollout));
        match (reference, judged.is_empty()) {
            (Some(reference), true) => {
                batches = meter.time(Part::Reference, || {
                    self.with_reference(batches, reference, meter)
                });
            }
            _ => {
                let kept = groups.chunks(self.batch[0]);
                for ((batch, judged), groups) in batches.iter_mut().zip(&judged).zip(kept) {
                    let rollouts = groups.iter().flat_map(|group| &group.rollouts);
                    let is_kept: Vec<bool> = rollouts.map(|r| self.is_trained_on(r)).collect();
                    batch.reference_logprobs = judged.reference_logprobs_of(&is_kept);
                }
            }
        }
        self.current = batches;
        let sequences = self.current.iter().flat_map(|batch| &batch.sequences);
        self.denominator.num_tokens = sequences.map(|s| s.completion.len()).sum();
        self.denominator.num_completions = groups.len() * self.settings.num_generations;
        for (&at, group) in kept.iter().zip(groups) {
            sampled[at] = group;
        }
    }

    /// The same with what KL is measured to.
    fn with_reference(
        &self,
        mut batches: Vec<RolloutBatch>,
        reference: &CausalLm,
        meter: &StepMeter,
    ) -> Vec<RolloutBatch> {
        for batch in &mut batches {
            batch.set_reference(reference, self.settings.temperature);
            meter.add_forward(&batch.tokens());
        }
        batches
    }

    /// RLOO's β times each completion's divergence from the reference, a row a group.
    fn divergence_penalties(&self, batches: &[RolloutBatch]) -> Vec<Vec<f64>> {
        let divergences = batches.iter().flat_map(RolloutBatch::divergences);
        let penalties: Vec<f64> = divergences.map(|d| self.settings.beta * d).collect();
        let groups = penalties.chunks(self.settings.num_generations);
        groups.map(<[f64]>::to_vec).collect()
    }

    fn is_trained_on(&self, rollout: &Rollout) -> bool {
        rollout.finished() || !self.settings.mask_truncated_completions
    }

    /// The groups cut into micro-batches, of the completions that count.
    fn batches_of(&self, groups: &[Group], counts: impl Fn(&Rollout) -> bool) -> Vec<RolloutBatch> {
        let of_groups = |groups: &[Group]| {
            let sequences = groups.iter().flat_map(|group| {
                let rollouts = group.rollouts.iter().filter(|rollout| counts(rollout));
                rollouts.map(|rollout| sequence(&group.prompt, rollout))
            });
            RolloutBatch::new(sequences.collect())
        };
        groups.chunks(self.batch[0]).map(of_groups).collect()
    }
}

fn sequence(prompt: &Prompt, rollout: &Rollout) -> RolloutSequence {
    RolloutSequence {
        prompt: prompt.ids.to_vec(),
        completion: rollout.completion.tokens.clone(),
        sampler_logprobs: rollout.completion.logprobs.clone(),
        advantage: rollout.advantage,
    }
}

impl Stage for Rl {
    type MicroBatch = RlBatch;

    fn name(&self) -> StageName {
        StageName::Rl
    }

    fn steps_per_epoch(&self) -> Result<f64, TrainError> {
        let per_set = (self.batch[0] * self.batch[1]) as f64;
        Ok(self.prompts.len() as f64 / per_set * self.settings.num_iterations as f64)
    }

    fn probe(
        &self,
        model: &CausalLm,
        clock: &dyn Clock,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Findings>, TrainError> {
        let probe = Probe {
            prompts: &self.prompts,
            sampler: &self.sampler,
            settings: &self.settings,
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
        let is_due = (step - 1).is_multiple_of(self.settings.num_iterations as u64);
        if is_due || self.current.is_empty() {
            self.rollout(step, model, meter, should_stop)?;
        }
        let mut batches: Vec<RlBatch> = (0..self.current.len()).map(RlBatch::Rollouts).collect();
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
                let (loss, cross_entropy) = sft.loss(forward, batch);
                self.step.sft_loss = Some(cross_entropy);
                self.step.num_tokens += batch.num_tokens();
                return Some(loss);
            }
        };
        if batch.sequences.is_empty() {
            return None;
        }
        let options = options::loss_options(&self.settings, self.denominator);
        let measured = batch.loss(forward, &options);
        let record = &mut self.step;
        record.stats = record.stats.plus(measured.stats);
        record.entropy_sum += measured.entropy_sum;
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
        let record = &self.step;
        let tokens = record.stats.num_tokens as f64;
        let mut fields = record.rollouts.clone();
        fields.set("num_tokens", record.num_tokens as u64);
        fields.set("entropy", record.entropy_sum / tokens);
        let [low, high] = [record.stats.clipped_low, record.stats.clipped_high];
        fields.set("clip_ratio/low_mean", low as f64 / tokens);
        fields.set("clip_ratio/high_mean", high as f64 / tokens);
        fields.set("clip_ratio/region_mean", (low + high) as f64 / tokens);
        if let Some(loss) = record.sft_loss {
            fields.set("sft/loss", loss);
        }
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

    fn went_back(&mut self) {
        self.current.clear();
        self.times_back += 1;
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

    fn sources(&self) -> Vec<DataSource> {
        let mut sources = self.sources.report();
        sources.extend(self.sft.iter().flat_map(SftTerm::sources));
        sources
    }

    fn state(&self) -> Value {
        let iterations = self.settings.num_iterations as u64;
        let is_used_up = self
            .taken
            .is_some_and(|taken| taken.is_multiple_of(iterations));
        let state = State {
            loader: self.loader.state(),
            // Samples that no step will see again are not worth their room.
            current: match is_used_up {
                true => Vec::new(),
                false => self.current.clone(),
            },
            denominator: [
                self.denominator.num_completions,
                self.denominator.num_tokens,
            ],
            sft: self.sft.as_ref().map(SftTerm::state),
            times_back: self.times_back,
            taken: self.taken,
            sources: self.sources.state(),
            sft_sources: self.sft.as_ref().map(SftTerm::counted).unwrap_or_default(),
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
        self.times_back = state.times_back;
        self.taken = state.taken;
        [
            self.denominator.num_completions,
            self.denominator.num_tokens,
        ] = state.denominator;
        Ok(())
    }
}
