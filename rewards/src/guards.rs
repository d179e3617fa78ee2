//! What a translation must not be, whatever its reward: empty, a copy of the source, a loop.
//!
//! Watched during training, since a reward can rise while one of these does too.

use crate::metrics::Chrf;
use crate::metrics::ngrams::{Ngrams, Vocabulary};
use crate::metrics::text::words;

/// Whether nothing but white space was written.
pub fn is_empty(completion: &str) -> bool {
    words(completion).next().is_none()
}

/// Whether the completion is the source again, white space and case aside.
pub fn is_copy(completion: &str, source: &str) -> bool {
    let folded = |text: &str| words(text).map(str::to_lowercase).collect::<Vec<_>>();
    !is_empty(completion) && folded(completion) == folded(source)
}

/// How close the completion is to the source, 0 to 1 (chrF): near 1 is a copy with retouches.
pub fn copy_similarity(completion: &str, source: &str) -> f64 {
    Chrf::CHRF.sentence_score(completion, &[source]) / 100.0
}

/// The share of completions that are copies of their source; `None` for no pairs.
pub fn copy_rate<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<f64> {
    share(
        pairs
            .into_iter()
            .map(|(completion, source)| is_copy(completion, source)),
    )
}

/// The share of completions with nothing in them; `None` for no completions.
pub fn empty_rate<'a>(completions: impl IntoIterator<Item = &'a str>) -> Option<f64> {
    share(completions.into_iter().map(is_empty))
}

/// The share of word `n`-grams that repeat an earlier one, 1 − unique / total; 0 where the text has fewer than
/// `n` words. `n` is 1 to 4.
pub fn repetition(completion: &str, n: u32) -> f64 {
    let mut vocabulary = Vocabulary::default();
    let ids: Vec<u32> = words(completion).map(|word| vocabulary.id(word)).collect();
    repeated(&Ngrams::new(&ids, 4), n)
}

/// The same over characters, for scripts that do not separate words. `n` is 1 to 6.
pub fn char_repetition(completion: &str, n: u32) -> f64 {
    let chars: Vec<u32> = words(completion)
        .flat_map(str::chars)
        .map(|c| c as u32 + 1)
        .collect();
    repeated(&Ngrams::new(&chars, 6), n)
}

fn repeated(ngrams: &Ngrams, n: u32) -> f64 {
    match ngrams.total(n) {
        0 => 0.0,
        total => 1.0 - ngrams.distinct(n) as f64 / total as f64,
    }
}

fn share(flags: impl Iterator<Item = bool>) -> Option<f64> {
    let (mut hits, mut total) = (0u32, 0u32);
    for flag in flags {
        hits += u32::from(flag);
        total += 1;
    }
    (total > 0).then(|| f64::from(hits) / f64::from(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_a_copy_whatever_its_case_and_spacing() {
        assert!(is_copy("The  Tower\n", "the tower"));
        assert!(!is_copy("der Turm", "the tower"));
        assert!(!is_copy("", ""), "an empty answer is empty, not a copy");
        assert!(copy_similarity("the tower!", "the tower") > 0.9);
    }

    #[test]
    fn rates_are_shares_and_missing_without_data() {
        assert_eq!(copy_rate([("a", "a"), ("b", "a")]), Some(0.5));
        assert_eq!(empty_rate(["", " \n", "x", "y"]), Some(0.5));
        assert_eq!((copy_rate([]), empty_rate([])), (None, None));
    }

    #[test]
    fn repetition_is_one_minus_unique_over_total() {
        assert_eq!(repetition("a b c d", 2), 0.0);
        // ab bc ca ab bc: 3 of 5 are different.
        assert!((repetition("a b c a b c", 2) - 0.4).abs() < 1e-12);
        assert_eq!(repetition("a", 3), 0.0);
        assert!(char_repetition("塔塔塔塔塔塔", 3) > 0.7);
    }
}
