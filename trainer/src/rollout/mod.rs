//! Prompts → groups of completions → rewards → advantages: what reinforcement learning trains on.

mod batch;
mod group;
mod judges;
mod metrics;
mod prompts;

pub use batch::{PolicyLoss, PolicyLossOptions, RolloutBatch, RolloutSequence};
pub use group::{Estimator, Group, Rollout, Sampler};
pub use judges::{RewardFunctions, rubric, watched};
pub use metrics::{evaluation, rollout_metrics};
pub use prompts::{Prompt, Prompts};
