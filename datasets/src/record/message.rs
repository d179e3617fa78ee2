//! One turn of a conversation.

use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Fields, kind_of, text_of};
use crate::error::RecordError;

/// One turn of a conversation: `{"role": "user", "content": "Translate to German: tower"}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or a role that the chat template knows.
    pub role: String,
    /// What is said. A list of `{"type":"text","text"}` parts is joined while parsing.
    pub content: String,
    /// `false` leaves an assistant turn unsupervised, as `"weight": 0` does. The chat template sees
    /// neither key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<bool>,
    /// Further keys, handed to the chat template as they are (`reasoning_content`, `name`, …).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A message without further keys.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            train: None,
            extra: Map::new(),
        }
    }

    /// A turn of the system.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A turn of the assistant.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// Whether the assistant speaks.
    pub fn is_assistant(&self) -> bool {
        self.role == "assistant"
    }

    /// Whether the turn is one to learn from: the assistant's, and not marked `"train": false`.
    pub fn is_supervised(&self) -> bool {
        self.is_assistant() && self.train != Some(false)
    }
}

const SHAPE: &str = r#"{"role": "user", "content": "Hello"}"#;

/// Parses `{"role","content"}`, or ShareGPT's `{"from","value"}`.
pub(super) fn message(value: Value) -> Result<Message, RecordError> {
    let mut fields = Fields::of(value, SHAPE)?;
    let (role_key, content_key) = if !fields.has("role") && fields.has("from") {
        ("from", "value")
    } else {
        ("role", "content")
    };
    let role = fields.filled_text(role_key)?;
    let role = if role_key == "from" {
        sharegpt_role(role)
    } else {
        role
    };
    let content = fields.require(content_key, "text")?;
    let content = content_text(content).map_err(|e| e.within(content_key))?;
    Ok(Message {
        role,
        content,
        train: train(&mut fields)?,
        extra: fields.into_rest(),
    })
}

/// Whether a turn is trained on, by `train` or by what OpenAI and axolotl write: `weight`, 0 or 1.
fn train(fields: &mut Fields) -> Result<Option<bool>, RecordError> {
    let train = match fields.take("train") {
        None => None,
        Some(Value::Bool(train)) => Some(train),
        Some(other) => {
            return Err(RecordError::field(
                "train",
                "true or false",
                kind_of(&other),
            ));
        }
    };
    let Some(weight) = fields.take("weight") else {
        return Ok(train);
    };
    let by_weight = match weight.as_f64() {
        Some(0.0) => false,
        Some(1.0) => true,
        _ => {
            let found = match &weight {
                Value::Number(number) => number.to_string(),
                other => kind_of(other).to_owned(),
            };
            return Err(RecordError::field("weight", "0 or 1", found).hint(
                "a turn is trained on or not: write 1, or 0 (\"train\": false) to leave it out",
            ));
        }
    };
    match train {
        Some(train) if train != by_weight => {
            let expected = format!("{} beside \"train\": {train}", u8::from(train));
            Err(RecordError::field("weight", expected, weight.to_string())
                .hint("both say whether the turn is trained on: leave one of them out"))
        }
        // A weight of 1 says what holds anyway.
        _ => Ok(train.or((!by_weight).then_some(false))),
    }
}

/// Parses a list of messages that is not empty.
pub(super) fn messages(value: Value) -> Result<Vec<Message>, RecordError> {
    let hint = r#"messages look like [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]"#;
    let expected = "a list of messages, not empty";
    let Value::Array(items) = value else {
        return Err(RecordError::line(expected, kind_of(&value)).hint(hint));
    };
    if items.is_empty() {
        return Err(RecordError::line(expected, "an empty list").hint(hint));
    }
    items
        .into_iter()
        .enumerate()
        .map(|(i, item)| message(item).map_err(|e| e.within(&format!("[{i}]"))))
        .collect()
}

/// A list of messages, one message, or a string, which becomes one turn of `role`.
pub(super) fn messages_or_turn_of(role: &str, value: Value) -> Result<Vec<Message>, RecordError> {
    match value {
        Value::String(content) => Ok(vec![Message::new(role, content)]),
        Value::Object(_) => Ok(vec![message(value)?]),
        Value::Array(_) => messages(value),
        other => Err(RecordError::line(
            "text or a list of messages",
            kind_of(&other),
        )),
    }
}

/// Text, or a list of text parts, joined.
fn content_text(value: Value) -> Result<String, RecordError> {
    let Value::Array(parts) = value else {
        return text_of(value);
    };
    let mut content = String::new();
    for (i, part) in parts.into_iter().enumerate() {
        content.push_str(&part_text(part).map_err(|e| e.within(&format!("[{i}]")))?);
    }
    Ok(content)
}

fn part_text(part: Value) -> Result<String, RecordError> {
    if part.is_string() {
        return text_of(part);
    }
    let mut fields = Fields::of(part, r#"{"type": "text", "text": "Hello"}"#)?;
    match fields.optional_text("type")?.as_deref() {
        None | Some("text") => fields.text("text"),
        Some(other) => Err(RecordError::field("type", "`text`", format!("`{other}`"))
            .hint("only text can be trained on; remove images, sound and tool parts")),
    }
}

/// ShareGPT's speakers under Hugging Face's names.
fn sharegpt_role(speaker: String) -> String {
    match speaker.as_str() {
        "human" => "user".into(),
        "gpt" | "chatgpt" | "model" | "bot" => "assistant".into(),
        "observation" | "function" => "tool".into(),
        _ => speaker,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(key: &str, value: Value) -> Result<Message, RecordError> {
        let mut turn = json!({"role": "assistant", "content": "Hello"});
        turn[key] = value;
        message(turn)
    }

    #[test]
    fn a_turn_of_weight_0_is_not_trained_on_and_one_of_weight_1_is() {
        for weight in [json!(0), json!(0.0)] {
            let muted = read("weight", weight).expect("a sound turn");
            assert_eq!(Ok(muted), read("train", json!(false)));
        }
        for weight in [json!(1), json!(1.0), Value::Null] {
            let turn = read("weight", weight).expect("a sound turn");
            assert_eq!(turn, Message::assistant("Hello"));
        }
        let from = json!({"from": "gpt", "value": "Hello", "weight": 0});
        assert_eq!(Ok(false), message(from).map(|turn| turn.is_supervised()));
    }

    #[test]
    fn another_weight_is_an_error_that_says_what_there_is() {
        for (weight, found) in [
            (json!(0.5), "found 0.5"),
            (json!(2), "found 2"),
            (json!(true), "found a boolean"),
        ] {
            let error = read("weight", weight).expect_err("no such weight");
            assert_eq!(error.field_path(), "weight");
            let text = error.to_string();
            assert!(text.contains(found) && text.contains("hint: "), "{text}");
        }
    }

    #[test]
    fn a_weight_that_contradicts_train_is_an_error() {
        let turn = |train: bool, weight: u8| {
            message(json!({"role": "assistant", "content": "a", "train": train, "weight": weight}))
        };
        assert_eq!(turn(true, 1).map(|turn| turn.train), Ok(Some(true)));
        assert_eq!(turn(false, 0).map(|turn| turn.train), Ok(Some(false)));
        for (train, weight) in [(true, 0), (false, 1)] {
            let error = turn(train, weight).expect_err("they disagree");
            assert!(
                error.to_string().contains("leave one of them out"),
                "{error}"
            );
        }
    }
}
