//! Small models of our own, for the demo and for tests.

use std::path::Path;

use serde_json::{Value, json};

use super::ModelConfig;
use crate::error::ConfigError;

/// The shape of a small Gemma 2. `Gemma2Shape { vocab_size: 512, ..Default::default() }` is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemma2Shape {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream; a multiple of `num_attention_heads`, or transformers refuses
    /// it.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of blocks; those counted 0, 2, 4, … are sliding.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Tokens a sliding layer sees, the query's own among them.
    pub sliding_window: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// The token that begins a document.
    pub bos_token_id: u32,
    /// The token that ends it.
    pub eos_token_id: u32,
    /// The padding token.
    pub pad_token_id: u32,
}

impl Default for Gemma2Shape {
    fn default() -> Self {
        Self {
            vocab_size: 2048,
            hidden_size: 128,
            intermediate_size: 384,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 32,
            sliding_window: 64,
            max_position_embeddings: 512,
            bos_token_id: 2,
            eos_token_id: 1,
            pad_token_id: 0,
        }
    }
}

pub(super) fn demo_gemma2(shape: &Gemma2Shape) -> Result<ModelConfig, ConfigError> {
    let path = Path::new("the demo's config.json");
    let config = config_json(shape);
    let heads = shape.num_attention_heads;
    if heads > 0 && !shape.hidden_size.is_multiple_of(heads) {
        return Err(ConfigError::Invalid {
            path: path.into(),
            key: "hidden_size".into(),
            value: shape.hidden_size.to_string(),
            expected: format!("a multiple of `num_attention_heads` ({heads})"),
        });
    }
    let text = serde_json::to_string_pretty(&config).expect("JSON values always serialize") + "\n";
    ModelConfig::from_json(text.as_bytes(), path)
}

/// Both spellings at once (`dtype` and `torch_dtype`, `rope_parameters` and `rope_theta`), so that
/// any transformers since 4.42 reads it.
fn config_json(shape: &Gemma2Shape) -> Value {
    let layer_type = |i: usize| {
        if i.is_multiple_of(2) {
            "sliding_attention"
        } else {
            "full_attention"
        }
    };
    let layer_types: Vec<&str> = (0..shape.num_hidden_layers).map(layer_type).collect();
    json!({
        "architectures": ["Gemma2ForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "bos_token_id": shape.bos_token_id,
        "dtype": "float32",
        "eos_token_id": shape.eos_token_id,
        "final_logit_softcapping": 30.0,
        "head_dim": shape.head_dim,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": shape.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate_size,
        "layer_types": layer_types,
        "max_position_embeddings": shape.max_position_embeddings,
        "model_type": "gemma2",
        "num_attention_heads": shape.num_attention_heads,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_key_value_heads": shape.num_key_value_heads,
        "pad_token_id": shape.pad_token_id,
        "query_pre_attn_scalar": shape.head_dim,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "rope_theta": 10000.0,
        "sliding_window": shape.sliding_window,
        "tie_word_embeddings": true,
        "torch_dtype": "float32",
        "use_cache": true,
        "vocab_size": shape.vocab_size,
    })
}
