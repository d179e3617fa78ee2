//! Prompts → groups of completions → rewards → advantages: what reinforcement learning trains on.

mod batch;
mod group;
mod metrics;
mod prompts;

pub use batch::{PolicyLoss, RolloutBatch, RolloutSequence};
pub use group::{Group, Rollout, Sampler};
pub use metrics::{evaluation, rollout_metrics};
pub use prompts::{Prompt, Prompts};
