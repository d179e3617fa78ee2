//! Clipped n-gram counts, the heart of BLEU and chrF.
//!
//! Every position's window of up to `max_order` items is packed into one `u128` and the windows are
//! sorted once. Because the packing is left-aligned, that one order is also the order of every shorter
//! prefix, so each n-gram order is a linear merge of two sorted lists. Nothing is hashed, hence no
//! collisions, and nothing is quadratic.

/// The windows of one segment, sorted.
pub(crate) struct Ngrams {
    sorted: Vec<u128>,
    max_order: u32,
    bits: u32,
}

impl Ngrams {
    /// Packs `items`, each in `1..2^(128 / max_order)`: 2^21 for chrF's six, 2^32 for BLEU's four.
    pub(crate) fn new(items: &[u32], max_order: u32) -> Self {
        let bits = 128 / max_order;
        let mask = u128::MAX >> (128 - bits * max_order);
        let mut window = 0u128;
        let mut sorted = vec![0u128; items.len()];
        // From the right, each window is its item followed by the window after it, cut to length.
        for (slot, &item) in sorted.iter_mut().zip(items).rev() {
            debug_assert!(
                item > 0 && u128::from(item) >> bits == 0,
                "item {item} does not fit {bits} bits"
            );
            window = (window >> bits) | (u128::from(item) << (bits * (max_order - 1)));
            *slot = window & mask;
        }
        sorted.sort_unstable();
        Self {
            sorted,
            max_order,
            bits,
        }
    }

    /// The number of n-grams of order `n`, repeats included.
    pub(crate) fn total(&self, n: u32) -> u64 {
        (self.sorted.len() as u64 + 1).saturating_sub(u64::from(n))
    }

    /// The number of n-grams of order `n` also found in a reference, each counted at most as often as
    /// in the reference that has it most often.
    pub(crate) fn matches(&self, references: &[Ngrams], n: u32) -> u64 {
        let mut merged: Vec<_> = references.iter().map(|r| r.runs(n).peekable()).collect();
        let mut matched = 0;
        for (ngram, count) in self.runs(n) {
            let mut available = 0;
            for runs in &mut merged {
                while runs.next_if(|&(other, _)| other < ngram).is_some() {}
                if let Some(&(other, other_count)) = runs.peek()
                    && other == ngram
                {
                    available = available.max(other_count);
                }
            }
            matched += count.min(available);
        }
        matched
    }

    /// The number of different n-grams of order `n`.
    pub(crate) fn distinct(&self, n: u32) -> u64 {
        self.runs(n).count() as u64
    }

    /// Each different n-gram of order `n` with its count, ascending.
    fn runs(&self, n: u32) -> impl Iterator<Item = (u128, u64)> {
        let shift = self.bits * (self.max_order - n);
        let last_item = u128::MAX >> (128 - self.bits);
        let mut ngrams = self
            .sorted
            .iter()
            .map(move |window| window >> shift)
            // A window cut short by the end of the segment has no n-th item.
            .filter(move |ngram| ngram & last_item != 0)
            .peekable();
        std::iter::from_fn(move || {
            let ngram = ngrams.next()?;
            let mut count = 1;
            while ngrams.next_if_eq(&ngram).is_some() {
                count += 1;
            }
            Some((ngram, count))
        })
    }
}

/// Numbers words from 1 in order of appearance; equal words get equal numbers.
#[derive(Default)]
pub(crate) struct Vocabulary<'a>(std::collections::HashMap<&'a str, u32>);

impl<'a> Vocabulary<'a> {
    /// The number of `word`.
    pub(crate) fn id(&mut self, word: &'a str) -> u32 {
        let next = self.0.len() as u32 + 1;
        *self.0.entry(word).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_clipped_by_the_reference_that_has_most() {
        let hypothesis = Ngrams::new(&[1, 1, 1, 2], 4);
        let references = [Ngrams::new(&[1, 2], 4), Ngrams::new(&[1, 1, 3], 4)];
        assert_eq!(
            [hypothesis.total(1), hypothesis.matches(&references, 1)],
            [4, 3]
        );
        // 11, 11, 12 against 12 and 11, 13.
        assert_eq!(
            [hypothesis.total(2), hypothesis.matches(&references, 2)],
            [3, 2]
        );
    }

    #[test]
    fn orders_longer_than_the_segment_are_empty() {
        let short = Ngrams::new(&[7, 8], 6);
        assert_eq!(
            [short.total(2), short.total(3), short.distinct(3)],
            [1, 0, 0]
        );
        assert_eq!(Ngrams::new(&[], 6).total(1), 0);
    }

    #[test]
    fn windows_agree_with_counting_by_hand() {
        let items: Vec<u32> = (0..500u32).map(|i| i * i % 7 + 1).collect();
        let ngrams = Ngrams::new(&items, 6);
        for n in 1..=6 {
            let mut counts = std::collections::BTreeMap::new();
            items
                .windows(n)
                .for_each(|w| *counts.entry(w.to_vec()).or_insert(0) += 1);
            assert_eq!(ngrams.distinct(n as u32), counts.len() as u64);
            assert_eq!(
                ngrams.runs(n as u32).map(|(_, c)| c).collect::<Vec<u64>>(),
                counts.into_values().collect::<Vec<_>>()
            );
        }
    }
}
