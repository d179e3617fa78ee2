//! What a translation must not be, whatever its reward: in another language, empty, a copy of the source, a
//! loop, far too long or too short.
//!
//! Watched during training, since a reward can rise while one of these does too. [`Guards`] counts them over
//! many completions.

use crate::language::is_off_target;
use crate::metrics::Chrf;
use crate::metrics::ngrams::{Ngrams, Vocabulary};
use crate::metrics::text::words;

/// The guards' names in the log.
pub const NAMES: [&str; 5] = [
    "off_target_rate",
    "copy_rate",
    "empty_rate",
    "repetition_rate",
    "length_ratio",
];

/// A completion and what it is held against, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guarded<'a> {
    /// What the model wrote.
    pub completion: &'a str,
    /// The text to translate.
    pub source: Option<&'a str>,
    /// The right answer.
    pub reference: Option<&'a str>,
    /// The code of the language to write in.
    pub target_lang: Option<&'a str>,
}

/// The guards over some completions. A completion counts to a guard only where the guard can be wrong about
/// it: one that should be in a known language to `off_target_rate`, one with a source to `copy_rate`, one with
/// a reference to `length_ratio`. Where the right answer itself looks off target or is a copy of the source (a
/// name, a number), nothing can be told and it is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Guards {
    off_target: Share,
    copies: Share,
    empty: Share,
    repetitive: Share,
    length_ratios: (f64, u32),
}

impl Guards {
    /// Over these completions.
    pub fn of<'a>(completions: impl IntoIterator<Item = Guarded<'a>>) -> Self {
        let mut guards = Self::default();
        for guarded in completions {
            guards.add(guarded);
        }
        guards
    }

    /// Takes in one more completion.
    pub fn add(&mut self, guarded: Guarded<'_>) {
        let Guarded {
            completion,
            source,
            reference,
            target_lang,
        } = guarded;
        self.empty.add(is_empty(completion));
        self.repetitive.add(is_repetitive(completion));
        if let Some(target) = target_lang
            && reference.and_then(|right| is_off_target(right, target)) != Some(true)
            && let Some(is_off_target) = is_off_target(completion, target)
        {
            self.off_target.add(is_off_target);
        }
        if let Some(source) = source
            && !reference.is_some_and(|right| is_copy(right, source))
        {
            self.copies.add(is_copy(completion, source));
        }
        if let Some(ratio) = reference.and_then(|right| length_ratio(completion, right)) {
            self.length_ratios.0 += ratio;
            self.length_ratios.1 += 1;
        }
    }

    /// Each guard that something counted to, with its name of [`NAMES`]: the rates are shares of completions,
    /// `length_ratio` is the mean of [`length_ratio`].
    pub fn values(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let (sum, count) = self.length_ratios;
        let length_ratio = (count > 0).then(|| sum / f64::from(count));
        let values = [
            self.off_target.value(),
            self.copies.value(),
            self.empty.value(),
            self.repetitive.value(),
            length_ratio,
        ];
        let named = NAMES.into_iter().zip(values);
        named.filter_map(|(name, value)| Some((name, value?)))
    }
}

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Share {
    hits: u32,
    total: u32,
}

impl Share {
    fn add(&mut self, hit: bool) {
        self.hits += u32::from(hit);
        self.total += 1;
    }

    fn value(self) -> Option<f64> {
        (self.total > 0).then(|| f64::from(self.hits) / f64::from(self.total))
    }
}

/// Characters of the completion by those of the right answer, white space around both aside; `None` where the
/// right answer is blank.
pub fn length_ratio(completion: &str, reference: &str) -> Option<f64> {
    let length = |text: &str| text.trim().chars().count();
    match length(reference) {
        0 => None,
        right => Some(length(completion) as f64 / right as f64),
    }
}

/// Whether the completion is a loop: at least half of its word trigrams, or of its runs of six characters,
/// repeat earlier ones. Texts of fewer than eight words are held to their characters, and those of fewer than
/// 24 characters are none.
pub fn is_repetitive(completion: &str) -> bool {
    let is_long = words(completion).nth(MIN_LOOP_WORDS - 1).is_some();
    let mut chars = words(completion).flat_map(str::chars);
    let has_chars = chars.nth(MIN_LOOP_CHARS - 1).is_some();
    is_long && repetition(completion, 3) >= LOOP
        || has_chars && char_repetition(completion, 6) >= LOOP
}

const LOOP: f64 = 0.5;
const MIN_LOOP_WORDS: usize = 8;
const MIN_LOOP_CHARS: usize = 24;

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
    let mut share = Share::default();
    flags.for_each(|flag| share.add(flag));
    share.value()
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

    #[test]
    fn a_loop_is_a_text_half_of_which_has_been_said_before() {
        // Eight words have six trigrams, and these one different: 5/6 repeat.
        assert!(is_repetitive("ha ha ha ha ha ha ha ha"));
        // "the old tower" comes twice among ten trigrams of twelve words: 1/10.
        let text = "the old tower stands here and the old tower has no roof";
        assert!(!is_repetitive(text));
        // 26 characters, 21 runs of six, of which 2 are different.
        assert!(is_repetitive(&"塔石".repeat(13)));
        assert!(!is_repetitive("塔塔塔塔塔塔"), "too short to tell");
        assert!(!is_repetitive("1, 2, 3, 4, 5, 6, 7, 8, 9"));
    }

    #[test]
    fn a_length_ratio_counts_characters_not_bytes() {
        // 4 by 8 characters.
        assert_eq!(length_ratio(" Turm ", "石塔石塔石塔石塔"), Some(0.5));
        assert_eq!(length_ratio("", "塔"), Some(0.0));
        assert_eq!((length_ratio("x", ""), length_ratio("", " ")), (None, None));
    }

    fn values(completions: &[Guarded<'_>]) -> Vec<(&'static str, f64)> {
        Guards::of(completions.iter().copied()).values().collect()
    }

    #[test]
    fn guards_are_shares_of_the_completions_that_they_can_judge() {
        let source = "Der alte Turm steht am Fluss und hat kein Dach.";
        let reference = "古い塔は川のほとりに立っていて屋根がない。";
        let translation = Guarded {
            source: Some(source),
            reference: Some(reference),
            target_lang: Some("ja"),
            ..Guarded::default()
        };
        let written = |completion| Guarded {
            completion,
            ..translation
        };
        // A right answer, a copy, which is in the wrong language too, one in a third language, and nothing.
        let completions = [reference, source, "The old tower.", ""].map(written);
        // 21 characters are right; the four have 21, 47, 14 and 0 of them: 82 / 21 / 4.
        assert_eq!(
            values(&completions),
            [
                ("off_target_rate", 0.5),
                ("copy_rate", 0.25),
                ("empty_rate", 0.25),
                ("repetition_rate", 0.0),
                ("length_ratio", (1.0 + 47.0 / 21.0 + 14.0 / 21.0) / 4.0),
            ]
        );
        let nothing_known = Guarded {
            completion: "5",
            ..Guarded::default()
        };
        assert_eq!(
            values(&[nothing_known]),
            [("empty_rate", 0.0), ("repetition_rate", 0.0)]
        );
        assert_eq!(values(&[]), []);
    }

    #[test]
    fn where_the_right_answer_is_a_copy_or_in_another_language_nothing_is_counted() {
        let name = Guarded {
            completion: "Hotel Adlon Kempinski",
            source: Some("Hotel Adlon Kempinski"),
            reference: Some("Hotel Adlon Kempinski"),
            target_lang: Some("ru"),
        };
        assert_eq!(
            values(&[name]),
            [
                ("empty_rate", 0.0),
                ("repetition_rate", 0.0),
                ("length_ratio", 1.0)
            ]
        );
    }
}
