//! Gemma and Qwen decoders in burn, their checkpoints in Hugging Face's layout, and generation.
//!
//! Reading order: [`config`] (what a model is), `gemma2` (one family from top to bottom; the other
//! three differ in a few lines), [`Pass`] (what a block is told about its tokens), [`CausalLm`]
//! (a whole model, loaded and saved), [`generate`](mod@generate) (sampling from it).
//!
//! A block is written once: training, prefill and decoding run the same `forward`, and differ in
//! the [`Pass`] they hand it.
#![forbid(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

mod causal_lm;
pub mod checkpoint;
pub mod config;
mod copies;
pub mod error;
pub mod flops;
mod gemma2;
mod gemma3;
pub mod generate;
mod kv_cache;
mod layers;
mod lora;
mod part;
mod pass;
mod qwen2;
mod qwen3;
mod save;
mod streamed;

pub use causal_lm::{CausalLm, Decoder};
pub use config::ModelConfig;
pub use copies::Copies;
pub use error::Error;
pub use kv_cache::KvCache;
pub use layers::{Adapter, Embedding, Linear, Mlp, RmsNorm, Weights};
pub use lora::{LINEAR_MODULES, LoraConfig, MergeDifference, Trainable};
pub use part::Part;
pub use pass::Pass;
pub use save::{host_values, parameter_name};
pub use streamed::StreamedReads;
