//! The verifiers that ship, by the name a record or recipe gives them:
//!
//! | name | reward | args |
//! |---|---|---|
//! | `exact_match` | 1 if the trimmed completion is a right answer | `ignore_case` |
//! | `number_match`, `gsm8k` | 1 if the last number is the right one | |
//! | `contains` | 1 if the required texts occur | `texts`, `mode` (`all`, `any`, `none`), `ignore_case` |
//! | `chrf`, `chrf++` | sentence chrF, 0 to 1 | |
//! | `bleu` | sentence BLEU, 0 to 1 | `tokenize` |
//! | `regex` | 1 if the pattern is found | `pattern`, `mode` (`search`, `full`) |
//! | `format` | 1 if the whole completion fits the pattern, in which `.` also matches a line end | `pattern`, `mode` |
//! | `json` | 1 if it is JSON, and equal to `equals` if given | `equals` |
//! | `ends_properly` | 1 if the model ended its turn itself | |
//! | `length` | 1 from `min` to `max`, falling outside | `min`, `max`, `unit` (`tokens`, `words`, `chars`), `decay` |
//! | `max_length`, `up_to_max_length` | closeness to a number of tokens | `ground_truth`, `scale` |
//! | `soft_overlong` | 0, falling to −1 over the last `cache` tokens allowed | `cache` |
//! | `cosine_scaled` | for what `of` finds right 1 falling to 0.5 with the length, for what is wrong −1 rising to −0.5 | `of` (`number_match`), its args, `threshold`, `max_length`, `max_value_correct`, `min_value_correct`, `min_value_wrong`, `max_value_wrong` |
//! | `repetition` | 0, falling to −1 with the share of word n-grams that repeat | `ngram_size` (3) |
//!
//! A right answer is `args.ground_truth` (or `reference`, `answer`; a list means any of them), otherwise the
//! attempt's own reference; without either the reward is `None`.

mod answer;
mod cosine;
mod format;
mod length;
mod repetition;
mod translation;

use crate::{Attempt, Registry, RewardError};

/// Adds them all, in the order error messages list them.
pub(crate) fn register(registry: &mut Registry) {
    answer::register(registry);
    translation::register(registry);
    format::register(registry);
    length::register(registry);
    repetition::register(registry);
    cosine::register(registry);
}

/// The right answers: those of the args, or the attempt's own reference.
struct Answers(Vec<String>);

impl Answers {
    fn parse(args: &mut crate::Args) -> Result<Self, RewardError> {
        Ok(Self(args.answers()?))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of<'a>(&'a self, attempt: &Attempt<'a>) -> Option<Vec<&'a str>> {
        if self.is_empty() {
            attempt.reference.map(|r| vec![r])
        } else {
            Some(self.0.iter().map(String::as_str).collect())
        }
    }
}

/// The reward of a check that either holds or does not.
fn reward(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
