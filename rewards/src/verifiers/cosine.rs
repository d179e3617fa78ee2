//! How short a right completion is: `cosine_scaled`.

use std::f64::consts::PI;

use crate::{Args, Attempt, Registry, RewardError, RewardFn};

/// Adds it, over the verifiers that are known so far.
pub(super) fn register(registry: &mut Registry) {
    let known = registry.clone();
    registry.register("cosine_scaled", move |args| {
        Ok(Box::new(CosineScaled::parse(args, &known)?))
    });
}

/// What another verifier finds right is worth less the longer it is, and what is wrong costs less, by half
/// a cosine over `max_length` tokens and flat beyond (<https://arxiv.org/abs/2502.03373>, appendix C.1;
/// TRL's `get_cosine_scaled_reward`).
struct CosineScaled {
    of: Box<dyn RewardFn>,
    /// What makes a completion right.
    threshold: f64,
    /// The longest completion allowed where it is not given.
    max_length: Option<f64>,
    /// Of no tokens and of `max_length`.
    right: [f64; 2],
    wrong: [f64; 2],
}

impl CosineScaled {
    fn parse(args: &mut Args, known: &Registry) -> Result<Self, RewardError> {
        let of = args.string("of")?;
        let of = of.as_deref().unwrap_or("number_match");
        let max_length = args.amount("max_length")?;
        if max_length == Some(0.0) {
            return Err(args.wrong("max_length", "a number of tokens above 0", Some(&0.into())));
        }
        let mut number = |key, default| args.number(key).map(|given| given.unwrap_or(default));
        Ok(Self {
            threshold: number("threshold", 1.0)?,
            right: [
                number("max_value_correct", 1.0)?,
                number("min_value_correct", 0.5)?,
            ],
            wrong: [
                number("min_value_wrong", -1.0)?,
                number("max_value_wrong", -0.5)?,
            ],
            of: known.function(of, args)?,
            max_length,
        })
    }
}

impl RewardFn for CosineScaled {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let is_right = self.of.score(attempt)? >= self.threshold;
        let longest = attempt.max_completion_length.max(1) as f64;
        let share = attempt.completion_tokens as f64 / self.max_length.unwrap_or(longest);
        let [short, long] = if is_right { self.right } else { self.wrong };
        Some(long + 0.5 * (short - long) * (1.0 + (share.min(1.0) * PI).cos()))
    }

    fn needs_reference(&self) -> bool {
        self.of.needs_reference()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Attempt, Verifier};

    fn score(args: &Value, completion: &str, completion_tokens: usize) -> Option<f64> {
        let attempt = Attempt {
            completion_tokens,
            max_completion_length: 100,
            ..Attempt::new("", completion)
        };
        let verifier = Verifier::parse("cosine_scaled", args).expect("sound arguments");
        verifier.score(&attempt)
    }

    #[test]
    fn right_ones_are_better_short_and_wrong_ones_long() {
        let args = json!("42");
        for (completion, tokens, want) in [
            ("It is 42.", 0, 1.0),
            ("It is 42.", 50, 0.75),
            ("It is 42.", 100, 0.5),
            ("It is 42.", 170, 0.5),
            ("It is 41.", 0, -1.0),
            ("It is 41.", 50, -0.75),
            ("It is 41.", 100, -0.5),
        ] {
            let got = score(&args, completion, tokens).expect("there is an answer");
            assert!((got - want).abs() < 1e-12, "{completion} {tokens}: {got}");
        }
        assert_eq!(score(&json!({}), "42", 3), None, "no right answer is known");
    }

    #[test]
    fn another_verifier_says_what_is_right_with_its_own_arguments() {
        let args = json!({"of": "contains", "texts": ["tower"], "max_length": 10});
        assert_eq!(score(&args, "a tower", 10), Some(0.5));
        assert_eq!(score(&args, "a wall", 10), Some(-0.5));
        let near = json!({"of": "chrf", "ground_truth": "the tower", "threshold": 0.5, "max_value_correct": 2});
        assert_eq!(score(&near, "the towers", 0), Some(2.0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (args, why) in [
            (json!({"of": "contain"}), "unknown verifier \"contain\""),
            (
                json!({"of": "cosine_scaled"}),
                "unknown verifier \"cosine_scaled\"",
            ),
            (json!({"max_length": 0}), "a number of tokens above 0"),
            (json!({"threshold": "high"}), "a number"),
            (
                json!({"of": "exact_match", "texts": ["x"]}),
                "unknown argument \"texts\"",
            ),
        ] {
            let error = Verifier::parse("cosine_scaled", &args)
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
        }
        let without = Verifier::parse("cosine_scaled", &json!({})).expect("sound");
        assert!(without.check_reference(None).is_err());
    }
}
