//! The demo's tokenizer: byte-level BPE trained on the demo's own text, in a folder that `transformers` can load too.

use super::write::write_whole;
use super::{DemoCorpus, DemoError};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// The number of tokens, special ones and single bytes included. Enough for nearly every word of the corpus to be one token:
/// a larger vocabulary would only make words of whole German numbers, a smaller one would make answers longer.
pub const VOCAB_SIZE: usize = 1536;

/// The special tokens in the order of their ids, which are Gemma's where Gemma has them: pad 0, eos 1, bos 2.
pub const SPECIAL_TOKENS: [&str; 5] = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<start_of_turn>",
    "<end_of_turn>",
];

/// Gemma 2's turns, with Gemma 3's rule for a system turn: its text opens the first user turn.
pub const CHAT_TEMPLATE: &str = include_str!("chat_template.jinja");

/// How many documents and conversations the tokenizer is trained on. The merges stop changing for longer texts.
const TRAINING_RECORDS: usize = 5_000;

/// Trains the tokenizer on the corpus of this seed. The same seed gives the same tokenizer: the trainer orders merges of equal
/// count by token id.
///
/// # Errors
/// When the `tokenizers` crate refuses one of its parts.
pub fn train(seed: u64) -> Result<Tokenizer, DemoError> {
    let special_tokens = SPECIAL_TOKENS
        .map(|token| AddedToken::from(token, true))
        .to_vec();
    let mut trainer = TrainerWrapper::from(
        BpeTrainer::builder()
            .vocab_size(VOCAB_SIZE)
            .special_tokens(special_tokens)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .show_progress(false)
            .build(),
    );
    let mut tokenizer = Tokenizer::new(BPE::default());
    // A figure is a token of its own, so that what is learned of 7 holds for 57 and for 7.50.
    let figures_then_words = vec![
        Digits::new(true).into(),
        ByteLevel::new(false, true, true).into(),
    ];
    tokenizer.with_pre_tokenizer(Some(Sequence::new(figures_then_words)));
    tokenizer.with_decoder(Some(ByteLevelDecoder::new(false, true, true)));
    tokenizer.train(&mut trainer, training_texts(seed).into_iter())?;
    for (id, token) in SPECIAL_TOKENS.iter().enumerate() {
        assert_eq!(
            tokenizer.token_to_id(token),
            Some(id as u32),
            "{token} has another id"
        );
    }
    let bos = TemplateProcessing::builder()
        .try_single("<bos> $A")
        .and_then(|builder| builder.try_pair("<bos> $A <bos> $B:1"))
        .map_err(tokenizers::Error::from)?
        .special_tokens(vec![("<bos>", 2)])
        .build()
        .map_err(tokenizers::Error::from)?;
    tokenizer.with_post_processor(Some(bos));
    Ok(tokenizer)
}

/// Trains the tokenizer of this seed and writes `tokenizer.json`, `tokenizer_config.json`, `generation_config.json` and
/// `chat_template.jinja` into `dir`.
///
/// # Errors
/// When training fails or a file cannot be written.
pub fn write(dir: &Path, seed: u64) -> Result<Tokenizer, DemoError> {
    let tokenizer = train(seed)?;
    let json = tokenizer.to_string(true)?;
    write_whole(dir, "tokenizer.json", |file| {
        file.write_all(json.as_bytes())
    })?;
    write_whole(dir, "tokenizer_config.json", |file| {
        writeln!(file, "{:#}", config())
    })?;
    write_whole(dir, "generation_config.json", |file| {
        // For other programs: what ends a turn ends generation, beside what ends a document.
        writeln!(
            file,
            "{:#}",
            json!({"bos_token_id": 2, "eos_token_id": [1, 4], "pad_token_id": 0})
        )
    })?;
    write_whole(dir, "chat_template.jinja", |file| {
        file.write_all(CHAT_TEMPLATE.as_bytes())
    })?;
    Ok(tokenizer)
}

fn config() -> Value {
    json!({
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "add_bos_token": true,
        "add_eos_token": false,
        "clean_up_tokenization_spaces": false,
        "tokenizer_class": "PreTrainedTokenizerFast",
    })
}

/// The text of training records: documents as they are, conversations with the names of their turns.
fn training_texts(seed: u64) -> Vec<String> {
    let corpus = DemoCorpus::new(seed);
    let mut texts = Vec::new();
    for document in corpus.documents(TRAINING_RECORDS) {
        for field in ["text", "source", "target"] {
            texts.extend(document[field].as_str().map(str::to_owned));
        }
    }
    for conversation in corpus.conversations(TRAINING_RECORDS) {
        for (message, turn) in conversation["messages"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(["user", "model"])
        {
            texts.extend(
                message["content"]
                    .as_str()
                    .map(|content| format!("{turn}\n{content}")),
            );
        }
    }
    texts
}

#[cfg(test)]
mod tests;
