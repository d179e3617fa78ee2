//! Typed access to the keys of a `config.json`, with errors that name file, key, value and what is
//! allowed.

use std::{fmt::Display, path::Path};

use serde_json::{Map, Value};

use crate::error::ConfigError;

/// Sizes above this are typing errors, and products of two of them still fit 64 bits.
pub(super) const MAX_SIZE: usize = (1 << 31) - 1;

/// The keys of one model: the file's, or those of its `text_config`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    /// The file, for errors.
    pub path: &'a Path,
    /// The whole file.
    pub root: &'a Map<String, Value>,
    /// The `text_config` in it, where there is one.
    pub text_config: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    /// The model's own value of a key; `null` is a value.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.text_config.unwrap_or(self.root).get(key)
    }

    /// The file's value of a key, else the `text_config`'s: for what belongs to the model as a
    /// whole.
    pub fn get_outer(&self, key: &str) -> Option<&'a Value> {
        self.root.get(key).or_else(|| self.get(key))
    }

    /// A whole number from 1 up.
    pub fn size(&self, key: &str, default: Option<usize>) -> Result<usize, ConfigError> {
        let expected = format!("a whole number from 1 to {MAX_SIZE}");
        let Some(value) = self.get(key) else {
            return default.ok_or_else(|| self.missing(key, &expected));
        };
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
        size.filter(|n| (1..=MAX_SIZE).contains(n))
            .ok_or_else(|| self.invalid(key, value, &expected))
    }

    /// A number above 0.
    pub fn number(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        positive(value).ok_or_else(|| self.invalid(key, value, "a number above 0"))
    }

    /// A number above 0, or `null` for none.
    pub fn optional_number(
        &self,
        key: &str,
        default: Option<f64>,
    ) -> Result<Option<f64>, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => match positive(value) {
                Some(number) => Ok(Some(number)),
                None => Err(self.invalid(key, value, "a number above 0, or null")),
            },
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        self.flag_of(key, self.get(key), default)
    }

    /// `true` or `false`, of the model as a whole.
    pub fn flag_outer(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        self.flag_of(key, self.get_outer(key), default)
    }

    fn flag_of(
        &self,
        key: &str,
        value: Option<&Value>,
        default: bool,
    ) -> Result<bool, ConfigError> {
        match value {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.invalid(key, other, "true or false")),
        }
    }

    /// A JSON object; `null` and `{}` count as absent.
    pub fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) if map.is_empty() => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(self.invalid(key, other, "an object, or null")),
        }
    }

    pub fn missing(&self, key: &str, expected: &str) -> ConfigError {
        ConfigError::Missing {
            path: self.path.into(),
            key: self.full_key(key),
            expected: expected.into(),
        }
    }

    pub fn invalid(&self, key: &str, value: impl Display, expected: &str) -> ConfigError {
        ConfigError::Invalid {
            path: self.path.into(),
            key: self.full_key(key),
            value: shortened(value),
            expected: expected.into(),
        }
    }

    pub fn unsupported(&self, key: &str, value: impl Display, hint: &str) -> ConfigError {
        ConfigError::Unsupported {
            path: self.path.into(),
            key: self.full_key(key),
            value: shortened(value),
            hint: hint.into(),
        }
    }

    fn full_key(&self, key: &str) -> String {
        let top = key.split('.').next().unwrap_or(key);
        match self.text_config {
            Some(text) if text.contains_key(top) || !self.root.contains_key(top) => {
                format!("text_config.{key}")
            }
            _ => key.to_owned(),
        }
    }
}

/// A finite number above 0.
pub(super) fn positive(value: &Value) -> Option<f64> {
    value.as_f64().filter(|n| n.is_finite() && *n > 0.0)
}

/// A value, cut where it would swamp a message.
fn shortened(value: impl Display) -> String {
    const SHOWN: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
