//! Right or wrong answers: `exact_match`, `number_match` (`gsm8k`), `contains`.

use super::{Answers, reward};
use crate::{Args, Attempt, Registry, RewardError, RewardFn};
use regex::Regex;
use std::sync::LazyLock;

pub(super) fn register(registry: &mut Registry) {
    registry.register("exact_match", |args| Ok(Box::new(ExactMatch::parse(args)?)));
    for name in ["number_match", "gsm8k"] {
        registry.register(name, |args| {
            Ok(Box::new(NumberMatch(Answers::parse(args)?)))
        });
    }
    registry.register("contains", |args| Ok(Box::new(Contains::parse(args)?)));
}

struct ExactMatch {
    answers: Answers,
    ignore_case: bool,
}

impl ExactMatch {
    fn parse(args: &mut Args) -> Result<Self, RewardError> {
        Ok(Self {
            answers: Answers::parse(args)?,
            ignore_case: args.flag("ignore_case")?,
        })
    }
}

impl RewardFn for ExactMatch {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let completion = fold(attempt.completion.trim(), self.ignore_case);
        let answers = self.answers.of(attempt)?;
        Some(reward(answers.iter().any(|answer| {
            fold(answer.trim(), self.ignore_case) == completion
        })))
    }

    fn needs_reference(&self) -> bool {
        self.answers.is_empty()
    }
}

fn fold(text: &str, ignore_case: bool) -> std::borrow::Cow<'_, str> {
    if ignore_case {
        text.to_lowercase().into()
    } else {
        text.into()
    }
}

/// The last number of the completion against the answer's, after open-instruct's `gsm8k` verifier. It differs:
///
/// 1. numbers are compared by value (`18.00` is `18`), digit by digit rather than as floats;
/// 2. a sign counts unless it follows a digit or letter, where it is a minus or a hyphen (`10-5` ends in 5);
/// 3. the answer is read the same way, so `#### 1,234` and `$1,234` are 1234.
///
/// Where neither has a number, the trimmed texts are compared without regard to case, as there.
struct NumberMatch(Answers);

impl RewardFn for NumberMatch {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let completion = last_number(attempt.completion);
        let answers = self.0.of(attempt)?;
        Some(reward(
            answers
                .iter()
                .any(|answer| last_number(answer) == completion),
        ))
    }

    fn needs_reference(&self) -> bool {
        self.0.is_empty()
    }
}

/// The last number in canonical decimal digits, or the text itself where it has none.
fn last_number(text: &str) -> String {
    static GROUPS: LazyLock<Regex> = LazyLock::new(|| pattern("([0-9]),([0-9])"));
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"([0-9]*)\.([0-9]+)|[0-9]+"));
    let text = GROUPS.replace_all(text, "$1$2");
    let Some(number) = NUMBER.captures_iter(&text).last() else {
        return text.trim().to_lowercase();
    };
    let (whole, fraction) = match (number.get(1), number.get(2)) {
        (Some(whole), Some(fraction)) => (whole.as_str(), fraction.as_str()),
        _ => (&number[0], ""),
    };
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    let before = number.get(0).map_or("", |found| &text[..found.start()]);
    let negative = before
        .strip_suffix(['-', '−'])
        .is_some_and(|rest| !rest.ends_with(char::is_alphanumeric));
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) {
        "-"
    } else {
        ""
    };
    format!("{sign}{whole}.{fraction}")
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of our own compiles")
}

struct Contains {
    texts: Answers,
    mode: &'static str,
    ignore_case: bool,
}

impl Contains {
    fn parse(args: &mut Args) -> Result<Self, RewardError> {
        let texts = match args.texts("texts")? {
            Some(texts) => texts,
            None => args.answers()?,
        };
        let (mode, ignore_case) = (
            args.choice("mode", &["all", "any", "none"])?,
            args.flag("ignore_case")?,
        );
        Ok(Self {
            texts: Answers(texts),
            mode,
            ignore_case,
        })
    }
}

impl RewardFn for Contains {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let completion = fold(attempt.completion, self.ignore_case);
        let texts = self.texts.of(attempt)?;
        let mut found = texts
            .iter()
            .map(|text| completion.contains(&*fold(text, self.ignore_case)));
        Some(reward(match self.mode {
            "any" => found.any(|found| found),
            "none" => !found.any(|found| found),
            _ => found.all(|found| found),
        }))
    }

    fn needs_reference(&self) -> bool {
        self.texts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Attempt, Verifier};
    use serde_json::{Value, json};

    fn check(name: &str, args: Value, completion: &str) -> Option<f64> {
        Verifier::parse(name, &args)
            .unwrap()
            .score(&Attempt::new("", completion))
    }

    #[test]
    fn exact_match_trims_and_may_ignore_case() {
        assert_eq!(check("exact_match", json!("Turm"), " Turm\n"), Some(1.0));
        assert_eq!(check("exact_match", json!("Turm"), "turm"), Some(0.0));
        assert_eq!(
            check(
                "exact_match",
                json!({"answer": "Turm", "ignore_case": true}),
                "TURM"
            ),
            Some(1.0)
        );
        assert_eq!(check("exact_match", json!(["a", "b"]), "b"), Some(1.0));
    }

    #[test]
    fn without_a_right_answer_there_is_nothing_to_judge() {
        assert_eq!(check("exact_match", json!({}), "x"), None);
        let attempt = Attempt {
            reference: Some("x"),
            ..Attempt::new("", "x")
        };
        assert_eq!(
            Verifier::parse("exact_match", &json!({}))
                .unwrap()
                .score(&attempt),
            Some(1.0)
        );
    }

    #[test]
    fn number_match_takes_the_last_number() {
        let right = [
            ("18", "She has 9 + 9 = 18."),
            ("1234", "The total is $1,234.00"),
            ("#### 1,00,000", "so 100000 rupees"),
            ("-5", "It falls to -5 degrees."),
            ("5", "pages 10-5"),
            ("0.5", "that makes .50"),
            ("0", "-0.0"),
            ("12345678901234567891", "12345678901234567891"),
            ("none", " None "),
        ];
        for (answer, completion) in right {
            assert_eq!(
                check("number_match", json!(answer), completion),
                Some(1.0),
                "{answer} {completion}"
            );
        }
        let wrong = [
            ("18", "18 or 19"),
            ("5", "-5"),
            ("12345678901234567891", "12345678901234567892"),
            ("3", "three"),
            ("1", ""),
        ];
        for (answer, completion) in wrong {
            assert_eq!(
                check("gsm8k", json!(answer), completion),
                Some(0.0),
                "{answer} {completion}"
            );
        }
    }

    #[test]
    fn contains_asks_for_all_any_or_none() {
        let texts = json!(["tower", "Lake"]);
        let args = |mode: &str| json!({"texts": texts, "mode": mode, "ignore_case": true});
        assert_eq!(
            check("contains", args("all"), "A Tower by the lake"),
            Some(1.0)
        );
        assert_eq!(check("contains", args("all"), "A Tower"), Some(0.0));
        assert_eq!(check("contains", args("any"), "A Tower"), Some(1.0));
        assert_eq!(check("contains", args("none"), "A wall"), Some(1.0));
        assert!(
            Verifier::parse("contains", &args("some"))
                .unwrap_err()
                .to_string()
                .contains("one of all, any, none")
        );
    }
}
