//! Verifiable rewards and the translation metrics behind them.
//!
//! Everything here is a pure, deterministic function on text: the same attempt always earns the same
//! reward, on any machine, and no verifier can hang (patterns run in linear time, nothing is executed).
//! Reinforcement learning and evaluation share these functions, so a reward and the metric of the same
//! name cannot drift apart.
//!
//! Reading order: [`RewardFn`] and [`Attempt`] here, [`registry`] for how a record's `"verifier"` becomes
//! one, [`verifiers`] for those that ship, [`rubric`] for how several make one number, [`metrics`] for
//! BLEU and chrF, [`guards`] for what is watched but not rewarded, with [`language`] for what is in another one.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod args;
mod error;
pub mod guards;
pub mod language;
pub mod metrics;
pub mod registry;
pub mod rubric;
pub mod verifiers;

pub use args::Args;
pub use error::RewardError;
pub use registry::{Registry, Verifier};
pub use rubric::{RewardBreakdown, RewardPart, Rubric};

use serde_json::Value;

/// A reward: a number for an attempt, or `None` where the attempt's prompt gives it nothing to judge.
///
/// Implemented by every closure of the right type; [`Registry::register`] makes one known by name.
pub trait RewardFn: Send + Sync {
    /// The reward, by custom 0 to 1; `None` keeps this function out of the attempt's total.
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64>;

    /// Whether `score` is `None` for every attempt that carries no reference.
    fn needs_reference(&self) -> bool {
        false
    }
}

impl<F: Fn(&Attempt<'_>) -> Option<f64> + Send + Sync> RewardFn for F {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        self(attempt)
    }
}

/// One completion with what is known about its prompt, e.g.
/// `Attempt { source: Some("the tower"), ..Attempt::new("Translate …: the tower", "der Turm") }`.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The prompt as a person would read it, without the chat template.
    pub prompt: &'a str,
    /// What the model wrote, without special tokens.
    pub completion: &'a str,
    /// The text to be translated, where the record has one.
    pub source: Option<&'a str>,
    /// The right answer or a reference translation, where the record has one.
    pub reference: Option<&'a str>,
    /// The record's `"args"`, for reward functions of your own; ours have read them beforehand.
    pub args: &'a Value,
    /// Tokens in the completion, its end-of-turn included.
    pub completion_tokens: usize,
    /// The most tokens the completion could have had.
    pub max_completion_length: usize,
    /// Whether the model ended its turn itself, rather than running into the limit.
    pub finished: bool,
}

impl<'a> Attempt<'a> {
    /// An attempt that ended by itself, about which nothing else is known: its length is 0 of 0 tokens.
    pub fn new(prompt: &'a str, completion: &'a str) -> Self {
        let (source, reference, args) = (None, None, &Value::Null);
        Self {
            prompt,
            completion,
            source,
            reference,
            args,
            completion_tokens: 0,
            max_completion_length: 0,
            finished: true,
        }
    }
}
