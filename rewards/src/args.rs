//! Reading a verifier's `"args"` once, at the edge, into values that cannot be wrong.

use crate::error::{RewardError, nearest};
use serde_json::{Map, Value};

/// The arguments of one verifier: each is taken by name, and what nobody took is refused
/// in the end.
///
/// `args` may be an object, nothing at all, or a bare string, number or list, which is short for
/// `{"ground_truth": …}`.
#[derive(Debug)]
pub struct Args {
    verifier: String,
    values: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Args {
    /// The arguments of `verifier` as the record gives them.
    pub fn new(verifier: &str, args: &Value) -> Self {
        let values = match args {
            Value::Object(values) => values.clone(),
            Value::Null => Map::new(),
            bare => Map::from_iter([("ground_truth".to_owned(), bare.clone())]),
        };
        Self {
            verifier: verifier.to_owned(),
            values,
            asked: Vec::new(),
        }
    }

    /// The argument as it is; JSON's `null` is the same as nothing.
    pub fn value(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.values.remove(key).filter(|value| !value.is_null())
    }

    /// A string.
    pub fn string(&mut self, key: &'static str) -> Result<Option<String>, RewardError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, "a string", Some(&other))),
        }
    }

    /// One of the given words, the first being the default.
    pub fn choice(
        &mut self,
        key: &'static str,
        words: &[&'static str],
    ) -> Result<&'static str, RewardError> {
        let Some(value) = self.value(key) else {
            return Ok(words[0]);
        };
        let found = value
            .as_str()
            .and_then(|text| words.iter().find(|word| **word == text));
        found
            .copied()
            .ok_or_else(|| self.wrong(key, &format!("one of {}", words.join(", ")), Some(&value)))
    }

    /// `true` or `false`; `false` where it is missing.
    pub fn flag(&mut self, key: &'static str) -> Result<bool, RewardError> {
        match self.value(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.wrong(key, "true or false", Some(&other))),
        }
    }

    /// A number that is finite and not negative.
    pub fn amount(&mut self, key: &'static str) -> Result<Option<f64>, RewardError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            _ => Err(self.wrong(key, "a number, 0 or more", Some(&value))),
        }
    }

    /// A number that is finite.
    pub fn number(&mut self, key: &'static str) -> Result<Option<f64>, RewardError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.wrong(key, "a number", Some(&value))),
        }
    }

    /// One string or a list of them, at least one; numbers are taken as they are written.
    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, RewardError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let texts = match &value {
            Value::Array(list) if !list.is_empty() => list.iter().map(text).collect(),
            one => text(one).map(|text| vec![text]),
        };
        texts
            .map(Some)
            .ok_or_else(|| self.wrong(key, "a string or a list of strings", Some(&value)))
    }

    /// The right answers under any of the names data sets use for them.
    pub fn answers(&mut self) -> Result<Vec<String>, RewardError> {
        for key in ["ground_truth", "reference", "answer"] {
            if let Some(texts) = self.texts(key)? {
                return Ok(texts);
            }
        }
        Ok(Vec::new())
    }

    /// The error for an argument that is missing or not what it should be.
    pub fn wrong(&self, key: &str, expected: &str, found: Option<&Value>) -> RewardError {
        let found = found.map_or("nothing".to_owned(), |value| {
            let text = value.to_string();
            if text.chars().count() > 60 {
                text.chars().take(60).chain(['…']).collect()
            } else {
                text
            }
        });
        RewardError::Argument {
            verifier: self.verifier.clone(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            found,
        }
    }

    /// The name the verifier was asked for by.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// The arguments asked for so far, which are those the verifier takes.
    pub(crate) fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// Refuses any argument that was never asked for, here or by the record's other verifiers. A ground
    /// truth belongs to the record and is fine with every verifier.
    pub(crate) fn finish(self, others: &[&'static str]) -> Result<(), RewardError> {
        let is_known =
            |key: &str| key == "ground_truth" || self.asked.contains(&key) || others.contains(&key);
        let Some(key) = self.values.keys().find(|key| !is_known(key)).cloned() else {
            return Ok(());
        };
        let nearest = nearest(&key, self.asked.iter().copied());
        let known = match &self.asked[..] {
            [] => "none".to_owned(),
            asked => asked.join(", "),
        };
        Err(RewardError::UnknownArgument {
            verifier: self.verifier,
            key,
            nearest,
            known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bare_value_is_the_ground_truth() {
        for (args, expected) in [
            (json!("a"), vec!["a"]),
            (json!(42), vec!["42"]),
            (json!(["a", "b"]), vec!["a", "b"]),
            (json!(null), vec![]),
        ] {
            assert_eq!(Args::new("v", &args).answers().unwrap(), expected);
        }
    }

    #[test]
    fn a_misspelt_argument_is_refused_with_the_nearest() {
        let mut args = Args::new("chrf", &json!({"ground_truht": "x"}));
        assert!(args.answers().unwrap().is_empty());
        let message = args.finish(&[]).unwrap_err().to_string();
        assert!(
            message.contains("\"ground_truht\", did you mean \"ground_truth\"?"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_type_says_what_was_expected_and_found() {
        let message = Args::new("length", &json!({"min": "few"}))
            .amount("min")
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "verifier \"length\": argument \"min\" should be a number, 0 or more, found \"few\""
        );
    }
}
