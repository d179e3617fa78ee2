//! What a decoder looks like: Hugging Face's `config.json`, parsed once into a type that cannot be
//! wrong.
//!
//! Defaults of missing keys and the meaning of every key are those of transformers 5.23's classes
//! (`Gemma2Config`, `Gemma3TextConfig`, `Qwen2Config`, `Qwen3Config`), which also read the spelling
//! of 2024.

mod decoder;
mod demo;
mod fields;
mod layers;
mod parse;
mod rope;
mod tensors;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, path::Path};

use crate::checkpoint::Dtype;

pub use crate::error::ConfigError;
pub use demo::Gemma2Shape;
pub use tensors::TensorSpec;
pub(crate) use tensors::{EMBEDDING, LM_HEAD};

/// A supported decoder: every size is positive, every layer has a kind, and nothing in it needs
/// checking again.
///
/// Two configurations are equal where they mean the same model, however their files spell it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Which of the four decoders it is.
    pub family: Family,
    /// Rows of the embedding, padding rows included: the log-softmax runs over all of them.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; even. `num_attention_heads * head_dim` need not be `hidden_size`.
    pub head_dim: usize,
    /// The ε of every RMSNorm.
    pub rms_norm_eps: f64,
    /// Whether the LM head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether q, k and v projections have a bias (Qwen2); the output projection never has one.
    pub attention_bias: bool,
    /// Activation of the feed-forward gate. A file may give either family either one.
    pub hidden_activation: HiddenActivation,
    /// What q·k is multiplied with: `query_pre_attn_scalar^-0.5` (Gemma) or `head_dim^-0.5` (Qwen).
    pub query_scale: f64,
    /// The cap c of `c·tanh(score/c)`, after scaling and before the mask (Gemma 2).
    pub attn_logit_softcapping: Option<f64>,
    /// The cap c of `c·tanh(logit/c)` (Gemma).
    pub final_logit_softcapping: Option<f64>,
    /// Kind of each layer; as many as `num_hidden_layers`.
    pub layer_kinds: Vec<LayerKind>,
    /// Tokens that a sliding layer sees, the query's own among them: i attends to j where `i -
    /// window < j <= i`. `Some` exactly where a layer is sliding.
    pub sliding_window: Option<usize>,
    /// Rotary embedding of full layers.
    pub rope_full: Rope,
    /// Rotary embedding of sliding layers; differs from that of full ones in Gemma 3.
    pub rope_sliding: Rope,
    /// Longest sequence the model was made for.
    pub max_position_embeddings: usize,
    /// What the file says the weights are stored in, where it says so;
    /// [`crate::checkpoint::Checkpoint::dtype`] looks.
    pub dtype: Option<Dtype>,
    /// Token that begins a document, which Qwen's files give and yet do not use: see
    /// [`Self::uses_bos`].
    pub bos_token_id: Option<u32>,
    /// Tokens that end a generation; the file may name one, several or none.
    pub eos_token_ids: Vec<u32>,
    /// Padding token, which Keep never feeds to a model.
    pub pad_token_id: Option<u32>,
    raw: Raw,
}

/// A kind of decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `gemma2`: soft-caps, every other layer sliding.
    Gemma2,
    /// `gemma3_text`, and the text half of `gemma3`: q and k norms, two rotary bases.
    Gemma3,
    /// `qwen2`, Qwen2.5 among them: biases on q, k and v.
    Qwen2,
    /// `qwen3`: q and k norms.
    Qwen3,
}

/// What a layer's queries may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// Everything before them.
    Full,
    /// The last `sliding_window` tokens.
    Sliding,
}

/// Activation of the feed-forward gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HiddenActivation {
    /// `gelu_pytorch_tanh`: x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))).
    GeluTanh,
    /// `silu`: x · σ(x).
    Silu,
}

/// A rotary embedding: the angle of pair k at position p is `p / (linear_factor · theta^(2k /
/// head_dim))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// What positions are divided by: 1, or 8 in the full layers of Gemma 3 from 4B up.
    pub linear_factor: f64,
}

impl ModelConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// The file cannot be read, is not JSON, describes an unsupported model, or makes no sense.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = dir.as_ref().join("config.json");
        match std::fs::read(&path) {
            Ok(json) => Self::from_json(&json, &path),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Parses the contents of a `config.json`; `path` only appears in errors.
    ///
    /// # Errors
    /// The contents are not JSON, describe an unsupported model, or make no sense.
    pub fn from_json(json: &[u8], path: &Path) -> Result<Self, ConfigError> {
        parse::parse(json, path)
    }

    /// A small model in the shape of Gemma 2, with a `config.json` that transformers reads.
    ///
    /// # Errors
    /// The shape makes no sense, for instance heads that are no multiple of the key-value heads.
    pub fn demo_gemma2(shape: &Gemma2Shape) -> Result<Self, ConfigError> {
        demo::demo_gemma2(shape)
    }

    /// The `config.json` this was parsed from, byte for byte.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw.0
    }

    /// [`Self::raw`] as JSON, its keys in the file's order.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::from_str(self.raw()).expect("raw() was parsed before")
    }

    /// The `config.json` to save a loaded decoder under, by the names of
    /// [`Self::expected_tensors`]: [`Self::raw`], or, where that is a multimodal model's, the
    /// decoder's own part of it as a `gemma3_text`.
    #[must_use]
    pub fn decoder_json(&self) -> Cow<'_, str> {
        decoder::decoder_json(self)
    }

    /// Kind, window and rotary embedding of a layer, counted from 0.
    #[must_use]
    pub fn layer(&self, index: usize) -> LayerShape {
        let kind = self.layer_kinds[index];
        LayerShape {
            kind,
            window: self.sliding_window.filter(|_| kind == LayerKind::Sliding),
            rope: self.rope(kind),
        }
    }

    /// Rotary embedding of the layers of a kind.
    #[must_use]
    pub fn rope(&self, kind: LayerKind) -> Rope {
        match kind {
            LayerKind::Full => self.rope_full,
            LayerKind::Sliding => self.rope_sliding,
        }
    }

    /// Whether a document begins with BOS: Gemma yes, Qwen no, whatever `bos_token_id` says.
    #[must_use]
    pub fn uses_bos(&self) -> bool {
        self.family.is_gemma()
    }

    /// What embeddings are multiplied with: √hidden_size in Gemma, rounded to the dtype of the
    /// computation (59.75, not 59.8665, for Gemma-2-9B in bfloat16), as transformers does. `None`
    /// in Qwen.
    #[must_use]
    pub fn embedding_scale(&self, dtype: Dtype) -> Option<f32> {
        let scale = (self.hidden_size as f64).sqrt();
        self.family.is_gemma().then(|| dtype.round(scale))
    }

    /// Every tensor of the model as Hugging Face names it, in the order of its modules.
    #[must_use]
    pub fn expected_tensors(&self) -> Vec<TensorSpec> {
        tensors::expected(self)
    }

    /// Number of parameters, a tied head counted once.
    #[must_use]
    pub fn num_parameters(&self) -> u64 {
        let tensors = self.expected_tensors().into_iter();
        tensors.fold(0, |sum: u64, tensor| {
            sum.saturating_add(tensor.num_elements() as u64)
        })
    }
}

/// What sets one layer of a model apart from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerShape {
    /// Full or sliding.
    pub kind: LayerKind,
    /// Tokens a query sees, itself included; `None` where it sees all before it.
    pub window: Option<usize>,
    /// Rotary embedding.
    pub rope: Rope,
}

impl Family {
    /// Gemma 2 or 3: norms of `1 + w`, four of them a layer, scaled embeddings, a leading BOS.
    #[must_use]
    pub fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    /// Whether queries and keys are normed by head before the rotary embedding.
    #[must_use]
    pub fn has_qk_norm(self) -> bool {
        matches!(self, Self::Gemma3 | Self::Qwen3)
    }
}

/// The file as it was. Its spelling is no part of what a configuration means, so it equals any
/// other.
#[derive(Clone, Debug)]
struct Raw(String);

impl PartialEq for Raw {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
