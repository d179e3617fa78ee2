//! Which parameters train, and low-rank adapters (LoRA, arXiv 2106.09685) with PEFT's conventions
//! and files.
//!
//! An adapter's parameters are called as PEFT calls them, without its prefix:
//! `model.layers.0.self_attn.q_proj.lora_A.weight`. With adapters, they alone train: no gradient of
//! a matrix among the others is ever computed. There is no dropout.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::TensorData;
use kernels::Segments;
use serde::Deserialize;
use serde_json::json;

use crate::causal_lm::checkpoint_dtype;
use crate::checkpoint::{
    self, Checkpoint, CheckpointError, Dtype, TensorFile, TensorToWrite, write_tensor_file,
};
use crate::config::{EMBEDDING, ModelConfig};
use crate::layers::mix;
use crate::streamed::Streamed;
use crate::{CausalLm, Error, host_values};

/// The linear layers of a block, where adapters may be; PEFT's `all-linear`.
pub const LINEAR_MODULES: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// The weights in a PEFT folder.
const ADAPTER_FILE: &str = "adapter_model.safetensors";
/// What they are, in a PEFT folder.
const CONFIG_FILE: &str = "adapter_config.json";
/// PEFT's prefix of a parameter's name.
const PREFIX: &str = "base_model.model.";

/// Which parameters train. The default is all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trainable {
    /// With adapters, nothing but them.
    pub lora: Option<LoraConfig>,
    /// Whether the embedding stays as it is, and with it a head that is tied to it.
    pub freeze_embeddings: bool,
    /// Whether nothing trains: a model to score and to generate with.
    pub frozen: bool,
    /// Whether what is frozen of a block is read from the model's file each time the block runs, and
    /// dropped after it.
    pub stream_frozen_blocks: bool,
}

/// What adapters are like.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Their rank, 1 or more.
    pub r: usize,
    /// The numerator of their scale.
    pub alpha: f64,
    /// Whether the scale is alpha / √r (rsLoRA, arXiv 2312.03732) and not alpha / r.
    pub use_rslora: bool,
    /// The linear layers that have one, of [`LINEAR_MODULES`].
    pub target_modules: Vec<String>,
    /// Seed of A.
    pub seed: u64,
}

impl Trainable {
    /// Whether the model's own parameter of this name trains.
    pub(crate) fn trains(&self, name: &str) -> bool {
        !self.frozen && self.lora.is_none() && !(self.freeze_embeddings && name == EMBEDDING)
    }

    /// Whether the model's own parameter of this name is not kept in memory.
    pub(crate) fn streams(&self, name: &str) -> bool {
        self.stream_frozen_blocks && !self.trains(name) && name.starts_with("model.layers.")
    }
}

impl LoraConfig {
    /// What B·A·x is multiplied by.
    pub fn scale(&self) -> f64 {
        match self.use_rslora {
            true => self.alpha / (self.r as f64).sqrt(),
            false => self.alpha / self.r as f64,
        }
    }

    /// Whether the layer of this name has an adapter.
    ///
    /// Example: `model.layers.0.self_attn.q_proj`.
    pub(crate) fn adapts(&self, layer: &str) -> bool {
        let module = layer.rsplit('.').next().unwrap_or(layer);
        self.target_modules.iter().any(|target| target == module)
    }

    /// The adapters' parameters of a model, with their shapes.
    fn parameters(&self, config: &ModelConfig) -> Vec<(String, [usize; 2])> {
        let mut parameters = Vec::new();
        for spec in config.expected_tensors() {
            let Some(layer) = spec.name.strip_suffix(".weight") else {
                continue;
            };
            if let ([output, input], true) = (spec.shape.as_slice(), self.adapts(layer)) {
                parameters.push((format!("{layer}.lora_A.weight"), [self.r, *input]));
                parameters.push((format!("{layer}.lora_B.weight"), [*output, self.r]));
            }
        }
        parameters
    }

    /// What the `adapter_config.json` of a PEFT folder says; the seed of A is not in it.
    ///
    /// # Errors
    /// The file is missing, or not one that [`CausalLm::save_adapters`] wrote.
    pub fn from_peft(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(CONFIG_FILE);
        let json = std::fs::read(&path).map_err(|source| CheckpointError::Read {
            path: path.clone(),
            source,
        })?;
        let stored: PeftConfig =
            serde_json::from_slice(&json).map_err(|error| CheckpointError::Broken {
                path,
                problem: error.to_string(),
            })?;
        Ok(LoraConfig {
            r: stored.r,
            alpha: stored.lora_alpha,
            use_rslora: stored.use_rslora,
            target_modules: stored.target_modules,
            seed: 0,
        })
    }

    /// PEFT's `adapter_config.json`.
    fn to_peft(&self, base_model: &Path) -> String {
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_model.display().to_string(),
            "r": self.r,
            "lora_alpha": self.alpha,
            "use_rslora": self.use_rslora,
            "target_modules": self.target_modules,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": true,
            "inference_mode": true,
            "modules_to_save": null,
        });
        serde_json::to_string_pretty(&config).expect("JSON values always serialize") + "\n"
    }
}

/// What is read of `adapter_config.json`.
#[derive(Deserialize)]
struct PeftConfig {
    r: usize,
    lora_alpha: f64,
    use_rslora: bool,
    target_modules: Vec<String>,
}

impl CausalLm {
    /// What its adapters are like, where it has some.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.trainable().lora.as_ref()
    }

    /// Writes its adapters as a PEFT folder that holds none, in float32.
    ///
    /// # Errors
    /// A file exists or cannot be written.
    ///
    /// # Panics
    /// It has no adapters.
    pub fn save_adapters(&self, dir: &Path, base_model: &Path) -> Result<(), Error> {
        let lora = self.lora().expect("a model with adapters");
        let write_error = |path: &Path, bytes: usize| {
            let (path, bytes) = (path.to_owned(), bytes as u64);
            move |source| CheckpointError::Write {
                path,
                bytes,
                source,
            }
        };
        std::fs::create_dir(dir).map_err(write_error(dir, 0))?;
        let json = lora.to_peft(base_model);
        let path = dir.join(CONFIG_FILE);
        std::fs::write(&path, &json).map_err(write_error(&path, json.len()))?;
        let parameters = self.parameters();
        let tensors: Vec<TensorToWrite> = lora
            .parameters(self.config())
            .into_iter()
            .map(|(name, shape)| TensorToWrite {
                name: format!("{PREFIX}{name}"),
                shape: shape.to_vec(),
                dtype: Dtype::Float32,
            })
            .collect();
        write_tensor_file(&dir.join(ADAPTER_FILE), &tensors, |tensor| {
            let values = host_values(parameters[&tensor.name[PREFIX.len()..]].clone());
            Ok::<_, CheckpointError>(checkpoint::TensorData::Float32(Cow::Owned(values)))
        })?;
        Ok(())
    }

    /// The model with the adapters of a PEFT folder that [`Self::save_adapters`] wrote.
    ///
    /// # Errors
    /// A tensor is missing, or has another shape than this model's.
    ///
    /// # Panics
    /// It has no adapters.
    pub fn with_adapters(self, dir: &Path) -> Result<Self, Error> {
        let lora = self.lora().expect("a model with adapters");
        let path = dir.join(ADAPTER_FILE);
        let file = TensorFile::open(&path)?;
        let wanted = lora.parameters(self.config());
        for (name, shape) in &wanted {
            let stored = file.tensor(&format!("{PREFIX}{name}"))?.shape;
            if stored != shape {
                let problem =
                    format!("`{PREFIX}{name}` is {stored:?}, and these adapters are {shape:?}");
                return Err(CheckpointError::Broken { path, problem }.into());
            }
        }
        self.with_some_parameters(|name| {
            let known = wanted.iter().any(|(wanted, _)| wanted == name);
            let values = known.then(|| file.read_f32(&format!("{PREFIX}{name}")));
            Ok::<_, Error>(values.transpose()?)
        })
    }

    /// How far the model that `dir` holds, with the adapters merged into its weights, is from this
    /// one, on a short fixed input. Of either model each block is read once, where it is not in memory.
    ///
    /// # Errors
    /// A tensor is missing there, or a file cannot be read.
    ///
    /// # Panics
    /// It has no adapters.
    pub fn merge_difference(&self, dir: &Path) -> Result<MergeDifference, Error> {
        assert!(self.lora().is_some(), "a model with adapters");
        let model = self.valid();
        let plain = model.without_adapters();
        let checkpoint = Checkpoint::open(dir)?;
        let dtype = checkpoint.dtype().unwrap_or(Dtype::Float32);
        let computed = checkpoint_dtype(self.dtype());
        let last_place = 2.0 * dtype.roundoff().max(computed.roundoff());
        let stored = Streamed::new(checkpoint, self.config(), self.dtype());
        let vocab = self.config().vocab_size as u32;
        let ids: Arc<[u32]> = (0..CHECKED_TOKENS).map(|i| (i * 37 + 3) % vocab).collect();
        let segments = Segments::from_lengths(&[ids.len()]);
        let [mut own, mut plain] = [&model, &plain].map(|model| model.packed_pass(&segments));
        let x = model.embed(&ids);
        let [mut apart, mut base, mut merged, mut moved] = [x.clone(), x.clone(), x.clone(), x];
        let layers = self.config().num_hidden_layers;
        for layer in 0..layers {
            let block = model.streamed_block(layer, &mut own).unwrap_or_default();
            let inputs = [(apart, &mut own), (base, &mut plain)];
            [apart, base] = model.replaced_layer(layer, inputs, block);
            let block = stored.take(layer, (layer + 1 < layers).then_some(layer + 1))?;
            let input = [(merged, &mut plain)];
            [merged] = model.replaced_layer(layer, input, block.clone());
            let move_by = |(name, data)| (name, moved_by(last_place, data));
            let block = block.into_iter().map(move_by).collect();
            [moved] = model.replaced_layer(layer, [(moved, &mut plain)], block);
        }
        let [apart, base, merged, moved] =
            [apart, base, merged, moved].map(|x| host_values(model.logits(model.norm(x))));
        Ok(MergeDifference {
            max: largest_difference(&apart, &merged),
            effect: largest_difference(&apart, &base),
            rounding: SAMPLES * largest_difference(&moved, &merged),
        })
    }
}

/// Tokens of the input on which a merge is checked.
const CHECKED_TOKENS: u32 = 16;
/// One rounding of everything is a sample of what rounding does; another may do four times as much.
const SAMPLES: f64 = 4.0;

/// Values of which every other one, without a pattern, is larger by this share and the rest smaller.
fn moved_by(share: f64, values: TensorData) -> TensorData {
    let shape = values.shape().clone();
    let move_one = |(index, value): (usize, f32)| {
        let sign = if mix(index as u64) & 1 == 0 {
            1.0
        } else {
            -1.0
        };
        (f64::from(value) * (1.0 + sign * share)) as f32
    };
    let values = values.iter::<f32>().enumerate().map(move_one).collect();
    TensorData::new(values, shape)
}

/// Logits of a merged model against those of its base with adapters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MergeDifference {
    /// The largest difference.
    pub max: f64,
    /// The largest difference that the adapters make.
    pub effect: f64,
    /// What rounding may explain of the first, measured: four times what it does to move every
    /// weight by one in its last place, in the coarser of the stored and the computed dtype.
    pub rounding: f64,
}

impl MergeDifference {
    /// Whether the merge is the model but for rounding. NaN is not.
    pub fn is_rounding(&self) -> bool {
        self.max <= self.rounding
    }
}

/// Whether adapters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adapters {
    On,
    Off,
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |max, d| if d.is_nan() { d } else { max.max(d) })
}
