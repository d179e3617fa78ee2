use std::path::Path;

use datasets::record::ScoreRecord;
use datasets::{ChatTokenizer, DocumentEnd, DocumentStart, GenerationPrompt, Tokenizer};

use crate::TrainError;

/// Turns a record into tokens, each but the first to be predicted. Texts need a tokenizer; conversations also a chat template, which is only loaded for them.
pub(super) struct Encoder<'a> {
    dir: &'a Path,
    document_start: DocumentStart,
    tokenizer: Tokenizer,
    chat: Option<ChatTokenizer>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(dir: &'a Path, document_start: DocumentStart) -> Result<Self, TrainError> {
        Ok(Encoder {
            tokenizer: Tokenizer::from_dir(dir, document_start)?,
            dir,
            document_start,
            chat: None,
        })
    }

    pub(super) fn encode(&mut self, record: ScoreRecord) -> Result<Vec<u32>, TrainError> {
        let messages = match record {
            ScoreRecord::Text(text) => {
                return Ok(self.tokenizer.document(&text, DocumentEnd::Open)?);
            }
            ScoreRecord::Messages(messages) => messages,
        };
        let chat = match self.chat.take() {
            Some(chat) => chat,
            None => ChatTokenizer::from_dir(self.dir, self.document_start)?,
        };
        let ids = chat.encode_chat(&messages, GenerationPrompt::Omit)?;
        self.chat = Some(chat);
        Ok(ids)
    }
}
