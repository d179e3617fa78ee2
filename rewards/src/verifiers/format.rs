//! The form of a completion: `regex`, `format`, `json`, `ends_properly`.

use super::reward;
use crate::{Args, Attempt, Registry, RewardError, RewardFn};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.register("regex", |args| {
        Ok(Box::new(Pattern::parse(args, &["search", "full"])?))
    });
    registry.register("format", |args| {
        Ok(Box::new(Pattern::parse(args, &["full", "search"])?))
    });
    registry.register("json", |args| {
        Ok(Box::new(Json {
            equals: args.value("equals"),
        }))
    });
    registry.register("ends_properly", |_| {
        Ok(Box::new(|attempt: &Attempt<'_>| {
            Some(reward(attempt.finished))
        }))
    });
}

/// A pattern in Rust's `regex` syntax, which runs in time linear in the text whatever the pattern.
struct Pattern(Regex);

impl Pattern {
    /// Reads `pattern` (or the ground truth) and `mode`, the first of `modes` being the default. A pattern
    /// meant for the whole completion lets `.` match line ends, as GRPO's format rewards do.
    fn parse(args: &mut Args, modes: &[&'static str]) -> Result<Self, RewardError> {
        let pattern = match args.string("pattern")? {
            Some(pattern) => pattern,
            None => args
                .string("ground_truth")?
                .ok_or_else(|| args.wrong("pattern", "a regular expression", None))?,
        };
        let compile = |text: &str, dot_matches_line_ends| {
            RegexBuilder::new(text)
                .dot_matches_new_line(dot_matches_line_ends)
                .build()
                .map_err(|error| RewardError::Pattern {
                    verifier: args.verifier().to_owned(),
                    pattern: pattern.clone(),
                    reason: error.to_string(),
                })
        };
        // Compiled alone first: an unbalanced bracket must not be hidden by the group around it.
        let alone = compile(&pattern, false)?;
        let whole = compile(
            &format!(
                r"\A(?:{pattern}{}\z",
                if pattern.contains('#') { "\n)" } else { ")" }
            ),
            true,
        )?;
        Ok(Self(if args.choice("mode", modes)? == "full" {
            whole
        } else {
            alone
        }))
    }
}

impl RewardFn for Pattern {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        Some(reward(self.0.is_match(attempt.completion)))
    }
}

/// JSON, bare or in a Markdown fence as IFEval allows it.
struct Json {
    equals: Option<Value>,
}

impl RewardFn for Json {
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let text = attempt.completion.trim();
        let text = ["```json", "```Json", "```JSON", "```"]
            .iter()
            .find_map(|fence| text.strip_prefix(fence))
            .unwrap_or(text);
        let text = text.strip_suffix("```").unwrap_or(text);
        let Ok(value) = serde_json::from_str::<Value>(text.trim()) else {
            return Some(0.0);
        };
        Some(reward(
            self.equals
                .as_ref()
                .is_none_or(|expected| same(expected, &value)),
        ))
    }
}

/// Equality in which 1 and 1.0 are one number and the order of keys is none.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Attempt, Verifier};
    use serde_json::{Value, json};

    fn check(name: &str, args: Value, completion: &str) -> f64 {
        Verifier::parse(name, &args)
            .unwrap()
            .score(&Attempt::new("", completion))
            .unwrap()
    }

    #[test]
    fn regex_searches_and_format_fits_the_whole() {
        assert_eq!(check("regex", json!({"pattern": r"\d+"}), "tower 7"), 1.0);
        assert_eq!(
            check(
                "regex",
                json!({"pattern": r"\d+", "mode": "full"}),
                "tower 7"
            ),
            0.0
        );
        assert_eq!(
            check("regex", json!({"pattern": "a|ab", "mode": "full"}), "ab"),
            1.0
        );
        let think = json!({"pattern": "<think>.*</think>\n<answer>.*</answer>"});
        assert_eq!(
            check(
                "format",
                think.clone(),
                "<think>a\nb</think>\n<answer>c</answer>"
            ),
            1.0
        );
        assert_eq!(check("format", think, "<answer>c</answer>"), 0.0);
        assert_eq!(
            check("format", json!({"pattern": "(?x) a b # letters"}), "ab"),
            1.0
        );
    }

    #[test]
    fn a_bad_pattern_is_an_error_at_load() {
        for pattern in ["(", "a)(b", "(?=x)", "x{100000}{100000}"] {
            let error = Verifier::parse("regex", &json!({"pattern": pattern}))
                .unwrap_err()
                .in_record("p.jsonl:3");
            assert!(
                error
                    .to_string()
                    .starts_with("p.jsonl:3: verifier \"regex\": bad pattern"),
                "{error}"
            );
        }
        assert!(
            Verifier::parse("format", &json!({}))
                .unwrap_err()
                .to_string()
                .contains("argument \"pattern\"")
        );
    }

    #[test]
    fn json_parses_and_may_have_to_be_equal() {
        assert_eq!(check("json", json!({}), " {\"a\": [1, 2]} "), 1.0);
        assert_eq!(check("json", json!({}), "```json\n[1]\n```"), 1.0);
        for broken in ["", "{", "{'a': 1}", "[1] and more", "```json"] {
            assert_eq!(check("json", json!({}), broken), 0.0, "{broken:?}");
        }
        let equals = json!({"equals": {"a": 1, "b": [true]}});
        assert_eq!(
            check("json", equals.clone(), "{\"b\": [true], \"a\": 1.0}"),
            1.0
        );
        assert_eq!(check("json", equals, "{\"a\": 1}"), 0.0);
    }

    #[test]
    fn deeply_nested_json_is_refused_not_fatal() {
        assert_eq!(check("json", json!({}), &"[".repeat(1_000_000)), 0.0);
    }

    #[test]
    fn ends_properly_asks_who_ended_the_turn() {
        let verifier = Verifier::parse("ends_properly", &json!({})).unwrap();
        assert_eq!(verifier.score(&Attempt::new("", "x")), Some(1.0));
        assert_eq!(
            verifier.score(&Attempt {
                finished: false,
                ..Attempt::new("", "x")
            }),
            Some(0.0)
        );
    }
}
