use std::ops::Range;
use std::sync::{Arc, Mutex};

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// The sequences of one packed row: where each begins and ends, and every token's position in its
/// own sequence. Cheap to clone.
///
/// Example: lengths `[3, 2]` are the ranges `0..3` and `3..5` with positions `[0, 1, 2, 0, 1]`.
///
/// A segment may continue another, its prefix: it sees the prefix's tokens as if they stood before
/// its own, so that several answers share one prompt that stands once in the row. With a prompt of
/// three tokens and two answers of two, positions are `[0, 1, 2, 3, 4, 3, 4]`.
#[derive(Clone, Debug)]
pub struct Segments(Arc<Inner>);

/// One segment of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Tokens of its own.
    pub length: usize,
    /// The earlier segment that it continues, which continues none itself.
    pub prefix: Option<usize>,
}

#[derive(Debug)]
struct Inner {
    starts: Vec<usize>,
    prefixes: Vec<Option<usize>>,
    positions: Arc<[u32]>,
    /// Masks of the reference path, made once per row and kept for all layers.
    masks: Mutex<Vec<Mask>>,
}

/// What a window hides, on a device.
type Mask = (Option<usize>, Device, Tensor<2, Bool>);

/// Consecutive rows of one segment, and the rows on the other side of attention that they meet:
/// the keys that queries see, or the queries that see keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) rows: Range<usize>,
    pub(crate) visits: Vec<Visit>,
}

/// Rows that a tile meets. Query q sees key k where 0 ≤ q − k − gap < window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) rows: Range<usize>,
    /// Rows that lie between a prefix and a segment that continues it.
    pub(crate) gap: usize,
}

impl Segments {
    /// Sequences of these lengths, one after the other.
    ///
    /// # Panics
    /// If a length is zero.
    pub fn from_lengths(lengths: &[usize]) -> Self {
        let segments = lengths.iter().map(|&length| Segment {
            length,
            prefix: None,
        });
        Self::new(&segments.collect::<Vec<_>>())
    }

    /// Segments one after the other.
    ///
    /// # Panics
    /// If a length is zero, or a prefix is not an earlier segment without a prefix of its own.
    pub fn new(segments: &[Segment]) -> Self {
        let mut starts = Vec::with_capacity(segments.len() + 1);
        let mut positions = Vec::with_capacity(segments.iter().map(|s| s.length).sum());
        starts.push(0);
        for (index, &Segment { length, prefix }) in segments.iter().enumerate() {
            assert!(length > 0, "a sequence of no tokens in {segments:?}");
            let before = prefix.map_or(0, |prefix| {
                let root = prefix < index && segments[prefix].prefix.is_none();
                assert!(root, "segment {index} cannot continue segment {prefix}");
                segments[prefix].length
            });
            positions.extend(before as u32..(before + length) as u32);
            starts.push(positions.len());
        }
        Segments(Arc::new(Inner {
            starts,
            prefixes: segments.iter().map(|segment| segment.prefix).collect(),
            positions: positions.into(),
            masks: Mutex::new(Vec::new()),
        }))
    }

    /// Tokens in the row.
    pub fn num_tokens(&self) -> usize {
        self.0.positions.len()
    }

    /// Segments in the row.
    pub fn num_segments(&self) -> usize {
        self.0.starts.len() - 1
    }

    /// The token range of each segment, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.0.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Each token's position in its own sequence, its prefix included.
    pub fn positions(&self) -> Arc<[u32]> {
        self.0.positions.clone()
    }

    pub(crate) fn range(&self, segment: usize) -> Range<usize> {
        self.0.starts[segment]..self.0.starts[segment + 1]
    }

    /// The rows of a segment in the order of their positions: those of its prefix, then its own.
    pub(crate) fn with_prefix(&self, segment: usize) -> Vec<Range<usize>> {
        let prefix = self.0.prefixes[segment].map(|prefix| self.range(prefix));
        prefix.into_iter().chain([self.range(segment)]).collect()
    }

    /// Tiles of up to `size` queries with the keys they see.
    pub(crate) fn query_tiles(&self, size: usize, window: Option<usize>) -> Vec<Tile> {
        let window = window.unwrap_or(usize::MAX);
        let tiles = (0..self.num_segments()).flat_map(|segment| {
            let own = self.range(segment);
            let prefix = self.0.prefixes[segment].map(|prefix| self.range(prefix));
            own.clone().step_by(size).map(move |start| {
                let rows = start..(start + size).min(own.end);
                let first = |gap: usize| (start + 1).saturating_sub(window.saturating_add(gap));
                let before = prefix.clone().map(|prefix| {
                    let gap = own.start - prefix.end;
                    Visit {
                        rows: prefix.start.max(first(gap))..prefix.end,
                        gap,
                    }
                });
                let here = Visit {
                    rows: own.start.max(first(0))..rows.end,
                    gap: 0,
                };
                Tile {
                    rows,
                    visits: visits(before.into_iter().chain([here])),
                }
            })
        });
        tiles.collect()
    }

    /// Tiles of up to `size` keys with the queries that see them: those of their own segment, then
    /// those of the segments that continue it.
    pub(crate) fn key_tiles(&self, size: usize, window: Option<usize>) -> Vec<Tile> {
        let window = window.unwrap_or(usize::MAX);
        let mut continued_by = vec![Vec::new(); self.num_segments()];
        for (segment, prefix) in self.0.prefixes.iter().enumerate() {
            if let Some(prefix) = prefix {
                continued_by[*prefix].push(segment);
            }
        }
        let tiles = continued_by
            .iter()
            .enumerate()
            .flat_map(|(segment, after)| {
                let own = self.range(segment);
                own.clone().step_by(size).map(move |start| {
                    let rows = start..(start + size).min(own.end);
                    let end =
                        |gap: usize| (rows.end - 1).saturating_add(window).saturating_add(gap);
                    let here = Visit {
                        rows: start..own.end.min(end(0)),
                        gap: 0,
                    };
                    let after = after.iter().map(|&other| {
                        let other = self.range(other);
                        let gap = other.start - own.end;
                        Visit {
                            rows: other.start..other.end.min(end(gap)),
                            gap,
                        }
                    });
                    let visits = visits([here].into_iter().chain(after));
                    Tile { rows, visits }
                })
            });
        tiles.collect()
    }

    /// `[tokens, tokens]`, true where a query (row) must not see a key (column).
    pub(crate) fn hidden(&self, window: Option<usize>, device: &Device) -> Tensor<2, Bool> {
        let mut masks = self.0.masks.lock().expect("no holder of the masks panics");
        if let Some((_, _, mask)) = masks.iter().find(|(w, d, _)| *w == window && d == device) {
            return mask.clone();
        }
        let tokens = self.num_tokens();
        let mut hidden = vec![true; tokens * tokens];
        for Tile { rows, visits } in self.query_tiles(1, window) {
            for visit in visits {
                let row = &mut hidden[rows.start * tokens..][..tokens];
                row[visit.rows].fill(false);
            }
        }
        let mask = Tensor::from_data(TensorData::new(hidden, [tokens, tokens]), device);
        masks.push((window, device.clone(), mask.clone()));
        mask
    }
}

fn visits(visits: impl Iterator<Item = Visit>) -> Vec<Visit> {
    visits.filter(|visit| !visit.rows.is_empty()).collect()
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
    fn a_segment_goes_on_at_the_position_where_its_prefix_ends() {
        let segments = prompt_and_two_answers();
        assert_eq!(&*segments.positions(), &[0, 1, 2, 3, 4, 3, 4]);
    }

    #[test]
    fn an_answer_sees_its_prompt_and_not_the_other_answer() {
        let segments = prompt_and_two_answers();
        let tiles = segments.query_tiles(8, Some(4));
        let visit = |rows, gap| Visit { rows, gap };
        assert_eq!(tiles[2].rows, 5..7);
        // Position 3 with a window of 4 sees position 0, two rows of the other answer between.
        assert_eq!(tiles[2].visits, [visit(0..3, 2), visit(5..7, 0)]);
        let narrow = segments.query_tiles(8, Some(2));
        assert_eq!(narrow[2].visits, [visit(2..3, 2), visit(5..7, 0)]);
    }

    #[test]
    fn query_tiles_and_key_tiles_hold_the_same_pairs() {
        let rows = [Segments::from_lengths(&[3, 1, 7]), prompt_and_two_answers()];
        for segments in rows {
            for window in [None, Some(1), Some(2), Some(100)] {
                for size in [1, 2, 64] {
                    let pairs = |tiles: Vec<Tile>, flipped: bool| {
                        let mut pairs = Vec::new();
                        for tile in tiles {
                            for row in tile.rows {
                                for visit in &tile.visits {
                                    for other in visit.rows.clone() {
                                        let (q, k) =
                                            if flipped { (other, row) } else { (row, other) };
                                        let seen = q >= k + visit.gap
                                            && q - k - visit.gap < window.unwrap_or(usize::MAX);
                                        if seen {
                                            pairs.push((q, k));
                                        }
                                    }
                                }
                            }
                        }
                        pairs.sort_unstable();
                        pairs
                    };
                    let by_query = pairs(segments.query_tiles(size, window), false);
                    assert_eq!(by_query, pairs(segments.key_tiles(size, window), true));
                }
            }
        }
    }

    fn prompt_and_two_answers() -> Segments {
        let segment = |length, prefix| Segment { length, prefix };
        Segments::new(&[segment(3, None), segment(2, Some(0)), segment(2, Some(0))])
    }

    #[test]
    fn a_window_counts_the_query_and_stays_in_its_sequence() {
        assert_eq!(first_visible(7, 2, Some(3)), 5);
        assert_eq!(first_visible(3, 2, Some(3)), 2);
        assert_eq!(first_visible(7, 2, None), 2);
    }
}
