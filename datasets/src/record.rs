//! What one line of a data file may be.
//!
//! | record | written as |
//! |---|---|
//! | [`Document`] | `{"text"}` |
//! | [`TranslationPair`] | `{"source","target","source_lang","target_lang"}` |
//! | [`Conversation`] | `{"messages":[{"role","content"}]}`, ShareGPT, Alpaca, `{"prompt","completion"}` |
//! | [`PreferencePair`] | `{"prompt","chosen","rejected"}`, strings or messages |
//! | [`UnpairedPreference`] | `{"prompt","completion","label"}`, strings or messages |
//! | [`VerifiablePrompt`] | `{"prompt" or "messages","verifier","args" or "ground_truth"}` |
//! | [`PromptRecord`] | `{"prompt"}` or `{"messages"}`, for `generate --data` |
//! | [`ScoreRecord`] | `{"text"}` or `{"messages"}`, for `score --data` |
//!
//! Lines are taken apart by hand, not by a derive: an error then names the field and what was
//! expected there. Keys that no record form knows are left alone, as data sets carry many.

mod conversation;
mod document;
mod fields;
mod message;
mod preference;
mod prompt;
mod unpaired;
mod verifiable;

pub use conversation::{Conversation, InstructionRecord};
pub use document::{Component, CorpusRecord, Document, Translation, TranslationPair};
pub use message::Message;
pub use preference::PreferencePair;
pub use prompt::{PromptRecord, ScoreRecord};
pub use unpaired::{PreferenceRecord, UnpairedPreference};
pub use verifiable::{VerifiablePrompt, VerifierCall};

use crate::error::RecordError;

/// A type that a line of a data file can be parsed into.
pub trait Record: Sized {
    /// Parses one line. The error names the field; the reader of the file adds `FILE:LINE`.
    fn from_json(value: serde_json::Value) -> Result<Self, RecordError>;

    /// The part of a mixture it counts to, where records of its form say so.
    fn component(&self) -> Option<Component> {
        None
    }
}
