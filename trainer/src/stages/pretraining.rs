//! Continued pretraining: documents, and translation pairs written out as documents. Every token
//! but the first is predicted.

use std::path::{Path, PathBuf};

use datasets::prompt_template::PromptTemplate;
use datasets::{
    ChatTokenizer, Component, CorpusRecord, DocumentStart, JsonlSource, Location, OnBadRecord,
    Part, SkippedRecords, SupervisedTokens, Tokenizer,
};

use super::supervised::{Sequence, Sequences};
use crate::TrainError;
use crate::answers::Question;

/// Documents as token sequences.
pub struct Documents {
    source: JsonlSource<CorpusRecord>,
    tokenizer: Tokenizer,
    seed: u64,
}

impl Documents {
    /// Opens data files, with the tokenizer of a model folder.
    pub fn open(
        paths: &[PathBuf],
        on_bad_record: OnBadRecord,
        model_dir: &Path,
        document_start: DocumentStart,
        seed: u64,
    ) -> Result<Self, TrainError> {
        Ok(Documents {
            tokenizer: Tokenizer::from_dir(model_dir, document_start)?,
            source: JsonlSource::open(paths, on_bad_record)?,
            seed,
        })
    }
}

impl Sequences for Documents {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn get(&self, index: usize) -> Result<Sequence, TrainError> {
        let document = match self.source.get(index)? {
            CorpusRecord::Document(document) => document,
            CorpusRecord::Pair(pair) => {
                PromptTemplate::choose(self.seed, index as u64).document(&pair)
            }
        };
        let tokens: SupervisedTokens = self.tokenizer.supervised_document(&document.text)?;
        Ok(Sequence {
            tokens,
            component: Component::name(document.component),
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
        &self.tokenizer
    }

    fn chat(&self) -> Option<&ChatTokenizer> {
        None
    }

    fn is_question(&self, index: usize) -> Result<bool, TrainError> {
        Ok(matches!(self.source.get(index)?, CorpusRecord::Pair(_)))
    }

    fn question(&self, index: usize) -> Result<Option<Question>, TrainError> {
        let CorpusRecord::Pair(pair) = self.source.get(index)? else {
            return Ok(None);
        };
        let wording = PromptTemplate::choose(self.seed, index as u64);
        let question = Question::of_document(&pair, wording, &self.tokenizer)?;
        Ok(Some(question))
    }

    fn stop_tokens(&self) -> Vec<u32> {
        vec![self.tokenizer.eos_id()]
    }
}
