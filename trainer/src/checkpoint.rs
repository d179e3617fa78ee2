//! A checkpoint: a model folder in Hugging Face's layout, and beside it what training needs to go
//! on as if it had not stopped.
//!
//! ```text
//! checkpoint-40/
//!   config.json model.safetensors tokenizer.json …   loads in transformers
//!   trainer_state/state.json                         step, the stage's own state
//!   trainer_state/moments.safetensors                AdamW's moments
//!   trainer_state/master.safetensors                 the float32 weights, where the model's are not
//!   trainer_state/checksums.json                     size and SHA-256 of all these files
//! ```
//!
//! It is written aside, flushed to the disk and renamed, so it is there whole or not at all; what
//! happens to it later is found out when a run wants to go on from it.

mod checksums;
mod starting;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use model::checkpoint::{
    Dtype, TensorData, TensorFile, TensorToWrite, read_tensors, write_tensor_file,
};
use model::{CausalLm, host_values};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::{RunDir, StagedDir};

use crate::TrainError;
use crate::best::BestState;
use crate::optimizer::AdamW;

pub use checksums::{Verified, verify};
pub use starting::{Start, starting_checkpoint};

const STATE: &str = "trainer_state";

/// What training goes on from, besides weights and moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Optimizer steps taken.
    pub step: u64,
    /// The step at which the run ends.
    pub total_steps: u64,
    /// The stage that wrote it.
    pub stage: String,
    /// The stage's own state.
    pub stage_state: Value,
    /// The best evaluation so far; older checkpoints have none.
    #[serde(default)]
    pub best: BestState,
    /// Whether a list of checksums belongs to the checkpoint; older ones have none.
    #[serde(default)]
    pub has_checksums: bool,
}

/// Writes `checkpoint-<step>` and returns it with its size.
///
/// # Errors
/// A file cannot be written: the disk is full, or the folder is read-only. Older checkpoints stay
/// as they were.
pub fn save(
    run_dir: &RunDir,
    model: &CausalLm,
    optimizer: &AdamW,
    state: &TrainState,
    tokenizer_dir: &Path,
    dtype: Dtype,
) -> Result<(PathBuf, u64), TrainError> {
    let staged = StagedDir::create(run_dir.checkpoint_dir(state.step))?;
    let dir = staged.path();
    model.save(dir, dtype)?;
    copy_tokenizer(tokenizer_dir, dir)?;
    let state_dir = dir.join(STATE);
    fs::create_dir(&state_dir).map_err(TrainError::io(&state_dir))?;
    let json = serde_json::to_vec(state).expect("a state serialises");
    let state_file = state_dir.join("state.json");
    fs::write(&state_file, json).map_err(TrainError::io(&state_file))?;

    let moments = optimizer.moments();
    let parts = moments.iter().flat_map(|(name, of_parameter)| {
        let parts = of_parameter.parts().into_iter();
        parts.map(move |(part, count)| (format!("{part}.{name}"), count))
    });
    write_flat(
        &state_dir.join("moments.safetensors"),
        parts,
        |name| match name.split_once('.') {
            Some((part, name)) => moments[name].part(part),
            None => unreachable!("a part's name has a dot"),
        },
    )?;
    if dtype != Dtype::Float32 {
        let parameters = model.parameters();
        let sizes = parameters.iter();
        let sizes = sizes.map(|(name, tensor)| (name.clone(), tensor.shape().num_elements()));
        write_flat(&state_dir.join("master.safetensors"), sizes, |name| {
            host_values(parameters[name].clone())
        })?;
    }
    let bytes = checksums::write(dir)?;
    Ok((staged.commit()?, bytes))
}

/// Copies what makes a model folder's tokenizer, byte for byte.
pub fn copy_tokenizer(from: &Path, to: &Path) -> Result<(), TrainError> {
    for file in datasets::Tokenizer::files(from) {
        let name = file.file_name().expect("a file has a name");
        fs::copy(&file, to.join(name)).map_err(TrainError::io(&file))?;
    }
    Ok(())
}

/// The training state of a checkpoint.
///
/// # Errors
/// The folder is no checkpoint of this program.
pub fn read_state(dir: &Path) -> Result<TrainState, TrainError> {
    let path = dir.join(STATE).join("state.json");
    let json = fs::read(&path).map_err(TrainError::io(&path))?;
    serde_json::from_slice(&json)
        .map_err(|error| TrainError::Checkpoint(format!("{}: {error}", path.display())))
}

/// Loads the model of a checkpoint with its float32 weights, and the optimizer's moments.
pub fn restore(
    dir: &Path,
    device: &Device,
    dtype: DType,
    optimizer: &mut AdamW,
) -> Result<CausalLm, TrainError> {
    let (mut model, _) = CausalLm::load(dir, device, dtype)?;
    let master = dir.join(STATE).join("master.safetensors");
    if master.exists() {
        let file = TensorFile::open(&master)?;
        model = model.with_parameters(|name| Ok::<_, TrainError>(file.tensor(name)?.to_f32()))?;
    }
    let path = dir.join(STATE).join("moments.safetensors");
    let moments = read_tensors(&path)?.into_iter();
    let moments = moments.map(|tensor| (tensor.name, tensor.values)).collect();
    optimizer
        .restore(moments, &device.clone().inner())
        .map_err(|why| TrainError::Checkpoint(format!("{}: {why}", path.display())))?;
    Ok(model)
}

/// Writes flat float32 tensors of these sizes, one after the other: the moments of all parameters at
/// once would be as much memory again as they are.
fn write_flat(
    path: &Path,
    sizes: impl Iterator<Item = (String, usize)>,
    values: impl Fn(&str) -> Vec<f32>,
) -> Result<(), TrainError> {
    let tensors: Vec<TensorToWrite> = sizes
        .map(|(name, count)| TensorToWrite {
            name,
            shape: vec![count],
            dtype: Dtype::Float32,
        })
        .collect();
    write_tensor_file(path, &tensors, |tensor| {
        Ok(TensorData::Float32(Cow::Owned(values(&tensor.name))))
    })
}
