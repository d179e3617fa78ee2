//! Which sequences share a row: best-fit decreasing.

use std::collections::BTreeSet;

/// Puts sequences of the given lengths into rows of at most `max_length` tokens and returns the indices of each row.
///
/// Best-fit decreasing: longest sequence first, each into the fullest row that still holds it. Needs at most 11/9 of
/// the smallest possible number of rows, plus one (Johnson, "Near-optimal bin packing algorithms", 1973). The result
/// depends on nothing but the lengths; rows are in the order of their first sequence, so a shuffled list stays shuffled.
///
/// ```
/// assert_eq!(datasets::packing::pack(&[6, 3, 5, 4], 10), [vec![0, 3], vec![1, 2]]);
/// ```
///
/// # Panics
/// Where a sequence is longer than `max_length`: [`crate::Truncation`] comes first.
pub fn pack(lengths: &[usize], max_length: usize) -> Vec<Vec<usize>> {
    let mut longest_first: Vec<usize> = (0..lengths.len()).collect();
    longest_first.sort_by_key(|&i| (std::cmp::Reverse(lengths[i]), i));

    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut free: BTreeSet<(usize, usize)> = BTreeSet::new(); // (tokens left, row)
    for i in longest_first {
        let length = lengths[i];
        assert!(
            length <= max_length,
            "sequence {i} has {length} tokens, a row {max_length}"
        );
        let (left, row) = match free.range((length, 0)..).next().copied() {
            Some(best) => {
                free.remove(&best);
                best
            }
            None => {
                rows.push(Vec::new());
                (max_length, rows.len() - 1)
            }
        };
        rows[row].push(i);
        free.insert((left - length, row));
    }

    for row in &mut rows {
        row.sort_unstable();
    }
    rows.sort_unstable_by_key(|row| row[0]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::below;

    #[test]
    fn every_sequence_lies_in_one_row_and_no_row_overflows() {
        for seed in 0..20 {
            let lengths: Vec<usize> = (0..200).map(|i| 1 + below(64, seed, &[i])).collect();
            let rows = pack(&lengths, 64);
            let mut seen: Vec<usize> = rows.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
            let fill: Vec<usize> = rows
                .iter()
                .map(|row| row.iter().map(|&i| lengths[i]).sum())
                .collect();
            assert!(fill.iter().all(|&tokens| tokens <= 64));
            // Within the bound of best-fit decreasing, taking the number of tokens as the smallest possible.
            let least = lengths.iter().sum::<usize>().div_ceil(64);
            assert!(
                rows.len() * 9 <= least * 11 + 9,
                "{} rows, at least {least}",
                rows.len()
            );
        }
    }

    #[test]
    fn the_fullest_row_that_still_has_room_is_taken() {
        // Longest first: 7 and 5 open rows, 3 fits both and fills the row of the 7.
        assert_eq!(pack(&[5, 7, 3], 10), [vec![0], vec![1, 2]]);
    }

    #[test]
    fn a_sequence_as_long_as_a_row_has_it_for_itself() {
        assert_eq!(pack(&[4, 4, 0], 4), [vec![0, 2], vec![1]]);
        assert!(pack(&[], 4).is_empty());
    }
}
