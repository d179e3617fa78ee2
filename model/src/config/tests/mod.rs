//! Configurations of real and of tiny models, in both spellings.

mod demo;
mod refusals;
mod rope_refusals;
mod sizes;
mod spelling;

use std::path::Path;

use serde_json::{Value, json};

use super::ModelConfig;
use crate::error::ConfigError;

fn parse(config: &Value) -> Result<ModelConfig, ConfigError> {
    ModelConfig::from_json(config.to_string().as_bytes(), Path::new("m/config.json"))
}

/// `config` with some keys set, or, where the value is `None`, removed.
fn with(config: &Value, changes: &[(&str, Option<Value>)]) -> Value {
    let mut changed = config.as_object().expect("an object").clone();
    for (key, value) in changes {
        match value {
            Some(value) => changed.insert((*key).to_owned(), value.clone()),
            None => changed.shift_remove(*key),
        };
    }
    Value::Object(changed)
}

/// The message for a configuration with one key changed; it always names the file.
fn refusal(config: &Value, key: &str, value: Value) -> String {
    let message = parse(&with(config, &[(key, Some(value))]))
        .unwrap_err()
        .to_string();
    assert!(message.starts_with("m/config.json: `"), "{message}");
    message
}

#[track_caller]
fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// A tiny Gemma 2 as transformers 5.23 writes it: every feature bites at this size.
fn gemma2() -> Value {
    json!({
        "architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "attn_logit_softcapping": 5.0, "bos_token_id": 2, "dtype": "float32", "eos_token_id": 1,
        "final_logit_softcapping": 7.0, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 72,
        "initializer_range": 0.02, "intermediate_size": 136,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "max_position_embeddings": 256, "model_type": "gemma2", "num_attention_heads": 6, "num_hidden_layers": 4,
        "num_key_value_heads": 2, "pad_token_id": 0, "query_pre_attn_scalar": 19, "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "sliding_window": 9,
        "tie_word_embeddings": true, "transformers_version": "5.23.0", "use_bidirectional_attention": null,
        "use_cache": true, "vocab_size": 512
    })
}

fn gemma3() -> Value {
    let (s, f) = ("sliding_attention", "full_attention");
    json!({
        "_sliding_window_pattern": 6, "architectures": ["Gemma3ForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "attn_logit_softcapping": null, "bos_token_id": 2, "dtype": "float32",
        "eos_token_id": 1, "final_logit_softcapping": null, "head_dim": 24, "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 72, "initializer_range": 0.02, "intermediate_size": 120, "layer_types": [s, s, s, s, s, f, s],
        "max_position_embeddings": 256, "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 7,
        "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 23, "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}
        },
        "sliding_window": 7, "tie_word_embeddings": true, "transformers_version": "5.23.0",
        "use_bidirectional_attention": false, "use_cache": true, "vocab_size": 512
    })
}

fn qwen2() -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": null, "dtype": "float32",
        "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 96, "initializer_range": 0.02,
        "intermediate_size": 160, "layer_types": ["full_attention", "full_attention"], "max_position_embeddings": 256,
        "max_window_layers": 28, "model_type": "qwen2", "num_attention_heads": 6, "num_hidden_layers": 2,
        "num_key_value_heads": 2, "pad_token_id": 0, "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}, "sliding_window": null,
        "tie_word_embeddings": false, "transformers_version": "5.23.0", "use_cache": true,
        "use_sliding_window": false, "vocab_size": 512
    })
}

fn qwen3() -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": null, "dtype": "float32", "eos_token_id": 2, "head_dim": 20, "hidden_act": "silu",
        "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 128,
        "layer_types": ["full_attention", "full_attention", "full_attention"], "max_position_embeddings": 256,
        "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 6, "num_hidden_layers": 3,
        "num_key_value_heads": 3, "pad_token_id": 0, "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}, "sliding_window": null,
        "tie_word_embeddings": true, "transformers_version": "5.23.0", "use_cache": true,
        "use_sliding_window": false, "vocab_size": 512
    })
}

/// The decoder of Gemma-3-4B as published: nested, and without whatever equals the class's default.
fn gemma3_4b() -> Value {
    json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
        "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024
        },
        "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
        "vision_config": {"hidden_size": 1152, "image_size": 896, "model_type": "siglip_vision_model"}
    })
}
