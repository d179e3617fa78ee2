//! The weighted sum of checkpoints of one architecture, tensor by tensor.

use std::borrow::Cow;
use std::path::Path;

use super::{Checkpoint, TensorData, TensorToWrite, TensorView, Written, names, write_checkpoint};
use crate::config::{EMBEDDING, LM_HEAD, ModelConfig};
use crate::error::{CheckpointError, Error, MergeError};

/// Checkpoints that can be added up: the same decoder, the same tensors, the same shapes.
///
/// What the first one holds beside its decoder, such as the vision half of a multimodal model, has
/// no counterpart in a checkpoint that was trained from it, and is carried over as it is.
#[derive(Debug)]
pub struct Merge {
    config: ModelConfig,
    checkpoints: Vec<Checkpoint>,
    /// The first checkpoint's tensors, in the order of the model's modules.
    tensors: Vec<Source>,
}

/// A tensor of the first checkpoint.
#[derive(Debug)]
struct Source {
    /// Its name, whatever prefix the file puts before it.
    name: String,
    to_write: TensorToWrite,
}

impl Merge {
    /// Opens model folders and compares them, without reading a value. The first one gives
    /// `config.json`, the names in the file, and the dtype of every tensor.
    ///
    /// # Errors
    /// A folder is broken, or another model than the first.
    ///
    /// # Panics
    /// There is no folder.
    pub fn open<P: AsRef<Path>>(dirs: &[P]) -> Result<Self, Error> {
        let first = dirs.first().expect("at least one model to merge").as_ref();
        let config = ModelConfig::from_dir(first)?;
        let mut checkpoints = vec![Checkpoint::open(first)?];
        checkpoints[0].validate(&config)?;
        for dir in &dirs[1..] {
            let dir = dir.as_ref();
            let other = ModelConfig::from_dir(dir)?;
            let checkpoint = Checkpoint::open(dir)?;
            checkpoint.validate(&other)?;
            let mismatch = |differences: Vec<String>| MergeError {
                first: first.to_owned(),
                other: dir.to_owned(),
                differences,
            };
            if other.family != config.family {
                let families = format!(
                    "the first is {:?}, the other is {:?}",
                    config.family, other.family
                );
                return Err(mismatch(vec![families]).into());
            }
            // Tensors before keys: a shape says more than the width that it comes from.
            let mut differences = tensor_differences(&config, &checkpoints[0], &checkpoint);
            if differences.is_empty() {
                differences = config_differences(&config, &other);
            }
            if !differences.is_empty() {
                return Err(mismatch(differences).into());
            }
            checkpoints.push(checkpoint);
        }
        let tensors = sources(&config, &checkpoints[0])?;
        Ok(Self {
            config,
            checkpoints,
            tensors,
        })
    }

    /// Writes Σ wᵢ · modelᵢ with the first model's `config.json`, byte for byte, into a folder that
    /// holds neither. A product and a sum are float32, in the models' order; the result is rounded
    /// to the first model's dtype of the tensor. A weight of 0 leaves a model out, and a weight of
    /// 1 beside zeros keeps its bytes where the dtypes agree.
    ///
    /// # Errors
    /// A file exists, cannot be written, or cannot be read.
    ///
    /// # Panics
    /// There are not as many weights as models.
    pub fn write(
        &self,
        dir: &Path,
        weights: &[f32],
        max_shard_bytes: u64,
    ) -> Result<Written, CheckpointError> {
        assert_eq!(weights.len(), self.checkpoints.len(), "a weight each");
        let tensors: Vec<TensorToWrite> = self
            .tensors
            .iter()
            .map(|source| source.to_write.clone())
            .collect();
        write_checkpoint(
            dir,
            self.config.raw(),
            &tensors,
            max_shard_bytes,
            |tensor| -> Result<_, CheckpointError> {
                let source = self.tensors.iter().find(|s| s.to_write.name == tensor.name);
                self.merged(source.expect("only our own are asked for"), weights)
            },
        )
    }

    fn merged(&self, source: &Source, weights: &[f32]) -> Result<TensorData<'_>, CheckpointError> {
        let first = self.checkpoints[0].tensor(&source.name)?;
        if is_beside_the_decoder(&source.name) {
            return Ok(TensorData::Bytes(Cow::Borrowed(first.bytes)));
        }
        let mut parts = Vec::new();
        for (checkpoint, weight) in self.checkpoints.iter().zip(weights) {
            if *weight != 0.0 {
                let name = counterpart(&self.config, checkpoint, &source.name);
                let name = name.expect("compared when the models were opened");
                parts.push((*weight, checkpoint.tensor(name)?));
            }
        }
        if let [(1.0, only)] = parts.as_slice()
            && only.dtype == first.dtype
        {
            return Ok(TensorData::Bytes(Cow::Borrowed(only.bytes)));
        }
        let mut sum = vec![0.0; first.num_elements()];
        for (position, (weight, tensor)) in parts.iter().enumerate() {
            add_scaled(&mut sum, *weight, tensor, position == 0);
        }
        Ok(TensorData::Float32(Cow::Owned(sum)))
    }
}

/// `sum += weight · tensor`, or `sum = …` for the first, so that a −0 stays one. The tensor is
/// converted in pieces, so that only the sum is ever held whole.
fn add_scaled(sum: &mut [f32], weight: f32, tensor: &TensorView<'_>, is_first: bool) {
    const PIECE: usize = 1 << 16;
    let mut piece = vec![0.0; PIECE.min(sum.len())];
    let bytes = tensor.bytes.chunks(PIECE * tensor.dtype.num_bytes());
    for (sum, bytes) in sum.chunks_mut(PIECE).zip(bytes) {
        let values = &mut piece[..sum.len()];
        tensor.dtype.decode(bytes, values);
        for (sum, value) in sum.iter_mut().zip(&*values) {
            let product = weight * value;
            *sum = if is_first { product } else { *sum + product };
        }
    }
}

/// Whether a tensor is no part of the decoder, or one that every version computes anew.
fn is_beside_the_decoder(name: &str) -> bool {
    names::is_vision(name) || names::is_computed(name)
}

/// What `checkpoint` calls the tensor `name` of another one of the same model. Where head and
/// embedding are tied, a file may hold either one, or both.
fn counterpart<'a>(
    config: &ModelConfig,
    checkpoint: &Checkpoint,
    name: &'a str,
) -> Option<&'a str> {
    let tied = config.tie_word_embeddings && [EMBEDDING, LM_HEAD].contains(&name);
    let candidates = [
        Some(name),
        tied.then_some(EMBEDDING),
        tied.then_some(LM_HEAD),
    ];
    let mut candidates = candidates.into_iter().flatten();
    candidates.find(|candidate| checkpoint.contains(candidate))
}

/// Tensors that one has and the other lacks, and shapes that differ.
fn tensor_differences(config: &ModelConfig, first: &Checkpoint, other: &Checkpoint) -> Vec<String> {
    let mut differences = Vec::new();
    for name in first.names().filter(|name| !is_beside_the_decoder(name)) {
        let Some(there) = counterpart(config, other, name) else {
            differences.push(format!("the other has no tensor `{name}`"));
            continue;
        };
        match (first.tensor(name), other.tensor(there)) {
            (Ok(a), Ok(b)) if a.shape != b.shape => differences.push(format!(
                "tensor `{name}` is {:?} in the first and {:?} in the other",
                a.shape, b.shape
            )),
            (Err(error), _) | (_, Err(error)) => differences.push(error.to_string()),
            _ => {}
        }
    }
    for name in other.names().filter(|name| !is_beside_the_decoder(name)) {
        if counterpart(config, first, name).is_none() {
            differences.push(format!("the first has no tensor `{name}`"));
        }
    }
    differences
}

/// Keys of two configurations that make another model of the same tensors. Token ids, the longest
/// sequence and the stored dtype are the first model's whatever the other says: they are what sets
/// an instruction-tuned model's file apart from its base's.
fn config_differences(first: &ModelConfig, other: &ModelConfig) -> Vec<String> {
    let mut differences = Vec::new();
    macro_rules! compare {
        ($($key:ident),+) => {$(
            if first.$key != other.$key {
                differences.push(format!(
                    "config.json: {} is {:?} in the first and {:?} in the other",
                    stringify!($key), first.$key, other.$key
                ));
            }
        )+};
    }
    compare!(
        vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        rms_norm_eps,
        tie_word_embeddings,
        attention_bias,
        hidden_activation,
        query_scale,
        attn_logit_softcapping,
        final_logit_softcapping,
        layer_kinds,
        sliding_window,
        rope_full,
        rope_sliding
    );
    differences
}

/// The first checkpoint's tensors: the model's in the order of its modules, then what is beside it.
fn sources(config: &ModelConfig, checkpoint: &Checkpoint) -> Result<Vec<Source>, CheckpointError> {
    let expected: Vec<String> = config
        .expected_tensors()
        .into_iter()
        .map(|spec| spec.name)
        .filter(|name| checkpoint.contains(name))
        .collect();
    let others = checkpoint
        .names()
        .filter(|name| !expected.iter().any(|known| known == name));
    let names: Vec<&str> = expected.iter().map(String::as_str).chain(others).collect();
    names
        .into_iter()
        .map(|name| {
            let tensor = checkpoint.tensor(name)?;
            Ok(Source {
                name: name.to_owned(),
                to_write: TensorToWrite {
                    name: tensor.name.to_owned(),
                    shape: tensor.shape.to_vec(),
                    dtype: tensor.dtype,
                },
            })
        })
        .collect()
}
