//! `generation_config.json`, by which other programs know where an answer ends.

use std::fs;
use std::path::Path;

use model::ModelConfig;
use serde_json::{Map, Value, json};
use telemetry::atomic::write_atomic;

use crate::TrainError;

const FILE: &str = "generation_config.json";

/// The tokens that a model folder says end an answer: those of `generation_config.json`, or where
/// that does not name any, of `config.json`.
pub fn end_tokens(dir: &Path, config: &ModelConfig) -> Vec<u32> {
    let named = read(dir).and_then(|fields| ids(fields.get("eos_token_id")?));
    named.unwrap_or_else(|| config.eos_token_ids.clone())
}

/// The padding token that `generation_config.json` names.
pub fn pad_token(dir: &Path) -> Option<u32> {
    let id = read(dir)?.get("pad_token_id")?.as_u64()?;
    u32::try_from(id).ok()
}

/// Adds the token that ends a turn to those that end an answer, for programs that go by the file. One
/// that has it stays as it is, byte for byte.
///
/// # Errors
/// The file cannot be written.
pub(super) fn add_end(dir: &Path, config: &ModelConfig, end: u32) -> Result<(), TrainError> {
    let mut ends = end_tokens(dir, config);
    if ends.contains(&end) {
        return Ok(());
    }
    ends.push(end);
    let of_config = || {
        let ids = [("bos", config.bos_token_id), ("pad", config.pad_token_id)];
        let known = ids.into_iter().filter_map(|(name, id)| Some((name, id?)));
        known
            .map(|(name, id)| (format!("{name}_token_id"), json!(id)))
            .collect()
    };
    let mut fields: Map<String, Value> = read(dir).unwrap_or_else(of_config);
    fields.insert("eos_token_id".to_owned(), json!(ends));
    // It says that nothing here is other than in config.json.
    fields.shift_remove("_from_model_config");
    let text = serde_json::to_string_pretty(&fields).expect("numbers and strings");
    // A copy of a read-only file is read-only: it is replaced.
    write_atomic(&dir.join(FILE), text + "\n")?;
    Ok(())
}

fn read(dir: &Path) -> Option<Map<String, Value>> {
    let json = fs::read(dir.join(FILE)).ok()?;
    serde_json::from_slice(&json).ok()
}

/// One id or a list of them.
fn ids(value: &Value) -> Option<Vec<u32>> {
    let one = |value: &Value| u32::try_from(value.as_u64()?).ok();
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        value => Some(vec![one(value)?]),
    }
}
