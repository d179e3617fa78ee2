//! The training program: four stages, one loop, one command line.
//!
//! Reading order: [`stage`] (what a stage is), [`stages`] (the stages, each read like a script),
//! [`train_loop`] (what they share: clip, step, log, evaluate, save, stop), [`run`] (a run from its
//! recipe to its last checkpoint), [`commands`] (the command line's verbs).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod best;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod demo;
pub mod error;
pub mod forward;
pub mod interrupt;
pub mod monitor;
pub mod optimizer;
pub mod plan;
pub mod recipe;
pub mod rollout;
pub mod run;
pub mod say;
pub mod schedule;
pub mod stage;
pub mod stages;
pub mod table;
pub mod train_loop;

pub use error::TrainError;
