//! chrF (Popović, 2015, <https://aclanthology.org/W15-3049>) and chrF++ (2017,
//! <https://aclanthology.org/W17-4770>), equal to sacreBLEU's chrF2 and chrF2++.
//!
//! ```text
//! chrF = 100 · (1 + β²) · P · R / (β² · P + R),   β = 2
//! ```
//! where P and R are precision and recall averaged over the orders that both sides have: characters 1 to 6
//! without white space and, in chrF++, words 1 and 2 with one punctuation mark split off each.

use super::ngrams::{Ngrams, Vocabulary};
use super::signature;
use super::text::{is_space, words};

const CHAR_ORDER: usize = 6;
const MAX_WORD_ORDER: usize = 2;
const BETA_SQUARED: f64 = 4.0;

/// The chrF family: [`Chrf::CHRF`] or [`Chrf::CHRF_PLUS_PLUS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chrf {
    word_order: usize,
}

impl Chrf {
    /// chrF2: characters only.
    pub const CHRF: Self = Self { word_order: 0 };
    /// chrF2++: characters, words and word pairs.
    pub const CHRF_PLUS_PLUS: Self = Self {
        word_order: MAX_WORD_ORDER,
    };

    /// chrF of one hypothesis against the reference it does best on, 0 to 100. No reference at all panics.
    pub fn sentence_score<R: AsRef<str>>(&self, hypothesis: &str, references: &[R]) -> f64 {
        self.score(&self.stats(hypothesis, references))
    }

    /// chrF of a corpus, 0 to 100: `references[i]` are the references of `hypotheses[i]`.
    ///
    /// Panics where the two differ in length; the caller, who knows the files, reports that.
    pub fn corpus_score<H: AsRef<str>, R: AsRef<str>>(
        &self,
        hypotheses: &[H],
        references: &[Vec<R>],
    ) -> f64 {
        assert_eq!(
            hypotheses.len(),
            references.len(),
            "hypotheses and references differ in number"
        );
        let mut total = ChrfStats::default();
        for (hypothesis, references) in hypotheses.iter().zip(references) {
            total += self.stats(hypothesis.as_ref(), references);
        }
        self.score(&total)
    }

    /// The additive statistics of one segment, against the reference with the best score.
    pub fn stats<R: AsRef<str>>(&self, hypothesis: &str, references: &[R]) -> ChrfStats {
        assert!(!references.is_empty(), "chrF needs a reference");
        let mut vocabulary = Vocabulary::default();
        let hypothesis = Segment::new(hypothesis, self.word_order, &mut vocabulary);
        let mut best: Option<(f64, ChrfStats)> = None;
        for reference in references {
            let reference = Segment::new(reference.as_ref(), self.word_order, &mut vocabulary);
            let stats = self.compare(&hypothesis, reference);
            let score = self.score(&stats);
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, stats));
            }
        }
        best.map(|(_, stats)| stats).unwrap_or_default()
    }

    /// The score that summed statistics amount to.
    pub fn score(&self, stats: &ChrfStats) -> f64 {
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for &[hypothesis, reference, matched] in &stats.0[..CHAR_ORDER + self.word_order] {
            if hypothesis > 0 && reference > 0 {
                precision += matched as f64 / hypothesis as f64;
                recall += matched as f64 / reference as f64;
                orders += 1.0;
            }
        }
        if orders == 0.0 || precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precision / orders, recall / orders);
        100.0 * ((1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall))
    }

    /// sacreBLEU's signature; `None` references stands for a number that varies.
    pub fn signature(&self, num_references: Option<usize>) -> String {
        signature(
            num_references,
            &format!("eff:yes|nc:{CHAR_ORDER}|nw:{}|space:no", self.word_order),
        )
    }

    fn compare(&self, hypothesis: &Segment, reference: Segment) -> ChrfStats {
        let mut stats = ChrfStats::default();
        let chars = std::slice::from_ref(&reference.chars);
        let words = std::slice::from_ref(&reference.words);
        let orders = (1..=CHAR_ORDER as u32)
            .map(|n| (&hypothesis.chars, chars, n))
            .chain((1..=self.word_order as u32).map(|n| (&hypothesis.words, words, n)));
        for (slot, (hypothesis, reference, n)) in stats.0.iter_mut().zip(orders) {
            let reference_total = reference[0].total(n);
            // An order the reference does not have is no fault of the hypothesis.
            let hypothesis_total = if reference_total > 0 {
                hypothesis.total(n)
            } else {
                0
            };
            *slot = [
                hypothesis_total,
                reference_total,
                hypothesis.matches(reference, n),
            ];
        }
        stats
    }
}

/// Sufficient statistics, per order `[in hypothesis, in reference, matched]`; a corpus is the sum of its segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChrfStats([[u64; 3]; CHAR_ORDER + MAX_WORD_ORDER]);

impl std::ops::AddAssign for ChrfStats {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self
            .0
            .as_flattened_mut()
            .iter_mut()
            .zip(other.0.as_flattened())
        {
            *mine += theirs;
        }
    }
}

struct Segment {
    chars: Ngrams,
    words: Ngrams,
}

impl Segment {
    fn new<'a>(text: &'a str, word_order: usize, vocabulary: &mut Vocabulary<'a>) -> Self {
        let chars: Vec<u32> = text
            .chars()
            .filter(|&c| !is_space(c))
            .map(|c| c as u32 + 1)
            .collect();
        let mut ids = Vec::new();
        if word_order > 0 {
            ids.extend(
                words(text)
                    .flat_map(split_punctuation)
                    .filter(|w| !w.is_empty())
                    .map(|w| vocabulary.id(w)),
            );
        }
        Self {
            chars: Ngrams::new(&chars, CHAR_ORDER as u32),
            words: Ngrams::new(&ids, MAX_WORD_ORDER as u32),
        }
    }
}

/// Splits off one ASCII punctuation mark, the last or else the first: `(hi)` is `(hi` and `)`, as in chrF++.py.
fn split_punctuation(word: &str) -> [&str; 2] {
    let is_mark = |c: &u8| c.is_ascii_punctuation();
    match word.as_bytes() {
        [_] => [word, ""],
        [.., last] if is_mark(last) => word.split_at(word.len() - 1).into(),
        [first, ..] if is_mark(first) => word.split_at(1).into(),
        _ => [word, ""],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        // "ab" against "abc": order 1 P 2/2, R 2/3; order 2 P 1/1, R 1/2; order 3 only in the reference.
        // P = 1, R = 7/12, F2 = 5 · 7/12 / (4 + 7/12) = 35/55.
        let score = Chrf::CHRF.sentence_score("ab", &["abc"]);
        assert!((score - 100.0 * 35.0 / 55.0).abs() < 1e-12, "{score}");
    }

    #[test]
    fn degenerate_inputs_score_as_in_sacrebleu() {
        for metric in [Chrf::CHRF, Chrf::CHRF_PLUS_PLUS] {
            for (hypothesis, reference) in [("", ""), ("", "a"), ("a", ""), (" ", "\t"), ("a", "b")]
            {
                assert_eq!(
                    metric.sentence_score(hypothesis, &[reference]),
                    0.0,
                    "{hypothesis:?} {reference:?}"
                );
            }
            assert_eq!(metric.sentence_score("a", &["a"]), 100.0);
        }
    }

    #[test]
    fn white_space_does_not_count_for_characters() {
        assert_eq!(Chrf::CHRF.sentence_score("a b\u{3000}c", &["abc"]), 100.0);
        assert!(Chrf::CHRF_PLUS_PLUS.sentence_score("a b c", &["abc"]) < 100.0);
    }

    #[test]
    fn one_punctuation_mark_is_split_off_the_end_first() {
        assert_eq!(split_punctuation("(hi)"), ["(hi", ")"]);
        assert_eq!(split_punctuation("\"hi"), ["\"", "hi"]);
        assert_eq!(split_punctuation("。"), ["。", ""]);
        assert_eq!(split_punctuation("!"), ["!", ""]);
        assert_eq!(split_punctuation("!!"), ["!", "!"]);
    }

    #[test]
    fn the_best_reference_counts() {
        assert_eq!(
            Chrf::CHRF.sentence_score("the tower", &["a wall", "the tower"]),
            100.0
        );
    }

    #[test]
    fn a_million_characters_are_no_trouble() {
        // Quadratic counting would take hours here.
        let text: String = (0..1_000_000u32)
            .map(|i| char::from(b'a' + (i.wrapping_mul(i) % 26) as u8))
            .collect();
        assert!(Chrf::CHRF.sentence_score(&text, &[&text]) > 99.999);
        assert!(Chrf::CHRF.sentence_score(&"a".repeat(1_000_000), &["a"]) < 100.0);
    }

    #[test]
    fn signatures_are_sacrebleus() {
        let version = crate::metrics::SACREBLEU_VERSION;
        assert_eq!(
            Chrf::CHRF.signature(Some(1)),
            format!("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}")
        );
        assert_eq!(
            Chrf::CHRF_PLUS_PLUS.signature(Some(2)),
            format!("nrefs:2|case:mixed|eff:yes|nc:6|nw:2|space:no|version:{version}")
        );
    }
}
