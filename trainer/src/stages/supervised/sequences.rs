use datasets::{ChatTokenizer, Location, Part, SkippedRecords, SupervisedTokens, Tokenizer};

use crate::TrainError;
use crate::answers::Question;

/// One record as tokens.
pub struct Sequence {
    /// Its tokens and which of them are learnt.
    pub tokens: SupervisedTokens,
    /// The part of the mixture it counts to.
    pub component: &'static str,
}

/// Records by index, as tokens.
pub trait Sequences {
    /// Records.
    fn len(&self) -> usize;

    /// Whether there is none; a source that opened has at least one.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    fn get(&self, index: usize) -> Result<Sequence, TrainError>;

    /// Where one of them stands.
    fn location(&self, index: usize) -> Location;

    /// The files, and the components of those that mix several.
    fn parts(&self) -> &[Part];

    /// Which of them a record is of.
    fn part_of(&self, index: usize) -> usize;

    /// Bad lines left out at the recipe's wish.
    fn skipped(&self) -> &SkippedRecords;

    /// What made tokens of them.
    fn tokenizer(&self) -> &Tokenizer;

    /// The same with its chat template, where they are conversations.
    fn chat(&self) -> Option<&ChatTokenizer>;

    /// Whether a record is a question to the model; nothing is made into tokens.
    fn is_question(&self, index: usize) -> Result<bool, TrainError>;

    /// A record as a question to the model; `None` where it is none.
    fn question(&self, index: usize) -> Result<Option<Question>, TrainError>;

    /// The tokens that end an answer.
    fn stop_tokens(&self) -> Vec<u32>;
}
