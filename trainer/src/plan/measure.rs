//! The time of a step, from one micro-batch of a plan's size.

use std::time::Duration;

use burn::tensor::{DType, Device};
use datasets::{SupervisedTokens, TokenBatch};
use model::CausalLm;
use telemetry::Clock;

use super::StagePlan;
use crate::forward::Forward;
use crate::optimizer::{AdamW, GradientBuffer};
use crate::recipe::OptimizerSettings;

/// Models up to this size are measured with random weights.
pub const MAX_RANDOM_PARAMETERS: u64 = 500_000_000;

/// Standard deviation of random weights: their values do not change the time.
const STD: f32 = 0.02;

/// How long the parts of an optimizer step take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// Forward and backward of a micro-batch.
    pub micro_batch: Duration,
    /// The optimizer's step.
    pub optimizer: Duration,
}

impl StepTime {
    /// A whole step, sampling left out.
    pub fn step(self, micro_batches: u64) -> Duration {
        self.micro_batch.mul_f64(micro_batches as f64) + self.optimizer
    }
}

/// A model of the plan's shape with random weights.
pub fn random_model(plan: &StagePlan, device: &Device, dtype: DType) -> CausalLm {
    CausalLm::random(plan.job.config.clone(), 0, STD, device, dtype)
}

/// Runs a micro-batch of the planned size twice, the first time to warm up, and a step.
pub fn step_time(
    plan: &StagePlan,
    mut model: CausalLm,
    settings: &OptimizerSettings,
    clock: &dyn Clock,
) -> StepTime {
    if plan.job.copies {
        model.keep_copies();
    }
    let work = plan.job.work;
    let vocab = plan.job.config.vocab_size as u64;
    let sequences: Vec<SupervisedTokens> = (0..work.sequences)
        .map(|sequence| SupervisedTokens {
            ids: (0..work.length)
                .map(|position| ((sequence * 7919 + position * 104_729) % vocab) as u32)
                .collect(),
            loss_mask: (0..work.length).map(|position| position > 0).collect(),
        })
        .collect();
    let batch = TokenBatch::from_sequences(&sequences);
    let weights = vec![-1.0 / batch.num_supervised() as f32; batch.num_supervised()];
    let mut optimizer = AdamW::new(settings);
    let mut time = StepTime {
        micro_batch: Duration::ZERO,
        optimizer: Duration::ZERO,
    };
    for step in 1..=2 {
        let began = clock.elapsed();
        let mut gradients = GradientBuffer::default();
        let forward = Forward::new(&model, plan.job.recompute);
        let (loss, _) = forward.weighted_logprobs(&batch, &weights, 1.0);
        forward.backward(&loss, &mut gradients);
        let (scale, values) = gradients.clip(vec![loss.inner()], settings.max_grad_norm);
        // All that comes before the norm is done.
        values.wait();
        let passed = clock.elapsed();
        optimizer.step(&mut model, gradients, &scale, 0.0, step);
        let some = model.parameters().pop_first();
        some.map(|(_, parameter)| model::host_values(kernels::square_sum(parameter)));
        time = StepTime {
            micro_batch: passed - began,
            optimizer: clock.elapsed() - passed,
        };
    }
    time
}
