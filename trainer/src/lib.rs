//! The training program: four stages, one loop, one command line.
//!
//! Reading order: [`stage`] (what a stage is), [`stages`] (the stages, each read like a script),
//! [`train_loop`] (what they share: clip, step, log, evaluate, save, stop), [`run`] (a run from its
//! recipe to its last checkpoint), [`commands`] (the command line's verbs).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod answers;
pub mod best;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod control;
pub mod demo;
pub mod error;
pub mod evaluate;
pub mod forward;
mod going_back;
pub mod inspect;
pub mod interrupt;
pub mod monitor;
pub mod optimizer;
pub mod plan;
pub mod preflight;
pub mod recipe;
pub mod replay;
pub mod rollout;
pub mod run;
pub mod say;
pub mod schedule;
pub mod sources;
pub mod stage;
pub mod stages;
pub mod table;
pub mod train_loop;
pub mod trainable;
pub mod watched;

pub use error::TrainError;
