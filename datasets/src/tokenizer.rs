//! Text to token ids and back, as the checkpoint's `tokenizer.json` says.

mod special_tokens;

use std::path::{Path, PathBuf};

pub use special_tokens::SpecialTokens;
pub(crate) use special_tokens::read_json_object;

use crate::conversation::SupervisedTokens;
use crate::error::DataError;

/// A checkpoint's tokenizer.
///
/// It never adds a special token on its own: what a sequence starts and ends with is said by [`document`](Self::document)
/// or by the chat template, so a BOS cannot be doubled.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special_tokens: SpecialTokens,
    document_start: Option<u32>,
    eos_id: u32,
    dir: PathBuf,
}

/// What a document starts with. It is a fact about the model's family, whatever `config.json` says of a `bos_token_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentStart {
    /// The tokenizer's `bos_token`, as Gemma was trained.
    Bos,
    /// Its first word, as Qwen was trained.
    Text,
}

/// What a document ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentEnd {
    /// The tokenizer's `eos_token`: a whole document to train on.
    Eos,
    /// Its last word: text to score or to continue.
    Open,
}

/// A token and the bytes of the text that it stands for.
pub(crate) struct TokenSpan {
    pub(crate) id: u32,
    pub(crate) bytes: std::ops::Range<usize>,
}

/// What a tokenizer consists of on disk; a checkpoint gets those that exist, byte for byte.
const FILES: [&str; 15] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "processor_config.json",
    "preprocessor_config.json",
];

impl Tokenizer {
    /// Loads the tokenizer of a Hugging Face model folder.
    pub fn from_dir(dir: &Path, document_start: DocumentStart) -> Result<Self, DataError> {
        let path = dir.join("tokenizer.json");
        let wrong = |problem: String, hint: &str| DataError::Tokenizer {
            path: path.clone(),
            problem,
            hint: hint.into(),
        };
        if !path.is_file() {
            let hint = "the model folder needs its tokenizer.json; a slow tokenizer becomes one with \
                        `AutoTokenizer.from_pretrained(…).save_pretrained(…)`";
            return Err(wrong("the file is missing".into(), hint));
        }
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(|e| {
            wrong(
                format!("not a tokenizer: {e}"),
                "copy the file again from the original model",
            )
        })?;
        // The post-processor only adds special tokens and trims the spans of tokens; padding and truncation are ours.
        inner
            .with_post_processor(None::<tokenizers::PostProcessorWrapper>)
            .with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| wrong(e.to_string(), "copy the file again from the original model"))?;

        let special_tokens = SpecialTokens::from_dir(dir)?;
        special_tokens
            .add_to(&mut inner)
            .map_err(|problem| wrong(problem, "copy the file again from the original model"))?;
        let id_of = |name: &str| -> Result<u32, DataError> {
            let config = dir.join("tokenizer_config.json");
            let hint = format!("name the {name} of tokenizer.json in tokenizer_config.json");
            let Some(token) = special_tokens.get(name) else {
                return Err(DataError::Tokenizer {
                    path: config,
                    problem: format!("there is no `{name}`"),
                    hint,
                });
            };
            inner
                .token_to_id(token)
                .ok_or_else(|| DataError::Tokenizer {
                    path: config,
                    problem: format!("`{name}` is `{token}`, which tokenizer.json does not know"),
                    hint,
                })
        };
        let eos_id = id_of("eos_token")?;
        let document_start = match document_start {
            DocumentStart::Bos => Some(id_of("bos_token")?),
            DocumentStart::Text => None,
        };
        Ok(Self {
            inner,
            special_tokens,
            document_start,
            eos_id,
            dir: dir.to_owned(),
        })
    }

    /// The ids of a text, without any special token that the text does not spell out.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| self.failed(&e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of some ids, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.inner.decode(ids, true).map_err(|e| self.failed(&e))
    }

    /// The text of some ids, special tokens spelt out.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String, DataError> {
        self.inner.decode(ids, false).map_err(|e| self.failed(&e))
    }

    /// A document: BOS where the family has one, the text, and EOS where it is whole.
    pub fn document(&self, text: &str, end: DocumentEnd) -> Result<Vec<u32>, DataError> {
        let mut ids: Vec<u32> = self.document_start.into_iter().collect();
        ids.extend(self.encode(text)?);
        if end == DocumentEnd::Eos {
            ids.push(self.eos_id);
        }
        Ok(ids)
    }

    /// A whole document to train on: every token but the first is predicted.
    pub fn supervised_document(&self, text: &str) -> Result<SupervisedTokens, DataError> {
        Ok(SupervisedTokens::document(
            self.document(text, DocumentEnd::Eos)?,
        ))
    }

    /// The id that documents start with: the `bos_token`'s where the family has one.
    pub fn bos_id(&self) -> Option<u32> {
        self.document_start
    }

    /// The id of the `eos_token`.
    pub fn eos_id(&self) -> u32 {
        self.eos_id
    }

    /// The id of a token by its spelling.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The spelling of a token by its id: as the vocabulary writes it, which is not always text.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The number of tokens, added ones included. A model's embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The special tokens by name, which a chat template may use.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special_tokens
    }

    /// The folder it was loaded from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The files of a tokenizer in a model folder, to be copied byte for byte into a checkpoint.
    pub fn files(dir: &Path) -> Vec<PathBuf> {
        FILES
            .iter()
            .map(|name| dir.join(name))
            .filter(|path| path.is_file())
            .collect()
    }

    /// The tokens of a text with the bytes that each stands for.
    pub(crate) fn encode_spans(&self, text: &str) -> Result<Vec<TokenSpan>, DataError> {
        let encoding = self
            .inner
            .encode(text, false)
            .map_err(|e| self.failed(&e))?;
        let spans = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(spans
            .map(|(&id, &(start, end))| TokenSpan {
                id,
                bytes: start..end,
            })
            .collect())
    }

    /// Whether a token was added to the vocabulary by hand, as all control tokens are.
    pub(crate) fn is_added(&self, id: u32) -> bool {
        self.inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .contains_key(&id)
    }

    fn failed(&self, error: &tokenizers::Error) -> DataError {
        DataError::Tokenizer {
            path: self.dir.join("tokenizer.json"),
            problem: format!("the tokenizer failed: {error}"),
            hint: "check that the file belongs to the model".into(),
        }
    }
}

#[cfg(test)]
mod tests;
