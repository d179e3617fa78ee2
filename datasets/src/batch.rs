//! Sequences laid out as one row of tokens, without padding.

use crate::conversation::SupervisedTokens;

/// One row of tokens on the host, `num_tokens` long, made of sequences that do not see one another.
///
/// ```
/// use datasets::{SupervisedTokens, TokenBatch};
/// let answer = SupervisedTokens { ids: vec![5, 6, 7], loss_mask: vec![false, false, true] };
/// let document = SupervisedTokens::document(vec![2, 8]);
/// let batch = TokenBatch::from_sequences(&[answer, document]);
/// assert_eq!(batch.input_ids, [5, 6, 7, 2, 8]);
/// assert_eq!(batch.positions, [0, 1, 2, 0, 1]);
/// assert_eq!(batch.segment_starts, [0, 3, 5]);
/// assert_eq!(batch.targets, [6, 7, 0, 8, 0]);
/// assert_eq!(batch.loss_weights, [0.0, 1.0, 0.0, 1.0, 0.0]);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenBatch {
    /// The sequences' token ids, one after the other. `[num_tokens]`
    pub input_ids: Vec<u32>,
    /// Each token's position in its own sequence. `[num_tokens]`
    pub positions: Vec<u32>,
    /// Where each sequence starts, and `num_tokens` at the end. `[num_sequences + 1]`
    pub segment_starts: Vec<u32>,
    /// The token that follows in the same sequence; 0, which means nothing, at its end. `[num_tokens]`
    pub targets: Vec<u32>,
    /// 1 where the *target* is supervised, else 0: the weight stands at the position that predicts. `[num_tokens]`
    pub loss_weights: Vec<f32>,
}

impl TokenBatch {
    /// Lays the sequences out in the given order. An empty sequence keeps its (empty) segment.
    pub fn from_sequences(sequences: &[SupervisedTokens]) -> Self {
        let num_tokens = sequences.iter().map(|sequence| sequence.ids.len()).sum();
        let mut batch = Self {
            input_ids: Vec::with_capacity(num_tokens),
            positions: Vec::with_capacity(num_tokens),
            segment_starts: vec![0],
            targets: Vec::with_capacity(num_tokens),
            loss_weights: Vec::with_capacity(num_tokens),
        };
        for SupervisedTokens { ids, loss_mask } in sequences {
            assert_eq!(ids.len(), loss_mask.len(), "one mask entry a token");
            batch.input_ids.extend(ids);
            batch.positions.extend(0..ids.len() as u32);
            batch.targets.extend(ids.iter().skip(1));
            batch.loss_weights.extend(
                loss_mask
                    .iter()
                    .skip(1)
                    .map(|&supervised| f32::from(u8::from(supervised))),
            );
            batch.targets.resize(batch.input_ids.len(), 0);
            batch.loss_weights.resize(batch.input_ids.len(), 0.0);
            batch.segment_starts.push(batch.input_ids.len() as u32);
        }
        batch
    }

    /// The number of tokens.
    pub fn num_tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// The number of sequences.
    pub fn num_sequences(&self) -> usize {
        self.segment_starts.len() - 1
    }

    /// The number of tokens that the loss counts: the denominator of CPT and SFT.
    pub fn num_supervised(&self) -> usize {
        self.loss_weights
            .iter()
            .filter(|&&weight| weight != 0.0)
            .count()
    }

    /// The tokens of one sequence, as indices into the row.
    pub fn segment(&self, sequence: usize) -> std::ops::Range<usize> {
        self.segment_starts[sequence] as usize..self.segment_starts[sequence + 1] as usize
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
        assert_eq!(batch.loss_weights, [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(batch.targets, [11, 12, 0, 0, 11, 0]);
        assert_eq!(
            (
                batch.num_sequences(),
                batch.num_supervised(),
                batch.segment(2)
            ),
            (3, 3, 4..6)
        );
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
