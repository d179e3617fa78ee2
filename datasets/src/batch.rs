//! Sequences laid out as one row of tokens, without padding.

use crate::conversation::SupervisedTokens;

/// One row of tokens on the host, `num_tokens` long, made of sequences that do not see one another.
///
/// ```
/// use datasets::{Prediction, SupervisedTokens, TokenBatch};
/// let answer = SupervisedTokens { ids: vec![5, 6, 7], loss_mask: vec![false, false, true] };
/// let document = SupervisedTokens::document(vec![2, 8]);
/// let batch = TokenBatch::from_sequences(&[answer, document]);
/// assert_eq!(batch.input_ids, [5, 6, 7, 2, 8]);
/// assert_eq!(batch.segment_starts, [0, 3, 5]);
/// let prediction = |position, target| Prediction { position, target };
/// assert_eq!(batch.predictions, [prediction(1, 7), prediction(3, 8)]);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenBatch {
    /// The sequences' token ids, one after the other. `[num_tokens]`
    pub input_ids: Vec<u32>,
    /// Where each segment starts, and `num_tokens` at the end. `[num_segments + 1]`
    pub segment_starts: Vec<u32>,
    /// The segment that each one continues: an answer its prompt. `[num_segments]`
    pub prefixes: Vec<Option<u32>>,
    /// What the loss counts, sequence after sequence. `[num_supervised]`
    pub predictions: Vec<Prediction>,
}

/// A supervised token and the place in the row that predicts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prediction {
    /// The token before it.
    pub position: u32,
    /// Its id.
    pub target: u32,
}

/// A prompt with its answers, which share it.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedPrompt {
    /// Tokens of the prompt, none of them supervised.
    pub prompt: Vec<u32>,
    /// What may follow it.
    pub answers: Vec<SupervisedTokens>,
}

impl TokenBatch {
    /// Lays the sequences out in the given order. An empty sequence keeps its (empty) segment.
    pub fn from_sequences(sequences: &[SupervisedTokens]) -> Self {
        let mut batch = Self::empty();
        for sequence in sequences {
            batch.push(sequence, None);
        }
        batch
    }

    /// Lays out each prompt once, followed by its answers, so that a group of eight answers of 128
    /// tokens to a prompt of 256 costs 1,280 tokens instead of 3,072. The prompt's last token
    /// predicts the first of every answer.
    ///
    /// ```
    /// use datasets::{Prediction, SharedPrompt, SupervisedTokens, TokenBatch};
    /// let answer = |ids: &[u32]| SupervisedTokens { ids: ids.to_vec(), loss_mask: vec![true; ids.len()] };
    /// let shared = SharedPrompt { prompt: vec![2, 9], answers: vec![answer(&[7]), answer(&[8, 4])] };
    /// let batch = TokenBatch::from_shared_prompts(&[shared]);
    /// assert_eq!(batch.input_ids, [2, 9, 7, 8, 4]);
    /// assert_eq!(batch.prefixes, [None, Some(0), Some(0)]);
    /// let prediction = |position, target| Prediction { position, target };
    /// assert_eq!(batch.predictions, [prediction(1, 7), prediction(1, 8), prediction(3, 4)]);
    /// ```
    ///
    /// Answers to an empty prompt stand alone.
    ///
    /// # Panics
    /// On an empty answer.
    pub fn from_shared_prompts(groups: &[SharedPrompt]) -> Self {
        let mut batch = Self::empty();
        for SharedPrompt { prompt, answers } in groups {
            let mut prefix = None;
            if !prompt.is_empty() {
                prefix = Some(batch.num_segments() as u32);
                let prompt = SupervisedTokens {
                    ids: prompt.clone(),
                    loss_mask: vec![false; prompt.len()],
                };
                batch.push(&prompt, None);
            }
            for answer in answers {
                assert!(!answer.ids.is_empty(), "an empty answer");
                batch.push(answer, prefix);
            }
        }
        batch
    }

    fn empty() -> Self {
        Self {
            segment_starts: vec![0],
            ..Self::default()
        }
    }

    fn push(&mut self, sequence: &SupervisedTokens, prefix: Option<u32>) {
        let SupervisedTokens { ids, loss_mask } = sequence;
        assert_eq!(ids.len(), loss_mask.len(), "one mask entry a token");
        let start = self.input_ids.len() as u32;
        // What stands before the first token: the end of the prompt, or nothing.
        let mut before = prefix.map(|prefix| self.segment_starts[prefix as usize + 1] - 1);
        for (at, (&target, &supervised)) in (start..).zip(ids.iter().zip(loss_mask)) {
            if let (true, Some(position)) = (supervised, before) {
                self.predictions.push(Prediction { position, target });
            }
            before = Some(at);
        }
        self.input_ids.extend(ids);
        self.segment_starts.push(self.input_ids.len() as u32);
        self.prefixes.push(prefix);
    }

    /// The number of tokens.
    pub fn num_tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// The number of segments: sequences, or prompts and their answers.
    pub fn num_segments(&self) -> usize {
        self.segment_starts.len() - 1
    }

    /// The number of tokens that the loss counts: the denominator of CPT and SFT.
    pub fn num_supervised(&self) -> usize {
        self.predictions.len()
    }

    /// The tokens of one segment, as indices into the row.
    pub fn segment(&self, segment: usize) -> std::ops::Range<usize> {
        self.segment_starts[segment] as usize..self.segment_starts[segment + 1] as usize
    }
}

/// Cuts sequences to `max_length` on the right, leaves out those with nothing left to learn, and counts both.
#[derive(Debug, Clone)]
pub struct Truncation {
    max_length: usize,
    report: TruncationReport,
}

/// What cutting to `max_length` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TruncationReport {
    /// Records seen; a preference pair is one.
    pub num_records: usize,
    /// Records of which something was cut off.
    pub num_truncated: usize,
    /// Tokens cut off.
    pub num_tokens_cut: usize,
    /// Records left out, because no supervised token is left to predict.
    pub num_without_supervision: usize,
}

impl Truncation {
    /// Cuts to `max_length` > 1 tokens.
    pub fn new(max_length: usize) -> Self {
        assert!(
            max_length > 1,
            "a sequence of {max_length} tokens predicts nothing"
        );
        Self {
            max_length,
            report: TruncationReport::default(),
        }
    }

    /// Cuts one sequence; `None`, and counted, where nothing is left to learn.
    pub fn sequence(&mut self, sequence: SupervisedTokens) -> Option<SupervisedTokens> {
        let [sequence] = self.record([sequence])?;
        Some(sequence)
    }

    /// Cuts both sides of a preference pair; `None` where either side has nothing left to learn.
    pub fn pair(
        &mut self,
        chosen: SupervisedTokens,
        rejected: SupervisedTokens,
    ) -> Option<(SupervisedTokens, SupervisedTokens)> {
        let [chosen, rejected] = self.record([chosen, rejected])?;
        Some((chosen, rejected))
    }

    /// What has been cut and left out so far.
    pub fn report(&self) -> TruncationReport {
        self.report
    }

    fn record<const N: usize>(
        &mut self,
        mut record: [SupervisedTokens; N],
    ) -> Option<[SupervisedTokens; N]> {
        let mut cut = 0;
        for sequence in &mut record {
            cut += sequence.ids.len().saturating_sub(self.max_length);
            sequence.ids.truncate(self.max_length);
            sequence.loss_mask.truncate(self.max_length);
        }
        self.report.num_records += 1;
        self.report.num_truncated += usize::from(cut > 0);
        self.report.num_tokens_cut += cut;
        if record.iter().any(|sequence| sequence.num_supervised() == 0) {
            self.report.num_without_supervision += 1;
            return None;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(supervised_from: usize, len: usize) -> SupervisedTokens {
        SupervisedTokens {
            ids: (0..len as u32).map(|id| id + 10).collect(),
            loss_mask: (0..len).map(|i| i >= supervised_from).collect(),
        }
    }

    #[test]
    fn no_sequence_predicts_the_first_token_of_the_next() {
        let batch = TokenBatch::from_sequences(&[sequence(0, 3), sequence(0, 1), sequence(0, 2)]);
        assert_eq!(batch.segment_starts, [0, 3, 4, 6]);
        let prediction = |position, target| Prediction { position, target };
        assert_eq!(
            batch.predictions,
            [prediction(0, 11), prediction(1, 12), prediction(4, 11)]
        );
        assert_eq!((batch.num_segments(), batch.segment(2)), (3, 4..6));
    }

    #[test]
    fn an_answer_supervises_what_its_mask_says() {
        let answer = SupervisedTokens {
            ids: vec![7, 8, 9],
            loss_mask: vec![false, true, false],
        };
        let shared = SharedPrompt {
            prompt: vec![1, 2],
            answers: vec![answer],
        };
        let batch = TokenBatch::from_shared_prompts(&[shared.clone(), shared]);
        assert_eq!(batch.prefixes, [None, Some(0), None, Some(2)]);
        let predictions = batch.predictions.iter();
        let positions: Vec<u32> = predictions.map(|p| p.position).collect();
        assert_eq!(positions, [2, 7]);
    }

    #[test]
    fn truncation_is_counted_and_never_silent() {
        let mut truncation = Truncation::new(4);
        assert_eq!(truncation.sequence(sequence(1, 3)).unwrap().ids.len(), 3);
        assert_eq!(
            truncation.sequence(sequence(2, 9)).unwrap().loss_mask,
            [false, false, true, true]
        );
        assert!(truncation.sequence(sequence(5, 9)).is_none());
        // The first token is predicted by nothing, so supervising it alone teaches nothing.
        assert!(truncation.sequence(sequence(0, 1)).is_none());
        let report = TruncationReport {
            num_records: 4,
            num_truncated: 2,
            num_tokens_cut: 10,
            num_without_supervision: 2,
        };
        assert_eq!(truncation.report(), report);
    }

    #[test]
    fn a_pair_is_left_out_where_one_side_has_nothing_to_learn() {
        let mut truncation = Truncation::new(4);
        assert!(truncation.pair(sequence(1, 3), sequence(6, 9)).is_none());
        assert!(truncation.pair(sequence(1, 3), sequence(2, 4)).is_some());
        assert_eq!(truncation.report().num_without_supervision, 1);
    }
}
