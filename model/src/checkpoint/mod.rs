//! Weights on disk in Hugging Face's layout: safetensors, in one file or in shards.
//!
//! Reading takes a tensor from its file when it is asked for; writing asks for a tensor when its turn
//! comes. Neither ever holds more than one tensor, so a checkpoint may be larger than
//! memory.

mod dtype;
mod file;
mod header;
mod merge;
mod names;
mod reader;
mod shards;
mod tensors;
mod validate;
mod writer;

#[cfg(test)]
mod tests;

pub use crate::error::{CheckpointError, MergeError, TensorProblem};
pub use dtype::Dtype;
pub use file::{TensorFile, TensorView};
pub use merge::Merge;
pub use reader::Checkpoint;
pub use tensors::{OwnedTensor, read_tensors, write_tensors};
pub use validate::{LoadReport, LoadWarning};
pub use writer::{
    DEFAULT_MAX_SHARD_BYTES, TensorData, TensorToWrite, Written, write_checkpoint,
    write_tensor_file,
};
