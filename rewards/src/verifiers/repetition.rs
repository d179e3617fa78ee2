//! How often a completion says the same: `repetition`.

use serde_json::json;

use crate::{Args, Attempt, Registry, RewardError, RewardFn, guards};

pub(super) fn register(registry: &mut Registry) {
    registry.register("repetition", |args| Ok(Box::new(Repetition::parse(args)?)));
}

/// 0, falling to −1 with the share of n-grams of words that repeat an earlier one: open-r1's repetition
/// penalty with a `max_penalty` of −1, case apart.
struct Repetition {
    ngram_size: u32,
}

impl Repetition {
    fn parse(args: &mut Args) -> Result<Self, RewardError> {
        match args.amount("ngram_size")? {
            None => Ok(Self { ngram_size: 3 }),
            Some(n @ (1.0 | 2.0 | 3.0 | 4.0)) => Ok(Self {
                ngram_size: n as u32,
            }),
            Some(other) => Err(args.wrong("ngram_size", "1, 2, 3 or 4", Some(&json!(other)))),
        }
    }
}

impl RewardFn for Repetition {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        Some(-guards::repetition(attempt.completion, self.ngram_size))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Attempt, Verifier};

    #[test]
    fn the_share_of_repeated_ngrams_is_taken_away() {
        let score = |args: Value, text: &str| {
            let verifier = Verifier::parse("repetition", &args).unwrap();
            verifier.score(&Attempt::new("", text)).unwrap()
        };
        // "a b c", "b c a", "c a b" and "a b c" again.
        assert_eq!(score(json!({}), "a b c a b c"), -0.25);
        assert_eq!(score(json!({"ngram_size": 1}), "a b c a b c"), -0.5);
        // Too short for one, and nothing at all.
        assert_eq!(score(json!({}), "a a"), 0.0);
        assert_eq!(score(json!({}), ""), 0.0);
        let refused = Verifier::parse("repetition", &json!({"ngram_size": 5})).unwrap_err();
        assert!(refused.to_string().contains("1, 2, 3 or 4"), "{refused}");
    }
}
