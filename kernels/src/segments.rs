use std::ops::Range;
use std::sync::{Arc, Mutex};

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// The sequences of one packed row: where each begins and ends, and every token's position in its
/// own sequence. Cheap to clone.
///
/// Example: lengths `[3, 2]` are the ranges `0..3` and `3..5` with positions `[0, 1, 2, 0, 1]`.
#[derive(Clone, Debug)]
pub struct Segments(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    starts: Vec<usize>,
    positions: Arc<[u32]>,
    /// Masks of the reference path, made once per row and kept for all layers.
    masks: Mutex<Vec<Mask>>,
}

/// What a window hides, on a device.
type Mask = (Option<usize>, Device, Tensor<2, Bool>);

impl Segments {
    /// Sequences of these lengths, one after the other.
    ///
    /// # Panics
    /// If a length is zero.
    pub fn from_lengths(lengths: &[usize]) -> Self {
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut positions = Vec::with_capacity(lengths.iter().sum());
        starts.push(0);
        for &length in lengths {
            assert!(length > 0, "a sequence of no tokens in {lengths:?}");
            positions.extend(0..length as u32);
            starts.push(positions.len());
        }
        Segments(Arc::new(Inner {
            starts,
            positions: positions.into(),
            masks: Mutex::new(Vec::new()),
        }))
    }

    /// Tokens in the row.
    pub fn num_tokens(&self) -> usize {
        self.0.positions.len()
    }

    /// Sequences in the row.
    pub fn num_segments(&self) -> usize {
        self.0.starts.len() - 1
    }

    /// The token range of each sequence, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.0.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Each token's position in its own sequence.
    pub fn positions(&self) -> Arc<[u32]> {
        self.0.positions.clone()
    }

    /// `[tokens, tokens]`, true where a query (row) must not see a key (column).
    pub(crate) fn hidden(&self, window: Option<usize>, device: &Device) -> Tensor<2, Bool> {
        let mut masks = self.0.masks.lock().expect("no holder of the masks panics");
        if let Some((_, _, mask)) = masks.iter().find(|(w, d, _)| *w == window && d == device) {
            return mask.clone();
        }
        let tokens = self.num_tokens();
        let mut hidden = vec![true; tokens * tokens];
        for range in self.ranges() {
            for query in range.clone() {
                let first = first_visible(query, range.start, window);
                hidden[query * tokens + first..=query * tokens + query].fill(false);
            }
        }
        let mask = Tensor::from_data(TensorData::new(hidden, [tokens, tokens]), device);
        masks.push((window, device.clone(), mask.clone()));
        mask
    }
}

/// The first key a query sees. A window of `w` holds the query itself and `w - 1` tokens before it,
/// as in transformers' Gemma 2 and 3.
pub(crate) fn first_visible(query: usize, segment_start: usize, window: Option<usize>) -> usize {
    match window {
        Some(window) => segment_start.max((query + 1).saturating_sub(window)),
        None => segment_start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_restart_with_each_sequence() {
        let segments = Segments::from_lengths(&[3, 1, 2]);
        assert_eq!(&*segments.positions(), &[0, 1, 2, 0, 0, 1]);
        let ranges: Vec<_> = segments.ranges().collect();
        assert_eq!(ranges, [0..3, 3..4, 4..6]);
    }

    #[test]
    fn a_window_counts_the_query_and_stays_in_its_sequence() {
        assert_eq!(first_visible(7, 2, Some(3)), 5);
        assert_eq!(first_visible(3, 2, Some(3)), 2);
        assert_eq!(first_visible(7, 2, None), 2);
    }
}
