//! BLEU (Papineni et al., 2002, <https://aclanthology.org/P02-1040>), equal to sacreBLEU's.
//!
//! ```text
//! BLEU = 100 · BP · exp(1/N Σ_n ln p_n),   BP = min(1, exp(1 − r/c))
//! ```
//! where p_n is the clipped n-gram precision over the whole corpus, c the length of the hypotheses, r the
//! closest reference lengths summed, N = 4. Smoothing is `exp`: the k-th order without a match counts
//! 1 / (2^k · total). With effective order, N is the longest order the hypothesis has.

use super::Tokenizer;
use super::ngrams::{Ngrams, Vocabulary};
use super::signature;
use super::text::words;

const MAX_ORDER: usize = 4;
/// What sacreBLEU takes for ln 0.
const LOG_ZERO: f64 = -9_999_999_999.0;

/// BLEU with its settings: over a corpus ([`Bleu::corpus`]) or for single sentences ([`Bleu::sentence`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bleu {
    tokenizer: Tokenizer,
    effective_order: bool,
}

impl Bleu {
    /// BLEU as reported for a test set: all four orders count.
    pub fn corpus(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            effective_order: false,
        }
    }

    /// BLEU for a sentence alone: orders longer than the hypothesis are left out of the mean.
    pub fn sentence(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            effective_order: true,
        }
    }

    /// BLEU of one hypothesis against its references, 0 to 100. No reference at all is our mistake and panics.
    pub fn sentence_score<R: AsRef<str>>(&self, hypothesis: &str, references: &[R]) -> f64 {
        self.score(&self.stats(hypothesis, references)).score
    }

    /// BLEU of a corpus, 0 to 100: `references[i]` are the references of `hypotheses[i]`.
    ///
    /// Panics where the two differ in length; the caller, who knows the files, reports that.
    pub fn corpus_score<H: AsRef<str>, R: AsRef<str>>(
        &self,
        hypotheses: &[H],
        references: &[Vec<R>],
    ) -> BleuScore {
        assert_eq!(
            hypotheses.len(),
            references.len(),
            "hypotheses and references differ in number"
        );
        let mut total = BleuStats::default();
        for (hypothesis, references) in hypotheses.iter().zip(references) {
            total += self.stats(hypothesis.as_ref(), references);
        }
        self.score(&total)
    }

    /// The additive statistics of one segment.
    pub fn stats<R: AsRef<str>>(&self, hypothesis: &str, references: &[R]) -> BleuStats {
        assert!(!references.is_empty(), "BLEU needs a reference");
        let hypothesis = self.tokenizer.tokenize(hypothesis);
        let references: Vec<String> = references
            .iter()
            .map(|r| self.tokenizer.tokenize(r.as_ref()))
            .collect();
        let mut vocabulary = Vocabulary::default();
        let hypothesis = ngrams(&hypothesis, &mut vocabulary);
        let references: Vec<Ngrams> = references
            .iter()
            .map(|r| ngrams(r, &mut vocabulary))
            .collect();

        let hypothesis_len = hypothesis.total(1);
        let reference_lens = references.iter().map(|r| r.total(1));
        let closest = reference_lens.min_by_key(|len| (len.abs_diff(hypothesis_len), *len));
        let mut stats = BleuStats {
            hypothesis_len,
            reference_len: closest.unwrap_or(0),
            ..BleuStats::default()
        };
        for n in 0..MAX_ORDER {
            stats.total[n] = hypothesis.total(n as u32 + 1);
            stats.correct[n] = hypothesis.matches(&references, n as u32 + 1);
        }
        stats
    }

    /// The score that summed statistics amount to.
    pub fn score(&self, stats: &BleuStats) -> BleuScore {
        let (c, r) = (stats.hypothesis_len as f64, stats.reference_len as f64);
        let brevity_penalty = match () {
            () if c >= r => 1.0,
            () if c > 0.0 => (1.0 - r / c).exp(),
            () => 0.0,
        };
        let mut precisions = [0.0; MAX_ORDER];
        if stats.correct == [0; MAX_ORDER] {
            return BleuScore {
                score: 0.0,
                precisions,
                brevity_penalty,
                stats: *stats,
            };
        }
        let mut smoothing = 1.0;
        let mut order = MAX_ORDER;
        for (n, precision) in precisions.iter_mut().enumerate() {
            let (correct, total) = (stats.correct[n] as f64, stats.total[n] as f64);
            if total == 0.0 {
                break;
            }
            if self.effective_order {
                order = n + 1;
            }
            *precision = if correct == 0.0 {
                smoothing *= 2.0;
                100.0 / (smoothing * total)
            } else {
                100.0 * correct / total
            };
        }
        let logs: f64 = precisions[..order]
            .iter()
            .map(|&p| if p == 0.0 { LOG_ZERO } else { p.ln() })
            .sum();
        let score = brevity_penalty * (logs / order as f64).exp();
        BleuScore {
            score,
            precisions,
            brevity_penalty,
            stats: *stats,
        }
    }

    /// sacreBLEU's signature; `None` references stands for a number that varies.
    pub fn signature(&self, num_references: Option<usize>) -> String {
        let eff = if self.effective_order { "yes" } else { "no" };
        signature(
            num_references,
            &format!("eff:{eff}|tok:{}|smooth:exp", self.tokenizer.name()),
        )
    }
}

/// A BLEU score and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BleuScore {
    /// BLEU, 0 to 100.
    pub score: f64,
    /// Smoothed precisions of orders 1 to 4, in percent.
    pub precisions: [f64; MAX_ORDER],
    /// The brevity penalty, 0 to 1.
    pub brevity_penalty: f64,
    /// The counts behind it.
    pub stats: BleuStats,
}

/// Sufficient statistics; a corpus is the sum of its segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BleuStats {
    /// Words in the hypothesis.
    pub hypothesis_len: u64,
    /// Words in the reference closest in length, the shorter on a tie.
    pub reference_len: u64,
    /// Clipped matches of orders 1 to 4.
    pub correct: [u64; MAX_ORDER],
    /// N-grams of the hypothesis of orders 1 to 4.
    pub total: [u64; MAX_ORDER],
}

impl std::ops::AddAssign for BleuStats {
    fn add_assign(&mut self, other: Self) {
        self.hypothesis_len += other.hypothesis_len;
        self.reference_len += other.reference_len;
        for n in 0..MAX_ORDER {
            self.correct[n] += other.correct[n];
            self.total[n] += other.total[n];
        }
    }
}

fn ngrams<'a>(tokenized: &'a str, vocabulary: &mut Vocabulary<'a>) -> Ngrams {
    let ids: Vec<u32> = words(tokenized).map(|word| vocabulary.id(word)).collect();
    Ngrams::new(&ids, MAX_ORDER as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_short_sentence_needs_effective_order() {
        // Two words have no trigrams: sacreBLEU's corpus BLEU is 0, its sentence BLEU 100.
        assert_eq!(
            Bleu::corpus(Tokenizer::V13a).sentence_score("hello there", &["hello there"]),
            0.0
        );
        assert!(
            (Bleu::sentence(Tokenizer::V13a).sentence_score("hello there", &["hello there"])
                - 100.0)
                .abs()
                < 1e-9
        );
    }

    #[test]
    fn worked_by_hand() {
        // c = r = 4; matches 3/4, 2/3, 1/2, 0/1 → p4 smoothed to 1/(2·1): (0.75 · 0.6667 · 0.5 · 0.5)^¼ = 0.5946.
        let score = Bleu::sentence(Tokenizer::None).sentence_score("a b c d", &["a b c e"]);
        assert!((score - 59.460_355_750_136_05).abs() < 1e-9, "{score}");
    }

    #[test]
    fn empty_inputs_score_zero() {
        let bleu = Bleu::sentence(Tokenizer::V13a);
        for (hypothesis, reference) in [("", ""), ("", "a"), ("a", ""), (" ", "\n")] {
            assert_eq!(bleu.sentence_score(hypothesis, &[reference]), 0.0);
        }
        assert_eq!(
            bleu.corpus_score(&[] as &[&str], &[] as &[Vec<&str>]).score,
            0.0
        );
    }

    #[test]
    fn signatures_are_sacrebleus() {
        let version = crate::metrics::SACREBLEU_VERSION;
        assert_eq!(
            Bleu::corpus(Tokenizer::V13a).signature(Some(1)),
            format!("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}")
        );
        assert!(
            Bleu::sentence(Tokenizer::Zh)
                .signature(None)
                .starts_with("nrefs:var|case:mixed|eff:yes|tok:zh")
        );
    }
}
