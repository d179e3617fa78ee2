//! A checkpoint: a model folder in Hugging Face's layout, and beside it what training needs to go
//! on as if it had not stopped.
//!
//! ```text
//! checkpoint-40/
//!   config.json model.safetensors tokenizer.json …   loads in transformers
//!   trainer_state/state.json                         step, the stage's own state
//!   adapter/                                         adapters as PEFT's folder, where they train
//!   trainer_state/moments.safetensors                AdamW's moments
//!   trainer_state/master.safetensors                 the float32 weights, where the model's are not
//!   trainer_state/checksums.json                     size and SHA-256 of all these files
//! ```
//!
//! Where adapters train, the model is the one with the adapters merged, for every other program, and
//! training goes on from `adapter/` and the model that the run began with.
//!
//! It is written aside, flushed to the disk and renamed, so it is there whole or not at all; what
//! happens to it later is found out when a run wants to go on from it.

mod checksums;
mod fingerprint;
mod generation_config;
mod starting;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use model::checkpoint::{Dtype, TensorData, TensorFile, TensorToWrite, write_tensor_file};
use model::{CausalLm, LoraConfig, MergeDifference, Trainable, host_values};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::{RunDir, StagedDir};

use crate::TrainError;
use crate::best::BestState;
use crate::optimizer::AdamW;
use crate::watched::WatchState;

pub use checksums::{Verified, verify};
pub use fingerprint::fingerprint;
pub use generation_config::{end_tokens, pad_token};
pub use starting::{Start, starting_checkpoint};

const STATE: &str = "trainer_state";
const ADAPTER: &str = "adapter";

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
    /// What is known of the watched metric.
    #[serde(default)]
    pub watch: WatchState,
    /// Whether the evaluation after the last step was cut short by a signal and is still to be made.
    #[serde(default)]
    pub lacks_evaluation: bool,
    /// Of the model that adapters were learnt beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Vec<(String, String)>>,
    /// Whether a list of checksums belongs to the checkpoint; older ones have none.
    #[serde(default)]
    pub has_checksums: bool,
}

/// A checkpoint that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// Its folder.
    pub path: PathBuf,
    /// The size of all its files.
    pub bytes: u64,
    /// How far the merged model is from the one in training, where adapters were merged.
    pub merge: Option<MergeDifference>,
}

/// What of a checkpoint is for other programs, beside the weights.
#[derive(Clone, Copy, Debug)]
pub struct ModelFolder<'a> {
    /// The model that the run began with, which has the tokenizer.
    pub source_dir: &'a Path,
    /// What weights are stored in.
    pub dtype: Dtype,
    /// The token that the model learns to end a turn with.
    pub end_of_turn: Option<u32>,
}

/// Writes `checkpoint-<step>`.
///
/// # Errors
/// A file cannot be written: the disk is full, or the folder is read-only. Older checkpoints stay
/// as they were.
pub fn save(
    run_dir: &RunDir,
    model: &CausalLm,
    optimizer: &AdamW,
    state: &TrainState,
    folder: ModelFolder,
) -> Result<Saved, TrainError> {
    let ModelFolder {
        source_dir, dtype, ..
    } = folder;
    let staged = StagedDir::create(run_dir.checkpoint_dir(state.step))?;
    let dir = staged.path();
    model.save(dir, dtype)?;
    copy_tokenizer(source_dir, dir)?;
    if let Some(end) = folder.end_of_turn {
        generation_config::add_end(dir, model.config(), end)?;
    }
    let mut merge = None;
    if model.lora().is_some() {
        model.save_adapters(&dir.join(ADAPTER), source_dir)?;
        merge = Some(model.merge_difference(dir)?);
    }
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
    if dtype != Dtype::Float32 && model.lora().is_none() {
        let parameters = model.parameters();
        let sizes = parameters.iter();
        let sizes = sizes.map(|(name, tensor)| (name.clone(), tensor.shape().num_elements()));
        write_flat(&state_dir.join("master.safetensors"), sizes, |name| {
            host_values(parameters[name].clone())
        })?;
    }
    let bytes = checksums::write(dir)?;
    Ok(Saved {
        path: staged.commit()?,
        bytes,
        merge,
    })
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

/// Loads the model of a checkpoint with its float32 weights, or that of `source_dir` with the
/// checkpoint's adapters, and the optimizer's moments.
///
/// # Errors
/// A file is missing or broken, or the checkpoint is one of other parameters than `trainable`.
pub fn restore(
    dir: &Path,
    source_dir: &Path,
    trainable: &Trainable,
    (device, dtype): (&Device, DType),
    optimizer: &mut AdamW,
) -> Result<CausalLm, TrainError> {
    check_adapters(dir, trainable)?;
    let source = match trainable.lora {
        Some(_) => source_dir,
        None => dir,
    };
    let (mut model, _) = CausalLm::load_to_train(source, device, dtype, trainable)?;
    if trainable.lora.is_some() {
        model = model.with_adapters(&dir.join(ADAPTER))?;
    }
    let master = dir.join(STATE).join("master.safetensors");
    if master.exists() {
        let file = TensorFile::open(&master)?;
        model = model.with_parameters(|name| Ok::<_, TrainError>(file.read_f32(name)?))?;
    }
    let moments = TensorFile::open(dir.join(STATE).join("moments.safetensors"))?;
    optimizer.restore(&moments, &device.clone().inner())?;
    Ok(model)
}

/// A recipe may change between a run's processes, but not in what its moments are of.
fn check_adapters(dir: &Path, trainable: &Trainable) -> Result<(), TrainError> {
    let adapter_dir = dir.join(ADAPTER);
    let stored = match adapter_dir.exists() {
        true => Some(LoraConfig::from_peft(&adapter_dir)?),
        false => None,
    };
    let wanted = trainable.lora.as_ref();
    let without_seed = wanted.map(|lora| LoraConfig {
        seed: 0,
        ..lora.clone()
    });
    if stored == without_seed {
        return Ok(());
    }
    let words = |lora: &Option<LoraConfig>| match lora {
        None => "lora_r = 0".to_owned(),
        Some(lora) => format!(
            "lora_r = {}, lora_alpha = {}, use_rslora = {}, lora_target_modules = {:?}",
            lora.r, lora.alpha, lora.use_rslora, lora.target_modules
        ),
    };
    Err(TrainError::Checkpoint(format!(
        "{} was trained with {}, and this run has {}\nhint: set these keys as they were, or start \
         afresh with `--resume never` and another --output",
        dir.display(),
        words(&stored),
        words(&without_seed)
    )))
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
