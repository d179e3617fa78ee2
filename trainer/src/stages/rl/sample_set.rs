//! What a set of steps trains on: completions drawn, judged and cut into micro-batches.

use std::ops::Range;

use datasets::{Loader, LoaderState};
use model::CausalLm;
use model::generate::SamplingOptions;
use serde::{Deserialize, Serialize};
use telemetry::{Fields, SampleRecord, Scalar};

use super::options;
use crate::TrainError;
use crate::monitor::{Part, StepMeter};
use crate::recipe::{PolicyLossType, RlSettings};
use crate::rollout::{
    Group, Prompt, Prompts, Rollout, RolloutBatch, RolloutSequence, Sampler, rollout_metrics,
};

/// What sets are drawn with, whatever the policy.
pub(super) struct Drawing {
    pub settings: RlSettings,
    pub prompts: Prompts,
    pub sampler: Sampler,
    /// Prompts in a micro-batch, micro-batches in a set.
    pub batch: [usize; 2],
    pub seed: u64,
}

/// Which set it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The first optimizer step on it.
    pub step: u64,
    /// How often the run went back to an earlier step: each time it draws other numbers.
    pub times_back: u64,
    /// Where the prompts come from.
    pub loader: Loader,
}

/// A set of samples, and what is to be told of it once it is trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SampleSet {
    /// The first optimizer step on it.
    pub step: u64,
    /// The micro-batches, the steps' parts one after the other.
    pub batches: Vec<RolloutBatch>,
    /// Completions that count in the loss's denominator.
    pub num_completions: usize,
    /// Where the loader stands behind its prompts.
    pub loader: LoaderState,
    /// What became of each prompt.
    pub visited: Vec<Visited>,
    /// What the samples say.
    pub metrics: Fields,
    /// The samples themselves.
    pub samples: Vec<SampleRecord>,
    /// Tokens of each prompt and of its completions, of all that were sampled.
    pub lengths: Vec<(usize, Vec<usize>)>,
    /// Σ and maximum of |trained − sampled| log-probability of the policy that sampled, over the
    /// micro-batches that have old log-probabilities; the first step on the others finds it out.
    pub sampler_difference: Option<[Scalar; 2]>,
}

/// A prompt that the loader gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Visited {
    /// The part of the data it is of.
    pub part: usize,
    /// Tokens that are trained on with it; `None` where its group was left out.
    pub tokens: Option<usize>,
}

/// Times parts of a step where somebody asks.
type Timed<'a> = Option<&'a StepMeter>;

fn time<T>(timed: Timed, part: Part, work: impl FnOnce() -> T) -> T {
    match timed {
        Some(meter) => meter.time(part, work),
        None => work(),
    }
}

/// The optimizer steps on a set: each trains on one part, and all parts have their turn as often as the
/// set is gone through. Where dynamic sampling kept too few groups for all parts, there are fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turns {
    parts: usize,
    num_batches: usize,
    num_iterations: usize,
}

impl Turns {
    /// Optimizer steps.
    pub fn num_steps(self) -> u64 {
        (self.parts * self.num_iterations) as u64
    }

    /// The micro-batches of a step, which is counted from 0.
    pub fn part(self, step: u64) -> Range<usize> {
        let part = (step % self.parts as u64) as usize;
        let start = |part: usize| (part * self.num_batches).div_ceil(self.parts);
        start(part)..start(part + 1)
    }
}

impl Drawing {
    /// How a set of so many micro-batches is gone through.
    pub fn turns(&self, num_batches: usize) -> Turns {
        Turns {
            parts: self.settings.num_mini_batches.min(num_batches).max(1),
            num_batches,
            num_iterations: self.settings.num_iterations,
        }
    }

    /// Evaluations are step 0.
    pub fn sampling(&self, step: u64) -> SamplingOptions {
        SamplingOptions {
            temperature: self.settings.temperature,
            top_k: self.settings.top_k,
            top_p: self.settings.top_p,
            // Each step draws its own numbers; 0 is the evaluations'.
            seed: self.seed.wrapping_mul(0x1_0000_0001).wrapping_add(step),
        }
    }

    /// Samples, judges, and cuts into micro-batches. `None` where the user stopped it.
    ///
    /// # Errors
    /// A record cannot be read or a completion not decoded.
    pub fn draw(
        &self,
        place: &Place,
        policy: &CausalLm,
        reference: Option<&CausalLm>,
        timed: Timed,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<SampleSet>, TrainError> {
        let [prompts_per_batch, num_batches] = self.batch;
        let num_generations = self.settings.num_generations;
        let wanted = prompts_per_batch * num_batches;
        let mut loader = place.loader.clone();
        let mut sampled: Vec<Group> = Vec::new();
        let mut kept: Vec<usize> = Vec::new();
        let mut records: Vec<usize> = Vec::new();
        for round in 0..=self.settings.dynamic_sampling as u64 {
            let first = records.len();
            records.extend((kept.len()..wanted).map(|_| loader.next_index()));
            let prompts = records[first..]
                .iter()
                .map(|&record| self.prompts.get(record))
                .collect::<Result<Vec<Prompt>, _>>()?;
            let sampling = self.sampling(place.step ^ (place.times_back << 32) ^ (round << 48));
            let (sampler, num) = (&self.sampler, num_generations);
            let drawn = time(timed, Part::Rollout, || {
                sampler.draw(policy, &prompts, num, sampling, should_stop)
            });
            let Some(drawn) = drawn else {
                return Ok(None);
            };
            let judge = || sampler.judge(prompts, num, drawn);
            for group in time(timed, Part::Reward, judge)? {
                if self.settings.dynamic_sampling == 0 || !group.has_no_variance() {
                    kept.push(sampled.len());
                }
                sampled.push(group);
            }
            if kept.len() == wanted {
                break;
            }
        }
        let mut metrics = rollout_metrics(&sampled);
        if self.settings.dynamic_sampling > 0 {
            metrics.set("sampling/groups", sampled.len() as u64);
            metrics.set("sampling/groups_kept", kept.len() as u64);
        }
        let visited = self.visited(&records, &sampled, &kept);
        let batches = self.micro_batches(reference, timed, &mut sampled, &kept);
        let samples = sampled.iter().enumerate();
        Ok(Some(SampleSet {
            step: place.step,
            batches,
            num_completions: kept.len() * num_generations,
            loader: loader.state(),
            visited,
            metrics,
            samples: samples
                .map(|(number, group)| group.record(place.step, number as u64))
                .collect(),
            lengths: sampled.iter().map(Group::lengths).collect(),
            sampler_difference: None,
        }))
    }

    /// What became of each record.
    fn visited(&self, records: &[usize], sampled: &[Group], kept: &[usize]) -> Vec<Visited> {
        let with_groups = records.iter().zip(sampled).enumerate();
        with_groups
            .map(|(at, (&record, group))| Visited {
                part: self.prompts.part_of(record),
                tokens: kept.contains(&at).then(|| group.num_tokens()),
            })
            .collect()
    }

    /// Gives the kept groups their advantages and cuts them into micro-batches.
    fn micro_batches(
        &self,
        reference: Option<&CausalLm>,
        timed: Timed,
        sampled: &mut [Group],
        kept: &[usize],
    ) -> Vec<RolloutBatch> {
        let mut groups: Vec<Group> = kept.iter().map(|&at| sampled[at].clone()).collect();
        // RLOO has the divergence in the reward, of every completion; what is trained on of them then
        // has its reference already.
        let judged = match (reference, self.settings.loss_type) {
            (Some(reference), PolicyLossType::Rloo) => time(timed, Part::Reference, || {
                let batches = self.batches_of(&groups, |_| true);
                self.with_reference(batches, reference)
            }),
            _ => Vec::new(),
        };
        let penalties = self.divergence_penalties(&judged);
        Group::set_advantages(&mut groups, options::estimator(&self.settings), &penalties);
        let mut batches = self.batches_of(&groups, |rollout| self.is_trained_on(rollout));
        match (reference, judged.is_empty()) {
            (Some(reference), true) => {
                batches = time(timed, Part::Reference, || {
                    self.with_reference(batches, reference)
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
        for (&at, group) in kept.iter().zip(groups) {
            sampled[at] = group;
        }
        batches
    }

    /// The same with what KL is measured to.
    fn with_reference(
        &self,
        mut batches: Vec<RolloutBatch>,
        reference: &CausalLm,
    ) -> Vec<RolloutBatch> {
        for batch in &mut batches {
            batch.set_reference(reference, self.settings.temperature);
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

impl SampleSet {
    /// Computes what the ratios are measured to, of the micro-batches that another policy than the one
    /// that sampled will train on: all but `own`.
    pub fn set_old_logprobs(&mut self, policy: &CausalLm, temperature: f64, own: Range<usize>) {
        let mut difference: (f64, f64) = (0.0, 0.0);
        for (at, batch) in self.batches.iter_mut().enumerate() {
            if !own.contains(&at) {
                let (sum, max) = batch.set_old_logprobs(policy, temperature);
                difference = (difference.0 + sum, max.max(difference.1));
            }
        }
        self.sampler_difference = Some([difference.0, difference.1].map(Scalar));
    }

    /// Tokens that have old log-probabilities.
    pub fn num_compared(&self) -> usize {
        let compared = self
            .batches
            .iter()
            .filter(|batch| batch.old_logprobs.is_some());
        compared.map(RolloutBatch::num_supervised).sum()
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

#[cfg(test)]
mod tests {
    use datasets::{Order, Shard};

    use super::*;

    #[test]
    fn parts_take_turns_and_the_larger_ones_come_first() {
        let parts = |parts: usize, num_batches: usize| -> Vec<Range<usize>> {
            let turns = Turns {
                parts,
                num_batches,
                num_iterations: 2,
            };
            (0..turns.num_steps())
                .map(|step| turns.part(step))
                .collect()
        };
        assert_eq!(parts(1, 3), [0..3, 0..3]);
        assert_eq!(parts(2, 4), [0..2, 2..4, 0..2, 2..4]);
        assert_eq!(parts(2, 3), [0..2, 2..3, 0..2, 2..3]);
    }

    #[test]
    fn a_difference_that_is_no_number_survives_a_checkpoint() {
        let set = SampleSet {
            step: 3,
            batches: Vec::new(),
            num_completions: 0,
            loader: Loader::new(4, Order::Sequential, Shard::ALL).state(),
            visited: Vec::new(),
            metrics: Fields::new().with("reward", f64::NAN),
            samples: Vec::new(),
            lengths: Vec::new(),
            sampler_difference: Some([Scalar(f64::NAN), Scalar(f64::INFINITY)]),
        };
        let json = serde_json::to_value(&set).expect("it serialises");
        let read: SampleSet = serde_json::from_value(json).expect("it reads back");
        let [sum, max] = read.sampler_difference.expect("it is there");
        assert!(sum.0.is_nan() && max.0 == f64::INFINITY);
    }
}
