//! A tiny tokenizer and its chat template in a folder, for tests.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

pub(crate) const GEMMA_TOKENS: [&str; 5] = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<start_of_turn>",
    "<end_of_turn>",
];
pub(crate) const CHATML_TOKENS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// A model folder that is removed at the end of the test.
pub(crate) struct TestModel(PathBuf);

impl TestModel {
    /// A byte-level tokenizer of the given added tokens (ids from 0), 256 bytes and a few merges.
    pub(crate) fn new(name: &str, added: &[&str], config: Value, template: Option<&str>) -> Self {
        let dir = std::env::temp_dir().join(format!("keep-model-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut tokens: Vec<String> = ByteLevel::alphabet()
            .into_iter()
            .map(String::from)
            .collect();
        tokens.sort();
        let merges = [
            ("t", "o"),
            ("w", "e"),
            ("we", "r"),
            ("to", "wer"),
            ("Ġ", "tower"),
            ("Ċ", "Ċ"),
        ];
        tokens.extend(merges.map(|(a, b)| format!("{a}{b}")));
        let names = added.iter().map(|token| token.to_string()).chain(tokens);
        let vocab: serde_json::Map<String, Value> = names
            .enumerate()
            .map(|(id, token)| (token, json!(id)))
            .collect();
        let added: Vec<Value> = added
            .iter()
            .enumerate()
            .map(|(id, content)| {
                json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                       "normalized": false, "special": true})
            })
            .collect();
        // Spans trimmed by a post-processor, truncation and padding: a checkpoint may have them, we must not use them.
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let tokenizer = json!({
            "version": "1.0",
            "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 16}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 0,
                        "pad_type_id": 0, "pad_token": "<pad>"},
            "added_tokens": added, "normalizer": null, "pre_tokenizer": byte_level, "post_processor": byte_level,
            "decoder": byte_level, "model": {"type": "BPE", "vocab": vocab, "merges": merges},
        });
        std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        std::fs::write(dir.join("tokenizer_config.json"), config.to_string()).unwrap();
        if let Some(template) = template {
            std::fs::write(dir.join("chat_template.jinja"), template).unwrap();
        }
        Self(dir)
    }

    /// With `<bos>`, `<eos>` and Gemma's turn tokens.
    pub(crate) fn gemma(name: &str, template: Option<&str>) -> Self {
        Self::new(
            name,
            &GEMMA_TOKENS,
            json!({"bos_token": "<bos>", "eos_token": {"content": "<eos>"}}),
            template,
        )
    }

    /// With `<|im_start|>` and `<|im_end|>`, the latter as eos_token.
    pub(crate) fn chatml(name: &str, template: Option<&str>) -> Self {
        Self::new(
            name,
            &CHATML_TOKENS,
            json!({"bos_token": null, "eos_token": "<|im_end|>"}),
            template,
        )
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestModel {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
