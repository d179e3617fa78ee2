use datasets::Tokenizer;
use model::ModelConfig;

use super::Findings;
use crate::checkpoint;

/// Adds what seems wrong with a model's files: what other programs will read of them, and the
/// tokenizer against the embedding.
pub fn model_files(findings: &mut Findings, config: &ModelConfig, tokenizer: &Tokenizer) {
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
    let dir = tokenizer.dir();
    let ends = checkpoint::end_tokens(dir, config);
    if let Some(pad) = checkpoint::pad_token(dir)
        && ends.len() > 1
        && ends.contains(&pad)
    {
        findings.warn(
            format!(
                "generation_config.json has the padding token {} ({pad}) as an eos_token_id",
                tokenizer.id_to_token(pad).unwrap_or_default()
            ),
            "take it out of the list: other programs may end an answer before it begins",
        );
    }
}
