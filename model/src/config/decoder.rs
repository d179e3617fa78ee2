//! The `config.json` of a decoder alone, taken out of a multimodal one.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::ModelConfig;

/// Keys that a multimodal file gives for the model as a whole.
const OUTER: [&str; 6] = [
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "tie_word_embeddings",
    "dtype",
    "torch_dtype",
];

pub(super) fn decoder_json(config: &ModelConfig) -> Cow<'_, str> {
    let whole = config.to_json();
    let Some(Value::Object(mut decoder)) = whole.get("text_config").cloned() else {
        return Cow::Borrowed(config.raw());
    };
    for key in OUTER {
        if let Some(value) = whole.get(key) {
            decoder.insert(key.to_owned(), value.clone());
        }
    }
    // A nested configuration may leave out what a flat one has to say.
    for (key, value) in [
        ("architectures", json!(["Gemma3ForCausalLM"])),
        ("model_type", json!("gemma3_text")),
        ("vocab_size", json!(config.vocab_size)),
        ("hidden_size", json!(config.hidden_size)),
        ("intermediate_size", json!(config.intermediate_size)),
        ("num_hidden_layers", json!(config.num_hidden_layers)),
        ("num_attention_heads", json!(config.num_attention_heads)),
        ("num_key_value_heads", json!(config.num_key_value_heads)),
        ("head_dim", json!(config.head_dim)),
    ] {
        decoder.insert(key.to_owned(), value);
    }
    let text = serde_json::to_string_pretty(&decoder).expect("JSON values always serialize");
    Cow::Owned(text + "\n")
}
