use std::fs;

use datasets::{ChatTokenizer, Tokenizer};
use model::ModelConfig;
use serde_json::Value;

use super::Findings;

/// Adds what seems wrong with a model's files: what other programs will read of them, and the
/// tokenizer against the embedding.
pub fn model_files(
    findings: &mut Findings,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    chat: Option<&ChatTokenizer>,
) {
    let (known, rows) = (tokenizer.vocab_size(), config.vocab_size);
    if known > rows {
        findings.warn(
            format!(
                "the tokenizer has {known} tokens and the embedding {rows} rows: a text with one of \
                 the last {} tokens ends the run",
                known - rows
            ),
            "use the tokenizer that the model came with",
        );
    }
    let path = tokenizer.dir().join("generation_config.json");
    let generation: Option<Value> = fs::read(&path)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok());
    // Without the file transformers goes by config.json.
    let (file, ends) = match &generation {
        Some(generation) => ("generation_config.json", ids(&generation["eos_token_id"])),
        None => ("config.json", config.eos_token_ids.clone()),
    };
    let spelt = |id: u32| tokenizer.id_to_token(id).unwrap_or_default();
    if let Some(end) = chat.and_then(ChatTokenizer::end_of_turn_id)
        && !ends.contains(&end)
    {
        findings.warn(
            format!(
                "{file} does not have {} ({end}), which ends a turn, as an eos_token_id: other \
                 programs will not stop there (Keep does)",
                spelt(end)
            ),
            format!("add {end} to the list eos_token_id of generation_config.json"),
        );
    }
    let pad = generation.as_ref().map(|g| ids(&g["pad_token_id"]));
    if let Some(&pad) = pad.iter().flatten().next()
        && ends.len() > 1
        && ends.contains(&pad)
    {
        findings.warn(
            format!(
                "{file} has the padding token {} ({pad}) as an eos_token_id",
                spelt(pad)
            ),
            "take it out of the list: other programs may end an answer before it begins",
        );
    }
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(values) => values.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}
