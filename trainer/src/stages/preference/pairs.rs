//! From preference records to rows of tokens.

use std::ops::Range;
use std::path::{Path, PathBuf};

use datasets::{
    ChatTokenizer, DocumentStart, JsonlSource, Location, OnBadRecord, Part, PreferencePair,
    SharedPrompt, SkippedRecords, SupervisedTokens, TokenBatch, Truncation,
};

use crate::TrainError;
use crate::answers::Question;

/// Preference pairs by index, as tokens.
pub struct Pairs {
    source: JsonlSource<PreferencePair>,
    tokenizer: ChatTokenizer,
}

/// A pair that fits: what its answers share, and the rest of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Its record.
    pub record: usize,
    /// The tokens that both begin with, none of them supervised.
    pub prompt: Vec<u32>,
    /// The preferred answer.
    pub chosen: SupervisedTokens,
    /// The other one.
    pub rejected: SupervisedTokens,
}

/// Some pairs as one row of tokens, each prompt once.
pub struct PairBatch {
    /// The row.
    pub tokens: TokenBatch,
    /// The pairs in it.
    pub pairs: Vec<PairSpan>,
}

/// A pair's place among the predictions of its row.
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
        model_dir: &Path,
        document_start: DocumentStart,
    ) -> Result<Self, TrainError> {
        Ok(Pairs {
            tokenizer: ChatTokenizer::from_dir(model_dir, document_start)?,
            source: JsonlSource::open(paths, on_bad_record)?,
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

    /// One pair, cut to the longest length; `None` where nothing of an answer is left.
    pub fn get(
        &self,
        record: usize,
        truncation: &mut Truncation,
    ) -> Result<Option<Pair>, TrainError> {
        let (chosen, rejected) = self.whole(record)?;
        let pair = truncation.pair(chosen, rejected);
        Ok(pair.map(|(chosen, rejected)| Pair::new(record, chosen, rejected)))
    }

    /// Both sides of one pair, prompt and answer, before anything is cut.
    pub fn whole(&self, record: usize) -> Result<(SupervisedTokens, SupervisedTokens), TrainError> {
        let pair = self.source.get(record)?;
        let sides = self.tokenizer.supervise_pair(&pair);
        Ok(sides.map_err(|error| error.at(self.source.location(record)))?)
    }
}

impl Pairs {
    /// A record as a question whose right answer is the chosen one; `None` where that is more than
    /// a turn.
    pub fn question(&self, record: usize) -> Result<Option<Question>, TrainError> {
        let pair = self.source.get(record)?;
        let [_answer] = pair.chosen.as_slice() else {
            return Ok(None);
        };
        let messages = [pair.prompt, pair.chosen].concat();
        let translation = pair.translation.as_ref();
        let question = Question::of_conversation(&messages, translation, &self.tokenizer);
        Ok(question.map_err(|error| error.at(self.source.location(record)))?)
    }
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

    /// Tokens that the model sees of it.
    pub fn num_tokens(&self) -> usize {
        self.prompt.len() + self.chosen.ids.len() + self.rejected.ids.len()
    }

    /// This pair's prompt before the chosen answer of another: what the policy thinks of an answer
    /// to something else.
    pub fn mismatched(&self, other: &Pair, max_length: usize) -> Option<SupervisedTokens> {
        let mut ids = self.prompt.clone();
        let mut loss_mask = vec![false; ids.len()];
        ids.extend(&other.chosen.ids);
        loss_mask.extend(&other.chosen.loss_mask);
        ids.truncate(max_length);
        loss_mask.truncate(max_length);
        let sequence = SupervisedTokens { ids, loss_mask };
        (sequence.num_supervised() > 0).then_some(sequence)
    }
}

impl PairBatch {
    /// Lays the pairs out in the given order.
    pub fn new(pairs: &[Pair]) -> Self {
        let groups: Vec<SharedPrompt> = pairs
            .iter()
            .map(|pair| SharedPrompt {
                prompt: pair.prompt.clone(),
                answers: vec![pair.chosen.clone(), pair.rejected.clone()],
            })
            .collect();
        let mut next = 0;
        let spans = pairs
            .iter()
            .map(|pair| {
                let mut span = |answer: &SupervisedTokens| {
                    // The prompt predicts an answer's first token.
                    let unpredicted = pair.prompt.is_empty() && answer.loss_mask[0];
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
        assert_eq!(a.mismatched(&b, 9), Some(tokens(&[1, 2, 7, 8], 2)));
        assert_eq!(a.mismatched(&b, 2), None);
    }
}
