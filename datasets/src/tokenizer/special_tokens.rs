//! The special tokens that a tokenizer's configuration names.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::DataError;

/// Special tokens by name: `bos_token` → `<bos>`, `eos_token` → `<eos>`, …
///
/// Read from `tokenizer_config.json`, and from `special_tokens_map.json` for what the former does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    named: BTreeMap<String, String>,
    additional: Vec<String>,
}

impl SpecialTokens {
    /// Reads them from a model folder; files that do not exist name nothing.
    pub fn from_dir(dir: &Path) -> Result<Self, DataError> {
        let mut tokens = Self::default();
        for file in ["tokenizer_config.json", "special_tokens_map.json"] {
            tokens.add_missing(&read_json_object(&dir.join(file))?.unwrap_or_default());
        }
        Ok(tokens)
    }

    /// A token by its name, such as `eos_token`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }

    /// All names and tokens, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named
            .iter()
            .map(|(name, token)| (name.as_str(), token.as_str()))
    }

    /// The tokens of `additional_special_tokens`.
    pub fn additional(&self) -> &[String] {
        &self.additional
    }

    fn add_missing(&mut self, config: &Map<String, Value>) {
        for (name, value) in config {
            if name.ends_with("_token")
                && let Some(token) = token_text(value)
            {
                self.named.entry(name.clone()).or_insert(token);
            }
        }
        if self.additional.is_empty()
            && let Some(Value::Array(tokens)) = config.get("additional_special_tokens")
        {
            self.additional = tokens.iter().filter_map(token_text).collect();
        }
    }

    /// Makes sure that each one is a single token: some tokenizer.json files hold an `eos_token` as a plain word.
    pub(super) fn add_to(&self, tokenizer: &mut tokenizers::Tokenizer) -> Result<(), String> {
        let added: Vec<_> = self
            .named
            .values()
            .chain(&self.additional)
            .filter(|token| tokenizer.token_to_id(token).is_some())
            .filter(|token| !tokenizer.get_added_vocabulary().is_special_token(token))
            .map(|token| tokenizers::AddedToken::from(token.as_str(), true))
            .collect();
        tokenizer
            .add_special_tokens(added)
            .map(|_| ())
            .map_err(|e| e.to_string())
    }
}

/// A token written as a string or as `{"content": …}`.
fn token_text(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
    Some(text.to_owned())
}

/// A JSON file as an object, `None` where the file does not exist.
pub(crate) fn read_json_object(path: &Path) -> Result<Option<Map<String, Value>>, DataError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(DataError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| DataError::Tokenizer {
            path: path.to_owned(),
            problem: format!("not a JSON object: {error}"),
            hint: "copy the file again from the original model".into(),
        })
}
