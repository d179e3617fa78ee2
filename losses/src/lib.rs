//! Every training loss as a small formula over per-token log-probabilities.
//!
//! A loss knows no tokenizer, model or stage. It never divides by a size it found itself: each
//! token comes with the weight that its denominator gave it ([`Denominator`]), counted over the
//! whole optimizer step, so gradient accumulation and packing change nothing.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod advantages;
mod cross_entropy;
mod denominator;
mod kl;
mod off_policy;
mod policy_gradient;
pub mod preference;
mod supervised;

pub use advantages::{
    ScaleRewards, advantages, leave_one_out_advantages, normalized_leave_one_out_advantages,
    normalized_sum_advantages,
};
pub use cross_entropy::cross_entropy;
pub use denominator::{Denominator, LossType};
pub use kl::{KlEstimator, kl};
pub use off_policy::{GammaShape, gamma_weights, off_policy_mask};
pub use policy_gradient::{
    HostTokens, ImportanceLevel, PolicyGradientOptions, PolicyGradientStats, PolicyObjective,
    PolicyTokens, policy_gradient, policy_gradient_stats,
};
pub use supervised::{SupervisedLoss, TokenLoss, TokenStatistics};
