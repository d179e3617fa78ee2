//! Keep trains language models that translate superbly and keep their other skills.
//!
//! This package only gathers the libraries under one name. The training program is the crate
//! `trainer`.
#![forbid(unsafe_code)]

pub use {datasets, kernels, losses, model, rewards, telemetry};
