//! Supervised fine-tuning: conversations, and translation pairs as conversations. Supervised are
//! the assistant's turns, each with its end-of-turn token.

use std::path::{Path, PathBuf};

use datasets::prompt_template::PromptTemplate;
use datasets::{
    AssistantTurns, ChatTokenizer, Conversation, DocumentStart, InstructionRecord, JsonlSource,
    Location, OnBadRecord, Part, SkippedRecords, Tokenizer,
};

use super::supervised::{Sequence, Sequences};
use crate::TrainError;
use crate::answers::Question;

/// Conversations as token sequences.
pub struct Conversations {
    source: JsonlSource<InstructionRecord>,
    tokenizer: ChatTokenizer,
    turns: AssistantTurns,
    seed: u64,
}

impl Conversations {
    /// Opens data files, with tokenizer and chat template of a model folder.
    pub fn open(
        paths: &[PathBuf],
        on_bad_record: OnBadRecord,
        model_dir: &Path,
        document_start: DocumentStart,
        turns: AssistantTurns,
        seed: u64,
    ) -> Result<Self, TrainError> {
        Ok(Conversations {
            tokenizer: ChatTokenizer::from_dir(model_dir, document_start)?,
            source: JsonlSource::open(paths, on_bad_record)?,
            turns,
            seed,
        })
    }
}

impl Sequences for Conversations {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn get(&self, index: usize) -> Result<Sequence, TrainError> {
        let conversation = match self.source.get(index)? {
            InstructionRecord::Conversation(conversation) => conversation,
            InstructionRecord::Pair(pair) => {
                PromptTemplate::choose(self.seed, index as u64).conversation(&pair)
            }
        };
        let tokens = self
            .tokenizer
            .supervise(&conversation.messages, self.turns)
            .map_err(|error| error.at(self.source.location(index)))?;
        Ok(Sequence {
            tokens,
            component: "instruction",
        })
    }

    fn location(&self, index: usize) -> Location {
        self.source.location(index)
    }

    fn parts(&self) -> &[Part] {
        self.source.parts()
    }

    fn part_of(&self, index: usize) -> usize {
        self.source.part_of(index)
    }

    fn skipped(&self) -> &SkippedRecords {
        self.source.skipped()
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.tokenizer.tokenizer()
    }

    fn chat(&self) -> Option<&ChatTokenizer> {
        Some(&self.tokenizer)
    }

    fn is_question(&self, index: usize) -> Result<bool, TrainError> {
        Ok(match self.source.get(index)? {
            InstructionRecord::Conversation(conversation) => {
                Question::is_conversation(&conversation.messages)
            }
            InstructionRecord::Pair(_) => true,
        })
    }

    fn question(&self, index: usize) -> Result<Option<Question>, TrainError> {
        let question = match self.source.get(index)? {
            InstructionRecord::Conversation(conversation) => {
                let Conversation {
                    messages,
                    translation,
                } = conversation;
                Question::of_conversation(&messages, translation.as_ref(), &self.tokenizer)
            }
            InstructionRecord::Pair(pair) => {
                let wording = PromptTemplate::choose(self.seed, index as u64);
                Question::of_pair(&pair, wording, &self.tokenizer).map(Some)
            }
        };
        Ok(question.map_err(|error| error.at(self.source.location(index)))?)
    }

    fn stop_tokens(&self) -> Vec<u32> {
        self.tokenizer.stop_ids()
    }
}
