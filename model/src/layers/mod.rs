//! The parts that all families share. Field names are Hugging Face's, so a parameter's path in the
//! module is its name in the checkpoint.

mod adapter;
mod embedding;
mod linear;
mod mlp;
mod rms_norm;
mod weights;

pub use adapter::Adapter;
pub(crate) use adapter::merged;
pub use embedding::Embedding;
pub use linear::Linear;
pub use mlp::Mlp;
pub use rms_norm::RmsNorm;
pub use weights::Weights;
pub(crate) use weights::mix;
