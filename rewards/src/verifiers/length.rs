//! How long a completion is: `length`, `max_length`, `up_to_max_length`, `soft_overlong`.

use crate::{Args, Attempt, Registry, RewardError, RewardFn};

pub(super) fn register(registry: &mut Registry) {
    registry.register("length", |args| Ok(Box::new(Length::parse(args)?)));
    registry.register("max_length", |args| {
        Ok(Box::new(MaxLength::parse(args, Short::Penalised)?))
    });
    registry.register("up_to_max_length", |args| {
        Ok(Box::new(MaxLength::parse(args, Short::Fine)?))
    });
    registry.register("soft_overlong", |args| {
        Ok(Box::new(SoftOverlong::parse(args)?))
    });
}

/// 1 from `min` to `max`; outside it falls in a straight line to 0 over `decay` units, by default over
/// the bound itself: 0 at nothing and at twice `max`.
struct Length {
    min: f64,
    max: f64,
    unit: &'static str,
    decay: Option<f64>,
}

impl Length {
    fn parse(args: &mut Args) -> Result<Self, RewardError> {
        let (min, max) = (args.amount("min")?, args.amount("max")?);
        if min.is_none() && max.is_none() {
            return Err(args.wrong("max", "a number (or give \"min\")", None));
        }
        let (min, max) = (min.unwrap_or(0.0), max.unwrap_or(f64::INFINITY));
        if min > max {
            return Err(args.wrong(
                "max",
                &format!("at least \"min\", which is {min}"),
                Some(&max.into()),
            ));
        }
        Ok(Self {
            min,
            max,
            unit: args.choice("unit", &["tokens", "words", "chars"])?,
            decay: args.amount("decay")?,
        })
    }
}

impl RewardFn for Length {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let length = match self.unit {
            "words" => attempt.completion.split_whitespace().count(),
            "chars" => attempt.completion.trim().chars().count(),
            _ => attempt.completion_tokens,
        } as f64;
        let (excess, bound) = match () {
            () if length < self.min => (self.min - length, self.min),
            () if length > self.max => (length - self.max, self.max),
            () => return Some(1.0),
        };
        let decay = self.decay.unwrap_or(bound);
        Some(if excess < decay {
            1.0 - excess / decay
        } else {
            0.0
        })
    }
}

/// open-instruct's length verifiers: 1 − |tokens − N| / scale, at least 0, where N is the ground truth.
/// `scale` is by default the longest completion allowed.
struct MaxLength {
    tokens: f64,
    scale: Option<f64>,
    short: Short,
}

/// What a completion shorter than asked for deserves.
#[derive(PartialEq)]
enum Short {
    Penalised,
    Fine,
}

impl MaxLength {
    fn parse(args: &mut Args, short: Short) -> Result<Self, RewardError> {
        let expected = "a number of tokens";
        let answers = args.answers()?;
        let [answer] = &answers[..] else {
            return Err(args.wrong("ground_truth", expected, None));
        };
        match answer.trim().parse::<f64>() {
            Ok(tokens) if tokens.is_finite() && tokens >= 0.0 => Ok(Self {
                tokens,
                scale: args.amount("scale")?,
                short,
            }),
            _ => Err(args.wrong("ground_truth", expected, Some(&answer.as_str().into()))),
        }
    }
}

impl RewardFn for MaxLength {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let tokens = attempt.completion_tokens as f64;
        if tokens <= self.tokens && self.short == Short::Fine {
            return Some(1.0);
        }
        let (distance, scale) = (
            (tokens - self.tokens).abs(),
            self.scale.unwrap_or(attempt.max_completion_length as f64),
        );
        Some(if distance == 0.0 {
            1.0
        } else {
            (1.0 - distance / scale).max(0.0)
        })
    }
}

/// DAPO's soft overlong punishment (<https://arxiv.org/abs/2503.14476>, eq. 13): 0 up to L_max − L_cache
/// tokens, −1 from L_max on, a straight line between, L_max being the longest completion allowed.
struct SoftOverlong {
    cache: f64,
}

impl SoftOverlong {
    fn parse(args: &mut Args) -> Result<Self, RewardError> {
        match args.amount("cache")? {
            Some(cache) if cache > 0.0 => Ok(Self { cache }),
            found => Err(args.wrong(
                "cache",
                "a number of tokens above 0",
                found.map(Into::into).as_ref(),
            )),
        }
    }
}

impl RewardFn for SoftOverlong {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let excess =
            attempt.completion_tokens as f64 - (attempt.max_completion_length as f64 - self.cache);
        Some(if excess <= 0.0 {
            0.0
        } else {
            -(excess / self.cache).min(1.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Attempt, Verifier};
    use serde_json::{Value, json};

    fn tokens(name: &str, args: Value, completion_tokens: usize) -> f64 {
        let attempt = Attempt {
            completion_tokens,
            max_completion_length: 100,
            ..Attempt::new("", "")
        };
        Verifier::parse(name, &args)
            .unwrap()
            .score(&attempt)
            .unwrap()
    }

    #[test]
    fn length_is_one_inside_and_falls_outside() {
        let band = json!({"min": 10, "max": 20});
        for (length, expected) in [
            (0, 0.0),
            (5, 0.5),
            (10, 1.0),
            (20, 1.0),
            (30, 0.5),
            (40, 0.0),
            (90, 0.0),
        ] {
            assert_eq!(tokens("length", band.clone(), length), expected, "{length}");
        }
        assert_eq!(tokens("length", json!({"max": 20, "decay": 4}), 21), 0.75);
        assert_eq!(tokens("length", json!({"max": 20, "decay": 0}), 21), 0.0);
        assert_eq!(tokens("length", json!({"max": 0}), 1), 0.0);
    }

    #[test]
    fn length_counts_words_and_characters() {
        let score = |unit: &str, max: u32| {
            Verifier::parse("length", &json!({"max": max, "unit": unit, "decay": 0}))
                .unwrap()
                .score(&Attempt::new("", " 塔 tower\n"))
                .unwrap()
        };
        assert_eq!(
            [
                score("words", 2),
                score("words", 1),
                score("chars", 7),
                score("chars", 6)
            ],
            [1.0, 0.0, 1.0, 0.0]
        );
    }

    #[test]
    fn length_needs_sensible_bounds() {
        for args in [
            json!({}),
            json!({"min": 5, "max": 2}),
            json!({"max": -1}),
            json!({"max": 5, "unit": "pages"}),
        ] {
            assert!(Verifier::parse("length", &args).is_err(), "{args}");
        }
    }

    #[test]
    fn max_length_is_closeness_and_up_to_forgives_short() {
        assert_eq!(
            [
                tokens("max_length", json!("50"), 50),
                tokens("max_length", json!(50), 25)
            ],
            [1.0, 0.75]
        );
        assert_eq!(
            [
                tokens("up_to_max_length", json!(50), 25),
                tokens("up_to_max_length", json!(50), 75)
            ],
            [1.0, 0.75]
        );
        assert_eq!(
            tokens("max_length", json!({"ground_truth": 50, "scale": 10}), 90),
            0.0
        );
        assert!(Verifier::parse("max_length", &json!("long")).is_err());
    }

    #[test]
    fn soft_overlong_is_a_punishment() {
        let score = |length| tokens("soft_overlong", json!({"cache": 20}), length);
        assert_eq!(
            [score(80), score(90), score(100), score(120)],
            [0.0, -0.5, -1.0, -1.0]
        );
    }
}
