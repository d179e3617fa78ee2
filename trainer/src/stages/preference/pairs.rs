//! From preference records to rows of tokens.

use std::ops::Range;
use std::path::{Path, PathBuf};

use datasets::{
    ChatTokenizer, DocumentStart, JsonlSource, Location, Message, OnBadRecord, Part,
    PreferenceRecord, RecordError, SharedPrompt, SkippedRecords, SupervisedTokens, TokenBatch,
    Truncation,
};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::answers::Question;
use crate::recipe::PoSettings;

/// Preference records by index, as tokens: pairs, and where the losses take them, single answers.
pub struct Pairs {
    source: JsonlSource<PreferenceRecord>,
    tokenizer: ChatTokenizer,
}

/// Whether a record may be one answer with a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpaired {
    /// It may.
    Taken,
    /// It is a bad record.
    Refused,
}

impl Unpaired {
    /// By the losses: all of them have to judge answers by themselves.
    pub fn of(settings: &PoSettings) -> Self {
        match settings
            .loss_type
            .iter()
            .all(|loss| loss.takes_single_answers())
        {
            true => Unpaired::Taken,
            false => Unpaired::Refused,
        }
    }
}

/// The answers of a record, each after its prompt, before anything is cut.
#[derive(Clone, Debug, PartialEq)]
pub enum Sides {
    /// The preferred one and the other one.
    Pair([SupervisedTokens; 2]),
    /// A single one, and whether it is one to learn.
    Unpaired(SupervisedTokens, bool),
}

/// A record that fits: what its answers share, and the rest of each. An answer that the record does
/// not have is empty, which no other is: it has a supervised token.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Its record.
    pub record: usize,
    /// The tokens that both begin with, none of them supervised.
    pub prompt: Vec<u32>,
    /// The preferred answer, or a single one to learn.
    pub chosen: SupervisedTokens,
    /// The other one, or a single one to unlearn.
    pub rejected: SupervisedTokens,
}

/// Some pairs as one row of tokens, each prompt once.
pub struct PairBatch {
    /// The row.
    pub tokens: TokenBatch,
    /// The pairs in it.
    pub pairs: Vec<PairSpan>,
}

/// A pair's place among the predictions of its row; empty for an answer that it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSpan {
    /// Its record.
    pub record: usize,
    /// Predictions of the chosen answer.
    pub chosen: Range<usize>,
    /// And of the rejected one.
    pub rejected: Range<usize>,
}

impl Pairs {
    /// Opens data files, with tokenizer and chat template of a model folder.
    pub fn open(
        paths: &[PathBuf],
        on_bad_record: OnBadRecord,
        unpaired: Unpaired,
        model_dir: &Path,
        document_start: DocumentStart,
    ) -> Result<Self, TrainError> {
        let check = |record: &PreferenceRecord| match record {
            PreferenceRecord::Unpaired(_) if unpaired == Unpaired::Refused => Err(single()),
            _ => Ok(()),
        };
        Ok(Pairs {
            tokenizer: ChatTokenizer::from_dir(model_dir, document_start)?,
            source: JsonlSource::open_checked(paths, on_bad_record, check)?,
        })
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether there is none; a source that opened has at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where one of them stands.
    pub fn location(&self, record: usize) -> Location {
        self.source.location(record)
    }

    /// The files.
    pub fn parts(&self) -> &[Part] {
        self.source.parts()
    }

    /// Which of them a record is of.
    pub fn part_of(&self, record: usize) -> usize {
        self.source.part_of(record)
    }

    /// Bad lines left out at the recipe's wish.
    pub fn skipped(&self) -> &SkippedRecords {
        self.source.skipped()
    }

    /// What makes tokens of them.
    pub fn tokenizer(&self) -> &ChatTokenizer {
        &self.tokenizer
    }

    /// One record, cut to the longest length; `None` where nothing of an answer is left.
    pub fn get(
        &self,
        record: usize,
        truncation: &mut Truncation,
    ) -> Result<Option<Pair>, TrainError> {
        Ok(match self.whole(record)? {
            Sides::Pair([chosen, rejected]) => {
                let pair = truncation.pair(chosen, rejected);
                pair.map(|(chosen, rejected)| Pair::new(record, chosen, rejected))
            }
            Sides::Unpaired(answer, label) => {
                let answer = truncation.sequence(answer);
                answer.map(|answer| Pair::unpaired(record, answer, label))
            }
        })
    }

    /// The answers of one record, each with its prompt, before anything is cut.
    pub fn whole(&self, record: usize) -> Result<Sides, TrainError> {
        let sides = match self.source.get(record)? {
            PreferenceRecord::Pair(pair) => {
                let sides = self.tokenizer.supervise_pair(&pair);
                sides.map(|(chosen, rejected)| Sides::Pair([chosen, rejected]))
            }
            PreferenceRecord::Unpaired(one) => {
                let answer = self
                    .tokenizer
                    .supervise_answer(&one.prompt, &one.completion);
                answer.map(|answer| Sides::Unpaired(answer, one.label))
            }
        };
        Ok(sides.map_err(|error| error.at(self.source.location(record)))?)
    }

    /// Whether a record is a question whose right answer is the chosen one, or a single one with the
    /// label true: a turn of the assistant's.
    pub fn is_question(&self, record: usize) -> Result<bool, TrainError> {
        Ok(match self.source.get(record)? {
            PreferenceRecord::Pair(pair) => is_question(&pair.prompt, &pair.chosen),
            PreferenceRecord::Unpaired(one) => {
                one.label && is_question(&one.prompt, &one.completion)
            }
        })
    }

    /// That question; `None` where the record is none.
    pub fn question(&self, record: usize) -> Result<Option<Question>, TrainError> {
        if !self.is_question(record)? {
            return Ok(None);
        }
        let (prompt, answer, translation) = match self.source.get(record)? {
            PreferenceRecord::Pair(pair) => (pair.prompt, pair.chosen, pair.translation),
            PreferenceRecord::Unpaired(one) => (one.prompt, one.completion, one.translation),
        };
        let messages = [prompt, answer].concat();
        let question = Question::of_conversation(&messages, translation.as_ref(), &self.tokenizer);
        Ok(question.map_err(|error| error.at(self.source.location(record)))?)
    }
}

fn is_question(prompt: &[Message], answer: &[Message]) -> bool {
    answer.len() == 1 && Question::is_conversation(&[prompt, answer].concat())
}

/// A single answer where the losses compare two.
fn single() -> RecordError {
    RecordError::field(
        "rejected",
        "the other answer of a pair",
        "a single answer, `completion` with `label`",
    )
    .hint(
        "set loss_type = \"kto\" or \"apo_zero_unpaired\", which learn from single answers, or \
         write pairs: {\"prompt\", \"chosen\", \"rejected\"}",
    )
}

impl Pair {
    fn new(record: usize, mut chosen: SupervisedTokens, mut rejected: SupervisedTokens) -> Self {
        let tokens = |answer: &SupervisedTokens| {
            let (ids, mask) = (answer.ids.clone(), answer.loss_mask.clone());
            ids.into_iter().zip(mask)
        };
        let shared = tokens(&chosen)
            .zip(tokens(&rejected))
            .take_while(|(c, r)| c == r && !c.1)
            .count();
        let rest = |answer: &mut SupervisedTokens| {
            answer.loss_mask.drain(..shared);
            answer.ids.drain(..shared).collect()
        };
        let prompt = rest(&mut chosen);
        let _: Vec<u32> = rest(&mut rejected);
        Pair {
            record,
            prompt,
            chosen,
            rejected,
        }
    }

    /// A single answer, and whether it is one to learn.
    fn unpaired(record: usize, mut answer: SupervisedTokens, label: bool) -> Self {
        let first = answer.loss_mask.iter().position(|&supervised| supervised);
        let first = first.expect("truncation leaves a supervised token");
        answer.loss_mask.drain(..first);
        let prompt = answer.ids.drain(..first).collect();
        let none = SupervisedTokens::default();
        let (chosen, rejected) = match label {
            true => (answer, none),
            false => (none, answer),
        };
        Pair {
            record,
            prompt,
            chosen,
            rejected,
        }
    }

    /// The answers that it has.
    pub fn answers(&self) -> impl Iterator<Item = &SupervisedTokens> {
        let both = [&self.chosen, &self.rejected].into_iter();
        both.filter(|answer| !answer.ids.is_empty())
    }

    /// Tokens that the model sees of it.
    pub fn num_tokens(&self) -> usize {
        self.prompt.len() + self.chosen.ids.len() + self.rejected.ids.len()
    }

    /// This record's prompt before each answer of another: what the policy thinks of answers to
    /// something else.
    pub fn mismatched(&self, other: &Pair, max_length: usize) -> Vec<SupervisedTokens> {
        let after_prompt = |answer: &SupervisedTokens| {
            let mut ids = self.prompt.clone();
            let mut loss_mask = vec![false; ids.len()];
            ids.extend(&answer.ids);
            loss_mask.extend(&answer.loss_mask);
            ids.truncate(max_length);
            loss_mask.truncate(max_length);
            SupervisedTokens { ids, loss_mask }
        };
        let sequences = other.answers().map(after_prompt);
        sequences.filter(|s| s.num_supervised() > 0).collect()
    }
}

impl PairBatch {
    /// Lays the pairs out in the given order.
    pub fn new(pairs: &[Pair]) -> Self {
        let groups: Vec<SharedPrompt> = pairs
            .iter()
            .map(|pair| SharedPrompt {
                prompt: pair.prompt.clone(),
                answers: pair.answers().cloned().collect(),
            })
            .collect();
        let mut next = 0;
        let spans = pairs
            .iter()
            .map(|pair| {
                let mut span = |answer: &SupervisedTokens| {
                    // The prompt predicts an answer's first token.
                    let begins = answer.loss_mask.first().copied().unwrap_or(false);
                    let unpredicted = pair.prompt.is_empty() && begins;
                    let supervised = answer.loss_mask.iter().filter(|s| **s).count();
                    let start = next;
                    next += supervised - usize::from(unpredicted);
                    start..next
                };
                PairSpan {
                    record: pair.record,
                    chosen: span(&pair.chosen),
                    rejected: span(&pair.rejected),
                }
            })
            .collect();
        let tokens = TokenBatch::from_shared_prompts(&groups);
        assert_eq!(tokens.num_supervised(), next, "spans cover the predictions");
        PairBatch {
            tokens,
            pairs: spans,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[u32], supervised_from: usize) -> SupervisedTokens {
        SupervisedTokens {
            ids: ids.to_vec(),
            loss_mask: (0..ids.len()).map(|i| i >= supervised_from).collect(),
        }
    }

    #[test]
    fn a_pair_shares_what_is_the_same_and_not_supervised() {
        // 9 begins both answers, but is learnt: it stays with them.
        let pair = Pair::new(4, tokens(&[1, 2, 9, 5], 2), tokens(&[1, 2, 9, 7, 8], 2));
        assert_eq!(pair.prompt, [1, 2]);
        assert_eq!(pair.chosen, tokens(&[9, 5], 0));
        assert_eq!(pair.rejected, tokens(&[9, 7, 8], 0));
        let batch = PairBatch::new(&[pair.clone(), pair]);
        assert_eq!(batch.tokens.num_tokens(), 14);
        let spans: Vec<_> = batch
            .pairs
            .iter()
            .map(|p| (p.chosen.clone(), p.rejected.clone()))
            .collect();
        assert_eq!(spans, [(0..2, 2..5), (5..7, 7..10)]);
    }

    #[test]
    fn answers_without_a_common_beginning_stand_alone() {
        let pair = Pair::new(0, tokens(&[1, 2], 1), tokens(&[3, 4, 5], 1));
        assert!(pair.prompt.is_empty());
        let batch = PairBatch::new(&[pair]);
        assert_eq!(batch.tokens.prefixes, [None, None]);
        assert_eq!(batch.pairs[0].rejected, 1..3);
    }

    #[test]
    fn a_mismatched_answer_follows_another_prompt() {
        let a = Pair::new(0, tokens(&[1, 2, 5], 2), tokens(&[1, 2, 6], 2));
        let b = Pair::new(1, tokens(&[1, 3, 7, 8], 2), tokens(&[1, 3, 9], 2));
        let both = [tokens(&[1, 2, 7, 8], 2), tokens(&[1, 2, 9], 2)];
        assert_eq!(a.mismatched(&b, 9), both);
        assert_eq!(a.mismatched(&b, 2), []);
        let single = Pair::unpaired(2, tokens(&[1, 4, 6], 2), false);
        assert_eq!(a.mismatched(&single, 9), [tokens(&[1, 2, 6], 2)]);
    }

    #[test]
    fn a_single_answer_has_its_label_s_side_and_leaves_the_other_empty() {
        let good = Pair::unpaired(3, tokens(&[1, 2, 7, 8], 2), true);
        let bad = Pair::unpaired(4, tokens(&[1, 5, 6], 2), false);
        assert_eq!(
            (good.prompt.as_slice(), bad.prompt.as_slice()),
            (&[1, 2][..], &[1, 5][..])
        );
        let batch = PairBatch::new(&[good, bad]);
        assert_eq!(batch.tokens.input_ids, [1, 2, 7, 8, 1, 5, 6]);
        let spans: Vec<_> = batch
            .pairs
            .iter()
            .map(|p| (p.chosen.clone(), p.rejected.clone()))
            .collect();
        assert_eq!(spans, [(0..2, 2..2), (2..2, 2..3)]);
    }
}
