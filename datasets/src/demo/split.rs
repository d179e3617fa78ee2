//! Which contents are kept out of every training set.
//!
//! A content is named by its words or values, not by its place in a file, so the same tenth is held out for every seed and in
//! every stage: a prompt of the evaluation, its answer and its translations were never seen together before.

use super::random::hash;

/// How many contents in a hundred are held out. With fewer, the smallest topics (sums, JSON objects) have too few held-out
/// prompts to measure; with more, words lose too many of the neighbours they are learned from.
const HELD_OUT_PERCENT: u64 = 10;

/// Whether the content of this name belongs to the evaluation.
pub fn is_held_out(name: &str) -> bool {
    hash(name) % 100 < HELD_OUT_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_a_tenth_is_held_out() {
        let held_out = (0..10_000)
            .filter(|i| is_held_out(&format!("content {i}")))
            .count();
        assert!((900..=1100).contains(&held_out), "{held_out}");
    }
}
