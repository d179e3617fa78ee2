//! Text in, token batches out: everything between a file on disk and a row of token ids on the host.
//!
//! Reading order: [`record`] says what a line of a data file may be, [`source`] reads it, [`tokenizer`] and
//! [`chat_template`] turn it into token ids, [`conversation`] decides which tokens are supervised, [`packing`] and
//! [`batch`] lay the sequences out as one row without padding, [`loader`] decides the order and can resume it.
//!
//! This crate holds no tensor and no other crate of ours.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod batch;
pub mod chat_template;
pub mod conversation;
pub mod counter_rng;
pub mod demo;
pub mod error;
pub mod language;
pub mod loader;
pub mod packing;
pub mod prompt_template;
pub mod record;
pub mod source;
#[cfg(test)]
mod test_model;
pub mod tokenizer;

pub use batch::{Prediction, SharedPrompt, TokenBatch, Truncation, TruncationReport};
pub use chat_template::{ChatTemplate, GenerationPrompt};
pub use conversation::{AssistantTurns, ChatTokenizer, SupervisedTokens};
pub use error::{DataError, Location, RecordError};
pub use loader::{Loader, LoaderState, Order, Shard};
pub use record::{
    Component, Conversation, CorpusRecord, Document, InstructionRecord, Message, PreferencePair,
    PreferenceRecord, PromptRecord, Record, ScoreRecord, Translation, TranslationPair,
    UnpairedPreference, VerifiablePrompt, VerifierCall,
};
pub use source::jsonl::{JsonlSource, OnBadRecord, Part, SkippedRecords};
pub use tokenizer::{DocumentEnd, DocumentStart, Tokenizer};
