//! Taking a JSON object apart, with errors that name the field.

use serde_json::{Map, Value};

use super::document::Translation;
use crate::error::RecordError;

/// The fields of one JSON object. A field that is `null` counts as absent, as data tables write it so.
pub(super) struct Fields {
    map: Map<String, Value>,
    /// How the record should look, for hints.
    shape: &'static str,
}

impl Fields {
    /// Opens an object; `shape` is an example line that a hint can show.
    pub(super) fn of(value: Value, shape: &'static str) -> Result<Self, RecordError> {
        match value {
            Value::Object(map) => Ok(Self { map, shape }),
            other => Err(RecordError::line("a JSON object", kind_of(&other)).hint(wanted(shape))),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        // `shift_remove` keeps the order of the remaining keys, which a chat template may print.
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn require(&mut self, name: &str, expected: &str) -> Result<Value, RecordError> {
        self.take(name).ok_or_else(|| self.missing(name, expected))
    }

    /// A required string, which may be empty.
    pub(super) fn text(&mut self, name: &str) -> Result<String, RecordError> {
        let value = self.require(name, "text")?;
        text_of(value).map_err(|e| e.within(name).hint(wanted(self.shape)))
    }

    /// A required string with something in it.
    pub(super) fn filled_text(&mut self, name: &str) -> Result<String, RecordError> {
        let text = self.text(name)?;
        if text.trim().is_empty() {
            return Err(
                RecordError::field(name, "text that is not blank", "blank text")
                    .hint("remove the line, or set `on_bad_record = \"skip\"`"),
            );
        }
        Ok(text)
    }

    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<String>, RecordError> {
        self.take(name)
            .map(|value| text_of(value).map_err(|e| e.within(name)))
            .transpose()
    }

    /// What a request to translate says of itself; `None` without a target language. Elsewhere `source` may be
    /// anything, such as the name of the data set.
    pub(super) fn translation(&mut self) -> Result<Option<Translation>, RecordError> {
        let Some(target_lang) = self.optional_text("target_lang")? else {
            return Ok(None);
        };
        Ok(Some(Translation {
            source: self.optional_text("source")?,
            source_lang: self.optional_text("source_lang")?,
            target_lang,
        }))
    }

    /// The error for a field that is not there; it lists the fields that are.
    pub(super) fn missing(&self, name: &str, expected: &str) -> RecordError {
        let names: Vec<String> = self
            .map
            .keys()
            .take(8)
            .map(|key| format!("`{key}`"))
            .collect();
        let found = match names.as_slice() {
            [] => "no fields".to_owned(),
            names => format!("only {}", names.join(", ")),
        };
        RecordError::field(name, expected, found).hint(wanted(self.shape))
    }

    pub(super) fn into_rest(self) -> Map<String, Value> {
        self.map
    }
}

/// A string, or an error that says what stands in its place.
pub(super) fn text_of(value: Value) -> Result<String, RecordError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(RecordError::line("text", kind_of(&other))),
    }
}

/// What a JSON value is, in words.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(items) if items.is_empty() => "an empty list",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wanted(shape: &str) -> String {
    format!("a line looks like {shape}")
}
