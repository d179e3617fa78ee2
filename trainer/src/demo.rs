//! What the demo trains: a corpus, a tokenizer and an untrained model, made on the spot.

use std::path::{Path, PathBuf};

use datasets::demo::{self, Sizes};
use kernels::device::OpenDevice;
use model::checkpoint::Dtype;
use model::config::Gemma2Shape;
use model::{CausalLm, ModelConfig};
use telemetry::StagedDir;

use crate::TrainError;
use crate::recipe::StageName;

/// The untrained model's matrices have this standard deviation, as Gemma's do.
const INITIALIZER_RANGE: f32 = 0.02;

/// Where the demo's parts lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demo {
    /// The untrained model with its tokenizer.
    pub base: PathBuf,
    data: PathBuf,
}

impl Demo {
    /// Makes what is missing in `output/demo`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn prepare(output: &Path, seed: u64, device: &OpenDevice) -> Result<Self, TrainError> {
        let demo = Demo {
            base: output.join("demo").join("base"),
            data: output.join("demo").join("data"),
        };
        if !demo.base.exists() {
            let corpus = |error| TrainError::Usage(format!("the demo's corpus: {error}"));
            demo::write(&demo.data, seed, Sizes::default()).map_err(corpus)?;
            let staged = StagedDir::create(&demo.base)?;
            let tokenizer = demo::tokenizer::write(staged.path(), seed).map_err(corpus)?;
            let vocab_size = tokenizer.get_vocab_size(true);
            let model = untrained(vocab_size, seed, device)?;
            model.save(staged.path(), Dtype::Float32)?;
            staged.commit()?;
        }
        Ok(demo)
    }

    /// The training file of a stage.
    pub fn train_data(&self, stage: StageName) -> PathBuf {
        self.data.join(format!("{stage}.jsonl"))
    }

    /// The held-out prompts.
    pub fn eval_data(&self) -> PathBuf {
        self.data.join("eval.jsonl")
    }
}

fn untrained(vocab_size: usize, seed: u64, device: &OpenDevice) -> Result<CausalLm, TrainError> {
    let config = ModelConfig::demo_gemma2(&Gemma2Shape {
        vocab_size,
        hidden_size: 192,
        intermediate_size: 576,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 48,
        sliding_window: 64,
        max_position_embeddings: 2048,
        bos_token_id: 2,
        eos_token_id: 1,
        pad_token_id: 0,
    })?;
    let dtype = burn::tensor::DType::F32;
    Ok(CausalLm::random(
        config,
        seed,
        INITIALIZER_RANGE,
        &device.device,
        dtype,
    ))
}
